package client

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

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

// DescribeQuorum asks who keeps the metadata log.
func (a *Admin) DescribeQuorum(now model.Time, out *Out) OpID {
	return a.run(now, errand{
		to: toController, key: protocol.KeyDescribeQuorum,
		encode: encoding(func(m *protocol.DescribeQuorumRequest, _ int16, _ int32) {
			t := protocol.Add(&m.Topics)
			t.TopicName = "__cluster_metadata"
			protocol.Add(&t.Partitions)
		}),
		decode: decoding(func(a *Answer, m *protocol.DescribeQuorumResponse) (int16, string) {
			switch {
			case m.ErrorCode != 0:
				return m.ErrorCode, m.ErrorMessage.Value
			case len(m.Topics) == 0 || len(m.Topics[0].Partitions) == 0:
				return kerr.UnknownServerError.Code, "the answer does not tell of the metadata log"
			}
			p := &m.Topics[0].Partitions[0]
			a.Quorum = Quorum{Leader: model.NodeID(p.LeaderID), LeaderEpoch: model.LeaderEpoch(p.LeaderEpoch), HighWatermark: model.Offset(p.HighWatermark)}
			a.Quorum.Voters, a.Quorum.Observers = membersOf(p.CurrentVoters), membersOf(p.Observers)
			return p.ErrorCode, p.ErrorMessage.Value
		}),
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

// AddVoter asks for a node to vote in the metadata quorum from a disk (KIP-853). It is answered when it does.
func (a *Admin) AddVoter(now model.Time, node model.NodeID, directory model.DirectoryID, out *Out) OpID {
	return a.run(now, errand{
		to: toController, key: protocol.KeyAddRaftVoter, changes: true,
		encode: encoding(func(m *protocol.AddRaftVoterRequest, _ int16, timeoutMs int32) {
			m.TimeoutMs, m.VoterID, m.VoterDirectoryID = timeoutMs, int32(node), protocol.UUID(directory)
		}),
		decode: decoding(func(_ *Answer, m *protocol.AddRaftVoterResponse) (int16, string) {
			return m.ErrorCode, m.ErrorMessage.Value
		}),
	}, out)
}

// RemoveVoter asks for a node not to vote any more.
func (a *Admin) RemoveVoter(now model.Time, node model.NodeID, directory model.DirectoryID, out *Out) OpID {
	return a.run(now, errand{
		to: toController, key: protocol.KeyRemoveRaftVoter, changes: true,
		encode: encoding(func(m *protocol.RemoveRaftVoterRequest, _ int16, _ int32) {
			m.VoterID, m.VoterDirectoryID = int32(node), protocol.UUID(directory)
		}),
		decode: decoding(func(_ *Answer, m *protocol.RemoveRaftVoterResponse) (int16, string) {
			return m.ErrorCode, m.ErrorMessage.Value
		}),
	}, out)
}
