package node

import (
	"runtime"

	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/session"
)

// inflaters lends decompressors to sessions. Inflating is what a client gets most work and memory for with
// the fewest bytes, so as many run at a time as there are processors, and only one of those that may
// inflate more than a few MiB.
type inflaters struct {
	small chan *record.Decompressor
	large chan *record.Decompressor
}

func newInflaters() inflaters {
	count := runtime.GOMAXPROCS(0)
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
