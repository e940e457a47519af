package consumer

import (
	"math"
	"sync"

	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// stops knows where partitions end: where WithUntil says or, with WithStopAtEnd, where they ended when the consumer came to them.
type stops struct {
	atEnd bool
	mu    sync.Mutex // the loop writes, Poll reads; held for moments
	until map[key]model.Offset
	ends  map[key]model.Offset
	held  map[key]bool // paused because they are done
}

type key struct {
	topic     string
	partition model.Partition
}

func newStops(cfg *config) stops {
	until := cfg.until
	if until == nil {
		until = make(map[key]model.Offset)
	}
	return stops{atEnd: cfg.stopAtEnd, until: until, ends: make(map[key]model.Offset), held: make(map[key]bool)}
}

// set ends a partition.
func (s *stops) set(topic string, partition model.Partition, at model.Offset) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until[key{topic, partition}] = at
}

// reached takes up the ends of partitions that have become known, stops fetching those that are done, and
// reports whether all are.
func (s *stops) reached(m *machine.Consumer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.atEnd && len(s.until) == 0 {
		return false
	}
	positions := m.Positions(nil)
	all := len(positions) > 0 && !m.AwaitsPartitions()
	for i := range positions {
		p := &positions[i]
		k := key{p.Topic, p.Partition}
		if p.EndNoted >= 0 {
			s.ends[k] = p.EndNoted
		} else {
			delete(s.ends, k)
		}
		end, known := s.end(k)
		done := known && p.Offset >= end
		if done && !p.Paused {
			m.Pause(p.Topic, p.Partition, true)
			s.held[k] = true
		}
		if !done && s.held[k] { // it was moved, or its end was
			delete(s.held, k)
			m.Pause(p.Topic, p.Partition, false)
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
	if end, known := s.end(key{topic, partition}); known {
		return end
	}
	return math.MaxInt64
}

func (s *stops) end(k key) (model.Offset, bool) {
	if end, known := s.until[k]; known {
		return end, true
	}
	end, known := s.ends[k]
	return end, known
}
