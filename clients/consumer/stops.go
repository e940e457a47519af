package consumer

import (
	"math"
	"sync"

	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// stops knows where partitions end: where WithUntil says or, with WithStopAtEnd, where they ended when they
// were first fetched.
type stops struct {
	atEnd bool
	mu    sync.Mutex // the loop writes, Poll reads; held for moments
	at    map[key]model.Offset
}

type key struct {
	topic     string
	partition model.Partition
}

// set ends a partition.
func (s *stops) set(topic string, partition model.Partition, at model.Offset) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[key{topic, partition}] = at
}

// reached notes the ends of partitions that have become known, stops fetching those that are done, and
// reports whether all are.
func (s *stops) reached(m *machine.Consumer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.atEnd && len(s.at) == 0 {
		return false
	}
	positions := m.Positions(nil)
	all := len(positions) > 0
	for i := range positions {
		p := &positions[i]
		k := key{p.Topic, p.Partition}
		end, known := s.at[k]
		if !known && s.atEnd && p.HighWatermark >= 0 {
			end, known = p.HighWatermark, true
			s.at[k] = end
		}
		done := known && p.Offset >= end
		if done && !p.Paused {
			m.Pause(p.Topic, p.Partition, true)
		}
		// A halted partition goes nowhere; waiting for it would be for ever.
		all = all && (p.Halted && !m.Available() || done)
	}
	return all
}

// of is where a partition's records end.
func (s *stops) of(topic string, partition model.Partition) model.Offset {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end, known := s.at[key{topic, partition}]; known {
		return end
	}
	return math.MaxInt64
}
