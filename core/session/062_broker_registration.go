package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveBrokerRegistration(rq *request, out *Out) {
	var in protocol.BrokerRegistrationRequest
	if !s.decodeWhole(rq, &in, out) || !s.speaksFor(rq, model.NodeID(in.BrokerID), out) {
		return
	}
	ask := effect.RegisterBroker{
		Broker: model.NodeID(in.BrokerID), ClusterID: in.ClusterID, Incarnation: in.IncarnationID,
		Rack: in.Rack.Value, PreviousBrokerEpoch: model.BrokerEpoch(in.PreviousBrokerEpoch),
	}
	for i := range in.Listeners {
		l := &in.Listeners[i]
		ask.Listeners = append(ask.Listeners, effect.BrokerListener{Name: l.Name, Host: l.Host, Port: int32(l.Port), Security: l.SecurityProtocol})
	}
	for i := range in.Features {
		f := &in.Features[i]
		ask.Features = append(ask.Features, effect.BrokerFeature{Name: f.Name, LevelMin: f.MinSupportedVersion, LevelMax: f.MaxSupportedVersion})
	}
	for _, id := range in.LogDirs {
		ask.Directories = append(ask.Directories, id)
	}
	out.Events = append(out.Events, &broker.RegisterBroker{To: rq.id, Ask: ask})
}

func respondBrokerRegistration(in *effect.BrokerRegistered) protocol.Message {
	r := new(protocol.BrokerRegistrationResponse)
	r.Default()
	r.ErrorCode, r.BrokerEpoch = in.Code, int64(in.BrokerEpoch)
	return r
}
