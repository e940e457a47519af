package coord

import (
	"fmt"

	"github.com/weirmq/weir/core/model"
)

// Timer is a deadline of something of type T. It is embedded in, or owned by, what it is for; its zero value
// with Owner set is a timer that is not set.
type Timer[T any] struct {
	Owner  T
	at     model.Time
	number uint64
	place  int // in the heap, plus one; 0 while it is not set
}

// IsSet reports whether the timer runs.
func (t *Timer[T]) IsSet() bool { return t.place > 0 }

// At is when the timer is due; it means nothing while the timer is not set.
func (t *Timer[T]) At() model.Time { return t.at }

// Timers is a heap of deadlines. Equal deadlines are due in the order in which they were set. The zero value is
// ready to use.
type Timers[T any] struct {
	heap  []*Timer[T]
	count uint64
}

// Set starts a timer, or moves it if it runs.
func (ts *Timers[T]) Set(t *Timer[T], at model.Time) {
	ts.count++
	t.at, t.number = at, ts.count
	if t.place == 0 {
		ts.heap = append(ts.heap, t)
		t.place = len(ts.heap)
	}
	ts.settle(t.place - 1)
}

// Stop stops a timer; it need not run.
func (ts *Timers[T]) Stop(t *Timer[T]) {
	if t.place == 0 {
		return
	}
	i, last := t.place-1, len(ts.heap)-1
	ts.swap(i, last)
	ts.heap[last] = nil
	ts.heap = ts.heap[:last]
	t.place = 0
	if i < last {
		ts.settle(i)
	}
}

// Due stops and returns the timer that is due first, if it is due by now.
func (ts *Timers[T]) Due(now model.Time) *Timer[T] {
	if len(ts.heap) == 0 || ts.heap[0].at > now {
		return nil
	}
	t := ts.heap[0]
	ts.Stop(t)
	return t
}

// Deadline is when the first timer is due; 0 if none runs.
func (ts *Timers[T]) Deadline() model.Time {
	if len(ts.heap) == 0 {
		return 0
	}
	return ts.heap[0].at
}

// Len is how many timers run.
func (ts *Timers[T]) Len() int { return len(ts.heap) }

func (ts *Timers[T]) settle(i int) {
	for parent := (i - 1) / 2; i > 0 && ts.less(i, parent); parent = (i - 1) / 2 {
		ts.swap(i, parent)
		i = parent
	}
	for {
		child := 2*i + 1
		if child >= len(ts.heap) {
			return
		}
		if child+1 < len(ts.heap) && ts.less(child+1, child) {
			child++
		}
		if !ts.less(child, i) {
			return
		}
		ts.swap(i, child)
		i = child
	}
}

func (ts *Timers[T]) less(i, j int) bool {
	a, b := ts.heap[i], ts.heap[j]
	return a.at < b.at || a.at == b.at && a.number < b.number
}

func (ts *Timers[T]) swap(i, j int) {
	ts.heap[i], ts.heap[j] = ts.heap[j], ts.heap[i]
	ts.heap[i].place, ts.heap[j].place = i+1, j+1
}

// Check verifies the heap.
func (ts *Timers[T]) Check() error {
	for i, t := range ts.heap {
		if t.place != i+1 || i > 0 && ts.less(i, (i-1)/2) {
			return fmt.Errorf("the heap of timers is out of order at %d", i)
		}
	}
	return nil
}
