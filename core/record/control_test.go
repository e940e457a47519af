package record

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestMarkersAreThoseThatKafkaWrites(t *testing.T) {
	for _, kind := range []MarkerKind{Abort, Commit} {
		b := Batch(AppendControl([]byte("before"), kind, 12, 3456, 78, 999_000)[6:])
		if err := CheckCRC(b); err != nil {
			t.Fatal(err)
		}
		kb, records := kmsgRecords(t, b)
		if kb.Attributes != 0x30 || kb.ProducerID != 3456 || kb.ProducerEpoch != 78 || kb.FirstSequence != -1 ||
			kb.NumRecords != 1 || kb.LastOffsetDelta != 0 || kb.FirstTimestamp != 999_000 || kb.MaxTimestamp != 999_000 {
			t.Errorf("%s: header %+v", kind, kb)
		}
		var key kmsg.ControlRecordKey
		var value kmsg.EndTxnMarker
		if err := key.ReadFrom(records[0].Key); err != nil {
			t.Fatal(err)
		}
		if err := value.ReadFrom(records[0].Value); err != nil {
			t.Fatal(err)
		}
		if key.Version != 0 || int16(key.Type) != int16(kind) || value.CoordinatorEpoch != 12 {
			t.Errorf("%s: key %+v, value %+v", kind, key, value)
		}
		m, err := ReadMarker(b)
		if err != nil || m != (Marker{Kind: kind, CoordinatorEpoch: 12}) {
			t.Errorf("%s reads as %+v, %v", kind, m, err)
		}
		h, err := ReadHeader(b)
		if err != nil || !h.IsControl() || !h.IsTransactional() || h.LastSequence() != -1 {
			t.Errorf("%s: header %+v, %v", kind, h, err)
		}
	}
}

func TestOnlyMarkersReadAsMarkers(t *testing.T) {
	marker := func(damage func(b Batch)) Batch {
		b := Batch(AppendControl(nil, Commit, 1, 2, 3, 4))
		damage(b)
		stampCRC(b)
		return b
	}
	control := func(key, value []byte, codec Codec) Batch {
		var b Builder
		o := NewOptions(codec)
		o.Control, o.Transactional, o.ProducerID, o.ProducerEpoch = true, true, 1, 1
		b.Begin(o)
		b.Append(Record{Key: key, Value: value})
		return b.Finish()
	}
	const keyAt = HeaderBytes + 5 // the record's length, attributes, two deltas and the key's length
	for name, c := range map[string]struct {
		b    Batch
		want error
	}{
		"data":             {small(t, CodecNone), ErrInvalid},
		"control bit off":  {marker(func(b Batch) { put16(b, posAttributes, uint16(TransactionalBit)) }), ErrInvalid},
		"leader change":    {marker(func(b Batch) { binary.BigEndian.PutUint16(b[keyAt+2:], 2) }), ErrInvalid},
		"newer version":    {marker(func(b Batch) { binary.BigEndian.PutUint16(b[keyAt:], 1) }), nil},
		"short key":        {control([]byte{0, 0, 0}, make([]byte, 6), CodecNone), ErrInvalid},
		"short value":      {control(make([]byte, 4), make([]byte, 5), CodecNone), ErrInvalid},
		"null key":         {control(nil, make([]byte, 6), CodecNone), ErrInvalid},
		"compressed":       {control(make([]byte, 4), make([]byte, 500), CodecLz4), ErrCodec},
		"no record":        {marker(func(b Batch) { put32(b, posRecordCount, 0) }), ErrInvalid},
		"cut":              {marker(func(Batch) {})[:70], ErrShort},
		"record malformed": {marker(func(b Batch) { b[HeaderBytes] = 0x7f }), ErrInvalid},
	} {
		if m, err := ReadMarker(c.b); (err == nil) != (c.want == nil) || !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, m, err, c.want)
		}
	}
}
