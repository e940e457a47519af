package group

import (
	"slices"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// Versions of the values that we write. Kafka's tools read them from 4.1 on (offsets) and 2.3 on (members); we read
// all versions.
const (
	offsetValueVersion        = 4 // with the topic's id: a commit does not outlive the topic that it is of
	offsetValueExpiresVersion = 1 // with a time to expire, which only this version has
	groupValueVersion         = 3
)

// appendOffsetKey encodes the key of a committed offset.
func appendOffsetKey(dst []byte, group string, k offsetKey) []byte {
	return protocol.AppendCoordinatorKey(dst, &protocol.OffsetCommitKey{Group: group, Topic: k.topic, Partition: int32(k.partition)})
}

// appendOffsetValue encodes a committed offset.
func appendOffsetValue(dst []byte, v *committed) []byte {
	out := protocol.OffsetCommitValue{
		Offset: int64(v.offset), LeaderEpoch: int32(v.leaderEpoch), Metadata: v.metadata,
		CommitTimestamp: int64(v.commitTimestamp), ExpireTimestamp: int64(v.expireTimestamp), TopicID: [16]byte(v.topicID),
	}
	version := int16(offsetValueVersion)
	if v.expireTimestamp != model.NoTimestamp {
		version = offsetValueExpiresVersion
	}
	return protocol.AppendVersioned(dst, &out, version)
}

// appendGroupKey encodes the key of a group's members.
func appendGroupKey(dst []byte, group string) []byte {
	return protocol.AppendCoordinatorKey(dst, &protocol.GroupMetadataKey{Group: group})
}

func appendGroupValue(dst []byte, v *protocol.GroupMetadataValue) []byte {
	return protocol.AppendVersioned(dst, v, groupValueVersion)
}

// record is what the log is to say of a group: its members as they are, with what each was given.
func (g *group) record(given map[string][]byte) *protocol.GroupMetadataValue {
	v := &protocol.GroupMetadataValue{
		ProtocolType: g.protocolType, Generation: g.generation, CurrentStateTimestamp: int64(g.stateTimestamp),
	}
	if len(g.ordered) == 0 {
		return v
	}
	v.Protocol, v.Leader = protocol.String(g.protocol), protocol.String(g.leader)
	v.Members = make([]protocol.GroupMetadataValueMemberMetadata, 0, len(g.ordered))
	for _, m := range g.ordered {
		to := protocol.Add(&v.Members)
		to.MemberID, to.ClientID, to.ClientHost = m.id, m.clientID, m.clientHost
		if m.instance != "" {
			to.GroupInstanceID = protocol.String(m.instance)
		}
		to.RebalanceTimeout, to.SessionTimeout = m.rebalanceTimeoutMs, m.sessionTimeoutMs
		to.Subscription, to.Assignment = g.metadata(m), given[m.id]
	}
	return v
}

// logRecord is one record of the log, understood: of a group's members or of an offset.
type logRecord struct {
	group   string
	isGroup bool
	key     offsetKey // of an offset
	// One of these, or neither in a tombstone.
	saved     *protocol.GroupMetadataValue
	committed *committed
}

// readRecord understands one record of the log. An error says that this version does not know it, or that it is
// not what it should be: nothing of it is used then. The bytes are not referred to afterwards.
func readRecord(key, value []byte) (logRecord, error) {
	k, err := protocol.ReadCoordinatorKey(key, protocol.NewGroupKey)
	if err != nil {
		return logRecord{}, err
	}
	var r logRecord
	switch k := k.(type) {
	case *protocol.LegacyOffsetCommitKey:
		r.group, r.key = k.Group, offsetKey{k.Topic, model.Partition(k.Partition)}
	case *protocol.OffsetCommitKey:
		r.group, r.key = k.Group, offsetKey{k.Topic, model.Partition(k.Partition)}
	case *protocol.GroupMetadataKey:
		r.group, r.isGroup = k.Group, true
	default:
		return logRecord{}, errUnknownKind
	}
	switch {
	case value == nil:
		return r, nil
	case r.isGroup:
		r.saved, err = readGroupValue(value)
	default:
		r.committed, err = readOffsetValue(value)
	}
	return r, err
}

func readOffsetValue(value []byte) (*committed, error) {
	var v protocol.OffsetCommitValue
	v.Default()
	if _, err := protocol.ReadVersioned(value, &v); err != nil {
		return nil, err
	}
	return &committed{
		offset: model.Offset(v.Offset), leaderEpoch: model.LeaderEpoch(v.LeaderEpoch), metadata: v.Metadata,
		commitTimestamp: model.Timestamp(v.CommitTimestamp), expireTimestamp: model.Timestamp(v.ExpireTimestamp),
		topicID: model.TopicID(v.TopicID),
	}, nil
}

func readGroupValue(value []byte) (*protocol.GroupMetadataValue, error) {
	v := new(protocol.GroupMetadataValue)
	v.Default()
	if _, err := protocol.ReadVersioned(value, v); err != nil {
		return nil, err
	}
	if err := checkGroupValue(v); err != nil {
		return nil, err
	}
	for i := range v.Members {
		m := &v.Members[i]
		m.Subscription, m.Assignment = slices.Clone(m.Subscription), slices.Clone(m.Assignment)
	}
	return v, nil
}

// checkGroupValue refuses members that could not be: what follows trusts them.
func checkGroupValue(v *protocol.GroupMetadataValue) error {
	ids := make(map[string]bool, len(v.Members))
	instances := make(map[string]bool)
	for i := range v.Members {
		m := &v.Members[i]
		if m.MemberID == "" || ids[m.MemberID] {
			return errMembers
		}
		ids[m.MemberID] = true
		if in := m.GroupInstanceID.Value; in != "" {
			if instances[in] {
				return errMembers
			}
			instances[in] = true
		}
		if m.SessionTimeout < 0 {
			return errMembers
		}
	}
	if len(v.Members) > 0 && (v.ProtocolType == "" || v.Protocol.Value == "" || !ids[v.Leader.Value]) {
		return errMembers
	}
	return nil
}
