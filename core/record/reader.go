package record

import (
	"fmt"
	"iter"

	"github.com/weirmq/weir/core/model"
)

// Record is one record: what Reader yields and Builder takes. A nil Key or Value is null, an empty one
// is empty; a null value is a tombstone in compacted topics.
type Record struct {
	Key, Value []byte
	Headers    []RecordHeader
	Timestamp  model.Timestamp
	// Offset is set by Reader. Builder looks at it only with Options.ExplicitOffsets.
	Offset model.Offset
}

// RecordHeader is a key and a value beside a record (KIP-82). Keys may repeat and are never null; a nil
// Value is null.
type RecordHeader struct {
	Key, Value []byte
}

// Reader walks one batch's records. Keys, values and headers are slices of the batch, or of the
// Decompressor's buffer when it is compressed. It trusts nothing: a batch whose CRC holds may still be
// malformed, and then Err says where. The zero value is an empty reader.
type Reader struct {
	rec     Record
	headers []RecordHeader
	p       []byte
	pos     int
	left    int32
	index   int32
	last    int32
	base    model.Offset
	baseTS  model.Timestamp
	stamp   model.Timestamp // of every record, when appended
	append  bool
	err     error
}

// NewReader is a Reader at the start of b, with the default limit. What Reset would refuse is in Err.
func NewReader(b Batch, d *Decompressor) *Reader {
	r := new(Reader)
	_ = r.Reset(b, d, 0) // kept in r.err
	return r
}

// Reset points the reader at batch b, inflating it into d's buffer when it is compressed: then the
// records are valid until d's next use. limitBytes bounds what it inflates to, 0 being
// DecompressedBytesMax. d may be nil: then a compressed batch is refused with ErrCodec.
func (r *Reader) Reset(b Batch, d *Decompressor, limitBytes int) error {
	*r = Reader{headers: r.headers[:0]}
	h, err := ReadHeader(b)
	if err == nil && h.SizeBytes != len(b) {
		err = fmt.Errorf("%w: batch of %d bytes in %d", ErrShort, h.SizeBytes, len(b))
	}
	var payload []byte
	if err == nil {
		payload = b.Payload()
		if codec := h.Codec(); codec != CodecNone && h.RecordCount > 0 {
			if limitBytes <= 0 {
				limitBytes = DecompressedBytesMax
			}
			if d == nil {
				err = fmt.Errorf("%w: %s where no compression is expected", ErrCodec, codec)
			} else {
				payload, err = d.Decompress(codec, payload, limitBytes)
			}
		}
	}
	if err != nil {
		r.err = err
		return err
	}
	r.p, r.left, r.last = payload, h.RecordCount, h.LastOffsetDelta
	r.base, r.baseTS = h.BaseOffset, h.BaseTimestamp
	r.stamp, r.append = h.MaxTimestamp, h.TimestampType() == LogAppendTime
	return nil
}

// Next moves to the next record. It is false after the last one and after an error.
func (r *Reader) Next() bool {
	if r.left == 0 || r.err != nil {
		return false
	}
	if r.err = r.read(); r.err != nil {
		r.rec = Record{}
		return false
	}
	r.left--
	r.index++
	return true
}

// Record is the current record. The pointed-to value and its Headers are overwritten by Next; the bytes
// are not.
func (r *Reader) Record() *Record { return &r.rec }

// Err is what ended the walk early, nil at the end of a sound batch.
func (r *Reader) Err() error { return r.err }

func (r *Reader) read() error {
	n, start := varint32(r.p, r.pos)
	if start < 0 || n < recordBytesMin || int(n) > len(r.p)-start {
		return malformed(r.index, "length")
	}
	r.pos = start + int(n)
	p := r.p[start:r.pos:r.pos]
	timestampDelta, i := varint64(p, 1)
	offsetDelta, i := varint32(p, i)
	if i < 0 || offsetDelta < 0 || offsetDelta > r.last {
		return malformed(r.index, "deltas")
	}
	if r.rec.Key, i = nullable(p, i); i < 0 {
		return malformed(r.index, "key length")
	}
	if r.rec.Value, i = nullable(p, i); i < 0 {
		return malformed(r.index, "value length")
	}
	if i = r.readHeaders(p, i); i != len(p) {
		return malformed(r.index, "headers")
	}
	r.rec.Headers = r.headers
	r.rec.Offset = r.base + model.Offset(offsetDelta)
	r.rec.Timestamp = r.baseTS + model.Timestamp(timestampDelta)
	if r.append {
		r.rec.Timestamp = r.stamp
	}
	if r.left == 1 && r.pos != len(r.p) {
		return fmt.Errorf("%w: %d stray bytes after the last record", ErrInvalid, len(r.p)-r.pos)
	}
	return nil
}

// readHeaders fills r.headers from p[i] on and returns the position after them, or -1.
func (r *Reader) readHeaders(p []byte, i int) int {
	count, i := varint32(p, i)
	if i < 0 || count < 0 || int(count) > (len(p)-i)/2 {
		return -1
	}
	r.headers = r.headers[:0]
	for range count {
		var h RecordHeader
		if h.Key, i = nullable(p, i); i < 0 || h.Key == nil {
			return -1
		}
		if h.Value, i = nullable(p, i); i < 0 {
			return -1
		}
		r.headers = append(r.headers, h)
	}
	return i
}

// nullable reads a length and that many bytes at p[i]; length -1 is nil.
func nullable(p []byte, i int) ([]byte, int) {
	n, i := varint32(p, i)
	if i < 0 || n < -1 || int(n) > len(p)-i {
		return nil, -1
	}
	if n < 0 {
		return nil, i
	}
	end := i + int(n)
	return p[i:end:end], end
}

// Records iterates over one batch's records, ending with an error when it is malformed. Arguments and
// lifetimes are Reader's: a record and its Headers are good for one turn of the loop.
func Records(b Batch, d *Decompressor, limitBytes int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var r Reader
		if err := r.Reset(b, d, limitBytes); err != nil {
			yield(Record{}, err)
			return
		}
		for r.Next() {
			if !yield(r.rec, nil) {
				return
			}
		}
		if r.err != nil {
			yield(Record{}, r.err)
		}
	}
}
