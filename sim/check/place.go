package check

import (
	"cmp"
	"fmt"
	"slices"
)

// NotLinear is the kind of anomaly that Places and Window find.
const NotLinear = "not-linearizable"

// placed is an operation on a log and the place it names: an append of [from, to) makes the log end at to
// at least; a read of the end saw it at to, exactly.
type placed struct {
	op        *Op
	from, to  int64
	call, ret int64
}

// Places checks that appends and reads of the end of each log are linearizable: no operation that returned
// before another began sits at a later place. In a log every operation names its place, so this is a sort
// and one pass, where a general checker searches.
//
// A send whose outcome is unknown is decided by the final state: found there, it happened at a known place and
// an unknown time; absent, it did not happen. A leader that was deposed and does not know it yet may tell of the end as it
// was when another was elected, or later, for as long as StaleMax. A poll counts as a read of the end by the high watermark
// it reported; called at 0 means that nobody knows when it was called, and it bounds only what came after.
func Places(h *History) []Anomaly {
	byKey, keys := placedByKey(h)
	var found []Anomaly
	for _, k := range keys {
		found = append(found, checkPlaces(h, k, byKey[k])...)
	}
	return found
}

// placedByKey are the operations of each log that name their place. Where an unclean election took place, offsets were given out
// twice, and none of that is judged.
func placedByKey(h *History) (map[Key][]placed, []Key) {
	finals := map[Key]map[int64]int64{} // offset by value
	for i := range h.Finals {
		f := &h.Finals[i]
		at := make(map[int64]int64, len(f.Values))
		for j, v := range f.Values {
			at[v] = f.Offsets[j]
		}
		finals[f.Key] = at
	}
	byKey := map[Key][]placed{}
	var keys []Key
	for i := range h.Ops {
		op := &h.Ops[i]
		k := Key{op.Topic, op.Partition}
		p, ok := place(op, finals[k])
		if !ok || h.Unclean[k] {
			continue
		}
		if _, known := byKey[k]; !known {
			keys = append(keys, k)
		}
		byKey[k] = append(byKey[k], p)
	}
	return byKey, keys
}

// place finds an operation's place; false if it has none.
func place(op *Op, final map[int64]int64) (placed, bool) {
	p := placed{op: op, call: op.Call, ret: op.Return}
	switch {
	case op.F == Send && op.Outcome == OK && op.Offset >= 0:
		p.from, p.to = op.Offset, op.Offset+int64(len(op.Values))
	case op.F == Send && op.Outcome == Info && len(op.Values) > 0:
		o, ok := final[op.Values[0]]
		if !ok {
			return p, false
		}
		p.from, p.to, p.ret = o, o+int64(len(op.Values)), Never
	case (op.F == Tail || op.F == Poll) && op.Outcome == OK:
		p.from, p.to = op.Tail, op.Tail
	default:
		return p, false
	}
	return p, true
}

func checkPlaces(h *History, k Key, ops []placed) []Anomaly {
	byCall := slices.Clone(ops)
	slices.SortStableFunc(byCall, func(a, b placed) int { return cmp.Compare(a.call, b.call) })
	byReturn := slices.Clone(ops)
	slices.SortStableFunc(byReturn, func(a, b placed) int { return cmp.Compare(a.ret, b.ret) })
	var found []Anomaly
	var greatest *placed // of those that returned before
	done := 0
	for i := range byCall {
		o := &byCall[i]
		for done < len(byReturn) && byReturn[done].ret < o.call {
			if greatest == nil || byReturn[done].to > greatest.to {
				greatest = &byReturn[done]
			}
			done++
		}
		if greatest == nil || greatest.to <= o.from {
			continue
		}
		if until, over := h.staleSince(k, o); over && reached(byReturn, until) <= o.from {
			continue
		}
		if len(found) < anomaliesMax {
			found = append(found, Anomaly{NotLinear, fmt.Sprintf(
				"%s: the log had reached %d when this was called: %s; it returned before: %s", k, greatest.to, o.op, greatest.op)})
		}
	}
	return found
}

// staleSince reports whether a read of the end was answered by a leader whose time was over, though not for longer than
// is allowed, and since when: it must know what was there then.
func (h *History) staleSince(k Key, o *placed) (until int64, over bool) {
	if o.op.F != Tail {
		return 0, false
	}
	for i := range h.Leaderships {
		l := &h.Leaderships[i]
		if l.Key == k && l.Epoch == o.op.Epoch {
			return l.Until, l.Until <= o.ret && o.call <= l.Until+h.StaleMax
		}
	}
	return 0, false
}

// reached is how far a log had got before a time, as those know who had returned by then.
func reached(byReturn []placed, before int64) (to int64) {
	for i := range byReturn {
		if byReturn[i].ret >= before {
			break
		}
		to = max(to, byReturn[i].to)
	}
	return to
}

// offsetsTopic is where committed offsets are.
const offsetsTopic = "__consumer_offsets"

// stale reports whether a node that answered may have been a coordinator whose time was over.
func (h *History) stale(op *Op) bool {
	for i := range h.Leaderships {
		l := &h.Leaderships[i]
		if l.Key.Topic == offsetsTopic && l.Node == op.Node && l.Until <= op.Return && op.Call <= l.Until+h.StaleMax {
			return true
		}
	}
	return false
}
