package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// AlterPartition asks for who is in sync to be committed (KIP-497); the answer is an effect.PartitionsAltered.
func (c *Controller) AlterPartition(to effect.RequestID, in *effect.AlterPartition, out *effect.Set) {
	c.ask(&request{
		to:     to,
		decide: func(t *turn) effect.Body { return t.alterPartition(in) },
		refuse: func(code int16, _ string) effect.Body { return &effect.PartitionsAltered{Code: code} },
	}, out)
}

func (t *turn) alterPartition(in *effect.AlterPartition) *effect.PartitionsAltered {
	if b := t.image().Broker(in.Broker); b == nil || b.Epoch != in.BrokerEpoch {
		return &effect.PartitionsAltered{Code: kerr.StaleBrokerEpoch.Code}
	}
	answer := &effect.PartitionsAltered{}
	for i := range in.Parts {
		answer.Parts = append(answer.Parts, t.alterISR(in.Broker, &in.Parts[i]))
	}
	return answer
}

// alterISR checks what a leader proposes. It rests on what the leader knew: if anything of that has changed since, it is
// refused, and the leader proposes again when it knows.
func (t *turn) alterISR(leader model.NodeID, in *effect.AlterPartitionPart) effect.PartitionAltered {
	answer := effect.PartitionAltered{Partition: in.Partition, Leader: model.NoNode, LeaderEpoch: model.NoLeaderEpoch}
	topic := t.image().Identified(in.Partition.Topic)
	if topic == nil || topic.Partition(in.Partition.Partition) == nil {
		answer.Code = kerr.UnknownTopicID.Code
		return answer
	}
	p := topic.Partition(in.Partition.Partition)
	isr := make([]model.NodeID, 0, len(in.ISR))
	for _, s := range in.ISR {
		isr = append(isr, s.Broker)
	}
	switch {
	case in.LeaderEpoch < p.LeaderEpoch:
		answer.Code = kerr.FencedLeaderEpoch.Code
	case in.LeaderEpoch > p.LeaderEpoch || in.PartitionEpoch > p.PartitionEpoch:
		answer.Code = kerr.NotController.Code // it knows more than this node: another controller told it
	case p.Leader != leader:
		answer.Code = kerr.InvalidRequest.Code
	case in.PartitionEpoch < p.PartitionEpoch:
		answer.Code = kerr.InvalidUpdateVersion.Code
	case !slices.Contains(isr, leader) || repeatsOrStrange(isr, p.Replicas):
		answer.Code = kerr.InvalidRequest.Code
	case !t.eligible(in.ISR):
		answer.Code = kerr.IneligibleReplica.Code
		t.marks.Set(effect.MarkIneligibleReplica)
	}
	if answer.Code == 0 {
		to := *p
		to.ISR = isr
		t.electorate(topic, p).eligible(p, &to)
		t.complete(topic, &to)
		rec := changeRecord(in.Partition, p, &to)
		if rec == nil {
			// The leader wants the partition epoch to pass, on which proposals rest that it had no answer to.
			rec = unchanged(in.Partition)
		}
		t.record(rec, 2)
		p = t.image().Identified(topic.ID).Partition(in.Partition.Partition)
	}
	answer.Leader, answer.LeaderEpoch, answer.PartitionEpoch = p.Leader, p.LeaderEpoch, p.PartitionEpoch
	answer.ISR = p.ISR
	return answer
}

func repeatsOrStrange(isr, replicas []model.NodeID) bool {
	for i, n := range isr {
		if slices.Contains(isr[:i], n) || !slices.Contains(replicas, n) {
			return true
		}
	}
	return false
}

// eligible reports whether all who are to be in sync may be: their brokers are active, and of the life in which the leader
// saw them (KIP-841, KIP-903).
func (t *turn) eligible(isr []effect.BrokerState) bool {
	for _, s := range isr {
		b := t.image().Broker(s.Broker)
		if b == nil || !b.Active() || s.BrokerEpoch != model.NoBrokerEpoch && s.BrokerEpoch != b.Epoch {
			return false
		}
	}
	return len(isr) > 0
}

// AllocateProducerIDs asks for producer ids that nobody else gives out; the answer is an effect.ProducerIDsAllocated.
func (c *Controller) AllocateProducerIDs(to effect.RequestID, in *effect.AllocateProducerIDs, out *effect.Set) {
	c.ask(&request{
		to:     to,
		decide: func(t *turn) effect.Body { return t.allocate(in) },
		refuse: func(code int16, _ string) effect.Body { return &effect.ProducerIDsAllocated{Code: code} },
	}, out)
}

func (t *turn) allocate(in *effect.AllocateProducerIDs) effect.Body {
	if b := t.image().Broker(in.Broker); b == nil || b.Epoch != in.BrokerEpoch {
		return &effect.ProducerIDsAllocated{Code: kerr.StaleBrokerEpoch.Code}
	}
	first := t.image().NextProducerID()
	t.record(&protocol.ProducerIDsRecord{
		BrokerID: int32(in.Broker), BrokerEpoch: int64(in.BrokerEpoch), NextProducerID: int64(first) + producerIDBlock,
	}, 0)
	return &effect.ProducerIDsAllocated{First: first, Count: producerIDBlock}
}

// producerIDBlock is how many producer ids a broker is given at a time, as in Kafka.
const producerIDBlock = 1000
