package protocol

import (
	"encoding/binary"
	"math"
)

// Reader decodes one frame. Its first error sticks: later reads yield zero values and cost nothing, and
// whatever was decoded by then must not be used. Decoded bytes and records alias the frame, which
// therefore must not change while they are in use; strings are copies.
//
// A Reader is a plain value. Embedded in a longer-lived struct and Reset for each frame, it allocates
// nothing.
type Reader struct {
	rest           []byte
	frameCapBytes  int
	elementsLeft   int
	allocBytesLeft int
	reason         error
	offset         int // where reason struck
	flexible       bool
}

// NewReader reads frame within b.
func NewReader(frame []byte, b Budget) Reader {
	var r Reader
	r.Reset(frame, b)
	return r
}

// Reset makes r read frame within b and forgets everything else.
func (r *Reader) Reset(frame []byte, b Budget) {
	*r = Reader{rest: frame, frameCapBytes: cap(frame), elementsLeft: b.ElementCountMax, allocBytesLeft: b.AllocBytesMax}
}

// Err is nil or a *DecodeError.
func (r *Reader) Err() error {
	if r.reason == nil {
		return nil
	}
	return &DecodeError{Reason: r.reason, Offset: r.offset}
}

// Finish is Err, and it is an error too if bytes are left: call it after the last Decode of a frame.
func (r *Reader) Finish() error {
	if r.reason == nil && len(r.rest) != 0 {
		r.fail(ErrTrailing)
	}
	return r.Err()
}

// Remaining counts the bytes not yet read; it is 0 after an error.
func (r *Reader) Remaining() int { return len(r.rest) }

// fail keeps the first reason and empties the reader, so that every later read fails at its length check.
func (r *Reader) fail(reason error) {
	if r.reason == nil {
		// Every rest is a suffix of the frame, or a prefix of such a suffix, which keeps its capacity.
		r.reason, r.offset = reason, r.frameCapBytes-cap(r.rest)
	}
	r.rest = nil
}

// begin checks the version of a message and sets its encoding.
func (r *Reader) begin(v, versionMin, versionMax, flexibleFrom int16) bool {
	if v < versionMin || v > versionMax {
		r.fail(ErrVersion)
	}
	r.flexible = v >= flexibleFrom
	return r.reason == nil
}

func (r *Reader) short() int64 {
	r.fail(ErrTruncated)
	return 0
}

func (r *Reader) int8() int8 {
	if len(r.rest) < 1 {
		return int8(r.short())
	}
	x := int8(r.rest[0])
	r.rest = r.rest[1:]
	return x
}

func (r *Reader) int16() int16 {
	if len(r.rest) < 2 {
		return int16(r.short())
	}
	x := int16(binary.BigEndian.Uint16(r.rest))
	r.rest = r.rest[2:]
	return x
}

func (r *Reader) int32() int32 {
	if len(r.rest) < 4 {
		return int32(r.short())
	}
	x := int32(binary.BigEndian.Uint32(r.rest))
	r.rest = r.rest[4:]
	return x
}

func (r *Reader) int64() int64 {
	if len(r.rest) < 8 {
		return r.short()
	}
	x := int64(binary.BigEndian.Uint64(r.rest))
	r.rest = r.rest[8:]
	return x
}

func (r *Reader) bool() bool       { return r.int8() != 0 }
func (r *Reader) uint16() uint16   { return uint16(r.int16()) }
func (r *Reader) uint32() uint32   { return uint32(r.int32()) }
func (r *Reader) float64() Float64 { return Float64(r.int64()) }
func (r *Reader) key() Key         { return Key(r.int16()) }

func (r *Reader) uuid() UUID {
	var u UUID
	if len(r.rest) < len(u) {
		r.fail(ErrTruncated)
		return u
	}
	copy(u[:], r.rest)
	r.rest = r.rest[len(u):]
	return u
}

// uvarint reads an unsigned varint of at most 32 bits.
func (r *Reader) uvarint() uint32 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 {
		x := uint32(r.rest[0])
		r.rest = r.rest[1:]
		return x
	}
	x, n := binary.Uvarint(r.rest)
	switch {
	case n == 0 && len(r.rest) < binary.MaxVarintLen32:
		r.fail(ErrTruncated)
		return 0
	case n <= 0 || n > binary.MaxVarintLen32 || x > math.MaxUint32:
		r.fail(ErrLength)
		return 0
	}
	r.rest = r.rest[n:]
	return uint32(x)
}

// length reads a length or count: a varint of it plus one in flexible versions, else an integer of 16 or
// 32 bits. It is -1 for null, and never more than 2^31-1.
func (r *Reader) length(short bool) int {
	var n int64
	switch {
	case r.flexible:
		n = int64(r.uvarint()) - 1
	case short:
		n = int64(r.int16())
	default:
		n = int64(r.int32())
	}
	if r.reason != nil {
		return 0
	}
	if n < -1 || n > math.MaxInt32 {
		r.fail(ErrLength)
		return 0
	}
	return int(n)
}

// run takes the n bytes of a string, of bytes or of records.
func (r *Reader) run(n int) []byte {
	if n > len(r.rest) {
		r.fail(ErrTruncated)
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// charge takes bytes from the allocation budget.
func (r *Reader) charge(bytes int) {
	if r.allocBytesLeft -= bytes; r.allocBytesLeft < 0 {
		r.fail(ErrBudget)
	}
}

// text decodes the characters of a string. What s held before is kept if equal, so that a reused struct
// decodes a repeated name without allocating.
func (r *Reader) text(s *string, n int) {
	b := r.run(n)
	r.charge(len(b))
	if r.reason != nil {
		*s = ""
		return
	}
	if *s != string(b) {
		*s = string(b)
	}
}

func (r *Reader) string(s *string) {
	n := r.length(true)
	if n < 0 {
		r.fail(ErrNull)
		return
	}
	r.text(s, n)
}

func (r *Reader) nullString(s *NullString, nullable bool) {
	n := r.length(true)
	if n < 0 {
		if !nullable {
			r.fail(ErrNull)
		}
		*s = NullString{}
		return
	}
	s.Valid = true
	r.text(&s.Value, n)
}

// bytes gives nil for null only.
func (r *Reader) bytes(nullable bool) []byte {
	n := r.length(false)
	if n < 0 {
		if !nullable {
			r.fail(ErrNull)
		}
		return nil
	}
	return r.run(n)
}

func (r *Reader) records(x *Records, nullable bool) {
	x.Bytes = r.bytes(nullable)
	x.Regions = nil
	x.Null = x.Bytes == nil
}

// present reads the marker byte of a nullable struct and charges for the struct.
func (r *Reader) present(nullable bool, allocBytes int) bool {
	if r.int8() >= 0 {
		r.charge(allocBytes)
		return r.reason == nil
	}
	if !nullable {
		r.fail(ErrNull)
	}
	return false
}

// arrayLen reads an array's count: -1 for null. The count is checked against the bytes that are left,
// given the least that one element takes, and against the budget, before anybody allocates.
func (r *Reader) arrayLen(nullable bool, elementBytesMin, elementAllocBytes int) int {
	n := r.length(false)
	switch {
	case n < 0 && !nullable:
		r.fail(ErrNull)
		return 0
	case n <= 0:
		return n
	case n > len(r.rest)/elementBytesMin:
		r.fail(ErrTruncated)
		return 0
	}
	if r.elementsLeft -= n; r.elementsLeft < 0 {
		r.fail(ErrBudget)
		return 0
	}
	// n is at most 2^31 and an element a few hundred bytes: no overflow.
	if r.charge(n * elementAllocBytes); r.reason != nil {
		return 0
	}
	return n
}

// array sizes a slice for the array that follows, with s's memory if it suffices: elements keep their
// former content, which decoding overwrites and whose slices and strings it reuses. It gives nil for null only.
func array[T any](r *Reader, s []T, nullable bool, elementBytesMin, elementAllocBytes int) []T {
	n := r.arrayLen(nullable, elementBytesMin, elementAllocBytes)
	switch {
	case n < 0:
		return nil
	case s != nil && n <= cap(s):
		return s[:n]
	}
	return make([]T, n)
}

// stringBytesMin is the least that a string takes.
func (r *Reader) stringBytesMin() int {
	if r.flexible {
		return 1
	}
	return 2
}

func (r *Reader) strings(s []string, nullable bool) []string {
	s = array(r, s, nullable, r.stringBytesMin(), 16)
	for i := 0; i < len(s) && r.reason == nil; i++ {
		r.string(&s[i])
	}
	return s
}

func (r *Reader) int8s(s []int8, nullable bool) []int8 {
	s = array(r, s, nullable, 1, 1)
	for i := range s {
		s[i] = r.int8()
	}
	return s
}

func (r *Reader) int16s(s []int16, nullable bool) []int16 {
	s = array(r, s, nullable, 2, 2)
	for i := range s {
		s[i] = r.int16()
	}
	return s
}

func (r *Reader) int32s(s []int32, nullable bool) []int32 {
	s = array(r, s, nullable, 4, 4)
	for i := range s {
		s[i] = r.int32()
	}
	return s
}

func (r *Reader) int64s(s []int64, nullable bool) []int64 {
	s = array(r, s, nullable, 8, 8)
	for i := range s {
		s[i] = r.int64()
	}
	return s
}

func (r *Reader) uuids(s []UUID, nullable bool) []UUID {
	s = array(r, s, nullable, 16, 16)
	for i := range s {
		s[i] = r.uuid()
	}
	return s
}

// tagCount reads how many tagged fields follow. Each takes at least two bytes.
func (r *Reader) tagCount() int {
	n := r.uvarint()
	if int64(n) > int64(len(r.rest)/2) {
		r.fail(ErrTruncated)
		return 0
	}
	return int(n)
}

// beginTag reads a tagged field's number and size and confines the reader to its content; endTag must
// get what stands after it.
func (r *Reader) beginTag() (tag uint32, after []byte) {
	tag = r.uvarint()
	size := r.uvarint()
	if int64(size) > int64(len(r.rest)) {
		r.fail(ErrTruncated)
		return tag, nil
	}
	after = r.rest[size:]
	r.rest = r.rest[:size]
	return tag, after
}

// skip passes over what is left of a tagged field.
func (r *Reader) skip() { r.rest = r.rest[len(r.rest):] }

func (r *Reader) endTag(after []byte) {
	if r.reason != nil {
		return
	}
	if len(r.rest) != 0 {
		r.fail(ErrTag)
		return
	}
	r.rest = after
}

// skipTags ends a struct that has no tagged fields known to us.
func (r *Reader) skipTags() {
	if !r.flexible {
		return
	}
	for n := r.tagCount(); n > 0 && r.reason == nil; n-- {
		_, after := r.beginTag()
		r.skip()
		r.endTag(after)
	}
}
