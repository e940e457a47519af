package session

import (
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/protocol"
)

// Operation is what an ACL must allow for a request, in Kafka's words.
type Operation uint8

// Resource is what the operation is on.
type Resource uint8

// The operations and resources that requests need.
const (
	None Operation = iota // anybody may, even before authentication
	Describe
	Read
	Write
	Create
	Delete
	Alter
	DescribeConfigs
	AlterConfigs
	IdempotentWrite
	ClusterAction // what nodes do among themselves
)

// The resources.
const (
	Nothing Resource = iota
	Cluster
	Topic // each topic that the request names
	Group
	Configured // the topic or, for a broker's configuration, the cluster
)

// String is Kafka's name of the operation.
func (o Operation) String() string {
	return [...]string{"none", "Describe", "Read", "Write", "Create", "Delete", "Alter", "DescribeConfigs", "AlterConfigs", "IdempotentWrite", "ClusterAction"}[o]
}

// String says what the resource is.
func (r Resource) String() string {
	return [...]string{"none", "Cluster", "Topic", "Group", "Topic or Cluster"}[r]
}

// API is one row of the table: everything about a key but what its handler does.
type API struct {
	Key protocol.Key
	// The client is told VersionMin to VersionMax. Of these, ServedMin and above are really served: some
	// clients turn features off unless old versions are in range (KAFKA-18659).
	VersionMin, ServedMin, VersionMax int16
	Operation                         Operation
	Resource                          Resource
	Peers                             Peers
	// Note is what there is to know besides, in one line.
	Note string
}

// Peers says who may send a request.
type Peers uint8

// Who may.
const (
	Anybody Peers = iota
	// Decided is Anybody, and the controller decides it: another node may send it inside an Envelope.
	Decided
	// Nodes are served after NodeHello, which tells them the versions. Nobody else is, and ApiVersions does not tell of
	// these keys: some clients choose among what they are told by rules of their own.
	Nodes
)

// asksNode reports whether nodes send such a request to each other. Nothing else is served on their connections: they
// have room and turns of their own in a driver, which are not for clients.
func (a *API) asksNode() bool {
	switch a.Key {
	case protocol.KeyAPIVersions, protocol.KeyFetch, protocol.KeyCreateTopics:
		return true
	default:
		return a.Peers == Nodes
	}
}

// APIs is the table, for what is made of it: documentation, tests of other packages.
func APIs() []API { return slices.Clone(apis) }

// apis is every request that a client may send, by ascending key.
var apis = []API{
	{protocol.KeyProduce, 0, 3, 13, Write, Topic, Anybody, "Versions 0 to 2 are told, or librdkafka up to 2.11.0 stops compressing, and not served. acks=0 is not answered; a refusal closes the connection."},
	{protocol.KeyFetch, 4, 4, 18, Read, Topic, Anybody, "Sessions (KIP-227) belong to their connection."},
	{protocol.KeyListOffsets, 1, 1, 11, Describe, Topic, Anybody, "Nothing is tiered: -4 is the earliest offset, -5 and -6 are none."},
	{protocol.KeyMetadata, 0, 0, 13, Describe, Topic, Anybody, ""},
	{protocol.KeyOffsetCommit, 2, 2, 10, Read, Group, Anybody, "Topics by id from version 10 on."},
	{protocol.KeyOffsetFetch, 1, 1, 10, Describe, Group, Anybody, "RequireStable is taken; there are no transactions to wait for yet."},
	{protocol.KeyFindCoordinator, 0, 0, 6, Describe, Group, Anybody, "Groups; for transactions the answer is COORDINATOR_NOT_AVAILABLE."},
	{protocol.KeyJoinGroup, 0, 0, 9, Read, Group, Anybody, ""},
	{protocol.KeyHeartbeat, 0, 0, 4, Read, Group, Anybody, ""},
	{protocol.KeyLeaveGroup, 0, 0, 5, Read, Group, Anybody, ""},
	{protocol.KeySyncGroup, 0, 0, 5, Read, Group, Anybody, ""},
	{protocol.KeyDescribeGroups, 0, 0, 6, Describe, Group, Anybody, ""},
	{protocol.KeyListGroups, 0, 0, 5, Describe, Group, Anybody, ""},
	{protocol.KeyAPIVersions, 0, 0, 5, None, Nothing, Anybody, "Answered before authentication, and in version 0 when the version is unknown."},
	{protocol.KeyCreateTopics, 2, 2, 7, Create, Cluster, Decided, "A name given twice is refused wherever it stands."},
	{protocol.KeyDeleteTopics, 1, 1, 6, Delete, Topic, Decided, ""},
	{protocol.KeyDeleteRecords, 0, 0, 2, Delete, Topic, Anybody, "Answered when the new log start is durable."},
	{protocol.KeyInitProducerID, 0, 0, 5, IdempotentWrite, Cluster, Anybody, "Idempotent producers; a transactional id is refused."},
	{protocol.KeyOffsetForLeaderEpoch, 2, 2, 4, Describe, Topic, Anybody, "librdkafka asks for version 2 exactly."},
	{protocol.KeyDescribeConfigs, 1, 1, 4, DescribeConfigs, Configured, Anybody, "Topics and brokers."},
	{protocol.KeyAlterConfigs, 0, 0, 2, AlterConfigs, Configured, Decided, "Replaces every setting of a resource; IncrementalAlterConfigs does not."},
	{protocol.KeyCreatePartitions, 0, 0, 3, Alter, Topic, Decided, ""},
	{protocol.KeyDeleteGroups, 0, 0, 3, Delete, Group, Anybody, ""},
	{protocol.KeyElectLeaders, 0, 0, 2, Alter, Cluster, Decided, "Preferred and unclean."},
	{protocol.KeyIncrementalAlterConfigs, 0, 0, 1, AlterConfigs, Configured, Decided, "Topics, brokers, and all brokers by the empty name."},
	{protocol.KeyAlterPartitionReassignments, 0, 0, 1, Alter, Cluster, Decided, "Answered when the move has begun. One that is under way is replaced or cancelled."},
	{protocol.KeyListPartitionReassignments, 0, 0, 0, Describe, Cluster, Decided, ""},
	{protocol.KeyOffsetDelete, 0, 0, 0, Delete, Group, Anybody, ""},
	{protocol.KeyDescribeQuorum, 0, 0, 2, Describe, Cluster, Decided, "Voters, and brokers that do not vote as observers."},
	{protocol.KeyAlterPartition, 3, 3, 3, ClusterAction, Cluster, Nodes, ""},
	{protocol.KeyEnvelope, 0, 0, 0, ClusterAction, Cluster, Nodes, "Takes requests that the controller decides, and no envelope inside another."},
	{protocol.KeyFetchSnapshot, 0, 0, 1, ClusterAction, Cluster, Nodes, "Images of the metadata log."},
	{protocol.KeyDescribeCluster, 0, 0, 2, Describe, Cluster, Anybody, "Brokers; controllers are not told on a broker's listener."},
	{protocol.KeyBrokerRegistration, 4, 4, 4, ClusterAction, Cluster, Nodes, ""},
	{protocol.KeyBrokerHeartbeat, 1, 1, 2, ClusterAction, Cluster, Nodes, ""},
	{protocol.KeyUnregisterBroker, 0, 0, 0, Alter, Cluster, Decided, "A broker that holds replicas is refused: they must be moved first."},
	{protocol.KeyAllocateProducerIDs, 0, 0, 0, ClusterAction, Cluster, Nodes, ""},
	{protocol.KeyListConfigResources, 0, 0, 1, DescribeConfigs, Cluster, Anybody, "Topics and brokers. Version 0 asks for client metrics, of which there are none."},
	{protocol.KeyDescribeTopicPartitions, 0, 0, 0, Describe, Topic, Anybody, "Page by page."},
	{protocol.KeyAddRaftVoter, 0, 0, 1, Alter, Cluster, Decided, "Of a node that has registered. Answered when it votes. One that voted from another disk is replaced."},
	{protocol.KeyRemoveRaftVoter, 0, 0, 0, Alter, Cluster, Decided, "With a zero directory id, from whichever disk the node votes."},
	{protocol.KeyNodeHello, 0, 0, 0, ClusterAction, Cluster, Nodes, "Not Kafka's. What a node says first: who it is and whom it means."},
	{protocol.KeyQuorumMessages, 0, 0, 0, ClusterAction, Cluster, Nodes, "Not Kafka's. Messages between voters of the metadata quorum."},
	{protocol.KeyDamagedReplicas, 0, 0, 0, ClusterAction, Cluster, Nodes, "Not Kafka's. Which replicas a broker cannot serve."},
}

// handle gives a request to the handler of its key. A test holds this switch against the table.
func (s *Session) handle(rq *request, out *Out) {
	switch rq.slot.key {
	case protocol.KeyProduce:
		s.receiveProduce(rq, out)
	case protocol.KeyFetch:
		s.receiveFetch(rq, out)
	case protocol.KeyListOffsets:
		s.receiveListOffsets(rq, out)
	case protocol.KeyMetadata:
		s.receiveMetadata(rq, out)
	case protocol.KeyFindCoordinator:
		s.receiveFindCoordinator(rq, out)
	case protocol.KeyOffsetCommit:
		s.receiveOffsetCommit(rq, out)
	case protocol.KeyOffsetFetch:
		s.receiveOffsetFetch(rq, out)
	case protocol.KeyJoinGroup:
		s.receiveJoinGroup(rq, out)
	case protocol.KeyHeartbeat:
		s.receiveHeartbeat(rq, out)
	case protocol.KeyLeaveGroup:
		s.receiveLeaveGroup(rq, out)
	case protocol.KeySyncGroup:
		s.receiveSyncGroup(rq, out)
	case protocol.KeyDescribeGroups:
		s.receiveDescribeGroups(rq, out)
	case protocol.KeyListGroups:
		s.receiveListGroups(rq, out)
	case protocol.KeyDeleteGroups:
		s.receiveDeleteGroups(rq, out)
	case protocol.KeyOffsetDelete:
		s.receiveOffsetDelete(rq, out)
	case protocol.KeyAPIVersions:
		s.receiveAPIVersions(rq, out)
	case protocol.KeyCreateTopics:
		s.receiveCreateTopics(rq, out)
	case protocol.KeyDeleteTopics:
		s.receiveDeleteTopics(rq, out)
	case protocol.KeyInitProducerID:
		s.receiveInitProducerID(rq, out)
	case protocol.KeyDeleteRecords:
		s.receiveDeleteRecords(rq, out)
	case protocol.KeyOffsetForLeaderEpoch:
		s.receiveOffsetForLeaderEpoch(rq, out)
	case protocol.KeyDescribeConfigs:
		s.receiveDescribeConfigs(rq, out)
	case protocol.KeyAlterConfigs:
		s.receiveAlterConfigs(rq, out)
	case protocol.KeyCreatePartitions:
		s.receiveCreatePartitions(rq, out)
	case protocol.KeyIncrementalAlterConfigs:
		s.receiveIncrementalAlterConfigs(rq, out)
	case protocol.KeyListConfigResources:
		s.receiveListConfigResources(rq, out)
	case protocol.KeyDescribeTopicPartitions:
		s.receiveDescribeTopicPartitions(rq, out)
	case protocol.KeyDescribeCluster:
		s.receiveDescribeCluster(rq, out)
	case protocol.KeyElectLeaders:
		s.receiveElectLeaders(rq, out)
	case protocol.KeyAlterPartitionReassignments:
		s.receiveAlterPartitionReassignments(rq, out)
	case protocol.KeyListPartitionReassignments:
		s.receiveListPartitionReassignments(rq, out)
	case protocol.KeyAddRaftVoter:
		s.receiveAddRaftVoter(rq, out)
	case protocol.KeyRemoveRaftVoter:
		s.receiveRemoveRaftVoter(rq, out)
	case protocol.KeyDescribeQuorum:
		s.receiveDescribeQuorum(rq, out)
	case protocol.KeyUnregisterBroker:
		s.receiveUnregisterBroker(rq, out)
	case protocol.KeyAlterPartition:
		s.receiveAlterPartition(rq, out)
	case protocol.KeyEnvelope:
		s.receiveEnvelope(rq, out)
	case protocol.KeyFetchSnapshot:
		s.receiveFetchSnapshot(rq, out)
	case protocol.KeyBrokerRegistration:
		s.receiveBrokerRegistration(rq, out)
	case protocol.KeyBrokerHeartbeat:
		s.receiveBrokerHeartbeat(rq, out)
	case protocol.KeyAllocateProducerIDs:
		s.receiveAllocateProducerIDs(rq, out)
	case protocol.KeyNodeHello:
		s.receiveNodeHello(rq, out)
	case protocol.KeyQuorumMessages:
		s.receiveQuorumMessages(rq, out)
	case protocol.KeyDamagedReplicas:
		s.receiveDamagedReplicas(rq, out)
	default:
		invariant.Checkf(false, "%v is in the table and has no handler", rq.slot.key)
	}
}

// lookup finds a key's row. The table is short; a walk beats a map.
func lookup(key protocol.Key) (row API, served bool) {
	for _, a := range apis {
		if a.Key == key {
			return a, true
		}
	}
	return API{}, false
}

// respond turns the broker's answer into the response of the request.
func (s *Session) respond(sl *slot, body effect.Body) protocol.Message {
	switch body := body.(type) {
	case *effect.OffsetsListed:
		return respondListOffsets(sl, body)
	case *effect.TopicsEnsured:
		return s.describeTopics(sl.version, sl.asked.(*topicsAsked))
	case *effect.TopicsCreated:
		return respondCreateTopics(sl, body)
	case *effect.TopicsDeleted:
		return respondDeleteTopics(sl, body)
	case *effect.RecordsDeleted:
		return respondDeleteRecords(sl, body)
	case *effect.EpochEndsFound:
		return respondOffsetForLeaderEpoch(sl, body)
	case *effect.PartitionsCreated:
		return respondCreatePartitions(body)
	case *effect.ConfigsAltered:
		if sl.key == protocol.KeyAlterConfigs {
			return respondAlterConfigs(body)
		}
		return respondIncrementalAlterConfigs(body)
	case *effect.ProducerIDAssigned:
		return respondInitProducerID(body)
	case *effect.CoordinatorsFound:
		return respondFindCoordinator(sl, body)
	case *effect.GroupJoined:
		return respondJoinGroup(sl, body)
	case *effect.GroupSynced:
		return respondSyncGroup(body)
	case *effect.HeartbeatAnswered:
		return respondHeartbeat(body)
	case *effect.GroupLeft:
		return respondLeaveGroup(sl, body)
	case *effect.OffsetsCommitted:
		return respondOffsetCommit(sl, body)
	case *effect.OffsetsFetched:
		return respondOffsetFetch(sl, body)
	case *effect.GroupsDescribed:
		return respondDescribeGroups(sl, body)
	case *effect.GroupsListed:
		return respondListGroups(body)
	case *effect.GroupsDeleted:
		return respondDeleteGroups(body)
	case *effect.OffsetsDeleted:
		return respondOffsetDelete(sl, body)
	case *effect.PartitionsReassigned:
		return respondAlterPartitionReassignments(sl, body)
	case *effect.ReassignmentsListed:
		return respondListPartitionReassignments(body)
	case *effect.LeadersElected:
		return respondElectLeaders(sl, body)
	case *effect.VotersChanged:
		if sl.key == protocol.KeyAddRaftVoter {
			return respondAddRaftVoter(body)
		}
		return respondRemoveRaftVoter(body)
	case *effect.QuorumDescribed:
		return respondDescribeQuorum(sl, body)
	case *effect.BrokerUnregistered:
		return respondUnregisterBroker(body)
	case *effect.PartitionsAltered:
		return respondAlterPartition(body)
	case *effect.BrokerRegistered:
		return respondBrokerRegistration(body)
	case *effect.BrokerHeartbeatAnswered:
		return respondBrokerHeartbeat(body)
	case *effect.ProducerIDsAllocated:
		return respondAllocateProducerIDs(body)
	case *effect.QuorumMessagesTaken:
		return respondQuorumMessages(body)
	case *effect.DamagedReported:
		return respondDamagedReplicas(body)
	case *effect.ImageFetched:
		return respondFetchSnapshot(sl, body)
	case *effect.Forwarded:
		invariant.Check(false, "what was forwarded is answered as it comes: see forwarded")
	}
	invariant.Checkf(false, "an answer of unknown kind: %T", body)
	return nil
}
