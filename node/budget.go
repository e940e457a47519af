package node

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/weirmq/weir/core/model"
)

// budget bounds the bytes that requests make the node hold; a node has two, see Node. Who wants some waits in
// line, in one of two:
//
//	new requests    wait until they fit and nobody is in the other line
//	growing ones    have begun to arrive and hold something already; they come first
//
// Growing requests could hold everything between them and each wait for more. So one at a time, the elder,
// gets what it asks for whether or not it fits: it becomes whole, is answered, and gives back all it held.
// Nobody becomes the elder while more is held than the limit, so the limit is passed by one request at most.
//
// A request that is larger than the whole budget passes when nothing else is held: a small budget means
// slow and not stuck.
type budget struct {
	limit int64
	clock clock
	held  *atomic.Int64 // shown by the metrics; written under mu
	waits *atomic.Int64

	mu      sync.Mutex
	elder   atomic.Pointer[connection] // written under mu
	growing []*claim
	line    []*claim
}

// purse is the two budgets that a connection takes from: for request frames, and for what they are decoded to and answered.
type purse struct{ requests, responses *budget }

// nodesShare is the part of the clients' budgets that other nodes have besides.
const nodesShare = 4

type claim struct {
	by      *connection
	bytes   int64
	granted chan struct{}
	since   model.Time
}

var errStopping = errors.New("the node is stopping")

func newBudget(limit int64, c clock, held, waits *atomic.Int64) *budget {
	return &budget{limit: limit, clock: c, held: held, waits: waits}
}

// acquire takes bytes for a request that begins, or for one that grows, waiting for them until stop is closed.
func (b *budget) acquire(by *connection, bytes int64, grows bool, stop <-chan struct{}) error {
	b.mu.Lock()
	line := &b.line
	if grows {
		line = &b.growing
	}
	if b.take(by, bytes, grows, len(*line) == 0) {
		b.mu.Unlock()
		return nil
	}
	c := &claim{by: by, bytes: bytes, granted: make(chan struct{}), since: b.clock.now()}
	*line = append(*line, c)
	b.mu.Unlock()
	b.waits.Add(1)

	select {
	case <-c.granted:
		return nil
	case <-stop:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range *line {
		if (*line)[i] == c {
			*line = append((*line)[:i], (*line)[i+1:]...)
			b.grant() // who stood behind may fit
			return errStopping
		}
	}
	return nil // granted at the last moment
}

// take takes bytes if they may be had: first says that nobody stands before in the line.
func (b *budget) take(by *connection, bytes int64, grows, first bool) bool {
	held := b.held.Load()
	switch {
	case grows && by == b.elder.Load():
	case !first || !grows && len(b.growing) > 0:
		return false
	case held == 0 || held+bytes <= b.limit:
	case grows && b.elder.Load() == nil && held <= b.limit:
		b.elder.Store(by)
	default:
		return false
	}
	b.held.Add(bytes)
	return true
}

// whole says that a connection's request has arrived, or never will.
func (b *budget) whole(by *connection) {
	if b.elder.Load() != by {
		return // only its own requests make it the elder
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.elder.Store(nil)
	b.grant()
}

func (b *budget) release(bytes int64) {
	if bytes == 0 {
		return
	}
	b.mu.Lock()
	b.held.Add(-bytes)
	b.grant()
	b.mu.Unlock()
}

// exchange takes and gives back at once, without waiting: what is taken is there already.
func (b *budget) exchange(taken, released int64) {
	if taken == released {
		return
	}
	b.mu.Lock()
	b.held.Add(taken - released)
	if taken < released {
		b.grant()
	}
	b.mu.Unlock()
}

// waitingSince is when the first who waits began to, 0 if nobody does.
func (b *budget) waitingSince() model.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	since := model.Time(0)
	for _, line := range [][]*claim{b.growing, b.line} {
		if len(line) > 0 && (since == 0 || line[0].since < since) {
			since = line[0].since
		}
	}
	return since
}

// grant serves the lines as far as it can.
func (b *budget) grant() {
	b.growing = b.serve(b.growing, true)
	b.line = b.serve(b.line, false)
}

func (b *budget) serve(line []*claim, grows bool) []*claim {
	n := 0
	for n < len(line) && b.take(line[n].by, line[n].bytes, grows, true) {
		close(line[n].granted)
		n++
	}
	kept := copy(line, line[n:])
	clear(line[kept:])
	return line[:kept]
}
