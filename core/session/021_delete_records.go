package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// deletionAsked remembers where each part of a request stands, and the response in the making.
type deletionAsked struct {
	response *protocol.DeleteRecordsResponse
	places   []place
}

func (s *Session) receiveDeleteRecords(rq *request, out *Out) {
	var in protocol.DeleteRecordsRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	asked := &deletionAsked{response: new(protocol.DeleteRecordsResponse)}
	asked.response.Default()
	ev := &broker.DeleteRecords{To: rq.id, Wait: model.Time(in.TimeoutMs) * 1e6, Wall: rq.wall}
	seen := make(map[named]bool)
	for t := range in.Topics {
		topic := &in.Topics[t]
		answer := protocol.Add(&asked.response.Topics)
		answer.Name = topic.Name
		for i := range topic.Partitions {
			partition := &topic.Partitions[i]
			to := protocol.Add(&answer.Partitions)
			to.PartitionIndex, to.LowWatermark = partition.PartitionIndex, int64(model.NoOffset)
			asked.places = append(asked.places, place{int32(t), int32(i)})
			// Each part is written to the disk: a partition named again is refused.
			this := named{topic.Name, partition.PartitionIndex}
			if seen[this] {
				to.ErrorCode = kerr.InvalidRequest.Code
				continue
			}
			seen[this] = true
			ev.Parts = append(ev.Parts, broker.DeleteRecordsPart{
				Index: int32(len(asked.places) - 1), Topic: broker.TopicRef{Name: topic.Name},
				Partition: model.Partition(partition.PartitionIndex), Offset: model.Offset(partition.Offset),
			})
		}
	}
	rq.slot.asked = asked
	out.Events = append(out.Events, ev)
}

func respondDeleteRecords(sl *slot, in *effect.RecordsDeleted) protocol.Message {
	asked := sl.asked.(*deletionAsked)
	for i := range in.Parts {
		part := &in.Parts[i]
		at := asked.places[part.Index]
		answer := &asked.response.Topics[at.topic].Partitions[at.partition]
		answer.ErrorCode, answer.LowWatermark = part.Code, int64(part.LowWatermark)
	}
	return asked.response
}
