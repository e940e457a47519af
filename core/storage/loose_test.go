package storage_test

import (
	"bytes"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage/storagetest"
)

func looseLog(messages, ms int64) effect.LogConfig {
	lc := smallLog()
	lc.FlushMessages, lc.FlushMs = messages, ms
	return lc
}

// fillLoose appends batches of one record to a loose log and checks that each is reported at once.
func (r *rig) fillLoose(tp model.TopicPartition, from model.Offset, count int) []byte {
	r.t.Helper()
	var all []byte
	for i := range count {
		r.done.Reset()
		all = append(all, r.append(tp, from+model.Offset(i), batch(uint64(100+i), 1, 500, 1))...)
		if a := r.done.Appended; len(a) != 1 || a[0].Failure != effect.OK || a[0].NextOffset != from+model.Offset(i)+1 {
			r.t.Fatalf("a loose append was reported as %+v", a)
		}
	}
	return all
}

func TestLooseAppendsAreReportedWhenWritten(t *testing.T) {
	for _, loss := range []storagetest.Loss{storagetest.LoseNothing, storagetest.LoseUnsynced, storagetest.LoseSome} {
		r := newRig(t, smallConfig())
		tp := topic(1)
		r.create(tp, looseLog(1<<40, 1<<62))
		want := r.fill(tp, 0, 1, 500) // the first is synced, with the note that others will not be
		before := r.disk.UsedBytes()
		want = append(want, r.fillLoose(tp, 1, 30)...)
		if _, ok := r.e.BeginSync(); ok {
			t.Fatal("there is something to sync")
		}
		if got := r.readAll(tp, 0, 31); !bytes.Equal(got, want) {
			t.Fatal("other bytes")
		}
		if more := r.disk.UsedBytes() - before; more > int64(len(want))*5/4 {
			t.Fatalf("%d bytes were written for %d", more, len(want))
		}
		r.crash(loss, 3)
		end := model.Offset(0)
		if p := r.recovered(tp); p.Damage != "" {
			t.Fatal(p.Damage)
		} else if end = p.State.EndOffset(); loss == storagetest.LoseNothing && end != 31 || end < 1 {
			t.Fatalf("loss %d: recovered to %d", loss, end)
		}
		if got := r.readAll(tp, 0, end); !bytes.HasPrefix(want, got) {
			t.Fatal("what survived is not a prefix")
		}
		if err := r.e.Check(); err != nil {
			t.Fatal(err)
		}
		// From here on it is durable.
		r.crash(storagetest.LoseUnsynced, 4)
		if again := r.recovered(tp).State.EndOffset(); again != end {
			t.Fatalf("recovered to %d, and then to %d", end, again)
		}
	}
}

func TestFlushLimitsBoundWhatALooseLogLoses(t *testing.T) {
	for _, test := range []struct {
		name         string
		messages, ms int64
		then         func(r *rig)
		kept         model.Offset
	}{
		{"by count", 10, 1 << 62, func(*rig) {}, 21},
		{"by time", 1 << 40, 50, func(r *rig) {
			for _, now := range []model.Time{1_000_000, 50_999_999} {
				if r.e.Tick(now); r.e.Deadline() != 51_000_000 {
					r.t.Fatalf("deadline %d", r.e.Deadline())
				}
				if _, ok := r.e.BeginSync(); ok {
					r.t.Fatal("flushed too early")
				}
			}
			r.e.Tick(51_000_000)
			if r.e.Deadline() != 0 {
				r.t.Fatal("nothing is left to flush, but there is a deadline")
			}
		}, 25},
		{"by a checkpoint", 1 << 40, 1 << 62, func(r *rig) { r.checkpoint() }, 25},
		{"by neither", 1 << 40, 1 << 62, func(*rig) {}, 1},
		{"by a strict append", 1 << 40, 1 << 62, func(r *rig) {
			r.perform(effect.Set{Opens: []effect.Open{{Partition: topic(1), Config: smallLog()}}})
			r.append(topic(1), 25, batch(7, 1, 10, 1))
			r.done.Reset()
			r.sync()
			if n := len(r.done.Appended); n != 1 || r.done.Appended[0].NextOffset != 26 {
				r.t.Fatalf("reported %+v", r.done.Appended)
			}
		}, 26},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, smallConfig())
			tp := topic(1)
			r.create(tp, looseLog(test.messages, test.ms))
			r.fill(tp, 0, 1, 500)
			for i := range 24 {
				r.fillLoose(tp, model.Offset(i+1), 1)
				if test.name == "by count" {
					r.sync()
				}
			}
			test.then(r)
			r.sync()
			r.crash(storagetest.LoseUnsynced, 0)
			if end := r.recovered(tp).State.EndOffset(); end != test.kept {
				t.Fatalf("%d records are left, not %d", end, test.kept)
			}
		})
	}
}

// Retention takes a loose log's segments that no checkpoint has seen; a crash must find what is behind them.
func TestLogStartOfALooseLogSurvivesACrash(t *testing.T) {
	for _, below := range []model.Offset{3, 20, 25, 31} {
		for _, loss := range []storagetest.Loss{storagetest.LoseNothing, storagetest.LoseUnsynced} {
			r := newRig(t, smallConfig())
			tp := topic(1)
			r.create(tp, looseLog(1<<40, 1<<62))
			want := r.fill(tp, 0, 1, 500)
			each := len(want)
			want = append(want, r.fillLoose(tp, 1, 30)...)
			r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 31, Below: below}}})
			r.sync()
			r.crash(loss, 0)
			p := r.recovered(tp)
			if start := p.State.StartOffset(); p.Damage != "" || start != below {
				t.Fatalf("below %d, loss %d: the log starts at %d (%s)", below, loss, start, p.Damage)
			}
			end := p.State.EndOffset()
			if loss == storagetest.LoseNothing && end != 31 {
				t.Fatalf("below %d: the log ends at %d", below, end)
			}
			if got := r.readAll(tp, below, end); !bytes.Equal(got, want[int(below)*each:int(end)*each]) {
				t.Fatal("other bytes")
			}
			r.create(tp, looseLog(1<<40, 1<<62))
			r.fill(tp, end, 2, 500)
			if err := r.e.Check(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What is loose is flushed before anything that is not, and that needs no room in the journal: on a full disk whoever waits
// for it is refused in the end.
func TestFlushOnAFullDiskEnds(t *testing.T) {
	cfg := smallConfig()
	cfg.JournalFileBytes = 8 << 10
	r := newRig(t, cfg)
	tp, other := topic(1), topic(2)
	lc := smallLog()
	lc.FlushMessages, lc.FlushMs = 1<<40, 1<<40
	r.create(tp, lc)
	r.create(other, smallLog())
	r.fill(tp, 0, 3, 100) // the last of them loose
	r.disk.CapacityBytes = 1
	for i := model.Offset(0); ; i++ {
		r.done.Reset()
		r.perform(effect.Set{StartAts: []effect.StartAt{{Partition: other, Offset: 10 + i}}}) // the least that takes a block
		r.sync()
		if r.done.Truncated[0].Failure == effect.DiskFull {
			break
		}
	}
	r.done.Reset()
	r.perform(effect.Set{Appends: []effect.Append{{
		Partition: tp, BaseOffset: 3, LeaderEpoch: 2, AppendTime: model.NoTimestamp, Batch: batch(9, 1, 100, 1),
	}}})
	for range 5 {
		w, ok := r.e.BeginSync()
		if !ok {
			break
		}
		if err := r.e.EndSync(w, w.Run(), &r.done); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := r.e.BeginSync(); ok || len(r.done.Appended) != 1 || r.done.Appended[0].Failure != effect.DiskFull {
		t.Fatalf("there is more to sync: %v; reported %+v", ok, r.done.Appended)
	}
}
