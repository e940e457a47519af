package effect

import "github.com/weirmq/weir/core/model"

// PartitionsReassigned answers a request to move replicas, in the request's order.
type PartitionsReassigned struct {
	// Code and Message are of the request as a whole: nothing of it was looked at.
	Code    int16
	Message string
	Topics  []TopicParts
}

// TopicParts is what became of some partitions of a topic.
type TopicParts struct {
	Name  string
	Parts []PartOutcome
}

// PartOutcome is one partition's outcome.
type PartOutcome struct {
	Partition model.Partition
	Code      int16
	Message   string
}

// ReassignmentsListed answers which replicas are being moved.
type ReassignmentsListed struct {
	Code    int16
	Message string
	Topics  []TopicMoving // by name
}

// TopicMoving is a topic with partitions that are being moved.
type TopicMoving struct {
	Name  string
	Parts []PartMoving // by partition
}

// PartMoving is a partition that is being moved.
type PartMoving struct {
	Partition                  model.Partition
	Replicas, Adding, Removing []model.NodeID
}

// LeadersElected answers a request for elections, in the request's order; if it was for all partitions, those that
// needed none are left out.
type LeadersElected struct {
	Code    int16
	Message string
	Topics  []TopicParts
}

// BrokerUnregistered answers a request to forget a broker.
type BrokerUnregistered struct {
	Code    int16
	Message string
}

func (*PartitionsReassigned) body() {}
func (*ReassignmentsListed) body()  {}
func (*LeadersElected) body()       {}
func (*BrokerUnregistered) body()   {}
