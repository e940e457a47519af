package node

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// budget bounds the bytes of requests that the node holds. Who asks waits in line; a request larger than
// what is left still passes when nothing else is held, so that a small budget means slow and not stuck.
type budget struct {
	limit int64
	held  *atomic.Int64 // shown by the metrics; written under mu
	waits *atomic.Int64

	mu   sync.Mutex
	line []*claim
}

type claim struct {
	bytes   int64
	granted chan struct{}
}

var (
	errBudgetTimeout = errors.New("no memory for the request became free in time")
	errStopping      = errors.New("the node is stopping")
)

func newBudget(limit int64, held, waits *atomic.Int64) *budget {
	return &budget{limit: limit, held: held, waits: waits}
}

// acquire takes bytes, waiting for them until stop is closed or patience, unless zero, is over.
func (b *budget) acquire(bytes int64, stop <-chan struct{}, patience time.Duration) error {
	b.mu.Lock()
	if len(b.line) == 0 && b.fits(bytes) {
		b.held.Add(bytes)
		b.mu.Unlock()
		return nil
	}
	c := &claim{bytes: bytes, granted: make(chan struct{})}
	b.line = append(b.line, c)
	b.mu.Unlock()
	b.waits.Add(1)

	var timeout <-chan time.Time
	if patience > 0 {
		t := time.NewTimer(patience)
		defer t.Stop()
		timeout = t.C
	}
	var err error
	select {
	case <-c.granted:
		return nil
	case <-stop:
		err = errStopping
	case <-timeout:
		err = errBudgetTimeout
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.line {
		if b.line[i] == c {
			b.line = append(b.line[:i], b.line[i+1:]...)
			b.grant() // who stood behind may fit
			return err
		}
	}
	return nil // granted at the last moment
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

func (b *budget) fits(bytes int64) bool {
	held := b.held.Load()
	return held == 0 || held+bytes <= b.limit
}

func (b *budget) grant() {
	n := 0
	for n < len(b.line) && b.fits(b.line[n].bytes) {
		b.held.Add(b.line[n].bytes)
		close(b.line[n].granted)
		n++
	}
	if n > 0 {
		b.line = append(b.line[:0], b.line[n:]...)
	}
}
