package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/node/explain"
)

// drawSurvey is some cluster: racks, nodes that are down, topics whose replicas are anywhere.
func drawSurvey(r *rapid.T) *survey {
	s := &survey{}
	nodes, racks := rapid.IntRange(1, 8).Draw(r, "nodes"), rapid.IntRange(0, 3).Draw(r, "racks")
	for id := range int32(nodes) {
		b := admin.Broker{ID: id + 1, Fenced: rapid.IntRange(0, 9).Draw(r, "down") == 0}
		if racks > 0 {
			b.Rack = fmt.Sprint(rapid.IntRange(1, racks).Draw(r, "rack"))
		}
		s.cluster.Brokers = append(s.cluster.Brokers, b)
	}
	for i := range rapid.IntRange(1, 4).Draw(r, "topics") {
		t := admin.TopicDescription{Name: fmt.Sprintf("t%d", i)}
		factor := rapid.IntRange(1, min(4, nodes)).Draw(r, "factor")
		for p := range int32(rapid.IntRange(1, 12).Draw(r, "partitions")) {
			d := admin.PartitionDescription{Partition: p, Leader: -1}
			d.Replicas = rapid.Permutation(ids(nodes)).Draw(r, "replicas")[:factor]
			for _, n := range d.Replicas {
				if s.runs(n) {
					if d.Leader < 0 {
						d.Leader = n
					}
					d.ISR = append(d.ISR, n)
				}
			}
			t.Partitions = append(t.Partitions, d)
		}
		s.topics = append(s.topics, t)
	}
	return s
}

func ids(n int) (out []int32) {
	for i := range int32(n) {
		out = append(out, i+1)
	}
	return out
}

// check verifies what every plan keeps: as many replicas as there were, on different nodes, and nothing new on a node that
// is down.
func (p *planner) check(r *rapid.T) {
	for _, s := range p.shifts() {
		if len(s.To) != len(s.From) {
			r.Fatalf("%+v: another number of replicas", s)
		}
		for i, n := range s.To {
			if slices.Contains(s.To[:i], n) {
				r.Fatalf("%+v: node %d twice", s, n)
			}
			if !slices.Contains(s.From, n) && !slices.Contains(p.open, n) {
				r.Fatalf("%+v: node %d gets a replica", s, n)
			}
		}
	}
	counts := newPlanner(p.s)
	for _, tp := range p.parts {
		counts.set(tp, p.at[tp])
	}
	for _, b := range p.s.cluster.Brokers {
		if counts.replicas[b.ID] != p.replicas[b.ID] || counts.leads[b.ID] != p.leads[b.ID] {
			r.Fatalf("node %d is counted wrongly", b.ID)
		}
	}
}

func TestADrainedNodeHoldsNothing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := drawSurvey(r)
		node := rapid.SampledFrom(s.cluster.Brokers).Draw(r, "node").ID
		p := newPlanner(s, node)
		err := p.empty(node)
		p.check(r)
		for tp, replicas := range p.at {
			if !slices.Contains(replicas, node) {
				continue
			}
			var f *failure
			if !errors.As(err, &f) || f.code != explain.TooFewNodes {
				r.Fatalf("%v still has %v: %v", tp, replicas, err)
			}
			if others := without(p.open, replicas...); len(others) > 0 {
				r.Fatalf("%v could go to %v, and stays on %v", tp, others, replicas)
			}
		}
	})
}

func TestANodeThatIsRelievedLeadsNothingThatOthersCould(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := drawSurvey(r)
		node := rapid.SampledFrom(s.cluster.Brokers).Draw(r, "node").ID
		p := newPlanner(s, node)
		p.leaveTo(node)
		p.check(r)
		for _, shift := range p.shifts() {
			if !shift.keepsReplicas() {
				r.Fatalf("%+v copies", shift)
			}
		}
		s.partitions(func(t *admin.TopicDescription, d *admin.PartitionDescription) {
			others := slices.DeleteFunc(slices.Clone(d.ISR), func(n int32) bool { return n == node })
			if first := p.at[admin.Partition{Topic: t.Name, Partition: d.Partition}][0]; first == node && len(others) > 0 {
				r.Fatalf("%s/%d is led by %d, and %v could", t.Name, d.Partition, node, others)
			}
		})
	})
}

func TestCopiesAreAddedApartAndThoseThatLackSomethingGoFirst(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := drawSurvey(r)
		s.partitions(func(_ *admin.TopicDescription, d *admin.PartitionDescription) {
			if len(d.ISR) > 1 && rapid.Bool().Draw(r, "one lags") {
				d.ISR = without(d.ISR, d.ISR[len(d.ISR)-1])
			}
		})
		p := newPlanner(s)
		chosen := map[admin.Partition]bool{}
		for _, tp := range p.parts {
			chosen[tp] = rapid.IntRange(0, 3).Draw(r, "chosen") > 0
		}
		factor := rapid.IntRange(1, 5).Draw(r, "factor")
		err := p.replicate(chosen, factor)
		s.partitions(func(t *admin.TopicDescription, d *admin.PartitionDescription) {
			tp := admin.Partition{Topic: t.Name, Partition: d.Partition}
			to := p.at[tp]
			gone, added := without(d.Replicas, to...), without(to, d.Replicas...)
			switch {
			case !chosen[tp]:
				if !slices.Equal(to, d.Replicas) {
					r.Fatalf("%v was not meant, and goes from %v to %v", tp, d.Replicas, to)
				}
				return
			case len(to) > factor, len(gone) > 0 && len(added) > 0:
				r.Fatalf("%v goes from %v to %v for %d", tp, d.Replicas, to, factor)
			case len(to) < factor:
				var f *failure
				if others := without(p.open, to...); !errors.As(err, &f) || f.code != explain.TooFewNodes || len(others) > 0 {
					r.Fatalf("%v has %v, could have %v, and %v is said", tp, to, others, err)
				}
			}
			for i, n := range to {
				if slices.Contains(to[:i], n) || slices.Contains(added, n) && !slices.Contains(p.open, n) {
					r.Fatalf("%v goes to %v", tp, to)
				}
				for _, g := range gone {
					if slices.Contains(d.ISR, g) && !slices.Contains(d.ISR, n) {
						r.Fatalf("%v: %d has everything and goes, %d does not and stays", tp, g, n)
					}
				}
			}
			for _, n := range added {
				others := without(to, n)
				for _, m := range without(p.open, to...) {
					if p.racks(append(slices.Clone(others), m)) > p.racks(to) {
						r.Fatalf("%v: node %d would be in another rack than %v, and %d is not", tp, m, others, n)
					}
				}
			}
		})
	})
}

func TestABalancedClusterIsEven(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := drawSurvey(r)
		for i := range s.cluster.Brokers {
			s.cluster.Brokers[i].Fenced = false
		}
		p := newPlanner(s)
		before := newPlanner(s)
		p.even(-1)
		p.check(r)
		racks := false
		for _, b := range s.cluster.Brokers {
			racks = racks || b.Rack != ""
		}
		for _, tp := range p.parts {
			if p.racks(p.at[tp]) < before.racks(before.at[tp]) {
				r.Fatalf("%v was in %d racks and is in %d", tp, before.racks(before.at[tp]), p.racks(p.at[tp]))
			}
		}
		least, most := 1<<30, 0
		for _, n := range p.open {
			least, most = min(least, p.replicas[n]), max(most, p.replicas[n])
		}
		if !racks && most-least > 1 {
			r.Fatalf("nodes hold %d to %d replicas: %v", least, most, p.at)
		}
		again := newPlanner(s)
		for _, tp := range p.parts {
			again.set(tp, p.at[tp])
		}
		if again.evenLeads(); len(again.at) != len(p.at) || !slices.EqualFunc(p.parts, p.parts, func(a, b admin.Partition) bool { return slices.Equal(p.at[a], again.at[b]) }) {
			r.Fatal("leaders are not even after they were evened out")
		}
	})
}

func TestAClusterOfWhichNothingRunsIsLeftAlone(t *testing.T) {
	s := &survey{cluster: admin.Cluster{Brokers: []admin.Broker{{ID: 1, Fenced: true}}}}
	p := newPlanner(s)
	if p.even(-1); len(p.shifts()) != 0 {
		t.Fatal(p.shifts())
	}
}

// min.insync.replicas=0 is a majority, of the replicas without those that a move brings.
func TestPartitionsUnderTheirMinimum(t *testing.T) {
	p := admin.PartitionDescription{Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1}}
	adding := []admin.Move{{Partition: admin.Partition{Topic: "t"}, Adding: []int32{2, 3}}}
	for _, c := range []struct {
		inSyncMin map[string]int
		moves     []admin.Move
		under     bool
	}{
		{nil, nil, false}, // not told
		{map[string]int{"t": 0}, nil, true},
		{map[string]int{"t": 1}, nil, false},
		{map[string]int{"t": 2}, nil, true},
		{map[string]int{"t": 0}, adding, false},
		{map[string]int{"t": 3}, adding, false},
	} {
		s := &survey{inSyncMin: c.inSyncMin, moves: c.moves}
		if got := s.underMin("t", &p); got != c.under {
			t.Errorf("%+v: %t", c, got)
		}
	}
}

// One partition that is gone is no reason to forget what is wrong with another.
func TestWhatIsGoneHidesNothing(t *testing.T) {
	gone, other := fmt.Errorf("t/1: %w", kerr.UnknownTopicOrPartition), fmt.Errorf("t/2: %w", kerr.InvalidReplicaAssignment)
	if !isGone(gone) || !isGone(errors.Join(gone, gone)) || isGone(other) || isGone(errors.Join(gone, other)) {
		t.Fatal("gone and not gone are mixed up")
	}
}

func TestANewNodeGetsItsShareAndOthersGetNothing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := drawSurvey(r)
		onto := int32(len(s.cluster.Brokers) + 1)
		s.cluster.Brokers = append(s.cluster.Brokers, admin.Broker{ID: onto})
		p := newPlanner(s)
		p.even(onto)
		p.check(r)
		for _, shift := range p.shifts() {
			for _, n := range shift.To {
				if n != onto && !slices.Contains(shift.From, n) {
					r.Fatalf("%+v: node %d gets a replica", shift, n)
				}
			}
		}
	})
}
