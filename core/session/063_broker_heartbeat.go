package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveBrokerHeartbeat(rq *request, out *Out) {
	var in protocol.BrokerHeartbeatRequest
	if !s.decodeWhole(rq, &in, out) || !s.speaksFor(rq, model.NodeID(in.BrokerID), out) {
		return
	}
	ask := effect.HeartbeatBroker{
		Broker: model.NodeID(in.BrokerID), BrokerEpoch: model.BrokerEpoch(in.BrokerEpoch), MetadataOffset: model.Offset(in.CurrentMetadataOffset),
		WantFence: in.WantFence, WantShutdown: in.WantShutDown,
	}
	for _, id := range in.OfflineLogDirs {
		ask.OfflineDirectories = append(ask.OfflineDirectories, id)
	}
	out.Events = append(out.Events, &broker.BrokerHeartbeat{To: rq.id, Ask: ask})
}

func respondBrokerHeartbeat(in *effect.BrokerHeartbeatAnswered) protocol.Message {
	r := new(protocol.BrokerHeartbeatResponse)
	r.Default()
	r.ErrorCode, r.IsCaughtUp, r.IsFenced, r.ShouldShutDown = in.Code, in.IsCaughtUp, in.IsFenced, in.ShouldShutdown
	return r
}
