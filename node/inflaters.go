package node

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/session"
)

// inflaters lends decompressors to sessions. Inflating is what a client gets most work and memory for with
// the fewest bytes, so few do it at a time, and only one of those that may inflate more than a few MiB. What is
// done in a moment waits for none of those.
type inflaters struct {
	lanes [session.InflateLarge + 1]chan *record.Decompressor
	heavy *gate
}

func newInflaters(processors int, heavy *gate) inflaters {
	in := inflaters{heavy: heavy}
	for kind, count := range map[session.Inflation]int{
		session.InflateTiny: processors, session.InflateSmall: max(1, processors-1), session.InflateLarge: 1,
	} {
		in.lanes[kind] = make(chan *record.Decompressor, count)
		for range count {
			in.lanes[kind] <- new(record.Decompressor)
		}
	}
	return in
}

// loan is a decompressor while somebody has it.
type loan struct {
	*record.Decompressor
	kind session.Inflation
	pass *pass // through heavy; nil for what is done in a moment
}

// borrow waits for a decompressor, and for its turn to do heavy work, until stop is closed; it is false then.
func (in *inflaters) borrow(kind session.Inflation, conn effect.ConnID, stop <-chan struct{}) (loan, bool) {
	l := loan{kind: kind}
	select {
	case l.Decompressor = <-in.lanes[kind]:
	case <-stop:
		return l, false
	}
	if kind == session.InflateTiny {
		return l, true
	}
	if l.pass = in.heavy.enter(conn, stop); l.pass == nil {
		in.lanes[kind] <- l.Decompressor
		return l, false
	}
	return l, true
}

// giveBack returns what was borrowed. The large lane keeps its buffer while it is busy: to make one anew for each
// batch would be most of the work, and would keep the collector running.
func (in *inflaters) giveBack(l loan) {
	if l.pass != nil {
		in.heavy.leave(l.pass)
	}
	if l.kind != session.InflateLarge {
		l.Release()
	}
	in.lanes[l.kind] <- l.Decompressor
}

// quiet gives back the memory of the large lane if nobody is in it.
func (in *inflaters) quiet() {
	large := in.lanes[session.InflateLarge]
	select {
	case d := <-large:
		d.Release()
		large <- d
	default:
	}
}
