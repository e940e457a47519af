package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// receiveAddRaftVoter does not look at the listeners that are named: where a node is reached it has registered itself.
func (s *Session) receiveAddRaftVoter(rq *request, out *Out) {
	var in protocol.AddRaftVoterRequest
	in.Default()
	if !s.decode(rq, &in, out) {
		return
	}
	out.Events = append(out.Events, &broker.AddVoter{
		To: rq.id, Origin: s.origin(rq), ClusterID: in.ClusterID.Value, Node: model.NodeID(in.VoterID), Directory: model.DirectoryID(in.VoterDirectoryID),
		Wait: model.Time(max(0, in.TimeoutMs)) * 1e6,
	})
}

func respondAddRaftVoter(in *effect.VotersChanged) protocol.Message {
	r := new(protocol.AddRaftVoterResponse)
	r.Default()
	r.ErrorCode, r.ErrorMessage = in.Code, messageOf(in.Message)
	return r
}
