package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// receiveListPartitionReassignments asks the controller: another node may not have heard of a move that a client has just
// been told of, and would say that it is over.
func (s *Session) receiveListPartitionReassignments(rq *request, out *Out) {
	var in protocol.ListPartitionReassignmentsRequest
	in.Default()
	if !s.decode(rq, &in, out) {
		return
	}
	ev := &broker.ListReassignments{To: rq.id, Origin: s.origin(rq), All: in.Topics == nil}
	for i := range in.Topics {
		t := &in.Topics[i]
		ev.Topics = append(ev.Topics, controller.AskTopic{Name: t.Name, Partitions: partitionsOf(t.PartitionIndexes)})
	}
	out.Events = append(out.Events, ev)
}

func respondListPartitionReassignments(in *effect.ReassignmentsListed) protocol.Message {
	r := new(protocol.ListPartitionReassignmentsResponse)
	r.Default()
	r.ErrorCode, r.ErrorMessage = in.Code, messageOf(in.Message)
	for i := range in.Topics {
		t := &in.Topics[i]
		to := protocol.Add(&r.Topics)
		to.Name = t.Name
		for _, p := range t.Parts {
			part := protocol.Add(&to.Partitions)
			part.PartitionIndex, part.Replicas = int32(p.Partition), numbersOf(p.Replicas)
			part.AddingReplicas, part.RemovingReplicas = numbersOf(p.Adding), numbersOf(p.Removing)
		}
	}
	return r
}

func numbersOf(nodes []model.NodeID) []int32 {
	out := make([]int32, 0, len(nodes))
	for _, n := range nodes {
		out = append(out, int32(n))
	}
	return out
}
