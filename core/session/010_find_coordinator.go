package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/protocol"
)

// Kinds of coordinators, in Kafka's numbers.
const (
	coordinatorOfGroup       = 0
	coordinatorOfTransaction = 1
)

// receiveFindCoordinator asks who coordinates groups. From version 4 on one request asks for several (KIP-699).
func (s *Session) receiveFindCoordinator(rq *request, out *Out) {
	var in protocol.FindCoordinatorRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	keys := in.CoordinatorKeys
	if rq.version < 4 {
		keys = []string{in.CoordinatorKey}
	}
	keys = once(keys)
	switch in.KeyType {
	case coordinatorOfGroup:
		out.Events = append(out.Events, &broker.FindCoordinator{To: rq.id, Groups: keys})
	case coordinatorOfTransaction:
		s.answer(rq.slot, noCoordinator(rq.slot, keys, kerr.CoordinatorNotAvailable, "transactions are not served yet"), out)
	default:
		s.answer(rq.slot, noCoordinator(rq.slot, keys, kerr.InvalidRequest, "coordinators of this kind are not served"), out)
	}
}

// once is a list without what it repeats. Answers that cost more than their question is long are given once.
func once(list []string) []string {
	seen := make(map[string]bool, len(list))
	out := make([]string, 0, len(list))
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

func noCoordinator(sl *slot, keys []string, code *kerr.Error, why string) protocol.Message {
	in := &effect.CoordinatorsFound{}
	for _, key := range keys {
		in.Coordinators = append(in.Coordinators, effect.CoordinatorFound{
			Key: key, Code: code.Code, Message: why, Node: effect.Broker{ID: -1, Port: -1},
		})
	}
	return respondFindCoordinator(sl, in)
}

func respondFindCoordinator(sl *slot, in *effect.CoordinatorsFound) protocol.Message {
	r := new(protocol.FindCoordinatorResponse)
	r.Default()
	for i := range in.Coordinators {
		c := &in.Coordinators[i]
		if sl.version < 4 {
			r.ErrorCode, r.NodeID, r.Host, r.Port = c.Code, int32(c.Node.ID), c.Node.Host, c.Node.Port
			r.ErrorMessage = protocol.NullString{Value: c.Message, Valid: c.Message != ""}
			break
		}
		to := protocol.Add(&r.Coordinators)
		to.Key, to.NodeID, to.Host, to.Port, to.ErrorCode = c.Key, int32(c.Node.ID), c.Node.Host, c.Node.Port, c.Code
		to.ErrorMessage = protocol.NullString{Value: c.Message, Valid: c.Message != ""}
	}
	return r
}
