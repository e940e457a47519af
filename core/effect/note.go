package effect

import "github.com/weirmq/weir/core/model"

// Note is a fact that a machine states for people: the node turns notes into log lines and metrics, the
// simulator into traces. Nothing in the core reads one.
type Note struct {
	Kind      NoteKind
	Partition model.TopicPartition
	Topic     string
	Group     string
	Offset    model.Offset
	Count     int64  // what it counts is said at the kind
	Detail    string // for people; never parsed
}

// NoteKind says what happened.
type NoteKind uint8

// The kinds of notes.
const (
	NoteTopicCreated        NoteKind = iota + 1 // Count: partitions
	NoteTopicDeleted                            // Count: partitions
	NotePartitionOpened                         // Offset: log end offset
	NotePartitionOffline                        // Detail: why
	NoteSegmentRolled                           // Offset: the new segment's base offset; Count: bytes of the old one
	NoteSegmentDeleted                          // Offset: its base offset; Count: bytes
	NoteCheckpointed                            // Count: journal bytes released
	NoteRecovered                               // Count: journal entries replayed; Offset: log end offset
	NoteTailDropped                             // bytes that were never made durable were cut off; Count: bytes
	NoteDamageFound                             // Detail: file, position, what was wrong
	NoteDuplicateBatch                          // a retry was recognised; Offset: where the original is
	NoteSequenceRefused                         // Detail: expected and found
	NoteDiskFull                                // said once, until NoteDiskRoom; Detail: what was refused first
	NoteProducerIDBlock                         // Count: first id of the block
	NoteProducerExpired                         // Count: producers forgotten
	NoteJournalRecycled                         // Count: file number
	NotePartitionsAdded                         // Count: partitions that the topic has now
	NoteConfigured                              // a topic's configuration was changed
	NoteMemberJoined                            // Group; Detail: the member and its reason
	NoteMemberLeft                              // Group; Detail: the member and its reason
	NoteMemberExpired                           // Group; Detail: the member and why
	NoteRebalancing                             // Group; Count: the generation that ends; Detail: why
	NoteGenerationBegun                         // Group; Count: the generation
	NoteGroupStable                             // Group; Count: the generation
	NoteGroupDeleted                            // Group; Detail: why
	NoteOffsetsExpired                          // Group; Count: how many
	NoteCoordinatorLoaded                       // Count: groups; Offset: the log's end
	NoteCoordinatorFailed                       // Detail: why its groups cannot be served
	NoteDiskRoom                                // writes go on after NoteDiskFull; Count: appends refused meanwhile
	NoteReplicaRefused                          // Detail: why a leader's batch was not taken
	NoteReplicaCut                              // a follower's log is cut; Offset: where it ended
	NoteBrokerSilent                            // Count: the broker that is fenced for its silence
	NoteRegistered                              // Offset: the broker epoch that this node has from now on
	NoteRegistrationRefused                     // Detail: why the controller does not know this node
	NoteControllerElected                       // Count: the node; Offset: the term
	NoteClusterFounded                          // Count: how many voters it has
	NoteQuorumRefused                           // Detail: why a voter's message was not taken
	NoteVotersChanged                           // Count: the node that votes now, or votes no more
	NoteMetadataRefused                         // Detail: why metadata that a voter sent was not taken; Offset: up to where there is some
	NotePartitionLetGo                          // its files were removed, as this node is no replica of it any more
	NoteTruncated                               // Offset: where the log ends now; Count: records dropped
	NoteCutOff                                  // Count: so many ms the controller, or what it decides, was not reached: what this node leads is not served
	NoteServesAgain                             // it was reached after NoteCutOff
	NoteReplicaAlone                            // a replica is offline, and nobody else could lead: nothing is done. Detail: what an operator can do
	NoteReplicaDropped                          // a damaged replica begins anew, and fetches everything from the leader. Detail: what was wrong
	noteKindCount
)

var noteNames = [noteKindCount]string{
	NoteTopicCreated: "topic_created", NoteTopicDeleted: "topic_deleted",
	NotePartitionOpened: "partition_opened", NotePartitionOffline: "partition_offline",
	NoteSegmentRolled: "segment_rolled", NoteSegmentDeleted: "segment_deleted",
	NoteCheckpointed: "checkpointed", NoteRecovered: "recovered", NoteTailDropped: "tail_dropped",
	NoteDamageFound: "damage_found", NoteDuplicateBatch: "duplicate_batch",
	NoteSequenceRefused: "sequence_refused", NoteDiskFull: "disk_full", NoteDiskRoom: "disk_room", NoteTruncated: "truncated",
	NoteProducerIDBlock: "producer_id_block", NoteProducerExpired: "producer_expired",
	NoteJournalRecycled: "journal_recycled", NotePartitionsAdded: "partitions_added", NoteConfigured: "configured",
	NoteMemberJoined: "member_joined", NoteMemberLeft: "member_left", NoteMemberExpired: "member_expired",
	NoteRebalancing: "rebalancing", NoteGenerationBegun: "generation_begun", NoteGroupStable: "group_stable",
	NoteGroupDeleted: "group_deleted", NoteOffsetsExpired: "offsets_expired",
	NoteCoordinatorLoaded: "coordinator_loaded", NoteCoordinatorFailed: "coordinator_failed",
	NoteReplicaRefused: "replica_refused", NoteReplicaCut: "replica_cut",
	NoteBrokerSilent: "broker_silent", NoteRegistered: "registered", NoteRegistrationRefused: "registration_refused",
	NoteControllerElected: "controller_elected",
	NoteClusterFounded:    "cluster_founded", NoteQuorumRefused: "quorum_refused", NoteMetadataRefused: "metadata_refused", NoteVotersChanged: "voters_changed", NotePartitionLetGo: "partition_let_go",
	NoteCutOff: "cut_off", NoteServesAgain: "serves_again",
	NoteReplicaAlone: "replica_alone", NoteReplicaDropped: "replica_dropped",
}

// String is the note's name in logs and traces.
func (k NoteKind) String() string {
	if k == 0 || k >= noteKindCount {
		return "unknown"
	}
	return noteNames[k]
}
