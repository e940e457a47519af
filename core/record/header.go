package record

import (
	"fmt"
	"math"

	"github.com/weirmq/weir/core/model"
)

// Header is a batch's header as a value: what machines handle instead of the bytes.
type Header struct {
	BaseOffset      model.Offset
	BaseTimestamp   model.Timestamp
	MaxTimestamp    model.Timestamp
	ProducerID      model.ProducerID
	SizeBytes       int // of the whole batch
	LeaderEpoch     model.LeaderEpoch
	CRC             uint32
	LastOffsetDelta int32
	BaseSequence    model.Sequence
	RecordCount     int32
	ProducerEpoch   model.ProducerEpoch
	Attributes      Attributes
	// MinTimestamp is the smallest timestamp of a record that has one, NoTimestamp if none has. It stands in no
	// batch: only ValidateProduced knows it.
	MinTimestamp model.Timestamp
}

// LastOffset is the last record's offset.
func (h *Header) LastOffset() model.Offset { return h.BaseOffset + model.Offset(h.LastOffsetDelta) }

// NextOffset is the offset after the batch.
func (h *Header) NextOffset() model.Offset { return h.LastOffset() + 1 }

// LastSequence is the last record's sequence, wrapping to 0 after 2^31-1.
func (h *Header) LastSequence() model.Sequence {
	return lastSequence(h.BaseSequence, h.LastOffsetDelta)
}

// Codec tells how the payload is compressed.
func (h *Header) Codec() Codec { return Codec(h.Attributes & CodecMask) }

// TimestampType tells whose clock the timestamps are.
func (h *Header) TimestampType() TimestampType {
	if h.Attributes&AppendTimeBit != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// IsTransactional reports whether the batch belongs to a transaction, as data or as its marker.
func (h *Header) IsTransactional() bool { return h.Attributes&TransactionalBit != 0 }

// IsControl reports whether the batch is a marker.
func (h *Header) IsControl() bool { return h.Attributes&ControlBit != 0 }

// HasDeleteHorizon reports whether BaseTimestamp holds the delete horizon (KIP-534).
func (h *Header) HasDeleteHorizon() bool { return h.Attributes&DeleteHorizonBit != 0 }

// HasProducer reports whether the batch carries a producer id: idempotent, transactional or a marker.
func (h *Header) HasProducer() bool { return h.ProducerID != model.NoProducerID }

// ReadHeader parses and checks the header of the batch that b begins with. It needs HeaderBytes and
// never looks at the payload, so b may be cut anywhere after them; it does not check the CRC.
//
// Errors: ErrShort when b ends too early to tell, ErrMagic for another format, ErrCorrupt when a field
// cannot be: a batch length below the header's, negative counts, more records than offsets, offsets
// past 2^63, half a producer.
func ReadHeader(b []byte) (Header, error) {
	h, err := parseHeader(b)
	if err != nil {
		return Header{}, err
	}
	if h.BaseOffset < 0 || h.BaseOffset > math.MaxInt64-1-model.Offset(h.LastOffsetDelta) {
		return Header{}, fmt.Errorf("%w: base offset %d", ErrCorrupt, h.BaseOffset)
	}
	if fault := h.fault(); fault != "" {
		return Header{}, fmt.Errorf("%w: %s", ErrCorrupt, fault)
	}
	return h, nil
}

// parseHeader checks only what is needed to know where the batch ends and how to read it.
func parseHeader(b []byte) (Header, error) {
	// The magic comes first: in formats 0 and 1 the other fields mean something else.
	if len(b) > posMagic && b[posMagic] != MagicV2 {
		return Header{}, fmt.Errorf("%w: magic %d", ErrMagic, int8(b[posMagic]))
	}
	if len(b) >= FrameBytes {
		if n := Batch(b).SizeBytes(); n < HeaderBytes {
			return Header{}, fmt.Errorf("%w: batch length %d", ErrCorrupt, n-FrameBytes)
		}
	}
	if len(b) < HeaderBytes {
		return Header{}, ErrShort
	}
	v := Batch(b[:HeaderBytes])
	return Header{
		BaseOffset:      v.BaseOffset(),
		SizeBytes:       v.SizeBytes(),
		LeaderEpoch:     v.LeaderEpoch(),
		CRC:             v.CRC(),
		Attributes:      v.Attributes(),
		LastOffsetDelta: v.LastOffsetDelta(),
		BaseTimestamp:   v.BaseTimestamp(),
		MaxTimestamp:    v.MaxTimestamp(),
		ProducerID:      v.ProducerID(),
		ProducerEpoch:   v.ProducerEpoch(),
		BaseSequence:    v.BaseSequence(),
		RecordCount:     v.RecordCount(),
	}, nil
}

// fault says what no batch's header may say, wherever it comes from; empty when it is sound. The base
// offset is left out: clients fill it as they like.
func (h *Header) fault() string {
	switch {
	case h.LastOffsetDelta < 0:
		return fmt.Sprintf("last offset delta %d", h.LastOffsetDelta)
	case h.RecordCount < 0 || int64(h.RecordCount) > int64(h.LastOffsetDelta)+1:
		return fmt.Sprintf("%d records in %d offsets", h.RecordCount, int64(h.LastOffsetDelta)+1)
	case h.ProducerID != model.NoProducerID && (h.ProducerID < 0 || h.ProducerEpoch < 0 || h.BaseSequence < model.NoSequence):
		// A producer without sequence is sound: markers have none. Without a producer epoch and sequence mean
		// nothing, and clients leave what they like there: Java's -1, franz-go's and Sarama's sequence is 0.
		return fmt.Sprintf("producer id %d, epoch %d, sequence %d", h.ProducerID, h.ProducerEpoch, h.BaseSequence)
	}
	return ""
}
