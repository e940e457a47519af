package clienttest

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

func (c *Cluster) produce(at model.NodeID, m *protocol.ProduceRequest, version int16) *protocol.ProduceResponse {
	var a protocol.ProduceResponse
	a.Default()
	a.ThrottleTimeMs = c.ThrottleMs
	hinted := false
	for i := range m.TopicData {
		t := &m.TopicData[i]
		topic := c.find(t.Name, model.TopicID(t.TopicID), version >= 13)
		at1 := protocol.Add(&a.Responses)
		at1.Name, at1.TopicID = t.Name, t.TopicID
		for j := range t.PartitionData {
			d := &t.PartitionData[j]
			x := protocol.Add(&at1.PartitionResponses)
			x.Index = d.Index
			p, code := c.partition(at, topic, version >= 13, d.Index, -1)
			var v Verdict
			if p != nil {
				v = c.script(at, protocol.KeyProduce, topic.Name, model.Partition(d.Index))
			}
			if code == 0 && v.Code != 0 && !v.Append {
				code = v.Code
			}
			if code == 0 {
				x.BaseOffset, code = c.append(topic, p, d.Records.Bytes)
				if topic.AppendTime {
					x.LogAppendTimeMs = int64(c.Wall)
				}
			}
			if code == 0 {
				code = v.Code
			}
			x.ErrorCode = code
			if code != 0 {
				x.BaseOffset = -1
			}
			if c.Hints && version >= 10 && code == kerr.NotLeaderForPartition.Code {
				x.CurrentLeader.LeaderID, x.CurrentLeader.LeaderEpoch = int32(p.Leader), int32(p.Epoch)
				hinted = true
			}
		}
	}
	if hinted {
		for _, id := range c.Brokers {
			e := protocol.Add(&a.NodeEndpoints)
			e.NodeID = int32(id)
			e.Host, e.Port = c.hostPort(id)
		}
	}
	return &a
}

func (c *Cluster) append(t *Topic, p *Partition, b []byte) (int64, int16) {
	var d record.Decompressor
	if c.BatchBytesMax > 0 && len(b) > c.BatchBytesMax {
		return -1, kerr.MessageTooLarge.Code
	}
	h, err := record.ValidateProduced(b, record.Limits{}, &d)
	if err != nil {
		return -1, record.Code(err)
	}
	if h.HasProducer() {
		s := p.producers[h.ProducerID]
		switch {
		case s == nil && h.BaseSequence != 0 && c.StrictSequences:
			return -1, kerr.OutOfOrderSequenceNumber.Code
		case s == nil:
			s = &producerState{epoch: h.ProducerEpoch}
			p.producers[h.ProducerID] = s
		case h.ProducerEpoch < s.epoch:
			return -1, kerr.InvalidProducerEpoch.Code
		case h.ProducerEpoch > s.epoch:
			if h.BaseSequence != 0 {
				return -1, kerr.OutOfOrderSequenceNumber.Code
			}
			*s = producerState{epoch: h.ProducerEpoch}
		default:
			for _, r := range s.recent {
				if r.first == h.BaseSequence && r.last == h.LastSequence() {
					return int64(r.base), 0
				}
			}
			if n := len(s.recent); n > 0 && s.recent[n-1].last.Add(1) != h.BaseSequence {
				return -1, kerr.OutOfOrderSequenceNumber.Code
			}
		}
		s.recent = append(s.recent, recent{h.BaseSequence, h.LastSequence(), p.End()})
		if len(s.recent) > 5 {
			s.recent = s.recent[1:]
		}
	}
	stored := slices.Clone(b)
	if t.AppendTime {
		record.StampAppendTime(stored, c.Wall)
	}
	return int64(p.Append(stored)), 0
}
