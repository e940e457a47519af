package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/consumer"
	"github.com/weirmq/weir/jepsen/cluster"
	"github.com/weirmq/weir/jepsen/ledger"
)

func TestAGapIsChargedToTheLastFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGaps(2)
		g.begin()
		g.acked(0, time.Now())
		g.acked(1, time.Now())
		g.begun(1)
		time.Sleep(250 * time.Millisecond)
		g.acked(0, time.Now())
		g.acked(0, time.Now())
		if one, before := g.of(1), g.of(0); one != 250*time.Millisecond || before != 0 {
			t.Errorf("fault 1: %v, before it %v", one, before)
		}
		// The other partition is silent still.
		if p, since := g.silent(); p != 1 || since < 250*time.Millisecond || g.worstNow() < since {
			t.Errorf("partition %d is silent for %v, the worst gap is %v", p, since, g.worstNow())
		}
		g.end()
		time.Sleep(time.Millisecond)
		if worst := g.worstNow(); worst > g.ended.Sub(g.zero) {
			t.Errorf("a gap of %v after the load has ended", worst)
		}
		before := time.Now()
		time.Sleep(time.Millisecond)
		g.acked(0, before)
		if p, found := g.silentSince(before); !found || p != 1 {
			t.Errorf("partition %d has been silent, %v", p, found)
		}
		g.acked(1, before)
		if p, found := g.silentSince(before); found {
			t.Errorf("partition %d has been silent", p)
		}
		for _, l := range g.longest() {
			if l.Fault != 1 || l.Ms < 250 || l.Partition > 1 {
				t.Errorf("%+v", l)
			}
		}
		if n := len(g.longest()); n != 2 {
			t.Errorf("%d gaps", n)
		}
	})
}

// Every kind of fault comes, on every node, the same with the same seed.
func TestASeedIsAPlan(t *testing.T) {
	t.Parallel()
	plan := func(seed uint64) (all []string, kinds map[string]bool, nodes map[int]bool) {
		n := &nemesis{cluster: &cluster.Cluster{Nodes: make([]*cluster.Node, 3)}, rand: rand.New(rand.NewPCG(seed, 0)), gaps: newGaps(1)}
		kinds, nodes = map[string]bool{}, map[int]bool{}
		for range 3 * len(deck) {
			f := n.draw()
			all = append(all, f.String())
			kinds[f.Kind], nodes[f.Node] = true, true
			if f.Kind == CutLink && (f.Other == f.Node || f.Other < 1 || f.Other > 3) || f.Kind != CutLink && f.Other != 0 {
				t.Errorf("seed %d: %+v", seed, f)
			}
		}
		return all, kinds, nodes
	}
	for seed := range uint64(50) {
		all, has, nodes := plan(seed)
		if len(has) != len(Kinds) || len(nodes) != 3 {
			t.Errorf("seed %d: kinds %v, nodes %v", seed, has, nodes)
		}
		if again, _, _ := plan(seed); strings.Join(all, "\n") != strings.Join(again, "\n") {
			t.Errorf("seed %d: another plan the second time", seed)
		}
	}
}

func TestFaultsCanBeChosen(t *testing.T) {
	t.Parallel()
	n := &nemesis{cluster: &cluster.Cluster{Nodes: make([]*cluster.Node, 3)}, rand: rand.New(rand.NewPCG(1, 0)), kinds: []string{Pause, CutLink}}
	seen := map[string]int{}
	for range 30 {
		seen[n.draw().Kind]++
	}
	if len(seen) != 2 || seen[Pause] == 0 || seen[CutLink] == 0 {
		t.Errorf("%v", seen)
	}
	if _, err := Start(t.Context(), Options{Kinds: []string{"pauze"}}); err == nil || !strings.Contains(err.Error(), "cut-link") {
		t.Errorf("%v", err)
	}
}

// described stands in for a node.
type described struct {
	isr    []int32
	leader int32
	err    error
}

func (d described) DescribeTopics(context.Context, ...string) ([]admin.TopicDescription, error) {
	return []admin.TopicDescription{{Partitions: []admin.PartitionDescription{{Leader: d.leader, Replicas: []int32{1, 2, 3}, ISR: d.isr}}}}, d.err
}

func TestWholeIsWhatEveryNodeSees(t *testing.T) {
	t.Parallel()
	good := described{isr: []int32{3, 2, 1}, leader: 1}
	for name, tc := range map[string]struct {
		second described
		says   string
	}{
		"all in sync":           {good, ""},
		"one is missing":        {described{isr: []int32{1, 2}, leader: 1}, "node 2: partition 0: leader 1, in sync are [1 2] of [1 2 3]"},
		"there is no leader":    {described{isr: []int32{1, 2, 3}, leader: -1}, "node 2: partition 0: leader -1"},
		"the node answers not":  {described{err: errors.New("gone")}, "node 2: gone"},
		"it has an old opinion": {described{isr: []int32{2}, leader: 2}, "node 2: partition 0: leader 2"},
	} {
		n := &nemesis{each: []describer{good, tc.second, good}}
		if got := n.missing(t.Context()); got != tc.says && (tc.says == "" || !strings.HasPrefix(got, tc.says)) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestARecordIsKnownByItsNumber(t *testing.T) {
	t.Parallel()
	l := &load{seed: 7}
	for n := range int64(500) {
		rec := consumer.Record{Partition: int32(n % 5), Value: l.value(nil, int32(n%5), n)}
		if got, _, ok := l.read(nil, &rec); !ok || got != n {
			t.Fatalf("record %d was taken for %d, %v", n, got, ok)
		}
		rec.Value[int(n)%len(rec.Value)] ^= 1
		if got, _, ok := l.read(nil, &rec); ok {
			t.Fatalf("record %d with a flipped bit was taken for %d", n, got)
		}
		rec.Value[int(n)%len(rec.Value)] ^= 1
		rec.Partition++
		if _, _, ok := l.read(nil, &rec); ok {
			t.Fatalf("record %d was taken in another partition", n)
		}
	}
	if _, _, ok := l.read(nil, &consumer.Record{}); ok {
		t.Error("an empty record was taken")
	}
}

// Whoever does not get into the group at all is given nothing, too.
func TestAMemberThatIsGivenNothingIsAFinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for first, found := range map[time.Duration]bool{silenceMax - time.Second: false, silenceMax + time.Second: true} {
			l := &load{partitions: 1, gaps: newGaps(1)}
			m := newMember(l)
			m.begin()
			time.Sleep(first)
			m.given(0, 0)
			m.end()
			time.Sleep(2 * silenceMax)
			if c := m.judged(); (len(l.faults) > 0) != found || c.SilenceMs != ms(first) || c.Read != 1 {
				t.Errorf("the first record after %v: %+v, %q", first, c, l.faults)
			}
		}
	})
}

func TestTheVerdict(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		report Report
		says   string // empty: all is well
	}{
		"kept":               {Report{Counts: ledger.Counts{Sent: 3, Acked: 2, Read: 3}}, ""},
		"lost":               {Report{Counts: ledger.Counts{Acked: 2, Read: 2, Lost: 1}, Findings: []string{"lost: x"}}, "lost 1"},
		"duplicated":         {Report{Counts: ledger.Counts{Acked: 2, Read: 2, Duplicated: 1}}, "duplicated 1"},
		"something else":     {Report{Counts: ledger.Counts{Acked: 2, Read: 2}, Findings: []string{"consumer: out of range"}}, "out of range"},
		"not all was read":   {Report{Counts: ledger.Counts{Acked: 2, Read: 1}}, "2 records were acknowledged and 1 read"},
		"nothing was tested": {Report{}, "shows nothing"},
		"it did not recover": {Report{Counts: ledger.Counts{Acked: 2, Read: 2}, Failure: "1m0s after it was mended"}, "1m0s after"},
	} {
		err := tc.report.Err()
		if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
		var text strings.Builder
		if err := tc.report.Write(&text); err != nil || strings.Contains(text.String(), "every promise was kept") != (tc.says == "") {
			t.Errorf("%s: %v\n%s", name, err, text.String())
		}
	}
}
