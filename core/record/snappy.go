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
	d.room(total, limit)
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
	d.room(n, limit)
	end := len(d.buf) + n
	if dst := d.buf[len(d.buf):end:end]; n > snappyLibraryBytesMax {
		err = unsnap(dst, block)
	} else {
		_, err = s2.Decode(dst, block)
	}
	if err != nil {
		return damaged(CodecSnappy, err)
	}
	d.buf = d.buf[:end]
	return nil
}

// snappyLibraryBytesMax is up to which size a raw block is left to the library. Its decoder is assembly, which
// the runtime cannot interrupt: a block of 64 MiB would hold up the collector, and with it everybody, for as
// long as it takes.
const snappyLibraryBytesMax = 1 << 20

var errSnappyElement = errors.New("an element does not fit")

// unsnap inflates a raw block, whose length was looked at, into dst, which it must fill.
func unsnap(dst, block []byte) error {
	_, skip := binary.Uvarint(block)
	at := 0
	for src := block[skip:]; len(src) > 0; {
		tag := src[0]
		if tag&3 == 0 {
			n, head := snappyLiteral(src)
			if head == 0 || n > len(src)-head || n > len(dst)-at {
				return errSnappyElement
			}
			copyInPieces(dst[at:], src[head:head+n])
			at, src = at+n, src[head+n:]
			continue
		}
		n, offset, head := snappyCopy(src)
		if head == 0 || offset == 0 || offset > at || n > len(dst)-at {
			return errSnappyElement
		}
		// A copy may reach into what it makes: each round then has twice as much to take from.
		for from, end := at-offset, at+n; at < end; {
			at += copy(dst[at:end], dst[from:at])
		}
		src = src[head:]
	}
	if at != len(dst) {
		return errSnappyElement
	}
	return nil
}

// snappyLiteral is how many bytes follow a literal's head, and how long that is: 0 if src ends within it.
func snappyLiteral(src []byte) (n, head int) {
	const inTagMax = 60
	n = int(src[0] >> 2)
	if n < inTagMax {
		return n + 1, 1
	}
	head = n - inTagMax + 2
	if len(src) < head {
		return 0, 0
	}
	n = 0
	for i := head - 1; i > 0; i-- {
		n = n<<8 | int(src[i])
	}
	return n + 1, head
}

// snappyCopy is how many bytes are copied, from how far back, and how long the element is: 0 if src ends
// within it.
func snappyCopy(src []byte) (n, offset, head int) {
	tag := int(src[0])
	switch {
	case tag&3 == 1 && len(src) >= 2:
		return 4 + tag>>2&7, tag>>5<<8 | int(src[1]), 2
	case tag&3 == 2 && len(src) >= 3:
		return 1 + tag>>2, int(binary.LittleEndian.Uint16(src[1:])), 3
	case tag&3 == 3 && len(src) >= 5:
		return 1 + tag>>2, int(binary.LittleEndian.Uint32(src[1:])), 5
	}
	return 0, 0, 0
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
