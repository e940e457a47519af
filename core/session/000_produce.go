package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// produceSlot is a produce request in flight: its response as it fills.
type produceSlot struct {
	response protocol.ProduceResponse
	places   []place // of each part, by its index
	missing  int     // parts without an outcome
	failed   bool    // some part was refused: its batch may still be referred to
}

// place is where a part stands in a request of topics and partitions, and in its response.
type place struct{ topic, partition int32 }

// partsKeptMax is how many parts of a request and of its response a slot keeps room for: what is larger
// is left to the collector, so that an idle connection holds little, whatever it once sent.
const partsKeptMax = 4096

// reset makes the slot ready for the next request.
func (p *produceSlot) reset() {
	p.places, p.missing, p.failed = p.places[:0], 0, false
	kept := cap(p.places)
	for _, r := range p.response.Responses[:cap(p.response.Responses)] {
		kept += 1 + cap(r.PartitionResponses)
	}
	if kept > partsKeptMax {
		*p = produceSlot{}
	}
}

func (s *Session) receiveProduce(rq *request, out *Out) {
	in := &s.produce
	if !s.decode(rq, in, out) {
		return
	}
	if in.Acks < -1 || in.Acks > 1 {
		s.close(out, "Produce with acks=%d; it is -1 (all), 0 or 1", in.Acks)
		return
	}
	ev := &broker.Produce{To: rq.id, Acks: in.Acks, Wall: rq.wall}
	p := &rq.slot.produced
	p.response.Default()
	rq.slot.frame = rq.frame
	for t := range in.TopicData {
		topic := &in.TopicData[t]
		answer := protocol.Add(&p.response.Responses)
		answer.Name, answer.TopicID = topic.Name, topic.TopicID
		ref := broker.TopicRef{Name: topic.Name, ID: model.TopicID(topic.TopicID)}
		for i := range topic.PartitionData {
			partition := &topic.PartitionData[i]
			out := protocol.Add(&answer.PartitionResponses)
			out.Index, out.BaseOffset = partition.Index, int64(model.NoOffset)
			index := int32(len(p.places))
			p.places = append(p.places, place{int32(t), int32(i)})
			header, err := s.validate(rq, in, partition.Records.Bytes)
			if err != nil {
				out.ErrorCode, out.LogStartOffset = err.code, int64(model.NoOffset)
				if rq.version >= 8 {
					out.ErrorMessage = protocol.String(err.message)
				}
				p.failed = true
				continue
			}
			ev.Parts = append(ev.Parts, broker.ProducePart{
				Index: index, Topic: ref, Partition: model.Partition(partition.Index),
				Header: header, Batch: partition.Records.Bytes,
			})
		}
	}
	p.missing = len(ev.Parts)
	if in.Acks == 0 {
		failed := p.failed
		s.forget(rq.slot)
		if failed {
			// The client asked for no answer: closing is the only way to tell it (Kafka does the same).
			s.close(out, "Produce with acks=0 holds a batch that cannot be taken")
		}
	}
	if len(ev.Parts) > 0 {
		out.Events = append(out.Events, ev)
	} else if in.Acks != 0 {
		s.answer(rq.slot, &p.response, out)
	}
	s.releaseProduce()
}

// releaseProduce lets go of what a large request needed.
func (s *Session) releaseProduce() {
	s.decompressor.Release()
	topics := s.produce.TopicData[:cap(s.produce.TopicData)]
	kept := 0
	for i := range topics {
		kept += 1 + cap(topics[i].PartitionData)
	}
	if kept > partsKeptMax {
		s.produce = protocol.ProduceRequest{}
	}
}

type invalid struct {
	code    int16
	message string
}

// validate checks a batch down to its records.
func (s *Session) validate(rq *request, in *protocol.ProduceRequest, batch []byte) (record.Header, *invalid) {
	if in.TransactionalID.Valid {
		return record.Header{}, &invalid{kerr.UnsupportedVersion.Code, "transactions are not served yet"}
	}
	if len(batch) == 0 {
		return record.Header{}, &invalid{kerr.InvalidRecord.Code, "a partition without a record batch"}
	}
	limits := record.Limits{DecompressedBytesMax: s.config.RecordBytesMax, NoZstd: rq.version < 7}
	header, err := record.ValidateProduced(batch, limits, &s.decompressor)
	if err != nil {
		return header, &invalid{record.Code(err), err.Error()}
	}
	if header.IsTransactional() {
		return header, &invalid{kerr.UnsupportedVersion.Code, "transactions are not served yet"}
	}
	return header, nil
}

// forget removes the newest slot: its request gets no answer.
func (s *Session) forget(sl *slot) {
	s.slots[len(s.slots)-1] = nil
	s.slots = s.slots[:len(s.slots)-1]
	s.recycleSlot(sl)
}

// Produced takes in one partition's outcome of a produce request.
func (s *Session) Produced(in effect.Produced, out *Out) {
	sl := s.find(in.To)
	if sl == nil || s.closed {
		return
	}
	p := &sl.produced
	at := p.places[in.Index]
	answer := &p.response.Responses[at.topic].PartitionResponses[at.partition]
	answer.ErrorCode, answer.BaseOffset = in.Code, int64(in.BaseOffset)
	answer.LogAppendTimeMs, answer.LogStartOffset = int64(in.AppendTime), int64(in.LogStartOffset)
	if in.Code != 0 {
		p.failed = true
	}
	if p.missing--; p.missing > 0 {
		return
	}
	if !p.failed {
		out.Free = append(out.Free, sl.frame)
	}
	s.answer(sl, &p.response, out)
}
