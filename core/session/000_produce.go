package session

import (
	"errors"
	"fmt"
	"math"
	"slices"

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

// reset makes the slot ready for the next request, and counts the parts that it keeps room for.
func (p *produceSlot) reset() int {
	p.places, p.missing, p.failed = p.places[:0], 0, false
	kept := cap(p.places)
	for _, r := range p.response.Responses[:cap(p.response.Responses)] {
		kept += 1 + cap(r.PartitionResponses)
	}
	if kept > partsKeptMax {
		*p, kept = produceSlot{}, 0
	}
	return kept
}

// checking is a produce request whose batches are being checked, one after the other.
type checking struct {
	rq               request
	event            *broker.Produce // nil: there is no such request
	topic, partition int             // the next batch
	inflatableBytes  int             // what the batches that are left may decompress to
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
	p := &rq.slot.produced
	p.response.Default()
	rq.slot.frame = rq.frame
	s.checking = checking{
		rq: *rq, event: &broker.Produce{To: rq.id, Acks: in.Acks, Wait: model.Time(max(1, in.TimeoutMs)) * 1e6, Wall: rq.wall}, inflatableBytes: s.config.RecordBytesMax,
	}
	var own inflater
	if !s.config.LendsInflaters {
		if s.decompressor == nil {
			s.decompressor = new(record.Decompressor)
		}
		own = inflater{decompressor: s.decompressor, bytesMax: s.config.RecordBytesMax, bytesLeft: math.MaxInt}
	}
	s.checkBatches(&own, out)
}

// checkBatches goes on checking batches. It stops before one that it cannot inflate, and asks for what can.
func (s *Session) checkBatches(with *inflater, out *Out) {
	c, in := &s.checking, &s.produce
	p := &c.rq.slot.produced
	for ; c.topic < len(in.TopicData); c.topic++ {
		topic := &in.TopicData[c.topic]
		if len(p.response.Responses) == c.topic {
			answer := protocol.Add(&p.response.Responses)
			answer.Name, answer.TopicID = topic.Name, topic.TopicID
		}
		answer := &p.response.Responses[c.topic]
		ref := broker.TopicRef{Name: topic.Name, ID: model.TopicID(topic.TopicID), ByID: c.rq.version >= 13}
		for ; c.partition < len(topic.PartitionData); c.partition++ {
			partition := &topic.PartitionData[c.partition]
			batch, header, fault, wants := s.validate(&c.rq, in, ref, partition.Records.Bytes, with)
			if wants != InflateNothing {
				out.Inflate = wants
				return
			}
			outcome := protocol.Add(&answer.PartitionResponses)
			outcome.Index, outcome.BaseOffset = partition.Index, int64(model.NoOffset)
			index := int32(len(p.places))
			p.places = append(p.places, place{int32(c.topic), int32(c.partition)})
			if fault != nil {
				outcome.ErrorCode, outcome.LogStartOffset = fault.code, int64(model.NoOffset)
				if c.rq.version >= 8 {
					outcome.ErrorMessage = protocol.String(fault.message)
				}
				p.failed = true
				continue
			}
			c.event.Parts = append(c.event.Parts, broker.ProducePart{
				Index: index, Topic: ref, Partition: model.Partition(partition.Index),
				Header: header, Batch: batch,
			})
		}
		c.partition = 0
	}
	s.checked(out)
}

// checked hands the batches that are good to the broker.
func (s *Session) checked(out *Out) {
	rq, ev := s.checking.rq, s.checking.event
	s.checking = checking{}
	p := &rq.slot.produced
	p.missing = len(ev.Parts)
	if ev.Acks == 0 {
		failed := p.failed
		s.forget(rq.slot)
		out.Unanswered = true
		if failed {
			// The client asked for no answer: closing is the only way to tell it (Kafka does the same).
			s.closeFor(CloseRefused, out, "Produce with acks=0 holds a batch that cannot be taken")
		}
	}
	if len(ev.Parts) > 0 {
		out.Events = append(out.Events, ev)
	} else if ev.Acks != 0 {
		s.answer(rq.slot, &p.response, out)
	}
	s.releaseProduce()
}

// releaseProduce lets go of what a large request needed.
func (s *Session) releaseProduce() {
	if s.decompressor != nil {
		s.decompressor.Release()
	}
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

// validate checks a batch down to its records and puts it into its topic's codec, or says what it needs to do so.
func (s *Session) validate(
	rq *request, in *protocol.ProduceRequest, topic broker.TopicRef, batch []byte, with *inflater,
) ([]byte, record.Header, *invalid, Inflation) {
	if in.TransactionalID.Valid {
		return nil, record.Header{}, &invalid{kerr.UnsupportedVersion.Code, "transactions are not served yet"}, InflateNothing
	}
	if len(batch) == 0 {
		return nil, record.Header{}, &invalid{kerr.InvalidRecord.Code, "a partition without a record batch"}, InflateNothing
	}
	c := &s.checking
	limits := record.Limits{DecompressedBytesMax: c.inflatableBytes, NoZstd: rq.version < 7}
	compressed := record.Compressed(batch)
	own, recode := s.codecOf(topic)
	recode = recode && len(batch) >= record.HeaderBytes && record.Batch(batch).Codec() != own.Codec
	if compressed || recode {
		switch {
		case with.decompressor == nil:
			return nil, record.Header{}, nil, laneOf(batch)
		case c.inflatableBytes <= 0:
			return nil, record.Header{}, &invalid{
				kerr.MessageTooLarge.Code, fmt.Sprintf("the request's batches decompress to more than %d bytes", s.config.RecordBytesMax),
			}, InflateNothing
		}
		if with.bytesLeft <= 0 {
			return nil, record.Header{}, nil, InflateSmall
		}
		limits.DecompressedBytesMax = min(limits.DecompressedBytesMax, with.bytesMax)
	}
	before := with.inflatedBytes()
	header, err := record.ValidateProduced(batch, limits, with.decompressor)
	if compressed && errors.Is(err, record.ErrTooLarge) && with.bytesMax < c.inflatableBytes {
		return nil, record.Header{}, nil, with.next
	}
	inflated := int(with.inflatedBytes() - before)
	c.inflatableBytes -= inflated
	with.bytesLeft -= inflated
	if err != nil {
		return nil, header, &invalid{record.Code(err), err.Error()}, InflateNothing
	}
	if header.IsTransactional() {
		return nil, header, &invalid{kerr.UnsupportedVersion.Code, "transactions are not served yet"}, InflateNothing
	}
	if recode {
		return s.recode(batch, header, own, with)
	}
	return batch, header, nil, InflateNothing
}

// codecOf is the codec that a topic keeps its records in, if it has one of its own.
func (s *Session) codecOf(topic broker.TopicRef) (effect.TopicCodec, bool) {
	if topic.ByID {
		return s.published.Codecs.Identified(topic.ID)
	}
	return s.published.Codecs.Named(topic.Name)
}

// recode puts a sound batch into the codec of its topic. What inflates to more than the topic takes is refused where
// it would be kept inflated; elsewhere it may yet become small enough.
func (s *Session) recode(batch []byte, header record.Header, own effect.TopicCodec, with *inflater) ([]byte, record.Header, *invalid, Inflation) {
	limit := with.bytesMax
	if own.Codec == record.CodecNone {
		limit = min(limit, int(own.BytesMax))
	}
	made, err := with.decompressor.Recompress(batch, own.Codec, limit)
	switch {
	case errors.Is(err, record.ErrTooLarge) && limit < with.bytesMax:
		return nil, header, &invalid{kerr.MessageTooLarge.Code, fmt.Sprintf(
			"the batch is kept uncompressed and has more than %d bytes then (max.message.bytes)", own.BytesMax)}, InflateNothing
	case errors.Is(err, record.ErrTooLarge) && with.bytesMax < s.config.RecordBytesMax:
		return nil, record.Header{}, nil, with.next
	case err != nil:
		return nil, header, &invalid{record.Code(err), err.Error()}, InflateNothing
	}
	smallest := header.MinTimestamp
	if header, err = record.ReadHeader(made); err != nil {
		return nil, header, &invalid{record.Code(err), err.Error()}, InflateNothing
	}
	header.MinTimestamp = smallest
	return made, header, nil, InflateNothing
}

// forget removes the newest slot: its request gets no answer.
func (s *Session) forget(sl *slot) {
	s.slots[len(s.slots)-1] = nil
	s.slots = s.slots[:len(s.slots)-1]
	s.recycleSlot(sl)
}

// endpoint says in the response where a node is reached, once (KIP-951).
func (p *produceSlot) endpoint(b effect.Broker) {
	if slices.ContainsFunc(p.response.NodeEndpoints, func(e protocol.ProduceResponseNodeEndpoint) bool { return e.NodeID == int32(b.ID) }) {
		return
	}
	to := protocol.Add(&p.response.NodeEndpoints)
	to.NodeID, to.Host, to.Port, to.Rack = int32(b.ID), b.Host, b.Port, messageOf(b.Rack)
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
		if sl.version >= 8 {
			answer.ErrorMessage = messageOf(in.Message)
		}
		if l := in.Leader; l != nil && sl.version >= 10 {
			answer.CurrentLeader.LeaderID, answer.CurrentLeader.LeaderEpoch = int32(l.Broker.ID), int32(l.Epoch)
			p.endpoint(l.Broker)
		}
	}
	if p.missing--; p.missing > 0 {
		return
	}
	if !p.failed {
		out.Free = append(out.Free, sl.frame)
	}
	s.answer(sl, &p.response, out)
}
