package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/node/disk"
	"github.com/weirmq/weir/node/weirtest"
)

// writtenLog makes a data directory as a node leaves it: the metadata log with one topic, and a partition of that
// with 40 records in batches of two.
func writtenLog(t *testing.T, clean bool) (dir string, partition string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	d, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := storage.Open(d, storage.Config{Identity: storage.Identity{ClusterID: "c", NodeID: 1, DirectoryID: model.TopicID{1}}})
	if err != nil {
		t.Fatal(err)
	}
	var done effect.Completions
	write := func(tp model.TopicPartition, base model.Offset, batch []byte) {
		set := effect.Set{
			Opens:   []effect.Open{{Partition: tp, Config: effect.LogConfig{SegmentBytes: 2000, IndexIntervalBytes: 200, RetentionMs: -1, RetentionBytes: -1}}},
			Appends: []effect.Append{{Partition: tp, BaseOffset: base, AppendTime: model.NoTimestamp, Batch: batch}},
		}
		e.Perform(&set, &done)
		w, _ := e.BeginSync()
		if err := e.EndSync(w, w.Run(), &done); err != nil {
			t.Fatal(err)
		}
	}
	tp := model.TopicPartition{Topic: model.TopicID{9}, Partition: 3}
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecNone))
	b.Append(record.Record{Value: protocol.AppendMetadataRecord(nil, &protocol.TopicRecord{Name: "orders", TopicID: [16]byte(tp.Topic)}, 0)})
	write(model.TopicPartition{Topic: model.MetadataTopicID}, 0, bytes.Clone(b.Finish()))
	for i := range 20 {
		b.Begin(record.NewOptions(record.CodecGzip))
		for k := range 2 {
			b.Append(record.Record{
				Key: []byte{0xff, byte(i)}, Value: bytes.Repeat([]byte{'v'}, 90), Timestamp: model.Timestamp(1000 + i*10 + k),
				Headers: []record.RecordHeader{{Key: []byte("h"), Value: []byte("x y")}},
			})
		}
		write(tp, model.Offset(2*i), bytes.Clone(b.Finish()))
	}
	if clean {
		if err := e.Close(&done); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, "log", "partitions", storage.PartitionDir(tp))
}

func weirLog(args ...string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	code = run(append([]string{"log"}, args...), strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestLogVerifyFindsNothingWrongWithWhatANodeLeaves(t *testing.T) {
	for _, clean := range []bool{true, false} {
		dir, partition := writtenLog(t, clean)
		for _, path := range []string{dir, partition, filepath.Join(dir, "log"), filepath.Join(dir, "log", "checkpoint.a"), filepath.Join(dir, "log", "meta")} {
			if code, out, errs := weirLog("verify", path); code != 0 || !strings.HasSuffix(out, " 0 problems\n") {
				t.Errorf("clean %v: verify %s: exit %d\n%s%s", clean, path, code, out, errs)
			}
		}
	}
}

func TestLogVerifyNamesWhatIsDamaged(t *testing.T) {
	flip := func(at int64) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[at] ^= 0x10
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name, file string // the file in the partition's directory, or in the engine's
		hurt       func(t *testing.T, path string)
		code       string
		exit       int
	}{
		{"a bit in a record", "00000000000000000000.log", flip(100), "bad-crc", 1},
		{"a bit in a length", "00000000000000000000.log", flip(8), "bad-batch", 1},
		{"a bit in an offset", "00000000000000000000.log", flip(7), "bad-offset", 1},
		{"a short segment", "00000000000000000000.log", func(t *testing.T, path string) {
			if err := os.Truncate(path, 300); err != nil {
				t.Fatal(err)
			}
		}, "missing-bytes", 1},
		{"a segment gone", "00000000000000000000.log", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, "missing-bytes", 1},
		{"a bit in an index", "00000000000000000000.index", flip(7), "bad-index", 0},
		{"a bit in a time index", "00000000000000000000.timeindex", flip(5), "bad-index", 0},
		{"a bit in one checkpoint", "../../checkpoint.a", flip(30), "bad-checkpoint", 0},
		{"a bit in the identity", "../../meta", flip(20), "bad-identity", 1},
		{"no identity", "../../meta", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, "bad-identity", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, partition := writtenLog(t, true)
			test.hurt(t, filepath.Join(partition, test.file))
			code, out, errs := weirLog("verify", dir)
			if code != test.exit || !strings.Contains("\n"+out, "\n"+test.code+" ") {
				t.Fatalf("exit %d\n%s%s", code, out, errs)
			}
			if test.exit == 1 && !strings.Contains(errs, "data-damaged") {
				t.Fatalf("the error has no code: %s", errs)
			}
			_, out, _ = weirLog("verify", dir, "--output", "json")
			named := false
			for line := range strings.Lines(out) {
				var p problem
				if err := json.Unmarshal([]byte(line), &p); err != nil {
					t.Fatalf("%v: %s", err, line)
				}
				named = named || p.Code == test.code && p.Path != ""
			}
			if !named {
				t.Fatalf("JSON does not name it:\n%s", out)
			}
		})
	}
}

func TestLogVerifyFindsADamagedJournalGroup(t *testing.T) {
	dir, _ := writtenLog(t, false)
	path := filepath.Join(dir, "log", "journal", "0000000002.journal")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[3*4096+200] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{dir, path} {
		if code, out, _ := weirLog("verify", p); code != 1 || !strings.Contains(out, "bad-journal "+path) {
			t.Fatalf("exit %d\n%s", code, out)
		}
	}
}

func TestLogDumpShowsBatchesAndRecords(t *testing.T) {
	dir, partition := writtenLog(t, true)
	segment := filepath.Join(partition, "00000000000000000000.log")
	for _, test := range []struct {
		args []string
		want []string
		line int
	}{
		{[]string{dir}, []string{"__cluster_metadata-0 ", "orders-3 ", "offsets 0 to 40"}, 2},
		{[]string{partition}, []string{"offset 0..1 count 2 position 0 ", "codec gzip", "offset 38..39 "}, 20},
		{[]string{"--offsets", "3:5", segment}, []string{"offset 2..3 ", "offset 4..5 "}, 2},
		{[]string{"--from", "37", partition}, []string{"offset 36..37 ", "offset 38..39 "}, 2},
		{[]string{"--records", "--offsets", "3", segment}, []string{
			`offset 3 time 1970-01-01T00:00:01.011Z key 0xff01 value "vvv`, `headers "h"="x y"`,
		}, 2},
		{[]string{"--records", filepath.Join(dir, "log", "partitions", storage.PartitionDir(model.TopicPartition{Topic: model.MetadataTopicID}))}, []string{
			`"Name":"orders"`, `"TopicID":"CQAAAAAAAAAAAAAAAAAAAA"`,
		}, 2},
		{[]string{filepath.Join(partition, "00000000000000000000.index")}, []string{"offset 5 position 220"}, -1},
		{[]string{filepath.Join(partition, "00000000000000000000.timeindex")}, []string{"time 1970-01-01T00:00:01.021Z offset 5"}, -1},
		{[]string{filepath.Join(dir, "log", "checkpoint.b")}, []string{"clean true", "offsets 0 to 40"}, 3},
		{[]string{filepath.Join(dir, "log", "journal", "0000000002.journal")}, []string{"  batch CQAAAAAAAAAAAAAAAAAAAA/3 offsets 0 to 2 segment 0 position 0"}, -1},
		{[]string{filepath.Join(dir, "log", "meta")}, []string{"cluster c node 1"}, 1},
	} {
		code, out, errs := weirLog(append([]string{"dump"}, test.args...)...)
		if code != 0 {
			t.Fatalf("%v: exit %d\n%s", test.args, code, errs)
		}
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%v: no %q in\n%s", test.args, want, out)
			}
		}
		if n := strings.Count(out, "\n"); test.line >= 0 && n != test.line {
			t.Errorf("%v: %d lines\n%s", test.args, n, out)
		}
		code, out, _ = weirLog(append([]string{"dump", "--output", "json"}, test.args...)...)
		for line := range strings.Lines(out) {
			if !json.Valid([]byte(line)) || code != 0 {
				t.Errorf("%v: exit %d: no JSON: %s", test.args, code, line)
			}
		}
	}
	for _, bad := range [][]string{{"dump", "--offsets", "x", segment}, {"dump", "/dev/null"}, {"dump"}, {"verify", t.TempDir()}} {
		if code, _, _ := weirLog(bad...); code != 2 {
			t.Errorf("%v: exit %d", bad, code)
		}
	}
	if code, _, _ := weirLog("dump", "/no/such/file.log"); code != 1 {
		t.Errorf("a missing file: exit %d", code)
	}
}

func TestLogVerifyKnowsWhatWasDeletedSinceTheCheckpoint(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	b := weirtest.Start(t, weirtest.Property("log.dirs", dir))
	do := on(t, b)
	do("", "topic", "create", "gone", "trimmed", "--config", "segment.bytes=1024")
	for range 5 {
		do(strings.Repeat("x", 900)+"\n", "produce", "gone")
		do(strings.Repeat("x", 900)+"\n", "produce", "trimmed")
	}
	b.Stop()
	b.Restart() // the checkpoint names all segments
	do("", "topic", "delete", "gone", "--yes")
	do("", "topic", "trim", "trimmed", "--before", "3", "--yes")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) { // files go a little later
		logs, err := filepath.Glob(filepath.Join(dir, "log", "partitions", "*", "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		if len(logs) <= 5 { // two of trimmed, three of the metadata
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still there: %q", logs)
		}
	}
	if code, out, errs := weirLog("verify", dir); code != 0 || !strings.HasSuffix(out, " 0 problems\n") {
		t.Errorf("while the node runs: exit code %d\n%s%s", code, out, errs)
	}
	b.Kill()
	if code, out, errs := weirLog("verify", dir); code != 0 || !strings.HasSuffix(out, " 0 problems\n") {
		t.Errorf("after it was killed: exit code %d\n%s%s", code, out, errs)
	}
}

// TestRecordsAreSavedFromFiles: the way out for a partition that is offline, as OPERATIONS.md describes it.
func TestRecordsAreSavedFromFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	b := weirtest.Start(t, weirtest.Property("log.dirs", dir))
	do := on(t, b)
	do("", "topic", "create", "lost", "saved")
	do("a:\x00\xff\nb:NULL\nc:text\n", "produce", "lost", "-k", ":", "--null", "NULL", "-H", "h=x", "-z", "zstd")
	logs, err := filepath.Glob(filepath.Join(dir, "log", "partitions", "*", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	saved := ""
	for _, path := range logs {
		code, out, errs := weirLog("dump", "--records", "--output", "json", path)
		if code != 0 {
			t.Fatal(errs)
		}
		for line := range strings.Lines(out) {
			if strings.Contains(line, `"timestamp_ms":`) && strings.Contains(line, `"h"`) { // jq 'select(has("timestamp_ms"))'; h: not metadata's
				saved += line
			}
		}
	}
	do(saved, "produce", "saved", "--format", "json")
	show := func(topic string) string {
		return do("", "consume", topic, "--offset", "start", "--until", "end", "--format", `%p %o %d %k %V %v{hex} %h\n`)
	}
	if got, want := show("saved"), show("lost"); got != want || strings.Count(got, "\n") != 3 {
		t.Errorf("saved are\n%sof\n%s", got, want)
	}
}

// A replica that was emptied and filled anew is missed, although older files of the journal say that it was deleted.
func TestLogVerifyMissesAPartitionThatHadBeenDeletedBefore(t *testing.T) {
	dir, partition := writtenLog(t, true)
	d, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := storage.Open(d, storage.Config{Identity: storage.Identity{ClusterID: "c", NodeID: 1, DirectoryID: model.TopicID{1}}})
	if err != nil {
		t.Fatal(err)
	}
	tp := model.TopicPartition{Topic: model.TopicID{9}, Partition: 3}
	var done effect.Completions
	sync := func(set effect.Set) {
		e.Perform(&set, &done)
		for w, ok := e.BeginSync(); ok; w, ok = e.BeginSync() {
			if err := e.EndSync(w, w.Run(), &done); err != nil {
				t.Fatal(err)
			}
		}
	}
	sync(effect.Set{Deletes: []effect.Delete{{Partition: tp}}})
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecNone))
	b.Append(record.Record{Value: []byte("again")})
	sync(effect.Set{
		Opens:   []effect.Open{{Partition: tp, Config: effect.LogConfig{SegmentBytes: 2000, IndexIntervalBytes: 200, RetentionMs: -1, RetentionBytes: -1}}},
		Appends: []effect.Append{{Partition: tp, LeaderEpoch: 1, AppendTime: model.NoTimestamp, Batch: bytes.Clone(b.Finish())}},
	})
	if err := errors.Join(e.Close(&done), d.Close()); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := weirLog("verify", dir); code != 0 {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	if err := os.RemoveAll(partition); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := weirLog("verify", dir); code != 1 || !strings.Contains(out, "missing-bytes") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

// Since the checkpoint the end of a log was truncated, and something else written behind it, before the process was
// killed: neither what is gone nor what took its place is damage. What is gone without a truncation is.
func TestLogVerifyKnowsWhatWasTruncatedSinceTheCheckpoint(t *testing.T) {
	for _, test := range []struct {
		name   string
		set    func(tp model.TopicPartition) effect.Set
		next   model.Offset // where the log goes on
		damage func(t *testing.T, partition string)
		exit   int
	}{
		{"within a segment", truncateTo(21), 20, nil, 0},
		{"where a segment begins", truncateTo(18), 18, nil, 0},
		{"whole, to its beginning", startAt(0), 0, nil, 0},
		{"whole, to an offset behind it", startAt(100), 100, nil, 0},
		{"and a segment that was left is shorter", truncateTo(30), 30, func(t *testing.T, partition string) {
			if err := os.Truncate(filepath.Join(partition, "00000000000000000000.log"), 200); err != nil {
				t.Fatal(err)
			}
		}, 1},
		{"and a segment that was left is gone", truncateTo(30), 30, func(t *testing.T, partition string) {
			if err := os.Remove(filepath.Join(partition, "00000000000000000000.log")); err != nil {
				t.Fatal(err)
			}
		}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, partition := writtenLog(t, true)
			d, err := disk.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			e, _, err := storage.Open(d, storage.Config{Identity: storage.Identity{ClusterID: "c", NodeID: 1, DirectoryID: model.TopicID{1}}})
			if err != nil {
				t.Fatal(err)
			}
			tp := model.TopicPartition{Topic: model.TopicID{9}, Partition: 3}
			var done effect.Completions
			sync := func(set effect.Set) {
				e.Perform(&set, &done)
				for w, ok := e.BeginSync(); ok; w, ok = e.BeginSync() {
					if err := e.EndSync(w, w.Run(), &done); err != nil {
						t.Fatal(err)
					}
				}
			}
			sync(test.set(tp))
			if len(done.Truncated) != 1 || done.Truncated[0].NextOffset != test.next {
				t.Fatalf("%+v", done.Truncated)
			}
			var b record.Builder
			b.Begin(record.NewOptions(record.CodecNone))
			b.Append(record.Record{Value: bytes.Repeat([]byte{'w'}, 300)})
			sync(effect.Set{Appends: []effect.Append{{
				Partition: tp, BaseOffset: test.next, LeaderEpoch: 1, AppendTime: model.NoTimestamp, Batch: bytes.Clone(b.Finish()),
			}}})
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if test.damage != nil {
				test.damage(t, partition)
			}
			code, out, errs := weirLog("verify", dir)
			if code != test.exit || strings.Contains(out, "missing-bytes") != (test.exit == 1) {
				t.Errorf("exit %d\n%s%s", code, out, errs)
			}
			journals, err := filepath.Glob(filepath.Join(dir, "log", "journal", "*"))
			if err != nil {
				t.Fatal(err)
			}
			shown := false
			for _, path := range journals {
				_, out, _ := weirLog("dump", path)
				shown = shown || strings.Contains(out, "  truncate "+tp.String()) || strings.Contains(out, "  start-at "+tp.String())
			}
			if !shown {
				t.Error("no dump of a journal shows the truncation")
			}
		})
	}
}

func truncateTo(to model.Offset) func(model.TopicPartition) effect.Set {
	return func(tp model.TopicPartition) effect.Set {
		return effect.Set{Truncates: []effect.Truncate{{Partition: tp, To: to}}}
	}
}

func startAt(o model.Offset) func(model.TopicPartition) effect.Set {
	return func(tp model.TopicPartition) effect.Set {
		return effect.Set{StartAts: []effect.StartAt{{Partition: tp, Offset: o}}}
	}
}
