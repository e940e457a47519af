package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// topicsAsked is of what a client wants to hear.
type topicsAsked struct {
	all    bool
	topics []broker.TopicRef
	// Whether to tell what the client may do with the cluster, and with each topic.
	clusterOperations, topicOperations bool
}

// receiveMetadata answers from what is published. Only what is to be created first goes to the broker.
func (s *Session) receiveMetadata(rq *request, out *Out) {
	var in protocol.MetadataRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	asked := &topicsAsked{clusterOperations: in.IncludeClusterAuthorizedOperations, topicOperations: in.IncludeTopicAuthorizedOperations}
	// Version 0 has no null and asks for all topics with an empty list; from version 1 on empty means none.
	asked.all = in.Topics == nil || rq.version == 0 && len(in.Topics) == 0
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
			asked.topics = append(asked.topics, ref)
		}
	}
	if in.AllowAutoTopicCreation || rq.version < 4 {
		if names := s.creatable(asked); len(names) > 0 {
			rq.slot.asked = asked
			out.Events = append(out.Events, &broker.EnsureTopics{To: rq.id, Names: names})
			return
		}
	}
	s.answer(rq.slot, s.describeTopics(rq.version, asked), out)
}

// creatable are the topics that a client asks for, that there are not and that can be made.
func (s *Session) creatable(asked *topicsAsked) []string {
	if !s.published.View.Node().AutoCreateTopics {
		return nil
	}
	var names []string
	for _, ref := range asked.topics {
		if ref.Name != "" && s.topic(ref) == nil && metadata.NameProblem(ref.Name) == "" {
			names = append(names, ref.Name)
		}
	}
	return names
}

func (s *Session) describeTopics(version int16, asked *topicsAsked) protocol.Message {
	r := new(protocol.MetadataResponse)
	r.Default()
	r.ClusterID, r.ControllerID = protocol.String(s.config.ClusterID), int32(s.controllerID())
	if asked.clusterOperations && version <= 10 {
		r.ClusterAuthorizedOperations = clusterOperations
	}
	for _, b := range s.brokers() {
		to := protocol.Add(&r.Brokers)
		to.NodeID, to.Host, to.Port, to.Rack = int32(b.ID), b.Host, b.Port, messageOf(b.Rack)
	}
	if asked.all {
		r.Topics = make([]protocol.MetadataResponseTopic, 0, s.published.View.TopicCount())
		for t := range s.published.View.Topics {
			s.describeTopic(protocol.Add(&r.Topics), t, version, asked)
		}
		return r
	}
	r.Topics = make([]protocol.MetadataResponseTopic, 0, len(asked.topics))
	for _, ref := range asked.topics {
		to := protocol.Add(&r.Topics)
		if t := s.topic(ref); t != nil {
			s.describeTopic(to, t, version, asked)
			continue
		}
		to.ErrorCode = missing(ref)
		to.Name = protocol.NullString{Value: ref.Name, Valid: ref.Name != "" || version < 12}
		if version >= 10 {
			to.TopicID = [16]byte(ref.ID)
		}
	}
	return r
}

func (s *Session) describeTopic(to *protocol.MetadataResponseTopic, t *metadata.Topic, version int16, asked *topicsAsked) {
	to.Name, to.IsInternal = protocol.String(t.Name), metadata.Internal(t.Name)
	if version >= 10 {
		to.TopicID = [16]byte(t.ID)
	}
	if asked.topicOperations {
		to.TopicAuthorizedOperations = topicOperations
	}
	count := 0
	for _, p := range t.Partitions {
		count += len(p.Replicas) + len(p.ISR)
	}
	to.Partitions = make([]protocol.MetadataResponsePartition, 0, t.PartitionCount())
	ids := make([]int32, 0, count) // of all partitions
	for index, p := range t.Partitions {
		seen := s.look(t, index, p)
		at := protocol.Add(&to.Partitions)
		at.ErrorCode, at.PartitionIndex, at.LeaderID, at.LeaderEpoch = seen.code, int32(index), int32(seen.leader), int32(p.LeaderEpoch)
		at.ReplicaNodes, ids = nodeIDs(ids, p.Replicas)
		at.IsrNodes, ids = nodeIDs(ids, p.ISR)
		at.OfflineReplicas, ids = nodeIDs(ids, seen.offline)
	}
}

// nodeIDs puts ids behind those in to, and returns them and what they stand in.
func nodeIDs(to []int32, ids []model.NodeID) (these, all []int32) {
	from := len(to)
	for _, id := range ids {
		to = append(to, int32(id))
	}
	return to[from:len(to):len(to)], to
}
