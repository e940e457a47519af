package protocol

import (
	"fmt"

	"github.com/weirmq/weir/core/invariant"
)

// Record is a record of one of the internal logs: cluster metadata, group, transaction or share state.
type Record interface {
	Body
	// RecordType tells records of one log apart.
	RecordType() int16
	// Versions is the range that we encode and decode.
	Versions() (versionMin, versionMax int16)
}

// metadataFrameVersion is the only version of the frame around metadata records.
const metadataFrameVersion = 1

// budgetForRecord refuses no well-formed record, and bounds the rest: no byte of any message costs more than 24
// bytes of memory (the generator's tests hold the schemas to 32), and no element takes less than one.
func budgetForRecord(recordBytes int) Budget {
	return Budget{ElementCountMax: recordBytes, AllocBytesMax: 32 * recordBytes}
}

// AppendMetadataRecord appends rec in the frame of the cluster metadata log: unsigned varints for the frame
// version, the record type and the record version, then the record. A version that rec lacks, or a
// field that the version cannot carry, is a broken invariant: both are ours to choose.
func AppendMetadataRecord(dst []byte, rec Record, version int16) []byte {
	w := Writer{buf: dst}
	w.uvarint(metadataFrameVersion)
	w.uvarint(uint32(rec.RecordType()))
	w.uvarint(uint32(version))
	return appendBody(&w, rec, version)
}

// ReadMetadataRecord reads what AppendMetadataRecord wrote. Byte fields of the record alias b.
func ReadMetadataRecord(b []byte) (rec Record, version int16, err error) {
	r := NewReader(b, budgetForRecord(len(b)))
	frame, kind, v := r.uvarint(), r.uvarint(), r.uvarint()
	switch {
	case r.reason != nil:
		return nil, 0, r.Err()
	case frame != metadataFrameVersion:
		return nil, 0, fmt.Errorf("protocol: a metadata record has frame version %d, not %d", frame, metadataFrameVersion)
	case kind > noFlexible || v > noFlexible:
		return nil, 0, fmt.Errorf("protocol: a metadata record has type %d, version %d", kind, v)
	}
	if rec = NewMetadataRecord(int16(kind)); rec == nil {
		return nil, 0, fmt.Errorf("protocol: a metadata record has the unknown type %d", kind)
	}
	version = int16(v)
	rec.Decode(&r, version)
	if err := r.Finish(); err != nil {
		return nil, 0, fmt.Errorf("metadata record of type %d, version %d: %w", kind, v, err)
	}
	return rec, version, nil
}

// AppendVersioned appends the int16 version and then the body: the form of values in coordinator logs and of
// consumer protocol structures. The key of a coordinator record carries its RecordType there instead: see
// AppendCoordinatorKey.
func AppendVersioned(dst []byte, x Body, version int16) []byte {
	w := Writer{buf: dst}
	w.int16(version)
	return appendBody(&w, x, version)
}

// ReadVersioned reads what AppendVersioned wrote into x. Byte fields alias b.
func ReadVersioned(b []byte, x Body) (version int16, err error) {
	r := NewReader(b, budgetForRecord(len(b)))
	version = r.int16()
	x.Decode(&r, version)
	return version, r.Finish()
}

// AppendCoordinatorKey appends the key of a coordinator record: its type, then its fields.
func AppendCoordinatorKey(dst []byte, key Record) []byte {
	w := Writer{buf: dst}
	w.int16(key.RecordType())
	return appendBody(&w, key, 0)
}

// ReadCoordinatorKey reads what AppendCoordinatorKey wrote; newKey is the log's NewGroupKey,
// NewTransactionKey or NewShareKey. A type that newKey does not know is an error.
func ReadCoordinatorKey(b []byte, newKey func(recordType int16) Record) (Record, error) {
	r := NewReader(b, budgetForRecord(len(b)))
	kind := r.int16()
	if r.reason != nil {
		return nil, r.Err()
	}
	key := newKey(kind)
	if key == nil {
		return nil, fmt.Errorf("protocol: a coordinator record has the unknown type %d", kind)
	}
	key.Decode(&r, 0)
	if err := r.Finish(); err != nil {
		return nil, fmt.Errorf("coordinator key of type %d: %w", kind, err)
	}
	return key, nil
}

// appendBody encodes x to the end of w, whose buffer began as the caller's.
func appendBody(w *Writer, x Body, version int16) []byte {
	x.Encode(w, version)
	if w.err != nil {
		invariant.Checkf(false, "a record that we write must encode: %v", w.err)
	}
	if len(w.splices) == 0 {
		return w.buf
	}
	b, err := w.AppendTo(nil)
	invariant.Check(err == nil, "a record of a log must hold no file regions")
	return b
}
