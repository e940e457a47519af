package record

import (
	"encoding/binary"
	"fmt"

	"github.com/weirmq/weir/core/model"
)

// MarkerKind says how a transaction ended.
type MarkerKind int16

// Marker kinds, as a control record's key numbers them. Kafka's others belong to its controllers' log.
const (
	Abort  MarkerKind = 0
	Commit MarkerKind = 1
)

// String names the kind.
func (k MarkerKind) String() string {
	switch k {
	case Abort:
		return "abort"
	case Commit:
		return "commit"
	}
	return fmt.Sprintf("marker kind %d", int16(k))
}

// Marker ends a producer's transaction on one partition (KIP-98). Who it ends is in the batch's header.
type Marker struct {
	Kind             MarkerKind
	CoordinatorEpoch int32
}

const (
	controlKeyBytes   = 4 // version, kind
	controlValueBytes = 6 // version, coordinator epoch
)

// AppendControl appends a batch with one marker: it takes one offset and carries no sequence. The
// base offset is 0 and the leader epoch absent until Stamp.
func AppendControl(dst []byte, kind MarkerKind, coordinatorEpoch int32, id model.ProducerID, epoch model.ProducerEpoch, ts model.Timestamp) []byte {
	var key [controlKeyBytes]byte
	var value [controlValueBytes]byte
	binary.BigEndian.PutUint16(key[2:], uint16(kind))
	binary.BigEndian.PutUint32(value[2:], uint32(coordinatorEpoch))
	at := len(dst)
	var header [HeaderBytes]byte
	dst = append(dst, header[:]...)
	r := Record{Key: key[:], Value: value[:]}
	dst = appendVarint(dst, int64(recordBodyBytes(&r, 0, 0)))
	dst = append(dst, 0, 0, 0) // attributes, both deltas
	dst = appendNullable(dst, key[:])
	dst = appendNullable(dst, value[:])
	dst = append(dst, 0) // headers
	putHeader(dst[at:], &Header{
		LeaderEpoch:   model.NoLeaderEpoch,
		Attributes:    ControlBit | TransactionalBit,
		BaseTimestamp: ts,
		MaxTimestamp:  ts,
		ProducerID:    id,
		ProducerEpoch: epoch,
		BaseSequence:  model.NoSequence,
		RecordCount:   1,
	})
	return dst
}

// ReadMarker reads the marker of a control batch. It is ErrInvalid for anything else, and for a kind
// that is neither abort nor commit. Versions above 0 are read as 0: they only append fields (KIP-98).
func ReadMarker(b Batch) (Marker, error) {
	var r Reader
	if err := r.Reset(b, nil, 0); err != nil {
		return Marker{}, err
	}
	if !b.IsControl() || !r.Next() {
		return Marker{}, fmt.Errorf("%w: not a control batch with a record", ErrInvalid)
	}
	key, value := r.Record().Key, r.Record().Value
	if len(key) < controlKeyBytes || len(value) < controlValueBytes {
		return Marker{}, fmt.Errorf("%w: control record of %d and %d bytes", ErrInvalid, len(key), len(value))
	}
	m := Marker{
		Kind:             MarkerKind(binary.BigEndian.Uint16(key[2:])),
		CoordinatorEpoch: int32(binary.BigEndian.Uint32(value[2:])),
	}
	if m.Kind != Abort && m.Kind != Commit {
		return Marker{}, fmt.Errorf("%w: %s", ErrInvalid, m.Kind)
	}
	return m, nil
}
