package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveDamagedReplicas(rq *request, out *Out) {
	var in protocol.DamagedReplicasRequest
	if !s.decodeWhole(rq, &in, out) || !s.speaksFor(rq, model.NodeID(in.BrokerID), out) {
		return
	}
	ev := &broker.ReportDamaged{To: rq.id, Ask: effect.ReportDamaged{Broker: model.NodeID(in.BrokerID), BrokerEpoch: model.BrokerEpoch(in.BrokerEpoch)}}
	for t := range in.Topics {
		topic := &in.Topics[t]
		for _, p := range topic.Partitions {
			ev.Ask.Parts = append(ev.Ask.Parts, effect.DamagedPart{
				Partition:   model.TopicPartition{Topic: model.TopicID(topic.TopicID), Partition: model.Partition(p.PartitionIndex)},
				LeaderEpoch: model.LeaderEpoch(p.LeaderEpoch),
			})
		}
	}
	out.Events = append(out.Events, ev)
}

func respondDamagedReplicas(in *effect.DamagedReported) protocol.Message {
	r := new(protocol.DamagedReplicasResponse)
	r.Default()
	r.ErrorCode = in.Code
	for _, p := range in.Parts {
		if n := len(r.Topics); n == 0 || r.Topics[n-1].TopicID != [16]byte(p.Partition.Topic) {
			protocol.Add(&r.Topics).TopicID = [16]byte(p.Partition.Topic)
		}
		to := protocol.Add(&r.Topics[len(r.Topics)-1].Partitions)
		to.PartitionIndex, to.ErrorCode = int32(p.Partition.Partition), p.Code
	}
	return r
}
