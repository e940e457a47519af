package client

import (
	"slices"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// PartResult is one partition's outcome.
type PartResult struct {
	TopicPartition
	Outcome
}

// Reassignment is which replicas a partition is to have, the preferred leader first; nil to cancel the move that is
// under way.
type Reassignment struct {
	TopicPartition
	Replicas []model.NodeID
}

// Move is a reassignment that is under way.
type Move struct {
	TopicPartition
	Replicas, Adding, Removing []model.NodeID
}

// Reassign begins to move replicas, or cancels moves.
func (a *Admin) Reassign(now model.Time, parts []Reassignment, out *Out) OpID {
	parts = slices.Clone(parts)
	slices.SortStableFunc(parts, func(x, y Reassignment) int { return x.TopicPartition.Compare(y.TopicPartition) })
	return a.run(now, errand{
		to: toController, key: protocol.KeyAlterPartitionReassignments, changes: true,
		encode: encoding(func(m *protocol.AlterPartitionReassignmentsRequest, _ int16, timeoutMs int32) {
			m.TimeoutMs = timeoutMs
			for topic, of := range byTopic(parts) {
				t := protocol.Add(&m.Topics)
				t.Name = topic
				for i := range of {
					to := protocol.Add(&t.Partitions)
					to.PartitionIndex, to.Replicas = int32(of[i].Partition), nil
					if of[i].Replicas != nil {
						to.Replicas = idsOf(of[i].Replicas)
					}
				}
			}
		}),
		decode: decoding(func(a *Answer, m *protocol.AlterPartitionReassignmentsResponse) (int16, string) {
			a.Parts = a.Parts[:0]
			for i := range m.Responses {
				t := &m.Responses[i]
				for j := range t.Partitions {
					p := &t.Partitions[j]
					a.Parts = append(a.Parts, partResult(t.Name, p.PartitionIndex, p.ErrorCode, p.ErrorMessage.Value))
				}
			}
			return m.ErrorCode, m.ErrorMessage.Value
		}),
	}, out)
}

func partResult(topic string, partition int32, code int16, message string) PartResult {
	r := PartResult{TopicPartition: TopicPartition{Topic: topic, Partition: model.Partition(partition)}}
	if code != 0 {
		r.Outcome = Outcome{Reason: Refused, Code: code, Message: message, Definite: true}
	}
	return r
}

// ListReassignments asks which moves are under way.
func (a *Admin) ListReassignments(now model.Time, out *Out) OpID {
	return a.run(now, errand{
		to: toController, key: protocol.KeyListPartitionReassignments,
		encode: encoding(func(m *protocol.ListPartitionReassignmentsRequest, _ int16, timeoutMs int32) {
			m.TimeoutMs, m.Topics = timeoutMs, nil
		}),
		decode: decoding(func(a *Answer, m *protocol.ListPartitionReassignmentsResponse) (int16, string) {
			a.Moving = nil
			for i := range m.Topics {
				t := &m.Topics[i]
				for j := range t.Partitions {
					p := &t.Partitions[j]
					a.Moving = append(a.Moving, Move{
						TopicPartition: TopicPartition{Topic: t.Name, Partition: model.Partition(p.PartitionIndex)},
						Replicas:       nodesOf(p.Replicas), Adding: nodesOf(p.AddingReplicas), Removing: nodesOf(p.RemovingReplicas),
					})
				}
			}
			slices.SortFunc(a.Moving, func(x, y Move) int { return x.TopicPartition.Compare(y.TopicPartition) })
			return m.ErrorCode, m.ErrorMessage.Value
		}),
	}, out)
}

// ElectLeaders asks for elections: of the preferred replicas, or uncleanly, of any where nobody leads. nil is for all
// partitions.
func (a *Admin) ElectLeaders(now model.Time, unclean bool, parts []TopicPartition, out *Out) OpID {
	sorted := slices.Clone(parts)
	slices.SortFunc(sorted, TopicPartition.Compare)
	e := errand{to: toController, key: protocol.KeyElectLeaders, changes: true}
	if unclean {
		e.low = 1 // version 0 cannot say it
	}
	e.encode = encoding(func(m *protocol.ElectLeadersRequest, _ int16, timeoutMs int32) {
		m.TimeoutMs, m.TopicPartitions = timeoutMs, nil
		if unclean {
			m.ElectionType = 1
		}
		if parts != nil {
			m.TopicPartitions = []protocol.ElectLeadersRequestTopicPartitions{}
		}
		for topic, of := range byTopic(sorted) {
			t := protocol.Add(&m.TopicPartitions)
			t.Topic, t.Partitions = topic, indexesOf(of)
		}
	})
	e.decode = decoding(func(a *Answer, m *protocol.ElectLeadersResponse) (int16, string) {
		a.Parts = a.Parts[:0]
		for i := range m.ReplicaElectionResults {
			t := &m.ReplicaElectionResults[i]
			for j := range t.PartitionResult {
				p := &t.PartitionResult[j]
				a.Parts = append(a.Parts, partResult(t.Topic, p.PartitionID, p.ErrorCode, p.ErrorMessage.Value))
			}
		}
		return m.ErrorCode, ""
	})
	return a.run(now, e, out)
}

func idsOf(nodes []model.NodeID) []int32 {
	out := make([]int32, len(nodes))
	for i, n := range nodes {
		out[i] = int32(n)
	}
	return out
}
