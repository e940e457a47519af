package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// offsetsAsked remembers where each part of a request stands, and the response in the making.
type offsetsAsked struct {
	response *protocol.ListOffsetsResponse
	places   []place
}

// debuggingReplica in a ListOffsets asks the replica that gets the request for its own log, as Kafka's tools do that
// compare replicas.
const debuggingReplica = -2

// named is a partition as a request names it.
type named struct {
	topic     string
	partition int32
}

func (s *Session) receiveListOffsets(rq *request, out *Out) {
	var in protocol.ListOffsetsRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	asked := &offsetsAsked{response: new(protocol.ListOffsetsResponse)}
	asked.response.Default()
	ev := &broker.ListOffsets{To: rq.id, ReadCommitted: in.IsolationLevel == 1, OfReplica: in.ReplicaID == debuggingReplica}
	seen := make(map[named]bool)
	for t := range in.Topics {
		topic := &in.Topics[t]
		answer := protocol.Add(&asked.response.Topics)
		answer.Name = topic.Name
		for i := range topic.Partitions {
			partition := &topic.Partitions[i]
			to := protocol.Add(&answer.Partitions)
			to.PartitionIndex = partition.PartitionIndex
			asked.places = append(asked.places, place{int32(t), int32(i)})
			// Each lookup by time may read the disk: a partition named again is refused, as in Kafka.
			this := named{topic.Name, partition.PartitionIndex}
			if seen[this] {
				to.ErrorCode = kerr.InvalidRequest.Code
				continue
			}
			seen[this] = true
			if special := model.Timestamp(partition.Timestamp); special < 0 && rq.version < versionOfTimestamp(special) {
				to.ErrorCode = kerr.UnsupportedVersion.Code
				continue
			}
			ev.Parts = append(ev.Parts, broker.ListOffsetsPart{
				Index: int32(len(asked.places) - 1), Topic: broker.TopicRef{Name: topic.Name},
				Partition:          model.Partition(partition.PartitionIndex),
				CurrentLeaderEpoch: model.LeaderEpoch(partition.CurrentLeaderEpoch),
				Timestamp:          model.Timestamp(partition.Timestamp),
			})
		}
	}
	rq.slot.asked = asked
	out.Events = append(out.Events, ev)
}

// versionOfTimestamp is the version from which on a special timestamp may be asked for.
func versionOfTimestamp(t model.Timestamp) int16 {
	switch {
	case t == effect.MaxTimestamp:
		return 7
	case t == broker.EarliestLocalTimestamp:
		return 8
	case t == broker.LatestTieredTimestamp:
		return 9
	case t == broker.EarliestPendingTimestamp:
		return 11
	}
	return 0
}

func respondListOffsets(sl *slot, in *effect.OffsetsListed) protocol.Message {
	asked := sl.asked.(*offsetsAsked)
	for i := range in.Parts {
		part := &in.Parts[i]
		at := asked.places[part.Index]
		answer := &asked.response.Topics[at.topic].Partitions[at.partition]
		answer.ErrorCode, answer.Offset, answer.Timestamp = part.Code, int64(part.Offset), int64(part.Timestamp)
		if part.Code == kerr.OffsetNotAvailable.Code && sl.version < 5 {
			answer.ErrorCode = kerr.LeaderNotAvailable.Code // what clients of before KIP-207 know
		}
		if sl.version >= 4 {
			answer.LeaderEpoch = int32(part.LeaderEpoch)
		}
	}
	return asked.response
}
