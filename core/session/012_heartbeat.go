package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveHeartbeat(rq *request, out *Out) {
	// Kept from one to the next: a member says the same each time, and equal strings are not made anew.
	in := &s.heartbeat
	if !s.decodeWhole(rq, in, out) {
		return
	}
	out.Events = append(out.Events, &broker.Heartbeat{Heartbeat: group.Heartbeat{
		To: rq.id, Group: in.GroupID, Generation: in.GenerationID, Member: in.MemberID, Instance: in.GroupInstanceID.Value,
	}})
}

func respondHeartbeat(in *effect.HeartbeatAnswered) protocol.Message {
	r := new(protocol.HeartbeatResponse)
	r.Default()
	r.ErrorCode = in.Code
	return r
}
