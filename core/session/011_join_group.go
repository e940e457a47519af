package session

import (
	"slices"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveJoinGroup(rq *request, out *Out) {
	var in protocol.JoinGroupRequest
	if !s.decode(rq, &in, out) {
		return
	}
	ev := &broker.JoinGroup{Join: group.Join{
		To: rq.id, Wall: rq.wall, Group: in.GroupID, Member: in.MemberID, Instance: in.GroupInstanceID.Value,
		ClientID: s.ClientID, ClientHost: s.ClientHost, SessionTimeoutMs: in.SessionTimeoutMs,
		RebalanceTimeoutMs: in.RebalanceTimeoutMs, ProtocolType: in.ProtocolType,
		MemberIDRequired: rq.version >= 4, CanSkipAssignment: rq.version >= 9, Reason: in.Reason.Value,
	}}
	if rq.version < 1 {
		ev.RebalanceTimeoutMs = in.SessionTimeoutMs // it was one and the same then
	}
	for i := range in.Protocols {
		p := &in.Protocols[i]
		ev.Protocols = append(ev.Protocols, group.Protocol{Name: p.Name, Metadata: slices.Clone(p.Metadata)})
	}
	out.Free = append(out.Free, rq.frame)
	out.Events = append(out.Events, ev)
}

func respondJoinGroup(sl *slot, in *effect.GroupJoined) protocol.Message {
	r := new(protocol.JoinGroupResponse)
	r.Default()
	r.ErrorCode, r.GenerationID, r.Leader, r.MemberID = in.Code, in.Generation, in.Leader, in.Member
	r.ProtocolType = protocol.NullString{Value: in.ProtocolType, Valid: in.ProtocolType != ""}
	// Before version 7 there is no null, and no protocol is an empty name.
	r.ProtocolName = protocol.NullString{Value: in.Protocol, Valid: in.Protocol != "" || sl.version < 7}
	if sl.version >= 9 {
		r.SkipAssignment = in.SkipAssignment
	}
	for i := range in.Members {
		to := protocol.Add(&r.Members)
		to.MemberID, to.Metadata = in.Members[i].Member, in.Members[i].Metadata
		to.GroupInstanceID = protocol.NullString{Value: in.Members[i].Instance, Valid: in.Members[i].Instance != ""}
	}
	return r
}
