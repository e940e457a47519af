package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmq/weir/core/model"
)

// ErrSnapshot is wrapped by every refusal of LoadSnapshot.
var ErrSnapshot = errors.New("not a usable log state snapshot")

const (
	snapshotMagic   = 0x57_4c_53_54 // "WLST"
	snapshotVersion = 2
	snapshotFixed   = 4 + 1 + 8 + 8 + 4 + 4
	epochBytes      = 4 + 8
	producerFixed   = 8 + 2 + 1 + 8
	appendedBytes   = 4 + 4 + 8 + 8
)

// AppendSnapshot appends the state's durable form to dst: magic, version, offsets, counts, epochs,
// producers by ascending id, and an xxhash64 of all of it. Equal states give equal bytes, except for
// when producers were last seen.
func (s *State) AppendSnapshot(dst []byte) []byte {
	be, from := binary.BigEndian, len(dst)
	dst = be.AppendUint32(dst, snapshotMagic)
	dst = append(dst, snapshotVersion)
	dst = be.AppendUint64(dst, uint64(s.startOffset))
	dst = be.AppendUint64(dst, uint64(s.endOffset))
	dst = be.AppendUint32(dst, uint32(len(s.epochs)))
	dst = be.AppendUint32(dst, uint32(len(s.producers)))
	for _, e := range s.epochs {
		dst = be.AppendUint32(dst, uint32(e.Epoch))
		dst = be.AppendUint64(dst, uint64(e.Start))
	}
	ids := make([]model.ProducerID, 0, len(s.producers))
	for i := range s.producers {
		ids = append(ids, s.producers[i].id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		p := &s.producers[s.byID[id]]
		dst = be.AppendUint64(dst, uint64(p.id))
		dst = be.AppendUint16(dst, uint16(p.epoch))
		dst = append(dst, byte(p.count))
		dst = be.AppendUint64(dst, uint64(p.lastSeen))
		for _, b := range p.batches[:p.count] {
			dst = be.AppendUint32(dst, uint32(b.baseSequence))
			dst = be.AppendUint32(dst, uint32(b.lastSequence))
			dst = be.AppendUint64(dst, uint64(b.baseOffset))
			dst = be.AppendUint64(dst, uint64(b.appendTime))
		}
	}
	return be.AppendUint64(dst, xxhash.Sum64(dst[from:]))
}

// LoadSnapshot reads what AppendSnapshot wrote, and nothing else: a snapshot that is short, long, of
// another version, altered or inconsistent is an error that wraps ErrSnapshot.
func LoadSnapshot(b []byte) (*State, error) {
	be := binary.BigEndian
	if len(b) < snapshotFixed+8 {
		return nil, fmt.Errorf("%w: %d bytes", ErrSnapshot, len(b))
	}
	body := b[:len(b)-8]
	if be.Uint64(b[len(b)-8:]) != xxhash.Sum64(body) {
		return nil, fmt.Errorf("%w: checksum", ErrSnapshot)
	}
	if be.Uint32(body) != snapshotMagic || body[4] != snapshotVersion {
		return nil, fmt.Errorf("%w: magic or version", ErrSnapshot)
	}
	s := &State{startOffset: model.Offset(be.Uint64(body[5:])), endOffset: model.Offset(be.Uint64(body[13:]))}
	epochCount, producerCount := int(be.Uint32(body[21:])), int(be.Uint32(body[25:]))
	body = body[snapshotFixed:]
	if epochCount > len(body)/epochBytes {
		return nil, fmt.Errorf("%w: %d epochs", ErrSnapshot, epochCount)
	}
	for range epochCount {
		s.epochs = append(s.epochs, EpochStart{model.LeaderEpoch(be.Uint32(body)), model.Offset(be.Uint64(body[4:]))})
		body = body[epochBytes:]
	}
	if producerCount > len(body)/(producerFixed+appendedBytes) {
		return nil, fmt.Errorf("%w: %d producers", ErrSnapshot, producerCount)
	}
	for range producerCount {
		if len(body) < producerFixed {
			return nil, fmt.Errorf("%w: cut short", ErrSnapshot)
		}
		p := producer{
			id: model.ProducerID(be.Uint64(body)), epoch: model.ProducerEpoch(be.Uint16(body[8:])),
			count: int8(body[10]), lastSeen: model.Timestamp(be.Uint64(body[11:])),
		}
		body = body[producerFixed:]
		if p.count < 1 || p.count > WindowBatches || len(body) < int(p.count)*appendedBytes {
			return nil, fmt.Errorf("%w: producer %d", ErrSnapshot, p.id)
		}
		for i := range int(p.count) {
			p.batches[i] = appended{
				model.Sequence(be.Uint32(body)), model.Sequence(be.Uint32(body[4:])), model.Offset(be.Uint64(body[8:])),
				model.Timestamp(be.Uint64(body[16:])),
			}
			body = body[appendedBytes:]
		}
		s.producers = append(s.producers, p)
	}
	if len(body) != 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrSnapshot, len(body))
	}
	s.index()
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrSnapshot, err)
	}
	return s, nil
}
