package coord

import (
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Log is where a coordinator's records go: this node's replica of the partition, which must be its leader.
type Log interface {
	// Append gives a batch its offsets and asks for it to be written. A code says that nothing was done.
	Append(h record.Header, batch []byte, out *effect.Set) (baseOffset model.Offset, code int16)
}

// BatchBytesMax is how large a batch of a coordinator grows: internal logs have no message.max.bytes, but a
// reader has to hold a batch whole.
const BatchBytesMax = 16 << 20

// Writer carries decisions of type D through the log of one partition. Make it with NewWriter.
type Writer[D any] struct {
	log     Log
	builder record.Builder
	wall    model.Timestamp
	parked  []parked[D] // by ascending nextOffset, from parkedFrom on
	from    int
}

type parked[D any] struct {
	base     model.Offset
	next     model.Offset
	decision D
}

// NewWriter is a writer to a log.
func NewWriter[D any](log Log) Writer[D] { return Writer[D]{log: log} }

// Begin starts a batch that is stamped with a time of day.
func (w *Writer[D]) Begin(wall model.Timestamp) {
	w.wall = wall
	w.builder.Begin(record.NewOptions(record.CodecNone))
}

// Add adds a record to the batch; a nil value is a tombstone. Key and value are copied.
func (w *Writer[D]) Add(key, value []byte) {
	w.builder.Append(record.Record{Key: key, Value: value, Timestamp: w.wall})
}

// SizeBytes is the size of the batch so far.
func (w *Writer[D]) SizeBytes() int { return w.builder.SizeBytes() }

// Append writes the batch and parks the decision until it is durable. A code says that the log does not take it.
func (w *Writer[D]) Append(decision D, out *effect.Set) (baseOffset model.Offset, code int16) {
	batch := slices.Clone(w.builder.Finish())
	h, err := record.ReadHeader(batch)
	if err != nil {
		invariant.Checkf(false, "a batch of ours has a header: %v", err)
	}
	base, code := w.log.Append(h, batch, out)
	if code != 0 {
		return base, code
	}
	next := base + model.Offset(h.RecordCount)
	if n := len(w.parked); n > w.from && w.parked[n-1].next >= next {
		invariant.Checkf(false, "a batch ends at %d after one that ends at %d", next, w.parked[n-1].next)
	}
	w.parked = append(w.parked, parked[D]{base, next, decision})
	return base, 0
}

// Durable takes out the oldest decision, and where its records begin, if they lie below the high watermark.
func (w *Writer[D]) Durable(highWatermark model.Offset) (decision D, baseOffset model.Offset, ok bool) {
	if w.from == len(w.parked) || w.parked[w.from].next > highWatermark {
		return decision, model.NoOffset, false
	}
	decision, baseOffset = w.parked[w.from].decision, w.parked[w.from].base
	w.parked[w.from] = parked[D]{}
	w.from++
	switch {
	case w.from == len(w.parked):
		w.parked, w.from = w.parked[:0], 0
	case w.from >= 64 && w.from*2 >= len(w.parked):
		n := copy(w.parked, w.parked[w.from:])
		clear(w.parked[n:])
		w.parked, w.from = w.parked[:n], 0
	}
	return decision, baseOffset, true
}

// Refused takes out all decisions whose records lie at or above the log's end: they were never written.
func (w *Writer[D]) Refused(logEndOffset model.Offset) []D {
	var out []D
	for i := w.from; i < len(w.parked); i++ {
		if w.parked[i].next <= logEndOffset {
			continue
		}
		for _, p := range w.parked[i:] {
			out = append(out, p.decision)
		}
		clear(w.parked[i:])
		w.parked = w.parked[:i]
		break
	}
	return out
}

// ParkedCount is how many decisions wait to be durable.
func (w *Writer[D]) ParkedCount() int { return len(w.parked) - w.from }

// Parked walks the decisions that wait, oldest first.
func (w *Writer[D]) Parked(yield func(D) bool) {
	for _, p := range w.parked[w.from:] {
		if !yield(p.decision) {
			return
		}
	}
}

// Check verifies the invariants against the partition's bounds.
func (w *Writer[D]) Check(highWatermark, logEndOffset model.Offset) error {
	for i, p := range w.parked[w.from:] {
		if p.next <= highWatermark || p.next > logEndOffset {
			return fmt.Errorf("a decision is parked at %d with high watermark %d and log end %d", p.next, highWatermark, logEndOffset)
		}
		if i > 0 && w.parked[w.from+i-1].next >= p.next {
			return fmt.Errorf("parked decisions are out of order at %d", p.next)
		}
	}
	return nil
}
