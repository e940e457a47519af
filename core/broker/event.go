package broker

import (
	"fmt"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Event is everything that can happen to a broker: the closed sum that the node's queue, the simulator's
// heap and traces carry as values. Each kind is a pointer to one of the structs below; the broker may
// keep what they point at, so nobody changes an event after handing it over.
type Event interface{ event() }

// TopicRef names a topic as a request did: by name, or by id (from Produce 13 and Fetch 13 on).
type TopicRef struct {
	Name string // empty if the request used the id
	ID   model.TopicID
	// ByID says that the request names topics by id: a zero id is then an unknown topic, and not no id.
	ByID bool
}

// isID reports whether the id says which topic is meant.
func (r TopicRef) isID() bool { return r.ByID || r.Name == "" && !r.ID.IsZero() }

// Produce asks for batches to be appended. Each part is answered by its own effect.Produced; with acks 0
// nothing is answered, and one effect.Close says that a part was refused.
type Produce struct {
	To    effect.RequestID
	Acks  int16      // 0, 1 or -1
	Wait  model.Time // how long the client waits for replicas; 0: for ever
	Wall  model.Timestamp
	Parts []ProducePart
}

// ProducePart is one partition's batch, already validated down to its records by the session.
type ProducePart struct {
	Index     int32
	Topic     TopicRef
	Partition model.Partition
	Header    record.Header
	Batch     []byte
}

// target is the part's partition as the request named it, for people.
func (p *ProducePart) target() string {
	name := p.Topic.Name
	if name == "" {
		name = p.Topic.ID.String()
	}
	return fmt.Sprintf("%s/%d", name, p.Partition)
}

// Fetch asks for records. It is answered by one effect.Read, at once or when enough has arrived or its
// wait is over.
type Fetch struct {
	To       effect.RequestID
	Wait     model.Time
	BytesMin int32
	BytesMax int32
	// ReadCommitted limits the answer to the last stable offset (KIP-98).
	ReadCommitted bool
	// Rack is the client's, if it would like to read from a replica there (KIP-392); else empty.
	Rack string
	// Replica is the follower that asks, with the epoch of its registration; NoNode if it is a client.
	Replica     model.NodeID
	BrokerEpoch model.BrokerEpoch
	// SessionID and SessionEpoch are those of KIP-227: epoch 0 would like a session, -1 wants none, any other
	// goes on with one. ByID says that partitions are named by topic id, in the whole request.
	SessionID, SessionEpoch int32
	ByID                    bool
	// Parts are all that is wanted or, of a session, what changed.
	Parts  []FetchPart
	Forget []ForgetPart // of a session
}

// reader is who asks.
func (f *Fetch) reader() reader {
	return reader{replica: f.Replica, rack: f.Rack, readCommitted: f.ReadCommitted}
}

// reader is who fetches, and how much it may see.
type reader struct {
	replica       model.NodeID // NoNode: a client
	rack          string
	readCommitted bool
}

// ForgetPart is a partition that a session is to forget.
type ForgetPart struct {
	Topic     TopicRef
	Partition model.Partition
}

// FetchPart is one partition of a Fetch.
type FetchPart struct {
	Index              int32
	Topic              TopicRef
	Partition          model.Partition
	CurrentLeaderEpoch model.LeaderEpoch // NoLeaderEpoch: not checked (KIP-320)
	// LastFetchedEpoch is the epoch of the record before Offset, for the leader to find out whether the two
	// logs part there (KIP-595), or NoLeaderEpoch.
	LastFetchedEpoch model.LeaderEpoch
	Offset           model.Offset
	BytesMax         int32
	// LogStartOffset and HighWatermark are a follower's, as effect.ReplicaFetchPart has them. Clients do not tell theirs.
	LogStartOffset, HighWatermark model.Offset
}

// ListOffsets asks for offsets by time. It is answered by one effect.OffsetsListed.
type ListOffsets struct {
	To            effect.RequestID
	ReadCommitted bool
	// OfReplica asks for this node's own log, whoever leads: where it begins and where it ends, committed or not.
	OfReplica bool
	Parts     []ListOffsetsPart
}

// ListOffsetsPart is one partition of a ListOffsets. Timestamp is a time, or one of the constants below.
type ListOffsetsPart struct {
	Index              int32
	Topic              TopicRef
	Partition          model.Partition
	CurrentLeaderEpoch model.LeaderEpoch
	Timestamp          model.Timestamp
}

// Special timestamps of ListOffsets.
const (
	LatestTimestamp   model.Timestamp = -1
	EarliestTimestamp model.Timestamp = -2
	// -3 is effect.MaxTimestamp (KIP-734).
	EarliestLocalTimestamp model.Timestamp = -4 // KIP-405: the earliest on local disks, here the earliest
	LatestTieredTimestamp  model.Timestamp = -5 // KIP-1005: the latest in remote storage, here none
	// KIP-1023: the earliest that is still to be copied to remote storage, here none.
	EarliestPendingTimestamp model.Timestamp = -6
)

// EnsureTopics asks for topics that somebody wants to use, with default settings (auto.create.topics.enable). It is
// answered by one effect.TopicsEnsured when each is there or was refused: what is published then says which.
type EnsureTopics struct {
	To    effect.RequestID
	Names []string
}

// CreateTopics asks for topics. It is answered by one effect.TopicsCreated when they are durable, or
// at once when ValidateOnly.
type CreateTopics struct {
	To           effect.RequestID
	Origin       Origin
	ValidateOnly bool
	Topics       []controller.CreateTopic
}

// DeleteTopics asks for topics to be deleted. It is answered by one effect.TopicsDeleted.
type DeleteTopics struct {
	To     effect.RequestID
	Origin Origin
	Topics []controller.DeleteTopic
}

// InitProducerID asks for a producer id. It is answered by one effect.ProducerIDAssigned.
type InitProducerID struct {
	To effect.RequestID
	// ID and Epoch are what the producer has, to be given a higher epoch (KIP-360), or the No values.
	ID    model.ProducerID
	Epoch model.ProducerEpoch
}

// Disconnected says that a connection is gone: nobody waits for its parked requests any more. What it
// asked to be written is written all the same.
type Disconnected struct{ Conn effect.ConnID }

// Completed carries what the storage engine finished.
type Completed struct{ effect.Completions }

func (*Produce) event()        {}
func (*Fetch) event()          {}
func (*ListOffsets) event()    {}
func (*EnsureTopics) event()   {}
func (*CreateTopics) event()   {}
func (*DeleteTopics) event()   {}
func (*InitProducerID) event() {}
func (*Disconnected) event()   {}
func (*Completed) event()      {}
