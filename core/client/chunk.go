package client

import (
	"encoding/binary"
	"fmt"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Chunk is a run of whole batches of one partition as they were fetched: checked, but neither
// decompressed nor cut into records. A Decoder does that, wherever there is time for it.
type Chunk struct {
	Topic         string
	Partition     model.Partition
	Batches       []byte
	From          model.Offset // records below it are not to be shown
	Next          model.Offset // the position after the chunk
	HighWatermark model.Offset // as of the fetch
	Bytes         int
}

// Decoder cuts chunks into records. The zero value is ready; it belongs to one owner at a time.
type Decoder struct {
	// BytesMax bounds what one batch may inflate to; 0 is record.DecompressedBytesMax.
	BytesMax int

	reader  record.Reader
	deflate record.Decompressor
}

// Decode appends a chunk's records to dst. They are slices of the chunk, or of fresh memory where a batch
// was compressed, and stay valid for as long as anybody holds them.
//
// An error says where the first record is that cannot be read; those before it were appended. The
// batch's CRC held, so the producer wrote it that way, and fetching it again will not help.
func (d *Decoder) Decode(dst []record.Record, c *Chunk) ([]record.Record, error) {
	err := d.Each(c, func(r *record.Record) { dst = append(dst, *r) })
	return dst, err
}

// Each is Decode without the slice: it calls f with each record in turn. What r points at is overwritten
// by the next one; the slices in it stay.
func (d *Decoder) Each(c *Chunk, f func(r *record.Record)) error {
	rest := c.Batches
	from := c.From
	fail := func(batch record.Batch, err error) error {
		if len(batch) >= record.HeaderBytes {
			from = max(from, batch.BaseOffset())
		}
		return &DecodeError{Topic: c.Topic, Partition: c.Partition, Offset: from, Err: err}
	}
	for len(rest) > 0 {
		batch, after, err := record.Next(rest)
		if err != nil {
			return fail(batch, err)
		}
		if batch, err = d.plain(batch); err == nil {
			err = d.reader.Reset(batch, nil, 0)
		}
		if err != nil {
			return fail(batch, err)
		}
		for d.reader.Next() {
			r := d.reader.Record()
			if r.Offset < c.From {
				continue
			}
			if len(r.Headers) == 0 {
				r.Headers = nil
			} else { // the reader reuses theirs
				r.Headers = append([]record.RecordHeader(nil), r.Headers...)
			}
			from = r.Offset + 1
			f(r)
		}
		if err := d.reader.Err(); err != nil {
			return fail(batch, err)
		}
		rest = after
	}
	return nil
}

// RecordCount is how many records the batches' headers promise.
func (c *Chunk) RecordCount() int {
	n := 0
	for rest := c.Batches; len(rest) >= record.HeaderBytes; {
		b := record.Batch(rest)
		n += int(b.RecordCount())
		rest = rest[min(len(rest), max(b.SizeBytes(), record.HeaderBytes)):]
	}
	return n
}

// plain is the batch without compression, in memory of its own.
func (d *Decoder) plain(b record.Batch) (record.Batch, error) {
	const posLength, posAttributes = 8, 21
	if b.Codec() == record.CodecNone || b.RecordCount() == 0 {
		return b, nil
	}
	limit := d.BytesMax
	if limit <= 0 {
		limit = record.DecompressedBytesMax
	}
	defer d.deflate.Release()
	payload, err := d.deflate.Decompress(b.Codec(), b.Payload(), limit)
	if err != nil {
		return b, err
	}
	p := make([]byte, record.HeaderBytes+len(payload))
	copy(p, b[:record.HeaderBytes])
	copy(p[record.HeaderBytes:], payload)
	binary.BigEndian.PutUint32(p[posLength:], uint32(len(p)-record.FrameBytes))
	binary.BigEndian.PutUint16(p[posAttributes:], uint16(b.Attributes()&^record.CodecMask))
	return p, nil
}

// DecodeError says which record of a partition cannot be read, and why.
type DecodeError struct {
	Topic     string
	Partition model.Partition
	Offset    model.Offset
	Err       error
}

// Error names the partition and offset.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("%s/%d at offset %d: %v", e.Topic, e.Partition, e.Offset, e.Err)
}

// Unwrap is the cause: an error of package record.
func (e *DecodeError) Unwrap() error { return e.Err }
