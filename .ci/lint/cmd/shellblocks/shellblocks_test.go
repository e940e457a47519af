package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const script = "#!/usr/bin/env bash\nstep tests 600 make test\n"

// document runs one document made of lines and returns how many blocks ran.
func document(t *testing.T, lines ...string) (int, error) {
	t.Helper()
	blocks, err := parse("README.md", strings.Join(lines, "\n"))
	if err != nil {
		return 0, err
	}
	return runDocument(blocks, script)
}

func TestBlocksRun(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		ran   int
		err   string // part of the error; "" for none
	}{
		{"a passing block", []string{"# Title", "```sh", "true", "```"}, 1, ""},
		{"an indented block", []string{"1. do", "   ```sh", "   true", "   ```"}, 1, ""},
		{"output is not run", []string{"```text", "false", "```", "```", "false", "```"}, 0, ""},
		{"a failing block", []string{"```sh", "false", "```"}, 0, "exit status 1"},
		{"a failing command in the middle", []string{"```sh", "false", "true", "```"}, 0, "exit status 1"},
		{"a failing pipe", []string{"```sh", "false | cat", "```"}, 0, "exit status 1"},
		{"an unset variable", []string{"```sh", "echo $NOT_SET_ANYWHERE", "```"}, 0, "exit status"},
		{"expected output", []string{"<!-- ci: expect hello -->", "```sh", "echo hello you", "```"}, 1, ""},
		{"missing output", []string{"<!-- ci: expect hello -->", "```sh", "echo bye", "```"}, 0, `does not contain "hello"`},
		{"a time limit", []string{"<!-- ci: timeout 200ms -->", "```sh", "sleep 60", "```"}, 0, "took longer"},
		{"skipped with a reason", []string{"<!-- ci: skip it needs the internet -->", "```sh", "false", "```"}, 0, ""},
		{"skipped without a reason", []string{"<!-- ci: skip -->", "```sh", "false", "```"}, 0, "needs a reason"},
		{"a step of the script", []string{"<!-- ci: step -->", "", "```sh", "# all of them", "make test", "```"}, 0, ""},
		{"no step of the script", []string{"<!-- ci: step -->", "```sh", "make race", "```"}, 0, "no line of the script"},
		{"an unknown mark", []string{"<!-- ci: sometimes -->", "```sh", "true", "```"}, 0, "unknown ci mark"},
		{"a mark on the fence", []string{"```sh ci:skip", "true", "```"}, 0, "marks go into a comment"},
		{"a mark too early", []string{"<!-- ci: expect x -->", "prose", "```sh", "true", "```"}, 0, "just before"},
		{"a mark without a block", []string{"<!-- ci: expect x -->"}, 0, "without a block"},
		{"a shell by another name", []string{"```bash", "true", "```"}, 0, "would not be run"},
		{"a block without an end", []string{"```sh", "true"}, 0, "does not end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ran, err := document(t, tt.lines...)
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			if ran != tt.ran {
				t.Errorf("%d blocks ran, want %d", ran, tt.ran)
			}
		})
	}
}

// serverSource serves /readyz, says so, and exits 0 on SIGTERM unless it is told otherwise.
const serverSource = `package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	go http.Serve(l, nil)
	if os.Args[1] == "dies" {
		os.Exit(0)
	}
	fmt.Printf("ready kafka=127.0.0.1:1 http=%s data=%s\n", l.Addr(), os.Args[2])
	os.WriteFile(os.Args[2], []byte(l.Addr().String()), 0o644)
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	<-c
	if os.Args[1] == "unclean" {
		os.Exit(3)
	}
	if os.Args[1] == "hangs" {
		select {}
	}
}
`

func TestBackgroundBlocksServeTheFollowingOnesAndStopCleanly(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "server.go")
	if err := os.WriteFile(source, []byte(serverSource), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := runBlock(block{script: "go build -o " + dir + "/server " + source, timeout: 2 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte("run:\n\t@echo building\n\t@"+dir+"/server clean "+dir+"/addr\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, command, err string }{
		{"directly", dir + "/server clean " + dir + "/addr", ""},
		{"through make", "make -C " + dir + " run", ""},
		{"unclean", dir + "/server unclean " + dir + "/addr", "want exit code 0"},
		{"dead", dir + "/server dies " + dir + "/addr", "ended before it was ready"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ran, err := document(t,
				"<!-- ci: background until ready -->", "```sh", tt.command, "```",
				"```sh", "test -s "+dir+"/addr", "```")
			if tt.err == "" {
				if err != nil || ran != 2 {
					t.Fatalf("%d blocks ran, error %v", ran, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
		})
	}
}
