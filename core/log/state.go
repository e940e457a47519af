package log

import (
	"slices"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// State is what one partition's log amounts to besides its bytes. Make it with New or LoadSnapshot.
type State struct {
	startOffset model.Offset // the first offset that may be read; startOffset <= endOffset
	endOffset   model.Offset // one past the last record
	epochs      []EpochStart // ascending in both fields
	producers   []producer   // in order of first appearance
	byID        map[model.ProducerID]int
}

// EpochStart says at which offset a leader epoch began.
type EpochStart struct {
	Epoch model.LeaderEpoch
	Start model.Offset
}

// New is the state of an empty log that begins at start.
func New(start model.Offset) *State { return &State{startOffset: start, endOffset: start} }

// StartOffset is the log start offset.
func (s *State) StartOffset() model.Offset { return s.startOffset }

// EndOffset is the log end offset: where the next record goes.
func (s *State) EndOffset() model.Offset { return s.endOffset }

// LeaderEpoch is the newest leader epoch in the log, NoLeaderEpoch if it is empty of epochs.
func (s *State) LeaderEpoch() model.LeaderEpoch {
	if len(s.epochs) == 0 {
		return model.NoLeaderEpoch
	}
	return s.epochs[len(s.epochs)-1].Epoch
}

// ProducerCount is how many producers the log remembers.
func (s *State) ProducerCount() int { return len(s.producers) }

// Apply takes in a batch that has been appended, with its offset and leader epoch as stamped. Offsets
// may skip forward (compaction leaves gaps) but never go back; nor may leader epochs.
func (s *State) Apply(h record.Header) {
	if h.BaseOffset < s.endOffset || h.LeaderEpoch < s.LeaderEpoch() {
		invariant.Checkf(false, "batch at %d of epoch %d does not follow log end %d of epoch %d",
			h.BaseOffset, h.LeaderEpoch, s.endOffset, s.LeaderEpoch())
	}
	if h.LeaderEpoch > s.LeaderEpoch() {
		s.epochs = append(s.epochs, EpochStart{Epoch: h.LeaderEpoch, Start: h.BaseOffset})
	}
	if h.ProducerID != model.NoProducerID && !h.IsControl() {
		s.applyProducer(h)
	}
	s.endOffset = h.NextOffset()
}

// AdvanceStart moves the log start offset forward; it never moves back. What lies beyond the end moves
// the end, too: a follower may be told to start above what it has.
func (s *State) AdvanceStart(o model.Offset) {
	if o <= s.startOffset {
		return
	}
	s.startOffset = o
	s.endOffset = max(s.endOffset, o)
	// The newest epoch that begins at or below the start stays, to answer for the records that remain.
	for len(s.epochs) > 1 && s.epochs[1].Start <= o {
		s.epochs = s.epochs[1:]
	}
	if len(s.epochs) > 0 && s.epochs[0].Start < o {
		s.epochs = slices.Clone(s.epochs)
		s.epochs[0].Start = o
	}
}

// EpochEnd answers OffsetForLeaderEpoch (KIP-320): the largest epoch in the log that is not above the
// asked one, and the offset where it ends. Both are the No values if there is none.
func (s *State) EpochEnd(asked model.LeaderEpoch) (model.LeaderEpoch, model.Offset) {
	for i := len(s.epochs) - 1; i >= 0; i-- {
		if s.epochs[i].Epoch > asked {
			continue
		}
		if i == len(s.epochs)-1 {
			return s.epochs[i].Epoch, s.endOffset
		}
		return s.epochs[i].Epoch, s.epochs[i+1].Start
	}
	return model.NoLeaderEpoch, model.NoOffset
}

// EpochOf is the leader epoch of the record at an offset, NoLeaderEpoch if the log does not know.
func (s *State) EpochOf(o model.Offset) model.LeaderEpoch {
	for i := len(s.epochs) - 1; i >= 0; i-- {
		if s.epochs[i].Start <= o {
			return s.epochs[i].Epoch
		}
	}
	return model.NoLeaderEpoch
}

// Clone is an independent copy.
func (s *State) Clone() *State {
	c := &State{
		startOffset: s.startOffset, endOffset: s.endOffset,
		epochs: slices.Clone(s.epochs), producers: slices.Clone(s.producers),
	}
	c.index()
	return c
}

// Equal reports whether two states would decide alike for ever: everything but when a producer was last
// seen, which is local knowledge.
func (s *State) Equal(o *State) bool {
	if s.startOffset != o.startOffset || s.endOffset != o.endOffset || !slices.Equal(s.epochs, o.epochs) ||
		len(s.producers) != len(o.producers) {
		return false
	}
	for i := range s.producers {
		j, ok := o.byID[s.producers[i].id]
		if !ok || !s.producers[i].equal(&o.producers[j]) {
			return false
		}
	}
	return true
}

// RemembersOf reports whether s is what o would be, had producers been forgotten (Expire) on the way: the same
// offsets and epochs, and of each producer that s knows the newest batches that o knows.
func (s *State) RemembersOf(o *State) bool {
	return s.startOffset == o.startOffset && s.endOffset == o.endOffset && slices.Equal(s.epochs, o.epochs) &&
		s.RemembersProducersOf(o)
}

// RemembersProducersOf is RemembersOf without the offsets and epochs.
func (s *State) RemembersProducersOf(o *State) bool {
	for i := range s.producers {
		p := &s.producers[i]
		j, ok := o.byID[p.id]
		if !ok {
			return false
		}
		q := &o.producers[j]
		if p.epoch != q.epoch || p.count > q.count || !slices.Equal(p.batches[:p.count], q.batches[q.count-p.count:q.count]) {
			return false
		}
	}
	return true
}

// Check verifies the state's invariants; it walks everything.
func (s *State) Check() error { return s.check() }
