package storage_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage/storagetest"
)

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

func TestDeletedRecordsStayDeletedWithinASegmentToo(t *testing.T) {
	for _, loss := range []storagetest.Loss{storagetest.LoseNothing, storagetest.LoseUnsynced} {
		r := newRig(t, smallConfig())
		tp := topic(1)
		r.create(tp, smallLog())
		want := r.fill(tp, 0, 40, 1000)
		each := len(want) / 40
		segments := len(r.segments(tp))
		start := model.Offset(0)
		for _, below := range []model.Offset{1, 1, 17, 3, 40} {
			r.done.Reset()
			r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 40, Below: below}}})
			if len(r.done.Retained) > 0 && below > start {
				t.Fatalf("reported before anything was synced: %+v", r.done.Retained)
			}
			r.sync()
			start = max(start, below)
			if got := r.done.Retained; len(got) != 1 || got[0].LogStartOffset != start || got[0].Failure != effect.OK {
				t.Fatalf("below %d: %+v", below, got)
			}
			if got := r.readAll(tp, start, 40); !bytes.Equal(got, want[int(start)*each:]) {
				t.Fatalf("below %d: other bytes", below)
			}
			for range 2 {
				r.crash(loss, 0)
				if p := r.recovered(tp); p.State.StartOffset() != start || p.State.EndOffset() != 40 {
					t.Fatalf("recovered [%d,%d), want [%d,40)", p.State.StartOffset(), p.State.EndOffset(), start)
				}
				if start > 0 {
					if _, code := r.read(tp, start-1, 40, 1000); code != kerr.OffsetOutOfRange.Code {
						t.Fatalf("deleted data is read with code %d", code)
					}
				}
				if err := r.e.Check(); err != nil {
					t.Fatal(err)
				}
				r.checkpoint()
			}
			if n := len(r.segments(tp)); (below == 1) != (n == segments) || (below == 40) != (n == 0) {
				t.Fatalf("%d of %d segments are left below %d", n, segments, below)
			}
			r.create(tp, smallLog())
		}
		if got := r.fill(tp, 40, 2, 100); !bytes.Equal(got, r.readAll(tp, 40, 42)) {
			t.Fatal("other bytes behind the new start")
		}
	}
}

// Two deletions of records in one turn are both answered when they are durable, the later one with what holds
// then.
func TestDeletionsOfRecordsBehindEachOtherAreAllAnswered(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 20, 1000)
	r.done.Reset()
	for _, below := range []model.Offset{5, 12, 7} {
		r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 20, Below: below}}})
	}
	if len(r.done.Retained) > 0 {
		t.Fatalf("reported before the sync: %+v", r.done.Retained)
	}
	r.sync()
	var starts []model.Offset
	for _, a := range r.done.Retained {
		starts = append(starts, a.LogStartOffset)
	}
	if !slices.Equal(starts, []model.Offset{5, 12, 12}) {
		t.Fatalf("log starts %v", starts)
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

// Retention empties a log before any checkpoint has seen its directory; what is appended then must not hang on a
// name that only the page cache has.
func TestDirectoryOfAnEmptiedLogIsMadeDurable(t *testing.T) {
	for _, inPlace := range []int{0, 1} {
		cfg := smallConfig()
		cfg.InPlaceBytesMin = inPlace
		r := newRig(t, cfg)
		tp := topic(1)
		r.create(tp, smallLog())
		r.fill(tp, 0, 1, 100)
		r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 1, Below: 1}}})
		r.sync()
		r.crash(storagetest.LoseUnsynced, 0) // the directory is gone, the log is known
		r.create(tp, smallLog())
		want := r.fill(tp, 1, 1, 100)
		r.crash(storagetest.LoseNothing, 0)
		r.crash(storagetest.LoseUnsynced, 0)
		if got := r.readAll(tp, 1, 2); !bytes.Equal(got, want) {
			t.Fatalf("in place from %d: other bytes", inPlace)
		}
	}
}
