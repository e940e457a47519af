package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmq/weir/node/weirtest"
)

func newDiscard() *bufio.Writer { return bufio.NewWriter(io.Discard) }

func TestInputForms(t *testing.T) {
	do := on(t, weirtest.Start(t))
	for i, c := range []struct {
		args, in, want string
	}{
		{"", "a\n\nb", "null=a null= null=b "},
		{"-Z", "a\n\nb", "null=a null=null null=b "},
		{"-k :", "k:v\nnone\n:x\n", "k=v null=none =x "},
		{"-k : --null -", "-:v\nk:-\n", "null=v k=null "},
		{"-k :: -Z", "k::\n::v\n", "k=null =v "},
		{`-d \0`, "a\nb\x00c\x00", "null=a\nb null=c "},
		{`-d END --keep-newline`, "aENDbENENDc", "null=aEND null=bENEND null=c "},
		{`--format %k=%v;`, "a=1;b=2;", "a=1 b=2 "},
		{`--format %k=%v;`, "a=1;b=2", "a=1 b=2 "},
		{`--format <%k>%v{hex}\n`, "<a>4142\n<b>\n", "a=AB b= "},
		{`--format %v{base64}\t%k\n`, "YWI=\tk\n", "k=ab "},
		{`--format %v`, "all\nof\nit", "null=all\nof\nit "},
		{"--key k", "a\n", "k=a "},
		{"--key", "a\n", "=a "},
	} {
		topic := "t" + string(rune('a'+i))
		do("", "topic", "create", topic)
		args := append([]string{"produce", topic}, strings.Split(c.args, " ")...)
		if c.args == "" {
			args = args[:2]
		}
		if c.args == "--key" {
			args = append(args, "")
		}
		do(c.in, args...)
		if got := do("", "consume", topic, "-e", "--null", "null", "--format", "%k=%v "); got != c.want {
			t.Errorf("%s of %q: %q, not %q", c.args, c.in, got, c.want)
		}
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("line\nline\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	do("", "topic", "create", "files")
	do("", "produce", "files", "--file", path, "--file", path, "--key", "k", "--timestamp", "2025-11-21T08:00:00Z")
	if got := do("", "consume", "files", "-e", "--format", "%k %v{escaped} %D;"); got != strings.Repeat(`k line\nline\n 2025-11-21T08:00:00.000Z;`, 2) {
		t.Errorf("files: %q", got)
	}
}

func TestMalformedInputIsNamed(t *testing.T) {
	b := weirtest.Start(t)
	on(t, b)("", "topic", "create", "t")
	for _, c := range []struct {
		args, in, says string
		code           int
	}{
		{"--format json", "{\"value\":\"a\"}\n{nonsense\n", "error input-malformed: line 2", 1},
		{"--format json", "{\"valu\":\"a\"}\n", `unknown field "valu"`, 1},
		{"--format json", "{\"value\":\"a\",\"value_base64\":\"YQ==\"}\n", "text and base64", 1},
		{"--format json", "{\"value\":\"a\"} {}\n", "more than one", 1},
		{`--format %k{hex}:%v\n`, "zz:a\n", "error input-malformed: record 1", 1},
		{`--format %p:%v\n`, "x:a\n", `%p is "x", not a number`, 1},
		{`--format %p:%v\n`, "-1:a\n", "no partition", 1},
		{`--format <%v>`, "<a>b", "it begins with", 1},
		{`--format %k:%v\n`, "a:b\nc", "before %k is complete", 1},
		{`--format %k%v\n`, "", "nothing divides", 2},
		{`--format %v%v\n`, "", "twice", 2},
		{`--format %h\n`, "", "cannot be read", 2},
		{`--format %p\n`, "", "neither", 2},
		{`--format %v -k :`, "", "leave out", 2},
		{`--format json -d x`, "", "leave out", 2},
		{`--delimiter \q`, "", "--delimiter", 2},
		{"--keep-partition", "", "--keep-partition", 2},
		{"--check-offsets", "", "--check-offsets", 2},
		{"-p 0 --key-partition x", "", "give one", 2},
		{"--partitioner dice", "", "dice", 2},
		{"--timestamp soon", "", "soon", 2},
		{"--file x -k :", "", "--file", 2},
		{"--file /does/not/exist", "", "no such file", 1},
	} {
		code, out, errs := weir(t, c.in, append([]string{"produce", "t", "-b", b.Addr()}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%s: exit code %d, want %d and %q; it says\n%s%s", c.args, code, c.code, c.says, out, errs)
		}
	}
	if code, _, errs := weir(t, "a\n", "produce", "-b", b.Addr()); code != 2 || !strings.Contains(errs, "TOPIC is missing") {
		t.Errorf("without topic: %d %s", code, errs)
	}
	if code, _, errs := weir(t, "{\"value\":\"a\"}\n", "produce", "--format", "json", "-b", b.Addr()); code != 1 || !strings.Contains(errs, "names no topic") {
		t.Errorf("without topic in the record: %d %s", code, errs)
	}
}

func TestReportsTellEachRecord(t *testing.T) {
	b := weirtest.Start(t)
	do := on(t, b)
	do("", "topic", "create", "t", "--config", "max.message.bytes=300")
	if got := do("a\nb\n", "produce", "t", "--report"); got != "t 0 0\nt 0 1\n" {
		t.Errorf("reported %q", got)
	}
	in := "ok\n" + strings.Repeat("x", 1000) + "\nok\n"
	code, out, errs := weir(t, in, "produce", "t", "--report", "--keep-going", "--output", "json", "--linger", "0", "--rate", "50", "-b", b.Addr())
	if code != 1 || !strings.Contains(errs, "record-too-large") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	var lines []reportJSON
	for line := range strings.Lines(out) {
		var r reportJSON
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lines = append(lines, r)
	}
	if len(lines) != 3 || lines[0].Offset != 2 || lines[1].Error == nil || lines[1].Error.Code != "record-too-large" || lines[2].Offset != 3 {
		t.Errorf("reported %s", out)
	}
	code, _, errs = weir(t, `{"offset":7,"value":"a"}`, "produce", "t", "--format", "json", "--check-offsets", "-b", b.Addr())
	if code != 1 || !strings.Contains(errs, "the record of offset 7 was written to t/0 at 4") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestPartitionersPlaceKeysWhereOthersDo(t *testing.T) {
	do := on(t, weirtest.Start(t))
	do("", "topic", "create", "t", "--partitions", "12")
	place := func(args ...string) string { // of alice, bob and x
		t.Helper()
		out := do("alice:1\nbob:2\nx:3\n", append([]string{"produce", "t", "-k", ":", "--report", "--output", "json"}, args...)...)
		where := map[string]int32{}
		for line := range strings.Lines(out) {
			var r reportJSON
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			where[r.Key] = r.Partition
		}
		return fmt.Sprintln(where["alice"], where["bob"], where["x"])
	}
	alice := strings.Fields(place())[0]
	for _, c := range []struct{ args, want string }{
		{"--partitioner murmur2", fmt.Sprintln(byMurmur2([]byte("alice"), 12), byMurmur2([]byte("bob"), 12), byMurmur2([]byte("x"), 12))},
		{"--partitioner round-robin", "0 1 2\n"},
		{"--key-partition alice", fmt.Sprintln(alice, alice, alice)},
		{"-p 7", "7 7 7\n"},
	} {
		if got := place(strings.Fields(c.args)...); got != c.want {
			t.Errorf("%s: %s, not %s", c.args, got, c.want)
		}
	}
	if p, _ := partitioner("crc32"); p([]byte("123456789"), 1<<30) != 0xcbf43926%(1<<30) {
		t.Errorf("crc32 is not zlib's")
	}
	// FNV-1a of "a" is e40c292c, which is negative as an int32; sarama takes the remainder's absolute value.
	if p, _ := partitioner("fnv1a"); p([]byte("a"), 1000) != 76 {
		t.Errorf("fnv1a puts a at %d", p([]byte("a"), 1000))
	}
}

func TestRateIsKept(t *testing.T) {
	do := on(t, weirtest.Start(t))
	do("", "topic", "create", "t")
	begin := time.Now()
	do(strings.Repeat("x\n", 50), "produce", "t", "--rate", "100")
	if d := time.Since(begin); d < 400*time.Millisecond {
		t.Errorf("50 records at 100 a second took %v", d)
	}
}
