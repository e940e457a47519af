package effect

import "github.com/weirmq/weir/core/model"

// CoordinatorsFound answers FindCoordinator, in the request's order.
type CoordinatorsFound struct{ Coordinators []CoordinatorFound }

// CoordinatorFound says which node coordinates a key.
type CoordinatorFound struct {
	Key     string
	Code    int16
	Message string
	Node    Broker // ID -1 unless Code is 0
}

// GroupJoined answers JoinGroup.
type GroupJoined struct {
	Code         int16
	Generation   int32
	ProtocolType string // empty: null
	Protocol     string // empty: none was chosen
	Leader       string
	Member       string
	// SkipAssignment tells a leader that it leads but must not assign: the group is stable (KIP-814).
	SkipAssignment bool
	Members        []GroupMember // for the leader only
}

// GroupMember is a member as its leader sees it.
type GroupMember struct {
	Member   string
	Instance string // empty: a dynamic member
	Metadata []byte
}

// GroupSynced answers SyncGroup.
type GroupSynced struct {
	Code                   int16
	ProtocolType, Protocol string // empty: null
	Assignment             []byte
}

// HeartbeatAnswered answers Heartbeat.
type HeartbeatAnswered struct{ Code int16 }

// GroupLeft answers LeaveGroup; Members are in the request's order.
type GroupLeft struct {
	Code    int16
	Members []MemberLeft
}

// MemberLeft is one member's outcome of a LeaveGroup.
type MemberLeft struct {
	Member, Instance string
	Code             int16
}

// OffsetsCommitted answers OffsetCommit: one code for each partition, in the request's order.
type OffsetsCommitted struct{ Codes []int16 }

// OffsetsFetched answers OffsetFetch, in the request's order.
type OffsetsFetched struct{ Groups []GroupOffsets }

// GroupOffsets is what one group has committed.
type GroupOffsets struct {
	Group  string
	Code   int16
	Topics []TopicOffsets
}

// TopicOffsets is what a group has committed of one topic.
type TopicOffsets struct {
	Name       string
	ID         model.TopicID
	Partitions []PartitionOffset
}

// PartitionOffset is what a group has committed of one partition; Offset is NoOffset if nothing.
type PartitionOffset struct {
	Partition   model.Partition
	Code        int16
	Offset      model.Offset
	LeaderEpoch model.LeaderEpoch
	Metadata    string
}

// GroupsDescribed answers DescribeGroups, in the request's order.
type GroupsDescribed struct{ Groups []GroupDescribed }

// GroupDescribed is one group as it stands.
type GroupDescribed struct {
	Code         int16
	Message      string
	Group        string
	State        string
	ProtocolType string
	Protocol     string
	Members      []MemberDescribed
}

// MemberDescribed is one member of a described group. Metadata and Assignment are empty unless the group is stable.
type MemberDescribed struct {
	Member, Instance     string
	ClientID, ClientHost string
	Metadata, Assignment []byte
}

// GroupsListed answers ListGroups.
type GroupsListed struct {
	Code   int16
	Groups []GroupListed
}

// GroupListed is one group in a list.
type GroupListed struct{ Group, ProtocolType, State, Type string }

// GroupsDeleted answers DeleteGroups, in the request's order.
type GroupsDeleted struct{ Results []GroupDeleted }

// GroupDeleted is one group's outcome.
type GroupDeleted struct {
	Group   string
	Code    int16
	Message string
}

// OffsetsDeleted answers OffsetDelete: one code for each partition, in the request's order, unless Code is set.
type OffsetsDeleted struct {
	Code  int16
	Codes []int16
}

func (*CoordinatorsFound) body() {}
func (*GroupJoined) body()       {}
func (*GroupSynced) body()       {}
func (*HeartbeatAnswered) body() {}
func (*GroupLeft) body()         {}
func (*OffsetsCommitted) body()  {}
func (*OffsetsFetched) body()    {}
func (*GroupsDescribed) body()   {}
func (*GroupsListed) body()      {}
func (*GroupsDeleted) body()     {}
func (*OffsetsDeleted) body()    {}
