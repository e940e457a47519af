package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// What must be so of the replicas of a partition once everything has healed.

// leads reports whether a node leads a partition, as far as it knows.
func (n *node) leads(tp model.TopicPartition) bool {
	p := n.state(tp)
	return p != nil && p.Leader == model.NodeID(n.id)
}

// state is what a node knows of a partition; nil if nothing.
func (n *node) state(tp model.TopicPartition) *metadata.Partition {
	if t := n.process.published.View.Identified(tp.Topic); t != nil {
		return t.Partition(tp.Partition)
	}
	return nil
}

// apart says which replicas are not in sync, or not as far as others; "" if all agree.
func (w *world) apart() string {
	if len(w.nodes) == 1 {
		return ""
	}
	for _, n := range w.nodes {
		if !n.serves() {
			return fmt.Sprintf("node %d is not up", n.id)
		}
	}
	for _, tp := range w.judged() {
		first := w.nodes[0].state(tp)
		if first == nil {
			return fmt.Sprintf("node %d does not know %v", w.nodes[0].id, tp)
		}
		end := model.NoOffset
		for _, n := range w.nodes {
			p := n.state(tp)
			if p == nil || p.Leader != first.Leader || p.PartitionEpoch != first.PartitionEpoch {
				return fmt.Sprintf("nodes 1 and %d know %v differently", n.id, tp)
			}
			if len(p.ISR) < len(p.Replicas) {
				return fmt.Sprintf("%v has replicas %v and %v are in sync, led by %d", tp, p.Replicas, p.ISR, p.Leader)
			}
			b, here := n.process.broker.Bounds(tp)
			if here != p.IsReplica(model.NodeID(n.id)) {
				return fmt.Sprintf("%v has replicas %v; node %d has one: %t", tp, p.Replicas, n.id, here)
			}
			if !here {
				continue
			}
			if end == model.NoOffset {
				end = b.HighWatermark
			}
			if b.HighWatermark != end {
				return fmt.Sprintf("%v: a replica's high watermark is %d, that of node %d %d", tp, end, n.id, b.HighWatermark)
			}
		}
	}
	return ""
}

// whole reports whether no disk that was lost is missed any more: every node is counted on with the disk that it has, every
// replica is in sync, and who votes does so from a disk that there is.
func (w *world) whole() bool {
	view := w.newest()
	if view == nil {
		return false
	}
	for _, n := range w.nodes {
		r := view.Broker(model.NodeID(n.id))
		if !n.serves() || r == nil || r.Fenced || !slices.Contains(r.Directories, n.directory()) {
			return false
		}
	}
	for t := range view.Topics {
		for _, p := range t.Partitions {
			if len(p.ISR) < len(p.Replicas) {
				return false
			}
		}
	}
	led := false
	for _, n := range w.nodes {
		state, voters, _ := n.process.broker.Vote()
		if !state.Leads || state.Term < w.term {
			continue
		}
		led = true
		if len(voters.Before) > 0 {
			return false // those of before are needed as well, until the change of the voters is through
		}
		for _, v := range voters.Now {
			at := w.nodeOf(v)
			if at == 0 || broker.VoterOf(model.NodeID(at), w.node(at).directory()) != v {
				return false
			}
			// A voter that has not heard that the change is through asks those of before, too, if the leader is lost.
			if _, seen, _ := w.node(at).process.broker.Vote(); len(seen.Before) > 0 || !slices.Equal(seen.Now, voters.Now) {
				return false
			}
		}
	}
	return led
}

// spareVoter reports whether a node's disk may be lost although an operator goes on changing who votes, as of a moment ago: whoever
// of the voters is left then can elect. And whoever founded the cluster must find one of the others that it was founded with
// among them, or it would found another (docs/OPERATIONS.md).
func (w *world) spareVoter(id int64) bool {
	removals := 0
	for _, l := range w.plan.Loads {
		if l.Kind == "voters" {
			removals += int(l.Clients)
		}
	}
	if removals == 0 {
		return true
	}
	if id == 0 {
		return false // what hits every node leaves nobody
	}
	listed := w.node(int(id)).voters()
	for _, n := range w.nodes {
		state, voters, _ := n.process.broker.Vote()
		if !state.Leads || state.Term < w.term {
			continue
		}
		learns := func(v model.VoterID) bool { return int64(w.nodeOf(v)) == id }
		if slices.ContainsFunc(voters.Learners, learns) {
			return false // it may be made a voter before its silence is noticed, and another be removed
		}
		votes, founders := false, 0
		for _, v := range voters.Now {
			at := w.nodeOf(v)
			votes = votes || int64(at) == id
			if int64(at) != id && slices.ContainsFunc(listed, func(a broker.VoterAddress) bool { return int(a.Node) == at }) {
				founders++
			}
		}
		if int64(listed[0].Node) == id && founders == 0 {
			return false
		}
		left := len(voters.Now) - removals
		return !votes || left-1 > left/2
	}
	return false
}

// node is one of the nodes, by its id.
func (w *world) node(id int) *node {
	return w.nodes[slices.IndexFunc(w.nodes, func(n *node) bool { return n.id == id })]
}

// standing says how every replica stands, for reports.
func (w *world) standing() string {
	if len(w.nodes) == 1 {
		return ""
	}
	var b strings.Builder
	for _, n := range w.nodes {
		if n.process == nil {
			fmt.Fprintf(&b, "; node %d is down", n.id)
			continue
		}
		v := n.process.published.View
		fmt.Fprintf(&b, "; node %d: metadata to %d, brokers", n.id, v.Version())
		for r := range v.Brokers {
			fmt.Fprintf(&b, " %d", r.ID)
			if r.Fenced {
				b.WriteString(" (fenced)")
			}
		}
		for t := range v.Topics {
			for i, p := range t.Partitions {
				bounds, _ := n.process.broker.Bounds(model.TopicPartition{Topic: t.ID, Partition: i})
				fmt.Fprintf(&b, ", %s/%d leader %d epoch %d/%d isr %v elr %v high watermark %d", t.Name, i, p.Leader, p.LeaderEpoch, p.PartitionEpoch,
					p.ISR, p.ELR, bounds.HighWatermark)
			}
		}
	}
	return b.String()
}

// judged are the partitions of the loads' topics, as far as the first node knows them.
func (w *world) judged() (all []model.TopicPartition) {
	v := w.nodes[0].process.published.View
	for _, load := range w.loads {
		for _, topic := range load.Topics() {
			t := v.Named(topic)
			if t == nil {
				continue
			}
			for i := range load.Partitions() {
				all = append(all, model.TopicPartition{Topic: t.ID, Partition: model.Partition(i)})
			}
		}
	}
	return all
}

// compare holds the replicas of every partition against each other, up to the high watermark.
func (w *world) compare() {
	if len(w.nodes) == 1 || w.damaged() || w.violation != nil {
		return
	}
	for _, tp := range w.judged() {
		var want []ghostBatch
		first, start := (*node)(nil), w.greatestStart(tp)
		for _, n := range w.nodes {
			if p := n.state(tp); p == nil || !p.IsReplica(model.NodeID(n.id)) {
				continue
			}
			got, err := n.batches(tp, start)
			switch {
			case err != nil:
				w.fail("final-read", fmt.Sprintf("%v on node %d: %v", tp, n.id, err))
				return
			case first == nil:
				want, first = got, n
			default:
				for k := range max(len(want), len(got)) {
					if k >= len(want) || k >= len(got) || want[k] != got[k] {
						w.fail("replicas-differ", fmt.Sprintf("%v: batch %d of node %d is %v, of node %d %v", tp, k,
							first.id, batchAt(want, k), n.id, batchAt(got, k)))
						return
					}
				}
			}
		}
	}
}

// greatestStart is where the log of the replica starts that starts last: followers remove by themselves.
func (w *world) greatestStart(tp model.TopicPartition) (start model.Offset) {
	for _, n := range w.nodes {
		b, _ := n.process.broker.Bounds(tp)
		start = max(start, b.LogStartOffset)
	}
	return start
}

// batches are what a node has of a partition from an offset to the high watermark.
func (n *node) batches(tp model.TopicPartition, from model.Offset) (all []ghostBatch, err error) {
	bounds, _ := n.process.broker.Bounds(tp)
	err = n.process.engine.ReadAll(tp, func(b record.Batch) error {
		if b.BaseOffset() < bounds.HighWatermark && b.NextOffset() > from {
			all = append(all, ghostBatch{
				base: b.BaseOffset(), next: b.NextOffset(), crc: b.CRC(), epoch: b.LeaderEpoch(), size: int32(b.SizeBytes()),
				maxTimestamp: b.MaxTimestamp(), producer: producerOf(b),
			})
		}
		return nil
	})
	return slices.Clip(all), err
}

func batchAt(all []ghostBatch, i int) string {
	if i >= len(all) {
		return "none"
	}
	b := all[i]
	return fmt.Sprintf("[%d,%d) epoch %d crc %08x", b.base, b.next, b.epoch, b.crc)
}
