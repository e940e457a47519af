package client

import (
	"slices"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// DescribeBrokers asks which brokers have registered, those that are not counted on included where the cluster tells
// them (KIP-1073).
func (a *Admin) DescribeBrokers(now model.Time, out *Out) OpID {
	return a.run(now, errand{
		to: toAnybody, key: protocol.KeyDescribeCluster,
		encode: encoding(func(m *protocol.DescribeClusterRequest, version int16, _ int32) {
			m.IncludeFencedBrokers = version >= 2
		}),
		decode: decoding(func(a *Answer, m *protocol.DescribeClusterResponse) (int16, string) {
			a.Cluster = ClusterDescription{ID: m.ClusterID, Controller: model.NodeID(m.ControllerID)}
			for i := range m.Brokers {
				b := &m.Brokers[i]
				a.Cluster.Brokers = append(a.Cluster.Brokers, BrokerDescription{
					ID: model.NodeID(b.BrokerID), Addr: hostPort(b.Host, b.Port), Rack: b.Rack.Value, Fenced: b.IsFenced,
				})
			}
			slices.SortFunc(a.Cluster.Brokers, func(x, y BrokerDescription) int { return int(x.ID) - int(y.ID) })
			return m.ErrorCode, m.ErrorMessage.Value
		}),
	}, out)
}

// UnregisterBroker asks for a broker to be forgotten.
func (a *Admin) UnregisterBroker(now model.Time, node model.NodeID, out *Out) OpID {
	return a.run(now, errand{
		to: toController, key: protocol.KeyUnregisterBroker, changes: true,
		encode: encoding(func(m *protocol.UnregisterBrokerRequest, _ int16, _ int32) {
			m.BrokerID = int32(node)
		}),
		decode: decoding(func(_ *Answer, m *protocol.UnregisterBrokerResponse) (int16, string) {
			return m.ErrorCode, m.ErrorMessage.Value
		}),
	}, out)
}
