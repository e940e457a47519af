package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/node/weirtest"
)

// weir runs a command in this process. One that hangs ends the tests with the stacks of all goroutines.
func weir(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	watchdog := time.AfterFunc(time.Minute, func() { panic(fmt.Sprintf("%s: weir %s hangs", t.Name(), strings.Join(args, " "))) })
	defer watchdog.Stop()
	code = run(args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// do runs a command that must succeed.
func do(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	code, out, errs := weir(t, stdin, args...)
	if code != 0 {
		t.Fatalf("weir %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// on returns a function that runs commands on a broker, and wants them to end with 0.
func on(t *testing.T, b *weirtest.Broker) func(stdin string, args ...string) string {
	return func(stdin string, args ...string) string {
		t.Helper()
		return do(t, stdin, append(args, "--brokers", b.Addr())...)
	}
}

func TestReadmeWorks(t *testing.T) {
	do := on(t, weirtest.Start(t))
	do("", "topic", "create", "greetings", "--partitions", "3")
	do("hello, weir\n", "produce", "greetings")
	do("", "topic", "create", "small")
	if out := do("", "topic", "describe", "small"); !strings.Contains(out, ", 1 partition\n") {
		t.Errorf("one partition is described as %s", out)
	}
	if out := do("", "consume", "greetings", "--from", "beginning", "--stop-at-end"); out != "hello, weir\n" {
		t.Errorf("consumed %q", out)
	}
	if out := do("", "topic", "describe", "greetings"); !strings.Contains(out, "3 partitions") {
		t.Errorf("described as %s", out)
	}
	var f figures
	out := do("", "bench", "produce", "--records", "2000", "--size", "100", "--output", "json")
	if err := json.Unmarshal([]byte(out), &f); err != nil || f.Records != 2000 || f.Failed != 0 || f.Latency.P50 <= 0 {
		t.Errorf("bench produce: %v\n%s", err, out)
	}
	out = do("", "bench", "consume", "--records", "2000", "--output", "json")
	if err := json.Unmarshal([]byte(out), &f); err != nil || f.Records != 2000 || f.Bytes != 200_000 {
		t.Errorf("bench consume: %v\n%s", err, out)
	}
	do("", "bench", "produce", "--records", "200", "--rate", "2000", "--producers", "3", "--acks", "1", "--topic", "rated")
	page := filepath.Join(t.TempDir(), "page.html")
	out = do("", "bench", "e2e", "--rate", "1000", "--duration", "1500ms", "--producers", "2", "--consumers", "2", "--partitions", "3",
		"--topic", "both", "--output", "json", "--html", page)
	if err := json.Unmarshal([]byte(out), &f); err != nil || f.Records < 1400 || f.EndToEnd.Count != 2*f.Records || f.EndToEnd.P50 <= 0 || len(f.Ticks) == 0 {
		t.Errorf("bench e2e: %v\n%s", err, out)
	}
	if html, err := os.ReadFile(page); err != nil || strings.Count(string(html), "<svg") < 3 || !strings.Contains(string(html), "end to end") {
		t.Errorf("the page: %v\n%s", err, html)
	}
}

func TestAnyBytesComeBack(t *testing.T) {
	do := on(t, weirtest.Start(t))
	in := "\n\nplain\n\x00\xff\xfe\r\n" + strings.Repeat("long", 600_000) + "\nwithout newline at the end"
	for codec := range codecs {
		topic := "bytes-" + codec
		do("", "topic", "create", topic, "--config", "max.message.bytes=8388608")
		do(in, "produce", topic, "--compression", codec, "--max-request-bytes", "8388608")
		if out := do("", "consume", topic, "-e"); out != in+"\n" {
			t.Errorf("%s: %d bytes became %d", codec, len(in)+1, len(out))
		}
	}
}

func TestKeptNewlinesGiveBackTheFileByteForByte(t *testing.T) {
	do := on(t, weirtest.Start(t))
	for topic, in := range map[string]string{
		"ended": "one\ntwo\n", "open": "one\ntwo", "gaps": "\n\none\r\n\n", "empty": "",
	} {
		do("", "topic", "create", topic)
		do(in, "produce", topic, "--keep-newline")
		if out := do("", "consume", topic, "-e", "--format", "%v"); out != in {
			t.Errorf("%q became %q", in, out)
		}
	}
}

func TestKeysHeadersPartitionsAndPlaces(t *testing.T) {
	do := on(t, weirtest.Start(t))
	do("", "topic", "create", "t", "--partitions", "2")
	do("a=1\nb=2=3\nnone\n", "produce", "t", "--key-delimiter", "=", "--partition", "1", "--header", "h=x", "--header", "g=", "--acks", "1")
	out := do("", "consume", "t", "-e", "--format", `%p %o [%k] [%v] %h %V%%\t\\\n`)
	want := "1 0 [a] [1] h=x,g= 1%\t\\\n1 1 [b] [2=3] h=x,g= 3%\t\\\n1 2 [] [none] h=x,g= 4%\t\\\n"
	if out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	if out := do("", "consume", "t", "-e", "--from", "1", "-p", "1"); out != "2=3\nnone\n" {
		t.Errorf("from offset 1: %q", out)
	}
	if out := do("", "consume", "t", "--from", "beginning", "-n", "2"); out != "1\n2=3\n" {
		t.Errorf("two records: %q", out)
	}
	if out := do("", "consume", "t", "-e", "--from", "2999-01-01"); out != "" {
		t.Errorf("from the far future: %q", out)
	}
	if out := do("", "consume", "t", "-e", "--from", "2001-01-01T00:00:00Z"); strings.Count(out, "\n") != 3 {
		t.Errorf("from the past: %q", out)
	}
	out = do("", "consume", "t", "-e", "--output", "json")
	var r recordJSON
	if err := json.Unmarshal([]byte(strings.SplitN(out, "\n", 2)[0]), &r); err != nil || *r.Key != "a" || *r.Value != "1" || len(r.Headers) != 2 {
		t.Errorf("%v: %s", err, out)
	}
	do("\xff\x00\n", "produce", "b")
	if out := do("", "consume", "b", "-e", "--output", "json"); !strings.Contains(out, `"value":null,"value_base64":"/wA="`) {
		t.Errorf("bytes in JSON: %s", out)
	}
}

func TestTopicCommands(t *testing.T) {
	do := on(t, weirtest.Start(t))
	do("", "topic", "create", "b", "a", "--partitions", "2", "--config", "retention.ms=1000")
	do("", "topic", "create", "a", "--if-not-exists")
	out := do("", "topic", "ls", "--output", "json")
	var names []string
	for line := range strings.Lines(out) {
		var v struct {
			Name       string
			Partitions int
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil || v.Partitions != 2 {
			t.Errorf("%v: %s", err, line)
		}
		names = append(names, v.Name)
	}
	if fmt.Sprint(names) != "[a b]" {
		t.Errorf("topics %v", names)
	}
	do("", "topic", "delete", "a")
	if out := do("", "topic", "ls"); strings.Contains(out, "a ") || !strings.Contains(out, "b ") {
		t.Errorf("after deleting a:\n%s", out)
	}
}

func TestFailuresHaveACodeACauseAndACure(t *testing.T) {
	b := weirtest.Start(t)
	on(t, b)("", "topic", "create", "there")
	for _, c := range []struct {
		args []string
		exit int
		says []string
	}{
		{[]string{"topic", "create", "there", "-b", b.Addr()}, 1, []string{"error topic-exists:", "fix:", "broker: TOPIC_ALREADY_EXISTS: topic"}},
		{[]string{"topic", "create", "t", "--config", "no.such=1", "-b", b.Addr()}, 1, []string{"error invalid-config:", "no.such"}},
		{[]string{"topic", "delete", "missing", "-b", b.Addr()}, 1, []string{"error topic-not-found:", "weir topic ls"}},
		{[]string{"topic", "describe", "missing", "-b", b.Addr()}, 1, []string{"error topic-not-found:"}},
		{[]string{"consume", "missing", "-b", b.Addr()}, 1, []string{"error topic-not-found:", "missing"}},
		{[]string{"consume", "there", "-p", "7", "-b", b.Addr()}, 1, []string{"error partition-not-found:"}},
		{[]string{"topic", "ls", "-b", "127.0.0.1:1"}, 1, []string{"error unreachable:", "127.0.0.1:1", "weir dev"}},
		{[]string{"topic", "ls", "-b", "nonsense"}, 2, []string{"error usage:", "HOST:PORT"}},
		{[]string{"topic", "ls", "--transport", "pigeon"}, 2, []string{"tcp or quic"}},
		{[]string{"topic"}, 0, nil},
		{[]string{"topic", "frob"}, 2, []string{"weir topic --help"}},
		{[]string{"topic", "descibe"}, 2, []string{"did you mean describe?"}},
		{[]string{"node", "strat"}, 2, []string{"there is no command `weir node strat`; `weir node` alone starts a node; `weir node --help` lists them"}},
		{[]string{"node", "drian", "3"}, 2, []string{"did you mean drain?"}},
		{[]string{"frob"}, 2, []string{"weir --help"}},
		{[]string{"consume", "t", "--ofset", "start"}, 2, []string{"unknown flag: --ofset; did you mean --offset?"}},
		{[]string{"errors", "xyzzy"}, 2, []string{"\"xyzzy\"; `weir errors`"}},
		{[]string{"topic", "create"}, 2, []string{"weir topic create NAME"}},
		{[]string{"consume", "t", "--from", "yesterday"}, 2, []string{"yesterday"}},
		{[]string{"consume", "t", "--format", "%q"}, 2, []string{"%q"}},
		{[]string{"consume", "t", "--count", "-1"}, 2, []string{"--count"}},
		{[]string{"produce", "t", "--acks", "2"}, 2, []string{"--acks"}},
		{[]string{"produce", "t", "-z", "rar"}, 2, []string{"rar"}},
		{[]string{"produce", "t", "-H", "x"}, 2, []string{"NAME=VALUE"}},
		{[]string{"produce", "t", "--nonsense"}, 2, []string{"weir produce --help"}},
		{[]string{"version", "--output", "yaml"}, 2, []string{"yaml"}},
		{[]string{"sim", "run", "--mode", "wild"}, 2, []string{"lite"}},
		{[]string{"dev", "--ephemeral", "--data", "x"}, 2, []string{"--ephemeral"}},
		{[]string{"dev", "--nodes", "4", "--chaos"}, 2, []string{"3 or 5 nodes"}},
		{[]string{"dev", "--chaos", "--nodes", "1"}, 2, []string{"less than --nodes 3"}},
		{[]string{"dev", "--chaos", "--faults", "kill,pauze"}, 2, []string{"pauze", "cut-link"}},
		{[]string{"dev", "--chaos", "--nodes-transport", "quic", "--faults", "cut-link"}, 2, []string{"needs --nodes-transport tcp"}},
		{[]string{"dev", "--for", "3s"}, 2, []string{"of --chaos"}},
		{[]string{"dev", "--chaos", "--rate", "0"}, 2, []string{"--rate"}},
		{[]string{"dev", "--nodes", "10"}, 2, []string{"1 to 9"}},
		{[]string{"dev", "--nodes", "3", "--ephemeral", "--set", "log.dirs=x"}, 2, []string{"log.dirs", "--data"}},
		{[]string{"dev", "--nodes", "3", "--ephemeral", "--listen", "127.0.0.1:65534"}, 2, []string{"no port number"}},
		{[]string{"node", "--set", "num.partitons=3"}, 1, []string{"did you mean num.partitions?"}},
		{[]string{"node"}, 1, []string{"log.dirs is not set"}},
		{[]string{"node", "--data", t.TempDir(), "--listen", "192.0.2.1:9092"}, 1, []string{"error configuration:", "advertised.listeners"}}, // not ours (RFC 5737)
	} {
		code, out, errs := weir(t, "", c.args...)
		if code != c.exit {
			t.Errorf("weir %s: exit code %d, want %d\n%s%s", strings.Join(c.args, " "), code, c.exit, out, errs)
		}
		for _, s := range c.says {
			if !strings.Contains(errs, s) {
				t.Errorf("weir %s does not say %q:\n%s", strings.Join(c.args, " "), s, errs)
			}
		}
	}
	_, _, errs := weir(t, "", "topic", "ls", "-b", "127.0.0.1:1", "--output", "json")
	var e struct{ Error map[string]string }
	if err := json.Unmarshal([]byte(errs), &e); err != nil || e.Error["code"] != "unreachable" || e.Error["fix"] == "" {
		t.Errorf("%v: %s", err, errs)
	}
}

func TestHintsCanBeTypedAsTheyAre(t *testing.T) {
	for arg0, want := range map[string]string{"weir": "weir", "bin/weir": "bin/weir", "./weir": "./weir", "/opt/weir": "/opt/weir"} {
		if got := asCalled(arg0); got != want {
			t.Errorf("called as %s, it is named %s", arg0, got)
		}
	}
}

func TestErrorsExplainsCodes(t *testing.T) {
	for arg, says := range map[string]string{
		"disk-full": "Shorten retention", "3": "UNKNOWN_TOPIC_OR_PARTITION, error code 3", "unknown_topic_or_partition": "weir topic ls",
		"NotEnoughReplicasException": "min.insync.replicas",
	} {
		if code, out, errs := weir(t, "", "errors", arg); code != 0 || !strings.Contains(out, says) {
			t.Errorf("weir errors %s: exit code %d, wants %q:\n%s%s", arg, code, says, out, errs)
		}
	}
	if code, _, errs := weir(t, "", "errors", "disk-ful"); code != 2 || !strings.Contains(errs, "did you mean disk-full") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	_, out, _ := weir(t, "", "errors", "--output", "json")
	if n := strings.Count(out, "\n"); n != len(explain.All()) {
		t.Errorf("%d lines for %d codes", n, len(explain.All()))
	}
	if _, out, _ = weir(t, "", "errors", "--kafka"); !strings.Contains(out, "REBOOTSTRAP_REQUIRED") {
		t.Errorf("Kafka's: %s", out)
	}
}

// TestEveryCodeUsedIsInTheCatalogue looks at the codes that are written as text: those by constant exist.
func TestEveryCodeUsedIsInTheCatalogue(t *testing.T) {
	known := map[string]bool{}
	for _, e := range explain.All() {
		known[string(e.Code)] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			if f, ok := call.Fun.(*ast.Ident); !ok || f.Name != "fail" {
				return true
			}
			if text, ok := call.Args[0].(*ast.BasicLit); ok {
				if code, err := strconv.Unquote(text.Value); err != nil || !known[code] {
					t.Errorf("%s: %s is not in the catalogue of node/explain", name, text.Value)
				}
			}
			return true
		})
	}
}

func TestSimulatorRunsItsPlan(t *testing.T) {
	code, first, _ := weir(t, "", "sim", "run", "--seed", "5")
	line := lastLine(first)
	if code != 0 || !strings.HasPrefix(line, "seed=5 mode=lite events=") || !strings.HasSuffix(line, " verdict=ok") {
		t.Fatalf("exit code %d: %s", code, first)
	}
	_, plan, _ := weir(t, "", "sim", "plan", "--seed", "5")
	path := filepath.Join(t.TempDir(), "plan")
	if err := os.WriteFile(path, []byte(plan), 0o600); err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	if _, again, errs := weir(t, "", "sim", "run", "--plan", path, "--trace", trace); lastLine(again) != line {
		t.Errorf("the seed's own plan gives\n%snot\n%s%s", again, first, errs)
	}
	if info, err := os.Stat(trace); err != nil || info.Size() == 0 {
		t.Errorf("the trace: %v", err)
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

func TestEveryCommandTeaches(t *testing.T) {
	a := &app{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no description", c.CommandPath())
		}
		if c.Runnable() && len(c.Commands()) == 0 && c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.root())
}

func TestFleetSumsUp(t *testing.T) {
	code, out, errs := weir(t, "", "sim", "fleet", "--seeds", "1:4", "--jobs", "2")
	if code != 0 || lastLine(out) != "verdict=ok" {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	for _, seeds := range []string{"4:1", "x", "1:y", ""} {
		if code, _, _ := weir(t, "", "sim", "fleet", "--seeds", seeds); code != 2 {
			t.Errorf("--seeds %q: exit code %d", seeds, code)
		}
	}
}
