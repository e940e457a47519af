package storage

import (
	"encoding/binary"
	"errors"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmq/weir/core/model"
)

// A journal is a sequence of groups; a group is what one sync makes durable.
//
//	group:  header, then Count entries, then zeros up to a multiple of the block size
//	entry:  header, then PayloadBytes of payload
//
// All integers are big-endian. The group header's hash covers the header; an entry header's hash covers
// the header, which holds the hash of the payload. Both carry the group's LSN, which never repeats in a
// data directory's life: what a recycled file held before cannot pass for a new group or a part of one.
const (
	groupMagic       = 0x574a4731 // "WJG1"
	groupHeaderBytes = 48
	entryHeaderBytes = 88
)

// LSN numbers groups: the epoch (one per start of the engine) in the upper 24 bits, a count below.
type LSN uint64

const lsnCountBits = 40

func firstLSN(epoch uint32) LSN { return LSN(epoch) << lsnCountBits }

// entryKind says what a journal entry records.
type entryKind uint8

const (
	// entryBatch: the payload is a batch, at Position of segment SegmentBase.
	entryBatch entryKind = iota + 1
	// entryInPlace: the batch is in the segment only, which the same sync covers; the payload is its header.
	entryInPlace
	// entryLogStart: the log starts at BaseOffset from here on.
	entryLogStart
	// entryDelete: the partition is gone.
	entryDelete
	// entryLoose: from here on there may be batches of the partition in its segments only.
	entryLoose
	// entryTruncate: the log ends at BaseOffset from here on. Segments that begin at or behind SegmentBase are gone, but
	// for Position bytes of that one; if there are any, the payload is its greatest timestamp and where it is.
	entryTruncate
	// entryStartAt: everything is gone, and the log begins anew at BaseOffset.
	entryStartAt

	entryKindCount
)

// groupKind tells groups from what may stand in the place of the next one.
type groupKind uint8

const (
	groupEntries groupKind = iota
	// groupMark only says that every group before it is durable.
	groupMark
	// groupFailed only says that the sync of the group before it failed.
	groupFailed
)

type groupHeader struct {
	Kind   groupKind
	LSN    LSN
	File   uint64 // the sequence number of the file it was written to
	Bytes  uint32 // with the header, without the padding
	Padded uint32 // where the next group begins, from this one's begin
	Count  uint32 // entries
}

func putGroupHeader(b []byte, h *groupHeader) {
	be := binary.BigEndian
	clear(b[:groupHeaderBytes])
	be.PutUint32(b, groupMagic)
	b[4] = byte(h.Kind)
	be.PutUint64(b[8:], uint64(h.LSN))
	be.PutUint64(b[16:], h.File)
	be.PutUint32(b[24:], h.Bytes)
	be.PutUint32(b[28:], h.Padded)
	be.PutUint32(b[32:], h.Count)
	be.PutUint64(b[40:], xxhash.Sum64(b[:40]))
}

var (
	errNoGroup = errors.New("no group header")
	errEntry   = errors.New("entry does not check out")
)

// readGroupHeader reads what putGroupHeader wrote; anything else is errNoGroup.
func readGroupHeader(b []byte) (groupHeader, error) {
	be := binary.BigEndian
	if len(b) < groupHeaderBytes || be.Uint32(b) != groupMagic || be.Uint64(b[40:]) != xxhash.Sum64(b[:40]) {
		return groupHeader{}, errNoGroup
	}
	h := groupHeader{
		Kind: groupKind(b[4]), LSN: LSN(be.Uint64(b[8:])), File: be.Uint64(b[16:]),
		Bytes: be.Uint32(b[24:]), Padded: be.Uint32(b[28:]), Count: be.Uint32(b[32:]),
	}
	if h.Bytes < groupHeaderBytes || h.Padded < h.Bytes || h.Padded%blockBytesMin != 0 ||
		uint64(h.Count)*entryHeaderBytes > uint64(h.Bytes)-groupHeaderBytes ||
		h.Kind > groupFailed || (h.Kind != groupEntries) != (h.Count == 0) {
		return groupHeader{}, errNoGroup
	}
	return h, nil
}

type entry struct {
	Kind        entryKind
	Index       uint32 // within its group
	LSN         LSN
	Partition   model.TopicPartition
	BaseOffset  model.Offset
	NextOffset  model.Offset
	SegmentBase model.Offset
	Position    int64 // in the segment
	// Watermark is, of a batch, how far the log was committed when it was written, 0 if that is not known.
	Watermark   model.Offset
	SizeBytes   int64 // of the batch in the segment
	PayloadHash uint64
	Payload     []byte

	// during replay
	payloadAt int64 // where the payload is, from the group's begin
	healed    bool  // the payload is the segment's copy
}

// aheadMax is the greatest distance that there is room for.
const aheadMax = 1<<24 - 1

// putEntryHeader writes e's header; PayloadHash is computed from Payload.
func putEntryHeader(b []byte, e *entry) {
	be := binary.BigEndian
	e.PayloadHash = xxhash.Sum64(e.Payload)
	be.PutUint64(b, uint64(e.LSN))
	// Behind the kind stands how far the batch is ahead of the high watermark, and 1; 0 if that is not known, or too far.
	ahead := uint64(0)
	if e.Watermark > 0 {
		ahead = uint64(e.BaseOffset-e.Watermark) + 1
	}
	if ahead > aheadMax {
		ahead = 0
	}
	b[8], b[9], b[10], b[11] = byte(e.Kind), byte(ahead>>16), byte(ahead>>8), byte(ahead)
	be.PutUint32(b[12:], uint32(e.Partition.Partition))
	copy(b[16:32], e.Partition.Topic[:])
	be.PutUint64(b[32:], uint64(e.BaseOffset))
	// Offsets of a batch span at most 2^31, and sizes and positions stay below 2^31 (segmentBytesMax).
	be.PutUint32(b[40:], uint32(e.NextOffset-e.BaseOffset))
	be.PutUint32(b[44:], uint32(e.SizeBytes))
	be.PutUint64(b[48:], uint64(e.SegmentBase))
	be.PutUint64(b[56:], uint64(e.Position))
	be.PutUint32(b[64:], uint32(len(e.Payload)))
	be.PutUint32(b[68:], e.Index)
	be.PutUint64(b[72:], e.PayloadHash)
	be.PutUint64(b[80:], xxhash.Sum64(b[:80]))
}

// readEntry reads the entry that b begins with and returns what follows it. The header must check out
// and belong to group lsn at that index; whether the payload does is payloadOK's to say.
func readEntry(b []byte, lsn LSN, index uint32) (e entry, rest []byte, err error) {
	be := binary.BigEndian
	if len(b) < entryHeaderBytes || be.Uint64(b[80:]) != xxhash.Sum64(b[:80]) {
		return entry{}, nil, errEntry
	}
	e = entry{
		Kind: entryKind(b[8]), Index: be.Uint32(b[68:]), LSN: LSN(be.Uint64(b)),
		BaseOffset: model.Offset(be.Uint64(b[32:])), SegmentBase: model.Offset(be.Uint64(b[48:])),
		Position: int64(be.Uint64(b[56:])), SizeBytes: int64(be.Uint32(b[44:])), PayloadHash: be.Uint64(b[72:]),
	}
	e.NextOffset = e.BaseOffset + model.Offset(be.Uint32(b[40:]))
	e.Partition.Partition = model.Partition(be.Uint32(b[12:]))
	copy(e.Partition.Topic[:], b[16:32])
	if ahead := model.Offset(be.Uint32(b[8:]) & aheadMax); ahead > 0 && ahead <= e.BaseOffset {
		e.Watermark = e.BaseOffset - ahead + 1
	}
	n := uint64(be.Uint32(b[64:]))
	if e.LSN != lsn || e.Index != index || e.Kind == 0 || e.Kind >= entryKindCount || n > uint64(len(b)-entryHeaderBytes) {
		return entry{}, nil, errEntry
	}
	if e.BaseOffset < 0 || e.NextOffset < e.BaseOffset || e.SegmentBase < 0 || e.Position < 0 || e.Position > segmentBytesMax {
		return entry{}, nil, errEntry
	}
	if e.Kind == entryBatch && uint64(e.SizeBytes) != n {
		return entry{}, nil, errEntry
	}
	e.Payload = b[entryHeaderBytes : entryHeaderBytes+n : entryHeaderBytes+n]
	return e, b[entryHeaderBytes+n:], nil
}

// payloadOK reports whether b is the payload that the entry was written with.
func (e *entry) payloadOK(b []byte) bool { return xxhash.Sum64(b) == e.PayloadHash }
