package consumer

import (
	"math"
	"sync"

	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// stops knows where each partition ended when it was first fetched, for WithStopAtEnd.
type stops struct {
	on bool
	mu sync.Mutex // the loop writes, Poll reads; held for moments
	at map[key]model.Offset
}

type key struct {
	topic     string
	partition model.Partition
}

// reached notes the ends of partitions that have become known, and reports whether all are reached.
func (s *stops) reached(m *machine.Consumer) bool {
	if !s.on {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = make(map[key]model.Offset)
	}
	positions := m.Positions(nil)
	all := len(positions) > 0
	for i := range positions {
		p := &positions[i]
		k := key{p.Topic, p.Partition}
		end, known := s.at[k]
		if !known && p.HighWatermark >= 0 {
			end, known = p.HighWatermark, true
			s.at[k] = end
		}
		// A halted partition goes nowhere; waiting for it would be for ever.
		all = all && (p.Halted && !m.Available() || known && p.Offset >= end)
	}
	return all
}

// of is where a partition's records end.
func (s *stops) of(topic string, partition model.Partition) model.Offset {
	if !s.on {
		return math.MaxInt64
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if end, known := s.at[key{topic, partition}]; known {
		return end
	}
	return math.MaxInt64
}
