package storage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

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

// The journal's last group is bad, and something says that it was durable.
func TestBadGroupThatWasDurableIsNeverDropped(t *testing.T) {
	for _, test := range []struct {
		name string
		then func(r *rig, tp model.TopicPartition)
	}{
		{"a group follows", func(r *rig, tp model.TopicPartition) { r.fill(tp, 4, 1, 100) }},
		{"a mark follows", func(*rig, model.TopicPartition) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, smallConfig())
			tp := topic(1)
			r.create(tp, smallLog())
			r.fill(tp, 0, 3, 700)
			needle := r.append(tp, 3, batch(77, 1, 700, 1))
			r.sync() // and, as nothing is staged, the mark
			test.then(r, tp)
			r.disk.Crash(storagetest.LoseNothing, 0)
			// The journal's copy and the segment's are hit in the payload.
			hits := 0
			for _, path := range r.disk.Paths() {
				if i := bytes.Index(r.disk.Bytes(path), needle); i >= 0 {
					r.disk.Flip(path, int64(i+100)*8)
					hits++
				}
			}
			if hits != 2 {
				t.Fatalf("%d copies", hits)
			}
			r.open()
			if d := r.recovered(tp).Damage; d == "" {
				t.Fatalf("recovered to %d without a word", r.recovered(tp).State.EndOffset())
			}
			if _, code := r.read(tp, 0, 3, 1000); code != kerr.KafkaStorageError.Code {
				t.Fatalf("a damaged partition is read with code %d", code)
			}
			// It stays damaged, and the others work.
			r.crash(storagetest.LoseNothing, 0)
			if r.recovered(tp).Damage == "" {
				t.Fatal("the damage was forgotten")
			}
			other := topic(2)
			r.create(other, smallLog())
			want := r.fill(other, 0, 2, 100)
			if got := r.readAll(other, 0, 2); !bytes.Equal(got, want) {
				t.Fatal("other bytes in another partition")
			}
		})
	}
}

func TestBadGroupHeaderThatWasDurableRefusesToOpen(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 5, 700)
	r.disk.Crash(storagetest.LoseNothing, 0)
	path := r.journalPaths()[0]
	before := r.disk.Bytes(path)
	at := bytes.Index(before[1:], []byte("WJG1")) + 1 // the second group
	r.disk.Flip(path, int64(at+10)*8)
	_, _, err := storage.Open(r.disk, r.cfg)
	if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Fatalf("opened with %v", err)
	}
	r.disk.Flip(path, int64(at+10)*8)
	r.open()
	if got := r.recovered(tp).State.EndOffset(); got != 5 {
		t.Fatalf("the refused open changed something: end %d", got)
	}
}

func TestBadJournalPayloadIsHealedFromTheSegment(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 5, 700)
	r.disk.Crash(storagetest.LoseNothing, 0)
	path := r.journalPaths()[0]
	at := bytes.Index(r.disk.Bytes(path), want[100:300])
	r.disk.Flip(path, int64(at)*8)
	r.open()
	if got := r.readAll(tp, 0, 5); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
}

func TestBitFlipInClosedSegmentIsReportedNotServed(t *testing.T) {
	for _, regions := range []bool{false, true} {
		for _, at := range []int64{0, 5, 9, 13, 16, 18, 22, 30, 60, 500} { // every field of a header, and a payload
			cfg := smallConfig()
			cfg.Regions = regions
			r := newRig(t, cfg)
			tp := topic(1)
			r.create(tp, smallLog())
			want := r.fill(tp, 0, 30, 700)
			r.close()
			batchBytes := int64(len(want) / 30)
			r.disk.Flip(r.logPath(tp, 0), (2*batchBytes+at)*8)
			r.open()
			good, _ := r.read(tp, 0, 2, 10_000)
			if !bytes.Equal(good, want[:2*batchBytes]) && len(good) > 0 {
				t.Fatalf("byte %d: other bytes before the flip", at)
			}
			got, code := r.read(tp, 2, 30, 10_000)
			if code != kerr.KafkaStorageError.Code || len(got) > 0 {
				t.Fatalf("byte %d: %d bytes, code %d", at, len(got), code)
			}
			r.done.Reset()
			r.perform(effect.Set{})
			if len(r.done.Damaged) != 1 || r.done.Damaged[0].Partition != tp {
				t.Fatalf("byte %d: reported %+v", at, r.done.Damaged)
			}
			r.done.Reset()
			r.append(tp, 30, batch(1, 1, 10, 1))
			if len(r.done.Appended) != 1 || r.done.Appended[0].Failure != effect.Broken {
				t.Fatalf("byte %d: append to a damaged partition: %+v", at, r.done.Appended)
			}
		}
	}
}

func TestShortOrMissingSegmentIsDamage(t *testing.T) {
	for _, test := range []struct {
		name string
		hurt func(r *rig, paths []string) error
	}{
		{"middle missing", func(r *rig, p []string) error { return r.disk.Remove(p[1]) }},
		{"first missing", func(r *rig, p []string) error { return r.disk.Remove(p[0]) }},
		{"last missing", func(r *rig, p []string) error { return r.disk.Remove(p[len(p)-1]) }},
		{"middle short", func(r *rig, p []string) error { r.disk.Cut(p[1], 100); return nil }},
		{"last short", func(r *rig, p []string) error { r.disk.Cut(p[len(p)-1], 1); return nil }},
	} {
		for _, clean := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/clean=%v", test.name, clean), func(t *testing.T) {
				r := newRig(t, smallConfig())
				tp, other := topic(1), topic(2)
				r.create(tp, smallLog())
				r.create(other, smallLog())
				r.fill(tp, 0, 30, 700)
				want := r.fill(other, 0, 3, 700)
				r.checkpoint()
				if clean {
					r.close()
				} else {
					r.disk.Crash(storagetest.LoseNothing, 0)
				}
				paths := r.segments(tp)
				if err := test.hurt(r, paths); err != nil {
					t.Fatal(err)
				}
				r.open()
				if r.recovered(tp).Damage == "" {
					t.Fatal("not reported")
				}
				if got := r.readAll(other, 0, 3); !bytes.Equal(got, want) {
					t.Fatal("other bytes in another partition")
				}
				for _, path := range paths[1:] {
					if len(r.disk.Bytes(path)) == 0 && !strings.HasSuffix(test.name, "missing") {
						t.Fatalf("%s was removed or emptied", path)
					}
				}
			})
		}
	}
}

func TestOneRottenManifestIsReplacedByItsTwin(t *testing.T) {
	for _, path := range []string{"checkpoint.a", "checkpoint.b"} {
		r := newRig(t, smallConfig())
		tp := topic(1)
		r.create(tp, smallLog())
		want := r.fill(tp, 0, 10, 700)
		r.checkpoint()
		r.disk.Crash(storagetest.LoseNothing, 0)
		r.disk.Flip(path, 333)
		r.open()
		if got := r.readAll(tp, 0, 10); !bytes.Equal(got, want) {
			t.Fatal("other bytes")
		}
		if !slices.ContainsFunc(r.rec.Notes, func(n effect.Note) bool { return n.Kind == effect.NoteDamageFound }) {
			t.Fatal("not reported")
		}
		r.crash(storagetest.LoseUnsynced, 0)
		if slices.ContainsFunc(r.rec.Notes, func(n effect.Note) bool { return n.Kind == effect.NoteDamageFound }) {
			t.Fatal("not healed")
		}
	}
}

func TestRottenManifestsRefuseToOpenAndDeleteNothing(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 10, 700)
	r.close()
	r.disk.Flip("checkpoint.a", 333)
	r.disk.Flip("checkpoint.b", 333)
	before := r.disk.Paths()
	if _, _, err := storage.Open(r.disk, r.cfg); !errors.Is(err, storage.ErrDamaged) {
		t.Fatalf("opened with %v", err)
	}
	if after := r.disk.Paths(); !slices.Equal(before, after) {
		t.Fatalf("files were %v, are %v", before, after)
	}
}

func TestIdentityIsCheckedAtEveryStart(t *testing.T) {
	r := newRig(t, smallConfig())
	r.close()
	for _, other := range []storage.Identity{
		{ClusterID: "another", NodeID: 1, DirectoryID: testIdentity.DirectoryID},
		{ClusterID: "test-cluster", NodeID: 2, DirectoryID: testIdentity.DirectoryID},
		{ClusterID: "test-cluster", NodeID: 1, DirectoryID: model.TopicID{8}},
	} {
		cfg := r.cfg
		cfg.Identity = other
		if _, _, err := storage.Open(r.disk, cfg); !errors.Is(err, storage.ErrIdentity) {
			t.Fatalf("%+v: opened with %v", other, err)
		}
	}
	r.cfg.Identity.DirectoryID = model.TopicID{}
	r.open()
	if got := r.e.Identity(); got != testIdentity {
		t.Fatalf("identity %+v", got)
	}
	r.close()
	r.disk.Flip("meta", 200)
	if _, _, err := storage.Open(r.disk, r.cfg); !errors.Is(err, storage.ErrFrame) {
		t.Fatalf("opened with %v", err)
	}
}

func TestPartitionsWithoutIdentityAreNotTakenOver(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 1, 10)
	r.close()
	if err := r.disk.Remove("meta"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := storage.Open(r.disk, r.cfg); !errors.Is(err, storage.ErrDamaged) {
		t.Fatalf("opened with %v", err)
	}
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	r := newRig(t, smallConfig())
	tp, other := topic(1), topic(2)
	r.create(tp, smallLog())
	r.create(other, smallLog())
	want := r.fill(tp, 0, 3, 700)
	r.fill(other, 0, 1, 10)
	r.done.Reset()
	r.disk.CapacityBytes = r.disk.UsedBytes() + 500
	// A batch that does not fit, one behind it, and one of another partition that does.
	r.append(tp, 3, batch(1, 1, 2000, 1))
	r.append(tp, 4, batch(2, 1, 10, 1))
	r.append(other, 1, batch(3, 1, 10, 1))
	r.sync()
	var refused, ok int
	for _, a := range r.done.Appended {
		switch {
		case a.Partition == tp && a.Failure == effect.DiskFull:
			refused++
			if a.NextOffset != 3 || a.State.EndOffset() != 3 {
				t.Fatalf("refused with %+v", a)
			}
		case a.Partition == other && a.Failure == effect.OK && a.NextOffset == 2:
			ok++
		default:
			t.Fatalf("reported %+v", a)
		}
	}
	if refused != 2 || ok != 1 {
		t.Fatalf("%d refused, %d done", refused, ok)
	}
	if err := r.e.Check(); err != nil {
		t.Fatal(err)
	}
	// Still behind the refused one: it, too, can never be written.
	r.done.Reset()
	r.append(tp, 5, batch(2, 1, 10, 1))
	r.sync()
	if len(r.done.Appended) != 1 || r.done.Appended[0].Failure != effect.DiskFull {
		t.Fatalf("reported %+v", r.done.Appended)
	}
	r.disk.CapacityBytes = 0
	want = append(want, r.fill(tp, 3, 2, 2000)...)
	if got := r.readAll(tp, 0, 5); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
	r.crash(storagetest.LoseUnsynced, 0)
	if got := r.readAll(tp, 0, 5); !bytes.Equal(got, want) {
		t.Fatal("other bytes after a crash")
	}
}

func TestFullDiskCanBeFreedByRetentionAndDeletion(t *testing.T) {
	r := newRig(t, smallConfig())
	tp, other := topic(1), topic(2)
	lc := smallLog()
	lc.RetentionBytes = 1
	r.create(tp, lc)
	r.create(other, smallLog())
	r.fill(tp, 0, 40, 1000)
	r.fill(other, 0, 10, 1000)
	// Fill the disk until nothing goes any more.
	r.disk.CapacityBytes = r.disk.UsedBytes() + 5000
	next := model.Offset(10)
	for range 200 {
		r.done.Reset()
		r.append(other, next, batch(1, 1, 1000, 1))
		r.sync()
		r.checkpoint()
		if a := r.done.Appended; len(a) == 1 && a[0].Failure == effect.DiskFull {
			break
		}
		next++
	}
	if a := r.done.Appended; len(a) != 1 || a[0].Failure != effect.DiskFull {
		t.Fatalf("the disk is not full: %+v", a)
	}
	r.done.Reset()
	r.perform(effect.Set{
		Retains: []effect.Retain{{Partition: tp, HighWatermark: 40, Wall: 1}},
		Deletes: []effect.Delete{{Partition: other}},
	})
	r.sync()
	if len(r.done.Retained) != 1 || r.done.Retained[0].Failure != effect.OK || r.done.Retained[0].FreedBytes == 0 {
		t.Fatalf("retained %+v", r.done.Retained)
	}
	if len(r.done.Deleted) != 1 || r.done.Deleted[0].Failure != effect.OK {
		t.Fatalf("deleted %+v", r.done.Deleted)
	}
	r.done.Reset()
	r.append(tp, 40, batch(1, 1, 1000, 1))
	r.sync()
	if a := r.done.Appended; len(a) != 1 || a[0].Failure != effect.OK {
		t.Fatalf("with room again: %+v", a)
	}
}

// Appends leave room in the journal for what frees space, however small the appends.
func TestFullJournalCanBeFreed(t *testing.T) {
	for left := int64(500); left < 6000; left += 87 {
		freeFullJournal(t, left)
	}
}

func freeFullJournal(t *testing.T, left int64) {
	cfg := smallConfig()
	cfg.JournalFileBytes, cfg.CheckpointBytes = 8<<10, 1<<40
	r := newRig(t, cfg)
	tp, other := topic(1), topic(2)
	lc := smallLog()
	lc.RetentionBytes = 1
	r.create(tp, lc)
	r.create(other, smallLog())
	r.fill(tp, 0, 20, 1000)
	r.fill(other, 0, 1, 10)
	r.disk.CapacityBytes = r.disk.UsedBytes() + left
	next := model.Offset(1)
	for ; next < 100; next++ {
		r.done.Reset()
		r.append(other, next, batch(1, 1, 10, 1))
		r.sync()
		if r.done.Appended[0].Failure == effect.DiskFull {
			break
		}
	}
	if next == 100 {
		t.Fatal("the journal never filled up")
	}
	r.done.Reset()
	r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 20, Wall: 1}}})
	r.sync()
	if got := r.done.Retained[0]; got.Failure != effect.OK || got.FreedBytes == 0 {
		t.Fatalf("%d bytes left: retained %+v", left, got)
	}
	r.done.Reset()
	r.append(other, next, batch(1, 1, 10, 1))
	r.sync()
	if got := r.done.Appended[0]; got.Failure != effect.OK {
		t.Fatalf("%d bytes left: with room again: %+v", left, got)
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

func TestRetentionStopsAtTheHighWatermark(t *testing.T) {
	lc := smallLog()
	lc.RetentionMs = 0
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, lc)
	r.fill(tp, 0, 40, 1000)
	second := model.Offset(0)
	for _, path := range r.segments(tp)[1:2] {
		fmt.Sscanf(path[strings.LastIndex(path, "/")+1:], "%d.log", &second)
	}
	r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: second + 1, Wall: 1 << 40}}})
	r.sync()
	if got := r.done.Retained[0].LogStartOffset; got != second {
		t.Fatalf("log start %d, the second segment begins at %d", got, second)
	}
}

func TestLogStartSurvivesACrash(t *testing.T) {
	for _, loss := range []storagetest.Loss{storagetest.LoseNothing, storagetest.LoseUnsynced} {
		for _, all := range []bool{false, true} {
			lc := smallLog()
			lc.RetentionBytes = 10_000
			if all {
				lc.RetentionMs = 0
			}
			r := newRig(t, smallConfig())
			tp := topic(1)
			r.create(tp, lc)
			want := r.fill(tp, 0, 40, 1000)
			each := len(want) / 40
			r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 40, Wall: 1 << 40}}})
			r.sync()
			start := r.done.Retained[0].LogStartOffset
			if start == 0 || all && start != 40 {
				t.Fatalf("log start %d", start)
			}
			for range 2 {
				r.crash(loss, 0)
				p := r.recovered(tp)
				if p.State.StartOffset() != start || p.State.EndOffset() != 40 {
					t.Fatalf("recovered [%d,%d), want [%d,40)", p.State.StartOffset(), p.State.EndOffset(), start)
				}
				if _, code := r.read(tp, 0, 40, 1000); code != kerr.OffsetOutOfRange.Code {
					t.Fatalf("deleted data is read with code %d", code)
				}
				if got := r.readAll(tp, start, 40); !bytes.Equal(got, want[int(start)*each:]) {
					t.Fatal("other bytes")
				}
				r.checkpoint()
			}
			r.create(tp, lc)
			r.fill(tp, 40, 2, 100)
			if got := r.readAll(tp, 40, 42); len(got) == 0 {
				t.Fatal("nothing behind the new start")
			}
			if err := r.e.Check(); err != nil {
				t.Fatal(err)
			}
		}
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

func TestRegionsOutliveTheFilesTheyAreOf(t *testing.T) {
	cfg := smallConfig()
	cfg.Regions = true
	r := newRig(t, cfg)
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 5, 1000)
	f := effect.FetchReply{BytesMax: 1 << 20, Parts: []effect.FetchPart{{Partition: tp, To: 5, BytesMax: 1 << 20}}}
	r.e.ResolveRead(&f)
	r.perform(effect.Set{Deletes: []effect.Delete{{Partition: tp}}})
	r.sync()
	if n := len(r.segments(tp)); n != 0 {
		t.Fatalf("%d segments are left", n)
	}
	if got := flatten(t, f.Parts[0].Records); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
}

func TestDeletedPartitionStaysDeleted(t *testing.T) {
	for _, loss := range []storagetest.Loss{storagetest.LoseNothing, storagetest.LoseUnsynced, storagetest.LoseSome} {
		r := newRig(t, smallConfig())
		tp := topic(1)
		r.create(tp, smallLog())
		r.fill(tp, 0, 20, 1000)
		r.checkpoint()
		r.perform(effect.Set{Deletes: []effect.Delete{{Partition: tp}}})
		r.append(tp, 20, batch(1, 1, 10, 1))
		if a := r.done.Appended[len(r.done.Appended)-1]; a.Failure != effect.Missing {
			t.Fatalf("append to a deleted partition: %+v", a)
		}
		r.sync()
		if len(r.done.Deleted) != 1 {
			t.Fatalf("reported %+v", r.done.Deleted)
		}
		r.crash(loss, 5)
		r.crash(loss, 6)
		if len(r.rec.Partitions) != 0 {
			t.Fatalf("recovered %+v", r.rec.Partitions)
		}
	}
}

func TestDeleteUnknownRemovesPartitionsAndStrays(t *testing.T) {
	r := newRig(t, smallConfig())
	keep, drop, stray := topic(1), topic(2), topic(3)
	for _, tp := range []model.TopicPartition{keep, drop} {
		r.create(tp, smallLog())
		r.fill(tp, 0, 3, 100)
	}
	r.disk.MakeDir(fmt.Sprintf("partitions/%s-%d", stray.Topic, stray.Partition))
	f, _ := r.disk.Create(r.logPath(stray, 0))
	f.Close()
	r.crash(storagetest.LoseNothing, 0)
	if !slices.Equal(r.rec.Strays, []model.TopicPartition{stray}) {
		t.Fatalf("strays %v", r.rec.Strays)
	}
	n, err := r.e.DeleteUnknown(func(tp model.TopicPartition) bool { return tp == keep })
	if err != nil || n != 2 {
		t.Fatalf("%d, %v", n, err)
	}
	r.done.Reset()
	r.sync()
	if !r.done.Empty() {
		t.Fatalf("reported %+v", r.done)
	}
	if len(r.segments(drop))+len(r.segments(stray)) != 0 || len(r.segments(keep)) == 0 {
		t.Fatalf("files: %v", r.disk.Paths())
	}
	r.crash(storagetest.LoseNothing, 0)
	if len(r.rec.Partitions) != 1 || r.rec.Partitions[0].Partition != keep {
		t.Fatalf("recovered %+v", r.rec.Partitions)
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
		if want := map[int]int{3: 0, 40: 2}[test.producers]; files != want {
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

// The files are Kafka's: the index names the last offset and the position of a batch, the first batch
// past each interval; the time index the greatest time so far.
func TestIndexFilesAreKafkas(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog()) // interval 256
	stored := r.fill(tp, 0, 12, 1000)
	r.close()
	second := r.segments(tp)[1]
	size := int64(len(r.disk.Bytes(r.logPath(tp, 0))))
	var offsets, times []byte
	since, at, o := 0, 0, uint32(0)
	for b := stored[:size]; len(b) > 0; o++ {
		batch, rest, err := record.Next(b)
		if err != nil {
			t.Fatal(err)
		}
		if since > 256 {
			offsets = binary.BigEndian.AppendUint32(offsets, o)
			offsets = binary.BigEndian.AppendUint32(offsets, uint32(at))
			times = binary.BigEndian.AppendUint64(times, uint64(1000+o))
			times = binary.BigEndian.AppendUint32(times, o)
			since = 0
		}
		since, at, b = since+len(batch), at+len(batch), rest
	}
	base := strings.TrimSuffix(r.logPath(tp, 0), ".log")
	if got := r.disk.Bytes(base + ".index"); !bytes.Equal(got, offsets) {
		t.Fatalf("index\n%x, want\n%x", got, offsets)
	}
	if got := r.disk.Bytes(base + ".timeindex"); !bytes.Equal(got, times) {
		t.Fatalf("time index\n%x, want\n%x", got, times)
	}
	if got := r.disk.Bytes(second); !bytes.Equal(got, stored[size:size+int64(len(got))]) {
		t.Fatal("the second segment does not go on where the first ended")
	}
}

func TestRottenIndexNeverLeadsAstray(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 25, 500)
	r.close()
	each := len(want) / 25
	base := strings.TrimSuffix(r.logPath(tp, 0), ".log")
	for _, suffix := range []string{".index", ".timeindex"} {
		bits := int64(len(r.disk.Bytes(base+suffix))) * 8
		for bit := range bits {
			r.disk.Flip(base+suffix, bit)
			r.open()
			for o := range model.Offset(25) {
				got, code := r.read(tp, o, o+1, 1<<20)
				if code != 0 || !bytes.Equal(got, want[int(o)*each:int(o+1)*each]) {
					t.Fatalf("%s bit %d: offset %d: code %d, %d bytes", suffix, bit, o, code, len(got))
				}
				r.done.Reset()
				r.perform(effect.Set{Lookups: []effect.Lookup{{Partition: tp, Timestamp: model.Timestamp(1000 + o), Limit: 25}}})
				if l := r.done.LookedUp[0]; l.Offset != o || l.Failure != effect.OK {
					t.Fatalf("%s bit %d: time %d found %+v", suffix, bit, 1000+o, l)
				}
			}
			r.close()
			// Put back what the engine may have repaired.
			f, err := r.disk.Open(base + suffix)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			if n := int64(len(r.disk.Bytes(base + suffix))); n*8 != bits {
				t.Fatalf("%s: %d bytes, were %d", suffix, n, bits/8)
			}
			r.disk.Flip(base+suffix, bit)
		}
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

// unreadable makes one sector of a file fail to read.
func (r *rig) unreadable(path string, sector int64) {
	r.disk.ReadHook = func(p string, off, n int64) error {
		if p == path && off < (sector+1)*512 && off+n > sector*512 {
			return errors.New("input/output error")
		}
		return nil
	}
}

func TestUnreadableJournalSectorIsNotTheEndOfTheJournal(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 5, 700) // two sectors each
	r.disk.Crash(storagetest.LoseNothing, 0)
	path := r.journalPaths()[0]
	for sector := range int64(10) {
		r.unreadable(path, sector)
		if _, _, err := storage.Open(r.disk, r.cfg); !errors.Is(err, storage.ErrDamaged) {
			t.Fatalf("sector %d: opened with %v", sector, err)
		}
	}
	r.unreadable(path, 30)
	r.open()
	if got := r.readAll(tp, 0, 5); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
}

func TestUnreadableSegmentSectorIsDamage(t *testing.T) {
	for _, inPlace := range []int{0, 1} {
		cfg := smallConfig()
		cfg.InPlaceBytesMin = inPlace
		r := newRig(t, cfg)
		tp := topic(1)
		r.create(tp, smallLog())
		want := r.fill(tp, 0, 5, 700)
		r.disk.Crash(storagetest.LoseNothing, 0)
		last := int64(len(want)) / 512
		r.unreadable(r.logPath(tp, 0), last)
		r.open()
		got, code := r.read(tp, 4, 5, 10_000)
		if code != kerr.KafkaStorageError.Code || len(got) > 0 {
			t.Fatalf("in place %d: code %d, %d bytes, recovered %+v", inPlace, code, len(got), r.recovered(tp))
		}
		r.disk.ReadHook = nil
		if end := r.recovered(tp).State.EndOffset(); end != 5 && r.recovered(tp).Damage == "" {
			t.Fatalf("in place %d: recovered to %d without a word", inPlace, end)
		}
	}
}
