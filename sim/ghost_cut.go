package sim

import (
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// ghostCut is a truncation that was asked for and not reported.
type ghostCut struct {
	to    model.Offset
	whole bool // the log begins anew at to
	after int  // how many of the batches asked for came before it
}

// truncate notes that the core asks for a log to be cut.
func (g *ghost) truncate(tp model.TopicPartition, to model.Offset, whole bool) {
	l := g.log(tp)
	l.cuts = append(l.cuts, ghostCut{to: to, whole: whole, after: len(l.asked)})
}

// first is how many of the batches asked for come before the first truncation that was not reported.
func (l *ghostLog) first() int {
	if len(l.cuts) == 0 {
		return len(l.asked)
	}
	return l.cuts[0].after
}

// dropFirst takes n batches off what was asked for.
func (l *ghostLog) dropFirst(n int) {
	l.asked = l.asked[n:]
	for i := range l.cuts {
		l.cuts[i].after = max(0, l.cuts[i].after-n)
	}
}

// beginBehind forgets what a log held before the first truncation that was not reported, which left it ending at end: what was
// asked for behind it follows there.
func (l *ghostLog) beginBehind(end model.Offset) {
	asked, cuts := l.asked, l.cuts
	l.begin(end)
	if len(cuts) > 0 {
		l.asked, l.cuts = asked, cuts
		l.dropFirst(cuts[0].after)
		l.cuts = l.cuts[1:]
	}
}

// cutAt is what a truncation leaves of a log, and where that begins and ends.
func cutAt(batches []ghostBatch, start, end model.Offset, c ghostCut) (left []ghostBatch, newStart, newEnd model.Offset) {
	if c.whole || c.to < start {
		return nil, c.to, c.to
	}
	if c.to >= end {
		return batches, start, end
	}
	n := 0
	for n < len(batches) && batches[n].next <= c.to {
		n++
	}
	newEnd = batches[n].base // the batch that holds to goes
	return batches[:n:n], min(start, newEnd), newEnd
}

// truncated checks what a truncation is said to have come to.
func (g *ghost) truncated(t *effect.Truncated, synced bool) {
	l := g.log(t.Partition)
	if len(l.cuts) == 0 && (t.Failure == effect.Missing && l.deleted || t.Failure == effect.Broken && g.broken(l) != "") {
		return // it was forgotten with the log
	}
	if len(l.cuts) == 0 {
		g.fail("truncation", fmt.Sprintf("%v: a truncation to %d was reported that nobody asked for", l.tp, t.NextOffset))
		return
	}
	c := l.cuts[0]
	if t.Failure != effect.OK {
		l.cuts = l.cuts[1:]
		return
	}
	if !synced {
		g.fail("truncation", fmt.Sprintf("%v: a truncation to %d was reported, but no sync covers it", l.tp, c.to))
		return
	}
	if g.heals && l.unknown {
		l.beginBehind(t.NextOffset)
		if c.whole { // all of it is new from here on
			l.damaged, l.unknown, l.limit, l.below = "", false, min(l.limit, l.start), min(l.below, l.start)
		}
		return
	}
	if c.after > 0 && l.asked[0].next > l.durableEnd() && !c.whole && c.to > l.asked[0].base {
		g.fail("truncation", fmt.Sprintf("%v: truncated to %d, and what was asked for before, at %d, was not reported", l.tp, c.to, l.asked[0].base))
		return
	}
	l.dropFirst(c.after)
	l.cuts = l.cuts[1:]
	left, start, end := cutAt(l.durable, l.start, l.durableEnd(), c)
	if t.NextOffset != end || t.State == nil || t.State.EndOffset() != end || t.State.StartOffset() != start {
		g.fail("truncation", fmt.Sprintf("%v: truncated to %d, the log ends at %d: it must be [%d,%d)", l.tp, c.to, t.NextOffset, start, end))
		return
	}
	l.durable, l.start, l.limit, l.below = left, start, min(l.limit, end), min(l.below, end)
	if g.heals && c.whole {
		l.damaged = ""
	}
}

// recoveredCut settles which of the truncations that were not reported have happened: all up to one of them, wholly, with some
// of what was asked for behind it. It is false if none of that is what was found.
func (g *ghost) recoveredCut(l *ghostLog, found []ghostBatch, start, end model.Offset) bool {
	batches := append(slices.Clone(l.durable), l.asked[:l.first()]...)
	at, least, from := l.start, len(l.durable), 0
	last := l.durableEnd()
	if n := len(batches); n > 0 {
		last = batches[n-1].next
	}
	for i := 0; ; i++ {
		if prefixOf(found, batches, least, start) && end >= start {
			return true
		}
		if i == len(l.cuts) {
			return false
		}
		from = l.cuts[i].after
		batches, at, last = cutAt(batches, at, last, l.cuts[i])
		least = len(batches)
		to := len(l.asked)
		if i+1 < len(l.cuts) {
			to = l.cuts[i+1].after
		}
		batches = append(slices.Clone(batches), l.asked[from:to]...)
		if n := len(batches); n > 0 {
			last = batches[n-1].next
		}
	}
}

// prefixOf reports whether a log holds the first of some batches, at least so many, from where it starts.
func prefixOf(found, batches []ghostBatch, least int, start model.Offset) bool {
	for len(batches) > 0 && batches[0].next <= start {
		batches, least = batches[1:], least-1
	}
	if len(found) < least || len(found) > len(batches) {
		return false
	}
	for i := range found {
		if !batches[i].is(found[i]) {
			return false
		}
	}
	return true
}

// cutBySet notes the truncations that a set asks for.
func (g *ghost) cutBySet(set *effect.Set) {
	for _, t := range set.Truncates {
		g.truncate(t.Partition, t.To, false)
	}
	for _, a := range set.StartAts {
		g.truncate(a.Partition, a.Offset, true)
	}
}
