package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// The functions of operations on committed offsets. A group's offset in one partition is a register: Topic names
// the group and the topic, Values hold the one offset that was committed or read, none if none is committed.
const (
	Commit    = "commit"
	Committed = "committed"
)

// The kinds of anomalies that Offsets finds.
const (
	NotOffset    = "offsets-not-linearizable"
	OffsetBorn   = "offset-invented" // a committed offset that nobody committed
	OffsetFenced = "offset-refused"  // a committed offset whose commit was refused
)

// Offsets checks that committed offsets are linearizable registers, one for each group and partition: what
// was acknowledged is read until somebody commits another, whatever crashes in between. Values are unique. What a
// coordinator told whose time was over, though for no longer than is allowed, is left out.
func Offsets(h *History, limit time.Duration) []Anomaly {
	byKey := map[Key][]*Op{}
	var keys []Key
	for i := range h.Ops {
		op := &h.Ops[i]
		if op.F != Commit && (op.F != Committed || op.Outcome != OK || h.stale(op)) {
			continue
		}
		k := Key{op.Topic, op.Partition}
		if byKey[k] == nil {
			keys = append(keys, k)
		}
		byKey[k] = append(byKey[k], op)
	}
	var found []Anomaly
	for _, k := range keys {
		found = append(found, checkOffsets(k, byKey[k], limit)...)
	}
	return found
}

func checkOffsets(k Key, ops []*Op, limit time.Duration) []Anomaly {
	writes, read := map[int64]*Op{}, map[int64]bool{}
	for _, op := range ops {
		if op.F == Commit {
			writes[op.Values[0]] = op
		}
	}
	var found []Anomaly
	for _, op := range ops {
		if op.F != Committed || len(op.Values) == 0 {
			continue
		}
		read[op.Values[0]] = true
		switch w := writes[op.Values[0]]; {
		case w == nil:
			found = append(found, Anomaly{OffsetBorn, fmt.Sprintf("%s: nobody committed what was read: %s", k, op)})
		case w.Outcome == Fail:
			found = append(found, Anomaly{OffsetFenced, fmt.Sprintf("%s: %s, although the commit was refused: %s", k, op, w)})
		}
	}
	if len(found) > 0 {
		return found[:1]
	}
	var history []porcupine.Operation
	for i, op := range ops {
		// A commit of unknown outcome that nobody read may as well not have happened, or never yet.
		if op.F == Commit && (op.Outcome == Fail || op.Outcome == Info && !read[op.Values[0]]) {
			continue
		}
		history = append(history, porcupine.Operation{ClientId: i, Input: op, Call: op.Call, Return: op.Return})
	}
	// Few clients commit at a time, so that there are few orders to try, however long the history is.
	switch porcupine.CheckOperationsTimeout(offsetModel(), history, limit) {
	case porcupine.Illegal:
		return append(found, Anomaly{NotOffset, fmt.Sprintf("%s: no order explains what was committed and read%s", k, explainOffsets(history, limit))})
	case porcupine.Unknown:
		return append(found, Anomaly{Undecided, k.String() + ": porcupine ran out of time"})
	}
	return nil
}

// explainOffsets names the first read, by the time it returned, that no order of what was called before explains.
func explainOffsets(history []porcupine.Operation, limit time.Duration) string {
	reads := slices.DeleteFunc(slices.Clone(history), func(o porcupine.Operation) bool { return o.Input.(*Op).F != Committed })
	slices.SortStableFunc(reads, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	for _, r := range reads {
		prefix := slices.DeleteFunc(slices.Clone(history), func(o porcupine.Operation) bool {
			return o.Call > r.Return || o.Input.(*Op).F == Committed && o.Return > r.Return
		})
		if porcupine.CheckOperationsTimeout(offsetModel(), prefix, limit) == porcupine.Illegal {
			return ": " + r.Input.(*Op).String()
		}
	}
	return ""
}

// offsetModel is a register that holds nothing, -1, at the beginning.
func offsetModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return int64(-1) },
		Step: func(state, input, _ any) (bool, any) {
			op := input.(*Op)
			if op.F == Commit {
				return true, op.Values[0]
			}
			v := int64(-1)
			if len(op.Values) > 0 {
				v = op.Values[0]
			}
			return state == v, state
		},
		Equal:             func(a, b any) bool { return a == b },
		Hash:              func(s any) uint64 { return uint64(s.(int64)) },
		DescribeOperation: func(input, _ any) string { return input.(*Op).String() },
	}
}
