package controller

import (
	"fmt"

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
	r := &request{to: to, kind: addPartitions, adds: topics}
	if validateOnly {
		c.decideAdds(r, c.newTurn())
		reply(to, &effect.PartitionsCreated{Topics: r.added}, out)
		return
	}
	c.ask(r, out)
}

func (c *Controller) decideAdds(r *request, t *turn) {
	named := make(map[string]int, len(r.adds))
	for i := range r.adds {
		named[r.adds[i].Name]++
	}
	for i := range r.adds {
		in := &r.adds[i]
		answer := effect.TopicExtended{Name: in.Name}
		var why *refusal
		if named[in.Name] > 1 {
			why = &refusal{kerr.InvalidRequest, fmt.Sprintf("topic %q is named twice in one request", metadata.Shown(in.Name))}
		} else {
			why = c.decideAdd(in, t)
		}
		if why != nil {
			answer.Code, answer.Message = why.error.Code, why.message
		}
		r.added = append(r.added, answer)
	}
}

func (c *Controller) decideAdd(in *AddPartitions, t *turn) *refusal {
	topic := c.view.Named(in.Name)
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
	more := in.Count - has
	if c.view.PartitionCount()+t.partitionCount+int(more) > c.config.PartitionCountMax {
		return c.tooMany(t)
	}
	if in.Assigned {
		if len(in.Assignments) != int(more) {
			return &refusal{kerr.InvalidReplicaAssignment, fmt.Sprintf("%d assignments for %d new partitions", len(in.Assignments), more)}
		}
		for i, replicas := range in.Assignments {
			if len(replicas) != 1 || replicas[0] != c.config.NodeID {
				return &refusal{kerr.InvalidReplicaAssignment, fmt.Sprintf("partition %d must be on node %d, the only one", has+int32(i), c.config.NodeID)}
			}
		}
	}
	for p := has; p < in.Count; p++ {
		t.add(c.partitionRecord(topic.ID, p))
	}
	t.touched[in.Name] = true
	t.partitionCount += int(more)
	return nil
}

func (c *Controller) tooMany(t *turn) *refusal {
	return &refusal{kerr.PolicyViolation, fmt.Sprintf("this node takes %d partitions and has %d", c.config.PartitionCountMax, c.view.PartitionCount()+t.partitionCount)}
}

func (c *Controller) partitionRecord(topic model.TopicID, p int32) []byte {
	rec, self := &protocol.PartitionRecord{}, []int32{int32(c.config.NodeID)}
	rec.Default()
	rec.PartitionID, rec.TopicID, rec.Replicas, rec.Isr = p, [16]byte(topic), self, self
	rec.Leader, rec.LeaderEpoch, rec.PartitionEpoch = self[0], 0, 0
	return c.encode(rec, 0)
}
