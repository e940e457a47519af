package log

import (
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// WindowBatches is how many of a producer's last batches a log remembers to recognise a retry. Clients
// rely on five: they keep at most five requests in flight (KIP-98).
const WindowBatches = 5

// producer is what a log remembers of one producer id.
type producer struct {
	id       model.ProducerID
	epoch    model.ProducerEpoch
	count    int8                    // how many of batches are in use; at least one
	batches  [WindowBatches]appended // oldest first
	lastSeen model.Timestamp         // set by the first Expire after its last batch; NoTimestamp until then
}

// appended is one remembered batch.
type appended struct {
	baseSequence, lastSequence model.Sequence
	baseOffset                 model.Offset
	appendTime                 model.Timestamp // NoTimestamp unless it was stamped
}

// last is the newest remembered batch.
func (p *producer) last() *appended { return &p.batches[p.count-1] }

func (p *producer) equal(o *producer) bool {
	return p.id == o.id && p.epoch == o.epoch && p.count == o.count && p.batches == o.batches
}

// Verdict is the outcome of CheckSequence.
type Verdict struct {
	Kind VerdictKind
	// BaseOffset is where the original of a Duplicate was written.
	BaseOffset model.Offset
	// AppendTime is when the original of a Duplicate was appended, NoTimestamp unless it was stamped with it.
	AppendTime model.Timestamp
	// Expected is the sequence that an OutOfOrder batch should have begun with.
	Expected model.Sequence
}

// VerdictKind says what to do with a batch of an idempotent producer.
type VerdictKind uint8

// The verdicts of KIP-98 and KIP-360.
const (
	Accept         VerdictKind = iota // append it
	AcceptNewEpoch                    // append it: a higher producer epoch begins at sequence 0
	AcceptUnknown                     // append it: nothing is known of this producer and it does not begin at 0
	Duplicate                         // one of the last five batches again: answer with where it was written
	OutOfOrder                        // a gap, or older than the window: refuse with OUT_OF_ORDER_SEQUENCE_NUMBER
	Fenced                            // a lower producer epoch: refuse with INVALID_PRODUCER_EPOCH
)

// CheckSequence decides about a batch from its header alone. It changes nothing.
func (s *State) CheckSequence(h record.Header) Verdict {
	if h.ProducerID == model.NoProducerID {
		return Verdict{Kind: Accept}
	}
	i, known := s.byID[h.ProducerID]
	if !known {
		// The state may have expired, or the records been deleted, while the producer lived on; refusing
		// would make it lose a batch that it may safely write (KIP-360).
		if h.BaseSequence != 0 {
			return Verdict{Kind: AcceptUnknown}
		}
		return Verdict{Kind: Accept}
	}
	p := &s.producers[i]
	switch {
	case h.ProducerEpoch < p.epoch:
		return Verdict{Kind: Fenced}
	case h.ProducerEpoch > p.epoch:
		if h.BaseSequence != 0 {
			return Verdict{Kind: OutOfOrder}
		}
		return Verdict{Kind: AcceptNewEpoch}
	}
	for _, b := range p.batches[:p.count] {
		if b.baseSequence == h.BaseSequence && b.lastSequence == h.LastSequence() {
			return Verdict{Kind: Duplicate, BaseOffset: b.baseOffset, AppendTime: b.appendTime}
		}
	}
	if expected := p.last().lastSequence.Add(1); h.BaseSequence != expected {
		return Verdict{Kind: OutOfOrder, Expected: expected}
	}
	return Verdict{Kind: Accept}
}

// applyProducer remembers a batch that was appended.
func (s *State) applyProducer(h record.Header) {
	b := appended{
		baseSequence: h.BaseSequence, lastSequence: h.LastSequence(), baseOffset: h.BaseOffset, appendTime: model.NoTimestamp,
	}
	if h.TimestampType() == record.LogAppendTime {
		b.appendTime = h.MaxTimestamp
	}
	i, known := s.byID[h.ProducerID]
	if !known {
		if s.byID == nil {
			s.byID = make(map[model.ProducerID]int)
		}
		s.byID[h.ProducerID] = len(s.producers)
		s.producers = append(s.producers, producer{
			id: h.ProducerID, epoch: h.ProducerEpoch, count: 1,
			batches: [WindowBatches]appended{b}, lastSeen: model.NoTimestamp,
		})
		return
	}
	p := &s.producers[i]
	p.lastSeen = model.NoTimestamp
	if h.ProducerEpoch != p.epoch {
		p.epoch, p.count, p.batches = h.ProducerEpoch, 0, [WindowBatches]appended{}
	}
	if p.count == WindowBatches {
		copy(p.batches[:], p.batches[1:])
		p.count--
	}
	p.batches[p.count] = b
	p.count++
}

// Expire forgets producers that have not written for ttlMs and returns how many. A producer counts as
// seen at the first Expire after its last batch, so that the time of an append never needs to be known
// (the records' own times may be anything) and a producer lives up to one call longer.
func (s *State) Expire(wall model.Timestamp, ttlMs int64) int {
	expired := 0
	for i := range s.producers {
		p := &s.producers[i]
		if p.lastSeen == model.NoTimestamp || p.lastSeen > wall {
			p.lastSeen = wall
		}
		if int64(wall-p.lastSeen) >= ttlMs && ttlMs > 0 {
			expired++
		}
	}
	if expired == 0 {
		return 0
	}
	s.producers = slices.DeleteFunc(s.producers, func(p producer) bool { return int64(wall-p.lastSeen) >= ttlMs })
	s.index()
	return expired
}

// index rebuilds byID.
func (s *State) index() {
	s.byID = nil
	if len(s.producers) == 0 {
		return
	}
	s.byID = make(map[model.ProducerID]int, len(s.producers))
	for i := range s.producers {
		s.byID[s.producers[i].id] = i
	}
}

func (s *State) check() error {
	if s.startOffset < 0 || s.startOffset > s.endOffset {
		return fmt.Errorf("log start %d above log end %d", s.startOffset, s.endOffset)
	}
	for i, e := range s.epochs {
		if e.Start > s.endOffset || i > 0 && (e.Epoch <= s.epochs[i-1].Epoch || e.Start < s.epochs[i-1].Start) {
			return fmt.Errorf("leader epochs out of order: %v", s.epochs)
		}
	}
	if len(s.byID) != len(s.producers) {
		return fmt.Errorf("%d producers, %d indexed", len(s.producers), len(s.byID))
	}
	for i := range s.producers {
		p := &s.producers[i]
		if j, ok := s.byID[p.id]; !ok || j != i {
			return fmt.Errorf("producer %d is indexed wrongly", p.id)
		}
		if p.count < 1 || p.count > WindowBatches {
			return fmt.Errorf("producer %d remembers %d batches", p.id, p.count)
		}
		for k := 1; k < int(p.count); k++ {
			if p.batches[k].baseOffset <= p.batches[k-1].baseOffset {
				return fmt.Errorf("producer %d: remembered batches out of order", p.id)
			}
		}
		if p.last().baseOffset >= s.endOffset {
			return fmt.Errorf("producer %d: remembers offset %d at log end %d", p.id, p.last().baseOffset, s.endOffset)
		}
	}
	return nil
}
