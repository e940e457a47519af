package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// fill appends and syncs count one-record batches and returns what is stored.
func (r *rig) fill(tp model.TopicPartition, from model.Offset, count, valueBytes int) []byte {
	r.t.Helper()
	var want []byte
	for i := range count {
		base := from + model.Offset(i)
		want = append(want, r.append(tp, base, batch(uint64(base), 1, valueBytes, model.Timestamp(1000+base)))...)
		r.sync()
	}
	return want
}

func (r *rig) logPath(tp model.TopicPartition, base model.Offset) string {
	return fmt.Sprintf("partitions/%s-%d/%020d.log", tp.Topic, tp.Partition, base)
}

func (r *rig) journalPaths() []string {
	return slices.DeleteFunc(r.disk.Paths(), func(p string) bool { return !strings.HasPrefix(p, "journal/") })
}

func (r *rig) segments(tp model.TopicPartition) []string {
	prefix := strings.TrimSuffix(r.logPath(tp, 0), fmt.Sprintf("%020d.log", 0))
	return slices.DeleteFunc(r.disk.Paths(), func(p string) bool {
		return !strings.HasPrefix(p, prefix) || !strings.HasSuffix(p, ".log")
	})
}

func TestNothingIsReportedBeforeItsSyncEnds(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.append(tp, 0, batch(1, 1, 100, 1))
	if !r.done.Empty() {
		t.Fatalf("reported %+v before anything was synced", r.done)
	}
	w, ok := r.e.BeginSync()
	if !ok || !r.done.Empty() {
		t.Fatalf("begin: %v, reported %+v", ok, r.done)
	}
	r.append(tp, 1, batch(2, 1, 100, 1))
	if err := r.e.EndSync(w, w.Run(), &r.done); err != nil {
		t.Fatal(err)
	}
	if len(r.done.Appended) != 1 || r.done.Appended[0].NextOffset != 1 {
		t.Fatalf("reported %+v, want offset 1 only", r.done.Appended)
	}
}

func TestFailedSyncStopsTheEngine(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 3, 100)
	r.done.Reset()
	r.append(tp, 3, batch(9, 1, 100, 1))
	w, _ := r.e.BeginSync()
	bad := errors.New("input/output error")
	r.disk.Hook = func(op storagetest.Op) error {
		if op.Kind == "sync" {
			return bad
		}
		return nil
	}
	err := r.e.EndSync(w, w.Run(), &r.done)
	r.disk.Hook = nil
	if !errors.Is(err, storage.ErrStopped) || !errors.Is(err, bad) {
		t.Fatalf("a failed sync ended with %v", err)
	}
	if len(r.done.Appended) != 0 {
		t.Fatalf("reported %+v after a failed sync", r.done.Appended)
	}
	if _, ok := r.e.BeginSync(); ok {
		t.Fatal("a stopped engine syncs again")
	}
	// The page cache shows the batch to the next process, but it is not on the disk.
	r.crash(storagetest.LoseNothing, 0)
	if got := r.recovered(tp).State.EndOffset(); got != 3 {
		t.Fatalf("recovered to %d: a batch whose sync failed came back", got)
	}
	r.create(tp, smallLog())
	want := r.fill(tp, 3, 2, 100)
	r.crash(storagetest.LoseUnsynced, 0)
	if got := r.readAll(tp, 3, 5); !bytes.Equal(got, want) {
		t.Fatal("what was written after a failed sync and a restart was lost")
	}
}

// A sync fails and the process is killed before it can remark so: the page cache shows the group, and batches
// that are in their segment only, to the next process, which makes them durable or drops them.
func TestGroupOfAFailedSyncThatNothingRemarksIsMadeDurable(t *testing.T) {
	for _, inPlace := range []int{0, 1000} {
		for failing := range 2 { // which of the files
			cfg := smallConfig()
			cfg.InPlaceBytesMin = inPlace
			r := newRig(t, cfg)
			tp := topic(1)
			r.create(tp, smallLog())
			want := r.fill(tp, 0, 3, 100)
			want = append(want, r.append(tp, 3, batch(9, 1, 2000, 1))...)
			w, _ := r.e.BeginSync()
			count := 0
			r.disk.Hook = func(op storagetest.Op) error {
				if op.Kind == "sync" {
					if count++; count > failing {
						return errors.New("input/output error")
					}
				}
				return nil
			}
			_ = w.Run() // the process never learns how it ended
			r.disk.Hook = nil
			r.crash(storagetest.LoseNothing, 0)
			end := r.recovered(tp).State.EndOffset()
			r.crash(storagetest.LoseUnsynced, 0)
			if again := r.recovered(tp); again.Damage != "" || again.State.EndOffset() != end {
				t.Fatalf("in place from %d, file %d: recovered to %d, and after a power loss to %+v", inPlace, failing, end, again)
			}
			if end == 4 && !bytes.Equal(r.readAll(tp, 0, 4), want) {
				t.Fatalf("in place from %d, file %d: other bytes", inPlace, failing)
			}
		}
	}
}

// A sync that fails under a checkpoint drops pages of a batch beside it, and the engine hears of the batch's sync
// before it hears of the checkpoint's: then only the file
// itself can tell that the pages are gone.
func TestSyncBehindAFailedCheckpointFailsThoughTheEngineHearsOfItFirst(t *testing.T) {
	cfg := smallConfig()
	cfg.InPlaceBytesMin = 1000
	r := newRig(t, cfg)
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 3, 100)
	r.append(tp, 3, batch(9, 1, 2000, 1))
	r.done.Reset()
	w, _ := r.e.BeginSync()
	c, ok := r.e.BeginCheckpoint()
	if !ok {
		t.Fatal("no checkpoint")
	}
	r.disk.Hook = func(op storagetest.Op) error {
		if op.Kind == "sync" {
			return errors.New("input/output error")
		}
		return nil
	}
	failed := c.Run()
	r.disk.Hook = nil
	if err := r.e.EndSync(w, w.Run(), &r.done); !errors.Is(err, storage.ErrStopped) || len(r.done.Appended) > 0 {
		t.Fatalf("the sync ended with %v and reported %+v", err, r.done.Appended)
	}
	if err := r.e.EndCheckpoint(c, failed, &r.done); !errors.Is(err, storage.ErrStopped) {
		t.Fatalf("the checkpoint ended with %v", err)
	}
	r.crash(storagetest.LoseNothing, 0)
	if got := r.recovered(tp).State.EndOffset(); got != 3 {
		t.Fatalf("recovered to %d: a batch that is not on the disk came back", got)
	}
}

// A checkpoint's sync that fails drops pages of a batch that is being synced in place; the sync of the batch
// then succeeds and means nothing.
func TestFailedCheckpointStopsTheSyncBesideIt(t *testing.T) {
	cfg := smallConfig()
	cfg.InPlaceBytesMin = 1000
	r := newRig(t, cfg)
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 3, 100)
	r.append(tp, 3, batch(9, 1, 2000, 1))
	r.done.Reset()
	w, _ := r.e.BeginSync()
	c, ok := r.e.BeginCheckpoint()
	if !ok {
		t.Fatal("no checkpoint")
	}
	bad := errors.New("input/output error")
	r.disk.Hook = func(op storagetest.Op) error {
		if op.Kind == "sync" {
			return bad
		}
		return nil
	}
	err := r.e.EndCheckpoint(c, c.Run(), &r.done)
	r.disk.Hook = nil
	if !errors.Is(err, storage.ErrStopped) {
		t.Fatalf("a failed checkpoint ended with %v", err)
	}
	if err := r.e.EndSync(w, w.Run(), &r.done); !errors.Is(err, storage.ErrStopped) || len(r.done.Appended) > 0 {
		t.Fatalf("the sync beside it ended with %v and reported %+v", err, r.done.Appended)
	}
	r.crash(storagetest.LoseNothing, 0)
	if got := r.recovered(tp).State.EndOffset(); got != 3 {
		t.Fatalf("recovered to %d: a batch that may not be on the disk came back", got)
	}
}

func TestRolledSegmentSurvivesPowerLossAfterCheckpoint(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 40, 1000)
	r.checkpoint()
	if n := len(r.segments(tp)); n < 4 {
		t.Fatalf("%d segments", n)
	}
	// Nothing of it is in the journal any more.
	for _, path := range r.journalPaths() {
		r.disk.Cut(path, 0)
	}
	r.crash(storagetest.LoseUnsynced, 0)
	if got := r.readAll(tp, 0, 40); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
}

func TestInPlaceAppendInNewSegmentSurvivesPowerLoss(t *testing.T) {
	cfg := smallConfig()
	cfg.InPlaceBytesMin = 1
	r := newRig(t, cfg)
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 30, 1000)
	var journaled int64
	for _, path := range r.journalPaths() {
		if bytes.Contains(r.disk.Bytes(path), make([]byte, 600)) && bytes.Contains(r.disk.Bytes(path), want[61:200]) {
			journaled++
		}
	}
	if journaled > 0 {
		t.Fatal("the batch is in the journal")
	}
	r.crash(storagetest.LoseUnsynced, 0)
	if got := r.readAll(tp, 0, 30); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
}

func TestAppendLargerThanAJournalFileIsSyncedInPlace(t *testing.T) {
	cfg := smallConfig()
	cfg.JournalFileBytes = 8 << 10
	r := newRig(t, cfg)
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.append(tp, 0, batch(1, 1, 100<<10, 1))
	r.sync()
	r.crash(storagetest.LoseUnsynced, 0)
	if got, code := r.read(tp, 0, 1, 1); code != 0 || !bytes.Equal(got, want) {
		t.Fatalf("code %d, %d bytes of %d", code, len(got), len(want))
	}
}

func TestTornLastGroupIsDropped(t *testing.T) {
	for _, inPlace := range []int{0, 1} {
		cfg := smallConfig()
		cfg.InPlaceBytesMin = inPlace
		for seed := range uint64(200) {
			r := newRig(t, cfg)
			tp := topic(1)
			r.create(tp, smallLog())
			want := r.fill(tp, 0, 3, 700)
			more := r.append(tp, 3, batch(3, 1, 3000, 1))
			if _, ok := r.e.BeginSync(); !ok {
				t.Fatal("nothing to sync")
			}
			r.crash(storagetest.LoseSome, seed)
			end := r.recovered(tp).State.EndOffset()
			if end == 4 {
				want = append(want, more...)
			}
			if got := r.readAll(tp, 0, end); end < 3 || !bytes.Equal(got, want) || r.recovered(tp).Damage != "" {
				t.Fatalf("seed %d: recovered to %d, damage %q", seed, end, r.recovered(tp).Damage)
			}
		}
	}
}

// Until both copies of a manifest are durable, the journal serves the older one, too.
func TestJournalIsKeptForTheOlderManifest(t *testing.T) {
	cfg := smallConfig()
	cfg.JournalFileBytes = 8 << 10
	r := newRig(t, cfg)
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 40, 300)
	old := r.disk.Bytes("checkpoint.a")
	path := ""
	r.disk.Hook = func(op storagetest.Op) error {
		if op.Kind == "sync" && strings.HasPrefix(op.Path, "checkpoint.") && path == "" {
			path = op.Path
		}
		return nil
	}
	for path == "" { // to the end of the first copy
		w, ok := r.e.BeginCheckpoint()
		if !ok {
			t.Fatal("no checkpoint")
		}
		if err := r.e.EndCheckpoint(w, w.Run(), &r.done); err != nil {
			t.Fatal(err)
		}
	}
	r.disk.Hook = nil
	want = append(want, r.fill(tp, 40, 40, 300)...)
	r.disk.Crash(storagetest.LoseUnsynced, 0)
	if bytes.Equal(r.disk.Bytes(path), old) {
		t.Fatalf("%s was not written", path)
	}
	r.disk.Flip(path, 333)
	r.open()
	if got := r.readAll(tp, 0, 80); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
}

func TestUnfinishedRollLeavesNothingBehind(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 2, 3000)
	r.append(tp, 2, batch(1, 1, 3000, 1)) // rolls
	bad := errors.New("input/output error")
	r.disk.Hook = func(op storagetest.Op) error {
		if op.Kind == "write" && strings.HasPrefix(op.Path, "journal/") {
			return bad
		}
		return nil
	}
	if err := r.trySync(); !errors.Is(err, storage.ErrStopped) {
		t.Fatalf("sync: %v", err)
	}
	r.disk.Hook = nil
	if n := len(r.segments(tp)); n != 2 {
		t.Fatalf("%d segments before the crash", n)
	}
	r.crash(storagetest.LoseNothing, 0)
	if n := len(r.segments(tp)); n != 1 || r.rec.TailDroppedBytes != int64(len(want)/2) {
		t.Fatalf("%d segments, %d bytes dropped", n, r.rec.TailDroppedBytes)
	}
	if got := r.readAll(tp, 0, 2); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
}

// A second Retain while the first is being synced must not report the first's outcome: if the power fails
// now, the log starts where it did.
func TestLogStartIsNotReportedBeforeItIsDurable(t *testing.T) {
	lc := smallLog()
	lc.RetentionBytes = 10_000
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, lc)
	r.fill(tp, 0, 40, 1000)
	retain := effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 40, Wall: 1 << 40}}}
	r.perform(retain)
	if _, ok := r.e.BeginSync(); !ok {
		t.Fatal("nothing to retain")
	}
	r.done.Reset()
	r.perform(retain)
	reported := r.done.Retained[0].LogStartOffset
	r.crash(storagetest.LoseUnsynced, 0)
	if start := r.recovered(tp).State.StartOffset(); start < reported {
		t.Errorf("the log starts at %d after a power loss; %d was reported", start, reported)
	}
}

// producerBatch is a batch of an idempotent producer.
func producerBatch(id model.ProducerID, seq model.Sequence) []byte {
	var b record.Builder
	o := record.NewOptions(record.CodecNone)
	o.ProducerID, o.ProducerEpoch, o.BaseSequence = id, 0, seq
	b.Begin(o)
	b.Append(record.Record{Value: []byte("v"), Timestamp: 5})
	return bytes.Clone(b.Finish())
}

func TestStateIsRebuiltFromTheLog(t *testing.T) {
	for _, test := range []struct {
		producers int
		lose      string // whose snapshots
	}{{3, ""}, {40, ""}, {40, ".state"}} {
		r := newRig(t, smallConfig())
		tp := topic(1)
		r.create(tp, smallLog())
		want := log.New(0)
		next := model.Offset(0)
		write := func(count int) {
			for range count {
				epoch := model.LeaderEpoch(1 + next/50)
				b := producerBatch(model.ProducerID(int(next)%test.producers), model.Sequence(int(next)/test.producers))
				h, _ := record.ReadHeader(b)
				want.Apply(h.Stamped(next, epoch))
				r.perform(effect.Set{Appends: []effect.Append{{
					Partition: tp, BaseOffset: next, LeaderEpoch: epoch, AppendTime: model.NoTimestamp, Batch: b,
				}}})
				next++
			}
			r.sync()
		}
		write(70)
		r.checkpoint()
		write(70)
		r.checkpoint()
		write(35)
		r.disk.Crash(storagetest.LoseUnsynced, 0)
		files := 0
		for _, path := range r.disk.Paths() {
			if strings.HasSuffix(path, ".state") {
				files++
				if test.lose != "" {
					r.disk.Flip(path, 100)
				}
			}
		}
		if want := map[int]int{3: 1, 40: 3}[test.producers]; files != want {
			t.Fatalf("%d producers: %d state files, want %d", test.producers, files, want)
		}
		r.open()
		if got := r.recovered(tp).State; !got.Equal(want) {
			t.Fatalf("%+v: state %x, want %x", test, got.AppendSnapshot(nil), want.AppendSnapshot(nil))
		}
		if err := r.e.Check(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStartReadsNoClosedSegment(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 100, 1000)
	r.checkpoint()
	r.disk.Crash(storagetest.LoseNothing, 0)
	// Were a closed segment read, its damage would be seen.
	for _, path := range r.segments(tp)[:5] {
		for bit := range int64(50) {
			r.disk.Flip(path, bit*160)
		}
	}
	r.open()
	if p := r.recovered(tp); p.Damage != "" || p.State.EndOffset() != 100 {
		t.Fatalf("recovered to %d, damage %q", p.State.EndOffset(), p.Damage)
	}
}

func TestIdlePartitionHoldsNoFile(t *testing.T) {
	r := newRig(t, smallConfig())
	for i := range 20 {
		r.create(topic(i), smallLog())
		r.fill(topic(i), 0, 2, 100)
	}
	busy := topic(99)
	r.create(busy, smallLog())
	for i := range 3 {
		r.fill(busy, model.Offset(i), 1, 100)
		r.checkpoint()
	}
	if s := r.e.Stats(); s.OpenFileCount > 1 {
		t.Fatalf("%d files open", s.OpenFileCount)
	}
	if n := r.disk.HandleCount(); n > 2 {
		t.Fatalf("%d handles", n)
	}
}

func TestJournalFilesAreRecycled(t *testing.T) {
	cfg := smallConfig()
	cfg.JournalFileBytes, cfg.CheckpointBytes = 16<<10, 40<<10
	r := newRig(t, cfg)
	tp := topic(1)
	r.create(tp, smallLog())
	next := model.Offset(0)
	most := 0
	round := func() {
		r.fill(tp, next, 20, 400)
		next += 20
		if r.e.CheckpointDue() {
			r.checkpoint()
		}
		most = max(most, len(r.journalPaths()))
	}
	for range 30 {
		round()
	}
	if most > 8 {
		t.Fatalf("%d journal files", most)
	}
	made := 0
	r.disk.Hook = func(op storagetest.Op) error {
		if strings.HasPrefix(op.Path, "journal/") && (op.Kind == "create" || op.Kind == "zero") {
			made++
		}
		return nil
	}
	for range 30 {
		round()
	}
	if made > 0 {
		t.Fatalf("%d times journal space was made in a steady state", made)
	}
}

// A crash may keep less of the time index than of the index. The latest time among what it lost must be
// found all the same.
func TestTimeIndexThatLostItsEndIsReadAgain(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	add := func(from model.Offset, times ...model.Timestamp) {
		for i, ts := range times {
			r.append(tp, from+model.Offset(i), batch(uint64(i), 1, 600, ts))
			r.sync()
		}
	}
	add(0, 1000, 1100, 1200, 2000, 1300)
	r.close()
	r.open()
	r.create(tp, smallLog())
	add(5, 1400, 1500, 1600)
	r.crash(storagetest.LoseNothing, 0)
	path := strings.TrimSuffix(r.logPath(tp, 0), ".log") + ".timeindex"
	for left := int64(len(r.disk.Bytes(path))); left >= 0; left -= 12 {
		r.disk.Cut(path, left)
		r.crash(storagetest.LoseNothing, 0)
		for _, ts := range []model.Timestamp{1900, 2000} {
			r.done.Reset()
			r.perform(effect.Set{Lookups: []effect.Lookup{{Partition: tp, Timestamp: ts, Limit: 8}}})
			if l := r.done.LookedUp[0]; l.Offset != 3 || l.Failure != effect.OK {
				t.Errorf("time index cut to %d bytes: time %d found %+v, it is at 3", left, ts, l)
			}
		}
	}
}

// A checkpoint that would sync many segments for little waits, but not longer than three times checkpoint.bytes.
func TestCheckpointWaitsForEnoughInEachSegment(t *testing.T) {
	cfg := smallConfig()
	const perSegment, factor = 64 << 10, 3
	cfg.CheckpointBytes = 2 * perSegment
	r := newRig(t, cfg)
	ends := map[model.TopicPartition]model.Offset{}
	due := func(partitions int) (bytes int64) {
		for range 10_000 {
			if r.e.CheckpointDue() {
				bytes = r.e.Stats().SinceCheckpoint
				r.checkpoint()
				return bytes
			}
			for i := range partitions {
				tp := topic(i + 1)
				r.fill(tp, ends[tp], 1, 1000)
				ends[tp]++
			}
		}
		t.Fatalf("no checkpoint is due with %d partitions", partitions)
		return 0
	}
	for i := range 20 {
		r.create(topic(i+1), effect.LogConfig{SegmentBytes: 8 << 20, IndexIntervalBytes: 4096, RetentionMs: -1, RetentionBytes: -1})
	}
	r.checkpoint()
	few, several, many := due(1), due(4), due(20)
	if few < cfg.CheckpointBytes || few > cfg.CheckpointBytes*5/4 {
		t.Errorf("with one partition it is due after %d bytes", few)
	}
	if several < 4*perSegment || several > 5*perSegment {
		t.Errorf("with four partitions it is due after %d bytes", several)
	}
	if most := factor * cfg.CheckpointBytes; many < most || many > most*5/4 {
		t.Errorf("with twenty partitions it is due after %d bytes, want %d", many, most)
	}
}

// Whoever reads a log and has seen enough is not shown the batch again.
func TestReadingAllStopsWhereItIsTold(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 20, 500)
	enough, seen := errors.New("enough"), 0
	err := r.e.ReadAll(tp, func(b record.Batch) error {
		if seen++; b.BaseOffset() == 10 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || seen != 11 {
		t.Fatalf("%d batches were shown, and then %v", seen, err)
	}
}
