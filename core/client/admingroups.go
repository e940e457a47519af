package client

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// Group is a group as its coordinator sees it. Listings have the first fields only.
type Group struct {
	ID           string
	ProtocolType string // "consumer", "connect" and so on; empty for a group that only commits offsets
	State        string // "Stable", "PreparingRebalance", "CompletingRebalance", "Empty", "Dead"
	Type         string // "classic", "consumer"; empty from brokers before Kafka 3.8
	Coordinator  model.NodeID
	Protocol     string // the assignment strategy that the members agreed on
	Members      []GroupMember
}

// GroupMember is one member of a group.
type GroupMember struct {
	ID         string
	InstanceID string // empty unless the member is static (KIP-345)
	ClientID   string
	Host       string
	Topics     []string // what it subscribes to, if it is a consumer
	Assigned   []TopicPartition
}

// GroupOffset is what a group has committed for a partition.
type GroupOffset struct {
	TopicPartition
	Offset      model.Offset // NoOffset: nothing
	LeaderEpoch model.LeaderEpoch
	Metadata    string
	Outcome     Outcome // of this partition
}

// ListGroups asks one broker for the groups that it coordinates.
func (a *Admin) ListGroups(now model.Time, node model.NodeID, out *Out) OpID {
	return a.run(now, errand{
		to: toNode, node: node, key: protocol.KeyListGroups,
		encode: encoding(func(_ *protocol.ListGroupsRequest, _ int16, _ int32) {}),
		decode: decoding(func(a *Answer, m *protocol.ListGroupsResponse) (int16, string) {
			a.Groups = a.Groups[:0]
			for i := range m.Groups {
				g := &m.Groups[i]
				a.Groups = append(a.Groups, Group{ID: g.GroupID, ProtocolType: g.ProtocolType, State: g.GroupState, Type: g.GroupType, Coordinator: node})
			}
			slices.SortFunc(a.Groups, func(x, y Group) int { return strings.Compare(x.ID, y.ID) })
			return m.ErrorCode, ""
		}),
	}, out)
}

// DescribeGroup asks a group's coordinator for its members. A group that does not exist is answered as
// one in the state "Dead", or with GROUP_ID_NOT_FOUND (KIP-1043).
func (a *Admin) DescribeGroup(now model.Time, group string, out *Out) OpID {
	return a.run(now, errand{
		to: toCoordinator, group: group, key: protocol.KeyDescribeGroups,
		encode: encoding(func(m *protocol.DescribeGroupsRequest, _ int16, _ int32) {
			m.Groups = append(m.Groups, group)
		}),
		decode: decoding(func(ans *Answer, m *protocol.DescribeGroupsResponse) (int16, string) {
			ans.Groups = ans.Groups[:0]
			for i := range m.Groups {
				if m.Groups[i].ErrorCode != 0 {
					return m.Groups[i].ErrorCode, m.Groups[i].ErrorMessage.Value
				}
				g := describeGroup(&m.Groups[i])
				g.Coordinator = a.coordinatorOf(group)
				ans.Groups = append(ans.Groups, g)
			}
			return 0, ""
		}),
	}, out)
}

func describeGroup(d *protocol.DescribeGroupsResponseGroup) Group {
	g := Group{ID: d.GroupID, ProtocolType: d.ProtocolType, State: d.GroupState, Type: "classic", Protocol: d.ProtocolData}
	for i := range d.Members {
		x := &d.Members[i]
		m := GroupMember{ID: x.MemberID, InstanceID: x.GroupInstanceID.Value, ClientID: x.ClientID, Host: x.ClientHost}
		if g.ProtocolType == consumerProtocolType {
			// Bytes of other people's programs: what does not follow the protocol is left out.
			if s, err := ParseSubscription(x.MemberMetadata); err == nil {
				m.Topics = slices.Sorted(slices.Values(s.Topics))
			}
			if p, err := ParseAssignment(x.MemberAssignment); err == nil {
				m.Assigned = p
				slices.SortFunc(m.Assigned, TopicPartition.Compare)
			}
		}
		g.Members = append(g.Members, m)
	}
	slices.SortFunc(g.Members, func(x, y GroupMember) int { return strings.Compare(x.ID, y.ID) })
	return g
}

// consumerProtocolType is what groups of consumers call themselves.
const consumerProtocolType = "consumer"

// DeleteGroup deletes a group and its offsets. It must have no members.
func (a *Admin) DeleteGroup(now model.Time, group string, out *Out) OpID {
	return a.run(now, errand{
		to: toCoordinator, group: group, key: protocol.KeyDeleteGroups, changes: true,
		encode: encoding(func(m *protocol.DeleteGroupsRequest, _ int16, _ int32) {
			m.GroupsNames = append(m.GroupsNames, group)
		}),
		decode: decoding(func(_ *Answer, m *protocol.DeleteGroupsResponse) (int16, string) {
			if len(m.Results) == 0 {
				return kerr.UnknownServerError.Code, "the answer names no group"
			}
			return m.Results[0].ErrorCode, m.Results[0].ErrorMessage.Value
		}),
	}, out)
}

// Versions of OffsetCommit and OffsetFetch from here on name topics by id, which groups outlive.
const offsetsByNameMax = 9

// GroupOffsets asks what a group has committed, for every partition that it committed anything for.
func (a *Admin) GroupOffsets(now model.Time, group string, out *Out) OpID {
	return a.run(now, errand{
		to: toCoordinator, group: group, key: protocol.KeyOffsetFetch, low: 2, high: offsetsByNameMax,
		encode: func(w *protocol.Writer, version int16, _ int32) { encodeOffsetFetch(w, version, group, nil) },
		decode: func(a *Answer, version int16, r *protocol.Reader) (code int16, _ string) {
			a.Committed, code = decodeOffsetFetch(a.Committed[:0], r, version, group)
			slices.SortFunc(a.Committed, func(x, y GroupOffset) int { return x.TopicPartition.Compare(y.TopicPartition) })
			return code, ""
		},
	}, out)
}

// encodeOffsetFetch asks for the offsets of partitions, which are ordered; nil is all of them.
func encodeOffsetFetch(w *protocol.Writer, version int16, group string, partitions []TopicPartition) {
	var m protocol.OffsetFetchRequest
	m.Default()
	if version >= 7 {
		m.RequireStable = true // an offset in an open transaction is not the group's yet
	}
	if version < 8 {
		m.GroupID = group
		m.Topics = nil
		for topic, of := range byTopic(partitions) {
			t := protocol.Add(&m.Topics)
			t.Name, t.PartitionIndexes = topic, indexesOf(of)
		}
		m.Encode(w, version)
		return
	}
	g := protocol.Add(&m.Groups)
	g.GroupID = group
	g.Topics = nil
	for topic, of := range byTopic(partitions) {
		t := protocol.Add(&g.Topics)
		t.Name, t.PartitionIndexes = topic, indexesOf(of)
	}
	m.Encode(w, version)
}

// decodeOffsetFetch appends the offsets of a group; code is that of the group as a whole, or the first
// of a partition that may pass.
func decodeOffsetFetch(dst []GroupOffset, r *protocol.Reader, version int16, group string) ([]GroupOffset, int16) {
	var m protocol.OffsetFetchResponse
	m.Decode(r, version)
	code := m.ErrorCode
	add := func(topic string, partition int32, offset int64, epoch int32, metadata string, e int16) {
		o := GroupOffset{
			TopicPartition: TopicPartition{topic, model.Partition(partition)}, Offset: max(model.Offset(offset), model.NoOffset),
			LeaderEpoch: model.LeaderEpoch(epoch), Metadata: metadata,
		}
		if e != 0 {
			o.Outcome = Outcome{Reason: Refused, Code: e, Definite: true}
			if code == 0 && Retriable(e) {
				code = e
			}
		}
		dst = append(dst, o)
	}
	if version < 8 {
		for i := range m.Topics {
			for j := range m.Topics[i].Partitions {
				p := &m.Topics[i].Partitions[j]
				add(m.Topics[i].Name, p.PartitionIndex, p.CommittedOffset, p.CommittedLeaderEpoch, p.Metadata.Value, p.ErrorCode)
			}
		}
		return dst, code
	}
	for n := range m.Groups {
		g := &m.Groups[n]
		if g.GroupID != group {
			continue
		}
		code = g.ErrorCode
		for i := range g.Topics {
			for j := range g.Topics[i].Partitions {
				p := &g.Topics[i].Partitions[j]
				add(g.Topics[i].Name, p.PartitionIndex, p.CommittedOffset, p.CommittedLeaderEpoch, p.Metadata.Value, p.ErrorCode)
			}
		}
	}
	return dst, code
}

// CommitOffset is an offset to commit for a group.
type CommitOffset struct {
	TopicPartition
	Offset      model.Offset
	LeaderEpoch model.LeaderEpoch // of the record before it, NoLeaderEpoch if that is not known (KIP-320)
	Metadata    string
}

// membership is in whose name a commit is made; the zero generation is -1, nobody's.
type membership struct {
	generation         int32
	member, instanceID string
}

// CommitGroupOffsets sets what a group without members has committed. The answer's Committed has an outcome
// for each partition.
func (a *Admin) CommitGroupOffsets(now model.Time, group string, offsets []CommitOffset, out *Out) OpID {
	offsets = slices.Clone(offsets)
	slices.SortFunc(offsets, func(x, y CommitOffset) int { return x.TopicPartition.Compare(y.TopicPartition) })
	return a.run(now, errand{
		to: toCoordinator, group: group, key: protocol.KeyOffsetCommit, low: 2, high: offsetsByNameMax, changes: true,
		encode: func(w *protocol.Writer, version int16, _ int32) {
			encodeOffsetCommit(w, version, group, membership{generation: -1}, offsets)
		},
		decode: func(a *Answer, version int16, r *protocol.Reader) (int16, string) {
			var code int16
			a.Committed, code = decodeOffsetCommit(a.Committed[:0], r, version)
			return code, ""
		},
	}, out)
}

func encodeOffsetCommit(w *protocol.Writer, version int16, group string, who membership, offsets []CommitOffset) {
	var m protocol.OffsetCommitRequest
	m.Default()
	m.GroupID, m.GenerationIDOrMemberEpoch, m.MemberID = group, who.generation, who.member
	if version >= 7 && who.instanceID != "" {
		m.GroupInstanceID = protocol.String(who.instanceID)
	}
	for topic, of := range byTopic(offsets) {
		t := protocol.Add(&m.Topics)
		t.Name = topic
		for i := range of {
			o := &of[i]
			p := protocol.Add(&t.Partitions)
			p.PartitionIndex, p.CommittedOffset = int32(o.Partition), int64(o.Offset)
			p.CommittedMetadata = protocol.String(o.Metadata)
			if version >= 6 {
				p.CommittedLeaderEpoch = int32(o.LeaderEpoch)
			}
		}
	}
	m.Encode(w, version)
}

// decodeOffsetCommit appends each partition's outcome; code is the first that concerns the whole request.
func decodeOffsetCommit(dst []GroupOffset, r *protocol.Reader, version int16) (committed []GroupOffset, code int16) {
	var m protocol.OffsetCommitResponse
	m.Decode(r, version)
	for i := range m.Topics {
		for j := range m.Topics[i].Partitions {
			p := &m.Topics[i].Partitions[j]
			o := GroupOffset{TopicPartition: TopicPartition{m.Topics[i].Name, model.Partition(p.PartitionIndex)}, Offset: model.NoOffset}
			if p.ErrorCode != 0 {
				o.Outcome = Outcome{Reason: Refused, Code: p.ErrorCode, Definite: true}
				if code == 0 && !aboutOnePartition(p.ErrorCode) {
					code = p.ErrorCode
				}
			}
			dst = append(dst, o)
		}
	}
	return dst, code
}

// aboutOnePartition: the other partitions of the same commit are not concerned.
func aboutOnePartition(code int16) bool {
	switch code {
	case kerr.UnknownTopicOrPartition.Code, kerr.TopicAuthorizationFailed.Code, kerr.OffsetMetadataTooLarge.Code, kerr.UnknownTopicID.Code:
		return true
	}
	return false
}

// DeleteGroupOffsets makes a group forget partitions. The answer's Committed has an outcome for each.
func (a *Admin) DeleteGroupOffsets(now model.Time, group string, partitions []TopicPartition, out *Out) OpID {
	partitions = slices.Clone(partitions)
	slices.SortFunc(partitions, TopicPartition.Compare)
	return a.run(now, errand{
		to: toCoordinator, group: group, key: protocol.KeyOffsetDelete, changes: true,
		encode: encoding(func(m *protocol.OffsetDeleteRequest, _ int16, _ int32) {
			m.GroupID = group
			for topic, of := range byTopic(partitions) {
				t := protocol.Add(&m.Topics)
				t.Name = topic
				for _, p := range of {
					protocol.Add(&t.Partitions).PartitionIndex = int32(p.Partition)
				}
			}
		}),
		decode: decoding(func(a *Answer, m *protocol.OffsetDeleteResponse) (int16, string) {
			a.Committed = a.Committed[:0]
			for i := range m.Topics {
				for j := range m.Topics[i].Partitions {
					p := &m.Topics[i].Partitions[j]
					o := GroupOffset{TopicPartition: TopicPartition{m.Topics[i].Name, model.Partition(p.PartitionIndex)}, Offset: model.NoOffset}
					if p.ErrorCode != 0 {
						o.Outcome = Outcome{Reason: Refused, Code: p.ErrorCode, Definite: true}
					}
					a.Committed = append(a.Committed, o)
				}
			}
			return m.ErrorCode, ""
		}),
	}, out)
}
