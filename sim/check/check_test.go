package check

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// sound is a history in which everything went well: two producers, one reader, one send of unknown
// outcome that happened and one that did not.
func sound() *History {
	op := func(proc int64, f string, call, ret int64, o Op) Op {
		o.Process, o.F, o.Call, o.Return, o.Topic = proc, f, call, ret, "t"
		if o.Outcome == "" {
			o.Outcome = OK
		}
		return o
	}
	return &History{
		Ops: []Op{
			op(1, Send, 1, 4, Op{Producer: 1, Values: []int64{100, 101}, Offset: 0}),
			op(2, Send, 2, 6, Op{Producer: 2, Values: []int64{200}, Offset: 2}),
			op(3, Poll, 7, 8, Op{From: 0, Offsets: []int64{0, 1, 2}, Values: []int64{100, 101, 200}, Tail: 3}),
			op(1, Send, 9, Never, Op{Producer: 1, Values: []int64{102}, Outcome: Info}),
			op(2, Send, 9, Never, Op{Producer: 2, Values: []int64{201}, Outcome: Info}),
			op(2, Send, 10, 11, Op{Producer: 3, Values: []int64{300}, Outcome: Fail}),
			op(3, Tail, 12, 13, Op{Tail: 4}),
			op(4, Send, 14, 15, Op{Producer: 4, Values: []int64{400, 401}, Offset: 4}),
			op(3, Poll, 16, 18, Op{From: 3, Offsets: []int64{3, 4, 5}, Values: []int64{102, 400, 401}, Tail: 6}),
		},
		Finals: []Final{{
			Key: Key{"t", 0}, End: 6,
			Offsets: []int64{0, 1, 2, 3, 4, 5}, Values: []int64{100, 101, 200, 102, 400, 401},
		}},
	}
}

// cut ends the final state earlier.
func cut(h *History, end int64) {
	f := &h.Finals[0]
	f.End, f.Offsets, f.Values = end, f.Offsets[:end], f.Values[:end]
}

func all(h *History) []Anomaly {
	found := append(Log(h), Places(h)...)
	return append(found, Window(h, 10*time.Second)...)
}

func TestSoundHistoryHasNoAnomaly(t *testing.T) {
	if found := all(sound()); len(found) > 0 {
		t.Error(found)
	}
}

// Each way of breaking the sound history is found, and called what it is.
func TestPlantedAnomaliesAreFound(t *testing.T) {
	for _, tc := range []struct {
		kind  string
		plant func(h *History)
	}{
		{Lost, func(h *History) { cut(h, 5) }},
		{Vanished, func(h *History) { cut(h, 3) }},
		{Inconsistent, func(h *History) { h.Ops[2].Values = []int64{100, 101, 201} }},
		{Inconsistent, func(h *History) { h.Finals[0].Values[1] = 201 }},
		{Duplicate, func(h *History) {
			h.Finals[0].Offsets = append(h.Finals[0].Offsets, 6)
			h.Finals[0].Values = append(h.Finals[0].Values, 400)
			h.Finals[0].End = 7
		}},
		{Inconsistent, func(h *History) { h.Ops[0].Offset = 1 }},
		{Aborted, func(h *History) {
			h.Finals[0].Offsets = append(h.Finals[0].Offsets, 6)
			h.Finals[0].Values = append(h.Finals[0].Values, 300)
			h.Finals[0].End = 7
		}},
		{Invented, func(h *History) { h.Ops[8].Values[0], h.Finals[0].Values[3] = 999, 999 }},
		{Order, func(h *History) {
			h.Ops[0].Values = []int64{101, 100}
			h.Ops[2].Values[0], h.Ops[2].Values[1] = 101, 100
			h.Finals[0].Values[0], h.Finals[0].Values[1] = 101, 100
		}},
		{Gap, func(h *History) {
			h.Finals[0].Offsets = slices.Delete(h.Finals[0].Offsets, 3, 4)
			h.Finals[0].Values = slices.Delete(h.Finals[0].Values, 3, 4)
		}},
		{Gap, func(h *History) { h.Finals[0].End = 8 }},
		{BeyondEnd, func(h *History) { h.Ops[8].Tail = 5 }},
		{Skipped, func(h *History) { h.Ops[8].From = 2 }},
		{Skipped, func(h *History) { h.Ops[2].Offsets[1] = 2 }},
		{NotLinear, func(h *History) { h.Ops[6].Tail = 2 }},
		{NotLinear, func(h *History) { h.Ops[6].Tail = 5 }},
		{NotLinear, func(h *History) { h.Ops[7].Call, h.Ops[7].Return = 2, 3; h.Ops[6].Call = 10 }},
	} {
		h := sound()
		tc.plant(h)
		found := all(h)
		if !slices.ContainsFunc(found, func(a Anomaly) bool { return a.Kind == tc.kind }) {
			t.Errorf("planted %s, found %v", tc.kind, found)
		}
	}
}

func TestDamagedPartitionIsJudgedByWhatItServed(t *testing.T) {
	h := sound()
	h.Finals[0] = Final{Key: Key{"t", 0}, Damaged: true}
	if found := Log(h); len(found) > 0 {
		t.Errorf("a partition that says it is damaged was blamed: %v", found)
	}
	h.Finals[0] = Final{Key: Key{"t", 0}, Damaged: true, Offsets: []int64{1}, Values: []int64{200}}
	if found := Log(h); len(found) == 0 {
		t.Error("a damaged partition served something else and was not blamed")
	}
}

func TestRemovedByRetentionIsNotLost(t *testing.T) {
	h := sound()
	h.Finals[0].Start, h.Finals[0].Offsets, h.Finals[0].Values = 4, []int64{4, 5}, []int64{400, 401}
	if found := all(h); len(found) > 0 {
		t.Error(found)
	}
}

func TestWithoutIdempotenceADuplicateIsLegal(t *testing.T) {
	h := sound()
	h.Ops[7].Producer = 0
	h.Finals[0].Offsets = append(h.Finals[0].Offsets, 6)
	h.Finals[0].Values = append(h.Finals[0].Values, 401)
	h.Finals[0].End = 7
	if found := all(h); len(found) > 0 {
		t.Error(found)
	}
}

func TestARetryOfWhatWasRemovedMayBeNewToWhoBeganAnew(t *testing.T) {
	for _, tc := range []struct {
		start, beganAnew int64
		allowed          bool
	}{{3, 3, true}, {3, 0, false}, {3, 2, false}, {2, 3, false}} {
		h := sound()
		f := &h.Finals[0]
		f.Start, f.BeganAnew, f.End = tc.start, tc.beganAnew, 7
		f.Offsets, f.Values = append(f.Offsets[tc.start:], 6), append(f.Values[tc.start:], 200) // it stood at 2
		duplicate := slices.ContainsFunc(Log(h), func(a Anomaly) bool { return a.Kind == Duplicate })
		if duplicate == tc.allowed {
			t.Errorf("%+v: a duplicate is reported: %t", tc, duplicate)
		}
	}
}

// Both linearizability checks must agree on random histories, sound and not.
func TestPlacesAgreesWithPorcupine(t *testing.T) {
	broken := 0
	rapid.Check(t, func(t *rapid.T) {
		h := &History{}
		end, now := int64(0), int64(1)
		for range rapid.IntRange(2, 25).Draw(t, "ops") {
			now += rapid.Int64Range(0, 3).Draw(t, "gap")
			o := Op{Topic: "t", Outcome: OK, Call: now, Return: now + rapid.Int64Range(1, 8).Draw(t, "took")}
			if rapid.Bool().Draw(t, "send") {
				o.F, o.Values, o.Offset = Send, []int64{int64(len(h.Ops))}, end
				end++
			} else {
				o.F, o.Tail = Tail, max(0, end-rapid.Int64Range(0, 2).Draw(t, "behind"))
			}
			h.Ops = append(h.Ops, o)
		}
		p, w := Places(h), Window(h, 10*time.Second)
		if (len(p) == 0) != (len(w) == 0) {
			t.Fatalf("places %v, porcupine %v, history %+v", p, w, h.Ops)
		}
		if len(p) > 0 {
			broken++
		}
	})
	if broken == 0 {
		t.Error("no random history was broken: the comparison says nothing")
	}
}

func topicOp(f string, call, ret int64, outcome Outcome, found bool, id string) Op {
	return Op{F: f, Topic: "t", Call: call, Return: ret, Outcome: outcome, Found: found, TopicID: id}
}

func TestTopicsRegister(t *testing.T) {
	for _, tc := range []struct {
		name string
		ops  []Op
		bad  bool
	}{
		{"life and rebirth", []Op{
			topicOp(Create, 1, 2, OK, false, "a"), topicOp(Describe, 3, 4, OK, true, "a"),
			topicOp(Delete, 5, 6, OK, true, ""), topicOp(Describe, 7, 8, OK, false, ""),
			topicOp(Create, 9, 10, OK, false, "b"), topicOp(Describe, 11, 12, OK, true, "b"),
		}, false},
		{"seen before it was created", []Op{topicOp(Describe, 1, 2, OK, true, "a"), topicOp(Create, 3, 4, OK, false, "a")}, true},
		{"gone without a deletion", []Op{topicOp(Create, 1, 2, OK, false, "a"), topicOp(Describe, 3, 4, OK, false, "")}, true},
		{"created twice", []Op{topicOp(Create, 1, 2, OK, false, "a"), topicOp(Create, 3, 4, OK, false, "b")}, true},
		{"changed its id", []Op{topicOp(Create, 1, 2, OK, false, "a"), topicOp(Describe, 3, 4, OK, true, "b")}, true},
		{"back after its deletion", []Op{
			topicOp(Create, 1, 2, OK, false, "a"), topicOp(Delete, 3, 4, OK, true, ""), topicOp(Describe, 5, 6, OK, true, "a"),
		}, true},
		{"an unknown creation may come late", []Op{topicOp(Create, 1, Never, Info, false, ""), topicOp(Describe, 2, 3, OK, false, ""), topicOp(Describe, 4, 5, OK, true, "a")}, false},
		{"an unknown creation comes once", []Op{
			topicOp(Create, 1, Never, Info, false, ""), topicOp(Describe, 4, 5, OK, true, "a"),
			topicOp(Delete, 6, 7, OK, true, ""), topicOp(Describe, 8, 9, OK, true, "b"),
		}, true},
		{"an unknown deletion", []Op{topicOp(Create, 1, 2, OK, false, "a"), topicOp(Delete, 3, Never, Info, false, ""), topicOp(Describe, 4, 5, OK, false, "")}, false},
		{"a failed creation does nothing", []Op{topicOp(Create, 1, 2, Fail, false, ""), topicOp(Describe, 3, 4, OK, true, "a")}, true},
	} {
		found := Topics(&History{Ops: tc.ops}, 10*time.Second)
		if (len(found) > 0) != tc.bad {
			t.Errorf("%s: %v", tc.name, found)
		}
	}
}

func TestTopicsNamesTheOperationThatBreaksIt(t *testing.T) {
	found := Topics(&History{Ops: []Op{
		topicOp(Create, 1, 2, OK, false, "a"), topicOp(Describe, 3, 4, OK, true, "a"),
		topicOp(Describe, 5, 6, OK, false, ""), topicOp(Describe, 7, 8, OK, true, "a"),
	}}, 10*time.Second)
	if len(found) != 1 || !strings.Contains(found[0].Detail, "[5, 6]") {
		t.Error(found)
	}
}

func TestHistorySurvivesItsFile(t *testing.T) {
	h := sound()
	var b bytes.Buffer
	if err := h.Write(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b)
	if err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("%v\n%+v\n%+v", err, got, h)
	}
	if _, err := Read(strings.NewReader("{}\n")); err == nil {
		t.Error("an empty entry was accepted")
	}
	if _, err := Read(strings.NewReader(`{"op":{"f":"poll","offsets":[1,2],"values":[1]}}`)); err == nil {
		t.Error("offsets without values were accepted")
	}
	if _, err := Read(strings.NewReader("{\"op\":")); err == nil {
		t.Error("half an entry was accepted")
	}
}

func TestManyOperationsAreCheckedInLinearTime(t *testing.T) {
	h := &History{Finals: []Final{{Key: Key{"t", 0}}}}
	f := &h.Finals[0]
	const n = 100_000
	for i := int64(0); i < n; i++ {
		h.Ops = append(h.Ops, Op{F: Send, Topic: "t", Outcome: OK, Call: i, Return: i + 50, Producer: 1, Values: []int64{i}, Offset: i})
		f.Offsets, f.Values = append(f.Offsets, i), append(f.Values, i)
	}
	f.End = n
	if found := append(Log(h), Places(h)...); len(found) > 0 {
		t.Error(found[0])
	}
}

func BenchmarkLog(b *testing.B) {
	h := &History{Finals: []Final{{Key: Key{"t", 0}}}}
	f := &h.Finals[0]
	for i := int64(0); i < 10_000; i++ {
		h.Ops = append(h.Ops, Op{F: Send, Topic: "t", Outcome: OK, Call: i, Return: i + 5, Producer: 1, Values: []int64{i}, Offset: i})
		f.Offsets, f.Values = append(f.Offsets, i), append(f.Values, i)
	}
	f.End = 10_000
	for b.Loop() {
		if len(Log(h))+len(Places(h)) > 0 {
			b.Fatal("anomaly")
		}
	}
}

// offsets is a history of one register, one operation a line: process, function, call, return, outcome, value.
func offsets(t *testing.T, text string) *History {
	t.Helper()
	h := &History{}
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		op := Op{Topic: "g|t"}
		var value int64
		n, err := fmt.Sscan(line, &op.Process, &op.F, &op.Call, &op.Return, &op.Outcome, &value)
		if err != nil || n != 6 {
			t.Fatalf("%q: %v", line, err)
		}
		if op.Outcome == Info {
			op.Return = Never
		}
		if value >= 0 {
			op.Values = []int64{value}
		}
		h.Ops = append(h.Ops, op)
	}
	return h
}

func TestCommittedOffsetsAreRegisters(t *testing.T) {
	for _, test := range []struct{ name, kind, text string }{
		{"in order", "", `
			1 committed 1 2 ok -1
			1 commit 3 4 ok 10
			2 committed 5 6 ok 10
			1 commit 7 8 ok 11
			2 committed 9 10 ok 11`},
		{"at the same time, either way", "", `
			1 commit 1 9 ok 10
			2 commit 2 8 ok 11
			3 committed 10 11 ok 10
			3 committed 12 13 ok 10`},
		{"gone", NotOffset, `
			1 commit 1 2 ok 10
			2 committed 3 4 ok -1`},
		{"went back", NotOffset, `
			1 commit 1 2 ok 10
			1 commit 3 4 ok 11
			2 committed 5 6 ok 11
			2 committed 7 8 ok 10`},
		{"an unknown one appears late", "", `
			1 commit 1 2 info 10
			2 committed 3 4 ok -1
			1 commit 5 6 ok 11
			2 committed 7 8 ok 10`},
		{"an unknown one appears and goes", NotOffset, `
			1 commit 1 2 info 10
			2 committed 3 4 ok 10
			2 committed 5 6 ok -1`},
		{"refused and there", OffsetFenced, `
			1 commit 1 2 fail 10
			2 committed 3 4 ok 10`},
		{"of nobody", OffsetBorn, `
			2 committed 3 4 ok 10`},
	} {
		kind := ""
		if found := Offsets(offsets(t, test.text), time.Second); len(found) > 0 {
			kind = found[0].Kind
		}
		if kind != test.kind {
			t.Errorf("%s: %q instead of %q", test.name, kind, test.kind)
		}
	}
}

// TestADeposedLeaderMayBeOldForAWhile: a leader of epoch 3 that is deposed at 20 may tell for 10 more that the log ends where
// it did at 20, and nothing older, and not later.
func TestADeposedLeaderMayBeOldForAWhile(t *testing.T) {
	history := func(call, ret, tail int64, epoch int32) *History {
		h := sound()
		h.Leaderships, h.StaleMax = []Leadership{{Key: Key{"t", 0}, Epoch: 3, Until: 20}}, 10
		h.Ops = append(h.Ops,
			Op{Process: 5, F: Send, Outcome: OK, Call: 21, Return: 22, Topic: "t", Producer: 5, Values: []int64{500}, Offset: 6},
			Op{Process: 6, F: Tail, Outcome: OK, Call: call, Return: ret, Topic: "t", Tail: tail, Epoch: epoch})
		f := &h.Finals[0]
		f.End, f.Offsets, f.Values = 7, append(f.Offsets, 6), append(f.Values, 500)
		return h
	}
	for _, c := range []struct {
		what            string
		call, ret, tail int64
		epoch           int32
		want            bool
	}{
		{"as it was when it was deposed", 25, 26, 6, 3, true},
		{"asked in time, answered later", 30, 40, 6, 3, true},
		{"asked too late", 31, 40, 6, 3, false},
		{"older than that", 25, 26, 5, 3, false},
		{"told by the leader that there is", 25, 26, 6, 4, false},
	} {
		h := history(c.call, c.ret, c.tail, c.epoch)
		if got := len(Places(h)) == 0; got != c.want {
			t.Errorf("%s: allowed: %t, want %t", c.what, got, c.want)
		}
		if len(Window(h, 10*time.Second)) > 0 && c.want {
			t.Errorf("%s: porcupine is asked about it", c.what)
		}
	}
}
