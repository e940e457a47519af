package client

import (
	"github.com/weirmq/weir/core/model"
)

// Answer is how an admin request ended. Outcome is that of the request as a whole; when it is OK, each
// part has its own. Only the fields that the request asked for are set.
type Answer struct {
	Op OpID
	Outcome
	Topics    []TopicResult
	Described []TopicDescription
	Offsets   []OffsetResult
	Cluster   ClusterDescription
	Configs   []ConfigResource
	Groups    []Group
	Committed []GroupOffset
	Parts     []PartResult
	Moving    []Move
	Quorum    Quorum
	// Next is where a description of partitions goes on that did not fit into one answer; nil if it is whole.
	Next *PartitionCursor
}

// TopicResult is one topic's outcome of a creation or deletion.
type TopicResult struct {
	Name string
	ID   model.TopicID
	Outcome
	PartitionCount    int32
	ReplicationFactor int16
}

// TopicDescription is one topic as a broker sees it.
type TopicDescription struct {
	Name       string
	ID         model.TopicID
	Code       int16
	Internal   bool
	Partitions []PartitionDescription // ordered
}

// PartitionDescription is one partition as a broker sees it.
type PartitionDescription struct {
	Partition   model.Partition
	Code        int16
	Leader      model.NodeID // -1 without a leader
	LeaderEpoch model.LeaderEpoch
	Replicas    []model.NodeID
	ISR         []model.NodeID
	Offline     []model.NodeID
	// ELR and LastKnownELR are told by DescribePartitions only (KIP-966).
	ELR, LastKnownELR []model.NodeID
}

// OffsetResult answers an OffsetQuery. Offset is NoOffset when no record is as young as asked for.
type OffsetResult struct {
	OffsetQuery
	Outcome
	Offset      model.Offset
	Time        model.Timestamp // of the record found, NoTimestamp if there is none
	LeaderEpoch model.LeaderEpoch
	before      model.Offset // DeleteRecords: what is asked for
}

// ClusterDescription is who is in the cluster.
type ClusterDescription struct {
	ID         string
	Controller model.NodeID // -1 if unknown
	Brokers    []BrokerDescription
}

// BrokerDescription is one broker as clients reach it.
type BrokerDescription struct {
	ID     model.NodeID
	Addr   string
	Rack   string
	Fenced bool // told by DescribeBrokers only
}
