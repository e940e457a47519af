package memory

import (
	"sync"
	"time"
)

// deadline is a point in time that an operation can wait for and that may move meanwhile.
//
//	          set(future)                 timer
//	[none] ───────────────► [running] ───────────────► [passed]
//	  ▲         set(zero)       │  set(past)               │
//	  └─────────────────────────┴──────────────────────────┘
//	                            set(zero or future): a new channel
type deadline struct {
	mu     sync.Mutex // never held while waiting
	timer  *time.Timer
	passed chan struct{} // closed when the deadline passes
}

func newDeadline() *deadline { return &deadline{passed: make(chan struct{})} }

// done returns a channel that is closed when the deadline passes. Moving a deadline that has not
// passed keeps the channel, so whoever waits on it follows the move.
func (d *deadline) done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

// set moves the deadline; the zero time removes it.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	wait := time.Until(t)
	if !t.IsZero() && wait <= 0 {
		if !isClosed(d.passed) {
			close(d.passed)
		}
		return
	}
	if isClosed(d.passed) {
		d.passed = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	var self *time.Timer
	self = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		// A timer that Stop came too late for is no longer the current one.
		if d.timer == self && !isClosed(d.passed) {
			close(d.passed)
		}
	})
	d.timer = self
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
