package effect

// Mark names a rare path. A machine sets it when it takes the path; a simulation campaign fails when a
// mark was never reached, so that every rare path is known to be exercised.
type Mark uint8

// The marks. Names are package.path.
const (
	MarkProduceDuplicate        Mark = iota // a retried batch was answered from the window of five
	MarkProduceOutOfOrder                   // a sequence gap was refused
	MarkProduceEpochFenced                  // a lower producer epoch was refused
	MarkProduceEpochBumped                  // a higher producer epoch began at sequence 0
	MarkProduceUnknownProducer              // a producer without state was accepted at a sequence above 0
	MarkProduceParkedTwice                  // a duplicate of a batch that is not yet durable was parked beside it
	MarkFetchParked                         // a fetch waited for data
	MarkFetchWoken                          // a parked fetch was completed by data
	MarkFetchTimedOut                       // a parked fetch was completed by its deadline
	MarkFetchOutOfRange                     // a fetch asked outside the log
	MarkAutoCreated                         // a topic was created by asking for it
	MarkDiskFullRefused                     // an append was refused for lack of space
	MarkPartitionOffline                    // a partition was taken offline
	MarkRetentionAdvanced                   // retention moved a log start offset
	MarkRebalance                           // a group began a round of joins
	MarkMemberExpired                       // a member's session ended
	MarkStaticRejoin                        // a static member came back under a new id (KIP-345)
	MarkInstanceFenced                      // a static member was told that another has its place
	MarkGroupFull                           // a join was refused for group.max.size
	MarkGroupMemoryFull                     // a join or commit was refused for lack of memory
	MarkCommitFenced                        // a commit of no member of the generation was refused
	MarkOffsetsExpired                      // offsets of an empty group expired
	MarkOffsetsRewritten                    // live keys of a coordinator's log were written anew
	MarkGroupsLoaded                        // a coordinator loaded groups from its log
	MarkCoordinatorRefused                  // the log refused a coordinator's records
	MarkProduceTimedOut                     // a produce request waited for its replicas until its time was over
	MarkFollowerTruncated                   // a follower cut off what its leader has not
	MarkFollowerStartedAnew                 // a follower dropped its log, which ended before its leader's began
	MarkTruncatedBelowWatermark             // a follower cut off what had been committed: an unclean election
	MarkMetadataTruncated                   // a voter cut off entries that were overwritten
	MarkMetadataImage                       // a voter wrote an image of the metadata
	MarkBrokerFenced                        // a broker was not heard of for the time of a session
	MarkDiskReplaced                        // a broker came back with another disk
	MarkControlledShutdown                  // a broker was relieved of what it led, before it stopped
	MarkIneligibleReplica                   // a replica was proposed as in sync whose broker is fenced, or another life of it
	MarkReassigned                          // a reassignment came to its end
	MarkUncleanElection                     // a replica leads that may lack what was acknowledged: it was asked for
	MarkVoterReplaced                       // a node with another disk votes in the place of the one that it was
	MarkVoterJoins                          // a disk that knows nothing of the quorum joins it as another voter
	MarkLeaseOver                           // a leader that had not reached the controller for too long stopped serving
	MarkObserverImaged                      // a broker that does not vote began with an image of the metadata, or began anew
	MarkVoterImaged                         // a voter that was far behind came by an image of the metadata in several pieces
	MarkReplicaGivenUp                      // a damaged replica was taken out of the ISR or the ELR
	MarkReplicaAlone                        // a damaged replica was left as it is: nobody else could lead
	MarkReplicaDropped                      // a damaged replica was dropped, to be filled anew
	MarkInternalEnsured                     // a broker asked the controller, elsewhere, for a topic of the cluster's own
	MarkCount                               // how many there are; not a mark
)

var markNames = [MarkCount]string{
	MarkProduceDuplicate: "produce.duplicate", MarkProduceOutOfOrder: "produce.out_of_order",
	MarkProduceEpochFenced: "produce.epoch_fenced", MarkProduceEpochBumped: "produce.epoch_bumped",
	MarkProduceUnknownProducer: "produce.unknown_producer", MarkProduceParkedTwice: "produce.parked_twice",
	MarkFetchParked: "fetch.parked", MarkFetchWoken: "fetch.woken",
	MarkFetchTimedOut: "fetch.timed_out", MarkFetchOutOfRange: "fetch.out_of_range",
	MarkAutoCreated: "topic.auto_created", MarkInternalEnsured: "topic.internal_ensured",
	MarkDiskFullRefused: "disk.full_refused", MarkPartitionOffline: "partition.offline",
	MarkRetentionAdvanced: "retention.advanced",
	MarkRebalance:         "group.rebalance", MarkMemberExpired: "group.member_expired", MarkStaticRejoin: "group.static_rejoin",
	MarkInstanceFenced: "group.instance_fenced", MarkGroupFull: "group.full", MarkGroupMemoryFull: "group.memory_full",
	MarkCommitFenced:   "group.commit_fenced",
	MarkOffsetsExpired: "group.offsets_expired", MarkOffsetsRewritten: "group.log_rewritten", MarkGroupsLoaded: "group.loaded",
	MarkCoordinatorRefused: "group.append_refused",
	MarkProduceTimedOut:    "produce.timed_out",
	MarkFollowerTruncated:  "follower.truncated", MarkFollowerStartedAnew: "follower.started_anew",
	MarkTruncatedBelowWatermark: "follower.truncated_committed",
	MarkMetadataTruncated:       "metadata.truncated", MarkMetadataImage: "metadata.image",
	MarkBrokerFenced: "broker.fenced", MarkDiskReplaced: "broker.disk_replaced", MarkControlledShutdown: "broker.controlled_shutdown",
	MarkIneligibleReplica: "partition.ineligible_replica", MarkReassigned: "partition.reassigned", MarkUncleanElection: "partition.unclean_election",
	MarkVoterJoins: "quorum.joined", MarkVoterReplaced: "quorum.replaced", MarkLeaseOver: "broker.lease_over", MarkObserverImaged: "broker.imaged",
	MarkVoterImaged:    "quorum.imaged",
	MarkReplicaGivenUp: "damage.given_up", MarkReplicaAlone: "damage.alone", MarkReplicaDropped: "damage.dropped",
}

// String is the mark's name in reports.
func (m Mark) String() string {
	if m >= MarkCount {
		return "unknown"
	}
	return markNames[m]
}

// Marks is a set of marks.
type Marks struct{ bits uint64 }

// Set adds a mark.
func (m *Marks) Set(k Mark) { m.bits |= 1 << k }

// Has reports whether a mark was set.
func (m Marks) Has(k Mark) bool { return m.bits&(1<<k) != 0 }

// Merge adds all of another set's marks.
func (m *Marks) Merge(o Marks) { m.bits |= o.bits }
