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

// TopicsDescribed answers a request for topics by name, by id or for all of them.
type TopicsDescribed struct {
	ClusterID  string
	Controller model.NodeID
	Brokers    []Broker
	Topics     []TopicDescribed
}

// Broker is a node as clients see it.
type Broker struct {
	ID   model.NodeID
	Host string
	Port int32
	Rack string
}

// TopicDescribed is one topic as clients see it. Name is empty and ID zero where the question did not
// say and the answer does not know.
type TopicDescribed struct {
	Code       int16
	Name       string
	ID         model.TopicID
	Internal   bool
	Partitions []PartitionDescribed // shared and immutable
}

// PartitionDescribed is one partition as clients see it.
type PartitionDescribed struct {
	Code        int16
	Partition   model.Partition
	Leader      model.NodeID
	LeaderEpoch model.LeaderEpoch
	Replicas    []model.NodeID
	ISR         []model.NodeID
	Offline     []model.NodeID
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

// PageDescribed answers a request for topics that comes page by page (KIP-966). Next, unless nil, is where the next
// page begins.
type PageDescribed struct {
	Topics []TopicDescribed
	Next   *PageCursor
}

// PageCursor is a place among all partitions, by name of the topic and partition.
type PageCursor struct {
	Topic     string
	Partition model.Partition
}

// ResourcesListed answers a request for the resources that have a configuration.
type ResourcesListed struct{ Resources []ResourceListed }

// ResourceListed is one of them.
type ResourceListed struct {
	Type int8
	Name string
}

// ConfigsDescribed answers a request for configurations, in the request's order.
type ConfigsDescribed struct{ Resources []ConfigDescribed }

// ConfigDescribed is one resource's configuration.
type ConfigDescribed struct {
	Type    int8
	Name    string
	Code    int16
	Message string
	Entries []ConfigEntry
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

// ClusterDescribed answers a request for the cluster's nodes.
type ClusterDescribed struct {
	ClusterID  string
	Controller model.NodeID
	Brokers    []Broker
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
func (*TopicsDescribed) body()    {}
func (*TopicsCreated) body()      {}
func (*TopicsDeleted) body()      {}
func (*ProducerIDAssigned) body() {}
func (*RecordsDeleted) body()     {}
func (*EpochEndsFound) body()     {}
func (*PageDescribed) body()      {}
func (*ResourcesListed) body()    {}
func (*PartitionsCreated) body()  {}
func (*ConfigsDescribed) body()   {}
func (*ConfigsAltered) body()     {}
func (*ClusterDescribed) body()   {}
