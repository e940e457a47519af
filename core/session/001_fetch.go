package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// fetchSlot is a fetch request in flight: its response, to be filled when the records are there.
type fetchSlot struct {
	response protocol.FetchResponse
	places   []place
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
	f.places = f.places[:0]
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
	if len(f.places) == 0 {
		return // the response is an older request's
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
	f := &rq.slot.fetched
	f.response.Default()
	if in.SessionID != 0 {
		// Every session id that a client could have came from another broker or another life of this one.
		f.response.ErrorCode = kerr.FetchSessionIDNotFound.Code
		s.answer(rq.slot, &f.response, out)
		return
	}
	ev := &broker.Fetch{
		To: rq.id, Wait: model.Time(in.MaxWaitMs) * 1e6, BytesMin: in.MinBytes, BytesMax: in.MaxBytes,
		ReadCommitted: in.IsolationLevel == 1,
	}
	for t := range in.Topics {
		topic := &in.Topics[t]
		answer := protocol.Add(&f.response.Responses)
		answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
		ref := broker.TopicRef{Name: topic.Topic, ID: model.TopicID(topic.TopicID)}
		for i := range topic.Partitions {
			partition := &topic.Partitions[i]
			protocol.Add(&answer.Partitions).PartitionIndex = partition.Partition
			ev.Parts = append(ev.Parts, broker.FetchPart{
				Index: int32(len(f.places)), Topic: ref, Partition: model.Partition(partition.Partition),
				CurrentLeaderEpoch: model.LeaderEpoch(partition.CurrentLeaderEpoch),
				Offset:             model.Offset(partition.FetchOffset), BytesMax: partition.PartitionMaxBytes,
			})
			f.places = append(f.places, place{int32(t), int32(i)})
		}
	}
	out.Events = append(out.Events, ev)
	if len(rq.frame) > fetchFrameKeptBytes {
		s.fetch = protocol.FetchRequest{}
	}
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
		f.response.ErrorCode = in.Code
	}
	for i := range in.Parts {
		part := &in.Parts[i]
		at := f.places[part.Index]
		answer := &f.response.Responses[at.topic].Partitions[at.partition]
		answer.ErrorCode, answer.HighWatermark = part.Code, int64(part.HighWatermark)
		answer.LastStableOffset, answer.LogStartOffset = int64(part.LastStableOffset), int64(part.LogStartOffset)
		answer.Records = protocol.Records{Bytes: part.Records.Bytes}
		for _, r := range part.Records.Regions {
			answer.Records.Regions = append(answer.Records.Regions, r)
		}
	}
	s.answer(sl, &f.response, out)
}
