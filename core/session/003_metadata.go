package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveMetadata(rq *request, out *Out) {
	var in protocol.MetadataRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	ev := &broker.DescribeTopics{To: rq.id, Wall: rq.wall, AutoCreate: in.AllowAutoTopicCreation || rq.version < 4}
	// Version 0 has no null and asks for all topics with an empty list; from version 1 on empty means none.
	ev.All = in.Topics == nil || rq.version == 0 && len(in.Topics) == 0
	// A topic is described once, however often it is named: a few bytes of a request must not ask for all
	// partitions of a large topic each.
	named := make(map[broker.TopicRef]bool, len(in.Topics))
	for i := range in.Topics {
		t := &in.Topics[i]
		ref := broker.TopicRef{Name: t.Name.Value}
		// Ids in versions 10 and 11 were never usable (KIP-516).
		if !t.Name.Valid && rq.version >= 12 {
			ref.ID, ref.ByID = model.TopicID(t.TopicID), true
		}
		if !named[ref] {
			named[ref] = true
			ev.Topics = append(ev.Topics, ref)
		}
	}
	rq.slot.asked = operationsAsked{cluster: in.IncludeClusterAuthorizedOperations, topics: in.IncludeTopicAuthorizedOperations}
	out.Events = append(out.Events, ev)
}

// operationsAsked is of what a client wants to hear what it may do.
type operationsAsked struct{ cluster, topics bool }

func respondMetadata(sl *slot, in *effect.TopicsDescribed) protocol.Message {
	r := new(protocol.MetadataResponse)
	r.Default()
	r.ClusterID, r.ControllerID = protocol.String(in.ClusterID), int32(in.Controller)
	asked := sl.asked.(operationsAsked)
	if asked.cluster && sl.version <= 10 {
		r.ClusterAuthorizedOperations = clusterOperations
	}
	for _, b := range in.Brokers {
		to := protocol.Add(&r.Brokers)
		to.NodeID, to.Host, to.Port = int32(b.ID), b.Host, b.Port
		if b.Rack != "" {
			to.Rack = protocol.String(b.Rack)
		}
	}
	r.Topics = make([]protocol.MetadataResponseTopic, 0, len(in.Topics))
	for i := range in.Topics {
		t := &in.Topics[i]
		to := protocol.Add(&r.Topics)
		to.ErrorCode, to.IsInternal = t.Code, t.Internal
		to.Name = protocol.NullString{Value: t.Name, Valid: t.Name != "" || sl.version < 12}
		if sl.version >= 10 {
			to.TopicID = [16]byte(t.ID)
		}
		if asked.topics && t.Code == 0 {
			to.TopicAuthorizedOperations = topicOperations
		}
		count := 0
		for k := range t.Partitions {
			p := &t.Partitions[k]
			count += len(p.Replicas) + len(p.ISR) + len(p.Offline)
		}
		to.Partitions = make([]protocol.MetadataResponsePartition, 0, len(t.Partitions))
		ids := make([]int32, 0, count) // of all partitions
		for k := range t.Partitions {
			p := &t.Partitions[k]
			at := protocol.Add(&to.Partitions)
			at.ErrorCode, at.PartitionIndex, at.LeaderID = p.Code, int32(p.Partition), int32(p.Leader)
			at.LeaderEpoch = int32(p.LeaderEpoch)
			at.ReplicaNodes, ids = nodeIDs(ids, p.Replicas)
			at.IsrNodes, ids = nodeIDs(ids, p.ISR)
			at.OfflineReplicas, ids = nodeIDs(ids, p.Offline)
		}
	}
	return r
}

// nodeIDs puts ids behind those in to, and returns them and what they stand in.
func nodeIDs(to []int32, ids []model.NodeID) (these, all []int32) {
	from := len(to)
	for _, id := range ids {
		to = append(to, int32(id))
	}
	return to[from:len(to):len(to)], to
}
