package record

import (
	"encoding/binary"

	"github.com/weirmq/weir/core/model"
)

// Batch is one whole batch, as Next cuts it out or Builder makes it. Its methods read fields in place
// and need at least HeaderBytes: a Batch that did not come from Next, Builder or ReadHeader's success
// over the same bytes may panic.
type Batch []byte

// BaseOffset is the first record's offset.
func (b Batch) BaseOffset() model.Offset {
	return model.Offset(binary.BigEndian.Uint64(b[posBaseOffset:]))
}

// LastOffset is the last record's offset. Compaction keeps it when it removes that record.
func (b Batch) LastOffset() model.Offset {
	return b.BaseOffset() + model.Offset(b.LastOffsetDelta())
}

// NextOffset is the offset after the batch.
func (b Batch) NextOffset() model.Offset { return b.LastOffset() + 1 }

// SizeBytes is the length of the whole batch as its header tells it.
func (b Batch) SizeBytes() int {
	return FrameBytes + int(int32(binary.BigEndian.Uint32(b[posLength:])))
}

// LeaderEpoch is the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() model.LeaderEpoch {
	return model.LeaderEpoch(binary.BigEndian.Uint32(b[posLeaderEpoch:]))
}

// Magic is the format's version.
func (b Batch) Magic() int8 { return int8(b[posMagic]) }

// CRC is the stored checksum; CheckCRC compares it.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[posCRC:]) }

// Attributes are the flags.
func (b Batch) Attributes() Attributes {
	return Attributes(binary.BigEndian.Uint16(b[posAttributes:]))
}

// Codec tells how Payload is compressed.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & CodecMask) }

// TimestampType tells whose clock the timestamps are.
func (b Batch) TimestampType() TimestampType {
	if b.Attributes()&AppendTimeBit != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// IsTransactional reports whether the batch belongs to a transaction, as data or as its marker.
func (b Batch) IsTransactional() bool { return b.Attributes()&TransactionalBit != 0 }

// IsControl reports whether the batch is a marker, which consumers never show.
func (b Batch) IsControl() bool { return b.Attributes()&ControlBit != 0 }

// HasDeleteHorizon reports whether BaseTimestamp holds the delete horizon (KIP-534).
func (b Batch) HasDeleteHorizon() bool { return b.Attributes()&DeleteHorizonBit != 0 }

// LastOffsetDelta is LastOffset - BaseOffset.
func (b Batch) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(b[posLastOffsetDelta:]))
}

// BaseTimestamp is what the records' timestamp deltas count from.
func (b Batch) BaseTimestamp() model.Timestamp {
	return model.Timestamp(binary.BigEndian.Uint64(b[posBaseTimestamp:]))
}

// MaxTimestamp is the greatest timestamp of the records, or the append time.
func (b Batch) MaxTimestamp() model.Timestamp {
	return model.Timestamp(binary.BigEndian.Uint64(b[posMaxTimestamp:]))
}

// ProducerID is NoProducerID without idempotence.
func (b Batch) ProducerID() model.ProducerID {
	return model.ProducerID(binary.BigEndian.Uint64(b[posProducerID:]))
}

// ProducerEpoch means nothing without a producer id; most clients write NoProducerEpoch then.
func (b Batch) ProducerEpoch() model.ProducerEpoch {
	return model.ProducerEpoch(binary.BigEndian.Uint16(b[posProducerEpoch:]))
}

// BaseSequence is the first record's sequence: NoSequence in markers. It means nothing without a producer id;
// some clients write NoSequence then, others 0.
func (b Batch) BaseSequence() model.Sequence {
	return model.Sequence(binary.BigEndian.Uint32(b[posBaseSequence:]))
}

// LastSequence is the last record's sequence, wrapping to 0 after 2^31-1.
func (b Batch) LastSequence() model.Sequence {
	return lastSequence(b.BaseSequence(), b.LastOffsetDelta())
}

// RecordCount is how many records the payload holds. Compaction leaves fewer than the offsets span.
func (b Batch) RecordCount() int32 { return int32(binary.BigEndian.Uint32(b[posRecordCount:])) }

// Payload is the records as they are stored, perhaps compressed.
func (b Batch) Payload() []byte { return b[HeaderBytes:] }

// Next cuts the first batch off concatenated batches, checking its header but not its CRC. The error
// is ErrShort when b ends inside the batch (or is empty), else as ReadHeader's; then rest is b.
func Next(b []byte) (batch Batch, rest []byte, err error) {
	h, err := ReadHeader(b)
	if err != nil {
		return nil, b, err
	}
	if h.SizeBytes > len(b) {
		return nil, b, ErrShort
	}
	return Batch(b[:h.SizeBytes:h.SizeBytes]), b[h.SizeBytes:], nil
}

func lastSequence(base model.Sequence, delta int32) model.Sequence {
	if base < 0 {
		return model.NoSequence
	}
	return base.Add(delta)
}
