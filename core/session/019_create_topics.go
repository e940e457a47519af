package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveCreateTopics(rq *request, out *Out) {
	var in protocol.CreateTopicsRequest
	if !s.decode(rq, &in, out) {
		return
	}
	if s.peer != model.NoNode && !rq.slot.envelope.is {
		// What a client asks of another node comes in an envelope: this is what the node itself wants for its clients.
		ev := &broker.CreateMissing{To: rq.id, Ask: effect.CreateMissing{Timeout: model.Time(in.TimeoutMs) * 1e6}}
		for i := range in.Topics {
			ev.Ask.Names = append(ev.Ask.Names, in.Topics[i].Name)
		}
		out.Events = append(out.Events, ev)
		return
	}
	ev := &broker.CreateTopics{To: rq.id, Origin: s.origin(rq), ValidateOnly: in.ValidateOnly}
	for i := range in.Topics {
		t := &in.Topics[i]
		c := controller.CreateTopic{Name: t.Name, PartitionCount: t.NumPartitions, ReplicationFactor: t.ReplicationFactor}
		for k := range t.Assignments {
			a := controller.Assignment{Partition: model.Partition(t.Assignments[k].PartitionIndex)}
			for _, id := range t.Assignments[k].BrokerIDs {
				a.Replicas = append(a.Replicas, model.NodeID(id))
			}
			c.Assignments = append(c.Assignments, a)
		}
		for k := range t.Configs {
			v := t.Configs[k].Value
			c.Settings = append(c.Settings, metadata.ConfigSetting{Name: t.Configs[k].Name, Value: v.Value, Null: !v.Valid})
		}
		ev.Topics = append(ev.Topics, c)
	}
	out.Events = append(out.Events, ev)
}

func respondCreateTopics(sl *slot, in *effect.TopicsCreated) protocol.Message {
	r := new(protocol.CreateTopicsResponse)
	r.Default()
	for i := range in.Topics {
		t := &in.Topics[i]
		to := protocol.Add(&r.Topics)
		to.Name, to.TopicID, to.ErrorCode = t.Name, [16]byte(t.ID), t.Code
		to.NumPartitions, to.ReplicationFactor = t.PartitionCount, t.ReplicationFactor
		to.ErrorMessage = messageOf(t.Message)
		// Java's admin client fails on a null list here.
		for _, c := range t.Configs {
			e := protocol.Add(&to.Configs)
			e.Name, e.Value, e.ConfigSource = c.Name, protocol.String(c.Value), int8(c.Source)
		}
	}
	return r
}
