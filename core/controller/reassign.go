package controller

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// ReassignTopic is which replicas partitions of a topic are to have (KIP-455).
type ReassignTopic struct {
	Name  string
	Parts []ReassignPart
}

// ReassignPart is which replicas a partition is to have, the preferred leader first.
type ReassignPart struct {
	Partition model.Partition
	Replicas  []model.NodeID
	Cancel    bool // it is to keep those that it had before the reassignment that is under way
}

// Reassign asks for replicas to be moved; the answer is an effect.PartitionsReassigned, once the move has begun. Who is
// added is a follower at once, and who is removed stays until all that are added are in sync. A reassignment in the place
// of one that is under way begins with the replicas that there were before that.
func (c *Controller) Reassign(to effect.RequestID, topics []ReassignTopic, factorMayChange bool, out *effect.Set) {
	c.ask(&request{
		to: to,
		decide: func(t *turn) effect.Body {
			answer := &effect.PartitionsReassigned{}
			for i := range topics {
				in := &topics[i]
				outcome := effect.TopicParts{Name: in.Name}
				for k := range in.Parts {
					part := effect.PartOutcome{Partition: in.Parts[k].Partition}
					if why := t.reassign(in.Name, &in.Parts[k], factorMayChange); why != nil {
						part.Code, part.Message = why.error.Code, why.message
					}
					outcome.Parts = append(outcome.Parts, part)
				}
				answer.Topics = append(answer.Topics, outcome)
			}
			return answer
		},
		refuse: func(code int16, why string) effect.Body {
			return &effect.PartitionsReassigned{Code: code, Message: why}
		},
	}, out)
}

// reassign begins or cancels the reassignment of one partition.
func (t *turn) reassign(name string, in *ReassignPart, factorMayChange bool) *refusal {
	topic, p, why := t.findPartition(name, in.Partition)
	if why != nil {
		return why
	}
	original := keep(p.Replicas, func(n model.NodeID) bool { return !slices.Contains(p.Adding, n) })
	target := in.Replicas
	if in.Cancel {
		if !moves(p) {
			return &refusal{kerr.NoReassignmentInProgress, fmt.Sprintf("no reassignment of partition %d of topic %q is under way", in.Partition, name)}
		}
		target = original
	} else if why := t.checkTarget(target, original, factorMayChange); why != nil {
		return why
	}
	to := *p
	to.Adding = keep(target, func(n model.NodeID) bool { return !slices.Contains(original, n) })
	to.Removing = keep(original, func(n model.NodeID) bool { return !slices.Contains(target, n) })
	to.Replicas = append(slices.Clone(target), to.Removing...)
	if len(to.Replicas) > metadata.ReplicasMax {
		return &refusal{kerr.InvalidReplicaAssignment, fmt.Sprintf("partition %d would be on %d nodes for the time of the move; %d is the most", in.Partition, len(to.Replicas), metadata.ReplicasMax)}
	}
	stays := func(n model.NodeID) bool { return slices.Contains(to.Replicas, n) }
	to.ISR, to.ELR, to.LastKnownELR = keep(p.ISR, stays), keep(p.ELR, stays), keep(p.LastKnownELR, stays)
	if len(p.ISR)+len(p.ELR) > 0 && len(to.ISR)+len(to.ELR) == 0 {
		return &refusal{kerr.InvalidReplicaAssignment, fmt.Sprintf("of partition %d only %v has everything that was acknowledged, which would have no part in it any more", in.Partition, append(slices.Clone(p.ISR), p.ELR...))}
	}
	e := t.electorate(topic, &to)
	if p.Leader != model.NoNode && !slices.Contains(to.ISR, p.Leader) {
		e.elect(&to, &to)
	}
	before := to
	e.eligible(&before, &to)
	t.complete(topic, &to)
	tp := model.TopicPartition{Topic: topic.ID, Partition: in.Partition}
	t.change(tp, p, &to)
	t.fresh = append(t.fresh, tp)
	return nil
}

// checkTarget refuses replicas that a partition cannot have. A broker that is down may be among them: the move waits.
func (t *turn) checkTarget(target, original []model.NodeID, factorMayChange bool) *refusal {
	if len(target) == 0 {
		return &refusal{kerr.InvalidReplicaAssignment, "a partition has at least one replica"}
	}
	for i, node := range target {
		switch {
		case slices.Contains(target[:i], node):
			return &refusal{kerr.InvalidReplicaAssignment, fmt.Sprintf("node %d is named twice", node)}
		case t.image().Broker(node) == nil:
			return &refusal{kerr.InvalidReplicaAssignment, fmt.Sprintf("node %d is not registered", node)}
		}
	}
	if !factorMayChange && len(target) != len(original) {
		return &refusal{kerr.InvalidReplicationFactor, fmt.Sprintf("the partition has %d replicas and would have %d, which the request does not allow", len(original), len(target))}
	}
	return nil
}

// findPartition is a partition that a request names.
func (t *turn) findPartition(name string, index model.Partition) (*metadata.Topic, *metadata.Partition, *refusal) {
	topic := t.image().Named(name)
	if topic == nil {
		return nil, nil, &refusal{kerr.UnknownTopicOrPartition, fmt.Sprintf("topic %q does not exist", metadata.Shown(name))}
	}
	p := topic.Partition(index)
	if p == nil {
		return nil, nil, &refusal{kerr.UnknownTopicOrPartition, fmt.Sprintf("topic %q has no partition %d", name, index)}
	}
	return topic, p, nil
}

// moves reports whether a reassignment of a partition is under way.
func moves(p *metadata.Partition) bool { return len(p.Adding) > 0 || len(p.Removing) > 0 }

// settle is what a partition comes to by an election. Whoever leads now may have been all that a reassignment waited for.
func (t *turn) settle(topic *metadata.Topic, p *metadata.Partition, e *electorate) metadata.Partition {
	to := e.settle(p)
	t.complete(topic, &to)
	return to
}

// complete ends a reassignment when the replicas that it brings are in sync: the replicas that it takes go, and if one of
// them leads, one that stays leads from then on.
func (t *turn) complete(topic *metadata.Topic, p *metadata.Partition) {
	if !moves(p) {
		return
	}
	stays := func(n model.NodeID) bool { return !slices.Contains(p.Removing, n) }
	target, isr := keep(p.Replicas, stays), keep(p.ISR, stays)
	for _, n := range p.Adding {
		if !slices.Contains(isr, n) {
			return
		}
	}
	if len(isr) == 0 {
		return // nobody who stays has everything
	}
	p.Replicas, p.ISR, p.Adding, p.Removing = target, isr, nil, nil
	p.ELR, p.LastKnownELR = keep(p.ELR, stays), keep(p.LastKnownELR, stays)
	e := t.electorate(topic, p)
	if !slices.Contains(isr, p.Leader) {
		e.elect(p, p)
	}
	before := *p
	e.eligible(&before, p)
	t.marks.Set(effect.MarkReassigned)
}

// AskTopic names partitions of a topic.
type AskTopic struct {
	Name       string
	Partitions []model.Partition
}

// ListReassignments asks what is being moved, of some partitions or of all; the answer is an effect.ReassignmentsListed.
func (c *Controller) ListReassignments(to effect.RequestID, all bool, topics []AskTopic, out *effect.Set) {
	c.dry(&request{
		to: to,
		decide: func(t *turn) effect.Body {
			if all {
				return c.movingAll(t.image())
			}
			return movingOf(t.image(), topics)
		},
		refuse: func(code int16, why string) effect.Body {
			return &effect.ReassignmentsListed{Code: code, Message: why}
		},
	}, out)
}

func (c *Controller) movingAll(image *metadata.Image) *effect.ReassignmentsListed {
	byTopic := make(map[model.TopicID]int)
	answer := &effect.ReassignmentsListed{}
	for _, tp := range c.index.moving() {
		topic := image.Identified(tp.Topic)
		at, there := byTopic[tp.Topic]
		if !there {
			at = len(answer.Topics)
			byTopic[tp.Topic] = at
			answer.Topics = append(answer.Topics, effect.TopicMoving{Name: topic.Name})
		}
		answer.Topics[at].Parts = append(answer.Topics[at].Parts, moving(tp.Partition, topic.Partition(tp.Partition)))
	}
	slices.SortFunc(answer.Topics, func(a, b effect.TopicMoving) int { return strings.Compare(a.Name, b.Name) })
	return answer
}

func movingOf(image *metadata.Image, topics []AskTopic) *effect.ReassignmentsListed {
	answer := &effect.ReassignmentsListed{}
	for _, in := range topics {
		topic := image.Named(in.Name)
		if topic == nil {
			continue
		}
		of := effect.TopicMoving{Name: in.Name}
		for _, index := range in.Partitions {
			if p := topic.Partition(index); p != nil && moves(p) {
				of.Parts = append(of.Parts, moving(index, p))
			}
		}
		if len(of.Parts) > 0 {
			answer.Topics = append(answer.Topics, of)
		}
	}
	return answer
}

func moving(index model.Partition, p *metadata.Partition) effect.PartMoving {
	return effect.PartMoving{Partition: index, Replicas: p.Replicas, Adding: p.Adding, Removing: p.Removing}
}
