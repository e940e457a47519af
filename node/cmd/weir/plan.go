package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/node/explain"
)

// shift is a partition that is to have other replicas, or the same in another order: the first is preferred to lead.
type shift struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	From      []int32 `json:"from"`
	To        []int32 `json:"to"`
}

// keepsReplicas reports whether only the order changes, so that nothing is copied.
func (s *shift) keepsReplicas() bool {
	a, b := slices.Sorted(slices.Values(s.From)), slices.Sorted(slices.Values(s.To))
	return slices.Equal(a, b)
}

// planner works out shifts, and keeps count of what each node would have.
type planner struct {
	s        *survey
	open     []int32 // nodes that may get replicas, ascending
	rack     map[int32]string
	replicas map[int32]int // when all shifts are done
	leads    map[int32]int // preferred leaders
	at       map[admin.Partition][]int32
	parts    []admin.Partition // in order
	// described are the partitions as they are.
	described map[admin.Partition]*admin.PartitionDescription
}

// newPlanner begins with what the moves under way lead to. Nodes that are down, and those that are closed, get nothing.
func newPlanner(s *survey, closed ...int32) *planner {
	p := &planner{s: s, rack: map[int32]string{}, replicas: map[int32]int{}, leads: map[int32]int{}, at: map[admin.Partition][]int32{}, described: map[admin.Partition]*admin.PartitionDescription{}}
	for _, b := range s.cluster.Brokers {
		p.rack[b.ID] = b.Rack
		if !b.Fenced && !slices.Contains(closed, b.ID) {
			p.open = append(p.open, b.ID)
		}
	}
	slices.Sort(p.open)
	s.partitions(func(t *admin.TopicDescription, d *admin.PartitionDescription) {
		tp := admin.Partition{Topic: t.Name, Partition: d.Partition}
		target := d.Replicas
		if m := s.move(t.Name, d.Partition); m != nil {
			target = without(m.Replicas, m.Removing...)
		}
		p.at[tp], p.described[tp], p.parts = target, d, append(p.parts, tp)
		p.count(target, 1)
	})
	return p
}

func (p *planner) count(replicas []int32, n int) {
	for _, r := range replicas {
		p.replicas[r] += n
	}
	if len(replicas) > 0 {
		p.leads[replicas[0]] += n
	}
}

// set plans other replicas for a partition.
func (p *planner) set(tp admin.Partition, to []int32) {
	p.count(p.at[tp], -1)
	p.at[tp] = to
	p.count(to, 1)
}

// shifts are what differs from how it is, or will be when what is under way has ended.
func (p *planner) shifts() (all []shift) {
	before := newPlanner(p.s)
	for _, tp := range p.parts {
		if from := before.at[tp]; !slices.Equal(from, p.at[tp]) {
			all = append(all, shift{tp.Topic, tp.Partition, from, p.at[tp]})
		}
	}
	return all
}

// leaveTo has another replica preferred wherever a node is: one in sync, on the node that leads least.
func (p *planner) leaveTo(node int32) {
	p.s.partitions(func(t *admin.TopicDescription, d *admin.PartitionDescription) {
		tp := admin.Partition{Topic: t.Name, Partition: d.Partition}
		replicas := p.at[tp]
		if len(replicas) < 2 || replicas[0] != node && d.Leader != node {
			return
		}
		others := slices.DeleteFunc(without(replicas, node), func(n int32) bool { return !slices.Contains(d.ISR, n) || !p.s.runs(n) })
		if len(others) == 0 {
			return
		}
		if replicas[0] != node && slices.Contains(others, replicas[0]) {
			return // it leads by accident: an election puts it right
		}
		first := slices.MinFunc(others, func(a, b int32) int { return cmp.Compare(p.leads[a], p.leads[b]) })
		p.set(tp, append([]int32{first}, without(replicas, first)...))
	})
}

// empty has others hold what a node holds. The failure says which partitions have nowhere to go.
func (p *planner) empty(node int32) error {
	var stuck []string
	for _, tp := range p.parts {
		replicas := p.at[tp]
		at := slices.Index(replicas, node)
		if at < 0 {
			continue
		}
		to, ok := p.best(without(replicas, node))
		if !ok {
			stuck = append(stuck, fmt.Sprintf("%s/%d", tp.Topic, tp.Partition))
			continue
		}
		next := slices.Clone(replicas)
		next[at] = to
		p.set(tp, next)
	}
	if len(stuck) > 0 {
		return fail(explain.TooFewNodes, "", fmt.Errorf("without node %d there is no node for a replica of %s: %s", node, amount(len(stuck), "partition"), some(stuck)))
	}
	return nil
}

// replicate has another number of nodes hold partitions. The failure says which have nowhere to go.
func (p *planner) replicate(parts map[admin.Partition]bool, factor int) error {
	var stuck []string
	for _, tp := range p.parts {
		if !parts[tp] {
			continue
		}
		replicas := slices.Clone(p.at[tp])
		for len(replicas) > factor {
			replicas = without(replicas, p.leastNeeded(tp, replicas))
		}
		for len(replicas) < factor {
			to, ok := p.best(replicas)
			if !ok {
				stuck = append(stuck, fmt.Sprintf("%s/%d", tp.Topic, tp.Partition))
				break
			}
			replicas = append(replicas, to)
		}
		p.set(tp, replicas)
	}
	if len(stuck) > 0 {
		return fail(explain.TooFewNodes, "", fmt.Errorf("%d replicas are on as many nodes, and of those that run %d may get new ones: %s stay below", factor, len(p.open), some(stuck)))
	}
	return nil
}

// leastNeeded is the replica to give up first: one that is down or not in sync, then one whose rack has another, then one that does
// not lead, then the one of the node that holds most.
func (p *planner) leastNeeded(tp admin.Partition, replicas []int32) int32 {
	d := p.described[tp]
	rank := func(n int32) (r [4]int) {
		if p.s.runs(n) && slices.Contains(d.ISR, n) {
			r[0] = 1
		}
		if p.rack[n] == "" || !slices.ContainsFunc(without(replicas, n), func(o int32) bool { return p.rack[o] == p.rack[n] }) {
			r[1] = 1
		}
		if n == d.Leader || n == replicas[0] {
			r[2] = 1
		}
		r[3] = -p.replicas[n]
		return r
	}
	return slices.MinFunc(replicas, func(a, b int32) int {
		x, y := rank(a), rank(b)
		return cmp.Or(slices.Compare(x[:], y[:]), cmp.Compare(b, a))
	})
}

// place has nodes hold partitions. A node that is down gets none that it does not have.
func (p *planner) place(parts map[admin.Partition]bool, nodes []int32) error {
	for _, n := range nodes {
		if _, err := p.s.mustNode(n); err != nil {
			return err
		}
	}
	for _, tp := range p.parts {
		if !parts[tp] {
			continue
		}
		for _, n := range nodes {
			if !p.s.runs(n) && !slices.Contains(p.at[tp], n) {
				return fail(explain.NodeDown, "", fmt.Errorf("node %d is not counted on: %s/%d cannot be moved onto it", n, tp.Topic, tp.Partition))
			}
		}
		p.set(tp, slices.Clone(nodes))
	}
	return nil
}

// best is the node that another replica should be on: of a rack that the others are not in if there is one, and then the
// one with the fewest replicas.
func (p *planner) best(others []int32) (int32, bool) {
	rank := func(n int32) [2]int {
		same := 0
		for _, o := range others {
			if p.rack[n] != "" && p.rack[o] == p.rack[n] {
				same++
			}
		}
		return [2]int{same, p.replicas[n]}
	}
	candidates := without(p.open, others...)
	if len(candidates) == 0 {
		return 0, false
	}
	return slices.MinFunc(candidates, func(a, b int32) int {
		x, y := rank(a), rank(b)
		return cmp.Or(cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]), cmp.Compare(a, b))
	}), true
}

// even moves replicas from nodes that hold more than others to those that hold fewer, and then has each preferred to lead
// about as often as others. With a node given, only that one gets replicas.
func (p *planner) even(onto int32) {
	for {
		targets := p.open
		if onto >= 0 {
			targets = []int32{onto}
		}
		if len(targets) == 0 {
			return // nobody runs that could get anything
		}
		least := slices.MinFunc(targets, func(a, b int32) int { return cmp.Or(cmp.Compare(p.replicas[a], p.replicas[b]), cmp.Compare(a, b)) })
		if !p.relieve(least) {
			break
		}
	}
	p.evenLeads()
}

// relieve gives a node one replica of a node that has at least two more, and reports whether there was one to give.
func (p *planner) relieve(to int32) bool {
	from := slices.Clone(p.open)
	slices.SortFunc(from, func(a, b int32) int { return cmp.Or(cmp.Compare(p.replicas[b], p.replicas[a]), cmp.Compare(a, b)) })
	for _, node := range from {
		if p.replicas[node]-p.replicas[to] < 2 {
			return false
		}
		for _, tp := range p.parts {
			replicas := p.at[tp]
			at := slices.Index(replicas, node)
			if at < 0 || slices.Contains(replicas, to) {
				continue
			}
			next := slices.Clone(replicas)
			next[at] = to
			if p.racks(next) < p.racks(replicas) {
				continue
			}
			p.set(tp, next)
			return true
		}
	}
	return false
}

// racks is in how many racks some nodes are.
func (p *planner) racks(nodes []int32) int {
	seen := map[string]bool{}
	for _, n := range nodes {
		seen[p.rack[n]] = true
	}
	return len(seen)
}

// evenLeads changes the order of replicas so that every node is preferred to lead about as often.
func (p *planner) evenLeads() {
	for changed := true; changed; {
		changed = false
		for _, tp := range p.parts {
			replicas := p.at[tp]
			for i, n := range replicas {
				if i > 0 && slices.Contains(p.open, n) && p.leads[replicas[0]]-p.leads[n] >= 2 {
					next := slices.Clone(replicas)
					next[0], next[i] = next[i], next[0]
					p.set(tp, next)
					changed = true
					break
				}
			}
		}
	}
}

func without(nodes []int32, gone ...int32) []int32 {
	return slices.DeleteFunc(slices.Clone(nodes), func(n int32) bool { return slices.Contains(gone, n) })
}
