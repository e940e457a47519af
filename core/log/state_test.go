package log_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

func batch(base model.Offset, count int32, id model.ProducerID, epoch model.ProducerEpoch, seq model.Sequence) record.Header {
	h := record.Header{
		BaseOffset: base, LastOffsetDelta: count - 1, RecordCount: count, SizeBytes: 100,
		ProducerID: id, ProducerEpoch: epoch, BaseSequence: seq,
	}
	if id == model.NoProducerID {
		h.ProducerEpoch, h.BaseSequence = model.NoProducerEpoch, model.NoSequence
	}
	return h
}

// append applies a batch of a producer at the log's end.
func appendBatch(s *log.State, count int32, id model.ProducerID, epoch model.ProducerEpoch, seq model.Sequence) model.Offset {
	base := s.EndOffset()
	s.Apply(batch(base, count, id, epoch, seq))
	return base
}

func TestAnyOfTheLastFiveBatchesIsADuplicateAndTheSixthIsNot(t *testing.T) {
	s := log.New(0)
	var bases []model.Offset
	for i := range 6 {
		bases = append(bases, appendBatch(s, 10, 7, 0, model.Sequence(i*10)))
	}
	for i := 1; i < 6; i++ {
		v := s.CheckSequence(batch(0, 10, 7, 0, model.Sequence(i*10)))
		if v.Kind != log.Duplicate || v.BaseOffset != bases[i] {
			t.Errorf("batch %d of six: %+v, want a duplicate of offset %d", i, v, bases[i])
		}
	}
	if v := s.CheckSequence(batch(0, 10, 7, 0, 0)); v.Kind != log.OutOfOrder {
		t.Errorf("the sixth batch back: %+v, want out of order", v)
	}
}

func TestSequenceRules(t *testing.T) {
	s := log.New(0)
	appendBatch(s, 10, 7, 3, 0)
	for _, c := range []struct {
		rule  string
		id    model.ProducerID
		epoch model.ProducerEpoch
		seq   model.Sequence
		count int32
		want  log.VerdictKind
	}{
		{"the next sequence is accepted", 7, 3, 10, 5, log.Accept},
		{"a gap is out of order", 7, 3, 11, 5, log.OutOfOrder},
		{"part of a batch again is out of order, not a duplicate", 7, 3, 5, 5, log.OutOfOrder},
		{"the same range again is a duplicate", 7, 3, 0, 10, log.Duplicate},
		{"a lower epoch is fenced whatever its sequence", 7, 2, 10, 5, log.Fenced},
		{"a higher epoch begins at 0", 7, 4, 0, 5, log.AcceptNewEpoch},
		{"a higher epoch does not begin elsewhere", 7, 4, 10, 5, log.OutOfOrder},
		{"an unknown producer at 0 is accepted", 8, 0, 0, 5, log.Accept},
		{"an unknown producer elsewhere is accepted and marked", 8, 0, 77, 5, log.AcceptUnknown},
		{"no producer is always accepted", model.NoProducerID, 0, 0, 5, log.Accept},
	} {
		if v := s.CheckSequence(batch(0, c.count, c.id, c.epoch, c.seq)); v.Kind != c.want {
			t.Errorf("%s: verdict %d, want %d", c.rule, v.Kind, c.want)
		}
	}
}

func TestSequencesWrapToZeroAfterTheLast(t *testing.T) {
	s := log.New(0)
	const last = model.Sequence(1<<31 - 1)
	appendBatch(s, 10, 7, 0, last-4) // the last five numbers, then 0 to 4
	if v := s.CheckSequence(batch(0, 1, 7, 0, 5)); v.Kind != log.Accept {
		t.Errorf("sequence 5 after a wrap: %+v", v)
	}
	if v := s.CheckSequence(batch(0, 10, 7, 0, last-4)); v.Kind != log.Duplicate {
		t.Errorf("a wrapped batch again: %+v", v)
	}
}

func TestANewEpochForgetsTheOldEpochsBatches(t *testing.T) {
	s := log.New(0)
	appendBatch(s, 10, 7, 0, 0)
	appendBatch(s, 4, 7, 1, 0)
	if v := s.CheckSequence(batch(0, 10, 7, 1, 0)); v.Kind != log.OutOfOrder {
		t.Errorf("a batch of the old epoch's shape: %+v", v)
	}
	if v := s.CheckSequence(batch(0, 4, 7, 1, 0)); v.Kind != log.Duplicate {
		t.Errorf("the new epoch's first batch again: %+v", v)
	}
}

func TestExpiryCountsFromTheFirstSweepAfterTheLastBatch(t *testing.T) {
	s := log.New(0)
	appendBatch(s, 1, 7, 0, 0)
	if n := s.Expire(1000, 100); n != 0 {
		t.Fatalf("%d expired at the first sweep", n)
	}
	if n := s.Expire(1099, 100); n != 0 {
		t.Fatalf("%d expired before the time", n)
	}
	appendBatch(s, 1, 8, 0, 0)
	if n := s.Expire(1100, 100); n != 1 || s.ProducerCount() != 1 {
		t.Fatalf("%d expired, %d left; want 1 and 1", n, s.ProducerCount())
	}
	if v := s.CheckSequence(batch(0, 1, 8, 0, 0)); v.Kind != log.Duplicate {
		t.Errorf("the producer that stayed was forgotten: %+v", v)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

func TestAClockThatWentBackDoesNotExpireOrKeepForEver(t *testing.T) {
	s := log.New(0)
	appendBatch(s, 1, 7, 0, 0)
	s.Expire(1_000_000, 100)
	if n := s.Expire(500, 100); n != 0 {
		t.Fatalf("%d expired when the clock went back", n)
	}
	if n := s.Expire(600, 100); n != 1 {
		t.Fatalf("%d expired, want 1: the clock that went back counts", n)
	}
}

func TestEpochEndAnswersWithTheLargestEpochNotAbove(t *testing.T) {
	s := log.New(0)
	add := func(epoch model.LeaderEpoch, count int32) {
		h := batch(s.EndOffset(), count, model.NoProducerID, 0, 0)
		h.LeaderEpoch = epoch
		s.Apply(h)
	}
	add(2, 10)
	add(2, 5)
	add(5, 7)
	for _, c := range []struct {
		asked, epoch model.LeaderEpoch
		end          model.Offset
	}{{1, -1, -1}, {2, 2, 15}, {4, 2, 15}, {5, 5, 22}, {9, 5, 22}} {
		if epoch, end := s.EpochEnd(c.asked); epoch != c.epoch || end != c.end {
			t.Errorf("epoch %d: %d ending at %d, want %d at %d", c.asked, epoch, end, c.epoch, c.end)
		}
	}
	s.AdvanceStart(16)
	if epoch, end := s.EpochEnd(4); epoch != -1 || end != -1 {
		t.Errorf("an epoch below the log start is still known: %d ending at %d", epoch, end)
	}
	if e := s.EpochOf(16); e != 5 {
		t.Errorf("the record at the log start has epoch %d", e)
	}
}

// drawState makes a state by a random history.
func drawState(t *rapid.T) *log.State {
	s := log.New(model.Offset(rapid.IntRange(0, 1000).Draw(t, "start")))
	epoch := model.LeaderEpoch(0)
	for range rapid.IntRange(0, 40).Draw(t, "batches") {
		epoch += model.LeaderEpoch(rapid.IntRange(0, 1).Draw(t, "epoch step"))
		h := batch(s.EndOffset(), int32(rapid.IntRange(1, 9).Draw(t, "count")),
			model.ProducerID(rapid.IntRange(-1, 4).Draw(t, "producer")), model.ProducerEpoch(rapid.IntRange(0, 2).Draw(t, "producer epoch")),
			model.Sequence(rapid.IntRange(0, 50).Draw(t, "sequence")))
		h.LeaderEpoch = epoch
		if k := s.CheckSequence(h).Kind; k == log.Accept || k == log.AcceptNewEpoch || k == log.AcceptUnknown {
			s.Apply(h)
		}
		if rapid.IntRange(0, 9).Draw(t, "what") == 0 {
			s.AdvanceStart(model.Offset(rapid.Int64Range(int64(s.StartOffset()), int64(s.EndOffset())).Draw(t, "new start")))
		}
	}
	return s
}

// A state that forgot producers on the way still remembers of the whole, and the whole does not of it.
func TestAStateThatForgotProducersRemembersTheNewest(t *testing.T) {
	whole, forgot := log.New(0), log.New(0)
	for i := range 8 {
		for _, s := range []*log.State{whole, forgot} {
			appendBatch(s, 1, 7, 0, model.Sequence(i))
		}
		if i == 5 {
			forgot.Expire(1000, 1)
			forgot.Expire(2000, 1)
		}
	}
	if !forgot.RemembersOf(whole) || !whole.RemembersOf(whole) {
		t.Error("what is remembered is right and was not recognised")
	}
	if whole.RemembersOf(forgot) {
		t.Error("more is remembered than there is")
	}
	other := whole.Clone()
	appendBatch(other, 1, 7, 0, 8)
	appendBatch(whole, 1, 7, 0, 9)
	if other.RemembersOf(whole) {
		t.Error("another batch passes for the one remembered")
	}
}

func TestASnapshotLoadsToAnEqualState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawState(t)
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		b := s.AppendSnapshot([]byte("before"))[len("before"):]
		loaded, err := log.LoadSnapshot(b)
		if err != nil {
			t.Fatal(err)
		}
		if !loaded.Equal(s) || !s.Clone().Equal(s) {
			t.Fatalf("not equal after a round trip:\n%+v\n%+v", s, loaded)
		}
		if string(loaded.AppendSnapshot(nil)) != string(b) {
			t.Fatal("equal states have different snapshots")
		}
	})
}

func TestAnAlteredSnapshotIsRefused(t *testing.T) {
	s := log.New(3)
	appendBatch(s, 10, 7, 0, 0)
	good := s.AppendSnapshot(nil)
	for i := range good {
		for bit := range 8 {
			bad := append([]byte(nil), good...)
			bad[i] ^= 1 << bit
			if _, err := log.LoadSnapshot(bad); err == nil {
				t.Fatalf("byte %d, bit %d flipped: accepted", i, bit)
			}
		}
		if _, err := log.LoadSnapshot(good[:i]); err == nil {
			t.Fatalf("cut to %d bytes: accepted", i)
		}
	}
}

func FuzzLoadSnapshot(f *testing.F) {
	s := log.New(3)
	appendBatch(s, 10, 7, 0, 0)
	f.Add(s.AppendSnapshot(nil))
	f.Add(log.New(0).AppendSnapshot(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := log.LoadSnapshot(b)
		if err != nil {
			return
		}
		if err := s.Check(); err != nil {
			t.Fatalf("accepted and inconsistent: %v", err)
		}
	})
}

func BenchmarkApplyAndCheckSequence(b *testing.B) {
	s := log.New(0)
	h := batch(0, 100, 7, 0, 0)
	b.ReportAllocs()
	for b.Loop() {
		if k := s.CheckSequence(h).Kind; k != log.Accept {
			b.Fatal(k)
		}
		s.Apply(h)
		h.BaseOffset, h.BaseSequence = s.EndOffset(), h.BaseSequence.Add(100)
	}
}
