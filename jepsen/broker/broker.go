// Package broker runs the weir binary as a process of its own, for tests from outside: start it, wait until
// it says that it is ready, kill it, stop it. It sees what any operator sees and nothing else: the line on
// stdout, the log on stderr, the exit code.
//
//	Start ──► (recovering) ──► Ready ──► serving ──► Stop (SIGTERM, exit code 0)
//	   │            │                     │  │ ▲
//	   │            │                     │  └─┴───► Pause (SIGSTOP), Resume (SIGCONT)
//	   └────────────┴─────────────────────┴────────► Kill (SIGKILL)
//
// A Broker is one process. Starting again on the same directory makes a new one.
package broker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options say how to run the binary.
type Options struct {
	Binary string
	// Config is a file in server.properties form: the process is `weir node`. Without one it is `weir dev`, with Data and Listen.
	Config string
	Data   string   // the data directory
	Listen string   // HOST:PORT of Kafka's protocol
	Args   []string // further arguments
	// OwnGroup keeps a terminal's Ctrl-C from the process: whoever started it then has to end it.
	OwnGroup bool
	// Line, if set, is given every line of the process's stderr, one at a time and in order.
	Line func(line []byte)
}

// Broker is one process.
type Broker struct {
	// Valid once Ready has returned nil: what the line that says ready holds.
	Kafka, QUIC, HTTP, Data string
	// StartUp is the time from the start of the process to that line.
	StartUp time.Duration

	cmd    *exec.Cmd
	stderr *tail
	ready  chan struct{}
	exited chan struct{}
	err    error // of Wait, once exited is closed
}

// ErrNotReady says that a process ended before it was ready.
var ErrNotReady = errors.New("the broker ended before it was ready")

// Start starts the process. It does not wait until the broker is ready: Ready does.
func Start(o Options) (*Broker, error) {
	b := &Broker{stderr: &tail{line: o.Line}, ready: make(chan struct{}), exited: make(chan struct{})}
	args := []string{"dev", "--data", o.Data, "--listen", o.Listen}
	if o.Config != "" {
		args = []string{"node", "--config", o.Config}
	}
	b.cmd = exec.Command(o.Binary, append(args, o.Args...)...)
	b.cmd.SysProcAttr = attributes(o.OwnGroup)
	b.cmd.Stderr = b.stderr
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	go b.watch(stdout, begin)
	return b, nil
}

func (b *Broker) watch(stdout io.Reader, begin time.Time) {
	said := false
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if rest, found := strings.CutPrefix(lines.Text(), "ready "); found && !said {
			said = true
			b.StartUp = time.Since(begin)
			b.parse(rest)
			close(b.ready)
		}
	}
	b.err = b.cmd.Wait()
	close(b.exited)
}

func (b *Broker) parse(line string) {
	for _, field := range strings.Fields(line) {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "kafka":
			b.Kafka = value
		case "quic":
			b.QUIC = value
		case "http":
			b.HTTP = value
		case "data":
			b.Data = value
		}
	}
}

// Ready waits until the broker says that it is.
func (b *Broker) Ready(patience time.Duration) error {
	select {
	case <-b.ready:
		return nil
	case <-b.exited:
		return fmt.Errorf("%w: %v\n%s", ErrNotReady, b.err, b.Log())
	case <-time.After(patience):
		return fmt.Errorf("the broker is not ready after %v\n%s", patience, b.Log())
	}
}

// Kill ends the process as kill -9 does, and waits until it is gone.
func (b *Broker) Kill() error {
	err := b.cmd.Process.Kill()
	<-b.exited
	return err
}

// Stop asks the process to end (SIGTERM) and returns an error unless it exits with 0 in time.
func (b *Broker) Stop(patience time.Duration) error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-b.exited:
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("the broker did not stop within %v", patience), b.Kill())
	}
	if b.err != nil {
		return fmt.Errorf("the broker stopped with %w\n%s", b.err, b.Log())
	}
	return nil
}

// Pause stops the process where it is (SIGSTOP), as a machine that hangs: its connections stay open.
func (b *Broker) Pause() error { return b.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on (SIGCONT).
func (b *Broker) Resume() error { return b.cmd.Process.Signal(syscall.SIGCONT) }

// Exited is closed when the process has ended.
func (b *Broker) Exited() <-chan struct{} { return b.exited }

// PID is the process's number.
func (b *Broker) PID() int { return b.cmd.Process.Pid }

// Running reports whether the process lives.
func (b *Broker) Running() bool {
	select {
	case <-b.exited:
		return false
	default:
		return true
	}
}

// Log is the end of what the process wrote to stderr.
func (b *Broker) Log() string { return b.stderr.String() }

// FreeAddr finds a loopback address whose port is free on TCP and UDP, outside the range from which
// operating systems take the ports of outgoing connections: while a broker is down nothing else gets its port, nor
// does a client that dials it connect to itself.
func FreeAddr() (string, error) {
	const from, to = 20000, 32000
	for range 200 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(from+rand.IntN(to-from)))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		u, err := net.ListenPacket("udp", addr)
		if err != nil {
			_ = l.Close()
			continue
		}
		return addr, errors.Join(u.Close(), l.Close())
	}
	return "", fmt.Errorf("no port from %d to %d is free on TCP and UDP", from, to)
}

// tail keeps the last bytes that were written to it, and hands on whole lines.
type tail struct {
	line func([]byte)

	mu      sync.Mutex
	kept    []byte
	partial []byte
}

const tailBytes = 16 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailBytes; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	if t.line == nil {
		return len(p), nil
	}
	t.partial = append(t.partial, p...)
	for {
		line, rest, found := bytes.Cut(t.partial, []byte("\n"))
		if !found {
			break
		}
		t.line(line)
		t.partial = rest
	}
	return len(p), nil
}

// String is what was kept, from the first whole line on.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.kept
	if len(b) == tailBytes {
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	return string(b)
}
