package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveDeleteTopics(rq *request, out *Out) {
	var in protocol.DeleteTopicsRequest
	if !s.decode(rq, &in, out) {
		return
	}
	ev := &broker.DeleteTopics{To: rq.id, Origin: s.origin(rq)}
	for _, name := range in.TopicNames {
		ev.Topics = append(ev.Topics, controller.DeleteTopic{Name: name})
	}
	for i := range in.Topics {
		t := &in.Topics[i]
		d := controller.DeleteTopic{Name: t.Name.Value, ID: model.TopicID(t.TopicID), ByID: !t.Name.Valid}
		switch {
		case t.Name.Valid && !d.ID.IsZero():
			d.Problem = "a topic is named by its name or by its id, not by both"
		case d.ByID && d.ID.IsZero():
			d.Problem = "neither a name nor an id was given"
		}
		ev.Topics = append(ev.Topics, d)
	}
	out.Events = append(out.Events, ev)
}

func respondDeleteTopics(sl *slot, in *effect.TopicsDeleted) protocol.Message {
	r := new(protocol.DeleteTopicsResponse)
	r.Default()
	for i := range in.Topics {
		t := &in.Topics[i]
		to := protocol.Add(&r.Responses)
		to.Name = protocol.NullString{Value: t.Name, Valid: t.Name != "" || sl.version < 6}
		to.TopicID, to.ErrorCode = [16]byte(t.ID), t.Code
		to.ErrorMessage = messageOf(t.Message)
	}
	return r
}
