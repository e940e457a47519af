package session

import (
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/record"
)

// Inflation is what a request needs to have its compressed batches checked.
//
// Inflating costs memory and time out of proportion to what a client sends for it, so a driver with many
// connections lends what inflates, and by that decides how many inflate at a time. It has three lanes, so that
// what is done in a moment waits for nothing that takes longer, and batches made to inflate to very much wait for
// each other:
//
//	Receive ──Out.Inflate = InflateTiny──► Inflate ──► checked
//	   │ the batch is large                  │ the request needs more than TinyInflateBytes
//	   ▼                                     ▼
//	  Out.Inflate = InflateSmall ──────────► Inflate ──► checked
//	   ▲                                     │  │ a batch needs more than SmallInflateBytes
//	   ├──────those were used, others next───┘  ▼
//	   └──────the next batch─────────────────── Inflate, InflateLarge ──► checked
type Inflation uint8

// The kinds of inflation.
const (
	InflateNothing Inflation = iota
	InflateTiny              // the batches may inflate to TinyInflateBytes together
	InflateSmall             // a batch may inflate to SmallInflateBytes
	InflateLarge             // a batch inflates to more, Config.RecordBytesMax at most
)

const (
	// TinyInflateBytes takes a fraction of a millisecond.
	TinyInflateBytes = 256 << 10
	// SmallInflateBytes is what nearly every batch stays below once it is inflated. It is also after how much
	// others have a turn.
	SmallInflateBytes = 4 << 20
)

// laneOf is where a batch is tried first: one that would hardly be done in the tiny lane does not go there.
func laneOf(batch []byte) Inflation {
	const ratio = 4
	if len(batch) > TinyInflateBytes/ratio {
		return InflateSmall
	}
	return InflateTiny
}

// inflater is what batches are inflated with.
type inflater struct {
	decompressor *record.Decompressor // nil: there is none
	bytesMax     int                  // of a batch
	bytesLeft    int                  // until others have a turn
	next         Inflation            // what takes a batch that is too large for this one
}

func (in *inflater) inflatedBytes() int64 {
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
	with := inflater{decompressor: d}
	switch lane {
	case InflateTiny:
		with.bytesMax, with.bytesLeft, with.next = TinyInflateBytes, TinyInflateBytes, InflateSmall
	case InflateNothing, InflateSmall:
		with.bytesMax, with.bytesLeft, with.next = SmallInflateBytes, SmallInflateBytes, InflateLarge
	case InflateLarge:
		with.bytesMax, with.bytesLeft = s.config.RecordBytesMax, 1
	}
	s.checkBatches(&with, out)
}
