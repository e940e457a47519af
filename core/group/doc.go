// Package group coordinates consumer groups: who is a member, which generation a group is in, what its leader
// assigned to whom, and how far it has come in each partition. It speaks the classic protocol, in which members agree
// among themselves and the coordinator only brings them together (JoinGroup, SyncGroup, Heartbeat, LeaveGroup), and
// keeps committed offsets (OffsetCommit, OffsetFetch).
//
// One Coordinator leads one partition of __consumer_offsets and keeps its state there, in Kafka's own records. A
// group belongs to the partition that PartitionOf says.
//
//	Join, Sync, Leave ──► decide ──► GroupMetadataValue ──┐
//	Commit            ──► decide ──► OffsetCommitValue  ──┼─► coord.Writer ─► log ─► Durable ─► apply, reply
//	Delete, expiry    ──► decide ──► tombstones         ──┘                             ▲
//	Load ──► Scan ──► Scanned ──► readRecord ───────────────────────────────────────────┘ the same apply
//
// A group has two kinds of state. What the log says of it (saved, offsets) is changed by apply only, and is the same after a
// restart or on the next leader. The round that it is in (state, members, parked requests) lives in memory, as in
// Kafka: when the coordinator is lost in the middle of a round, members are told to join again.
//
// Invariants:
//
//  1. saved and offsets are a function of the log: loading calls the same apply as living through it.
//  2. Nothing is answered that rests on a record which is not below the high watermark; an OffsetFetch never shows a commit that
//     could still be lost.
//  3. While a record about a group's members is in flight, nothing else is decided about them: it waits, in order.
//     A refused record therefore leaves nothing to take back.
//  4. A commit is taken from a member of the generation in hand, or from anybody while there are no members. A member that
//     was replaced or left out is fenced.
//  5. Every member has a session that runs out, or waits for us in a round that runs out. Every group without members
//     and without anything in the log is forgotten. So nothing that clients leave behind stays for ever.
//  6. The log stays within a few times of what is live in it: see keyLog.
//  7. No step is linear in the number of groups or of offsets; a round is linear in its members.
//  8. Records that are read from the log are not trusted: what cannot be understood is counted and passed over.
//
// A group that was loaded from the log knows of each member only the protocol that was chosen, not what else it
// speaks (as in Kafka, whose
// record has no more). Until those members join again, somebody who speaks another one only is refused with
// INCONSISTENT_GROUP_PROTOCOL, although they may all speak it.
//
// Offsets expire when their group has had no members for Config.OffsetsRetentionMs (KIP-211), never because they are
// old; offsets that are not of a group with members, after that time since the commit.
//
// Deliberately absent: assignment (members do it), topics and their deletion (a commit names its topic by id, and counts
// for nothing once that id is gone), transactions' offsets, the protocol of KIP-848.
package group
