package scale

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
)

// eventOf is what a call's body is at the node that is called: what the codecs of both ends come to.
func (n *node) eventOf(c *effect.Call, to effect.RequestID) broker.Event {
	count := &n.w.counts
	switch body := c.Body.(type) {
	case *effect.ReplicaFetch:
		count.fetches++
		return fetchOf(body, to)
	case *effect.RegisterBroker:
		return &broker.RegisterBroker{To: to, Ask: *body}
	case *effect.HeartbeatBroker:
		count.heartbeats++
		return &broker.BrokerHeartbeat{To: to, Ask: *body}
	case *effect.AlterPartition:
		count.proposals += int64(len(body.Parts))
		return &broker.AlterPartition{To: to, Ask: *body}
	case *effect.AllocateProducerIDs:
		return &broker.AllocateProducerIDs{To: to, Ask: *body}
	case *effect.ReportDamaged:
		return &broker.ReportDamaged{To: to, Ask: *body}
	case *effect.QuorumMessages:
		return &broker.QuorumMessages{To: to, Ask: *body}
	case *effect.FetchImage:
		count.images++
		return &broker.FetchImage{To: to, Ask: *body}
	case *effect.Forward, *effect.CreateMissing: // clients' requests lead to these, and there are no clients
	}
	invariant.Checkf(false, "nobody makes calls of the kind %T here", c.Body)
	return nil
}

func fetchOf(in *effect.ReplicaFetch, to effect.RequestID) *broker.Fetch {
	ev := &broker.Fetch{
		To: to, Wait: in.WaitMax, BytesMin: in.BytesMin, BytesMax: in.BytesMax, Replica: in.Replica, BrokerEpoch: in.BrokerEpoch,
		SessionID: in.SessionID, SessionEpoch: in.SessionEpoch, ByID: true,
	}
	ref := func(tp model.TopicPartition) broker.TopicRef { return broker.TopicRef{ID: tp.Topic, ByID: true} }
	for i := range in.Parts {
		p := &in.Parts[i]
		ev.Parts = append(ev.Parts, broker.FetchPart{
			Index: int32(i), Topic: ref(p.Partition), Partition: p.Partition.Partition, CurrentLeaderEpoch: p.CurrentLeaderEpoch,
			LastFetchedEpoch: p.LastFetchedEpoch, Offset: p.Offset, BytesMax: p.BytesMax, LogStartOffset: p.LogStartOffset, HighWatermark: p.HighWatermark,
		})
	}
	for _, tp := range in.Forget {
		ev.Forget = append(ev.Forget, broker.ForgetPart{Topic: ref(tp), Partition: tp.Partition})
	}
	return ev
}

// fetched is what a reply to a fetch is to who asked.
func (n *node) fetched(in *effect.FetchReply) *effect.ReplicaFetched {
	body := &effect.ReplicaFetched{Code: in.Code, SessionID: in.SessionID}
	for i := range in.Parts {
		p := &in.Parts[i]
		part := effect.ReplicaFetchedPart{
			Partition: p.Partition, Code: p.Code, HighWatermark: p.HighWatermark, LastStableOffset: p.LastStableOffset,
			LogStartOffset: p.LogStartOffset, Diverging: effect.DivergingEpoch{Epoch: model.NoLeaderEpoch, EndOffset: model.NoOffset},
			Leader: model.NoNode, LeaderEpoch: model.NoLeaderEpoch, Image: effect.NoImage,
		}
		if p.Diverging != nil {
			part.Diverging = effect.DivergingEpoch{Epoch: p.Diverging.LeaderEpoch, EndOffset: p.Diverging.EndOffset}
		}
		if p.Leader != nil {
			part.Leader, part.LeaderEpoch = p.Leader.Broker.ID, p.Leader.Epoch
		}
		if p.Image != nil {
			part.Image = *p.Image
		}
		if p.Partition == metalog.EntriesPartition {
			part.Batches = n.batches(p)
		}
		body.Parts = append(body.Parts, part)
	}
	return body
}
