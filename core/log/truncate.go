package log

import (
	"slices"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
)

// Truncate makes the state that of the log without its batches at or above end, which is where one of them begins.
// Below the log's start it becomes empty and begins there. Leader epochs are exact then, and so are most
// producers. A producer that wrote what was dropped may have written more below end than is remembered: doubtful
// names those. Relearn them from the log, or know that they remember too little.
func (s *State) Truncate(end model.Offset) (doubtful []model.ProducerID) {
	if end >= s.endOffset {
		return nil
	}
	s.startOffset, s.endOffset = min(s.startOffset, end), end
	k := len(s.epochs)
	for k > 0 && s.epochs[k-1].Start >= end {
		k--
	}
	s.epochs = s.epochs[:k]
	gone := false
	for i := range s.producers {
		p := &s.producers[i]
		if p.last().baseOffset < end {
			continue
		}
		left := p.count
		for left > 0 && p.batches[left-1].baseOffset >= end {
			left--
		}
		// A window that was full has forgotten what came before it, and one of a new producer epoch the old epoch.
		if p.count == WindowBatches || left == 0 {
			doubtful = append(doubtful, p.id)
		}
		clear(p.batches[left:])
		p.count, p.lastSeen = left, model.NoTimestamp
		gone = gone || left == 0
	}
	if gone {
		s.producers = slices.DeleteFunc(s.producers, func(p producer) bool { return p.count == 0 })
		s.index()
	}
	return doubtful
}

// ForgetProducers forgets all of them, when batches are missing that they may have written: to accept what follows on
// those is better than to refuse it.
func (s *State) ForgetProducers() { s.producers, s.byID = nil, nil }

// Whole reports whether a state that was derived from the end of a log alone remembers all that there is to
// remember of a producer, whatever the beginning holds.
func (s *State) Whole(id model.ProducerID) bool {
	i, ok := s.byID[id]
	return ok && s.producers[i].count == WindowBatches
}

// Relearn completes what is remembered of producers from another state of the same log, derived from its batches or
// a snapshot. Both remember some of a producer's last batches; who remembers more is right.
func (s *State) Relearn(from *State, ids []model.ProducerID) {
	invariant.Check(s.endOffset == from.endOffset, "producers are learnt from the same log")
	for _, id := range ids {
		j, ok := from.byID[id]
		if !ok {
			continue
		}
		q := from.producers[j]
		q.lastSeen = model.NoTimestamp
		if i, ok := s.byID[id]; !ok {
			if s.byID == nil {
				s.byID = make(map[model.ProducerID]int)
			}
			s.byID[id] = len(s.producers)
			s.producers = append(s.producers, q)
		} else if q.count > s.producers[i].count {
			s.producers[i] = q
		}
	}
}
