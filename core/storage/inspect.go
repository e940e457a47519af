package storage

import (
	"errors"
	"fmt"
	"io"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// What follows reads a data directory's files for people, without an engine and without changing anything. The
// files may belong to a running node: what it is writing at the moment may look unfinished.

// ManifestPath, ManifestCopyPath and JournalDir are where they are in the engine's directory; PartitionsDir holds a
// directory for each partition.
const (
	ManifestPath     = manifestA
	ManifestCopyPath = manifestB
	JournalDir       = journalDir
	PartitionsDir    = partitionsDir
	MetaPath         = metaPath
)

// PartitionDir is the name of a partition's directory.
func PartitionDir(tp model.TopicPartition) string { return partitionDir(tp)[len(partitionsDir)+1:] }

// ParsePartitionDir reads the name of a partition's directory.
func ParsePartitionDir(name string) (model.TopicPartition, bool) { return parsePartitionDir(name) }

// ParseSegmentName reads a file name as Kafka and weir make them: 20 digits and a suffix.
func ParseSegmentName(name string) (base model.Offset, suffix string, ok bool) {
	return parseOffsetName(name)
}

// Manifest is what a checkpoint says.
type Manifest struct {
	Generation  uint64              `json:"generation"`
	Clean       bool                `json:"clean"`
	Epoch       uint32              `json:"epoch"`
	LSN         LSN                 `json:"lsn"`
	JournalFile uint64              `json:"journal_file"`
	JournalPos  int64               `json:"journal_position"`
	Partitions  []ManifestPartition `json:"-"`
}

// ManifestPartition is what a checkpoint says of a partition.
type ManifestPartition struct {
	Partition   model.TopicPartition `json:"-"`
	StartOffset model.Offset         `json:"start_offset"`
	EndOffset   model.Offset         `json:"end_offset"`
	Loose       bool                 `json:"loose,omitempty"`
	Damage      string               `json:"damage,omitempty"`
	Segments    []ManifestSegment    `json:"segments"`
}

// ManifestSegment is what a checkpoint says of a segment: so much of it is durable.
type ManifestSegment struct {
	Base      model.Offset `json:"base_offset"`
	SizeBytes int64        `json:"size_bytes"`
}

// ReadManifest reads one copy of the manifest.
func ReadManifest(b []byte) (*Manifest, error) {
	m, err := decodeManifest(b)
	if err != nil {
		return nil, err
	}
	out := &Manifest{
		Generation: m.Generation, Clean: m.Clean, Epoch: m.Epoch, LSN: m.LSN, JournalFile: m.JournalFile, JournalPos: m.JournalPos,
		Partitions: make([]ManifestPartition, len(m.Partitions)),
	}
	for i := range m.Partitions {
		p, to := &m.Partitions[i], &out.Partitions[i]
		*to = ManifestPartition{
			Partition: p.Partition, StartOffset: p.StartOffset, EndOffset: p.EndOffset, Loose: p.Loose, Damage: p.Damage,
		}
		for _, s := range p.Segments {
			to.Segments = append(to.Segments, ManifestSegment{s.Base, s.SizeBytes})
		}
	}
	return out, nil
}

// ReadIdentity reads the file that says whose directory it is.
func ReadIdentity(b []byte) (Identity, error) { return decodeMeta(b) }

// JournalGroup is one group of a journal, or a remark in the place of one.
type JournalGroup struct {
	Position int64          `json:"position"`
	LSN      LSN            `json:"lsn"`
	Bytes    uint32         `json:"bytes"`
	Kind     string         `json:"kind"` // entries, durable, failed
	Entries  []JournalEntry `json:"entries,omitempty"`
}

// JournalEntry is one entry of a group.
type JournalEntry struct {
	Partition   model.TopicPartition `json:"-"`
	Kind        string               `json:"kind"` // batch, in-place, log-start, delete, loose, truncate, start-at
	BaseOffset  model.Offset         `json:"base_offset"`
	NextOffset  model.Offset         `json:"next_offset"`
	SegmentBase model.Offset         `json:"segment"`
	Position    int64                `json:"position"`
	SizeBytes   int64                `json:"size_bytes"`
	Sound       bool                 `json:"sound"` // the payload has the hash that it was written with
}

var (
	groupKindNames = [...]string{groupEntries: "entries", groupMark: "durable", groupFailed: "failed"}
	entryKindNames = [...]string{
		entryBatch: "batch", entryInPlace: "in-place", entryLogStart: "log-start", entryDelete: "delete", entryLoose: "loose",
		entryTruncate: "truncate", entryStartAt: "start-at",
	}
)

// WalkJournal calls fn with every group of a journal file, in order, up to the first place without one: zeros, or
// what the file held in an earlier life. An error wraps ErrDamaged if a group is not whole although a later one
// follows it, which is written only after it was durable; else it is the reader's or fn's.
func WalkJournal(r io.ReaderAt, sizeBytes int64, fn func(*JournalGroup) error) error {
	var last groupHeader
	at := int64(0)
	fault, faultAt := "", int64(0)
	for at+groupHeaderBytes <= sizeBytes {
		h, body, why, err := readJournalGroup(r, at, sizeBytes)
		if err != nil {
			return err
		}
		if why == "no group" || last.LSN != 0 && (h.LSN != last.LSN+1 && h.LSN>>lsnCountBits == last.LSN>>lsnCountBits || h.LSN < last.LSN || h.File != last.File) {
			break
		}
		if why != "" {
			fault, faultAt = why, at
			at += int64(h.Padded)
			last = h
			continue
		}
		if fault != "" {
			return fmt.Errorf("%w: the group at %d: %s; the group at %d proves that it was durable", ErrDamaged, faultAt, fault, at)
		}
		g := JournalGroup{Position: at, LSN: h.LSN, Bytes: h.Bytes, Kind: groupKindNames[h.Kind], Entries: body}
		if err := fn(&g); err != nil {
			return err
		}
		if h.Kind != groupEntries {
			break // the place of the next group
		}
		last = h
		at += int64(h.Padded)
	}
	return nil
}

// readJournalGroup reads one group. why says what is wrong with it, "no group" if there is none.
func readJournalGroup(r io.ReaderAt, at, sizeBytes int64) (h groupHeader, entries []JournalEntry, why string, err error) {
	var b [groupHeaderBytes]byte
	if _, err := r.ReadAt(b[:], at); err != nil && !errors.Is(err, io.EOF) {
		return h, nil, "", err
	}
	if h, err = readGroupHeader(b[:]); err != nil || at+int64(h.Bytes) > sizeBytes {
		return h, nil, "no group", nil
	}
	body := make([]byte, h.Bytes)
	if _, err := r.ReadAt(body, at); err != nil && !errors.Is(err, io.EOF) {
		return h, nil, "", err
	}
	rest := body[groupHeaderBytes:]
	for i := uint32(0); i < h.Count; i++ {
		var n entry
		if n, rest, err = readEntry(rest, h.LSN, i); err != nil {
			return h, entries, fmt.Sprintf("entry %d: %v", i, err), nil
		}
		j := JournalEntry{
			Partition: n.Partition, Kind: entryKindNames[n.Kind], BaseOffset: n.BaseOffset, NextOffset: n.NextOffset,
			SegmentBase: n.SegmentBase, Position: n.Position, SizeBytes: n.SizeBytes, Sound: n.payloadOK(n.Payload),
		}
		if !j.Sound {
			why = fmt.Sprintf("entry %d: the payload does not have its hash", i)
		}
		entries = append(entries, j)
	}
	return h, entries, why, nil
}

// IndexEntry is one entry of a segment's offset index.
type IndexEntry struct {
	Offset   model.Offset `json:"offset"` // the last of the batch
	Position int64        `json:"position"`
}

// TimeIndexEntry is one entry of a segment's time index.
type TimeIndexEntry struct {
	Timestamp model.Timestamp `json:"timestamp_ms"`
	Offset    model.Offset    `json:"offset"`
}

// ReadIndex reads an offset index file. What is left over, or out of order, is an error beside the entries so far. A
// tail of zeros is what Kafka reserves.
func ReadIndex(b []byte, base model.Offset) ([]IndexEntry, error) {
	var out []IndexEntry
	x := cursor{b: b}
	for len(x.b) >= offsetEntryBytes {
		relative, position := int32(x.u32()), int32(x.u32())
		if relative == 0 && position == 0 && len(out) > 0 {
			return out, nil
		}
		if n := len(out); relative < 0 || position < 0 || n > 0 && (out[n-1].Offset >= base+model.Offset(relative) || out[n-1].Position >= int64(position)) {
			return out, fmt.Errorf("%w: entry %d is out of order", ErrFrame, n)
		}
		out = append(out, IndexEntry{base + model.Offset(relative), int64(position)})
	}
	if len(x.b) > 0 {
		return out, fmt.Errorf("%w: %d bytes behind the last entry", ErrFrame, len(x.b))
	}
	return out, nil
}

// ReadTimeIndex reads a time index file, as ReadIndex does.
func ReadTimeIndex(b []byte, base model.Offset) ([]TimeIndexEntry, error) {
	var out []TimeIndexEntry
	x := cursor{b: b}
	for len(x.b) >= timeEntryBytes {
		ts, relative := model.Timestamp(x.u64()), int32(x.u32())
		if ts == 0 && relative == 0 && len(out) > 0 {
			return out, nil
		}
		// Kafka closes a segment with an entry that may repeat the last one.
		if n := len(out); relative < 0 || n > 0 && (out[n-1].Timestamp > ts || out[n-1].Offset > base+model.Offset(relative)) {
			return out, fmt.Errorf("%w: entry %d is out of order", ErrFrame, n)
		}
		out = append(out, TimeIndexEntry{ts, base + model.Offset(relative)})
	}
	if len(x.b) > 0 {
		return out, fmt.Errorf("%w: %d bytes behind the last entry", ErrFrame, len(x.b))
	}
	return out, nil
}

// WalkSegment reads a segment file from its beginning and calls fn with each batch and its position; checked says
// whether its CRC is right. It returns where the batches end. What follows there, if anything, is in the error,
// which wraps ErrFrame; zeros to the end are nothing.
func WalkSegment(r io.Reader, fn func(position int64, h *record.Header, b record.Batch, crc error) error) (end int64, err error) {
	var buf []byte
	for {
		buf = growTo(buf, record.HeaderBytes)
		n, err := io.ReadFull(r, buf)
		if n == 0 && errors.Is(err, io.EOF) {
			return end, nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return end, err
		}
		if allZero(buf[:n]) {
			return end, restZero(r)
		}
		if err != nil {
			return end, fmt.Errorf("%w: %d bytes are left, too few for a batch", ErrFrame, n)
		}
		h, err := record.ReadHeader(buf)
		if err != nil {
			return end, fmt.Errorf("%w: %w", ErrFrame, err)
		}
		buf = growTo(buf, h.SizeBytes)
		if n, err := io.ReadFull(r, buf[record.HeaderBytes:]); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return end, err
			}
			return end, fmt.Errorf("%w: the batch has %d bytes, %d are there", ErrFrame, h.SizeBytes, record.HeaderBytes+n)
		}
		b := record.Batch(buf)
		if err := fn(end, &h, b, record.CheckCRC(b)); err != nil {
			return end, err
		}
		end += int64(h.SizeBytes)
	}
}

// growTo is b with length n and what it held.
func growTo(b []byte, n int) []byte {
	if cap(b) < n {
		b = append(make([]byte, 0, max(n, 2*cap(b))), b...)
	}
	return b[:n]
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func restZero(r io.Reader) error {
	b := make([]byte, 64<<10)
	for {
		n, err := r.Read(b)
		if !allZero(b[:n]) {
			return fmt.Errorf("%w: there is something behind zeros", ErrFrame)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}
