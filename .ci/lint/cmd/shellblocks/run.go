package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// bash is a block's process: a process group of its own, both streams into one buffer.
type bash struct {
	cmd  *exec.Cmd
	out  buffer
	done chan error // receives once, when the process and everything it started is gone
}

func start(b block) (*bash, error) {
	p := &bash{cmd: exec.Command("bash", "-euo", "pipefail", "-c", b.script), done: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.done <- p.cmd.Wait() }()
	return p, nil
}

// kill ends the whole process group, at once.
func (p *bash) kill() {
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err == nil {
		<-p.done //lint:ignore errcheck it was killed, which is its error
	}
}

// runBlock runs b to its end.
func runBlock(b block) error {
	p, err := start(b)
	if err != nil {
		return err
	}
	select {
	case err = <-p.done:
	case <-time.After(b.timeout):
		p.kill()
		err = fmt.Errorf("took longer than %s", b.timeout)
	}
	if err == nil {
		err = expected(b, p.out.String())
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, tail(p.out.String()))
	}
	return nil
}

func expected(b block, out string) error {
	for _, text := range b.expect {
		if !strings.Contains(out, text) {
			return fmt.Errorf("its output does not contain %q", text)
		}
	}
	return nil
}

// server is a background block that runs until its document ends.
type server struct {
	*bash
	block block
}

// startTimeout is how long a server may take to say ready; it may have to be built first.
const startTimeout = 5 * time.Minute

var (
	readyLine = regexp.MustCompile(`(?m)^ready\b.*$`)
	httpField = regexp.MustCompile(`\bhttp=(\S+)`)
)

// startServer starts b and returns once it serves. The server is not nil when it must be stopped.
func startServer(b block) (*server, error) {
	p, err := start(b)
	if err != nil {
		return nil, err
	}
	s := &server{p, b}
	deadline := time.Now().Add(max(startTimeout, b.timeout))
	for {
		if line := readyLine.FindString(p.out.String()); line != "" {
			addr := httpField.FindStringSubmatch(line)
			if addr == nil {
				return s, fmt.Errorf("its ready line has no http=: %s", line)
			}
			url := "http://" + strings.TrimPrefix(addr[1], "http://") + "/readyz"
			if err := serves(url); err == nil {
				return s, expected(b, p.out.String())
			} else if time.Now().After(deadline) {
				return s, err
			}
		}
		select {
		case err := <-p.done:
			p.done <- err
			return s, fmt.Errorf("ended before it was ready: %v\n%s", err, tail(p.out.String()))
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return s, fmt.Errorf("not ready in time\n%s", tail(p.out.String()))
		}
	}
}

func serves(url string) error {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

// stopTimeout is how long a clean shutdown may take.
const stopTimeout = 30 * time.Second

// stop sends SIGTERM to what the block came down to (`make run` is make, which runs the broker) and
// wants everything to exit 0.
func (s *server) stop() error {
	select {
	case err := <-s.done:
		return fmt.Errorf("ended on its own: %v\n%s", err, tail(s.out.String()))
	default:
	}
	for _, pid := range leaves(s.cmd.Process.Pid) {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	select {
	case err := <-s.done:
		if err != nil {
			return fmt.Errorf("after SIGTERM: %w, want exit code 0\n%s", err, tail(s.out.String()))
		}
		return nil
	case <-time.After(stopTimeout):
		s.kill()
		return fmt.Errorf("still running %s after SIGTERM\n%s", stopTimeout, tail(s.out.String()))
	}
}

// leaves are the descendants of pid, or pid itself, that have no children.
func leaves(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (name) state ppid ...; the name may hold anything, parentheses too.
		end := bytes.LastIndexByte(text, ')')
		fields := strings.Fields(string(text[end+1:]))
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil || len(fields) < 2 {
			continue
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			children[parent] = append(children[parent], child)
		}
	}
	var found []int
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		if len(children[queue[0]]) == 0 {
			found = append(found, queue[0])
		}
		queue = append(queue, children[queue[0]]...)
	}
	slices.Sort(found)
	return found
}

// tail is the end of out.
func tail(out string) string {
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	return "    " + strings.Join(lines[max(0, len(lines)-30):], "\n    ")
}

// buffer is a bytes.Buffer that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
