package session

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// receiveNodeHello learns which node is at the other end. From then on it is served what only nodes are served; it
// speaks for itself and for no other node.
func (s *Session) receiveNodeHello(rq *request, out *Out) {
	var in protocol.NodeHelloRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	r := new(protocol.NodeHelloResponse)
	r.Default()
	r.ClusterID, r.NodeID, r.IncarnationID = s.config.ClusterID, int32(s.config.NodeID), s.config.Incarnation
	refuse := func(code int16, format string, args ...any) {
		r.ErrorCode, r.ErrorMessage = code, protocol.String(fmt.Sprintf(format, args...))
	}
	from := model.NodeID(in.NodeID)
	switch {
	case in.ClusterID != s.config.ClusterID:
		refuse(kerr.InconsistentClusterID.Code, "this node is of cluster %q", s.config.ClusterID)
	case model.NodeID(in.ToNodeID) != s.config.NodeID:
		refuse(kerr.RebootstrapRequired.Code, "this is node %d", s.config.NodeID)
	case from < 0:
		refuse(kerr.InvalidRequest.Code, "%d is no node's id", from)
	case from == s.config.NodeID:
		refuse(kerr.DuplicateBrokerRegistration.Code, "node %d is this node: each node needs an id of its own", from)
	case s.peer != model.NoNode && s.peer != from:
		refuse(kerr.InvalidRequest.Code, "this connection is node %d's", s.peer)
	default:
		s.peer = from
		for _, a := range apis {
			if !a.asksNode() {
				continue
			}
			to := protocol.Add(&r.APIKeys)
			to.APIKey, to.MinVersion, to.MaxVersion = a.Key, a.ServedMin, a.VersionMax
		}
	}
	s.answer(rq.slot, r, out)
}

// speaksFor reports whether the node at the other end is the one that a request is of. If not, the connection is closed.
func (s *Session) speaksFor(rq *request, node model.NodeID, out *Out) bool {
	if node == s.peer {
		return true
	}
	s.close(out, "%v of node %d by node %d", rq.slot.key, node, s.peer)
	return false
}
