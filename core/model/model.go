// Package model names the things weir talks about: one Go type for each identifier of the field, so
// that swapping two arguments does not compile.
//
// It holds no behaviour beyond what a name needs (printing, hashing, arithmetic that wraps). Every
// other package may import it; it imports nothing of ours.
package model

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
)

// NodeID identifies one weir node in a cluster. Kafka calls it the broker id.
type NodeID int32

// NoNode names no node: a partition without a leader, a fetch that is a client's.
const NoNode NodeID = -1

// VoterID identifies a voter of the metadata quorum: a node together with the disk that it votes from. 0 is nobody.
type VoterID uint64

// BrokerEpoch tells the lives of one broker apart: the offset of its registration in the metadata log (KIP-631).
type BrokerEpoch int64

// NoBrokerEpoch means that there is none, or that it is not known.
const NoBrokerEpoch BrokerEpoch = -1

// IncarnationID tells the processes of one node apart: a process draws it when it starts (KIP-631).
type IncarnationID [16]byte

// DirectoryID identifies a data directory for life (KIP-858).
type DirectoryID [16]byte

// TopicID is a topic's identity for life (KIP-516). A deleted and recreated name gets a new one.
type TopicID [16]byte

// MetadataTopicID is the reserved identity of the cluster metadata log, as in Kafka.
var MetadataTopicID = TopicID{15: 1}

// IsZero reports whether the id is absent: the all-zero id names no topic.
func (t TopicID) IsZero() bool { return t == TopicID{} }

// String is Kafka's rendering: URL-safe base64 without padding, 22 characters.
func (t TopicID) String() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// ParseTopicID reads what String wrote.
func ParseTopicID(s string) (TopicID, error) {
	var t TopicID
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(t) {
		return TopicID{}, errors.New("a topic id is 22 characters of URL-safe base64")
	}
	copy(t[:], b)
	return t, nil
}

// Compare orders topic ids by their bytes; machines walk topics in this order.
func (t TopicID) Compare(u TopicID) int {
	a, b := binary.BigEndian.Uint64(t[:8]), binary.BigEndian.Uint64(u[:8])
	if a == b {
		a, b = binary.BigEndian.Uint64(t[8:]), binary.BigEndian.Uint64(u[8:])
	}
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Partition is a partition's index within its topic.
type Partition int32

// TopicPartition names one partition for life.
type TopicPartition struct {
	Topic     TopicID
	Partition Partition
}

// String is "topicid/partition".
func (tp TopicPartition) String() string {
	return tp.Topic.String() + "/" + strconv.Itoa(int(tp.Partition))
}

// Compare orders by topic id, then by partition.
func (tp TopicPartition) Compare(o TopicPartition) int {
	if c := tp.Topic.Compare(o.Topic); c != 0 {
		return c
	}
	return int(tp.Partition) - int(o.Partition)
}

// Offset is a record's place in its partition.
type Offset int64

// NoOffset is the wire's way of saying "none".
const NoOffset Offset = -1

// LeaderEpoch counts a partition's leaderships.
type LeaderEpoch int32

// NoLeaderEpoch means that the epoch is unknown or not to be checked (KIP-320).
const NoLeaderEpoch LeaderEpoch = -1

// PartitionEpoch counts the changes of who leads a partition and who is in sync (KIP-497).
type PartitionEpoch int32

// ProducerID identifies an idempotent or transactional producer (KIP-98).
type ProducerID int64

// NoProducerID marks a batch without idempotence.
const NoProducerID ProducerID = -1

// ProducerEpoch fences older instances of one producer id.
type ProducerEpoch int16

// NoProducerEpoch goes with NoProducerID.
const NoProducerEpoch ProducerEpoch = -1

// Sequence numbers a producer's records per partition, from 0 to 2^31-1 and round again.
type Sequence int32

// NoSequence goes with NoProducerID.
const NoSequence Sequence = -1

// Add is the sequence n records later, wrapping to 0 after 2^31-1.
func (s Sequence) Add(n int32) Sequence {
	return Sequence((int64(s) + int64(n)) & 0x7fffffff)
}

// Time is a node's monotonic clock in nanoseconds. Its zero is arbitrary; deadlines use 0 for "none".
type Time int64

// Timestamp is wall time as records carry it: milliseconds since the Unix epoch.
type Timestamp int64

// NoTimestamp marks a record or a lookup without a time.
const NoTimestamp Timestamp = -1
