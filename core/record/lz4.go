package record

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"

	"github.com/pierrec/lz4/v4"
)

// The frame is read and written here and not by the library, which pools its blocks globally, takes up
// to 4 MiB on a frame's word, and accepts linked blocks, which Java's consumers do not.
const (
	lz4Magic = 0x184d2204

	lz4VersionMask   = 0xc0
	lz4Version       = 0x40
	lz4Independent   = 0x20
	lz4BlockSum      = 0x10
	lz4ContentLength = 0x08
	lz4ContentSum    = 0x04
	lz4Reserved      = 0x03 // one reserved bit and the dictionary's

	lz4Block64KiB = 4
	lz4Stored     = 1 << 31
	lz4BlockBytes = 64 << 10

	// lz4RatioMax bounds what a block's byte inflates to: match lengths grow by 255 a byte.
	lz4RatioMax = 255
)

var (
	errLz4Descriptor = errors.New("unsupported frame descriptor")
	errLz4Checksum   = errors.New("checksum mismatch")
	errLz4Length     = errors.New("content length mismatch")
)

// inflateLz4 reads one frame with independent blocks, which is what Kafka defines.
func (d *Decompressor) inflateLz4(src []byte, limit int) error {
	flags, blockBytesMax, contentBytes, p, err := lz4Descriptor(src)
	if err != nil {
		return damaged(CodecLz4, err)
	}
	if flags&lz4ContentLength != 0 && contentBytes > uint64(limit) {
		return tooLarge(CodecLz4, limit)
	}
	d.buf = d.buf[:0]
	for {
		if len(p) < 4 {
			return damaged(CodecLz4, errFraming)
		}
		word := binary.LittleEndian.Uint32(p)
		p = p[4:]
		if word == 0 {
			break
		}
		n := int(word &^ lz4Stored)
		if n > len(p) || n > blockBytesMax {
			return damaged(CodecLz4, errFraming)
		}
		block := p[:n]
		p = p[n:]
		if flags&lz4BlockSum != 0 {
			if len(p) < 4 {
				return damaged(CodecLz4, errFraming)
			}
			if binary.LittleEndian.Uint32(p) != xxh32(block) {
				return damaged(CodecLz4, errLz4Checksum)
			}
			p = p[4:]
		}
		if err := d.inflateLz4Block(block, word&lz4Stored != 0, blockBytesMax, limit); err != nil {
			return err
		}
	}
	if flags&lz4ContentSum != 0 {
		if len(p) < 4 {
			return damaged(CodecLz4, errFraming)
		}
		if binary.LittleEndian.Uint32(p) != xxh32(d.buf) {
			return damaged(CodecLz4, errLz4Checksum)
		}
		p = p[4:]
	}
	if flags&lz4ContentLength != 0 && contentBytes != uint64(len(d.buf)) {
		return damaged(CodecLz4, errLz4Length)
	}
	if len(p) > 0 {
		return damaged(CodecLz4, errFraming)
	}
	return nil
}

// lz4Descriptor reads a frame's head and returns what follows it.
func lz4Descriptor(src []byte) (flags byte, blockBytesMax int, contentBytes uint64, rest []byte, err error) {
	if len(src) < 7 || binary.LittleEndian.Uint32(src) != lz4Magic {
		return 0, 0, 0, nil, errFraming
	}
	flags = src[4]
	size := src[5]
	if flags&lz4VersionMask != lz4Version || flags&lz4Independent == 0 || flags&lz4Reserved != 0 ||
		size&0x8f != 0 || size>>4 < lz4Block64KiB {
		return 0, 0, 0, nil, errLz4Descriptor
	}
	end := 6
	if flags&lz4ContentLength != 0 {
		if end += 8; len(src) <= end {
			return 0, 0, 0, nil, errFraming
		}
		contentBytes = binary.LittleEndian.Uint64(src[6:])
	}
	if src[end] != byte(xxh32(src[4:end])>>8) {
		return 0, 0, 0, nil, errLz4Checksum
	}
	return flags, 1 << (2*int(size>>4) + 8), contentBytes, src[end+1:], nil
}

// inflateLz4Block appends what one block holds.
func (d *Decompressor) inflateLz4Block(block []byte, stored bool, blockBytesMax, limit int) error {
	left := limit - len(d.buf)
	if stored {
		if len(block) > left {
			return tooLarge(CodecLz4, limit)
		}
		d.room(len(block), limit)
		d.buf = append(d.buf, block...)
		return nil
	}
	most := min(blockBytesMax, len(block)*lz4RatioMax)
	room := min(most, left)
	d.room(room, limit)
	n, err := lz4.UncompressBlock(block, d.buf[len(d.buf):len(d.buf)+room])
	if err != nil {
		if room < most {
			// The library does not tell damage from want of room.
			return tooLarge(CodecLz4, limit)
		}
		return damaged(CodecLz4, err)
	}
	d.buf = d.buf[:len(d.buf)+n]
	return nil
}

// lz4Compressor holds the match finders' tables.
type lz4Compressor struct {
	fast lz4.Compressor
	high *lz4.CompressorHC // made on first use: it is large
}

// lz4DefaultLevel is Kafka's compression.lz4.level default, for which Java takes the fast compressor,
// and the slow one for every other level.
const lz4DefaultLevel = 9

// appendFrame appends src as one frame of independent 64 KiB blocks without checksums, as Java's
// writer does: the batch has a CRC.
func (c *lz4Compressor) appendFrame(dst, src []byte, level int) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, lz4Magic)
	dst = append(dst, lz4Version|lz4Independent, lz4Block64KiB<<4)
	dst = append(dst, byte(xxh32(dst[at+4:])>>8))
	for len(src) > 0 {
		n := min(len(src), lz4BlockBytes)
		block := src[:n]
		src = src[n:]
		bound := lz4.CompressBlockBound(n)
		dst = slices.Grow(dst, 4+bound)
		body := len(dst) + 4
		size, err := c.compressBlock(block, dst[body:body+bound], level)
		if err != nil || size == 0 || size >= n {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(n)|lz4Stored)
			dst = append(dst, block...)
			continue
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(size))
		dst = dst[:body+size]
	}
	return binary.LittleEndian.AppendUint32(dst, 0)
}

func (c *lz4Compressor) compressBlock(src, dst []byte, level int) (int, error) {
	if level <= 2 || level == lz4DefaultLevel {
		return c.fast.CompressBlock(src, dst)
	}
	if c.high == nil {
		c.high = new(lz4.CompressorHC)
	}
	// The library searches 2^(8+n) candidates at its level n from 1 to 9; Kafka's go to 17.
	c.high.Level = lz4.CompressionLevel(1 << (8 + min(level, 17)/2))
	return c.high.CompressBlock(src, dst)
}

// xxh32 is XXH32 with seed 0, which lz4 frames use for their checksums.
func xxh32(p []byte) uint32 {
	const (
		p1 uint32 = 2654435761
		p2 uint32 = 2246822519
		p3 uint32 = 3266489917
		p4 uint32 = 668265263
		p5 uint32 = 374761393
	)
	h := p5
	n := uint32(len(p))
	if len(p) >= 16 {
		s1, s2, s3, s4 := p1, p2, uint32(0), uint32(0)
		s1 += p2
		s4 -= p1
		for len(p) >= 16 {
			s1 = bits.RotateLeft32(s1+binary.LittleEndian.Uint32(p)*p2, 13) * p1
			s2 = bits.RotateLeft32(s2+binary.LittleEndian.Uint32(p[4:])*p2, 13) * p1
			s3 = bits.RotateLeft32(s3+binary.LittleEndian.Uint32(p[8:])*p2, 13) * p1
			s4 = bits.RotateLeft32(s4+binary.LittleEndian.Uint32(p[12:])*p2, 13) * p1
			p = p[16:]
		}
		h = bits.RotateLeft32(s1, 1) + bits.RotateLeft32(s2, 7) + bits.RotateLeft32(s3, 12) + bits.RotateLeft32(s4, 18)
	}
	h += n
	for len(p) >= 4 {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(p)*p3, 17) * p4
		p = p[4:]
	}
	for _, c := range p {
		h = bits.RotateLeft32(h+uint32(c)*p5, 11) * p1
	}
	h ^= h >> 15
	h *= p2
	h ^= h >> 13
	h *= p3
	h ^= h >> 16
	return h
}
