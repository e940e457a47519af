package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveDescribeTopicPartitions(rq *request, out *Out) {
	var in protocol.DescribeTopicPartitionsRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	ev := &broker.DescribePage{To: rq.id, Limit: in.ResponsePartitionLimit}
	for i := range in.Topics {
		ev.Names = append(ev.Names, in.Topics[i].Name)
	}
	if c := in.Cursor; c != nil {
		ev.From = effect.PageCursor{Topic: c.TopicName, Partition: model.Partition(c.PartitionIndex)}
	}
	out.Events = append(out.Events, ev)
}

func respondDescribeTopicPartitions(in *effect.PageDescribed) protocol.Message {
	r := new(protocol.DescribeTopicPartitionsResponse)
	r.Default()
	var ids []int32
	for i := range in.Topics {
		t := &in.Topics[i]
		to := protocol.Add(&r.Topics)
		to.ErrorCode, to.Name, to.TopicID, to.IsInternal = t.Code, protocol.String(t.Name), [16]byte(t.ID), t.Internal
		if t.Code == 0 {
			to.TopicAuthorizedOperations = topicOperations
		}
		for k := range t.Partitions {
			p := &t.Partitions[k]
			at := protocol.Add(&to.Partitions)
			at.ErrorCode, at.PartitionIndex, at.LeaderID, at.LeaderEpoch = p.Code, int32(p.Partition), int32(p.Leader), int32(p.LeaderEpoch)
			at.ReplicaNodes, ids = nodeIDs(ids, p.Replicas)
			at.IsrNodes, ids = nodeIDs(ids, p.ISR)
			at.OfflineReplicas, ids = nodeIDs(ids, p.Offline)
			// No replica is eligible outside the ISR: there is no other.
			at.EligibleLeaderReplicas, at.LastKnownElr = []int32{}, []int32{}
		}
	}
	if in.Next != nil {
		r.NextCursor = &protocol.DescribeTopicPartitionsResponseCursor{TopicName: in.Next.Topic, PartitionIndex: int32(in.Next.Partition)}
	}
	return r
}
