package broker

import (
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// CreatePartitions asks for topics to get more partitions. It is answered by one effect.PartitionsCreated.
type CreatePartitions struct {
	To           effect.RequestID
	Origin       Origin
	ValidateOnly bool
	Topics       []controller.AddPartitions
}

// AlterConfigs asks for configurations to be changed. It is answered by one effect.ConfigsAltered.
type AlterConfigs struct {
	To           effect.RequestID
	Origin       Origin
	ValidateOnly bool
	Resources    []controller.AlterResource
}

// ReassignPartitions asks for replicas to be moved. It is answered by one effect.PartitionsReassigned.
type ReassignPartitions struct {
	To              effect.RequestID
	Origin          Origin
	FactorMayChange bool
	Topics          []controller.ReassignTopic
}

// ListReassignments asks which replicas are being moved. It is answered by one effect.ReassignmentsListed.
type ListReassignments struct {
	To     effect.RequestID
	Origin Origin
	All    bool // of all topics; else of Topics
	Topics []controller.AskTopic
}

// ElectLeaders asks for elections. It is answered by one effect.LeadersElected.
type ElectLeaders struct {
	To      effect.RequestID
	Origin  Origin
	Unclean bool
	All     bool // of all topics; else of Topics
	Topics  []controller.AskTopic
}

// UnregisterBroker asks for a broker to be forgotten. It is answered by one effect.BrokerUnregistered.
type UnregisterBroker struct {
	To     effect.RequestID
	Origin Origin
	Node   model.NodeID
}

func (*CreatePartitions) event()   {}
func (*AlterConfigs) event()       {}
func (*ReassignPartitions) event() {}
func (*ListReassignments) event()  {}
func (*ElectLeaders) event()       {}
func (*UnregisterBroker) event()   {}

// DeleteRecords asks for the records below some offsets to be deleted. It is answered by one
// effect.RecordsDeleted when the new log starts are durable.
type DeleteRecords struct {
	To    effect.RequestID
	Wait  model.Time // how long to wait for storage
	Wall  model.Timestamp
	Parts []DeleteRecordsPart
}

// DeleteRecordsPart is one partition of a DeleteRecords.
type DeleteRecordsPart struct {
	Index     int32
	Topic     TopicRef
	Partition model.Partition
	Offset    model.Offset // the first to keep, or ToHighWatermark
}

// ToHighWatermark in a DeleteRecordsPart deletes everything that may be read.
const ToHighWatermark model.Offset = -1

// EpochEnds asks where leader epochs end. It is answered by one effect.EpochEndsFound.
type EpochEnds struct {
	To    effect.RequestID
	Parts []EpochEndsPart
}

// EpochEndsPart is one partition of an EpochEnds.
type EpochEndsPart struct {
	Index              int32
	Topic              TopicRef
	Partition          model.Partition
	CurrentLeaderEpoch model.LeaderEpoch // NoLeaderEpoch: not checked
	LeaderEpoch        model.LeaderEpoch // the epoch that is asked for
}

func (*DeleteRecords) event() {}
func (*EpochEnds) event()     {}
