package effect

import "github.com/weirmq/weir/core/model"

// OffsetsListed answers a ListOffsets request.
type OffsetsListed struct{ Parts []OffsetListed }

// OffsetListed is one partition's answer.
type OffsetListed struct {
	Index       int32
	Code        int16
	Offset      model.Offset
	Timestamp   model.Timestamp
	LeaderEpoch model.LeaderEpoch
}

// TopicsEnsured answers a request for topics that somebody wants to use: each is there now, or was refused.
type TopicsEnsured struct{}

// Broker is a node as clients see it.
type Broker struct {
	ID   model.NodeID
	Host string
	Port int32
	Rack string
}

// TopicsCreated answers a request to create topics, in the request's order.
type TopicsCreated struct{ Topics []TopicCreated }

// TopicCreated is one topic's outcome.
type TopicCreated struct {
	Name              string
	ID                model.TopicID
	Code              int16
	Message           string
	PartitionCount    int32
	ReplicationFactor int16
	Configs           []ConfigEntry
}

// TopicsDeleted answers a request to delete topics, in the request's order.
type TopicsDeleted struct{ Topics []TopicDeleted }

// TopicDeleted is one topic's outcome.
type TopicDeleted struct {
	Name    string
	ID      model.TopicID
	Code    int16
	Message string
}

// PartitionsCreated answers a request for more partitions, in the request's order.
type PartitionsCreated struct{ Topics []TopicExtended }

// TopicExtended is one topic's outcome.
type TopicExtended struct {
	Name    string
	Code    int16
	Message string
}

// ConfigsAltered answers a request to change configurations, in the request's order.
type ConfigsAltered struct{ Resources []ConfigAltered }

// ConfigAltered is one resource's outcome.
type ConfigAltered struct {
	Type    int8
	Name    string
	Code    int16
	Message string
}

// RecordsDeleted answers a DeleteRecords request.
type RecordsDeleted struct{ Parts []PartDeleted }

// PartDeleted is one partition's answer: where its log starts now.
type PartDeleted struct {
	Index        int32
	Code         int16
	LowWatermark model.Offset
}

// EpochEndsFound answers an OffsetForLeaderEpoch request.
type EpochEndsFound struct{ Parts []EpochEnd }

// EpochEnd is one partition's answer: where an epoch ends.
type EpochEnd struct {
	Index       int32
	Code        int16
	LeaderEpoch model.LeaderEpoch
	EndOffset   model.Offset
}

// ProducerIDAssigned answers InitProducerId.
type ProducerIDAssigned struct {
	Code  int16
	ID    model.ProducerID
	Epoch model.ProducerEpoch
}

func (*OffsetsListed) body()      {}
func (*TopicsEnsured) body()      {}
func (*TopicsCreated) body()      {}
func (*TopicsDeleted) body()      {}
func (*ProducerIDAssigned) body() {}
func (*RecordsDeleted) body()     {}
func (*EpochEndsFound) body()     {}
func (*PartitionsCreated) body()  {}
func (*ConfigsAltered) body()     {}
