package effect

import (
	"strconv"

	"github.com/weirmq/weir/core/model"
)

// Call asks another node for something. It is answered by exactly one Answer, whatever becomes of the connection,
// except that nothing is answered any more when this process ends.
//
// Calls of one lane to one node arrive in the order in which they were emitted, as far as they arrive: what is sent
// behind a call that was lost can arrive. Lanes do not wait for each other.
type Call struct {
	To      model.NodeID
	Address Address
	Lane    Lane
	// ID is the caller's: its Answer carries it. It is unique among the calls that are not answered, of all lanes.
	ID CallID
	// Timeout is how long the answer may take from now on, waiting for a connection included.
	Timeout model.Time
	Body    CallBody
}

// CallID tells the calls of one process apart.
type CallID uint64

// Address is where a node's listener for other nodes is.
type Address struct {
	Host      string
	Port      int32
	Transport Transport
}

// Transport is how an address is reached.
type Transport uint8

// The transports. Their numbers are kept in the metadata log.
const (
	TransportTCP    Transport = 0 // plain
	TransportTLS    Transport = 1
	TransportQUIC   Transport = 2
	TransportMemory Transport = 3 // within one process
)

// String names the transport.
func (t Transport) String() string {
	if t > TransportMemory {
		return "transport " + strconv.Itoa(int(t))
	}
	return [...]string{"tcp", "tls", "quic", "memory"}[t]
}

// Lane is one of the connections between two nodes. Each lane has its own, so that one does not wait for another:
// what a node parks (a fetch without data, an administrative request) holds up what is behind it on its connection.
type Lane uint16

// The lanes. Those for replica fetchers follow: LaneFetch.
const (
	LaneControl  Lane = iota // registration, heartbeats, AlterPartition, producer ids: answered at once, or when committed
	LaneQuorum               // raft's messages
	LaneMetadata             // the metadata log and its images
	LaneForward              // requests of clients, and topics to be created
	laneFetch
)

// LaneFetch is the lane of a replica fetcher, counted from 0.
func LaneFetch(n int) Lane { return laneFetch + Lane(n) }

// String names the lane.
func (l Lane) String() string {
	if l >= laneFetch {
		return "fetch " + strconv.Itoa(int(l-laneFetch))
	}
	return [...]string{"control", "quorum", "metadata", "forward"}[l]
}

// Answer is what became of a Call. It is handed to the loop as an event.
type Answer struct {
	From    model.NodeID
	ID      CallID
	Failure CallFailure
	// Detail says more of a failure, for people.
	Detail string
	// Body is the answer of the call's kind, nil if there was a failure.
	Body AnswerBody
}

// CallFailure says why there is no answer.
type CallFailure uint8

// The failures of calls. Unreachable and Refused are certain: the other node has not done anything. After the others
// it may have, and even may do so later. An answer may come at once: who asks again after a failure waits first.
const (
	CallOK          CallFailure = iota
	CallUnreachable             // nothing was sent: no connection, or no room on it, until time was up or it failed
	CallLost                    // it was sent, and the connection ended before the answer
	CallTimedOut                // it was sent, and no answer came in time
	CallMalformed               // an answer came that does not follow the protocol
	CallRefused                 // the other end is another node, or of another cluster, or does not know the request
)

// String names the failure.
func (f CallFailure) String() string {
	return [...]string{"ok", "unreachable", "lost", "timed out", "malformed", "refused"}[f]
}

// CallBody is the closed sum of what a node asks of another. The answer to each stands beside it.
type CallBody interface{ call() }

// AnswerBody is the closed sum of what it is answered.
type AnswerBody interface{ answer() }

// AlterPartition asks the controller to commit who is in sync (KIP-497). It is answered by PartitionsAltered.
type AlterPartition struct {
	Broker      model.NodeID // who asks: the leader of all of the parts
	BrokerEpoch model.BrokerEpoch
	Parts       []AlterPartitionPart
}

// AlterPartitionPart is one partition of an AlterPartition.
type AlterPartitionPart struct {
	Partition      model.TopicPartition
	LeaderEpoch    model.LeaderEpoch
	ISR            []BrokerState
	Recovering     bool // the leader was elected uncleanly, and its log is not repaired yet (KIP-704)
	PartitionEpoch model.PartitionEpoch
}

// BrokerState is a broker that is in sync, in the life in which it was seen to be (KIP-903).
type BrokerState struct {
	Broker      model.NodeID
	BrokerEpoch model.BrokerEpoch // NoBrokerEpoch: not to be checked
}

// PartitionsAltered answers AlterPartition. With a Code there are no parts.
type PartitionsAltered struct {
	Code  int16
	Parts []PartitionAltered // some or all of those in the request
}

// PartitionAltered is what the controller has committed about a partition, or why it will not commit.
type PartitionAltered struct {
	Partition      model.TopicPartition
	Code           int16
	Leader         model.NodeID
	LeaderEpoch    model.LeaderEpoch
	ISR            []model.NodeID
	Recovering     bool
	PartitionEpoch model.PartitionEpoch
}

// RegisterBroker makes a broker known to the controller (KIP-631). It is answered by BrokerRegistered.
type RegisterBroker struct {
	Broker      model.NodeID
	ClusterID   string
	Incarnation model.IncarnationID
	Listeners   []BrokerListener
	Features    []BrokerFeature
	Rack        string // empty: none
	Directories []model.DirectoryID
	// PreviousBrokerEpoch is of the life before, if that ended cleanly (KIP-966).
	PreviousBrokerEpoch model.BrokerEpoch
}

// BrokerListener is where a broker is reached.
type BrokerListener struct {
	Name     string
	Host     string
	Port     int32
	Security int16 // Kafka's number of the security protocol
}

// The security protocols of listeners, by Kafka's numbers.
const (
	SecurityPlaintext int16 = 0
	SecuritySSL       int16 = 1
)

// BrokerFeature is a feature that a broker knows, and at which levels (KIP-584).
type BrokerFeature struct {
	Name               string
	LevelMin, LevelMax int16
}

// BrokerRegistered answers RegisterBroker.
type BrokerRegistered struct {
	Code        int16
	BrokerEpoch model.BrokerEpoch
}

// HeartbeatBroker says that a broker lives, and what it wants to be. It is answered by BrokerHeartbeatAnswered.
type HeartbeatBroker struct {
	Broker      model.NodeID
	BrokerEpoch model.BrokerEpoch
	// MetadataOffset is the highest offset of the metadata log that the broker has applied.
	MetadataOffset model.Offset
	WantFence      bool
	WantShutdown   bool
	// OfflineDirectories are those that failed.
	OfflineDirectories []model.DirectoryID
}

// BrokerHeartbeatAnswered answers HeartbeatBroker.
type BrokerHeartbeatAnswered struct {
	Code           int16
	IsCaughtUp     bool // it knows of everything that it led and leads no more, and why it was fenced
	IsFenced       bool
	ShouldShutdown bool
}

// ReportDamaged tells the controller which replicas a broker cannot serve, so that they are taken out of the ISR and the ELR where
// somebody else can lead. It is answered by DamagedReported. Parts of one topic stand together.
type ReportDamaged struct {
	Broker      model.NodeID
	BrokerEpoch model.BrokerEpoch
	Parts       []DamagedPart
}

// DamagedPart is one partition of a ReportDamaged.
type DamagedPart struct {
	Partition model.TopicPartition
	// LeaderEpoch is the last in which the replica led or followed; NoLeaderEpoch if it has done neither in this life. What
	// leaders know of it is of that epoch or of earlier ones.
	LeaderEpoch model.LeaderEpoch
}

// DamagedReported answers ReportDamaged. With a Code there are no parts.
type DamagedReported struct {
	Code  int16
	Parts []DamagedPartReported
}

// DamagedPartReported says that a replica is neither in sync nor eligible any more, and that no leader knows anything of it; or,
// with ELIGIBLE_LEADERS_NOT_AVAILABLE, that nobody else could lead, so that nothing was changed.
type DamagedPartReported struct {
	Partition model.TopicPartition
	Code      int16
}

// AllocateProducerIDs asks the controller for producer ids that no other broker gives out. It is answered by
// ProducerIDsAllocated.
type AllocateProducerIDs struct {
	Broker      model.NodeID
	BrokerEpoch model.BrokerEpoch
}

// ProducerIDsAllocated answers AllocateProducerIDs.
type ProducerIDsAllocated struct {
	Code  int16
	First model.ProducerID
	Count int32
}

// QuorumMessages carries messages of one voter to another. It is answered by QuorumMessagesTaken.
type QuorumMessages struct {
	From, To model.VoterID
	Messages [][]byte // opaque here; none to ask who answers
}

// QuorumMessagesTaken answers QuorumMessages: that they arrived, and who answers.
type QuorumMessagesTaken struct {
	Code int16
	// Voter is who answers, from which disk; HasLog says that it is part of a cluster that has been founded.
	Voter  model.VoterID
	HasLog bool
}

// Forward passes a client's request to the node that can decide it, as it came (KIP-590). It is answered by
// Forwarded.
type Forward struct {
	// Request is the whole frame of the client's request, header included and without the length.
	Request []byte
	// Principal is who the client has authenticated as, in the form of KIP-590; nil if it has not.
	Principal []byte
	// ClientAddress is the client's address: 4 or 16 bytes, or none if it has no such address.
	ClientAddress []byte
}

// Forwarded answers Forward. Response is the whole frame for the client, header included and without the length. It
// is nil if there is a Code.
type Forwarded struct {
	Code     int16
	Response []byte
}

// FetchImage asks for a piece of an image of the metadata log (KIP-630). It is answered by ImageFetched.
type FetchImage struct {
	Replica            model.NodeID
	ClusterID          string // empty: not to be checked
	Partition          model.Partition
	CurrentLeaderEpoch model.LeaderEpoch
	ID                 ImageID
	Position           int64
	BytesMax           int32
}

// ImageID names an image: the offset that it is of, exclusive, and the epoch of the record before that.
type ImageID struct {
	EndOffset model.Offset
	Epoch     model.LeaderEpoch
}

// NoImage is no image's name.
var NoImage = ImageID{EndOffset: model.NoOffset, Epoch: model.NoLeaderEpoch}

// ImageFetched answers FetchImage. Bytes are those of the image from Position on; it has SizeBytes in all.
type ImageFetched struct {
	Code        int16
	ID          ImageID
	Leader      model.NodeID // who leads the quorum, if the code says that it is not the one that was asked; or NoNode
	LeaderEpoch model.LeaderEpoch
	SizeBytes   int64
	Position    int64
	Bytes       []byte
}

// CreateMissing asks the controller for topics that clients asked for and that there are not, with the cluster's
// default counts (auto.create.topics.enable). It is answered by TopicsCreated.
type CreateMissing struct {
	Names   []string
	Timeout model.Time // how long the controller may take
}

func (*ReplicaFetch) call()        {}
func (*AlterPartition) call()      {}
func (*RegisterBroker) call()      {}
func (*HeartbeatBroker) call()     {}
func (*AllocateProducerIDs) call() {}
func (*ReportDamaged) call()       {}
func (*QuorumMessages) call()      {}
func (*Forward) call()             {}
func (*FetchImage) call()          {}
func (*CreateMissing) call()       {}

func (*ReplicaFetched) answer()          {}
func (*PartitionsAltered) answer()       {}
func (*BrokerRegistered) answer()        {}
func (*BrokerHeartbeatAnswered) answer() {}
func (*ProducerIDsAllocated) answer()    {}
func (*DamagedReported) answer()         {}
func (*QuorumMessagesTaken) answer()     {}
func (*Forwarded) answer()               {}
func (*ImageFetched) answer()            {}
func (*TopicsCreated) answer()           {}
