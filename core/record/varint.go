package record

import "math/bits"

// The readers below take a position and return the next one. A position of -1 means failed, is passed
// through, and so is checked once after several reads. The one-byte case is small enough to inline.

// varint32 reads a zig-zag varint of 32 bits at p[i].
func varint32(p []byte, i int) (int32, int) {
	if uint(i) < uint(len(p)) && p[i] < 0x80 {
		u := uint32(p[i])
		return int32(u>>1) ^ -int32(u&1), i + 1
	}
	return varint32Long(p, i)
}

func varint32Long(p []byte, i int) (int32, int) {
	if i < 0 {
		return 0, -1
	}
	var u uint32
	for shift := uint(0); shift <= 28 && i < len(p); shift += 7 {
		c := p[i]
		i++
		u |= uint32(c&0x7f) << shift
		if c < 0x80 {
			if shift == 28 && c > 0x0f {
				return 0, -1 // more than 32 bits
			}
			return int32(u>>1) ^ -int32(u&1), i
		}
	}
	return 0, -1
}

// varint64 reads a zig-zag varint of 64 bits at p[i].
func varint64(p []byte, i int) (int64, int) {
	if uint(i) < uint(len(p)) && p[i] < 0x80 {
		u := uint64(p[i])
		return int64(u>>1) ^ -int64(u&1), i + 1
	}
	return varint64Long(p, i)
}

func varint64Long(p []byte, i int) (int64, int) {
	if i < 0 {
		return 0, -1
	}
	var u uint64
	for shift := uint(0); shift <= 63 && i < len(p); shift += 7 {
		c := p[i]
		i++
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if shift == 63 && c > 1 {
				return 0, -1 // more than 64 bits
			}
			return int64(u>>1) ^ -int64(u&1), i
		}
	}
	return 0, -1
}

// appendVarint appends v as a zig-zag varint.
func appendVarint(dst []byte, v int64) []byte {
	u := uint64(v)<<1 ^ uint64(v>>63)
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

// varintBytes is the length of v as a zig-zag varint.
func varintBytes(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	return (bits.Len64(u|1) + 6) / 7
}
