package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// node is one weir process under measurement.
type node struct {
	cmd       *exec.Cmd
	kafka     string
	quic      string
	dir       string
	startedIn time.Duration // from exec to the line that says ready
}

// startNode starts `weir dev` on free ports with its data in dir and waits until it is ready.
func startNode(ctx context.Context, weir, dir string) (*node, error) {
	n := &node{dir: dir}
	n.cmd = exec.CommandContext(ctx, weir, "dev", "--data", dir+"/data", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
	n.cmd.Cancel = func() error { return n.cmd.Process.Signal(syscall.SIGTERM) }
	log, err := os.Create(dir + "/log")
	if err != nil {
		return nil, err
	}
	n.cmd.Stderr = log
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	from := time.Now()
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "ready") {
			continue
		}
		n.startedIn = time.Since(from)
		for _, field := range strings.Fields(lines.Text()) {
			if v, ok := strings.CutPrefix(field, "kafka="); ok {
				n.kafka = v
			}
			if v, ok := strings.CutPrefix(field, "quic="); ok {
				n.quic = v
			}
		}
		go func() { // keep the pipe drained
			for lines.Scan() {
			}
		}()
		return n, nil
	}
	_ = n.cmd.Wait() // why it ended is in its log
	text, _ := os.ReadFile(dir + "/log")
	return nil, fmt.Errorf("the node did not get ready:\n%s", text)
}

func (n *node) stop() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return n.cmd.Wait()
}

// cpu is the node's user and system time so far.
func (n *node) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// The second field is the program's name in parentheses and may hold spaces.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	const ticksPerSecond = 100 // USER_HZ, which Linux fixes for user space
	return time.Duration(user+system) * time.Second / ticksPerSecond
}

// rssBytes is the node's resident memory.
func (n *node) rssBytes() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
