package client

import "github.com/twmb/franz-go/pkg/kerr"

// Retriable reports whether the same request may succeed later without anyone changing it. It is the
// one place where weir's clients decide that.
//
// What each group means for the client:
//
//   - the view is stale (UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, LEADER_NOT_AVAILABLE,
//     NOT_LEADER_OR_FOLLOWER, REPLICA_NOT_AVAILABLE, KAFKA_STORAGE_ERROR, LISTENER_NOT_FOUND, the fenced
//     and unknown leader epochs, OFFSET_NOT_AVAILABLE, INCONSISTENT_TOPIC_ID, NOT_CONTROLLER,
//     NETWORK_EXCEPTION): refresh metadata, ask again. An unknown topic is in this group because brokers
//     learn of a new topic at different times;
//   - the broker cannot now (REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS and its AFTER_APPEND sister, the
//     coordinator's loading and moving, CONCURRENT_TRANSACTIONS, UNSTABLE_OFFSET_COMMIT,
//     THROTTLING_QUOTA_EXCEEDED, ELECTION_NOT_NEEDED's opposite numbers): wait, ask again;
//   - the bytes were damaged on the way (CORRUPT_MESSAGE): send them again. What the client itself made
//     wrong has other codes (INVALID_RECORD);
//   - the fetch session is gone (70, 71, 106): begin a new one.
//
// Not here: MESSAGE_TOO_LARGE (the producer splits the batch first), the sequence errors 45, 47 and 59
// (the producer renumbers if that is safe), OFFSET_OUT_OF_RANGE (the consumer's reset policy decides),
// and UNKNOWN_SERVER_ERROR: a broker that cannot say what is wrong is not to be hammered.
func Retriable(code int16) bool {
	switch code {
	case kerr.UnknownTopicOrPartition.Code, kerr.UnknownTopicID.Code, kerr.LeaderNotAvailable.Code,
		kerr.NotLeaderForPartition.Code, kerr.ReplicaNotAvailable.Code, kerr.KafkaStorageError.Code,
		kerr.ListenerNotFound.Code, kerr.FencedLeaderEpoch.Code, kerr.UnknownLeaderEpoch.Code,
		kerr.OffsetNotAvailable.Code, kerr.InconsistentTopicID.Code, kerr.NotController.Code,
		kerr.NetworkException.Code,
		kerr.RequestTimedOut.Code, kerr.NotEnoughReplicas.Code, kerr.NotEnoughReplicasAfterAppend.Code,
		kerr.CoordinatorLoadInProgress.Code, kerr.CoordinatorNotAvailable.Code, kerr.NotCoordinator.Code,
		kerr.ConcurrentTransactions.Code, kerr.UnstableOffsetCommit.Code, kerr.ThrottlingQuotaExceeded.Code,
		kerr.BrokerNotAvailable.Code, kerr.EligibleLeadersNotAvailable.Code, kerr.PreferredLeaderNotAvailable.Code,
		kerr.CorruptMessage.Code,
		kerr.FetchSessionIDNotFound.Code, kerr.InvalidFetchSessionEpoch.Code, kerr.FetchSessionTopicIDError.Code:
		return true
	}
	return false
}

// stale reports whether a code says that our metadata is behind.
func stale(code int16) bool {
	switch code {
	case kerr.UnknownTopicOrPartition.Code, kerr.UnknownTopicID.Code, kerr.LeaderNotAvailable.Code,
		kerr.NotLeaderForPartition.Code, kerr.ReplicaNotAvailable.Code, kerr.KafkaStorageError.Code,
		kerr.ListenerNotFound.Code, kerr.FencedLeaderEpoch.Code, kerr.UnknownLeaderEpoch.Code,
		kerr.OffsetNotAvailable.Code, kerr.InconsistentTopicID.Code, kerr.NotController.Code:
		return true
	}
	return false
}

// notWritten reports whether a produce error proves that this attempt wrote nothing and never will.
// The rest may come from a broker that had appended already and lost leadership, or time, before the
// replicas had it: NOT_LEADER_OR_FOLLOWER, UNKNOWN_TOPIC_OR_PARTITION, KAFKA_STORAGE_ERROR and
// REQUEST_TIMED_OUT are all sent to parked produces.
func notWritten(code int16) bool {
	switch code {
	case kerr.CorruptMessage.Code, kerr.MessageTooLarge.Code, kerr.InvalidTopicException.Code,
		kerr.RecordListTooLarge.Code, kerr.NotEnoughReplicas.Code, kerr.InvalidRequiredAcks.Code,
		kerr.TopicAuthorizationFailed.Code, kerr.ClusterAuthorizationFailed.Code, kerr.InvalidTimestamp.Code,
		kerr.UnsupportedVersion.Code, kerr.InvalidRequest.Code, kerr.UnsupportedForMessageFormat.Code,
		kerr.PolicyViolation.Code, kerr.OutOfOrderSequenceNumber.Code, kerr.InvalidProducerEpoch.Code,
		kerr.InvalidTxnState.Code, kerr.InvalidProducerIDMapping.Code, kerr.TransactionalIDAuthorizationFailed.Code,
		kerr.UnknownProducerID.Code, kerr.UnsupportedCompressionType.Code, kerr.InvalidRecord.Code,
		kerr.UnknownTopicID.Code, // ids are resolved before anything is done; a parked produce gets 3 instead
		kerr.ThrottlingQuotaExceeded.Code, kerr.ProducerFenced.Code:
		return true
	}
	return false
}

// sequenceRefused reports whether a code says that the batch's producer id, epoch or sequence does not
// follow what the leader knows (KIP-360).
func sequenceRefused(code int16) bool {
	return code == kerr.OutOfOrderSequenceNumber.Code || code == kerr.InvalidProducerEpoch.Code ||
		code == kerr.UnknownProducerID.Code
}
