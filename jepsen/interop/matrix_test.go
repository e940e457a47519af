package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func nothing(feature) bool { return false }

func only(f feature) func(feature) bool { return func(asked feature) bool { return asked == f } }

// What a client cannot write is left out, and only that.
func TestWhatAClientLacksIsLeftOut(t *testing.T) {
	all := numbered(fixture())
	if err := sameRecords(numbered(writable(fixture(), nothing)), numbered(fixture()), only(writeTime)); err != nil {
		t.Error("a client that lacks nothing:", err)
	}
	headers := func(records []record, is func(header) bool) (count int) {
		for _, r := range records {
			for _, h := range r.Headers {
				if is(h) {
					count++
				}
			}
		}
		return count
	}
	for f, is := range map[feature]func(header) bool{
		headerNull:   func(h header) bool { return h.Value == nil },
		headerNoName: func(h header) bool { return h.Name == "" },
		headerBytes:  func(h header) bool { return bytes.IndexByte(h.Value, 0) >= 0 },
	} {
		left := writable(fixture(), only(f))
		if headers(all, is) == 0 || headers(left, is) != 0 || len(left) != len(all) {
			t.Errorf("%s: %d headers in all, %d are left, in %d of %d records", f, headers(all, is), headers(left, is), len(left), len(all))
		}
		keeps := func(h header) bool { return !is(h) }
		if headers(all, keeps) != headers(left, keeps) {
			t.Errorf("%s: other headers went, too", f)
		}
	}
	if left := writable(fixture(), only(bothNull)); len(left) != len(all)-1 {
		t.Errorf("%d records of %d are left without the one that has neither key nor value", len(left), len(all))
	}
}

// What a reader cannot tell is not compared; all else is.
func TestBlindReadersSeeTheRest(t *testing.T) {
	want := record{Key: nil, Value: []byte("v"), Headers: []header{{"a", nil}, {"b", []byte("1\x002")}}, TimeMs: 5}
	for _, c := range []struct {
		change func(*record)
		blind  feature
	}{
		{func(r *record) { r.Key = []byte{} }, readNullKey},
		{func(r *record) { r.Headers[0].Value = []byte{} }, readNullHeader},
		{func(r *record) { r.Headers[1].Value = []byte("1") }, readHeaderBytes},
		{func(r *record) { slices.Reverse(r.Headers) }, readHeaderOrder},
		{func(r *record) { r.TimeMs = 6 }, writeTime},
	} {
		got := want
		got.Headers = slices.Clone(want.Headers)
		c.change(&got)
		if err := sameRecords([]record{got}, []record{want}, only(c.blind)); err != nil {
			t.Errorf("blind for %s: %v", c.blind, err)
		}
		if sameRecords([]record{got}, []record{want}, nothing) == nil {
			t.Errorf("a difference in %s is not seen", c.blind)
		}
		got.Value = []byte("w")
		if sameRecords([]record{got}, []record{want}, only(c.blind)) == nil {
			t.Errorf("blind for %s, it does not see another value", c.blind)
		}
	}
	if sameRecords([]record{{Partition: 1}}, []record{{}}, nothing) == nil || sameRecords(nil, []record{{}}, nothing) == nil {
		t.Error("another partition, or a missing record, is not seen")
	}
}

func TestRecordsPassThroughJSONUnchanged(t *testing.T) {
	want := fixture()
	var got []record
	if err := json.Unmarshal(asArgs(want), &got); err != nil {
		t.Fatal(err)
	}
	if err := sameRecords(got, want, nothing); err != nil {
		t.Error(err)
	}
}

func TestAnswersOfProgramsAreToldApart(t *testing.T) {
	var got struct{ Begin int }
	if err := decodeAnswer([]byte(`{"ok":{"begin":7}}`), &got); err != nil || got.Begin != 7 {
		t.Error(got, err)
	}
	for _, line := range []string{`{"error":"no"}`, `{}`, `hello`, `{"ok":null}`} {
		if decodeAnswer([]byte(line), &got) == nil {
			t.Errorf("%s passes", line)
		}
	}
}

// A program that hangs up, and one that never answers, are errors; the next request has a new process.
func TestAProgramThatEndsIsStartedAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	script := "#!/bin/sh\nread line\ncase $line in *crash*) echo gone >&2; exit 3;; esac\necho '{\"ok\":{}}'\nread line\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	a := &adapter{program: path, brokers: "b", id: "i"}
	if err := a.call("crash", nil, nil); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("a crash: %v", err)
	}
	if err := a.call("hello", nil, nil); err != nil {
		t.Error(err)
	}
	if err := a.close(); err == nil { // its last read fails at the end of stdin, and so does it
		t.Error("an exit code of 1 passes")
	}
}

// The tap changes nothing, in either direction, and notes what passes.
func TestTheTapNotesVersionsAndChangesNothing(t *testing.T) {
	broker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	received := make(chan []byte, 1)
	go func() {
		conn, err := broker.Accept()
		if err != nil {
			return
		}
		b, _ := io.ReadAll(io.LimitReader(conn, 60))
		_, _ = conn.Write([]byte("answer"))
		received <- b
		_ = conn.Close()
	}()
	tp, err := newTap()
	if err != nil {
		t.Fatal(err)
	}
	defer tp.close()
	go tp.serve(broker.Addr().String())
	request := func(key, version int16, id string, size int) []byte {
		b := binary.BigEndian.AppendUint16(nil, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		b = binary.BigEndian.AppendUint32(b, 9)
		b = binary.BigEndian.AppendUint16(b, uint16(len(id)))
		b = append(b, id...)
		for len(b) < size-4 {
			b = append(b, byte(len(b)))
		}
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	}
	sent := append(request(3, 12, "interop-x", 40), request(1, 11, "interop-x-0", 20)...)
	sent = append(sent, request(1, 13, "", 60-len(sent))...)
	conn, err := net.Dial("tcp", tp.addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(sent); err != nil {
		t.Fatal(err)
	}
	if got := <-received; !bytes.Equal(got, sent[:60]) {
		t.Errorf("the broker was given %x instead of %x", got, sent)
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(conn); string(answer) != "answer" {
		t.Errorf("the client was given %q", answer)
	}
	got := tp.versions("interop-x")
	if !slices.Equal(got[3], []int16{12}) || !slices.Equal(got[1], []int16{11}) || len(got) != 2 {
		t.Errorf("noted: %v", got)
	}
}

func TestKcatsOutputIsReadByLength(t *testing.T) {
	value := "a" + recordEnd + "\n1 2 3"
	out := fmt.Appendf(nil, "2 17 1000 -1 %d %sa=b,null=NULL,empty=%s2 18 1001 3 -1 key%s", len(value), value, recordEnd, recordEnd)
	first, rest, err := kcatRecord(out)
	if err != nil {
		t.Fatal(err)
	}
	want := record{Partition: 2, Offset: 17, Value: []byte(value), Headers: []header{{"a", []byte("b")}, {"null", nil}, {"empty", []byte{}}}, TimeMs: 1000}
	if err := sameRecord(first, want); err != nil {
		t.Error(err)
	}
	second, rest, err := kcatRecord(rest)
	if err != nil || len(rest) != 0 {
		t.Fatal(err, rest)
	}
	if err := sameRecord(second, record{Partition: 2, Offset: 18, Key: []byte("key"), Headers: []header{}, TimeMs: 1001}); err != nil {
		t.Error(err)
	}
	for n := range len(out) - len(rest) - 1 {
		if r, left, err := kcatRecord(out[:n]); err == nil && r.Offset == 17 && len(left) == 0 && n < bytes.LastIndex(out, []byte("2 18")) {
			t.Errorf("the first %d bytes pass for a record", n)
		}
	}
}

func TestPartitionersAreToldApart(t *testing.T) {
	placed := func(at func(i int, key string) int) map[string]int32 {
		out := map[string]int32{}
		for i := range 100 {
			key := fmt.Sprintf("key-%d", i)
			out[key] = int32(at(i, key))
		}
		return out
	}
	murmur := kgo.StickyKeyPartitioner(nil).ForTopic("")
	for want, at := range map[string]func(int, string) int{
		"murmur2":    func(_ int, key string) int { return murmur.Partition(&kgo.Record{Key: []byte(key)}, 7) },
		"not by key": func(i int, _ string) int { return i % 7 },
	} {
		if got := partitionerOf(placed(at), 7); got != want {
			t.Errorf("%s instead of %s", got, want)
		}
	}
}

// A failed case must never look like a passed one in the table.
func TestFailuresStandInTheTable(t *testing.T) {
	outcomes := []outcome{{Column: "writes none"}, {Column: "writes gzip", Error: "no"}, {Column: "group"}, {Column: "group admin", Lacks: deleteGroups}}
	for col, want := range map[string]string{"writes": "**1 failed** of 2", "group": "1 ok", "group admin": "–", "reads": "–"} {
		if got := cell(outcomes, col); got != want {
			t.Errorf("%s: %q instead of %q", col, got, want)
		}
	}
	m := &matrix{result: outcomes}
	if passed, failed := m.counts(); passed != 2 || failed != 1 {
		t.Error(passed, failed)
	}
	path := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(path, []byte("before\n"+generatedBegin+"\nold\n"+generatedEnd+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := report{Clients: []clientReport{{Name: "one", Outcomes: outcomes, Lacks: []feature{deleteGroups}, Versions: map[string][]int16{"Fetch": {4, 11}}}}}
	for range 2 {
		if err := writeTable(path, r); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n", "after\n", "**1 failed** of 2", "| Fetch (1) | 4, 11 |", "- one: deleting groups"} {
		if strings.Count(string(text), want) != 1 {
			t.Errorf("%q is not in the page once:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "old") {
		t.Error("the old table is still there")
	}
	if writeTable(filepath.Join(t.TempDir(), "none"), r) == nil {
		t.Error("a page that is not there was written")
	}
}

func TestGroupsNoticeWhatIsMissing(t *testing.T) {
	w := &watch{committed: map[place]int64{}}
	for _, line := range []string{
		`{"event":"record","p":3,"o":2,"v":"15"}`,
		`{"event":"committed","p":3,"o":3}`, `{"event":"committed","p":3,"o":2}`, `% what kcat says`,
	} {
		w.read(1, []byte(line))
	}
	if len(w.delivered) != 1 || w.committed[place{1, 3}] != 3 {
		t.Errorf("%+v %+v", w.delivered, w.committed)
	}
	value := base64.StdEncoding.EncodeToString([]byte("x"))
	if err := w.await("never", 0, func() (bool, string) { return false, value }); err == nil || !strings.Contains(err.Error(), value) {
		t.Error(err)
	}
}
