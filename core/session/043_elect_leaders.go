package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// Kafka's numbers of elections (KIP-460).
const (
	electPreferred int8 = 0
	electUnclean   int8 = 1
)

func (s *Session) receiveElectLeaders(rq *request, out *Out) {
	var in protocol.ElectLeadersRequest
	in.Default()
	if !s.decode(rq, &in, out) {
		return
	}
	if in.ElectionType != electPreferred && in.ElectionType != electUnclean {
		r := new(protocol.ElectLeadersResponse)
		r.Default()
		r.ErrorCode = kerr.InvalidRequest.Code
		s.answer(rq.slot, r, out)
		return
	}
	ev := &broker.ElectLeaders{To: rq.id, Origin: s.origin(rq), Unclean: in.ElectionType == electUnclean, All: in.TopicPartitions == nil}
	for i := range in.TopicPartitions {
		t := &in.TopicPartitions[i]
		ev.Topics = append(ev.Topics, controller.AskTopic{Name: t.Topic, Partitions: partitionsOf(t.Partitions)})
	}
	out.Events = append(out.Events, ev)
}

func partitionsOf(indexes []int32) []model.Partition {
	out := make([]model.Partition, 0, len(indexes))
	for _, p := range indexes {
		out = append(out, model.Partition(p))
	}
	return out
}

func respondElectLeaders(sl *slot, in *effect.LeadersElected) protocol.Message {
	r := new(protocol.ElectLeadersResponse)
	r.Default()
	if sl.version >= 1 { // before, there are only the partitions' own codes
		r.ErrorCode = in.Code
	}
	for i := range in.Topics {
		t := &in.Topics[i]
		to := protocol.Add(&r.ReplicaElectionResults)
		to.Topic = t.Name
		for _, p := range t.Parts {
			part := protocol.Add(&to.PartitionResult)
			part.PartitionID, part.ErrorCode, part.ErrorMessage = int32(p.Partition), p.Code, messageOf(p.Message)
		}
	}
	return r
}
