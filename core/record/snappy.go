package record

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/klauspost/compress/s2"
)

// The xerial framing is a magic, a version and a compatible version, then blocks of raw snappy, each
// behind its length.
const (
	xerialMagic       = "\x82SNAPPY\x00"
	xerialHeaderBytes = 16
	xerialBlockBytes  = 32 << 10
	xerialVersion     = 1
)

// snappyRatioMax bounds what snappy can inflate a byte to: its densest element makes 64 bytes of 3. A
// block that announces more lies, and is refused before it costs memory.
const snappyRatioMax = 22

var errSnappyLength = errors.New("announces more than it can hold")

// inflateSnappy reads both framings. No sound raw block begins with xerial's magic: its first element
// would copy from before the output's start.
func (d *Decompressor) inflateSnappy(src []byte, limit int) error {
	if len(src) < xerialHeaderBytes || string(src[:len(xerialMagic)]) != xerialMagic {
		d.buf = d.buf[:0]
		return d.inflateSnappyBlock(src, limit)
	}
	if binary.BigEndian.Uint32(src[len(xerialMagic):]) < xerialVersion {
		return damaged(CodecSnappy, errFraming)
	}
	total := 0
	for p := src[xerialHeaderBytes:]; len(p) > 0; {
		block, rest, err := xerialBlock(p)
		if err != nil {
			return err
		}
		n, err := snappyLength(block)
		if err != nil {
			return err
		}
		if total += n; total > limit {
			return tooLarge(CodecSnappy, limit)
		}
		p = rest
	}
	d.room(total)
	for p := src[xerialHeaderBytes:]; len(p) > 0; {
		block, rest, err := xerialBlock(p)
		if err != nil {
			return err
		}
		if err := d.inflateSnappyBlock(block, limit); err != nil {
			return err
		}
		p = rest
	}
	return nil
}

// xerialBlock cuts the first block off p.
func xerialBlock(p []byte) (block, rest []byte, err error) {
	if len(p) < 4 {
		return nil, nil, damaged(CodecSnappy, errFraming)
	}
	n := binary.BigEndian.Uint32(p)
	if uint64(n) > uint64(len(p)-4) {
		return nil, nil, damaged(CodecSnappy, errFraming)
	}
	return p[4 : 4+n], p[4+n:], nil
}

// inflateSnappyBlock appends what one raw block holds.
func (d *Decompressor) inflateSnappyBlock(block []byte, limit int) error {
	n, err := snappyLength(block)
	if err != nil {
		return err
	}
	if n > limit-len(d.buf) {
		return tooLarge(CodecSnappy, limit)
	}
	d.buf = slices.Grow(d.buf, n)
	end := len(d.buf) + n
	if _, err := s2.Decode(d.buf[len(d.buf):end:end], block); err != nil {
		return damaged(CodecSnappy, err)
	}
	d.buf = d.buf[:end]
	return nil
}

// snappyLength is what a raw block says it inflates to.
func snappyLength(block []byte) (int, error) {
	n, err := s2.DecodedLen(block)
	if err != nil {
		return 0, damaged(CodecSnappy, err)
	}
	if n > len(block)*snappyRatioMax {
		return 0, damaged(CodecSnappy, errSnappyLength)
	}
	return n, nil
}

// appendXerial appends src in xerial's framing, with the versions and the block size of Java's writer.
func appendXerial(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = binary.BigEndian.AppendUint32(dst, xerialVersion)
	dst = binary.BigEndian.AppendUint32(dst, xerialVersion)
	// Nothing becomes an empty block: franz-go takes a bare header for a raw block.
	for first := true; first || len(src) > 0; first = false {
		n := min(len(src), xerialBlockBytes)
		at := len(dst)
		dst = slices.Grow(dst, 4+s2.MaxEncodedLen(n))
		block := s2.EncodeSnappy(dst[at+4:cap(dst)], src[:n])
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(block)))
		dst = dst[:at+4+len(block)]
		src = src[n:]
	}
	return dst
}
