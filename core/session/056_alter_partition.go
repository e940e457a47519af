package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// recovering is Kafka's number of a leader that was elected uncleanly and has not repaired its log (KIP-704).
const recovering = 1

func (s *Session) receiveAlterPartition(rq *request, out *Out) {
	var in protocol.AlterPartitionRequest
	if !s.decodeWhole(rq, &in, out) || !s.speaksFor(rq, model.NodeID(in.BrokerID), out) {
		return
	}
	ev := &broker.AlterPartition{To: rq.id, Ask: effect.AlterPartition{Broker: model.NodeID(in.BrokerID), BrokerEpoch: model.BrokerEpoch(in.BrokerEpoch)}}
	for t := range in.Topics {
		topic := &in.Topics[t]
		for i := range topic.Partitions {
			p := &topic.Partitions[i]
			part := effect.AlterPartitionPart{
				Partition:   model.TopicPartition{Topic: model.TopicID(topic.TopicID), Partition: model.Partition(p.PartitionIndex)},
				LeaderEpoch: model.LeaderEpoch(p.LeaderEpoch), PartitionEpoch: model.PartitionEpoch(p.PartitionEpoch),
				Recovering: p.LeaderRecoveryState == recovering,
			}
			for _, b := range p.NewIsrWithEpochs {
				part.ISR = append(part.ISR, effect.BrokerState{Broker: model.NodeID(b.BrokerID), BrokerEpoch: model.BrokerEpoch(b.BrokerEpoch)})
			}
			ev.Ask.Parts = append(ev.Ask.Parts, part)
		}
	}
	out.Events = append(out.Events, ev)
}

func respondAlterPartition(in *effect.PartitionsAltered) protocol.Message {
	r := new(protocol.AlterPartitionResponse)
	r.Default()
	r.ErrorCode = in.Code
	for i := range in.Parts {
		p := &in.Parts[i]
		if n := len(r.Topics); n == 0 || r.Topics[n-1].TopicID != [16]byte(p.Partition.Topic) {
			protocol.Add(&r.Topics).TopicID = [16]byte(p.Partition.Topic)
		}
		to := protocol.Add(&r.Topics[len(r.Topics)-1].Partitions)
		to.PartitionIndex, to.ErrorCode, to.LeaderID = int32(p.Partition.Partition), p.Code, int32(p.Leader)
		to.LeaderEpoch, to.PartitionEpoch = int32(p.LeaderEpoch), int32(p.PartitionEpoch)
		if p.Recovering {
			to.LeaderRecoveryState = recovering
		}
		for _, id := range p.ISR {
			to.Isr = append(to.Isr, int32(id))
		}
	}
	return r
}
