package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// ReportDamaged takes in which replicas a broker cannot serve; the answer is an effect.DamagedReported.
func (c *Controller) ReportDamaged(to effect.RequestID, in *effect.ReportDamaged, out *effect.Set) {
	c.ask(&request{
		to:     to,
		decide: func(t *turn) effect.Body { return t.damaged(in) },
		refuse: func(code int16, _ string) effect.Body { return &effect.DamagedReported{Code: code} },
	}, out)
}

func (t *turn) damaged(in *effect.ReportDamaged) *effect.DamagedReported {
	if b := t.image().Broker(in.Broker); b == nil || b.Epoch != in.BrokerEpoch {
		return &effect.DamagedReported{Code: kerr.StaleBrokerEpoch.Code}
	}
	answer := &effect.DamagedReported{}
	for i := range in.Parts {
		answer.Parts = append(answer.Parts, effect.DamagedPartReported{Partition: in.Parts[i].Partition, Code: t.giveUp(in.Broker, &in.Parts[i])})
	}
	return answer
}

// giveUp takes a damaged replica out of the ISR and the ELR, if somebody else leads then. The leader is named in any case, be
// it the same, which begins another leader epoch: in that nobody knows how far the replica was, so that it is not taken in
// again for what it had. If nobody else could lead, nothing is changed: what is left of the log may be all that there is. It
// is remembered, so that the replica is not elected when the broker is taken in, or was in sync with others that are not yet there.
func (t *turn) giveUp(node model.NodeID, in *effect.DamagedPart) (code int16) {
	topic := t.image().Identified(in.Partition.Topic)
	if topic == nil || topic.Partition(in.Partition.Partition) == nil {
		return kerr.UnknownTopicID.Code
	}
	p := topic.Partition(in.Partition.Partition)
	to := *p
	switch {
	case !p.IsReplica(node):
		return 0 // it has nothing to lose any more
	case p.InSync(node) || slices.Contains(p.ELR, node):
		k := t.c.hear(t.image().Broker(node))
		delete(k.damaged, in.Partition)
		e := t.electorateOf(in.Partition, topic, p)
		e.lost = node
		if to = t.settle(topic, p, e); to.Leader == model.NoNode {
			if k.damaged == nil {
				k.damaged = make(map[model.TopicPartition]bool)
			}
			k.damaged[in.Partition] = true
			t.marks.Set(effect.MarkReplicaAlone)
			return kerr.EligibleLeadersNotAvailable.Code
		}
		t.marks.Set(effect.MarkReplicaGivenUp)
	case p.LeaderEpoch > in.LeaderEpoch:
		return 0 // who leads knows nothing of it
	}
	rec := changeRecord(in.Partition, p, &to)
	if rec == nil {
		rec = unchanged(in.Partition)
	}
	rec.Leader = int32(to.Leader)
	t.record(rec, 2)
	return 0
}
