package controller

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// AddPartitions is how many partitions a topic is to have.
type AddPartitions struct {
	Name  string
	Count int32 // in all
	// Assigned says that Assignments places the new partitions by hand, in order.
	Assigned    bool
	Assignments [][]model.NodeID
}

// Extend asks for topics to get more partitions; the answer is an effect.PartitionsCreated.
func (c *Controller) Extend(to effect.RequestID, topics []AddPartitions, validateOnly bool, out *effect.Set) {
	r := &request{
		to:     to,
		decide: func(t *turn) effect.Body { return &effect.PartitionsCreated{Topics: t.extend(topics)} },
		refuse: func(code int16, why string) effect.Body {
			answer := &effect.PartitionsCreated{}
			for i := range topics {
				answer.Topics = append(answer.Topics, effect.TopicExtended{Name: topics[i].Name, Code: code, Message: why})
			}
			return answer
		},
	}
	if validateOnly {
		c.dry(r, out)
		return
	}
	c.ask(r, out)
}

func (t *turn) extend(topics []AddPartitions) (added []effect.TopicExtended) {
	named := make(map[string]int, len(topics))
	for i := range topics {
		named[topics[i].Name]++
	}
	for i := range topics {
		in := &topics[i]
		answer := effect.TopicExtended{Name: in.Name}
		var why *refusal
		if named[in.Name] > 1 {
			why = &refusal{kerr.InvalidRequest, fmt.Sprintf("topic %q is named twice in one request", metadata.Shown(in.Name))}
		} else {
			why = t.add(in)
		}
		if why != nil {
			answer.Code, answer.Message = why.error.Code, why.message
		}
		added = append(added, answer)
	}
	return added
}

func (t *turn) add(in *AddPartitions) *refusal {
	topic := t.image().Named(in.Name)
	if topic == nil {
		return &refusal{kerr.UnknownTopicOrPartition, fmt.Sprintf("topic %q does not exist", metadata.Shown(in.Name))}
	}
	has := int32(topic.PartitionCount())
	switch {
	case metadata.Internal(in.Name):
		// A group belongs to a partition by their number: with another it would be looked for in the wrong one.
		return &refusal{kerr.InvalidTopicException, fmt.Sprintf("topic %q is the cluster's own: its partitions cannot change", in.Name)}
	case in.Count == has:
		return &refusal{kerr.InvalidPartitions, fmt.Sprintf("topic %q has %d partitions already", in.Name, has)}
	case in.Count < has:
		return &refusal{kerr.InvalidPartitions, fmt.Sprintf("topic %q has %d partitions; %d would be fewer, and partitions cannot be taken away", in.Name, has, in.Count)}
	}
	more := int(in.Count - has)
	if why := t.room(more); why != nil {
		return why
	}
	first := topic.Partition(0)
	var replicas [][]model.NodeID
	if in.Assigned {
		if len(in.Assignments) != more {
			return &refusal{kerr.InvalidReplicaAssignment, fmt.Sprintf("%d assignments for %d new partitions", len(in.Assignments), more)}
		}
		for i, nodes := range in.Assignments {
			if why := t.checkAssignment(has+int32(i), nodes, len(first.Replicas)); why != nil {
				return why
			}
		}
		replicas = in.Assignments
	} else {
		placed, why := t.place(topic.ID, int(has), more, len(first.Replicas)-len(first.Adding))
		if why != nil {
			return why
		}
		replicas = placed
	}
	for i, nodes := range replicas {
		t.addPartition(model.TopicPartition{Topic: topic.ID, Partition: model.Partition(has) + model.Partition(i)}, nodes)
	}
	return nil
}

// room refuses what would be too many partitions.
func (t *turn) room(more int) *refusal {
	if has := t.image().PartitionCount(); has+more > t.c.config.PartitionCountMax {
		return &refusal{kerr.PolicyViolation, fmt.Sprintf("this cluster takes %d partitions and has %d", t.c.config.PartitionCountMax, has)}
	}
	return nil
}

// assign chooses the replicas of a new topic's partitions, or takes them as they are given.
func (t *turn) assign(in *CreateTopic, id model.TopicID) ([][]model.NodeID, *refusal) {
	if len(in.Assignments) > 0 {
		return t.assigned(in)
	}
	count, factor := int(in.PartitionCount), int(in.ReplicationFactor)
	switch {
	case count == -1:
		count = int(t.view.Node().PartitionCountDefault)
	case count < 1:
		return nil, &refusal{kerr.InvalidPartitions, fmt.Sprintf("a topic has at least one partition, not %d", count)}
	case count > t.c.config.PartitionCountMax:
		return nil, &refusal{kerr.InvalidPartitions, fmt.Sprintf("%d partitions; this cluster takes %d in all", count, t.c.config.PartitionCountMax)}
	}
	if factor == -1 {
		factor = t.defaultFactor()
	}
	if factor < 1 {
		return nil, &refusal{kerr.InvalidReplicationFactor, fmt.Sprintf("replication factor %d: it is at least 1", factor)}
	}
	if why := t.room(count); why != nil {
		return nil, why
	}
	return t.place(id, 0, count, factor)
}

// assigned checks assignments that somebody made.
func (t *turn) assigned(in *CreateTopic) ([][]model.NodeID, *refusal) {
	if in.PartitionCount != -1 || in.ReplicationFactor != -1 {
		return nil, &refusal{kerr.InvalidRequest, "a topic with assignments has neither a partition count nor a replication factor"}
	}
	out := make([][]model.NodeID, len(in.Assignments))
	for _, a := range in.Assignments {
		if a.Partition < 0 || int(a.Partition) >= len(out) || out[a.Partition] != nil {
			return nil, &refusal{kerr.InvalidReplicaAssignment, "assignments number the partitions from 0 without gaps"}
		}
		if why := t.checkAssignment(int32(a.Partition), a.Replicas, len(in.Assignments[0].Replicas)); why != nil {
			return nil, why
		}
		out[a.Partition] = a.Replicas
	}
	return out, nil
}

func (t *turn) checkAssignment(partition int32, nodes []model.NodeID, factor int) *refusal {
	switch {
	case len(nodes) == 0 || len(nodes) != factor:
		return &refusal{kerr.InvalidReplicaAssignment, fmt.Sprintf("partition %d is assigned to %d nodes, and others to %d", partition, len(nodes), factor)}
	}
	active := false
	for i, node := range nodes {
		b := t.image().Broker(node)
		if b == nil {
			return &refusal{kerr.InvalidReplicaAssignment, fmt.Sprintf("partition %d is assigned to node %d, which is not registered", partition, node)}
		}
		if slices.Contains(nodes[:i], node) {
			return &refusal{kerr.InvalidReplicaAssignment, fmt.Sprintf("partition %d is assigned to node %d twice", partition, node)}
		}
		active = active || b.Active()
	}
	if !active {
		return &refusal{kerr.InvalidReplicaAssignment, fmt.Sprintf("of the nodes that partition %d is assigned to none is running", partition)}
	}
	return nil
}

// defaultFactor is the replication factor of who names none.
func (t *turn) defaultFactor() int {
	if n := t.c.config.ReplicationFactorDefault; n > 0 {
		return int(n)
	}
	return factorUpTo(3, t.image())
}

// factorUpTo is a replication factor, or as many as there are brokers if that is less.
func factorUpTo(wanted int, image *metadata.Image) int {
	return max(1, min(wanted, image.BrokerCount()))
}

// cordoned reports whether a broker gets no new partitions: it said so itself, or it was set for it (cordoned.log.dirs).
func (t *turn) cordoned(b *metadata.Broker) bool {
	for _, name := range []string{strconv.Itoa(int(b.ID)), ""} {
		if v, set := metadata.SettingValue(t.image().NodeSettings(name), "cordoned.log.dirs"); set {
			return v != ""
		}
	}
	return len(b.Cordoned) > 0
}

// place chooses replicas for partitions, from a number on. A broker that is down gets none, unless those that run are too few: then it gets
// the last of each partition, and takes its place when it is back. Else nothing could be made in a cluster of three while one restarts.
func (t *turn) place(id model.TopicID, from, count, factor int) ([][]model.NodeID, *refusal) {
	var running, down []site
	for b := range t.image().Brokers {
		switch s := (site{b.ID, b.Rack}); {
		case t.cordoned(b):
		case b.Active():
			running = append(running, s)
		default:
			down = append(down, s)
		}
	}
	if len(running) == 0 || len(running)+len(down) < factor {
		return nil, &refusal{kerr.InvalidReplicationFactor, fmt.Sprintf("replication factor: %d, brokers that take new partitions: %d, of which run: %d", factor, len(running)+len(down), len(running))}
	}
	first, last := ringOf(running), ringOf(down)
	missing := max(0, factor-len(running))
	start := int(xxhash.Sum64(id[:]) % uint64(len(first)))
	out := make([][]model.NodeID, count)
	for i := range out {
		out[i] = first.place(start+from+i, factor-missing)
		if missing > 0 {
			out[i] = append(out[i], last.place(start+from+i, missing)...)
		}
	}
	return out, nil
}

// addPartition adds a partition whose replicas are in sync as far as their brokers are active.
func (t *turn) addPartition(tp model.TopicPartition, nodes []model.NodeID) {
	rec := &protocol.PartitionRecord{}
	rec.Default()
	rec.PartitionID, rec.TopicID = int32(tp.Partition), [16]byte(tp.Topic)
	rec.LeaderEpoch, rec.PartitionEpoch = 0, 0
	rec.Leader = int32(model.NoNode)
	for _, node := range nodes {
		rec.Replicas = append(rec.Replicas, int32(node))
		if b := t.image().Broker(node); b != nil && b.Active() {
			rec.Isr = append(rec.Isr, int32(node))
			if rec.Leader == int32(model.NoNode) {
				rec.Leader = int32(node)
			}
		}
	}
	t.record(rec, 0)
	t.fresh = append(t.fresh, tp)
}
