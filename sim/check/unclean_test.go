package check

import (
	"testing"
	"time"
)

// Where an unclean election took place, records may be lost and offsets used again, but nothing is made up, and the final state is whole.
func TestUncleanPartitionIsJudgedByWhatIsThere(t *testing.T) {
	k := Key{"t", 0}
	history := func(values, offsets []int64) *History {
		return &History{
			Unclean: map[Key]bool{k: true},
			Ops: []Op{
				{F: Send, Outcome: OK, Topic: "t", Values: []int64{1}, Offset: 0, Producer: 1, Return: 1},
				{F: Send, Outcome: OK, Topic: "t", Values: []int64{2}, Offset: 1, Producer: 1, Call: 2, Return: 3},
				{F: Send, Outcome: OK, Topic: "t", Values: []int64{3}, Offset: 1, Producer: 1, Call: 4, Return: 5},
				{F: Poll, Outcome: OK, Topic: "t", Values: []int64{2}, Offsets: []int64{1}, From: 1, Tail: 2, Return: 6},
				{F: Tail, Outcome: OK, Topic: "t", Tail: 1, Call: 7, Return: 8},
			},
			Finals: []Final{{Key: k, Start: 0, End: 2, Values: values, Offsets: offsets}},
		}
	}
	lost := history([]int64{1, 3}, []int64{0, 1})
	judges := map[string]func(*History) []Anomaly{
		"Log": Log, "Places": Places, "Window": func(h *History) []Anomaly { return Window(h, time.Second) },
	}
	for name, judge := range judges {
		lost.Unclean = map[Key]bool{k: true}
		if found := judge(lost); len(found) != 0 {
			t.Errorf("%s: a record lost by an unclean election: %v", name, found)
		}
		lost.Unclean = nil
		if len(judge(lost)) == 0 {
			t.Errorf("%s: the same without one was taken for good", name)
		}
	}
	for name, h := range map[string]*History{
		Invented: history([]int64{1, 9}, []int64{0, 1}),
		Gap:      history([]int64{1, 3}, []int64{0, 2}),
	} {
		if found := Log(h); len(found) != 1 || found[0].Kind != name {
			t.Errorf("%s: found %v", name, found)
		}
	}
}
