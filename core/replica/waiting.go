package replica

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// waiting are produce requests that wait for their batches to be safe, in offset order.
type waiting struct {
	parked []parked
	from   int // the first that still waits; those before it are done
}

// parked is one partition's share of a produce request that waits.
type parked struct {
	to         effect.RequestID
	index      int32
	baseOffset model.Offset
	nextOffset model.Offset
	appendTime model.Timestamp
	deadline   model.Time // 0: none
	// duplicate marks a retry that waits beside its original; it did not append anything.
	duplicate bool
	// silent marks a request with acks=0: nobody waits for an answer, but a connection is closed if the batch comes to
	// nothing.
	silent bool
	own    bool // of the node's own: nobody waits at all
}

// park inserts in offset order. Only duplicates arrive out of order, so the walk is short.
func (w *waiting) park(p parked) {
	w.parked = append(w.parked, p)
	for i := len(w.parked) - 1; i > w.from && w.parked[i].nextOffset < w.parked[i-1].nextOffset; i-- {
		w.parked[i], w.parked[i-1] = w.parked[i-1], w.parked[i]
	}
}

// release acknowledges what is safe now.
func (w *waiting) release(safe model.Offset, r *Replica, out *effect.Set) {
	for w.from < len(w.parked) && w.parked[w.from].nextOffset <= safe {
		r.acknowledge(w.parked[w.from], out)
		w.from++
	}
	switch {
	case w.from == len(w.parked):
		w.parked, w.from = w.parked[:0], 0
	case w.from >= 64 && w.from*2 >= len(w.parked):
		n := copy(w.parked, w.parked[w.from:])
		w.parked, w.from = w.parked[:n], 0
	}
}

// failAbove fails what ends above the log's end.
func (w *waiting) failAbove(end model.Offset, code int16, r *Replica, out *effect.Set) {
	keep := w.parked[:w.from]
	for _, p := range w.parked[w.from:] {
		if p.nextOffset <= end {
			keep = append(keep, p)
			continue
		}
		r.fail(p, code, out)
	}
	w.parked = keep
}

// timeOut fails what has waited too long. A silent one waits for nothing.
func (w *waiting) timeOut(now model.Time, r *Replica, out *effect.Set) {
	keep := w.parked[:w.from]
	for _, p := range w.parked[w.from:] {
		if p.silent || p.deadline == 0 || now < p.deadline {
			keep = append(keep, p)
			continue
		}
		out.Marks.Set(effect.MarkProduceTimedOut)
		r.fail(p, kerr.RequestTimedOut.Code, out)
	}
	w.parked = keep
}

func (w *waiting) count() int { return len(w.parked) - w.from }

func (w *waiting) check(safe model.Offset) error {
	all := w.parked[w.from:]
	for i := range all {
		if all[i].nextOffset <= safe {
			return fmt.Errorf("parked at %d although all below %d is safe", all[i].nextOffset, safe)
		}
		if i > 0 && all[i].nextOffset < all[i-1].nextOffset {
			return fmt.Errorf("parked requests out of offset order")
		}
	}
	return nil
}
