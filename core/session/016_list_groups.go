package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveListGroups(rq *request, out *Out) {
	var in protocol.ListGroupsRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	out.Events = append(out.Events, &broker.ListGroups{To: rq.id, States: once(in.StatesFilter), Types: once(in.TypesFilter)})
}

func respondListGroups(in *effect.GroupsListed) protocol.Message {
	r := new(protocol.ListGroupsResponse)
	r.Default()
	r.ErrorCode = in.Code
	for i := range in.Groups {
		g := &in.Groups[i]
		to := protocol.Add(&r.Groups)
		to.GroupID, to.ProtocolType, to.GroupState, to.GroupType = g.Group, g.ProtocolType, g.State, g.Type
	}
	return r
}
