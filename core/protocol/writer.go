package protocol

import (
	"encoding/binary"
	"math"
)

// Region is a run of bytes that lives elsewhere, in a file for instance. The transport copies it by
// itself; this package only needs to know its length, which must not change.
type Region interface {
	Len() int // bytes
}

// Piece is one part of what a Writer made: bytes, or a region if Region is not nil.
type Piece struct {
	Bytes  []byte
	Region Region
}

// Len counts the piece's bytes.
func (p Piece) Len() int {
	if p.Region != nil {
		return p.Region.Len()
	}
	return len(p.Bytes)
}

// spliceBytesMin is the size from which records become a piece of their own. Below it a copy is cheaper
// than one more element of a vectored write.
const spliceBytesMin = 512

// Writer encodes frames into a buffer of its own; large records and regions are spliced in without
// copying. The zero Writer is ready. Its first error sticks, and then what it made must not be sent.
//
// Pieces alias the buffer and the records: Reset only when they have been sent.
type Writer struct {
	buf          []byte
	splices      []splice
	splicedBytes int
	pieces       []Piece
	frame        int // where the open frame's length prefix stands in buf
	frameSpliced int // splicedBytes when that frame began
	version      int16
	flexible     bool
	err          error
}

// splice is a piece that stands before buf[at].
type splice struct {
	at    int
	piece Piece
}

// Reset empties w and keeps its memory.
func (w *Writer) Reset() {
	clear(w.splices) // let go of records and regions
	clear(w.pieces)
	*w = Writer{buf: w.buf[:0], splices: w.splices[:0], pieces: w.pieces[:0]}
}

// Err is nil or an *EncodeError.
func (w *Writer) Err() error { return w.err }

// Len counts all bytes written, spliced ones included.
func (w *Writer) Len() int { return len(w.buf) + w.splicedBytes }

// CapBytes is about the memory that w keeps over a Reset.
func (w *Writer) CapBytes() int {
	const spliceBytes, pieceBytes = 48, 40
	return cap(w.buf) + spliceBytes*cap(w.splices) + pieceBytes*cap(w.pieces)
}

// Pieces is everything written since Reset, in order. It is valid until the next write or Reset.
func (w *Writer) Pieces() []Piece {
	w.pieces = w.pieces[:0]
	from := 0
	for _, s := range w.splices {
		if s.at > from {
			w.pieces = append(w.pieces, Piece{Bytes: w.buf[from:s.at]})
			from = s.at
		}
		w.pieces = append(w.pieces, s.piece)
	}
	if len(w.buf) > from {
		w.pieces = append(w.pieces, Piece{Bytes: w.buf[from:]})
	}
	return w.pieces
}

// AppendTo appends everything written to dst as one run, copying records. It fails if a region was
// written, because its bytes are not here.
func (w *Writer) AppendTo(dst []byte) ([]byte, error) {
	if w.err != nil {
		return dst, w.err
	}
	for _, p := range w.Pieces() {
		if p.Region != nil {
			return dst, &EncodeError{Field: "records", Version: w.version, Reason: "a region's bytes are not in memory"}
		}
		dst = append(dst, p.Bytes...)
	}
	return dst, nil
}

func (w *Writer) fail(field, reason string) {
	if w.err == nil {
		w.err = &EncodeError{Field: field, Version: w.version, Reason: reason}
	}
}

// unsupported is called for a field that the version does not have and that holds more than its default.
func (w *Writer) unsupported(field string) {
	w.fail(field, "the version does not have this field, and it is set")
}

// begin checks the version of a message and sets its encoding.
func (w *Writer) begin(message string, v, versionMin, versionMax, flexibleFrom int16) bool {
	w.version = v
	if v < versionMin || v > versionMax {
		w.fail(message, ErrVersion.Error())
	}
	w.flexible = v >= flexibleFrom
	return w.err == nil
}

func (w *Writer) int8(x int8)       { w.buf = append(w.buf, byte(x)) }
func (w *Writer) int16(x int16)     { w.buf = binary.BigEndian.AppendUint16(w.buf, uint16(x)) }
func (w *Writer) int32(x int32)     { w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(x)) }
func (w *Writer) int64(x int64)     { w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(x)) }
func (w *Writer) uint16(x uint16)   { w.buf = binary.BigEndian.AppendUint16(w.buf, x) }
func (w *Writer) uint32(x uint32)   { w.buf = binary.BigEndian.AppendUint32(w.buf, x) }
func (w *Writer) float64(x Float64) { w.int64(int64(x)) }
func (w *Writer) key(x Key)         { w.int16(int16(x)) }
func (w *Writer) uuid(x UUID)       { w.buf = append(w.buf, x[:]...) }
func (w *Writer) uvarint(x uint32)  { w.buf = binary.AppendUvarint(w.buf, uint64(x)) }

func (w *Writer) bool(x bool) {
	if x {
		w.int8(1)
	} else {
		w.int8(0)
	}
}

// length writes a length or count, -1 for null, in the form that Reader.length reads.
func (w *Writer) length(n int, short bool) {
	switch {
	case n > math.MaxInt32-1 || short && !w.flexible && n > math.MaxInt16:
		w.fail("length", ErrLength.Error())
	case w.flexible:
		w.uvarint(uint32(n + 1))
	case short:
		w.int16(int16(n))
	default:
		w.int32(int32(n))
	}
}

func (w *Writer) string(s string) {
	w.length(len(s), true)
	w.buf = append(w.buf, s...)
}

// null writes a null length, or refuses to.
func (w *Writer) null(nullable, short bool, field string) {
	if !nullable {
		w.fail(field, ErrNull.Error())
	}
	w.length(-1, short)
}

func (w *Writer) nullString(s NullString, nullable bool, field string) {
	if !s.Valid {
		w.null(nullable, true, field)
		return
	}
	w.string(s.Value)
}

func (w *Writer) bytes(b []byte) {
	w.length(len(b), false)
	w.buf = append(w.buf, b...)
}

func (w *Writer) nullBytes(b []byte, nullable bool, field string) {
	if b == nil {
		w.null(nullable, false, field)
		return
	}
	w.bytes(b)
}

func (w *Writer) records(x *Records, nullable bool, field string) {
	if x.Null {
		w.null(nullable, false, field)
		return
	}
	w.length(x.Len(), false)
	if len(x.Bytes) >= spliceBytesMin {
		w.splice(Piece{Bytes: x.Bytes})
	} else {
		w.buf = append(w.buf, x.Bytes...)
	}
	for _, g := range x.Regions {
		w.splice(Piece{Region: g})
	}
}

// Raw appends what is encoded already: a body that another node has made. Large ones are not copied.
func (w *Writer) Raw(b []byte) {
	if len(b) >= spliceBytesMin {
		w.splice(Piece{Bytes: b})
	} else {
		w.buf = append(w.buf, b...)
	}
}

func (w *Writer) splice(p Piece) {
	w.splices = append(w.splices, splice{at: len(w.buf), piece: p})
	w.splicedBytes += p.Len()
}

// present writes the marker byte of a nullable struct.
func (w *Writer) present(present, nullable bool, field string) bool {
	if present {
		w.int8(1)
		return true
	}
	if !nullable {
		w.fail(field, ErrNull.Error())
	}
	w.int8(-1)
	return false
}

func (w *Writer) arrayLen(n int) { w.length(n, false) }

func (w *Writer) nullableArrayLen(n int, isNull, nullable bool, field string) {
	if isNull {
		w.null(nullable, false, field)
		return
	}
	w.length(n, false)
}

func (w *Writer) strings(s []string) {
	for _, x := range s {
		w.string(x)
	}
}

func (w *Writer) int8s(s []int8) {
	for _, x := range s {
		w.int8(x)
	}
}

func (w *Writer) int16s(s []int16) {
	for _, x := range s {
		w.int16(x)
	}
}

func (w *Writer) int32s(s []int32) {
	for _, x := range s {
		w.int32(x)
	}
}

func (w *Writer) int64s(s []int64) {
	for _, x := range s {
		w.int64(x)
	}
}

func (w *Writer) uuids(s []UUID) {
	for i := range s {
		w.buf = append(w.buf, s[i][:]...)
	}
}

// tagCount writes how many tagged fields follow: as many as are present.
func (w *Writer) tagCount(present ...bool) {
	n := uint32(0)
	for _, p := range present {
		if p {
			n++
		}
	}
	w.uvarint(n)
}

// noTags ends a struct that has no tagged fields.
func (w *Writer) noTags() {
	if w.flexible {
		w.int8(0)
	}
}

// beginTag writes a tag's number; endTag must get what it returns and puts the size in between.
func (w *Writer) beginTag(tag uint32) int {
	w.uvarint(tag)
	return len(w.buf)
}

func (w *Writer) endTag(at int) {
	size := len(w.buf) - at
	var prefix [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(prefix[:], uint64(size))
	w.buf = append(w.buf, prefix[:n]...)
	copy(w.buf[at+n:], w.buf[at:at+size])
	copy(w.buf[at:], prefix[:n])
}
