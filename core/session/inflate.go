package session

import (
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/record"
)

// Inflation is what a request needs to have its compressed batches checked.
//
// Inflating costs memory and time out of proportion to what a client sends for it, so a driver with many
// connections lends what inflates, and by that decides how many inflate at a time. It has two lanes, so that
// batches made to inflate to very much wait for each other, and for nobody else:
//
//	Receive ──Out.Inflate = InflateSmall──► Inflate ──► checked
//	                                           │ more than SmallInflateBytes
//	                                           └─Out.Inflate = InflateLarge──► Inflate ──► checked
type Inflation uint8

// The kinds of inflation.
const (
	InflateNothing Inflation = iota
	InflateSmall             // a batch may inflate to SmallInflateBytes
	InflateLarge             // a batch inflates to more, Config.RecordBytesMax at most
)

// SmallInflateBytes is what nearly every batch stays below once it is inflated.
const SmallInflateBytes = 4 << 20

// inflater is what batches are inflated with.
type inflater struct {
	decompressor *record.Decompressor // nil: there is none
	bytesMax     int
}

func (in inflater) inflatedBytes() int64 {
	if in.decompressor == nil {
		return 0
	}
	return in.decompressor.InflatedBytes()
}

// Inflate goes on with the request that was received last, whose Out asked for it, with a decompressor that
// is the session's until Inflate returns. The lane is what was asked for. It may ask again, for the large lane.
func (s *Session) Inflate(lane Inflation, d *record.Decompressor, out *Out) {
	invariant.Check(s.checking.event != nil, "a request waits for its batches to be inflated")
	if s.closed {
		s.checking = checking{}
		return
	}
	out.Inflate = InflateNothing
	with := inflater{d, SmallInflateBytes}
	if lane == InflateLarge {
		with.bytesMax = s.config.RecordBytesMax
	}
	s.checkBatches(with, out)
}
