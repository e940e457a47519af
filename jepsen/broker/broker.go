// Package broker runs the weir binary as a process of its own, for tests from outside: start, wait until it
// says that it is ready, kill, stop. It sees what any operator sees and nothing else.
package broker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Broker is one process of `weir dev`.
type Broker struct {
	Kafka, QUIC, HTTP, Data string        // from its ready line
	StartUp                 time.Duration // from the start of the process to the ready line

	cmd    *exec.Cmd
	stderr *tail
	ready  chan struct{}
	exited chan struct{}
	err    error // of Wait, once exited is closed
}

// ErrNotReady says that a process ended before it was ready.
var ErrNotReady = errors.New("the broker ended before it was ready")

// Start runs the binary on a data directory. It does not wait until the broker is ready: Ready does.
func Start(binary, data, listen string, args ...string) (*Broker, error) {
	b := &Broker{stderr: &tail{}, ready: make(chan struct{}), exited: make(chan struct{})}
	b.cmd = exec.Command(binary, append([]string{"dev", "--data", data, "--listen", listen}, args...)...)
	b.cmd.Stderr = b.stderr
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if rest, found := strings.CutPrefix(lines.Text(), "ready "); found {
				b.StartUp = time.Since(begin)
				b.parse(rest)
				close(b.ready)
			}
		}
		b.err = b.cmd.Wait()
		close(b.exited)
	}()
	return b, nil
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
		return fmt.Errorf("%w: %v\n%s", ErrNotReady, b.err, b.stderr)
	case <-time.After(patience):
		return fmt.Errorf("the broker is not ready after %v\n%s", patience, b.stderr)
	}
}

// Kill ends the process as kill -9 does.
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
		return fmt.Errorf("the broker stopped with %w\n%s", b.err, b.stderr)
	}
	return nil
}

// Running reports whether the process lives.
func (b *Broker) Running() bool {
	select {
	case <-b.exited:
		return false
	default:
		return true
	}
}

// Pid is the process id.
func (b *Broker) Pid() int { return b.cmd.Process.Pid }

// Log is the end of what the process wrote to stderr.
func (b *Broker) Log() string { return b.stderr.String() }

// FreeAddr finds a loopback address whose port is free on TCP and UDP now.
func FreeAddr() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		addr := l.Addr().String()
		u, err := net.ListenPacket("udp", addr)
		if err != nil {
			_ = l.Close()
			continue
		}
		return addr, errors.Join(u.Close(), l.Close())
	}
	return "", errors.New("no port is free on TCP and UDP")
}

// TempDir makes a directory for a run under the system's place for temporary files.
func TempDir(name string) (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", name)
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// tail keeps the last bytes that were written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
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
