package record

import (
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/weirmq/weir/core/invariant"
)

// DefaultLevel asks for Kafka's default level of a codec: gzip 6, lz4 9 (the fast one), zstd 3.
const DefaultLevel = 0

const (
	gzipLevelMax = 9
	// zstdWindowBytes bounds an encoder's memory. Batches are seldom larger, and consumers need no
	// more to read them.
	zstdWindowBytes = 1 << 20
)

// Compressor deflates payloads. It makes the codecs' state when they are first needed and keeps it. The
// zero value is ready; it belongs to one owner at a time.
//
// State is per codec and level in use, and large: gzip 1 MiB, lz4 0.1 to 0.4, zstd 3 MiB by default, 6
// from level 6 and 36 from level 10.
type Compressor struct {
	gzip [gzipLevelMax + 1]*gzip.Writer
	lz4  *lz4Compressor
	zstd [zstd.SpeedBestCompression + 1]*zstd.Encoder
	sink appender
}

// Compress appends the deflated src to dst. Levels are those of Kafka's topic configurations: gzip 1 to
// 9, lz4 1 to 17, zstd -131072 to 22, mapped to the nearest that the library has; DefaultLevel for
// any codec, and the only one for snappy. Levels outside the range are drawn into it.
func (c *Compressor) Compress(dst, src []byte, codec Codec, level int) []byte {
	switch codec {
	case CodecNone:
		return append(dst, src...)
	case CodecGzip:
		return c.appendGzip(dst, src, level)
	case CodecSnappy:
		return appendXerial(dst, src)
	case CodecLz4:
		if c.lz4 == nil {
			c.lz4 = new(lz4Compressor)
		}
		return c.lz4.appendFrame(dst, src, level)
	case CodecZstd:
		return c.appendZstd(dst, src, level)
	}
	invariant.Checkf(false, "compression knows %s", codec)
	return dst
}

func (c *Compressor) appendGzip(dst, src []byte, level int) []byte {
	if level <= 0 {
		level = 6
	}
	level = min(level, gzipLevelMax)
	w := c.gzip[level]
	if w == nil {
		var err error
		w, err = gzip.NewWriterLevel(&c.sink, level)
		invariant.Check(err == nil, "gzip levels 1 to 9 exist")
		c.gzip[level] = w
	}
	c.sink.b = dst
	w.Reset(&c.sink)
	_, err := w.Write(src)
	if err == nil {
		err = w.Close()
	}
	invariant.Check(err == nil, "gzip into memory does not fail")
	dst = c.sink.b
	c.sink.b = nil
	return dst
}

func (c *Compressor) appendZstd(dst, src []byte, level int) []byte {
	speed := zstd.SpeedDefault
	if level != DefaultLevel {
		speed = zstd.EncoderLevelFromZstd(level)
	}
	w := c.zstd[speed]
	if w == nil {
		var err error
		// Concurrency 1 keeps the library from goroutines. No checksum: the batch has a CRC.
		w, err = zstd.NewWriter(nil,
			zstd.WithEncoderLevel(speed),
			zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(zstdWindowBytes),
			zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderCRC(false),
			zstd.WithZeroFrames(true))
		invariant.Check(err == nil, "the zstd encoder's options are valid")
		c.zstd[speed] = w
	}
	return w.EncodeAll(src, dst)
}

// appender is an io.Writer over a slice that its owner takes back.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}
