package main

import (
	"slices"
	"testing"

	"github.com/weirmq/weir/sim/check"
)

// kept is the history of a run in which every promise was kept: two producers, a consumer, a send that landed
// without an answer and one that did not.
func kept() *check.History {
	send := func(producer, call, ret, value, offset int64) check.Op {
		return check.Op{
			Process: producer, Producer: producer, F: check.Send, Topic: "plain", Call: call, Return: ret,
			Outcome: check.OK, Values: []int64{value}, Offset: offset,
		}
	}
	unanswered := func(producer, call, value int64) check.Op {
		op := send(producer, call, check.Never, value, -1)
		op.Outcome = check.Info
		return op
	}
	return &check.History{
		Ops: []check.Op{
			send(1, 1, 3, 10, 0), send(2, 2, 4, 11, 1), unanswered(1, 5, 12), send(2, 6, 8, 13, 3), unanswered(2, 9, 14),
			{
				Process: followerProcess, F: check.Poll, Topic: "plain", Return: 10, Outcome: check.OK,
				Offsets: []int64{0, 1, 2, 3}, Values: []int64{10, 11, 12, 13}, Tail: 4,
			},
			{Process: endProcess, F: check.Tail, Topic: "plain", Call: 11, Return: 12, Outcome: check.OK, Tail: 4},
			send(1, 13, 15, 15, 4), send(1, 16, 17, 16, 5),
		},
		Finals: []check.Final{{
			Key: check.Key{Topic: "plain"}, End: 6, Offsets: []int64{0, 1, 2, 3, 4, 5}, Values: []int64{10, 11, 12, 13, 15, 16},
		}},
	}
}

func TestKeptPromisesPass(t *testing.T) {
	v := judge(kept())
	if err := v.err(); err != nil {
		t.Error(err)
	}
	if want := "acked=5 verified=5 lost=0 duplicated=0 reordered=0 changed=0 unacked=2 landed=1"; v.String() != want {
		t.Errorf("%s, not %s", v, want)
	}
}

// Each planted fault must be found, and counted as what it is: a checker that cannot fail shows nothing.
func TestPlantedFaultsAreFound(t *testing.T) {
	cut := func(f *check.Final, end int64) { f.End, f.Offsets, f.Values = end, f.Offsets[:end], f.Values[:end] }
	add := func(f *check.Final, value int64) {
		f.Offsets, f.Values, f.End = append(f.Offsets, f.End), append(f.Values, value), f.End+1
	}
	for _, tc := range []struct {
		name  string
		plant func(ops []check.Op, f *check.Final)
		count func(v *verdict) int
	}{
		{"an acknowledged record is lost", func(_ []check.Op, f *check.Final) { cut(f, 5) }, func(v *verdict) int { return v.lost }},
		{"a record that was consumed and never acknowledged is lost", func(_ []check.Op, f *check.Final) {
			f.Offsets, f.Values = slices.Delete(f.Offsets, 2, 3), slices.Delete(f.Values, 2, 3)
		}, func(v *verdict) int { return v.lost }},
		{"the log begins late", func(_ []check.Op, f *check.Final) { f.Offsets, f.Values = f.Offsets[1:], f.Values[1:] }, func(v *verdict) int { return v.lost }},
		{"an acknowledged record stands twice", func(_ []check.Op, f *check.Final) { add(f, 16) }, func(v *verdict) int { return v.duplicated }},
		{"an unacknowledged record stands twice", func(_ []check.Op, f *check.Final) { add(f, 14); add(f, 14) }, func(v *verdict) int { return v.duplicated }},
		{"two records of a producer are exchanged", func(ops []check.Op, f *check.Final) {
			f.Values[4], f.Values[5] = 16, 15
			ops[7].Offset, ops[8].Offset = 5, 4
		}, func(v *verdict) int { return v.reordered }},
		{"an offset holds something else than was acknowledged", func(_ []check.Op, f *check.Final) { f.Values[4] = 14 }, func(v *verdict) int { return v.changed }},
		{"an offset holds something else than was consumed", func(ops []check.Op, _ *check.Final) { ops[5].Values[2] = 14 }, func(v *verdict) int { return v.changed }},
		{"a record that nobody sent", func(_ []check.Op, f *check.Final) { add(f, -7) }, func(v *verdict) int { return v.changed }},
		{"the end falls back", func(ops []check.Op, _ *check.Final) { ops[6].Tail = 3 }, func(v *verdict) int { return v.other }},
	} {
		h := kept()
		tc.plant(h.Ops, &h.Finals[0])
		v := judge(h)
		if tc.count(v) == 0 || v.err() == nil {
			t.Errorf("%s: %v, %v", tc.name, v, v.err())
		}
	}
}

func TestRunWithoutAcknowledgementsFails(t *testing.T) {
	if judge(&check.History{}).err() == nil {
		t.Error("a run in which nothing happened passed")
	}
}

func TestTopicThatDisappearsIsFound(t *testing.T) {
	h := kept()
	h.Ops = append(h.Ops,
		check.Op{F: check.Create, Topic: "admin-1", Call: 20, Return: 21, Outcome: check.OK, TopicID: "a"},
		check.Op{F: check.Describe, Topic: "admin-1", Call: 22, Return: 23, Outcome: check.OK, Found: false})
	if v := judge(h); v.other == 0 || v.err() == nil {
		t.Error("a topic that was created and is not there passed")
	}
}

// A look in the middle of a run sees the log's beginning: what came later must not count as lost, and what came
// before must.
func TestLookJudgesWhatItCouldSee(t *testing.T) {
	h := kept()
	finals := []check.Final{{Key: check.Key{Topic: "plain"}, End: 3, Offsets: []int64{0, 1, 2}, Values: []int64{10, 11, 12}}}
	// The look ended before the record at 3 was acknowledged and read, so the end it reported is not part of it.
	ops := slices.Delete(slices.Clone(h.Ops), 6, 7)
	if err := judge(upTo(&check.History{Ops: ops}, finals)).err(); err != nil {
		t.Error(err)
	}
	short := []check.Final{{Key: check.Key{Topic: "plain"}, End: 3, Offsets: []int64{0, 1}, Values: []int64{10, 11}}}
	if v := judge(upTo(&check.History{Ops: ops}, short)); v.err() == nil {
		t.Error("a record that should have been seen and was not passed")
	}
	if len(h.Ops[5].Offsets) != 4 || h.Ops[7].Outcome != check.OK {
		t.Error("the look changed the history")
	}
}
