package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveDeleteGroups(rq *request, out *Out) {
	var in protocol.DeleteGroupsRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	out.Events = append(out.Events, &broker.DeleteGroups{To: rq.id, Wall: rq.wall, Groups: once(in.GroupsNames)})
}

func respondDeleteGroups(in *effect.GroupsDeleted) protocol.Message {
	r := new(protocol.DeleteGroupsResponse)
	r.Default()
	for i := range in.Results {
		to := protocol.Add(&r.Results)
		to.GroupID, to.ErrorCode = in.Results[i].Group, in.Results[i].Code
		to.ErrorMessage = protocol.NullString{Value: in.Results[i].Message, Valid: in.Results[i].Message != ""}
	}
	return r
}
