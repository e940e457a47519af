package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveUnregisterBroker(rq *request, out *Out) {
	var in protocol.UnregisterBrokerRequest
	if !s.decode(rq, &in, out) {
		return
	}
	out.Events = append(out.Events, &broker.UnregisterBroker{To: rq.id, Origin: s.origin(rq), Node: model.NodeID(in.BrokerID)})
}

func respondUnregisterBroker(in *effect.BrokerUnregistered) protocol.Message {
	r := new(protocol.UnregisterBrokerResponse)
	r.Default()
	r.ErrorCode, r.ErrorMessage = in.Code, messageOf(in.Message)
	return r
}
