package link

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// decode reads the answer to a call, behind its header. aliases says that the answer refers to the frame.
func (l *Link) decode(k *call) (body effect.AnswerBody, aliases bool, err error) {
	switch asked := k.body.(type) {
	case *effect.ReplicaFetch:
		body, err = l.decodeFetched(asked, k.version)
		return body, true, err
	case *effect.AlterPartition:
		body, err = l.decodePartitionsAltered(asked, k.version)
	case *effect.RegisterBroker:
		var r protocol.BrokerRegistrationResponse
		if err = l.read(&r, k.version); err == nil && r.ErrorCode == 0 && r.BrokerEpoch < 0 {
			err = fmt.Errorf("a broker is registered with epoch %d", r.BrokerEpoch)
		}
		body = &effect.BrokerRegistered{Code: r.ErrorCode, BrokerEpoch: model.BrokerEpoch(r.BrokerEpoch)}
	case *effect.HeartbeatBroker:
		var r protocol.BrokerHeartbeatResponse
		err = l.read(&r, k.version)
		body = &effect.BrokerHeartbeatAnswered{Code: r.ErrorCode, IsCaughtUp: r.IsCaughtUp, IsFenced: r.IsFenced, ShouldShutdown: r.ShouldShutDown}
	case *effect.AllocateProducerIDs:
		var r protocol.AllocateProducerIDsResponse
		if err = l.read(&r, k.version); err == nil && r.ErrorCode == 0 &&
			(r.ProducerIDStart < 0 || r.ProducerIDLen <= 0 || r.ProducerIDStart > 1<<63-1-int64(r.ProducerIDLen)) {
			err = fmt.Errorf("%d producer ids are allocated from %d", r.ProducerIDLen, r.ProducerIDStart)
		}
		body = &effect.ProducerIDsAllocated{Code: r.ErrorCode, First: model.ProducerID(r.ProducerIDStart), Count: r.ProducerIDLen}
	case *effect.ReportDamaged:
		body, err = l.decodeDamagedReported(asked, k.version)
	case *effect.QuorumMessages:
		var r protocol.QuorumMessagesResponse
		err = l.read(&r, k.version)
		body = &effect.QuorumMessagesTaken{Code: r.ErrorCode, Voter: model.VoterID(r.VoterID), HasLog: r.HasLog}
	case *effect.Forward:
		body, err = l.decodeForwarded(asked, k.version)
		return body, true, err
	case *effect.FetchImage:
		body, err = l.decodeImage(asked, k.version)
		return body, true, err
	case *effect.CreateMissing:
		body, err = l.decodeTopicsCreated(k.version)
	default:
		invariant.Checkf(false, "a call of unknown kind was sent: %T", asked)
	}
	return body, false, err
}

// read decodes the whole of a response's body.
func (l *Link) read(m protocol.Message, version int16) error {
	m.Decode(&l.reader, version)
	return l.reader.Finish()
}

func (l *Link) decodePartitionsAltered(asked *effect.AlterPartition, version int16) (effect.AnswerBody, error) {
	var r protocol.AlterPartitionResponse
	if err := l.read(&r, version); err != nil {
		return nil, err
	}
	body := &effect.PartitionsAltered{Code: r.ErrorCode}
	clear(l.parts)
	for i := range asked.Parts {
		l.parts[asked.Parts[i].Partition] = i + 1
	}
	for t := range r.Topics {
		topic := &r.Topics[t]
		for i := range topic.Partitions {
			p := &topic.Partitions[i]
			part := effect.PartitionAltered{
				Partition: model.TopicPartition{Topic: model.TopicID(topic.TopicID), Partition: model.Partition(p.PartitionIndex)},
				Code:      p.ErrorCode, Leader: model.NodeID(p.LeaderID), LeaderEpoch: model.LeaderEpoch(p.LeaderEpoch),
				Recovering: p.LeaderRecoveryState == recovering, PartitionEpoch: model.PartitionEpoch(p.PartitionEpoch),
			}
			if l.parts[part.Partition] <= 0 {
				return nil, fmt.Errorf("%v was not asked for, or is there twice", part.Partition)
			}
			l.parts[part.Partition] = -1
			if p.ErrorCode == 0 && (p.LeaderEpoch < 0 || p.PartitionEpoch < 0) {
				return nil, fmt.Errorf("%v has leader epoch %d and partition epoch %d", part.Partition, p.LeaderEpoch, p.PartitionEpoch)
			}
			for _, id := range p.Isr {
				part.ISR = append(part.ISR, model.NodeID(id))
			}
			body.Parts = append(body.Parts, part)
		}
	}
	if body.Code != 0 {
		body.Parts = nil
	}
	return body, nil
}

func (l *Link) decodeDamagedReported(asked *effect.ReportDamaged, version int16) (effect.AnswerBody, error) {
	var r protocol.DamagedReplicasResponse
	if err := l.read(&r, version); err != nil {
		return nil, err
	}
	body := &effect.DamagedReported{Code: r.ErrorCode}
	clear(l.parts)
	for i := range asked.Parts {
		l.parts[asked.Parts[i].Partition] = i + 1
	}
	for t := range r.Topics {
		topic := &r.Topics[t]
		for _, p := range topic.Partitions {
			tp := model.TopicPartition{Topic: model.TopicID(topic.TopicID), Partition: model.Partition(p.PartitionIndex)}
			if l.parts[tp] <= 0 {
				return nil, fmt.Errorf("%v was not asked for, or is there twice", tp)
			}
			l.parts[tp] = -1
			body.Parts = append(body.Parts, effect.DamagedPartReported{Partition: tp, Code: p.ErrorCode})
		}
	}
	if body.Code != 0 {
		body.Parts = nil
	}
	return body, nil
}

func (l *Link) decodeForwarded(asked *effect.Forward, version int16) (effect.AnswerBody, error) {
	var r protocol.EnvelopeResponse
	if err := l.read(&r, version); err != nil {
		return nil, err
	}
	body := &effect.Forwarded{Code: r.ErrorCode}
	if body.Code != 0 {
		return body, nil
	}
	const correlationAt = 4
	switch {
	case len(r.ResponseData) < 4:
		return nil, errors.New("an envelope comes back without a response")
	case len(asked.Request) < correlationAt+4 ||
		binary.BigEndian.Uint32(r.ResponseData) != binary.BigEndian.Uint32(asked.Request[correlationAt:]):
		return nil, errors.New("the response in an envelope is to another request")
	}
	body.Response = r.ResponseData
	return body, nil
}

func (l *Link) decodeImage(asked *effect.FetchImage, version int16) (effect.AnswerBody, error) {
	var r protocol.FetchSnapshotResponse
	if err := l.read(&r, version); err != nil {
		return nil, err
	}
	body := &effect.ImageFetched{Code: r.ErrorCode, ID: asked.ID, Leader: model.NoNode, LeaderEpoch: model.NoLeaderEpoch, Position: asked.Position}
	if body.Code != 0 {
		return body, nil
	}
	if len(r.Topics) != 1 || r.Topics[0].Name != metadataTopic || len(r.Topics[0].Partitions) != 1 || r.Topics[0].Partitions[0].Index != int32(asked.Partition) {
		return nil, errors.New("it is not about the partition that was asked for")
	}
	p := &r.Topics[0].Partitions[0]
	body.Code = p.ErrorCode
	// Leader 0 in epoch 0 is what stands there when nothing was said: no leader is elected in epoch 0.
	if p.CurrentLeader.LeaderID >= 0 && p.CurrentLeader.LeaderEpoch > 0 {
		body.Leader, body.LeaderEpoch = model.NodeID(p.CurrentLeader.LeaderID), model.LeaderEpoch(p.CurrentLeader.LeaderEpoch)
	}
	if body.Code != 0 {
		return body, nil
	}
	bytes := p.UnalignedRecords.Bytes
	switch id := (effect.ImageID{EndOffset: model.Offset(p.SnapshotID.EndOffset), Epoch: model.LeaderEpoch(p.SnapshotID.Epoch)}); {
	case id != asked.ID:
		return nil, fmt.Errorf("image %d-%d was asked for, and %d-%d comes", asked.ID.EndOffset, asked.ID.Epoch, id.EndOffset, id.Epoch)
	case p.Position != asked.Position || p.Size < p.Position || int64(len(bytes)) > p.Size-p.Position:
		return nil, fmt.Errorf("%d bytes from %d of an image of %d bytes, asked for from %d", len(bytes), p.Position, p.Size, asked.Position)
	}
	body.SizeBytes, body.Bytes = p.Size, bytes
	return body, nil
}

func (l *Link) decodeTopicsCreated(version int16) (effect.AnswerBody, error) {
	var r protocol.CreateTopicsResponse
	if err := l.read(&r, version); err != nil {
		return nil, err
	}
	body := new(effect.TopicsCreated)
	for i := range r.Topics {
		t := &r.Topics[i]
		body.Topics = append(body.Topics, effect.TopicCreated{
			Name: t.Name, ID: model.TopicID(t.TopicID), Code: t.ErrorCode, Message: t.ErrorMessage.Value,
			PartitionCount: t.NumPartitions, ReplicationFactor: t.ReplicationFactor,
		})
	}
	return body, nil
}
