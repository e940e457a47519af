package log_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// drawHistory is batches of a few producers as a leader would take them, over several epochs.
func drawHistory(t *rapid.T, start model.Offset, count int) []record.Header {
	s, epoch := log.New(start), model.LeaderEpoch(0)
	var out []record.Header
	for len(out) < count {
		epoch += model.LeaderEpoch(rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "epoch step"))
		id := model.ProducerID(rapid.IntRange(-1, 3).Draw(t, "producer"))
		n := int32(rapid.IntRange(1, 3).Draw(t, "count"))
		h := batch(s.EndOffset(), n, id, model.ProducerEpoch(rapid.IntRange(0, 2).Draw(t, "producer epoch")), 0)
		h.LeaderEpoch = epoch
		if v := s.CheckSequence(h); v.Kind == log.OutOfOrder {
			h.BaseSequence = v.Expected
		}
		switch s.CheckSequence(h).Kind {
		case log.Accept, log.AcceptNewEpoch, log.AcceptUnknown:
			s.Apply(h)
			out = append(out, h)
		default:
		}
	}
	return out
}

func derive(start model.Offset, history []record.Header, end model.Offset) *log.State {
	s := log.New(start)
	for _, h := range history {
		if h.BaseOffset < end {
			s.Apply(h)
		}
	}
	return s
}

// Truncated and relearnt, a state is what it would be had the dropped batches never been written; and those producers
// that are not named as doubtful are right without being relearnt.
func TestTruncatedStateIsAsIfNothingHadBeenWrittenThere(t *testing.T) {
	doubts, sure := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		history := drawHistory(t, 7, rapid.IntRange(1, 40).Draw(t, "batches"))
		whole := derive(7, history, 1<<40)
		end := history[rapid.IntRange(0, len(history)-1).Draw(t, "cut")].BaseOffset
		want := derive(7, history, end)
		got := whole.Clone()
		doubtful := got.Truncate(end)
		if len(doubtful) == 0 {
			sure++
			if !got.Equal(want) {
				t.Fatalf("nothing is doubtful and the state is wrong:\n%+v\n%+v", got, want)
			}
		}
		// What the end of the log alone shows is right where it is said to be whole.
		tail := log.New(7)
		from := rapid.IntRange(0, len(history)-1).Draw(t, "from")
		for _, h := range history[from:] {
			if h.BaseOffset < end {
				tail.Apply(h)
			}
		}
		partly := got.Clone()
		var left []model.ProducerID
		for _, id := range doubtful {
			doubts++
			if tail.EndOffset() != end || !tail.Whole(id) {
				left = append(left, id)
				continue
			}
			partly.Relearn(tail, []model.ProducerID{id})
		}
		partly.Relearn(want, left)
		got.Relearn(want, doubtful)
		for _, s := range []*log.State{got, partly} {
			if err := s.Check(); err != nil {
				t.Fatal(err)
			}
			if !s.Equal(want) {
				t.Fatalf("truncated to %d and relearnt:\n%+v\nwant:\n%+v", end, s, want)
			}
		}
		// And goes on as the other would.
		for _, h := range history {
			if h.BaseOffset >= end {
				got.Apply(h)
			}
		}
		if !got.Equal(whole) {
			t.Fatalf("written again:\n%+v\nwant:\n%+v", got, whole)
		}
	})
	if doubts == 0 || sure == 0 {
		t.Fatalf("%d doubts, %d without: one of them was not tried", doubts, sure)
	}
}

func TestTruncatingToTheEndOrBeyondChangesNothing(t *testing.T) {
	s := log.New(0)
	appendBatch(s, 10, 7, 0, 0)
	before := s.Clone()
	if d := s.Truncate(10); len(d) > 0 || !s.Equal(before) {
		t.Errorf("to the end: %+v", s)
	}
	if d := s.Truncate(11); len(d) > 0 || !s.Equal(before) {
		t.Errorf("beyond the end: %+v", s)
	}
}

func TestTruncatingBelowTheStartLeavesAnEmptyLogThere(t *testing.T) {
	s := log.New(0)
	for range 4 {
		h := batch(s.EndOffset(), 5, model.NoProducerID, 0, 0)
		h.LeaderEpoch = 3
		s.Apply(h)
	}
	s.AdvanceStart(12)
	s.Truncate(10)
	if s.StartOffset() != 10 || s.EndOffset() != 10 || s.LeaderEpoch() != model.NoLeaderEpoch {
		t.Errorf("log [%d,%d) of epoch %d", s.StartOffset(), s.EndOffset(), s.LeaderEpoch())
	}
}

// A clone does not see what is truncated from the state that it was made of, nor what is written there then.
func TestAClonePersistsThroughATruncation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		history := drawHistory(t, 0, rapid.IntRange(2, 20).Draw(t, "batches"))
		s := derive(0, history, 1<<40)
		clone, want := s.Clone(), derive(0, history, 1<<40)
		end := history[rapid.IntRange(0, len(history)-1).Draw(t, "cut")].BaseOffset
		s.Truncate(end)
		h := batch(end, 1, 2, 7, 0)
		h.LeaderEpoch = 99
		s.Apply(h)
		if !clone.Equal(want) {
			t.Fatalf("%+v\n%+v", clone, want)
		}
	})
}
