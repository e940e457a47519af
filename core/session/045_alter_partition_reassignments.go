package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveAlterPartitionReassignments(rq *request, out *Out) {
	var in protocol.AlterPartitionReassignmentsRequest
	in.Default()
	if !s.decode(rq, &in, out) {
		return
	}
	ev := &broker.ReassignPartitions{To: rq.id, Origin: s.origin(rq), FactorMayChange: in.AllowReplicationFactorChange}
	for i := range in.Topics {
		t := &in.Topics[i]
		topic := controller.ReassignTopic{Name: t.Name}
		for k := range t.Partitions {
			p := &t.Partitions[k]
			part := controller.ReassignPart{Partition: model.Partition(p.PartitionIndex), Cancel: p.Replicas == nil}
			for _, id := range p.Replicas {
				part.Replicas = append(part.Replicas, model.NodeID(id))
			}
			topic.Parts = append(topic.Parts, part)
		}
		ev.Topics = append(ev.Topics, topic)
	}
	out.Events = append(out.Events, ev)
	rq.slot.asked = in.AllowReplicationFactorChange
}

func respondAlterPartitionReassignments(sl *slot, in *effect.PartitionsReassigned) protocol.Message {
	r := new(protocol.AlterPartitionReassignmentsResponse)
	r.Default()
	r.ErrorCode, r.ErrorMessage = in.Code, messageOf(in.Message)
	r.AllowReplicationFactorChange = sl.asked.(bool)
	for i := range in.Topics {
		t := &in.Topics[i]
		to := protocol.Add(&r.Responses)
		to.Name = t.Name
		for _, p := range t.Parts {
			part := protocol.Add(&to.Partitions)
			part.PartitionIndex, part.ErrorCode, part.ErrorMessage = int32(p.Partition), p.Code, messageOf(p.Message)
		}
	}
	return r
}
