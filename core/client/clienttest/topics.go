package clienttest

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (c *Cluster) metadata(at model.NodeID, m *protocol.MetadataRequest, version int16) *protocol.MetadataResponse {
	var a protocol.MetadataResponse
	a.Default()
	for _, id := range c.Brokers {
		b := protocol.Add(&a.Brokers)
		b.NodeID = int32(id)
		b.Host, b.Port = c.hostPort(id)
	}
	a.ControllerID = int32(c.Controller)
	a.ClusterID = protocol.String(c.ID)
	describe := func(t *Topic) {
		x := protocol.Add(&a.Topics)
		x.Name = protocol.String(t.Name)
		x.TopicID = protocol.UUID(t.ID)
		for i, p := range t.Partitions {
			y := protocol.Add(&x.Partitions)
			y.PartitionIndex, y.LeaderID, y.LeaderEpoch = int32(i), int32(p.Leader), int32(p.Epoch)
			if p.former.moved && slices.Contains(c.Behind, at) {
				y.LeaderID, y.LeaderEpoch = int32(p.former.leader), int32(p.former.epoch)
			}
			if version < 7 {
				y.LeaderEpoch = -1
			}
			y.ReplicaNodes, y.IsrNodes = []int32{int32(p.Leader)}, []int32{int32(p.Leader)}
			if p.Leader < 0 {
				y.ErrorCode, y.ReplicaNodes, y.IsrNodes = kerr.LeaderNotAvailable.Code, nil, nil
			}
		}
	}
	if m.Topics == nil || version == 0 && len(m.Topics) == 0 {
		for _, t := range c.Topics {
			describe(t)
		}
	}
	for i := range m.Topics {
		name := m.Topics[i].Name.Value
		if v := c.script(0, protocol.KeyMetadata, name, 0); v.Code != 0 {
			x := protocol.Add(&a.Topics)
			x.Name, x.ErrorCode = protocol.String(name), v.Code
			continue
		}
		if c.Topic(name) == nil && c.AutoCreate > 0 && m.AllowAutoTopicCreation {
			c.Create(name, c.AutoCreate)
		}
		if t := c.Topic(name); t != nil {
			describe(t)
			continue
		}
		x := protocol.Add(&a.Topics)
		x.Name, x.ErrorCode = protocol.String(name), kerr.UnknownTopicOrPartition.Code
	}
	if version < 12 {
		for i := range a.Topics {
			if version < 10 {
				a.Topics[i].TopicID = protocol.UUID{}
			}
		}
	}
	return &a
}

// describeTopicPartitions describes what is named, on one page.
func (c *Cluster) describeTopicPartitions(m *protocol.DescribeTopicPartitionsRequest) *protocol.DescribeTopicPartitionsResponse {
	var a protocol.DescribeTopicPartitionsResponse
	a.Default()
	for i := range m.Topics {
		name := m.Topics[i].Name
		x, t := protocol.Add(&a.Topics), c.Topic(name)
		x.Name = protocol.String(name)
		if v := c.script(0, protocol.KeyDescribeTopicPartitions, name, 0); v.Code != 0 {
			x.ErrorCode = v.Code
			continue
		}
		if t == nil {
			x.ErrorCode = kerr.UnknownTopicOrPartition.Code
			continue
		}
		x.TopicID = protocol.UUID(t.ID)
		for i, p := range t.Partitions {
			y := protocol.Add(&x.Partitions)
			y.PartitionIndex, y.LeaderID, y.LeaderEpoch = int32(i), int32(p.Leader), int32(p.Epoch)
			y.ReplicaNodes, y.IsrNodes = []int32{int32(p.Leader)}, []int32{int32(p.Leader)}
		}
	}
	return &a
}

func (c *Cluster) createTopics(at model.NodeID, m *protocol.CreateTopicsRequest) *protocol.CreateTopicsResponse {
	var a protocol.CreateTopicsResponse
	a.Default()
	for i := range m.Topics {
		t := &m.Topics[i]
		x := protocol.Add(&a.Topics)
		x.Name = t.Name
		x.Configs = []protocol.CreateTopicsResponseTopicConfigs{}
		v := c.script(at, protocol.KeyCreateTopics, t.Name, 0)
		switch {
		case v.Code != 0 && !v.Append:
			x.ErrorCode = v.Code
		case c.Topic(t.Name) != nil:
			x.ErrorCode = kerr.TopicAlreadyExists.Code
		default:
			n := int(t.NumPartitions)
			if n < 0 {
				n = 1
			}
			if !m.ValidateOnly {
				x.TopicID = protocol.UUID(c.Create(t.Name, n).ID)
			}
			x.NumPartitions, x.ReplicationFactor = int32(n), 1
			x.ErrorCode = v.Code
		}
	}
	return &a
}

func (c *Cluster) deleteTopics(at model.NodeID, m *protocol.DeleteTopicsRequest, version int16) *protocol.DeleteTopicsResponse {
	var a protocol.DeleteTopicsResponse
	a.Default()
	names := m.TopicNames
	if version >= 6 {
		for i := range m.Topics {
			names = append(names, m.Topics[i].Name.Value)
		}
	}
	for _, name := range names {
		x := protocol.Add(&a.Responses)
		x.Name = protocol.String(name)
		if v := c.script(at, protocol.KeyDeleteTopics, name, 0); v.Code != 0 && !v.Append {
			x.ErrorCode = v.Code
		} else if !c.Delete(name) {
			x.ErrorCode = kerr.UnknownTopicOrPartition.Code
		} else {
			x.ErrorCode = v.Code
		}
	}
	return &a
}
