package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/protocol"
)

// receiveFindCoordinator says that there is no coordinator: consumer groups and transactions are not
// served yet. The key must be there all the same: librdkafka turns lz4 off when it is missing.
func (s *Session) receiveFindCoordinator(rq *request, out *Out) {
	var in protocol.FindCoordinatorRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	const why = "this broker does not serve consumer groups or transactions yet; assign partitions instead"
	r := new(protocol.FindCoordinatorResponse)
	r.Default()
	if rq.version < 4 {
		r.ErrorCode, r.NodeID, r.Port = kerr.CoordinatorNotAvailable.Code, -1, -1
		r.ErrorMessage = protocol.String(why)
	}
	for _, key := range in.CoordinatorKeys {
		to := protocol.Add(&r.Coordinators)
		to.Key, to.NodeID, to.Port = key, -1, -1
		to.ErrorCode, to.ErrorMessage = kerr.CoordinatorNotAvailable.Code, protocol.String(why)
	}
	s.answer(rq.slot, r, out)
}
