package main

import (
	"slices"
	"sync"
	"time"

	"github.com/weirmq/weir/sim/check"
)

// recorder writes down what clients do, on one clock. An operation is there from the moment it is called:
// whatever comes of it, the history knows that it may have happened.
type recorder struct {
	zero time.Time

	mu    sync.Mutex
	ops   []check.Op
	acked int64
}

func newRecorder() *recorder { return &recorder{zero: time.Now()} }

// now is never 0, which stands for an unknown time.
func (r *recorder) now() int64 { return int64(time.Since(r.zero)) + 1 }

// call notes that an operation begins. Its outcome is unknown until ok or failed is called with the number.
func (r *recorder) call(op check.Op) int {
	op.Call, op.Return, op.Outcome = r.now(), check.Never, check.Info
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
	return len(r.ops) - 1
}

// ok notes that an operation was answered; fill adds what the answer says.
func (r *recorder) ok(n int, fill func(op *check.Op)) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	op := &r.ops[n]
	op.Outcome, op.Return = check.OK, now
	if op.F == check.Send {
		r.acked++
	}
	fill(op)
}

// add notes an operation that is over.
func (r *recorder) add(op check.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
}

func (r *recorder) ackedCount() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acked
}

// snapshot is the history so far. A value that is added to a list of an operation later does not change it.
func (r *recorder) snapshot() *check.History {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &check.History{Ops: slices.Clone(r.ops)}
}

// upTo leaves of a history what final states that were read before its end can be held against: what lies
// at or after the end of a partition's final state came later, so it is taken for unknown.
func upTo(h *check.History, finals []check.Final) *check.History {
	ends := map[check.Key]int64{}
	for i := range finals {
		ends[finals[i].Key] = finals[i].End
	}
	cut := &check.History{Ops: slices.Clone(h.Ops), Finals: finals}
	for i := range cut.Ops {
		op := &cut.Ops[i]
		end, known := ends[check.Key{Topic: op.Topic, Partition: op.Partition}]
		switch {
		case !known:
		case op.F == check.Send && op.Outcome == check.OK && op.Offset >= end:
			op.Outcome, op.Return, op.Offset = check.Info, check.Never, -1
		case op.F == check.Poll:
			n, _ := slices.BinarySearch(op.Offsets, end)
			op.Offsets, op.Values = op.Offsets[:n], op.Values[:n]
		}
	}
	return cut
}
