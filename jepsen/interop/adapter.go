package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// adapter is a client's program: it is given one request a line and gives back one answer a line, both JSON.
//
//	{"op":"offsets","topic":"t","partition":0,"times":[5]}
//	{"ok":{"begin":0,"end":9,"at":[3]}}      or      {"error":"what went wrong"}
//
// The program is started with the brokers and a client id as its arguments, writes nothing else on stdout, and ends
// when its stdin does. jepsen/README.md lists the requests.
type adapter struct {
	program string
	args    []string // before the brokers and the id
	brokers string
	id      string
	proc    *process
}

// process is one run of a client's program.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan []byte // what it writes on stdout; closed at its end
	stderr *lastBytes
	exited chan struct{}
	err    error // of Wait, once exited is closed
}

func startProcess(name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), stderr: &lastBytes{}, lines: make(chan []byte, 1024), exited: make(chan struct{})}
	p.cmd.Stderr = p.stderr
	p.cmd.WaitDelay = time.Second
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		r := bufio.NewReaderSize(stdout, 1<<20)
		for {
			line, err := r.ReadBytes('\n')
			if err != nil {
				break
			}
			p.lines <- line
		}
		close(p.lines)
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	go func() {
		for range p.lines { // so that the reader reaches the end
		}
	}()
	<-p.exited
}

// stop lets the process end by itself: by the end of its stdin, or by SIGTERM if it does not read that. Somebody
// must read its lines.
func (p *process) stop(terminate bool, patience time.Duration) error {
	_ = p.stdin.Close() // it may have ended by itself
	if terminate {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-p.exited:
		if p.err != nil {
			return fmt.Errorf("%w\n%s", p.err, p.stderr)
		}
		return nil
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("it did not end within %v of being asked to\n%s", patience, p.stderr)
	}
}

var errTookTooLong = errors.New("no answer in time")

// call sends a request and waits for its answer, which goes into result unless that is nil. After an answer that
// did not come the program is started anew.
func (a *adapter) call(op string, args map[string]any, result any) error {
	err := a.try(op, args, result)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

func (a *adapter) try(op string, args map[string]any, result any) error {
	if a.proc == nil {
		p, err := startProcess(a.program, append(slices.Clone(a.args), a.brokers, a.id)...)
		if err != nil {
			return err
		}
		a.proc = p
	}
	request := map[string]any{"op": op}
	for name, v := range args {
		request[name] = v
	}
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := a.proc.stdin.Write(append(line, '\n')); err != nil {
		return a.lost(err)
	}
	select {
	case line, open := <-a.proc.lines:
		if !open {
			return a.lost(errors.New("the program ended"))
		}
		return decodeAnswer(line, result)
	case <-time.After(patience):
		return a.lost(errTookTooLong)
	}
}

func decodeAnswer(line []byte, result any) error {
	var answer struct {
		OK    json.RawMessage `json:"ok"`
		Error *string         `json:"error"`
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return fmt.Errorf("the program said %q: %w", clip(line), err)
	}
	switch {
	case answer.Error != nil:
		return errors.New(*answer.Error)
	case answer.OK == nil || string(answer.OK) == "null":
		return fmt.Errorf("the program said neither ok nor error: %q", clip(line))
	case result == nil:
		return nil
	}
	return json.Unmarshal(answer.OK, result)
}

// lost ends a program that cannot be talked with any more.
func (a *adapter) lost(err error) error {
	p := a.proc
	a.proc = nil
	p.kill()
	return fmt.Errorf("%w; its stderr ends with:\n%s", err, p.stderr)
}

func (a *adapter) close() error {
	if a.proc == nil {
		return nil
	}
	p := a.proc
	a.proc = nil
	go func() {
		for range p.lines {
		}
	}()
	return p.stop(false, 15*time.Second)
}

// lastBytes keeps the end of what was written to it.
type lastBytes struct {
	mu   sync.Mutex
	kept []byte
}

const lastBytesMax = 4 << 10

// Write implements io.Writer.
func (t *lastBytes) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - lastBytesMax; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

// String is what was kept.
func (t *lastBytes) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.kept))
}
