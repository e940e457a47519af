package group

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// Join asks for membership. It is answered by an effect.GroupJoined, at once or when the round is complete.
type Join struct {
	To                   effect.RequestID
	Wall                 model.Timestamp
	Group                string
	Member               string // empty: a new member
	Instance             string // empty: a dynamic member (KIP-345)
	ClientID, ClientHost string
	SessionTimeoutMs     int32
	RebalanceTimeoutMs   int32
	ProtocolType         string
	Protocols            []Protocol
	// MemberIDRequired says that the client comes back with the id it is given (KIP-394, JoinGroup 4 and above).
	MemberIDRequired bool
	// CanSkipAssignment says that the client understands SkipAssignment (KIP-814, JoinGroup 9).
	CanSkipAssignment bool
	Reason            string
}

// Protocol is one assignment strategy that a member offers, most wanted first, with what it says to its leader.
type Protocol struct {
	Name     string
	Metadata []byte
}

// Sync asks for a member's assignment; the leader's brings everybody's. It is answered by an effect.GroupSynced.
type Sync struct {
	To                     effect.RequestID
	Wall                   model.Timestamp
	Group                  string
	Generation             int32
	Member, Instance       string
	ProtocolType, Protocol string // empty: not checked (SyncGroup below 5)
	Assignments            []Assignment
}

// Assignment is what a leader gives to one member.
type Assignment struct {
	Member     string
	Assignment []byte
}

// Heartbeat keeps a membership. It is answered by an effect.HeartbeatAnswered.
type Heartbeat struct {
	To               effect.RequestID
	Group            string
	Generation       int32
	Member, Instance string
}

// Leave ends memberships. It is answered by an effect.GroupLeft.
type Leave struct {
	To      effect.RequestID
	Wall    model.Timestamp
	Group   string
	Members []LeavingMember
}

// LeavingMember is one member that leaves: by its id, or, when that is empty, by its instance.
type LeavingMember struct{ Member, Instance, Reason string }

// Commit commits offsets. It is answered by an effect.OffsetsCommitted.
type Commit struct {
	To               effect.RequestID
	Wall             model.Timestamp
	Group            string
	Generation       int32 // negative: not a member (simple commits, admin clients)
	Member, Instance string
	RetentionMs      int64 // -1: the broker's (OffsetCommit up to 4)
	Parts            []CommitPart
}

// CommitPart is one partition's commit. Code, unless 0, is why it was refused before it came here.
type CommitPart struct {
	Topic       string
	TopicID     model.TopicID
	Partition   model.Partition
	Code        int16
	Offset      model.Offset
	LeaderEpoch model.LeaderEpoch
	Metadata    string
}

// Fetch asks for committed offsets of one group. FetchOffsets answers it at once.
type Fetch struct {
	Group  string
	All    bool // everything that the group has committed
	Topics []FetchTopic
}

// FetchTopic is one topic of a Fetch. Code, unless 0, answers for all of its partitions; of a topic that is Missing
// nothing is committed.
type FetchTopic struct {
	Name       string
	ID         model.TopicID
	Missing    bool
	Code       int16
	Partitions []model.Partition
}

// DeleteOffsets forgets offsets of one group. It is answered by an effect.OffsetsDeleted.
type DeleteOffsets struct {
	To    effect.RequestID
	Wall  model.Timestamp
	Group string
	Parts []DeleteOffsetsPart
}

// DeleteOffsetsPart is one partition of a DeleteOffsets. Code, unless 0, is why it was refused before it came here.
type DeleteOffsetsPart struct {
	Topic     string
	Partition model.Partition
	Code      int16
}

// Deletions gathers the outcome of a DeleteGroups whose groups belong to several coordinators.
type Deletions struct {
	To      effect.RequestID
	Answer  *effect.GroupsDeleted
	Missing int // results that are not known yet
}

// Done notes that one more result is known, and answers when it was the last.
func (d *Deletions) Done(out *effect.Set) {
	if d.Missing--; d.Missing == 0 {
		out.Replies = append(out.Replies, effect.Reply{To: d.To, Body: d.Answer})
	}
}

// operation is what can be put off while a group waits for a write: requests, and timers that went off meanwhile.
type operation interface{ groupID() string }

func (in *Join) groupID() string          { return in.Group }
func (in *Sync) groupID() string          { return in.Group }
func (in *Leave) groupID() string         { return in.Group }
func (in *Commit) groupID() string        { return in.Group }
func (in *DeleteOffsets) groupID() string { return in.Group }
func (in *deletion) groupID() string      { return in.group }
func (in *owner) groupID() string         { return in.group.id }

// deletion is one group of a DeleteGroups.
type deletion struct {
	group string
	wall  model.Timestamp
	of    *Deletions
	index int
}
