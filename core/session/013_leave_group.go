package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveLeaveGroup(rq *request, out *Out) {
	var in protocol.LeaveGroupRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	ev := &broker.LeaveGroup{Leave: group.Leave{To: rq.id, Wall: rq.wall, Group: in.GroupID}}
	if rq.version < 3 {
		ev.Members = []group.LeavingMember{{Member: in.MemberID}}
	}
	for i := range in.Members {
		m := &in.Members[i]
		ev.Members = append(ev.Members, group.LeavingMember{Member: m.MemberID, Instance: m.GroupInstanceID.Value, Reason: m.Reason.Value})
	}
	out.Events = append(out.Events, ev)
}

func respondLeaveGroup(sl *slot, in *effect.GroupLeft) protocol.Message {
	r := new(protocol.LeaveGroupResponse)
	r.Default()
	r.ErrorCode = in.Code
	if sl.version < 3 {
		if in.Code == 0 && len(in.Members) > 0 {
			r.ErrorCode = in.Members[0].Code
		}
		return r
	}
	for i := range in.Members {
		m := &in.Members[i]
		to := protocol.Add(&r.Members)
		to.MemberID, to.ErrorCode = m.Member, m.Code
		to.GroupInstanceID = protocol.NullString{Value: m.Instance, Valid: m.Instance != ""}
	}
	return r
}
