package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveCreatePartitions(rq *request, out *Out) {
	var in protocol.CreatePartitionsRequest
	if !s.decode(rq, &in, out) {
		return
	}
	ev := &broker.CreatePartitions{To: rq.id, Origin: s.origin(rq), ValidateOnly: in.ValidateOnly}
	for i := range in.Topics {
		t := &in.Topics[i]
		a := controller.AddPartitions{Name: t.Name, Count: t.Count, Assigned: t.Assignments != nil}
		for k := range t.Assignments {
			replicas := make([]model.NodeID, 0, len(t.Assignments[k].BrokerIDs))
			for _, id := range t.Assignments[k].BrokerIDs {
				replicas = append(replicas, model.NodeID(id))
			}
			a.Assignments = append(a.Assignments, replicas)
		}
		ev.Topics = append(ev.Topics, a)
	}
	out.Events = append(out.Events, ev)
}

func respondCreatePartitions(in *effect.PartitionsCreated) protocol.Message {
	r := new(protocol.CreatePartitionsResponse)
	r.Default()
	for i := range in.Topics {
		t := &in.Topics[i]
		to := protocol.Add(&r.Results)
		to.Name, to.ErrorCode, to.ErrorMessage = t.Name, t.Code, messageOf(t.Message)
	}
	return r
}
