package node

import "sync"

// queue carries values from many goroutines to one. The taker gets all that wait at once, by swapping
// slices, so that a backlog costs one lock and no copies.
type queue[T any] struct {
	mu      sync.Mutex
	waiting []T
	signal  chan struct{} // holds a token when values may wait
}

func newQueue[T any]() *queue[T] { return &queue[T]{signal: make(chan struct{}, 1)} }

func (q *queue[T]) push(values ...T) {
	q.mu.Lock()
	q.waiting = append(q.waiting, values...)
	q.mu.Unlock()
	q.wake()
}

// wake makes the taker look, even if nothing waits.
func (q *queue[T]) wake() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// take returns what waits and leaves spare, emptied, to be filled next.
func (q *queue[T]) take(spare []T) []T {
	clear(spare)
	q.mu.Lock()
	values := q.waiting
	q.waiting = spare[:0]
	q.mu.Unlock()
	return values
}

func (q *queue[T]) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}
