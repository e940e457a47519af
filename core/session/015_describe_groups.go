package session

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveDescribeGroups(rq *request, out *Out) {
	in := new(protocol.DescribeGroupsRequest)
	if !s.decodeWhole(rq, in, out) {
		return
	}
	rq.slot.asked = in
	out.Events = append(out.Events, &broker.DescribeGroups{To: rq.id, Groups: once(in.Groups)})
}

// groupOperations is what anybody may do to a group while every peer is trusted, as Kafka numbers operations in a
// set: read (3), delete (6) and describe (8).
const groupOperations = 1<<3 | 1<<6 | 1<<8

func respondDescribeGroups(sl *slot, in *effect.GroupsDescribed) protocol.Message {
	r := new(protocol.DescribeGroupsResponse)
	r.Default()
	asked := sl.asked.(*protocol.DescribeGroupsRequest)
	for i := range in.Groups {
		g := &in.Groups[i]
		to := protocol.Add(&r.Groups)
		to.ErrorCode, to.GroupID, to.GroupState = g.Code, g.Group, g.State
		to.ProtocolType, to.ProtocolData = g.ProtocolType, g.Protocol
		if sl.version >= 6 && g.Code == 0 && g.State == group.Dead.String() {
			// Before version 6 a group that is not there is one that is dead (KIP-1043).
			to.ErrorCode = kerr.GroupIDNotFound.Code
			to.ErrorMessage = protocol.String(fmt.Sprintf("group %.100s not found", g.Group))
		}
		if asked.IncludeAuthorizedOperations && g.Code == 0 {
			to.AuthorizedOperations = groupOperations
		}
		for k := range g.Members {
			m := &g.Members[k]
			at := protocol.Add(&to.Members)
			at.MemberID, at.ClientID, at.ClientHost = m.Member, m.ClientID, m.ClientHost
			at.GroupInstanceID = protocol.NullString{Value: m.Instance, Valid: m.Instance != ""}
			at.MemberMetadata, at.MemberAssignment = m.Metadata, m.Assignment
		}
	}
	return r
}
