// Package system starts the brokers that are measured, each a process of its own on free ports of loopback
// with its data in a directory of its own, and reads what they use.
//
//  1. Every process is ended by its id, and dies with the program that started it.
//  2. Equal conditions: the same priority, the same file system, the same ports' address.
//  3. What a system needs and does not have is an error that says how to get it.
//
// Linux only in what it reads (/proc).
package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a running broker.
type Process struct {
	Name      string
	Addr      string // of Kafka's protocol, or the system's own
	HTTP      string // of metrics and profiles, if any
	CA        string // certificate for QUIC, if any
	Dir       string // its data
	StartedIn time.Duration
	cmd       *exec.Cmd
	log       string
	exited    chan struct{}
	err       error
}

// start runs a command with its output in dir/NAME.log.
func start(name, dir string, args ...string) (*Process, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	p := &Process{Name: name, Dir: dir, log: filepath.Join(filepath.Dir(dir), filepath.Base(dir)+".log"), exited: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = dieWithParent()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// until waits for ready to say so, looking every pause.
func (p *Process) until(ctx context.Context, pause, most time.Duration, ready func() bool) error {
	from := time.Now()
	for !ready() {
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended while it started (%v):\n%s", p.Name, p.err, p.LogTail())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		if time.Since(from) > most {
			return fmt.Errorf("%s was not ready after %v:\n%s", p.Name, most, p.LogTail())
		}
	}
	return nil
}

// LogTail is the last of what the process logged.
func (p *Process) LogTail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// Stop ends the process in its orderly way, by force after half a minute.
func (p *Process) Stop() error {
	return p.end(syscall.SIGTERM)
}

// Kill ends the process as a crash would.
func (p *Process) Kill() error {
	return p.end(syscall.SIGKILL)
}

func (p *Process) end(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill() // it may have ended just now
		<-p.exited
		return fmt.Errorf("%s did not stop within 30 s and was killed", p.Name)
	}
	return nil
}

// Alive reports whether the process runs.
func (p *Process) Alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// CPU is the process's user and system time so far.
func (p *Process) CPU() (time.Duration, error) { return CPUOf(p.Pid()) }

// CPUOf is a process's user and system time so far, all threads that ever were.
func CPUOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses and may hold spaces.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: too short", pid)
	}
	user, err1 := strconv.ParseInt(string(f[11]), 10, 64)
	sys, err2 := strconv.ParseInt(string(f[12]), 10, 64)
	const ticksPerSecond = 100 // USER_HZ, which Linux fixes for user space
	return time.Duration(user+sys) * time.Second / ticksPerSecond, errors.Join(err1, err2)
}

// BusyCPU is the time that all processors together were not idle, and not stolen by others on the host.
func BusyCPU() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	if len(f) < 9 {
		return 0, errors.New("/proc/stat: too short")
	}
	busy := int64(0)
	for i, field := range f[1:8] {
		if i == 3 || i == 4 { // idle, iowait
			continue
		}
		v, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		busy += v
	}
	return time.Duration(busy) * time.Second / 100, nil
}

// Memory is what a process holds.
type Memory struct{ RSS, Anonymous, Descriptors int64 }

// Memory reads the process's resident memory. Pages of files are counted in RSS and not in Anonymous.
func (p *Process) Memory() (Memory, error) {
	var m Memory
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		f := strings.Fields(value)
		if len(f) == 0 {
			continue
		}
		kb, _ := strconv.ParseInt(f[0], 10, 64) // other lines are not numbers and not wanted
		switch name {
		case "VmRSS":
			m.RSS = kb << 10
		case "RssAnon":
			m.Anonymous = kb << 10
		}
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid()))
	m.Descriptors = int64(len(files))
	return m, err
}

// freePorts are ports of loopback that nobody listened on a moment ago.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func accepts(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
	if err != nil {
		return false
	}
	_ = c.Close() // nothing was sent
	return true
}
