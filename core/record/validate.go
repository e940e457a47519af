package record

import (
	"fmt"
	"strconv"

	"github.com/weirmq/weir/core/model"
)

// DecompressedBytesMax is the limit on what one batch inflates to when Limits does not name one.
const DecompressedBytesMax = 128 << 20

// Limits are what a topic and an API version allow a producer to send. The zero value allows
// everything that the format does.
type Limits struct {
	// BatchBytesMax bounds the batch as sent (max.message.bytes); 0 is no bound.
	BatchBytesMax int
	// DecompressedBytesMax bounds what the batch inflates to; 0 means the package's default.
	DecompressedBytesMax int
	// RequireKeys refuses records without key: the topic is compacted.
	RequireKeys bool
	// LogAppendTime says that the broker's clock will replace the records' timestamps, so that theirs
	// are not checked.
	LogAppendTime bool
	// TimestampMin and TimestampMax bound the records' timestamps, inclusive
	// (message.timestamp.before.max.ms and after.max.ms); both 0 is no bound. Records without timestamp
	// (-1) pass, as in Kafka.
	TimestampMin, TimestampMax model.Timestamp
	// NoZstd refuses zstd: produce requests before version 7 must not carry it (KIP-110).
	NoZstd bool
}

// Compressed reports whether ValidateProduced would have to inflate b, if it gets so far.
func Compressed(b []byte) bool {
	return len(b) >= HeaderBytes && b[posMagic] == MagicV2 && Batch(b).Codec() != CodecNone
}

// ValidateProduced checks everything about a batch that a producer sent: b must be exactly one batch
// of format 2 whose CRC holds, that is no marker, that has an epoch and a sequence if it has a producer id,
// and whose records fill the payload with offsets 0, 1, 2... A compressed payload is inflated into d's
// buffer, and only to be checked; d may be nil if the batch is not Compressed.
//
// The base offset and leader epoch may be anything: Stamp replaces them. The max timestamp may be
// wrong, as in Kafka: it is corrected in b, with the CRC, so that the header that is returned is always
// the header of b. Nothing else of b is written, and nothing when an error is returned.
//
// The error maps to the wire by Code; RecordError inside it names the record.
func ValidateProduced(b []byte, limits Limits, d *Decompressor) (Header, error) {
	h, err := parseHeader(b)
	if err != nil {
		return Header{}, err
	}
	switch {
	case limits.BatchBytesMax > 0 && h.SizeBytes > limits.BatchBytesMax:
		return Header{}, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, h.SizeBytes, limits.BatchBytesMax)
	case h.SizeBytes > len(b):
		return Header{}, fmt.Errorf("%w: batch of %d bytes in %d", ErrShort, h.SizeBytes, len(b))
	}
	batch := Batch(b[:h.SizeBytes])
	if err := CheckCRC(batch); err != nil {
		return Header{}, err
	}
	// From here on the bytes are what the producer meant to send: its faults are not corruption, and
	// resending them would not help.
	if h.SizeBytes < len(b) {
		return Header{}, fmt.Errorf("%w: more than one batch for a partition, or %d stray bytes", ErrInvalid, len(b)-h.SizeBytes)
	}
	if err := checkProducedHeader(&h, &limits); err != nil {
		return Header{}, err
	}
	payload := batch.Payload()
	if codec := h.Codec(); codec != CodecNone {
		limit := limits.DecompressedBytesMax
		if limit <= 0 {
			limit = DecompressedBytesMax
		}
		if payload, err = d.Decompress(codec, payload, limit); err != nil {
			return Header{}, err
		}
	}
	minTimestamp, maxTimestamp, err := checkRecords(payload, &h, &limits)
	if err != nil {
		return Header{}, err
	}
	if maxTimestamp != h.MaxTimestamp {
		stampMaxTimestamp(batch, maxTimestamp)
		h.MaxTimestamp, h.CRC = maxTimestamp, batch.CRC()
	}
	h.MinTimestamp = minTimestamp
	return h, nil
}

// checkProducedHeader holds what a client may put into a header, beyond what any header must be.
func checkProducedHeader(h *Header, limits *Limits) error {
	if fault := h.fault(); fault != "" {
		return fmt.Errorf("%w: %s", ErrInvalid, fault)
	}
	switch {
	case h.Attributes&^knownBits != 0:
		return fmt.Errorf("%w: attributes %#04x have reserved bits set", ErrInvalid, uint16(h.Attributes))
	case !h.Codec().Known() || limits.NoZstd && h.Codec() == CodecZstd:
		return fmt.Errorf("%w: %s", ErrCodec, h.Codec())
	case h.IsControl():
		return fmt.Errorf("%w: clients do not write control batches", ErrInvalid)
	case h.HasDeleteHorizon():
		return fmt.Errorf("%w: clients do not set a delete horizon", ErrInvalid)
	case h.TimestampType() == LogAppendTime:
		return fmt.Errorf("%w: clients do not set the append time", ErrTimestamp)
	case h.RecordCount == 0:
		return fmt.Errorf("%w: no records", ErrInvalid)
	case int64(h.RecordCount) != int64(h.LastOffsetDelta)+1:
		return fmt.Errorf("%w: %d records in %d offsets", ErrInvalid, h.RecordCount, int64(h.LastOffsetDelta)+1)
	case h.HasProducer() && h.BaseSequence < 0:
		return fmt.Errorf("%w: producer id %d without sequence", ErrInvalid, h.ProducerID)
	case h.IsTransactional() && !h.HasProducer():
		return fmt.Errorf("%w: transactional without producer id", ErrInvalid)
	}
	return nil
}

// recordBytesMin is the body of the smallest record: attributes, two deltas, two null lengths or
// empty ones, no headers.
const recordBytesMin = 6

// checkRecords walks the inflated payload and returns the smallest and the greatest timestamp, NoTimestamp if no
// record has one. It
// is the broker's hot loop: no allocation unless it fails.
func checkRecords(p []byte, h *Header, limits *Limits) (model.Timestamp, model.Timestamp, error) {
	minTimestamp, maxTimestamp := model.NoTimestamp, model.NoTimestamp
	bounded := !limits.LogAppendTime && (limits.TimestampMin != 0 || limits.TimestampMax != 0)
	requireKeys := limits.RequireKeys
	pos := 0
	for k := range h.RecordCount {
		n, start := varint32(p, pos)
		if start < 0 || n < recordBytesMin || int(n) > len(p)-start {
			return 0, 0, malformed(k, "length")
		}
		pos = start + int(n)
		r := p[start:pos]
		timestampDelta, i := varint64(r, 1) // after the attributes, which nothing uses
		offsetDelta, i := varint32(r, i)
		keyLen, i := varint32(r, i)
		if i < 0 || keyLen < -1 || int(keyLen) > len(r)-i {
			return 0, 0, malformed(k, "key length")
		}
		if keyLen > 0 {
			i += int(keyLen)
		}
		valueLen, i := varint32(r, i)
		if i < 0 || valueLen < -1 || int(valueLen) > len(r)-i {
			return 0, 0, malformed(k, "value length")
		}
		if valueLen > 0 {
			i += int(valueLen)
		}
		headerCount, i := varint32(r, i)
		if headerCount != 0 {
			i = skipHeaders(r, i, headerCount)
		}
		if i != len(r) {
			return 0, 0, malformed(k, "headers")
		}
		if offsetDelta != k {
			return 0, 0, malformed(k, "offset delta "+strconv.Itoa(int(offsetDelta)))
		}
		if keyLen < 0 && requireKeys {
			return 0, 0, &RecordError{Index: k, Err: ErrNullKey}
		}
		timestamp := h.BaseTimestamp + model.Timestamp(timestampDelta)
		if (timestamp < h.BaseTimestamp) != (timestampDelta < 0) {
			return 0, 0, &RecordError{Index: k, Reason: "timestamp overflows", Err: ErrTimestamp}
		}
		if bounded && timestamp != model.NoTimestamp &&
			(timestamp < limits.TimestampMin || timestamp > limits.TimestampMax) {
			return 0, 0, outOfRange(k, timestamp, limits)
		}
		if timestamp > maxTimestamp {
			maxTimestamp = timestamp
		}
		if timestamp != model.NoTimestamp && (timestamp < minTimestamp || minTimestamp == model.NoTimestamp) {
			minTimestamp = timestamp
		}
	}
	if pos != len(p) {
		return 0, 0, fmt.Errorf("%w: %d stray bytes after the last record", ErrInvalid, len(p)-pos)
	}
	return minTimestamp, maxTimestamp, nil
}

// skipHeaders walks count headers at r[i] and returns the position after them, or -1.
func skipHeaders(r []byte, i int, count int32) int {
	// Every header takes two bytes at least, so a count that the bytes cannot hold ends here.
	if i < 0 || count < 0 || int(count) > (len(r)-i)/2 {
		return -1
	}
	for range count {
		var n int32
		if n, i = varint32(r, i); i < 0 || n < 0 || int(n) > len(r)-i {
			return -1
		}
		i += int(n)
		if n, i = varint32(r, i); i < 0 || n < -1 || int(n) > len(r)-i {
			return -1
		}
		if n > 0 {
			i += int(n)
		}
	}
	return i
}

func malformed(index int32, reason string) error {
	return &RecordError{Index: index, Reason: reason, Err: ErrInvalid}
}

func outOfRange(index int32, ts model.Timestamp, limits *Limits) error {
	return &RecordError{
		Index:  index,
		Reason: fmt.Sprintf("timestamp %d is not within [%d, %d]", ts, limits.TimestampMin, limits.TimestampMax),
		Err:    ErrTimestamp,
	}
}
