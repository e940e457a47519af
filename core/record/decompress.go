package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/weirmq/weir/core/invariant"
)

const (
	// keepBytesMax is how large a buffer survives Release: 4 MiB, and what codecs want beside it.
	keepBytesMax = 4<<20 + 256<<10
	// copyBytesMax is how much is copied at once.
	copyBytesMax = 256 << 10
	// growBytesMin is the least that a buffer grows to.
	growBytesMin = 4 << 10
)

// Decompressor inflates payloads into one buffer that it reuses. It makes the codecs' state when they
// are first needed. The zero value is ready; it belongs to one owner at a time.
//
// A Decompressor that has seen every codec holds some 250 KiB of state beside its buffer, so owners
// with many connections keep a few of them, not one per connection.
type Decompressor struct {
	buf  []byte
	src  bytes.Reader
	gzip *gzip.Reader
	zstd *zstd.Decoder

	inflatedBytes int64
	compressor    *Compressor // for Recompress
}

// Decompress inflates src. The result is valid until the next call on d, and is src itself for
// CodecNone.
//
// It holds at most limitBytes of output plus one block of the codec (128 KiB for zstd). Errors:
// ErrTooLarge when the output exceeds limitBytes, ErrDecompress when src is damaged or uses a framing
// that Kafka's consumers cannot read, ErrCodec for a codec that Kafka does not define.
func (d *Decompressor) Decompress(codec Codec, src []byte, limitBytes int) ([]byte, error) {
	invariant.Check(limitBytes > 0, "decompression has a positive limit")
	if codec == CodecNone {
		if len(src) > limitBytes {
			return nil, tooLarge(codec, limitBytes)
		}
		return src, nil
	}
	d.buf = d.buf[:0]
	defer func() { d.inflatedBytes += int64(len(d.buf)) }()
	var err error
	switch codec {
	case CodecGzip:
		err = d.inflateGzip(src, limitBytes)
	case CodecSnappy:
		err = d.inflateSnappy(src, limitBytes)
	case CodecLz4:
		err = d.inflateLz4(src, limitBytes)
	case CodecZstd:
		err = d.inflateZstd(src, limitBytes)
	default:
		err = fmt.Errorf("%w: %s", ErrCodec, codec)
	}
	if err != nil {
		return nil, err
	}
	return d.buf, nil
}

// InflatedBytes counts what d has inflated in its life, also what turned out damaged or too large.
func (d *Decompressor) InflatedBytes() int64 { return d.inflatedBytes }

// Release drops the buffer if it grew beyond what is worth keeping. Owners call it before they let an
// idle Decompressor lie; results are invalid afterwards.
func (d *Decompressor) Release() {
	if cap(d.buf) > keepBytesMax {
		d.buf = nil
	}
}

// room makes room for n bytes behind what is in the buffer. A buffer that must grow doubles, so far as limit
// needs it. It is copied in pieces: the copying of many MiB at once cannot be interrupted, and when the
// collector wants everybody to stand still for a moment, everybody waits for it.
func (d *Decompressor) room(n, limit int) {
	need := len(d.buf) + n
	if cap(d.buf) >= need {
		return
	}
	grown := make([]byte, len(d.buf), max(need, min(2*len(d.buf), limit)))
	copyInPieces(grown, d.buf)
	d.buf = grown
}

// copyInPieces is copy of all of src, between whose pieces the runtime can interrupt.
func copyInPieces(dst, src []byte) {
	for len(src) > copyBytesMax {
		n := copy(dst, src[:copyBytesMax])
		dst, src = dst[n:], src[n:]
	}
	copy(dst, src)
}

// inflateGzip reads all members of a gzip stream. What it will inflate to is not known before, so the
// buffer doubles.
func (d *Decompressor) inflateGzip(src []byte, limit int) error {
	d.src.Reset(src)
	if d.gzip == nil {
		d.gzip = new(gzip.Reader)
	}
	if err := d.gzip.Reset(&d.src); err != nil {
		return damaged(CodecGzip, err)
	}
	// One byte above the limit is room enough to notice that the stream goes on.
	d.room(min(max(len(src), growBytesMin), limit+1), limit+1)
	for {
		if len(d.buf) == cap(d.buf) {
			more := len(d.buf)
			if left := limit + 1 - more; left < 2*more {
				more = left
			}
			d.room(more, limit+1)
		}
		n, err := d.gzip.Read(d.buf[len(d.buf):min(cap(d.buf), limit+1)])
		d.buf = d.buf[:len(d.buf)+n]
		switch {
		case len(d.buf) > limit:
			return tooLarge(CodecGzip, limit)
		case err == io.EOF:
			return nil
		case err != nil:
			return damaged(CodecGzip, err)
		}
	}
}

func tooLarge(codec Codec, limit int) error {
	return fmt.Errorf("%w: %s inflates to more than %d bytes", ErrTooLarge, codec, limit)
}

// damaged wraps what a codec's library says, or what we found ourselves.
func damaged(codec Codec, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrDecompress, codec, err)
}

// errFraming: the payload does not follow its codec's framing.
var errFraming = errors.New("malformed framing")
