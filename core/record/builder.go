package record

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
)

// Options are what a batch's header says beyond its records. Start from NewOptions: zero is a producer.
type Options struct {
	Codec Codec
	// Level as Compressor.Compress takes it; 0 is the codec's default.
	Level int
	// BaseOffset is 0 from producers; the leader stamps it.
	BaseOffset model.Offset
	// LeaderEpoch is NoLeaderEpoch from producers; the leader stamps it.
	LeaderEpoch model.LeaderEpoch
	// ProducerID, ProducerEpoch and BaseSequence are all set or all absent; a batch that compaction
	// rewrites keeps the original's.
	ProducerID    model.ProducerID
	ProducerEpoch model.ProducerEpoch
	BaseSequence  model.Sequence
	Transactional bool
	// Control is for a cleaner that rewrites a marker's batch; AppendControl makes new ones.
	Control bool
	// AppendTime makes it a LogAppendTime batch with this max timestamp; 0 leaves it CreateTime.
	AppendTime model.Timestamp
	// DeleteHorizon takes the place of the base timestamp (KIP-534); 0 is none.
	DeleteHorizon model.Timestamp
	// ExplicitOffsets takes each record's Offset, which ascend from BaseOffset, rather than numbering
	// them: compaction leaves gaps.
	ExplicitOffsets bool
}

// NewOptions are those of a plain producer: no producer id, offsets from 0, no leader epoch.
func NewOptions(codec Codec) Options {
	return Options{
		Codec:         codec,
		LeaderEpoch:   model.NoLeaderEpoch,
		ProducerID:    model.NoProducerID,
		ProducerEpoch: model.NoProducerEpoch,
		BaseSequence:  model.NoSequence,
	}
}

// Builder makes batches, reusing its buffers: Begin, Append any number of records, Finish. The zero
// value is ready for Begin.
type Builder struct {
	opts         Options
	compressor   Compressor
	raw          []byte // header's room, then the records uncompressed
	packed       []byte // header and compressed records
	count        int32
	lastDelta    int32
	baseTS       model.Timestamp
	maxTS        model.Timestamp
	ratioPermill [codecCount]int // what compression made of earlier batches
}

// Begin drops what was not finished and starts a batch.
func (b *Builder) Begin(opts Options) {
	invariant.Check(opts.Codec.Known(), "a batch is built with a codec that exists")
	b.opts = opts
	b.raw = append(b.raw[:0], make([]byte, HeaderBytes)...)
	b.count, b.lastDelta = 0, -1
	b.baseTS, b.maxTS = model.NoTimestamp, model.NoTimestamp
	if opts.DeleteHorizon != 0 {
		b.baseTS = opts.DeleteHorizon
	}
}

// Append adds a record, copying its bytes. The first record's timestamp becomes the batch's base.
func (b *Builder) Append(r Record) {
	if b.count == 0 && b.opts.DeleteHorizon == 0 {
		b.baseTS = r.Timestamp
	}
	delta := b.lastDelta + 1
	if b.opts.ExplicitOffsets {
		d := r.Offset - b.opts.BaseOffset
		invariant.Check(d > model.Offset(b.lastDelta) && d <= math.MaxInt32, "offsets of a batch ascend within 2^31")
		delta = int32(d)
	}
	timestampDelta := int64(r.Timestamp - b.baseTS)
	n := recordBodyBytes(&r, timestampDelta, delta)
	invariant.Check(n <= math.MaxInt32-HeaderBytes, "a record fits a batch")

	p := b.raw
	p = appendVarint(p, int64(n))
	p = append(p, 0) // attributes, unused
	p = appendVarint(p, timestampDelta)
	p = appendVarint(p, int64(delta))
	p = appendNullable(p, r.Key)
	p = appendNullable(p, r.Value)
	p = appendVarint(p, int64(len(r.Headers)))
	for i := range r.Headers {
		p = appendVarint(p, int64(len(r.Headers[i].Key)))
		p = append(p, r.Headers[i].Key...)
		p = appendNullable(p, r.Headers[i].Value)
	}
	b.raw = p
	b.count++
	b.lastDelta = delta
	b.maxTS = max(b.maxTS, r.Timestamp)
}

// ExtendTo raises the batch's last offset above its last record's: compaction keeps the offsets that a
// batch spans, even when it keeps none of its records.
func (b *Builder) ExtendTo(last model.Offset) {
	d := last - b.opts.BaseOffset
	invariant.Check(d >= model.Offset(b.lastDelta) && d <= math.MaxInt32, "a batch is extended upwards")
	b.lastDelta = int32(d)
}

// RecordCount is how many records were appended since Begin.
func (b *Builder) RecordCount() int { return int(b.count) }

// SizeBytes is the batch's size so far, without compression.
func (b *Builder) SizeBytes() int { return len(b.raw) }

// EstimatedSizeBytes is what Finish may be expected to return: SizeBytes scaled by how well the codec
// did on this builder's earlier batches. It is a guess for filling batches, not a bound.
func (b *Builder) EstimatedSizeBytes() int {
	ratio := b.ratioPermill[b.opts.Codec]
	if b.opts.Codec == CodecNone || ratio == 0 {
		return len(b.raw)
	}
	return HeaderBytes + (len(b.raw)-HeaderBytes)*ratio/1000
}

// RecordBytesMax is the most that Append(r) adds to SizeBytes.
func RecordBytesMax(r *Record) int {
	n := recordBodyBytes(r, math.MinInt64, math.MaxInt32)
	return n + varintBytes(int64(n))
}

// Finish returns the batch, valid until the next Begin. A payload that compression would not shrink is
// left uncompressed, and the attributes say so. The batch has records, or was extended over some.
func (b *Builder) Finish() Batch {
	invariant.Check(b.lastDelta >= 0, "a batch spans an offset")
	attributes := Attributes(b.opts.Codec)
	out := b.raw
	if b.opts.Codec != CodecNone {
		records := b.raw[HeaderBytes:]
		b.packed = slices.Grow(b.packed[:0], HeaderBytes)[:HeaderBytes]
		b.packed = b.compressor.Compress(b.packed, records, b.opts.Codec, b.opts.Level)
		out = b.packed
		b.learn(len(records), len(b.packed)-HeaderBytes)
		if len(b.packed) >= len(b.raw) {
			attributes, out = Attributes(CodecNone), b.raw
		}
	}
	maxTS := b.maxTS
	if b.opts.AppendTime != 0 {
		attributes |= AppendTimeBit
		maxTS = b.opts.AppendTime
	}
	if b.opts.Transactional {
		attributes |= TransactionalBit
	}
	if b.opts.Control {
		attributes |= ControlBit
	}
	if b.opts.DeleteHorizon != 0 {
		attributes |= DeleteHorizonBit
	}
	putHeader(out, &Header{
		BaseOffset:      b.opts.BaseOffset,
		LeaderEpoch:     b.opts.LeaderEpoch,
		Attributes:      attributes,
		LastOffsetDelta: b.lastDelta,
		BaseTimestamp:   b.baseTS,
		MaxTimestamp:    maxTS,
		ProducerID:      b.opts.ProducerID,
		ProducerEpoch:   b.opts.ProducerEpoch,
		BaseSequence:    b.opts.BaseSequence,
		RecordCount:     b.count,
	})
	return out
}

// learn moves the codec's ratio an eighth of the way towards what it just did.
func (b *Builder) learn(before, after int) {
	if before == 0 {
		return
	}
	now := max(1, int(int64(after)*1000/int64(before)))
	if old := b.ratioPermill[b.opts.Codec]; old != 0 {
		now = max(1, old+(now-old)/8)
	}
	b.ratioPermill[b.opts.Codec] = now
}

// putHeader writes h over b's first bytes and the CRC over the whole; the size is b's own.
func putHeader(b Batch, h *Header) {
	invariant.Check(len(b)-FrameBytes <= math.MaxInt32, "a batch's length fits 32 bits")
	binary.BigEndian.PutUint64(b[posBaseOffset:], uint64(h.BaseOffset))
	binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-FrameBytes))
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(h.LeaderEpoch))
	b[posMagic] = MagicV2
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(h.Attributes))
	binary.BigEndian.PutUint32(b[posLastOffsetDelta:], uint32(h.LastOffsetDelta))
	binary.BigEndian.PutUint64(b[posBaseTimestamp:], uint64(h.BaseTimestamp))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(h.MaxTimestamp))
	binary.BigEndian.PutUint64(b[posProducerID:], uint64(h.ProducerID))
	binary.BigEndian.PutUint16(b[posProducerEpoch:], uint16(h.ProducerEpoch))
	binary.BigEndian.PutUint32(b[posBaseSequence:], uint32(h.BaseSequence))
	binary.BigEndian.PutUint32(b[posRecordCount:], uint32(h.RecordCount))
	stampCRC(b)
}

// recordBodyBytes is the length of a record after its length field.
func recordBodyBytes(r *Record, timestampDelta int64, offsetDelta int32) int {
	n := 1 + varintBytes(timestampDelta) + varintBytes(int64(offsetDelta)) +
		nullableBytes(r.Key) + nullableBytes(r.Value) + varintBytes(int64(len(r.Headers)))
	for i := range r.Headers {
		k := len(r.Headers[i].Key)
		n += varintBytes(int64(k)) + k + nullableBytes(r.Headers[i].Value)
	}
	return n
}

func nullableBytes(b []byte) int {
	if b == nil {
		return 1
	}
	return varintBytes(int64(len(b))) + len(b)
}

func appendNullable(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 1) // -1
	}
	dst = appendVarint(dst, int64(len(b)))
	return append(dst, b...)
}
