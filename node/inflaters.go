package node

import (
	"runtime"

	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/session"
)

// inflaters lends decompressors to sessions. Inflating is what a client gets most work and memory for with
// the fewest bytes, so one processor is left to others, and only one of those runs that may inflate more than
// a few MiB.
type inflaters struct {
	small chan *record.Decompressor
	large chan *record.Decompressor
}

func newInflaters() inflaters {
	count := max(1, runtime.GOMAXPROCS(0)-1)
	in := inflaters{small: make(chan *record.Decompressor, count), large: make(chan *record.Decompressor, 1)}
	for range count {
		in.small <- new(record.Decompressor)
	}
	in.large <- new(record.Decompressor)
	return in
}

func (in *inflaters) lane(kind session.Inflation) chan *record.Decompressor {
	if kind == session.InflateLarge {
		return in.large
	}
	return in.small
}

// borrow waits for a decompressor until stop is closed, and gives nil then.
func (in *inflaters) borrow(kind session.Inflation, stop <-chan struct{}) *record.Decompressor {
	select {
	case d := <-in.lane(kind):
		return d
	case <-stop:
		return nil
	}
}

func (in *inflaters) giveBack(kind session.Inflation, d *record.Decompressor) {
	d.Release()
	in.lane(kind) <- d
}

// gate lets few goroutines at a time do what takes long: making large responses, decoding large requests. The
// others wait without being runnable, so that the loop, storage and those who produce do not stand behind
// hundreds of them in the scheduler's line.
type gate chan struct{}

func newGate() gate { return make(gate, max(1, runtime.GOMAXPROCS(0)/2)) }

// enter waits to be let in until stop is closed; it is false then.
func (g gate) enter(stop <-chan struct{}) bool {
	select {
	case g <- struct{}{}:
		return true
	case <-stop:
		return false
	}
}

func (g gate) leave() { <-g }
