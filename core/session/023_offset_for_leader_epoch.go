package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// epochsAsked remembers where each part of a request stands, and the response in the making.
type epochsAsked struct {
	response *protocol.OffsetForLeaderEpochResponse
	places   []place
}

func (s *Session) receiveOffsetForLeaderEpoch(rq *request, out *Out) {
	var in protocol.OffsetForLeaderEpochRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	asked := &epochsAsked{response: new(protocol.OffsetForLeaderEpochResponse)}
	asked.response.Default()
	ev := &broker.EpochEnds{To: rq.id}
	for t := range in.Topics {
		topic := &in.Topics[t]
		answer := protocol.Add(&asked.response.Topics)
		answer.Topic = topic.Topic
		for i := range topic.Partitions {
			partition := &topic.Partitions[i]
			protocol.Add(&answer.Partitions).Partition = partition.Partition
			asked.places = append(asked.places, place{int32(t), int32(i)})
			ev.Parts = append(ev.Parts, broker.EpochEndsPart{
				Index: int32(len(asked.places) - 1), Topic: broker.TopicRef{Name: topic.Topic},
				Partition:          model.Partition(partition.Partition),
				CurrentLeaderEpoch: model.LeaderEpoch(partition.CurrentLeaderEpoch),
				LeaderEpoch:        model.LeaderEpoch(partition.LeaderEpoch),
			})
		}
	}
	rq.slot.asked = asked
	out.Events = append(out.Events, ev)
}

func respondOffsetForLeaderEpoch(sl *slot, in *effect.EpochEndsFound) protocol.Message {
	asked := sl.asked.(*epochsAsked)
	for i := range in.Parts {
		part := &in.Parts[i]
		at := asked.places[part.Index]
		answer := &asked.response.Topics[at.topic].Partitions[at.partition]
		answer.ErrorCode, answer.LeaderEpoch, answer.EndOffset = part.Code, int32(part.LeaderEpoch), int64(part.EndOffset)
	}
	return asked.response
}
