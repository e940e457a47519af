package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveRemoveRaftVoter(rq *request, out *Out) {
	var in protocol.RemoveRaftVoterRequest
	in.Default()
	if !s.decode(rq, &in, out) {
		return
	}
	out.Events = append(out.Events, &broker.RemoveVoter{
		To: rq.id, Origin: s.origin(rq), ClusterID: in.ClusterID.Value, Node: model.NodeID(in.VoterID), Directory: model.DirectoryID(in.VoterDirectoryID),
	})
}

func respondRemoveRaftVoter(in *effect.VotersChanged) protocol.Message {
	r := new(protocol.RemoveRaftVoterResponse)
	r.Default()
	r.ErrorCode, r.ErrorMessage = in.Code, messageOf(in.Message)
	return r
}
