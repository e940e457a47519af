package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirmq/weir/clients/consumer"
	"github.com/weirmq/weir/node/weirtest"
)

// nasty are records as JSON lines that are hard to carry: nulls, empties, bytes that are no text, delimiters
// in everything, equal header names.
const nasty = `{"topic":"x","partition":0,"offset":0,"timestamp_ms":1,"key":null,"value":null}
{"topic":"x","partition":0,"offset":1,"timestamp_ms":1763712000000,"key":"","value":""}
{"topic":"x","partition":0,"offset":2,"timestamp_ms":1763712000001,"key":"k\n\t: \\ \u0000 ключ","value":"<&>\u2028\"%v\r\n"}
{"topic":"x","partition":0,"offset":3,"timestamp_ms":1763711999999,"key":null,"key_base64":"/w==","value":null,"value_base64":"AP/+gA=="}
{"topic":"x","partition":0,"offset":4,"timestamp_ms":1763712000002,"key":"t","value":null,"headers":[{"name":"","value":null},{"name":"a","value":""},{"name":"a","value":"="},{"name":"","name_base64":"gA==","value":null,"value_base64":"gQ=="}]}
`

func TestJSONRoundTripsEverything(t *testing.T) {
	do := on(t, weirtest.Start(t))
	do("", "topic", "create", "x", "y")
	do(nasty, "produce", "x", "--format", "json", "--check-offsets")
	first := do("", "consume", "x", "-e", "--output", "json")
	if !sameJSON(t, first, nasty) {
		t.Errorf("wrote\n%sread\n%s", nasty, first)
	}
	// Once more, through the other spelling, without naming the topic, partitions kept.
	second := strings.ReplaceAll(first, `"topic":"x"`, `"topic":"y"`)
	do(second, "produce", "--format", "json", "--keep-partition", "--check-offsets", "-z", "zstd")
	if again := do("", "consume", "y", "-e", "--format", "json"); again != second {
		t.Errorf("wrote\n%sread\n%s", second, again)
	}
}

// sameJSON compares lines as values.
func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		var v, w any
		if x[i] == "" && y[i] == "" {
			continue
		}
		if err := json.Unmarshal([]byte(x[i]), &v); err != nil {
			t.Fatalf("%v: %s", err, x[i])
		}
		if err := json.Unmarshal([]byte(y[i]), &w); err != nil {
			t.Fatalf("%v: %s", err, y[i])
		}
		if fmt.Sprint(v) != fmt.Sprint(w) {
			return false
		}
	}
	return true
}

func TestFormatsRoundTripBytes(t *testing.T) {
	do := on(t, weirtest.Start(t))
	do("", "topic", "create", "from")
	do(nasty, "produce", "from", "--format", "json")
	want := do("", "consume", "from", "-e", "--format", `%k{hex} %v{hex} %d\n`, "--null", "none")
	for _, how := range []string{"base64", "hex", "escaped"} {
		format := `%d\t%k{` + how + `}\t%v{` + how + `}\n`
		text := do("", "consume", "from", "-e", "--format", format, "--null", "none")
		do("", "topic", "create", how)
		do(text, "produce", how, "--format", format, "--null", "none")
		if got := do("", "consume", how, "-e", "--format", `%k{hex} %v{hex} %d\n`, "--null", "none"); got != want {
			t.Errorf("%s: wrote\n%swhich is\n%sread\n%s", how, text, want, got)
		}
	}
}

// withTimeEnough runs a command in whose arguments TIME stands for a time that must be enough for what it is to do: it is
// given longer until it is right. How long that takes is a matter of the machine. Without TIME it is run once.
func withTimeEnough(args string, run func(args []string) (right bool)) {
	for _, enough := range []string{"300ms", "3s", "30s"} {
		if run(strings.Fields(strings.ReplaceAll(args, "TIME", enough))) || !strings.Contains(args, "TIME") {
			return
		}
	}
}

func TestPlacesAndEnds(t *testing.T) {
	t.Parallel()
	do := on(t, weirtest.Start(t))
	do("", "topic", "create", "t", "--partitions", "2")
	for p := range 2 {
		var in strings.Builder
		for i := range 10 {
			fmt.Fprintf(&in, "%d %d%d\n", 1_000_000+1000*i, p, i)
		}
		do(in.String(), "produce", "t", "-p", fmt.Sprint(p), "--format", `%d %v\n`)
	}
	read := func(args ...string) string {
		t.Helper()
		return strings.ReplaceAll(do("", append([]string{"consume", "t"}, args...)...), "\n", " ")
	}
	for _, c := range []struct {
		args, want string
	}{
		{"-p 0 -e --offset -3", "07 08 09 "},
		{"-p 0 -e --offset +8", "08 09 "},
		{"-p 1 -e --offset 9", "19 "},
		{"-p 1 -e --offset 10", ""},
		{"-p 1 -e --offset 1000", ""},
		{"-p 1 --offset 3 --until 5", "13 14 "},
		{"-p 0 --offset start --until +2", "00 01 "},
		{"-p 0 --offset start --until -8", "00 01 "},
		{"-p 0 --offset @1002500 --until @1004000", "03 "},
		{"-p 0 --offset @1002000 --until @1004000", "02 03 "},
		{"-p 0 --offset @1009001 -e", ""},
		{"-p 0 --offset start --until @1000000", ""},
		{"-p 0 --offset end -e", ""},
		{"-p 0 --offset start -n 2", "00 01 "},
		{"-p 0 --offset start -n 2 --timeout 20s", "00 01 "},
		{"-p 0,1 --offset -1 -n 2 --format %v+", ""},
		{"-p 0 -e --filter value=07", "07 "},
		{"-p 0 -e --filter value~[78]$ --filter value!=08", "07 "},
		{"-p 0 -e --grep 0[12]", "01 02 "},
		{"-p 0 -e --filter key:null -n 1", "00 "},
		{"-p 0 -e --filter key:set", ""},
		{"-p 0 --offset start --for TIME --filter value!~0[0-7]", "08 09 "},
		{"-p 0 --offset start --idle TIME --filter value!~0[0-7]", "08 09 "},
		{"-p 0 --from 1 -e -n 1 --format %t/%p/%o#%i=%v,%V,%K,%H@%D", "t/0/1#1=01,2,-1,0@1970-01-01T00:16:41.000Z"},
		{"-p 0 --from 1 -e -n 1 --format %d{s}-%d{us}-%d{ns}-%s-%S", "1001-1001000000-1001000000000-01-2"},
	} {
		got := ""
		withTimeEnough(c.args, func(args []string) bool {
			got = read(args...)
			return got == c.want
		})
		if c.want == "" && strings.Contains(c.args, "%v+") {
			if got != "09+19+" && got != "19+09+" {
				t.Errorf("%s: %q", c.args, got)
			}
			continue
		}
		if got != c.want {
			t.Errorf("%s: %q, not %q", c.args, got, c.want)
		}
	}
	if got := strings.Fields(read("-e")); len(got) != 20 {
		t.Errorf("all of it: %v", got)
	}
	do("", "topic", "create", "tt", "other")
	do("here\n", "produce", "tt")
	do("not here\n", "produce", "other")
	if got := strings.Fields(do("", "consume", "t+", "--regex", "-e")); len(got) != 21 {
		t.Errorf("by regular expression: %v", got)
	}
	if got := do("", "consume", "tt", "other", "-e", "--format", `%t %v\n`); !strings.Contains(got, "tt here\n") || !strings.Contains(got, "other not here\n") {
		t.Errorf("two topics: %s", got)
	}
}

func TestUntilATimeToCome(t *testing.T) {
	do := on(t, weirtest.Start(t))
	do("", "topic", "create", "t")
	do("a\n", "produce", "t")
	begin := time.Now()
	do(fmt.Sprintf("%d late\n", time.Now().Add(30*time.Minute).UnixMilli()), "produce", "t", "--format", `%d %v\n`)
	if got := do("", "consume", "t", "--offset", "start", "--until", "@600ms"); got != "a\n" {
		t.Errorf("read %q", got)
	}
	if d := time.Since(begin); d < 500*time.Millisecond || d > 20*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestStopConditionsForScripts(t *testing.T) {
	t.Parallel()
	b := weirtest.Start(t)
	on(t, b)("", "topic", "create", "t")
	on(t, b)("1\n2\n", "produce", "t")
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"-e --at-least 2", 0, ""},
		{"-e --at-least 3", 1, "error too-few-records: 2 records came, not 3: the end was reached"},
		{"--from start --for 100ms --at-least 3", 1, "the time was over"},
		{"--from start -n 3 --timeout TIME", 1, "error too-few-records: 2 records came, not 3: --timeout is over"},
		{"--from start --timeout TIME", 1, "error timed-out:"},
		{"--from start --until 5 --timeout TIME", 1, "error timed-out:"},
		{"--from start -n 2 --timeout TIME", 0, ""},
		{"-e --follow", 2, "--follow"},
		{"-e --until 3", 2, "--stop-at-end"},
		{"-n 2 --at-least 3", 2, "--at-least"},
		{"--until tomorrow", 2, "--until"},
		{"--filter key", 2, "operator"},
		{"--filter key~(", 2, "regexp"},
		{"--filter offset=3", 2, "header.NAME"},
		{"--format %x", 2, "%x"},
		{"--format %v{rot13}", 2, "rot13"},
		{"--format %h{%o}", 2, "%k and %v only"},
		{"--format %v{hex", 2, "not closed"},
		{"--format %p{hex}", 2, "%p has no"},
		{"--format %d{lunch}", 2, "no time"},
	} {
		var code int
		var out, errs string
		right := func() bool { return code == c.code && strings.Contains(errs, c.says) }
		withTimeEnough(c.args, func(args []string) bool {
			code, out, errs = weir(t, "", append([]string{"consume", "t", "-b", b.Addr()}, args...)...)
			return right()
		})
		if !right() {
			t.Errorf("%s: exit code %d, want %d; it says\n%s%s", c.args, code, c.code, out, errs)
		}
	}
}

func TestConsumeAsAMemberOfAGroup(t *testing.T) {
	t.Parallel()
	b := weirtest.Start(t, weirtest.Property("group.initial.rebalance.delay.ms", "0"))
	do := on(t, b)
	do("", "topic", "create", "t", "--partitions", "3")
	for p := range 3 {
		do("1\n2\n3\n", "produce", "t", "-p", fmt.Sprint(p))
	}
	if out := do("", "consume", "t", "-g", "g", "-n", "4"); len(strings.Fields(out)) != 4 {
		t.Errorf("four records are %q", out)
	}
	if out := do("", "consume", "t", "-g", "g", "-e"); len(strings.Fields(out)) != 5 {
		t.Errorf("the rest is %q", out)
	}
	if out := do("", "group", "offsets", "g"); out != "t 0 3\nt 1 3\nt 2 3\n" {
		t.Errorf("committed is %q", out)
	}
	do("4\n", "produce", "t", "-p", "1")
	if out := do("", "consume", "t", "-g", "g", "-e", "--no-commit"); out != "4\n" {
		t.Errorf("what is new: %q", out)
	}
	if out := do("", "consume", "t", "-g", "g", "-e", "--strategy", "cooperative-sticky", "--instance", "me", "--session", "6s"); out != "4\n" {
		t.Errorf("what is new, once more: %q", out)
	}
	if out := do("", "consume", "t", "-g", "late", "--offset", "end", "-e"); out != "" {
		t.Errorf("from the end: %q", out)
	}
	// Two at a time share the work: each record is read by one of them. Neither goes while the group divides its partitions.
	var in strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&in, "%d\n", i)
	}
	do("", "topic", "create", "many", "--partitions", "4")
	do(in.String(), "produce", "many", "--batch-bytes", "1000")
	outs := make(chan string)
	for range 2 {
		go func() {
			var out, errs bytes.Buffer
			run([]string{"consume", "many", "-g", "two", "--idle", "5s", "-b", b.Addr()}, strings.NewReader(""), &out, &errs)
			outs <- out.String()
		}()
	}
	seen := map[string]int{}
	for _, word := range strings.Fields(<-outs + <-outs) {
		seen[word]++
	}
	if len(seen) != 3000 {
		t.Errorf("%d of 3000 records were read", len(seen))
	}
	for args, says := range map[string]string{
		"-g g -p 1": "--partition", "-g g --until 5": "--until", "-g g --offset 5": "weir group seek", "-g g --strategy dice": "dice",
		"--no-commit": "--group", "-g g --session 1ms": "--session",
	} {
		if code, _, errs := weir(t, "", append([]string{"consume", "t", "-b", b.Addr()}, strings.Fields(args)...)...); code != 2 || !strings.Contains(errs, says) {
			t.Errorf("%s: exit code %d: %s", args, code, errs)
		}
	}
}

func TestHeadersInAFormatOfTheirOwn(t *testing.T) {
	do := on(t, weirtest.Start(t))
	do("", "topic", "create", "t")
	do("v\n", "produce", "t", "-H", "a=1", "-H", "b=x=y", "-H", "c=", "--key", "k")
	for format, want := range map[string]string{
		`%h`:                      "a=1,b=x=y,c=",
		`%h{%k:%v;}`:              "a:1;b:x=y;c:;",
		`%h{%v{hex} }`:            "31 783d79  ",
		`%k{json}:%v{json}`:       `"k":"v"`,
		`%H %% \x41\\%k{base64}x`: `3 % A\aw==x`,
	} {
		if got := do("", "consume", "t", "-e", "--format", format); got != want {
			t.Errorf("%s: %q, not %q", format, got, want)
		}
	}
	for filter, passes := range map[string]bool{
		"header.a=1": true, "header.a=2": false, "header.a!=2": true, "header.z!=2": true, "header.z=2": false,
		"header.b~^x": true, "header.b!~^x": false, "header.z:null": true, "header.a:null": false, "header.c:set": true, "header.z:set": false,
		"key=k": true, "key!=k": false, "topic=t": true, "topic~^s": false, "value=v=": false,
	} {
		if got := do("", "consume", "t", "-e", "--filter", filter); (got == "v\n") != passes {
			t.Errorf("%s passes: %v", filter, !passes)
		}
	}
}

func TestEscapingSaysBytesExactly(t *testing.T) {
	for _, b := range [][]byte{{}, []byte("plain"), []byte("a\\n\n\t\r\x00\x7f"), {0xff, 0xfe, 'a', 0xc3}, []byte("żółw  \U0001F600")} {
		text := appendEscaped(nil, b)
		if bytes.ContainsAny(text, "\n\r\t\x00") {
			t.Errorf("%q is escaped as %q", b, text)
		}
		back, err := decoders["escaped"](text)
		if err != nil || !bytes.Equal(back, b) {
			t.Errorf("%q is escaped as %q and comes back as %q (%v)", b, text, back, err)
		}
	}
}

func FuzzEscaping(f *testing.F) {
	f.Add([]byte("a\\x41\xff\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		back, err := decoders["escaped"](appendEscaped(nil, b))
		if err != nil || !bytes.Equal(back, b) {
			t.Errorf("%q comes back as %q (%v)", b, back, err)
		}
	})
}

func FuzzFormat(f *testing.F) {
	f.Add(`%t %p/%o %k{hex}: %v{json}\n%h{%k=%v}%d{2006}`)
	f.Fuzz(func(_ *testing.T, format string) {
		if w, err := (formatter{}).parse(format); err == nil {
			_ = w(newDiscard(), &consumer.Record{Headers: []consumer.Header{{Key: []byte("k")}}}, 1)
		}
		if r, err := (&inputForm{format: format}).reader(strings.NewReader(format)); err == nil {
			for range 100 {
				if _, err := r.read(); err != nil {
					break
				}
			}
		}
	})
}
