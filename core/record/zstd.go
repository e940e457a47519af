package record

import (
	"errors"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdBlockBytesMax is the most that one block inflates to.
	zstdBlockBytesMax = 128 << 10
	// zstdSlackBytes lets the block that crosses the limit be decoded, so that crossing it can be told
	// from damage.
	zstdSlackBytes = zstdBlockBytesMax + 64
	// zstdWindowBytesMax is what a reader of the reference library accepts unless told otherwise.
	zstdWindowBytesMax = 128 << 20
	// zstdOutputBytesMax only keeps the library's own bound out of the way: the buffer's capacity rules.
	zstdOutputBytesMax = 1 << 31
)

var (
	errZstdWindow     = errors.New("window is too large")
	errZstdDictionary = errors.New("dictionaries are not supported")
)

// inflateZstd reads all frames. The blocks' headers bound the output before anything is decoded, so the
// buffer is made once, and its capacity stops the decoder.
func (d *Decompressor) inflateZstd(src []byte, limit int) error {
	most, err := zstdBound(src, limit)
	if err != nil {
		return err
	}
	if d.zstd == nil {
		// Nothing in these options can fail, and concurrency 1 keeps the library from goroutines.
		d.zstd, err = zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(zstdOutputBytesMax),
			zstd.WithDecoderMaxWindow(zstdOutputBytesMax),
			zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return damaged(CodecZstd, err)
		}
	}
	d.room(min(most, limit)+zstdSlackBytes, limit)
	end := min(cap(d.buf), limit+zstdSlackBytes)
	d.buf, err = d.zstd.DecodeAll(src, d.buf[:0:end])
	switch {
	case len(d.buf) > limit, errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return tooLarge(CodecZstd, limit)
	case err != nil:
		return damaged(CodecZstd, err)
	}
	return nil
}

// zstdBound walks frames and block headers, and returns the most that src can inflate to.
func zstdBound(src []byte, limit int) (int, error) {
	var total uint64
	for len(src) > 0 {
		var h zstd.Header
		if err := h.Decode(src); err != nil {
			return 0, damaged(CodecZstd, err)
		}
		if h.Skippable {
			skip := uint64(h.HeaderSize) + uint64(h.SkippableSize)
			if skip > uint64(len(src)) {
				return 0, damaged(CodecZstd, errFraming)
			}
			src = src[skip:]
			continue
		}
		switch {
		case h.DictionaryID != 0:
			return 0, damaged(CodecZstd, errZstdDictionary)
		case h.HasFCS && h.FrameContentSize > uint64(limit):
			return 0, tooLarge(CodecZstd, limit)
		case h.WindowSize > zstdWindowBytesMax:
			return 0, damaged(CodecZstd, errZstdWindow)
		}
		bound, rest, ok := zstdBlocks(src[h.HeaderSize:])
		if !ok || h.HasCheckSum && len(rest) < 4 {
			return 0, damaged(CodecZstd, errFraming)
		}
		if h.HasCheckSum {
			rest = rest[4:]
		}
		if h.HasFCS {
			bound = min(bound, h.FrameContentSize)
		}
		total += bound
		src = rest
	}
	return int(min(total, uint64(limit)+1)), nil
}

// zstdBlocks walks one frame's blocks: the most that they inflate to, and what follows them.
func zstdBlocks(p []byte) (bound uint64, rest []byte, ok bool) {
	const raw, rle, compressed = 0, 1, 2
	for {
		if len(p) < 3 {
			return 0, nil, false
		}
		word := uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16
		p = p[3:]
		size := int(word >> 3)
		stored := size
		switch word >> 1 & 3 {
		case raw:
			bound += uint64(size)
		case rle:
			bound += uint64(size)
			stored = 1
		case compressed:
			bound += zstdBlockBytesMax
		default:
			return 0, nil, false
		}
		if stored > len(p) {
			return 0, nil, false
		}
		p = p[stored:]
		if word&1 != 0 {
			return bound, p, true
		}
	}
}
