package check

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// windowOps bounds what porcupine is given for one partition: its memory grows with the square.
const windowOps = 100

// Window gives porcupine the beginning of each partition's history, and its verdict must agree with Places.
// It is here to check the checker.
//
// Sends of unknown outcome are left out: they never return, so that the search would try each at every
// place, and a record that nobody of this history wrote may stand anywhere.
func Window(h *History, limit time.Duration) []Anomaly {
	byKey, keys := placedByKey(h)
	var found []Anomaly
	for _, k := range keys {
		ops := slices.DeleteFunc(byKey[k], func(o placed) bool {
			_, stale := h.staleSince(k, &o)
			return stale || o.call == 0 || o.ret == Never // of unknown call overlaps everything before it
		})
		slices.SortStableFunc(ops, func(a, b placed) int { return cmp.Compare(a.call, b.call) })
		ops = ops[:min(len(ops), windowOps)]
		history := make([]porcupine.Operation, 0, len(ops))
		for i, o := range ops {
			history = append(history, porcupine.Operation{ClientId: i, Input: follows{o, before(ops, o.from)}, Call: o.call, Return: o.ret})
		}
		switch porcupine.CheckOperationsTimeout(logModel(), history, limit) {
		case porcupine.Illegal:
			found = append(found, Anomaly{NotLinear, k.String() + ": porcupine finds no order of appends and reads of the end"})
		case porcupine.Unknown:
			found = append(found, Anomaly{Undecided, k.String() + ": porcupine ran out of time"})
		}
	}
	return found
}

// follows is an operation with where the log must end, as far as this history goes, for it to take its place.
type follows struct {
	placed
	after int64
}

// before is the end of the last append at or before a place.
func before(ops []placed, at int64) int64 {
	end := int64(0)
	for i := range ops {
		if o := &ops[i]; o.op.F == Send && o.to <= at {
			end = max(end, o.to)
		}
	}
	return end
}

// logModel's state is where the appends of this history end so far. Each operation has one state that it
// can follow: appends name their places, so their order is given, and what is left to find out is whether the
// times allow it. That makes the search short.
func logModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return int64(0) },
		Step: func(state, input, _ any) (bool, any) {
			o := input.(follows)
			if state.(int64) != o.after {
				return false, state
			}
			if o.op.F == Send {
				return true, o.to
			}
			return true, state
		},
		Equal: func(a, b any) bool { return a.(int64) == b.(int64) },
		Hash:  func(s any) uint64 { return uint64(s.(int64)) },
		DescribeOperation: func(input, _ any) string {
			o := input.(follows)
			return o.op.String()
		},
	}
}

// NotRegister is the kind of anomaly that Topics finds.
const NotRegister = "topics-not-linearizable"

// topicState is what one name stands for. id is "" when the topic is absent and unknownID when it is
// present and nobody has seen its id yet.
type topicState struct{ id string }

const unknownID = "?"

// Topics checks that creating, deleting and describing topics is linearizable, name by name.
func Topics(h *History, limit time.Duration) []Anomaly {
	byName := map[string][]porcupine.Operation{}
	var names []string
	for i := range h.Ops {
		op := &h.Ops[i]
		if op.F != Create && op.F != Delete && op.F != Describe {
			continue
		}
		if op.Outcome == Fail || op.F == Describe && (op.Outcome != OK || h.Lags) {
			continue
		}
		ret := op.Return
		if op.Outcome == Info {
			ret = math.MaxInt64
		}
		if byName[op.Topic] == nil {
			names = append(names, op.Topic)
		}
		byName[op.Topic] = append(byName[op.Topic], porcupine.Operation{ClientId: i, Input: op, Call: op.Call, Return: ret})
	}
	model := topicModel()
	var found []Anomaly
	for _, name := range names {
		switch porcupine.CheckOperationsTimeout(model, byName[name], limit) {
		case porcupine.Illegal:
			found = append(found, Anomaly{NotRegister, fmt.Sprintf("%s: %s", name, explainTopics(model, byName[name], limit))})
		case porcupine.Unknown:
			found = append(found, Anomaly{Undecided, name + ": porcupine ran out of time"})
		}
	}
	return found
}

func topicModel() porcupine.Model {
	nd := porcupine.NondeterministicModel{
		Init:  func() []any { return []any{topicState{}} },
		Step:  func(state, input, _ any) []any { return stepTopic(state.(topicState), input.(*Op)) },
		Equal: func(a, b any) bool { return a == b },
	}
	return nd.ToModel()
}

// stepTopic is every state that an operation may lead to; none if it cannot have happened here.
func stepTopic(s topicState, op *Op) []any {
	absent := s.id == ""
	sawID := func(id string) string {
		if id == "" {
			return unknownID
		}
		return id
	}
	switch op.F {
	case Create:
		switch {
		case op.Outcome == Info:
			if absent {
				return []any{s, topicState{unknownID}}
			}
			return []any{s}
		case op.Found: // it existed
			if !absent {
				return []any{s}
			}
		case absent:
			return []any{topicState{sawID(op.TopicID)}}
		}
	case Delete:
		switch {
		case op.Outcome == Info:
			return []any{s, topicState{}}
		case op.Found == !absent:
			return []any{topicState{}}
		}
	case Describe:
		switch {
		case !op.Found:
			if absent {
				return []any{s}
			}
		case absent:
		case s.id == unknownID || s.id == op.TopicID || op.TopicID == "":
			return []any{topicState{sawID(op.TopicID)}}
		}
	}
	return nil
}

// explainTopics names the first operation, by the time it returned, with which the history stops being
// linearizable.
func explainTopics(model porcupine.Model, ops []porcupine.Operation, limit time.Duration) string {
	byReturn := slices.Clone(ops)
	slices.SortStableFunc(byReturn, func(a, b porcupine.Operation) int { return int(min(1, max(-1, a.Return-b.Return))) })
	for n := 1; n <= len(byReturn); n++ {
		cut := byReturn[n-1].Return
		var prefix []porcupine.Operation
		for _, o := range ops {
			if o.Return <= cut {
				prefix = append(prefix, o)
			} else if o.Call < cut && o.Input.(*Op).F != Describe {
				o.Return = math.MaxInt64
				op := *o.Input.(*Op)
				op.Outcome = Info
				o.Input = &op
				prefix = append(prefix, o)
			}
		}
		if porcupine.CheckOperationsTimeout(model, prefix, limit) == porcupine.Illegal {
			return "no order explains " + byReturn[n-1].Input.(*Op).String()
		}
	}
	return "no order explains the history"
}
