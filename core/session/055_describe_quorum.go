package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveDescribeQuorum(rq *request, out *Out) {
	var in protocol.DescribeQuorumRequest
	if !s.decode(rq, &in, out) {
		return
	}
	refused := new(protocol.DescribeQuorumResponse)
	refused.Default()
	for i := range in.Topics {
		t := &in.Topics[i]
		for k := range t.Partitions {
			if index := t.Partitions[k].PartitionIndex; t.TopicName != metadataTopic || index != 0 {
				to := protocol.Add(&refused.Topics)
				to.TopicName = t.TopicName
				p := protocol.Add(&to.Partitions)
				p.Default()
				p.PartitionIndex, p.ErrorCode = index, kerr.UnknownTopicOrPartition.Code
			}
		}
	}
	if len(refused.Topics) > 0 || len(in.Topics) != 1 || len(in.Topics[0].Partitions) != 1 {
		if len(refused.Topics) == 0 {
			refused.ErrorCode = kerr.InvalidRequest.Code // there is one log, and it is asked for once
		}
		s.answer(rq.slot, refused, out)
		return
	}
	out.Events = append(out.Events, &broker.DescribeQuorum{To: rq.id, Origin: s.origin(rq), Wall: rq.wall})
}

func respondDescribeQuorum(sl *slot, in *effect.QuorumDescribed) protocol.Message {
	r := new(protocol.DescribeQuorumResponse)
	r.Default()
	r.ErrorCode, r.ErrorMessage = in.Code, messageOf(in.Message)
	if in.Code != 0 {
		return r
	}
	t := protocol.Add(&r.Topics)
	t.TopicName = metadataTopic
	p := protocol.Add(&t.Partitions)
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = int32(in.Leader), int32(in.LeaderEpoch), int64(in.HighWatermark)
	for i := range in.Voters {
		describeMember(protocol.Add(&p.CurrentVoters), sl.version, &in.Voters[i])
	}
	for i := range in.Observers {
		describeMember(protocol.Add(&p.Observers), sl.version, &in.Observers[i])
	}
	for i := range in.Nodes {
		if sl.version < 2 {
			break // they are not told
		}
		n := protocol.Add(&r.Nodes)
		n.NodeID = int32(in.Nodes[i].Node)
		l := protocol.Add(&n.Listeners)
		l.Name, l.Host, l.Port = broker.InterNodeListener, in.Nodes[i].Address.Host, uint16(in.Nodes[i].Address.Port)
	}
	return r
}

func describeMember(to *protocol.DescribeQuorumResponseReplicaState, version int16, m *effect.QuorumMember) {
	to.ReplicaID, to.LogEndOffset = int32(m.Node), int64(m.LogEndOffset)
	if version >= 2 {
		to.ReplicaDirectoryID = [16]byte(m.Directory)
	}
	to.LastFetchTimestamp, to.LastCaughtUpTimestamp = int64(m.HeardAt), int64(m.CaughtUpAt)
}
