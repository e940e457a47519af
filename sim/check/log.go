package check

import (
	"fmt"
	"slices"
)

// The kinds of anomalies that Log finds.
const (
	Inconsistent = "inconsistent-offset" // two values were seen at one offset
	Duplicate    = "duplicate"           // one value stands at two offsets
	Lost         = "lost"                // an acknowledged record is not there
	Vanished     = "vanished"            // a record was consumed and is not there
	Aborted      = "aborted-read"        // the record of a send that certainly failed is there
	Invented     = "invented"            // a value that nobody sent
	Order        = "order"               // a producer's records stand in another order than it sent them
	Gap          = "gap"                 // offsets are not dense
	BeyondEnd    = "beyond-end"          // a read returned records at or after the end it reported
	Skipped      = "poll-skip"           // a read did not begin where it was asked to
)

// anomaliesMax bounds what one check reports: the first ones explain the rest.
const anomaliesMax = 10

// record is one record of a partition as somebody saw it.
type record struct {
	offset, value int64
}

// logCheck judges one partition.
type logCheck struct {
	key    Key
	sends  []*Op
	polls  []*Op
	final  *Final
	found  []Anomaly
	at     map[int64]int64 // value by offset, all observations
	offset map[int64]int64 // offset by value
	last   map[int64]int64 // value by offset in the final state
	sentBy map[int64]*Op
}

// Log judges every partition's records directly by their offsets. Every partition that was sent to or polled
// needs its Final; without one it is judged by what was read. The cost is linear, but for a sort.
func Log(h *History) []Anomaly {
	checks := map[Key]*logCheck{}
	var keys []Key
	of := func(k Key) *logCheck {
		c := checks[k]
		if c == nil {
			c = &logCheck{
				key: k, at: map[int64]int64{}, offset: map[int64]int64{},
				last: map[int64]int64{}, sentBy: map[int64]*Op{},
			}
			checks[k] = c
			keys = append(keys, k)
		}
		return c
	}
	for i := range h.Ops {
		switch op := &h.Ops[i]; op.F {
		case Send:
			c := of(Key{op.Topic, op.Partition})
			c.sends = append(c.sends, op)
		case Poll:
			c := of(Key{op.Topic, op.Partition})
			c.polls = append(c.polls, op)
		}
	}
	for i := range h.Finals {
		of(h.Finals[i].Key).final = &h.Finals[i]
	}
	var found []Anomaly
	for _, k := range keys {
		if h.Unclean[k] {
			found = append(found, checks[k].runUnclean()...)
			continue
		}
		found = append(found, checks[k].run()...)
	}
	return found
}

func (c *logCheck) report(kind, format string, args ...any) {
	if len(c.found) < anomaliesMax {
		c.found = append(c.found, Anomaly{kind, c.key.String() + ": " + fmt.Sprintf(format, args...)})
	}
}

// runUnclean judges a partition that may have lost records: what is there was sent, and stands where it should in the end.
func (c *logCheck) runUnclean() []Anomaly {
	for _, op := range c.sends {
		for _, v := range op.Values {
			c.sentBy[v] = op
		}
	}
	for _, op := range c.polls {
		for i, v := range op.Values {
			if c.sentBy[v] == nil {
				c.report(Invented, "value %d at %d was never sent here: %s", v, op.Offsets[i], op)
			}
		}
	}
	if f := c.final; f != nil {
		for i, v := range f.Values {
			if c.sentBy[v] == nil {
				c.report(Invented, "value %d at %d, in the end, was never sent here", v, f.Offsets[i])
			}
			if o := f.Start + int64(i); f.Offsets[i] != o && !f.Damaged {
				c.report(Gap, "the final read has %d where %d belongs", f.Offsets[i], o)
				break
			}
		}
	}
	return c.found
}

func (c *logCheck) run() []Anomaly {
	for _, op := range c.sends {
		for _, v := range op.Values {
			c.sentBy[v] = op
		}
	}
	c.checkFinal()
	for _, op := range c.polls {
		c.checkPoll(op)
	}
	for _, op := range c.sends {
		c.checkSend(op)
	}
	c.checkOrder()
	return c.found
}

// seen is who saw a record: printing that takes time, and is rarely needed.
type seen struct{ op *Op }

func (s seen) String() string {
	switch {
	case s.op == nil:
		return "in the final read"
	case s.op.F == Send:
		return "acknowledged by " + s.op.String()
	}
	return "in " + s.op.String()
}

// see notes a value at an offset, and whether it contradicts what was seen before. by says who saw it: an
// operation, or the final read if it is nil.
func (c *logCheck) see(offset, value int64, by seen) {
	if v, ok := c.at[offset]; ok && v != value {
		c.report(Inconsistent, "offset %d held %d and, %s, %d", offset, v, by, value)
		return
	}
	if o, ok := c.offset[value]; ok && o != offset && c.promised(value) {
		if c.final != nil && min(o, offset) < min(c.final.Start, c.final.BeganAnew) {
			return // one of them was removed, and who leads cannot know of it
		}
		c.report(Duplicate, "value %d stands at %d and, %s, at %d (%s)", value, o, by, offset, c.origin(value))
		return
	}
	c.at[offset], c.offset[value] = value, offset
	switch op := c.sentBy[value]; {
	case op == nil:
		c.report(Invented, "value %d at %d, %s, was never sent here", value, offset, by)
	case op.Outcome == Fail:
		c.report(Aborted, "value %d at %d, %s, although its send failed: %s", value, offset, by, op)
	}
}

// promised reports whether somebody promised that the value stands once.
func (c *logCheck) promised(value int64) bool {
	op := c.sentBy[value]
	return op == nil || op.Producer != 0
}

func (c *logCheck) origin(value int64) string {
	if op := c.sentBy[value]; op != nil {
		return op.String()
	}
	return "never sent"
}

func (c *logCheck) checkFinal() {
	f := c.final
	if f == nil {
		return
	}
	next := f.Start
	for i, o := range f.Offsets {
		if o != next && !f.Damaged {
			c.report(Gap, "the final read has %d after %d", o, next-1)
		}
		next = o + 1
		c.see(o, f.Values[i], seen{})
		c.last[o] = f.Values[i]
	}
	if next != f.End && !f.Damaged {
		c.report(Gap, "the final read ends at %d, the log at %d", next, f.End)
	}
}

// gone says whether the final state should hold an offset and does not.
func (c *logCheck) gone(offset int64) bool {
	if c.final == nil || c.final.Damaged || offset < c.final.Start {
		return false
	}
	_, ok := c.last[offset]
	return !ok
}

func (c *logCheck) checkPoll(op *Op) {
	if op.Outcome != OK {
		return
	}
	next := op.From
	for i, o := range op.Offsets {
		if o != next {
			c.report(Skipped, "%d follows %d: %s", o, next-1, op)
		}
		next = o + 1
		if o >= op.Tail {
			c.report(BeyondEnd, "%d was served: %s", o, op)
		}
		c.see(o, op.Values[i], seen{op})
		if c.gone(o) {
			c.report(Vanished, "value %d at %d was consumed and is not in the end: %s", op.Values[i], o, op)
		}
	}
}

func (c *logCheck) checkSend(op *Op) {
	if op.Outcome != OK || op.Offset < 0 {
		return
	}
	for i, v := range op.Values {
		o := op.Offset + int64(i)
		c.see(o, v, seen{op})
		if c.gone(o) {
			c.report(Lost, "value %d, acknowledged at %d, is not in the end (log %d to %d): %s",
				v, o, c.final.Start, c.final.End, op)
		}
	}
}

// checkOrder compares each producer's values in the order of their offsets.
func (c *logCheck) checkOrder() {
	offsets := make([]int64, 0, len(c.at))
	for o := range c.at {
		offsets = append(offsets, o)
	}
	slices.Sort(offsets)
	newest := map[int64]record{}
	for _, o := range offsets {
		r := record{o, c.at[o]}
		op := c.sentBy[r.value]
		if op == nil || op.Producer == 0 {
			continue
		}
		if before, ok := newest[op.Producer]; ok && before.value > r.value {
			c.report(Order, "producer %d sent %d before %d, but they stand at %d and %d",
				op.Producer, r.value, before.value, r.offset, before.offset)
		}
		newest[op.Producer] = r
	}
}
