package broker

import (
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
)

// CreatePartitions asks for topics to get more partitions. It is answered by one effect.PartitionsCreated.
type CreatePartitions struct {
	To           effect.RequestID
	ValidateOnly bool
	Topics       []controller.AddPartitions
}

// AlterConfigs asks for configurations to be changed. It is answered by one effect.ConfigsAltered.
type AlterConfigs struct {
	To           effect.RequestID
	ValidateOnly bool
	Resources    []controller.AlterResource
}

// DescribeConfigs asks for the configurations of topics and nodes. It is answered by one
// effect.ConfigsDescribed.
type DescribeConfigs struct {
	To        effect.RequestID
	Resources []ConfigResource
}

// ConfigResource names a resource that has a configuration.
type ConfigResource struct {
	Type int8 // controller.TopicResource or controller.NodeResource; others are refused
	Name string
	// Keys, unless empty, are the configurations that are wanted.
	Keys []string
}

// DescribeCluster asks for the nodes of the cluster. It is answered by one effect.ClusterDescribed.
type DescribeCluster struct{ To effect.RequestID }

func (*CreatePartitions) event() {}
func (*AlterConfigs) event()     {}
func (*DescribeConfigs) event()  {}
func (*DescribeCluster) event()  {}
