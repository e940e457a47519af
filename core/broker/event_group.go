package broker

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/model"
)

// FindCoordinator asks who coordinates groups. It is answered by one effect.CoordinatorsFound, once the topic that
// their state is kept in is there.
type FindCoordinator struct {
	To     effect.RequestID
	Groups []string
}

// JoinGroup, SyncGroup, Heartbeat and LeaveGroup are for the coordinator of their group.
type (
	JoinGroup  struct{ group.Join }
	SyncGroup  struct{ group.Sync }
	Heartbeat  struct{ group.Heartbeat }
	LeaveGroup struct{ group.Leave }
)

// CommitOffsets commits offsets of one group. Topics are named by Name or, from OffsetCommit 10 on, by TopicID;
// the broker fills in the other.
type CommitOffsets struct{ group.Commit }

// FetchOffsets asks for committed offsets of groups. It is answered by one effect.OffsetsFetched. ByID says that
// topics are named by their ids (OffsetFetch 10).
type FetchOffsets struct {
	To     effect.RequestID
	ByID   bool
	Groups []group.Fetch
}

// DescribeGroups asks for groups as they stand. It is answered by one effect.GroupsDescribed.
type DescribeGroups struct {
	To     effect.RequestID
	Groups []string
}

// ListGroups asks for all groups in some states and of some types; none of either means all. It is answered by one
// effect.GroupsListed.
type ListGroups struct {
	To            effect.RequestID
	States, Types []string
}

// DeleteGroups asks for groups to be deleted. It is answered by one effect.GroupsDeleted.
type DeleteGroups struct {
	To     effect.RequestID
	Wall   model.Timestamp
	Groups []string
}

// DeleteOffsets asks for offsets of one group to be forgotten. It is answered by one effect.OffsetsDeleted.
type DeleteOffsets struct{ group.DeleteOffsets }

func (*FindCoordinator) event() {}
func (*JoinGroup) event()       {}
func (*SyncGroup) event()       {}
func (*Heartbeat) event()       {}
func (*LeaveGroup) event()      {}
func (*CommitOffsets) event()   {}
func (*FetchOffsets) event()    {}
func (*DescribeGroups) event()  {}
func (*ListGroups) event()      {}
func (*DeleteGroups) event()    {}
func (*DeleteOffsets) event()   {}
