package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveAllocateProducerIDs(rq *request, out *Out) {
	var in protocol.AllocateProducerIDsRequest
	if !s.decodeWhole(rq, &in, out) || !s.speaksFor(rq, model.NodeID(in.BrokerID), out) {
		return
	}
	out.Events = append(out.Events, &broker.AllocateProducerIDs{To: rq.id, Ask: effect.AllocateProducerIDs{
		Broker: model.NodeID(in.BrokerID), BrokerEpoch: model.BrokerEpoch(in.BrokerEpoch),
	}})
}

func respondAllocateProducerIDs(in *effect.ProducerIDsAllocated) protocol.Message {
	r := new(protocol.AllocateProducerIDsResponse)
	r.Default()
	r.ErrorCode, r.ProducerIDStart, r.ProducerIDLen = in.Code, int64(in.First), in.Count
	return r
}
