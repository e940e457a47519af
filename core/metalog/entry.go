package metalog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
	"github.com/weirmq/weir/core/record"
)

// controlKind says what a control batch of the metadata log or of the images is, in the key of its record. The numbers
// below 100 are Kafka's.
type controlKind int16

const (
	leaderChange   controlKind = 2 // a leader's first entry
	snapshotHeader controlKind = 3
	snapshotFooter controlKind = 4
	voterChange    controlKind = 100 // the value is the quorum's
)

// batchOf is what the log holds for an entry: a copy, because storage stamps what it is given.
func batchOf(e *quorum.Entry) record.Batch {
	switch {
	case e.Kind == quorum.EntryChange:
		return control(voterChange, e.Data)
	case len(e.Data) == 0:
		return control(leaderChange, nil)
	}
	return append(record.Batch(nil), e.Data...)
}

// entryOf is batchOf's inverse.
func entryOf(b record.Batch) (kind quorum.EntryKind, data []byte, err error) {
	if !b.IsControl() {
		return quorum.EntryData, append([]byte(nil), b...), nil
	}
	switch k, value, err := readControl(b); {
	case err != nil:
		return 0, nil, err
	case k == leaderChange:
		return quorum.EntryData, nil, nil
	case k == voterChange:
		return quorum.EntryChange, append([]byte(nil), value...), nil
	default:
		return 0, nil, fmt.Errorf("a control batch of kind %d", k)
	}
}

// control is a batch with one control record.
func control(kind controlKind, value []byte) record.Batch {
	var b record.Builder
	opts := record.NewOptions(record.CodecNone)
	opts.Control = true
	b.Begin(opts)
	b.Append(record.Record{Key: binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(kind)), Value: value, Timestamp: model.NoTimestamp})
	return append(record.Batch(nil), b.Finish()...)
}

func readControl(b record.Batch) (kind controlKind, value []byte, err error) {
	var d record.Decompressor
	r := record.NewReader(b, &d)
	if !r.Next() {
		return 0, nil, errors.Join(errors.New("a control batch without a record"), r.Err())
	}
	key := r.Record().Key
	if len(key) != 4 {
		return 0, nil, fmt.Errorf("a control record with a key of %d bytes", len(key))
	}
	return controlKind(binary.BigEndian.Uint16(key[2:])), r.Record().Value, nil
}

// checkEntry refuses what cannot have been proposed, or is for another machine.
func checkEntry(data []byte, machine Machine) error {
	b, rest, err := record.Next(data)
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return fmt.Errorf("%d bytes behind a batch", len(rest))
	case b.IsControl():
		return errors.New("a control batch")
	}
	if err := record.CheckCRC(b); err != nil {
		return err
	}
	return machine.CheckBatch(b)
}
