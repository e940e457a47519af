package clienttest

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (c *Cluster) fetch(at model.NodeID, m *protocol.FetchRequest, version int16) (*protocol.FetchResponse, bool) {
	var a protocol.FetchResponse
	a.Default()
	a.ThrottleTimeMs = c.ThrottleMs
	empty, refused := true, false
	left, available := int(m.MaxBytes), 0 // what there is counts up to the partition's limit, as in Kafka
	for i := range m.Topics {
		t := &m.Topics[i]
		topic := c.find(t.Topic, model.TopicID(t.TopicID), version >= 13)
		at1 := protocol.Add(&a.Responses)
		at1.Topic, at1.TopicID = t.Topic, t.TopicID
		for j := range t.Partitions {
			q := &t.Partitions[j]
			x := protocol.Add(&at1.Partitions)
			x.PartitionIndex = q.Partition
			x.HighWatermark = -1
			x.Records.Null = false
			p, code := c.partition(at, topic, version >= 13, q.Partition, q.CurrentLeaderEpoch)
			if code == 0 {
				code = c.script(at, protocol.KeyFetch, topic.Name, model.Partition(q.Partition)).Code
			}
			if code == 0 && (model.Offset(q.FetchOffset) < p.Start || model.Offset(q.FetchOffset) > p.End()) {
				code = kerr.OffsetOutOfRange.Code
			}
			x.ErrorCode = code
			if code != 0 {
				refused, empty = true, false
				continue
			}
			end := p.End()
			if p.LastStable >= 0 {
				x.LastStableOffset = int64(p.LastStable)
				if m.IsolationLevel == 1 {
					end = p.LastStable
				}
			} else {
				x.LastStableOffset = int64(end)
			}
			x.HighWatermark = int64(p.End())
			if p.HighWatermark >= 0 {
				x.HighWatermark, end = int64(p.HighWatermark), min(end, p.HighWatermark)
			}
			x.LogStartOffset = int64(p.Start)
			first, last := model.Offset(-1), model.Offset(-1)
			here := 0
			for _, b := range p.Batches {
				if b.NextOffset() > model.Offset(q.FetchOffset) && b.BaseOffset() < end {
					here += len(b)
				}
			}
			available += min(here, int(q.PartitionMaxBytes))
			for _, b := range p.Batches {
				if b.NextOffset() <= model.Offset(q.FetchOffset) || b.BaseOffset() >= end {
					continue
				}
				if n := len(x.Records.Bytes) + len(b); n > int(q.PartitionMaxBytes) && len(x.Records.Bytes) > 0 || len(b) > left && !empty {
					break
				}
				if first < 0 {
					first = b.BaseOffset()
				}
				last = b.LastOffset()
				x.Records.Bytes = append(x.Records.Bytes, b...)
				left -= len(b)
				empty = false
			}
			if m.IsolationLevel == 1 {
				x.AbortedTransactions = []protocol.FetchResponseAbortedTransaction{}
				for _, t := range p.Aborted {
					if t.Last >= first && t.First <= last {
						y := protocol.Add(&x.AbortedTransactions)
						y.ProducerID, y.FirstOffset = int64(t.ID), int64(t.First)
					}
				}
			}
		}
	}
	if available < int(m.MinBytes) && !refused {
		empty = true // worth waiting for more
	}
	return &a, empty
}

func (c *Cluster) listOffsets(at model.NodeID, m *protocol.ListOffsetsRequest, version int16) *protocol.ListOffsetsResponse {
	var a protocol.ListOffsetsResponse
	a.Default()
	for i := range m.Topics {
		t := &m.Topics[i]
		topic := c.Topic(t.Name)
		at1 := protocol.Add(&a.Topics)
		at1.Name = t.Name
		for j := range t.Partitions {
			q := &t.Partitions[j]
			x := protocol.Add(&at1.Partitions)
			x.PartitionIndex = q.PartitionIndex
			p, code := c.partition(at, topic, false, q.PartitionIndex, q.CurrentLeaderEpoch)
			if code == 0 {
				code = c.script(at, protocol.KeyListOffsets, t.Name, model.Partition(q.PartitionIndex)).Code
			}
			if code == 0 && q.Timestamp == -1 && p.HighWatermark >= 0 {
				code = kerr.OffsetNotAvailable.Code
			}
			if x.ErrorCode = code; code != 0 {
				continue
			}
			if version >= 4 {
				x.LeaderEpoch = int32(p.Epoch)
			}
			switch q.Timestamp {
			case -1:
				x.Offset = int64(p.End())
				if m.IsolationLevel == 1 && p.LastStable >= 0 {
					x.Offset = int64(p.LastStable)
				}
			case -2:
				x.Offset = int64(p.Start)
			case -3:
				for _, r := range p.Records() {
					if int64(r.Timestamp) > x.Timestamp {
						x.Offset, x.Timestamp = int64(r.Offset), int64(r.Timestamp)
					}
				}
			default:
				for _, r := range p.Records() {
					if int64(r.Timestamp) >= q.Timestamp && r.Offset >= p.Start {
						x.Offset, x.Timestamp = int64(r.Offset), int64(r.Timestamp)
						break
					}
				}
			}
		}
	}
	return &a
}
