package controller

import (
	"strconv"

	"github.com/weirmq/weir/core/metadata"
)

// internalTopic is how a topic of the cluster's own is made; false says that it cannot be made yet.
func (c *Controller) internalTopic(name string) (CreateTopic, bool) {
	if name != metadata.OffsetsTopic {
		return CreateTopic{}, false
	}
	factor := c.config.OffsetsReplicationFactor
	if factor == 0 {
		factor = int16(factorUpTo(3, c.view.Image))
	}
	// What a coordinator does not need any more it removes itself; age says nothing here.
	return CreateTopic{
		Name: name, PartitionCount: c.config.OffsetsPartitionCount, ReplicationFactor: factor,
		Settings: []metadata.ConfigSetting{
			{Name: "retention.bytes", Value: "-1"},
			{Name: "retention.ms", Value: "-1"},
			{Name: "segment.bytes", Value: strconv.Itoa(int(c.config.OffsetsSegmentBytes))},
		},
	}, true
}
