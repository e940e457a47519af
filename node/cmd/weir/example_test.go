package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/jepsen/broker"
	"github.com/weirmq/weir/node/weirtest"
)

// child is a process that is killed with all that it started when it takes too long, so that a test with one that hangs
// fails in seconds, and can show what it said.
func child(t *testing.T, patience time.Duration, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, name, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second // whoever still holds the pipes is not waited for
	return c
}

func TestAChildThatHangsIsKilledWithItsChildren(t *testing.T) {
	begin := time.Now()
	out, err := child(t, 200*time.Millisecond, "sh", "-c", "echo here; sleep 60 | sleep 60").Output()
	if took := time.Since(begin); err == nil || string(out) != "here\n" || took > 10*time.Second {
		t.Errorf("after %v: %q, %v", took, out, err)
	}
}

// buildWeir builds weir once for the tests that need a process.
func buildWeir(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds and starts processes")
	}
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// startProcess starts a process of weir's that does not outlive the test.
func startProcess(t *testing.T, o broker.Options) *broker.Broker {
	t.Helper()
	b, err := broker.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if b.Running() {
			_ = b.Kill()
		}
	})
	return b
}

// serve starts one and waits until it serves.
func serve(t *testing.T, o broker.Options) *broker.Broker {
	t.Helper()
	b := startProcess(t, o)
	if err := b.Ready(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	return b
}

// built is the path of the binary, in a directory that TestMain removes.
var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "weir")
	out, err := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, ".").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, err
})

var buildDir string // TestMain's

// examples are the lines of a command's examples, and of those below it.
func examples(c *cobra.Command) []string {
	var lines []string
	for line := range strings.Lines(c.Example) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	for _, sub := range c.Commands() {
		lines = append(lines, examples(sub)...)
	}
	return lines
}

// TestExamplesInTheHelpWork runs each example in a shell, on a broker, or several for what needs them, with some topics and groups. Those that
// go on for ever are interrupted, and must end well.
func TestExamplesInTheHelpWork(t *testing.T) {
	bin := buildWeir(t)
	_, err := exec.LookPath("jq")
	hasJQ := err == nil
	for _, c := range (&app{}).root().Commands() {
		switch c.Name() {
		case "topic", "config", "group", "produce", "consume", "profile", "errors", "completion", "version":
		default:
			continue // they start servers or run for long
		}
		t.Run(c.Name(), func(t *testing.T) {
			t.Parallel()
			for _, line := range examples(c) {
				if !hasJQ && strings.Contains(line, "| jq") {
					line, _, _ = strings.Cut(line, "| jq")
				}
				tryExample(t, bin, line)
			}
		})
	}
}

func tryExample(t *testing.T, bin, line string) {
	t.Helper()
	var addr string
	if strings.HasPrefix(line, "weir topic move") {
		addr = startCluster(t, 5, "group.initial.rebalance.delay.ms=0").addrs()
	} else {
		b := weirtest.Start(t, weirtest.Property("group.initial.rebalance.delay.ms", "0"))
		defer b.Stop()
		addr = b.Addr()
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"logo.png": "\x89PNG", "access.log": "a\nb\n", "billing.offsets": "orders 0 1\n", "profiles.json": `{"use":"local","previous":"prod","profiles":{"local":{"timeout":"20s"},"prod":{"timeout":"21s"}}}`,
	} {
		if strings.Contains(line, "create local") || strings.Contains(line, "create prod") {
			if name == "profiles.json" {
				continue
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	setup := func(stdin string, args ...string) {
		t.Helper()
		if code, _, errs := weir(t, stdin, append(args, "-b", addr)...); code != 0 {
			t.Fatalf("%v: %s", args, errs)
		}
	}
	for _, topic := range []string{"orders", "clicks", "old-orders"} {
		if !strings.HasPrefix(line, "weir topic create "+topic) {
			setup("", "topic", "create", topic, "--partitions", "5", "--config", "retention.ms=604800000")
			setup(strings.Repeat("alice:paid\nbob:sent\n", 10), "produce", topic, "-k", ":", "-p", "3")
		}
	}
	for _, group := range []string{"billing", "copy"} {
		if !strings.Contains(line, "seek "+group+" --from-group") && !strings.HasPrefix(line, "weir topic create orders") {
			setup("", "group", "seek", group, "--to", "start", "--topic", "orders", "--topic", "old-orders", "--execute")
		}
	}
	sh := child(t, 60*time.Second, "sh", "-c", line)
	sh.Dir = dir
	sh.Env = append(os.Environ(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"), "WEIR_BROKERS="+addr, "WEIR_CONFIG="+filepath.Join(dir, "profiles.json"))
	var out, errs bytes.Buffer
	sh.Stdout, sh.Stderr = &out, &errs
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- sh.Wait() }()
	var err error
	// What ends by itself is waited for, however long it takes: to be interrupted may be an error of it.
	var enough <-chan time.Time
	if strings.HasPrefix(line, "weir consume") || strings.HasPrefix(line, "weir group why") {
		enough = time.After(2 * time.Second)
	}
	select {
	case err = <-ended:
	case <-enough:
		_ = syscall.Kill(-sh.Process.Pid, syscall.SIGINT) // it may have ended in this moment
		err = <-ended
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGINT {
			err = nil // the shell; weir itself is looked at by TestCtrlCIsAnOrderlyEnd
		}
	}
	// group why finds a problem with a group that nobody reads for, as it should.
	if err != nil && !strings.HasPrefix(line, "weir group why") {
		t.Errorf("%s\n%v\n%s%s", line, err, out.String(), errs.String())
	}
}

// heard is what a process has said so far.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

func TestCtrlCIsAnOrderlyEnd(t *testing.T) {
	t.Parallel()
	bin := buildWeir(t)
	b := weirtest.Start(t, weirtest.Property("group.initial.rebalance.delay.ms", "0"))
	on(t, b)("", "topic", "create", "t")
	on(t, b)("1\n2\n", "produce", "t")
	for _, args := range []string{"consume t --offset start", "consume t --group g", "produce t"} {
		c := child(t, 60*time.Second, bin, append(strings.Fields(args), "-b", b.Addr())...)
		in, err := c.StdinPipe() // stays open: nothing but the signal ends the command
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte("3\nhalf a line")); err != nil {
			t.Fatal(err)
		}
		var out heard
		var errs bytes.Buffer
		c.Stdout, c.Stderr = &out, &errs
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, args+" is at work", func() bool {
			if strings.HasPrefix(args, "consume") {
				return out.String() == "1\n2\n"
			}
			return strings.HasSuffix(on(t, b)("", "consume", "t", "-e"), "3\n")
		})
		if err := c.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil {
			t.Errorf("%s: %v\n%s%s", args, err, out.String(), errs.String())
		}
		if strings.HasPrefix(args, "consume") && out.String() != "1\n2\n" {
			t.Errorf("%s printed %q", args, out.String())
		}
		if strings.HasPrefix(args, "produce") && !strings.Contains(errs.String(), "produced 1 record, ") {
			t.Errorf("%s said %q", args, errs.String())
		}
		_ = in.Close() // or closed by Wait
	}
}

func TestAPipeThatEndsEndsTheCommand(t *testing.T) {
	t.Parallel()
	bin := buildWeir(t)
	b := weirtest.Start(t)
	on(t, b)("", "topic", "create", "t")
	on(t, b)(strings.Repeat(strings.Repeat("x", 1000)+"\n", 3000), "produce", "t")
	c := child(t, 60*time.Second, "sh", "-c", bin+" consume t --offset start -b "+b.Addr()+" | head -n 1")
	out, err := c.Output()
	if err != nil || len(out) != 1001 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

func TestTheShellCompletesNames(t *testing.T) {
	b := weirtest.Start(t)
	do := on(t, b)
	do("", "topic", "create", "orders", "old-orders", "clicks")
	do("", "group", "seek", "billing", "--to", "start", "--topic", "orders", "--execute")
	for args, want := range map[string]string{
		"topic describe o":             "old-orders orders",
		"consume ":                     "clicks old-orders orders",
		"produce cl":                   "clicks",
		"group describe ":              "billing",
		"group seek b":                 "billing",
		"config ls to":                 "topic",
		"config get topic or":          "orders",
		"topic desc":                   "describe",
		"errors disk-fu":               "disk-full",
		"completion ":                  "bash zsh fish",
		"topic describe o -b nonsense": "",
	} {
		words := strings.Split(args, " ")
		flags := []string{"__complete"}
		if !strings.Contains(args, "-b ") {
			flags = append(flags, words[0], "-b", b.Addr())
			words = words[1:]
		}
		if args == "topic describe o -b nonsense" {
			words = []string{"topic", "-b", "nonsense", "describe", "o"}
		}
		if strings.HasPrefix(args, "completion") || strings.HasPrefix(args, "errors") {
			flags = []string{"__complete", flags[1]}
		}
		_, out, _ := weir(t, "", append(flags, words...)...)
		var names []string
		for line := range strings.Lines(out) {
			if !strings.HasPrefix(line, ":") {
				name, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
				names = append(names, name)
			}
		}
		got := strings.Join(names, " ")
		if args == "errors disk-fu" || args == "config ls to" {
			if !strings.Contains(got, want) {
				t.Errorf("%s is completed to %q", args, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%s is completed to %q, not %q", args, got, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, out, _ := weir(t, "", "completion", shell); code != 0 || !strings.Contains(out, "__complete") {
			t.Errorf("%s: exit code %d, %d bytes", shell, code, len(out))
		}
	}
	if code, _, _ := weir(t, "", "completion", "tcsh"); code != 2 {
		t.Errorf("an unknown shell: exit code %d", code)
	}
}
