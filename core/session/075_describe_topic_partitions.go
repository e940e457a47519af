package session

import (
	"slices"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// pagePartitionsMax bounds a page (Kafka's max.request.partition.size.limit).
const pagePartitionsMax = 2000

// receiveDescribeTopicPartitions answers with as many partitions as fit a page, in order of topic names, from where
// the client says that the last page ended (KIP-966).
func (s *Session) receiveDescribeTopicPartitions(rq *request, out *Out) {
	var in protocol.DescribeTopicPartitionsRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	p := page{session: s, r: new(protocol.DescribeTopicPartitionsResponse), left: max(1, min(int(in.ResponsePartitionLimit), pagePartitionsMax))}
	p.r.Default()
	if c := in.Cursor; c != nil {
		p.fromTopic, p.from = c.TopicName, max(0, int(c.PartitionIndex))
	}
	if len(in.Topics) == 0 {
		for t := range s.published.View.TopicsFrom(p.fromTopic) {
			if !p.add(t) {
				break
			}
		}
		s.answer(rq.slot, p.r, out)
		return
	}
	names := make([]string, len(in.Topics))
	for i := range in.Topics {
		names[i] = in.Topics[i].Name
	}
	slices.Sort(names)
	names = slices.Compact(names)
	at, _ := slices.BinarySearch(names, p.fromTopic)
	for _, name := range names[at:] {
		if t := s.published.View.Named(name); t == nil {
			to := protocol.Add(&p.r.Topics)
			to.ErrorCode, to.Name = missing(broker.TopicRef{Name: name}), protocol.String(name)
		} else if !p.add(t) {
			break
		}
	}
	s.answer(rq.slot, p.r, out)
}

// page is an answer as it grows.
type page struct {
	session   *Session
	r         *protocol.DescribeTopicPartitionsResponse
	fromTopic string // in this topic it begins with partition from, in others with the first
	from      int
	left      int // how many partitions still fit
	ids       []int32
}

// add adds a topic as far as it fits, and reports that it is all there.
func (p *page) add(t *metadata.Topic) bool {
	from := 0
	if t.Name == p.fromTopic {
		from = min(p.from, t.PartitionCount())
	}
	if p.left == 0 {
		p.next(t, from)
		return false
	}
	last := min(from+p.left, t.PartitionCount())
	to := protocol.Add(&p.r.Topics)
	to.Name, to.TopicID, to.IsInternal = protocol.String(t.Name), [16]byte(t.ID), metadata.Internal(t.Name)
	to.TopicAuthorizedOperations = topicOperations
	for index := from; index < last; index++ {
		p.describe(protocol.Add(&to.Partitions), t, model.Partition(index))
	}
	p.left -= last - from
	if last < t.PartitionCount() {
		p.next(t, last)
		return false
	}
	return true
}

func (p *page) describe(to *protocol.DescribeTopicPartitionsResponsePartition, t *metadata.Topic, index model.Partition) {
	of := t.Partition(index)
	seen := p.session.look(t, index, of)
	to.ErrorCode, to.PartitionIndex, to.LeaderID, to.LeaderEpoch = seen.code, int32(index), int32(seen.leader), int32(of.LeaderEpoch)
	to.ReplicaNodes, p.ids = nodeIDs(p.ids, of.Replicas)
	to.IsrNodes, p.ids = nodeIDs(p.ids, of.ISR)
	to.OfflineReplicas, p.ids = nodeIDs(p.ids, seen.offline)
	to.EligibleLeaderReplicas, p.ids = nodeIDs(p.ids, of.ELR)
	to.LastKnownElr, p.ids = nodeIDs(p.ids, of.LastKnownELR)
}

// next says where the next page begins.
func (p *page) next(t *metadata.Topic, index int) {
	p.r.NextCursor = &protocol.DescribeTopicPartitionsResponseCursor{TopicName: t.Name, PartitionIndex: int32(index)}
}
