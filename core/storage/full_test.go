package storage_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/core/storage/storagetest"
)

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
			// The first refusal says what the log holds; a full disk refuses thousands.
			if a.NextOffset != 3 || (a.State != nil) != (refused == 1) || a.State != nil && a.State.EndOffset() != 3 {
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

// A checkpoint that was given up for want of space does not make the shutdown after it fail.
func TestShutdownIsCleanWhenTheDiskIsNoLongerFull(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 3, 700)
	r.disk.Hook = func(op storagetest.Op) error {
		if op.Kind == "write" && strings.HasPrefix(op.Path, "checkpoint.") {
			return storage.ErrFull
		}
		return nil
	}
	steps := 0
	for w, ok := r.e.BeginCheckpoint(); ok && steps < 10; w, ok = r.e.BeginCheckpoint() {
		steps++
		if err := r.e.EndCheckpoint(w, w.Run(), &r.done); err != nil {
			t.Fatal(err)
		}
		if !r.e.CheckpointDue() {
			break
		}
	}
	r.disk.Hook = nil
	var done effect.Completions
	if err := r.e.Close(&done); err != nil {
		t.Fatalf("the shutdown failed though there was space: %v", err)
	}
	r.open()
	if !r.rec.CleanShutdown {
		t.Error("the shutdown was not clean")
	}
}

func TestAFullDiskIsSpokenOfOnce(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 5, 1000)
	count := func(k effect.NoteKind) (n int, last effect.Note) {
		for _, note := range r.done.Notes {
			if note.Kind == k {
				n, last = n+1, note
			}
		}
		return n, last
	}
	r.e.Tick(1)
	r.disk.CapacityBytes = r.disk.UsedBytes()
	refused := int64(0)
	r.done.Reset()
	for range 50 {
		r.append(tp, 5, batch(1, 1, 60_000, 1))
		r.sync()
	}
	for _, a := range r.done.Appended {
		if a.Failure == effect.DiskFull {
			refused++
		}
	}
	if n, _ := count(effect.NoteDiskFull); n != 1 || refused != 50 {
		t.Fatalf("%d refused appends are told of in %d notes", refused, n)
	}
	r.disk.CapacityBytes = 0
	r.append(tp, 5, batch(1, 1, 1000, 1))
	r.sync()
	if n, note := count(effect.NoteDiskRoom); n != 1 || note.Count != refused {
		t.Fatalf("room again: %d notes, of %d refused appends, not %d", n, note.Count, refused)
	}
}

// What is asked of a log before its deletion, in the same sync or before one, is not done, and the deletion may be refused yet. The
// log goes on from where it was said to end.
func TestLogWhoseDeletionIsRefusedGoesOn(t *testing.T) {
	cfg := smallConfig()
	cfg.JournalFileBytes, cfg.JournalBlockBytes = 16<<10, 4<<10 // room for three groups
	r := newRig(t, cfg)
	tp, other := topic(1), topic(2)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 2, 100)
	r.crash(storagetest.LoseNothing, 0)
	r.create(tp, smallLog())
	r.create(other, smallLog())
	r.fill(other, 0, 1, 10)
	r.done.Reset()
	r.disk.CapacityBytes = r.disk.UsedBytes() + 200
	r.append(other, 1, batch(1, 1, 10, 1))
	r.append(tp, 2, batch(2, 1, 10, 1))
	r.truncate(tp, 1)
	r.truncate(other, 0)
	r.truncate(tp, 0)
	r.perform(effect.Set{Deletes: []effect.Delete{{Partition: tp}}})
	r.sync()
	var got []string
	for _, a := range r.done.Appended {
		if a.Partition == tp {
			got = append(got, fmt.Sprintf("appended %d: %v", a.NextOffset, a.Failure))
		}
	}
	for _, c := range r.done.Truncated {
		if c.Partition == tp {
			got = append(got, fmt.Sprintf("truncated %d: %v", c.NextOffset, c.Failure))
			if c.Failure == effect.DiskFull && c.State.EndOffset() != c.NextOffset {
				t.Errorf("a truncation was refused at %d with the state of %d", c.NextOffset, c.State.EndOffset())
			}
		}
	}
	for _, d := range r.done.Deleted {
		got = append(got, fmt.Sprintf("deleted: %v", d.Failure))
	}
	if got := strings.Join(got, ", "); got != "appended 2: missing, truncated 2: missing, truncated 2: disk full, deleted: disk full" {
		t.Fatalf("reported %s", got)
	}
	if got := r.readAll(tp, 0, 2); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
	r.disk.CapacityBytes = 0
	want = append(want, r.append(tp, 2, batch(3, 1, 10, 1))...)
	r.sync()
	r.crash(storagetest.LoseUnsynced, 0)
	if got := r.readAll(tp, 0, 3); !bytes.Equal(got, want) {
		t.Fatal("other bytes after a crash")
	}
}
