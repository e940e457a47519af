package client

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// PartitionCursor is where a description goes on.
type PartitionCursor struct {
	Topic     string
	Partition model.Partition
}

// DescribePartitions describes topics with what Metadata does not tell, page by page: from a cursor on, nil for the start.
// One that is unknown is asked for again, as by DescribeTopics.
func (a *Admin) DescribePartitions(now model.Time, names []string, from *PartitionCursor, out *Out) OpID {
	names = slices.Sorted(slices.Values(names))
	return a.run(now, errand{
		to: toAnybody, key: protocol.KeyDescribeTopicPartitions, tells: true,
		encode: encoding(func(m *protocol.DescribeTopicPartitionsRequest, _ int16, _ int32) {
			for _, n := range names {
				protocol.Add(&m.Topics).Name = n
			}
			if from != nil {
				m.Cursor = &protocol.DescribeTopicPartitionsRequestCursor{TopicName: from.Topic, PartitionIndex: int32(from.Partition)}
			}
		}),
		decode: decoding(func(a *Answer, m *protocol.DescribeTopicPartitionsResponse) (int16, string) {
			return takePage(a, m, from)
		}),
	}, out)
}

// takePage reads a page of a description, which began at a cursor.
func takePage(a *Answer, m *protocol.DescribeTopicPartitionsResponse, from *PartitionCursor) (code int16, message string) {
	a.Described, a.Next = nil, nil
	for i := range m.Topics {
		t := &m.Topics[i]
		d := TopicDescription{Name: t.Name.Value, ID: model.TopicID(t.TopicID), Code: t.ErrorCode, Internal: t.IsInternal}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			d.Partitions = append(d.Partitions, PartitionDescription{
				Partition: model.Partition(p.PartitionIndex), Code: p.ErrorCode, Leader: model.NodeID(p.LeaderID), LeaderEpoch: model.LeaderEpoch(p.LeaderEpoch),
				Replicas: nodesOf(p.ReplicaNodes), ISR: nodesOf(p.IsrNodes), Offline: nodesOf(p.OfflineReplicas),
				ELR: nodesOf(p.EligibleLeaderReplicas), LastKnownELR: nodesOf(p.LastKnownElr),
			})
		}
		a.Described = append(a.Described, d)
	}
	if c := m.NextCursor; c != nil {
		a.Next = &PartitionCursor{Topic: c.TopicName, Partition: model.Partition(c.PartitionIndex)}
		if from != nil && a.Next.compare(from) <= 0 || len(m.Topics) == 0 {
			return kerr.UnknownServerError.Code, "the next page of the description would not lie behind this one"
		}
	}
	if slices.ContainsFunc(a.Described, unknownTopic) {
		return kerr.UnknownTopicOrPartition.Code, ""
	}
	return 0, ""
}

func unknownTopic(d TopicDescription) bool { return d.Code == kerr.UnknownTopicOrPartition.Code }

// compare orders by topic, then partition, as pages are.
func (c *PartitionCursor) compare(o *PartitionCursor) int {
	return cmp.Or(cmp.Compare(c.Topic, o.Topic), cmp.Compare(c.Partition, o.Partition))
}

// debuggingReplica in a ListOffsets asks the broker that gets the request for its own log, whoever leads.
const debuggingReplica = -2

// ReplicaOffsets asks one node where the logs of its own replicas end, committed or not.
func (a *Admin) ReplicaOffsets(now model.Time, node model.NodeID, parts []TopicPartition, out *Out) OpID {
	parts = slices.Clone(parts)
	slices.SortFunc(parts, TopicPartition.Compare)
	return a.run(now, errand{
		to: toNode, node: node, key: protocol.KeyListOffsets,
		encode: encoding(func(m *protocol.ListOffsetsRequest, version int16, timeoutMs int32) {
			m.ReplicaID = debuggingReplica
			if version >= 10 {
				m.TimeoutMs = timeoutMs
			}
			for topic, of := range byTopic(parts) {
				t := protocol.Add(&m.Topics)
				t.Name = topic
				for _, p := range of {
					to := protocol.Add(&t.Partitions)
					to.PartitionIndex, to.CurrentLeaderEpoch, to.Timestamp = int32(p.Partition), -1, int64(LatestTimestamp)
				}
			}
		}),
		decode: decoding(func(a *Answer, m *protocol.ListOffsetsResponse) (int16, string) {
			a.Offsets = a.Offsets[:0]
			for i := range m.Topics {
				t := &m.Topics[i]
				for j := range t.Partitions {
					p := &t.Partitions[j]
					o := OffsetResult{
						OffsetQuery: OffsetQuery{Topic: t.Name, Partition: model.Partition(p.PartitionIndex), Timestamp: LatestTimestamp},
						Outcome:     partResult(t.Name, p.PartitionIndex, p.ErrorCode, "").Outcome,
						Offset:      model.Offset(p.Offset), Time: model.NoTimestamp, LeaderEpoch: model.NoLeaderEpoch,
					}
					a.Offsets = append(a.Offsets, o)
				}
			}
			return 0, ""
		}),
	}, out)
}

func nodesOf(ids []int32) []model.NodeID {
	out := make([]model.NodeID, len(ids))
	for i, id := range ids {
		out[i] = model.NodeID(id)
	}
	return out
}
