package session

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// fetchSlot is a fetch request in flight: its response, to be filled when the records are there.
type fetchSlot struct {
	response protocol.FetchResponse
	places   []place
	active   bool // the response is of the request in flight, and not an older one's
	byName   bool // the answer's parts are told apart by name, not by place
}

// reset makes the slot ready for the next request. It lets go of the records that were sent, and of
// everything if that is a lot. It counts the parts that it keeps room for.
func (f *fetchSlot) reset() int {
	for t := range f.response.Responses {
		partitions := f.response.Responses[t].Partitions
		for i := range partitions {
			partitions[i].Records = protocol.Records{}
		}
	}
	f.places, f.active, f.byName = f.places[:0], false, false
	kept := cap(f.places)
	for _, r := range f.response.Responses[:cap(f.response.Responses)] {
		kept += 1 + cap(r.Partitions)
	}
	if kept > partsKeptMax {
		*f, kept = fetchSlot{}, 0
	}
	return kept
}

// release lets go of the regions of an answer that will not be sent.
func (f *fetchSlot) release() {
	if !f.active {
		return
	}
	for t := range f.response.Responses {
		partitions := f.response.Responses[t].Partitions
		for i := range partitions {
			for _, r := range partitions[i].Records.Regions {
				r.(effect.Region).Release()
			}
			partitions[i].Records.Regions = nil
		}
	}
}

func (s *Session) receiveFetch(rq *request, out *Out) {
	in := &s.fetch
	if !s.decodeWhole(rq, in, out) {
		return
	}
	replica, brokerEpoch := model.NodeID(in.ReplicaID), model.NoBrokerEpoch
	if rq.version >= 15 {
		replica, brokerEpoch = model.NodeID(in.ReplicaState.ReplicaID), model.BrokerEpoch(in.ReplicaState.ReplicaEpoch)
	}
	if replica < 0 {
		replica = model.NoNode
	} else if !s.speaksFor(rq, replica, out) {
		return
	}
	f := &rq.slot.fetched
	f.response.Default()
	f.active = true
	ev := &broker.Fetch{
		To: rq.id, Replica: replica, BrokerEpoch: brokerEpoch, Wait: model.Time(in.MaxWaitMs) * 1e6, BytesMin: in.MinBytes, BytesMax: in.MaxBytes,
		Rack: in.RackID, ReadCommitted: in.IsolationLevel == 1, SessionID: in.SessionID, SessionEpoch: in.SessionEpoch, ByID: rq.version >= 13,
	}
	// A session's polls are answered by name: what they ask for is not what they get.
	f.byName = in.SessionEpoch > 0
	count := 0
	for t := range in.Topics {
		count += len(in.Topics[t].Partitions)
	}
	// Room is made once: a fetch may name a hundred thousand partitions, and to let slices grow to that copies
	// megabytes at a time.
	ev.Parts = make([]broker.FetchPart, 0, count)
	if !f.byName {
		f.places = slices.Grow(f.places, count)
	}
	var sifts *sieve
	if count > fetchPartsMax && !f.byName && replica == model.NoNode {
		sifts = &sieve{view: s.published.View}
	}
	for t := range in.Topics {
		topic := &in.Topics[t]
		if !f.byName {
			answer := protocol.Add(&f.response.Responses)
			answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
			answer.Partitions = slices.Grow(answer.Partitions, len(topic.Partitions))
		}
		ref := broker.TopicRef{Name: topic.Topic, ID: model.TopicID(topic.TopicID), ByID: ev.ByID}
		sifts.topic(ref)
		for i := range topic.Partitions {
			partition := &topic.Partitions[i]
			if code := sifts.partition(model.Partition(partition.Partition)); code != 0 {
				answer := protocol.Add(&f.response.Responses[t].Partitions)
				answer.PartitionIndex, answer.ErrorCode = partition.Partition, code
				answer.HighWatermark, answer.LastStableOffset, answer.LogStartOffset = -1, -1, -1
				f.places = append(f.places, place{int32(t), int32(i)})
				continue
			}
			ev.Parts = append(ev.Parts, broker.FetchPart{
				Index: int32(len(f.places)), Topic: ref, Partition: model.Partition(partition.Partition),
				CurrentLeaderEpoch: model.LeaderEpoch(partition.CurrentLeaderEpoch), LastFetchedEpoch: model.LeaderEpoch(partition.LastFetchedEpoch),
				Offset: model.Offset(partition.FetchOffset), BytesMax: partition.PartitionMaxBytes,
				LogStartOffset: model.Offset(partition.LogStartOffset), HighWatermark: model.Offset(partition.HighWatermark),
			})
			if !f.byName {
				protocol.Add(&f.response.Responses[t].Partitions).PartitionIndex = partition.Partition
				f.places = append(f.places, place{int32(t), int32(i)})
			}
		}
	}
	if len(ev.Parts) < count {
		// What is wrong is told at once, and such a fetch begins no session: the broker would not know of all of it.
		ev.Wait, ev.SessionEpoch = 0, -1
	}
	for t := range in.ForgottenTopicsData {
		topic := &in.ForgottenTopicsData[t]
		ref := broker.TopicRef{Name: topic.Topic, ID: model.TopicID(topic.TopicID), ByID: ev.ByID}
		for _, p := range topic.Partitions {
			ev.Forget = append(ev.Forget, broker.ForgetPart{Topic: ref, Partition: model.Partition(p)})
		}
	}
	out.Events = append(out.Events, ev)
	if len(rq.frame) > fetchFrameKeptBytes {
		s.fetch = protocol.FetchRequest{}
	}
}

// fetchPartsMax is how many partitions a fetch may name for the broker to see them unsifted.
const fetchPartsMax = 1024

// sieve looks through a fetch that names very many partitions: those that there are not, and those that are named
// again, are answered here. The loop is asked for each that there is once, however long the list.
type sieve struct {
	view *metadata.View
	now  *metadata.Topic // the one whose partitions follow
	code int16           // if there is none
	// named has a bit for each partition of the topics that were named.
	named map[*metadata.Topic][]uint64
}

// topic says whose partitions follow. A nil sieve lets everything through.
func (s *sieve) topic(ref broker.TopicRef) {
	if s == nil {
		return
	}
	if ref.ByID {
		s.now, s.code = s.view.Identified(ref.ID), kerr.UnknownTopicID.Code
	} else {
		s.now, s.code = s.view.Named(ref.Name), kerr.UnknownTopicOrPartition.Code
	}
	if s.now != nil && s.named[s.now] == nil {
		if s.named == nil {
			s.named = make(map[*metadata.Topic][]uint64)
		}
		s.named[s.now] = make([]uint64, s.now.PartitionCount()/64+1)
	}
}

// partition is the code for a partition that the broker need not see.
func (s *sieve) partition(index model.Partition) int16 {
	switch {
	case s == nil:
		return 0
	case s.now == nil:
		return s.code
	case s.now.Partition(index) == nil:
		return kerr.UnknownTopicOrPartition.Code
	}
	word := &s.named[s.now][index/64]
	if *word&(1<<(index%64)) != 0 {
		return kerr.InvalidRequest.Code
	}
	*word |= 1 << (index % 64)
	return 0
}

// fetchFrameKeptBytes is how large a fetch request may be for its decoded form to be kept for the next.
const fetchFrameKeptBytes = 64 << 10

// Fetched takes in the answer to a fetch, with the records read.
func (s *Session) Fetched(to effect.RequestID, in *effect.FetchReply, out *Out) {
	sl := s.find(to)
	if sl == nil || s.closed {
		for i := range in.Parts {
			for _, r := range in.Parts[i].Records.Regions {
				r.Release()
			}
		}
		return
	}
	f := &sl.fetched
	if sl.version >= 7 {
		f.response.ErrorCode, f.response.SessionID = in.Code, in.SessionID
	}
	for i := range in.Parts {
		if sl.version < 10 {
			s.withholdZstd(f, &in.Parts[i])
		}
		if part := &in.Parts[i]; !f.byName {
			at := f.places[part.Index]
			f.fill(&f.response.Responses[at.topic].Partitions[at.partition], part, sl.version)
		} else if !part.OnlyRecords || part.Code != 0 || part.Records.LenBytes() > 0 {
			f.fill(f.add(part), part, sl.version)
		}
	}
	s.answer(sl, &f.response, out)
}

// withholdZstd gives no records of a topic that keeps them in zstd to a client from before it (KIP-110). Of other
// topics it gets what producers chose, as Kafka gives it: most such clients read zstd all the same.
func (s *Session) withholdZstd(f *fetchSlot, part *effect.FetchPart) {
	name := part.TopicName
	if !f.byName {
		name = f.response.Responses[f.places[part.Index].topic].Topic
	}
	if own, has := s.published.Codecs.Named(name); !has || own.Codec != record.CodecZstd || part.Code != 0 {
		return
	}
	for _, r := range part.Records.Regions {
		r.Release()
	}
	part.Records, part.Code = effect.Records{}, kerr.UnsupportedCompressionType.Code
}

// add makes room for a part in an incremental response. Parts of one topic that follow each other are together.
func (f *fetchSlot) add(part *effect.FetchPart) *protocol.FetchResponsePartitionData {
	n := len(f.response.Responses)
	if n == 0 || f.response.Responses[n-1].Topic != part.TopicName || f.response.Responses[n-1].TopicID != [16]byte(part.Partition.Topic) {
		topic := protocol.Add(&f.response.Responses)
		topic.Topic, topic.TopicID = part.TopicName, [16]byte(part.Partition.Topic)
		n++
	}
	to := protocol.Add(&f.response.Responses[n-1].Partitions)
	to.PartitionIndex = int32(part.Partition.Partition)
	return to
}

func (f *fetchSlot) fill(answer *protocol.FetchResponsePartitionData, part *effect.FetchPart, version int16) {
	answer.ErrorCode, answer.HighWatermark = part.Code, int64(part.HighWatermark)
	answer.LastStableOffset, answer.LogStartOffset = int64(part.LastStableOffset), int64(part.LogStartOffset)
	answer.Records = protocol.Records{Bytes: part.Records.Bytes}
	for _, r := range part.Records.Regions {
		answer.Records.Regions = append(answer.Records.Regions, r)
	}
	if d := part.Diverging; d != nil && version >= 12 {
		answer.DivergingEpoch.Epoch, answer.DivergingEpoch.EndOffset = int32(d.LeaderEpoch), int64(d.EndOffset)
	}
	if part.Image != nil && version >= 12 {
		answer.SnapshotID.EndOffset, answer.SnapshotID.Epoch = int64(part.Image.EndOffset), int32(part.Image.Epoch)
	}
	if part.ReadReplica != nil && version >= 11 {
		answer.PreferredReadReplica = int32(*part.ReadReplica)
	}
	if l := part.Leader; l != nil && version >= 12 {
		answer.CurrentLeader.LeaderID, answer.CurrentLeader.LeaderEpoch = int32(l.Broker.ID), int32(l.Epoch)
		if version >= 16 && !slices.ContainsFunc(f.response.NodeEndpoints, func(e protocol.FetchResponseNodeEndpoint) bool { return e.NodeID == int32(l.Broker.ID) }) {
			to := protocol.Add(&f.response.NodeEndpoints)
			to.NodeID, to.Host, to.Port, to.Rack = int32(l.Broker.ID), l.Broker.Host, l.Broker.Port, messageOf(l.Broker.Rack)
		}
	}
}
