package metadata

import "github.com/weirmq/weir/core/model"

// Changes is what became different from one image to another that was made of it. What was changed several times is
// in it once, and what was made and removed again is not.
type Changes struct {
	Topics  []TopicChange // in the order in which they were first touched
	Brokers []BrokerChange
	// Nodes names the nodes whose settings changed, by id, all nodes together by the empty name.
	Nodes []string
	// Features are those whose level changed.
	Features []string
}

// TopicChange is what became of one topic.
type TopicChange struct {
	Before *Topic // nil: it is new
	After  *Topic // nil: it is gone
	// Configured says that its settings changed. Of a new topic it says nothing.
	Configured bool
	// Partitions are those that changed or were added, in the order in which they were first touched; of a topic that
	// is gone there are none.
	Partitions []PartitionChange
}

// PartitionChange is what became of one partition.
type PartitionChange struct {
	Partition model.Partition
	Before    *Partition // nil: it is new
	After     *Partition
}

// BrokerChange is what became of one broker.
type BrokerChange struct {
	Before *Broker // nil: it is new
	After  *Broker // nil: it is gone
}

// Topic is the topic before it was gone, or as it is now.
func (c *TopicChange) Topic() *Topic {
	if c.After == nil {
		return c.Before
	}
	return c.After
}
