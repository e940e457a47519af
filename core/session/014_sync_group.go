package session

import (
	"slices"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveSyncGroup(rq *request, out *Out) {
	var in protocol.SyncGroupRequest
	if !s.decode(rq, &in, out) {
		return
	}
	ev := &broker.SyncGroup{Sync: group.Sync{
		To: rq.id, Wall: rq.wall, Group: in.GroupID, Generation: in.GenerationID, Member: in.MemberID,
		Instance: in.GroupInstanceID.Value, ProtocolType: in.ProtocolType.Value, Protocol: in.ProtocolName.Value,
	}}
	for i := range in.Assignments {
		a := &in.Assignments[i]
		ev.Assignments = append(ev.Assignments, group.Assignment{Member: a.MemberID, Assignment: slices.Clone(a.Assignment)})
	}
	out.Free = append(out.Free, rq.frame)
	out.Events = append(out.Events, ev)
}

func respondSyncGroup(in *effect.GroupSynced) protocol.Message {
	r := new(protocol.SyncGroupResponse)
	r.Default()
	r.ErrorCode, r.Assignment = in.Code, in.Assignment
	r.ProtocolType = protocol.NullString{Value: in.ProtocolType, Valid: in.ProtocolType != ""}
	r.ProtocolName = protocol.NullString{Value: in.Protocol, Valid: in.Protocol != ""}
	return r
}
