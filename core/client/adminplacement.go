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

// Quorum is who keeps the metadata log.
type Quorum struct {
	Leader            model.NodeID
	LeaderEpoch       model.LeaderEpoch
	HighWatermark     model.Offset
	Voters, Observers []QuorumMember
}

// QuorumMember is a node that has the metadata log, or follows it. Times are NoTimestamp if the broker does not tell.
type QuorumMember struct {
	Node                model.NodeID
	Directory           model.DirectoryID // zero: not told
	LogEndOffset        model.Offset
	HeardAt, CaughtUpAt model.Timestamp
}

// PartitionCursor is where a description goes on.
type PartitionCursor struct {
	Topic     string
	Partition model.Partition
}

// DescribeBrokers asks which brokers have registered, those that are not counted on included where the cluster tells
// them (KIP-1073).
func (a *Admin) DescribeBrokers(now model.Time, out *Out) OpID {
	return a.run(now, errand{
		to: toAnybody, key: protocol.KeyDescribeCluster,
		encode: func(w *protocol.Writer, version int16, _ int32) {
			var m protocol.DescribeClusterRequest
			m.Default()
			m.IncludeFencedBrokers = version >= 2
			m.Encode(w, version)
		},
		decode: func(a *Answer, version int16, r *protocol.Reader) (int16, string) {
			var m protocol.DescribeClusterResponse
			m.Decode(r, version)
			a.Cluster = ClusterDescription{ID: m.ClusterID, Controller: model.NodeID(m.ControllerID)}
			for i := range m.Brokers {
				b := &m.Brokers[i]
				a.Cluster.Brokers = append(a.Cluster.Brokers, BrokerDescription{
					ID: model.NodeID(b.BrokerID), Addr: hostPort(b.Host, b.Port), Rack: b.Rack.Value, Fenced: b.IsFenced,
				})
			}
			slices.SortFunc(a.Cluster.Brokers, func(x, y BrokerDescription) int { return int(x.ID) - int(y.ID) })
			return m.ErrorCode, m.ErrorMessage.Value
		},
	}, out)
}

// DescribePartitions describes topics with what Metadata does not tell, page by page: from a cursor on, nil for the start.
func (a *Admin) DescribePartitions(now model.Time, names []string, from *PartitionCursor, out *Out) OpID {
	names = slices.Sorted(slices.Values(names))
	return a.run(now, errand{
		to: toAnybody, key: protocol.KeyDescribeTopicPartitions,
		encode: func(w *protocol.Writer, version int16, _ int32) {
			var m protocol.DescribeTopicPartitionsRequest
			m.Default()
			for _, n := range names {
				protocol.Add(&m.Topics).Name = n
			}
			if from != nil {
				m.Cursor = &protocol.DescribeTopicPartitionsRequestCursor{TopicName: from.Topic, PartitionIndex: int32(from.Partition)}
			}
			m.Encode(w, version)
		},
		decode: func(a *Answer, version int16, r *protocol.Reader) (int16, string) {
			var m protocol.DescribeTopicPartitionsResponse
			m.Decode(r, version)
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
			}
			return 0, ""
		},
	}, out)
}

// DescribeQuorum asks who keeps the metadata log.
func (a *Admin) DescribeQuorum(now model.Time, out *Out) OpID {
	return a.run(now, errand{
		to: toController, key: protocol.KeyDescribeQuorum,
		encode: func(w *protocol.Writer, version int16, _ int32) {
			var m protocol.DescribeQuorumRequest
			m.Default()
			t := protocol.Add(&m.Topics)
			t.TopicName = "__cluster_metadata"
			protocol.Add(&t.Partitions)
			m.Encode(w, version)
		},
		decode: func(a *Answer, version int16, r *protocol.Reader) (int16, string) {
			var m protocol.DescribeQuorumResponse
			m.Decode(r, version)
			if m.ErrorCode != 0 || len(m.Topics) == 0 || len(m.Topics[0].Partitions) == 0 {
				return m.ErrorCode, m.ErrorMessage.Value
			}
			p := &m.Topics[0].Partitions[0]
			a.Quorum = Quorum{Leader: model.NodeID(p.LeaderID), LeaderEpoch: model.LeaderEpoch(p.LeaderEpoch), HighWatermark: model.Offset(p.HighWatermark)}
			a.Quorum.Voters, a.Quorum.Observers = membersOf(p.CurrentVoters), membersOf(p.Observers)
			return p.ErrorCode, p.ErrorMessage.Value
		},
	}, out)
}

func membersOf(in []protocol.DescribeQuorumResponseReplicaState) (out []QuorumMember) {
	for i := range in {
		m := &in[i]
		out = append(out, QuorumMember{
			Node: model.NodeID(m.ReplicaID), Directory: model.DirectoryID(m.ReplicaDirectoryID), LogEndOffset: model.Offset(m.LogEndOffset),
			HeardAt: model.Timestamp(m.LastFetchTimestamp), CaughtUpAt: model.Timestamp(m.LastCaughtUpTimestamp),
		})
	}
	return out
}

// Reassign begins to move replicas, or cancels moves.
func (a *Admin) Reassign(now model.Time, parts []Reassignment, out *Out) OpID {
	parts = slices.Clone(parts)
	slices.SortStableFunc(parts, func(x, y Reassignment) int { return x.TopicPartition.Compare(y.TopicPartition) })
	return a.run(now, errand{
		to: toController, key: protocol.KeyAlterPartitionReassignments, changes: true,
		encode: func(w *protocol.Writer, version int16, timeoutMs int32) {
			var m protocol.AlterPartitionReassignmentsRequest
			m.Default()
			m.TimeoutMs = timeoutMs
			for i := range parts {
				p := &parts[i]
				if n := len(m.Topics); n == 0 || m.Topics[n-1].Name != p.Topic {
					protocol.Add(&m.Topics).Name = p.Topic
				}
				to := protocol.Add(&m.Topics[len(m.Topics)-1].Partitions)
				to.PartitionIndex, to.Replicas = int32(p.Partition), nil
				if p.Replicas != nil {
					to.Replicas = idsOf(p.Replicas)
				}
			}
			m.Encode(w, version)
		},
		decode: func(a *Answer, version int16, r *protocol.Reader) (int16, string) {
			var m protocol.AlterPartitionReassignmentsResponse
			m.Decode(r, version)
			a.Parts = a.Parts[:0]
			for i := range m.Responses {
				t := &m.Responses[i]
				for j := range t.Partitions {
					p := &t.Partitions[j]
					a.Parts = append(a.Parts, partResult(t.Name, p.PartitionIndex, p.ErrorCode, p.ErrorMessage.Value))
				}
			}
			return m.ErrorCode, m.ErrorMessage.Value
		},
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
		encode: func(w *protocol.Writer, version int16, timeoutMs int32) {
			var m protocol.ListPartitionReassignmentsRequest
			m.Default()
			m.TimeoutMs, m.Topics = timeoutMs, nil
			m.Encode(w, version)
		},
		decode: func(a *Answer, version int16, r *protocol.Reader) (int16, string) {
			var m protocol.ListPartitionReassignmentsResponse
			m.Decode(r, version)
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
		},
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
	e.encode = func(w *protocol.Writer, version int16, timeoutMs int32) {
		var m protocol.ElectLeadersRequest
		m.Default()
		m.TimeoutMs, m.TopicPartitions = timeoutMs, nil
		if unclean {
			m.ElectionType = 1
		}
		if parts != nil {
			m.TopicPartitions = []protocol.ElectLeadersRequestTopicPartitions{}
		}
		for _, p := range sorted {
			if n := len(m.TopicPartitions); n == 0 || m.TopicPartitions[n-1].Topic != p.Topic {
				protocol.Add(&m.TopicPartitions).Topic = p.Topic
			}
			t := &m.TopicPartitions[len(m.TopicPartitions)-1]
			t.Partitions = append(t.Partitions, int32(p.Partition))
		}
		m.Encode(w, version)
	}
	e.decode = func(a *Answer, version int16, r *protocol.Reader) (int16, string) {
		var m protocol.ElectLeadersResponse
		m.Decode(r, version)
		a.Parts = a.Parts[:0]
		for i := range m.ReplicaElectionResults {
			t := &m.ReplicaElectionResults[i]
			for j := range t.PartitionResult {
				p := &t.PartitionResult[j]
				a.Parts = append(a.Parts, partResult(t.Topic, p.PartitionID, p.ErrorCode, p.ErrorMessage.Value))
			}
		}
		return m.ErrorCode, ""
	}
	return a.run(now, e, out)
}

// UnregisterBroker asks for a broker to be forgotten.
func (a *Admin) UnregisterBroker(now model.Time, node model.NodeID, out *Out) OpID {
	return a.run(now, errand{
		to: toController, key: protocol.KeyUnregisterBroker, changes: true,
		encode: func(w *protocol.Writer, version int16, _ int32) {
			var m protocol.UnregisterBrokerRequest
			m.Default()
			m.BrokerID = int32(node)
			m.Encode(w, version)
		},
		decode: func(_ *Answer, version int16, r *protocol.Reader) (int16, string) {
			var m protocol.UnregisterBrokerResponse
			m.Decode(r, version)
			return m.ErrorCode, m.ErrorMessage.Value
		},
	}, out)
}

// AddVoter asks for a node to vote in the metadata quorum from a disk (KIP-853). It is answered when it does.
func (a *Admin) AddVoter(now model.Time, node model.NodeID, directory model.DirectoryID, out *Out) OpID {
	return a.run(now, errand{
		to: toController, key: protocol.KeyAddRaftVoter, changes: true,
		encode: func(w *protocol.Writer, version int16, timeoutMs int32) {
			var m protocol.AddRaftVoterRequest
			m.Default()
			m.TimeoutMs, m.VoterID, m.VoterDirectoryID = timeoutMs, int32(node), protocol.UUID(directory)
			m.Encode(w, version)
		},
		decode: func(_ *Answer, version int16, r *protocol.Reader) (int16, string) {
			var m protocol.AddRaftVoterResponse
			m.Decode(r, version)
			return m.ErrorCode, m.ErrorMessage.Value
		},
	}, out)
}

// RemoveVoter asks for a node not to vote any more.
func (a *Admin) RemoveVoter(now model.Time, node model.NodeID, directory model.DirectoryID, out *Out) OpID {
	return a.run(now, errand{
		to: toController, key: protocol.KeyRemoveRaftVoter, changes: true,
		encode: func(w *protocol.Writer, version int16, _ int32) {
			var m protocol.RemoveRaftVoterRequest
			m.Default()
			m.VoterID, m.VoterDirectoryID = int32(node), protocol.UUID(directory)
			m.Encode(w, version)
		},
		decode: func(_ *Answer, version int16, r *protocol.Reader) (int16, string) {
			var m protocol.RemoveRaftVoterResponse
			m.Decode(r, version)
			return m.ErrorCode, m.ErrorMessage.Value
		},
	}, out)
}

// debuggingReplica in a ListOffsets asks the broker that gets the request for its own log, whoever leads.
const debuggingReplica = -2

// ReplicaOffsets asks one node where the logs of its own replicas end, committed or not.
func (a *Admin) ReplicaOffsets(now model.Time, node model.NodeID, parts []TopicPartition, out *Out) OpID {
	parts = slices.Clone(parts)
	slices.SortFunc(parts, TopicPartition.Compare)
	return a.run(now, errand{
		to: toNode, node: node, key: protocol.KeyListOffsets,
		encode: func(w *protocol.Writer, version int16, timeoutMs int32) {
			var m protocol.ListOffsetsRequest
			m.Default()
			m.ReplicaID = debuggingReplica
			if version >= 10 {
				m.TimeoutMs = timeoutMs
			}
			for _, p := range parts {
				if n := len(m.Topics); n == 0 || m.Topics[n-1].Name != p.Topic {
					protocol.Add(&m.Topics).Name = p.Topic
				}
				to := protocol.Add(&m.Topics[len(m.Topics)-1].Partitions)
				to.PartitionIndex, to.CurrentLeaderEpoch, to.Timestamp = int32(p.Partition), -1, int64(LatestTimestamp)
			}
			m.Encode(w, version)
		},
		decode: func(a *Answer, version int16, r *protocol.Reader) (int16, string) {
			var m protocol.ListOffsetsResponse
			m.Decode(r, version)
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
		},
	}, out)
}

func idsOf(nodes []model.NodeID) []int32 {
	out := make([]int32, len(nodes))
	for i, n := range nodes {
		out[i] = int32(n)
	}
	return out
}

func nodesOf(ids []int32) []model.NodeID {
	out := make([]model.NodeID, len(ids))
	for i, id := range ids {
		out[i] = model.NodeID(id)
	}
	return out
}
