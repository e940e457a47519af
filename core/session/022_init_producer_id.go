package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveInitProducerID(rq *request, out *Out) {
	var in protocol.InitProducerIDRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	if in.TransactionalID.Valid {
		// No transaction API is advertised; a client that tries all the same is told so for good.
		s.answer(rq.slot, respondInitProducerID(&effect.ProducerIDAssigned{
			Code: kerr.UnsupportedVersion.Code, ID: model.NoProducerID, Epoch: model.NoProducerEpoch,
		}), out)
		return
	}
	out.Events = append(out.Events, &broker.InitProducerID{
		To: rq.id, ID: model.ProducerID(in.ProducerID), Epoch: model.ProducerEpoch(in.ProducerEpoch),
	})
}

func respondInitProducerID(in *effect.ProducerIDAssigned) protocol.Message {
	r := new(protocol.InitProducerIDResponse)
	r.Default()
	r.ErrorCode, r.ProducerID, r.ProducerEpoch = in.Code, int64(in.ID), int16(in.Epoch)
	return r
}
