package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weirmq/weir/core/model"
)

// A manifest is what a checkpoint writes down: for every partition with something on disk, the segments
// and how much of each is durable, and from where on the journal is needed to know more. Two files hold
// it, written one after the other, each synced before the next step: a crash can tear only one, and a
// single rotten file is not the end.
const (
	manifestMagic = 0x574d414e // "WMAN"
	manifestA     = "checkpoint.a"
	manifestB     = "checkpoint.b"

	manifestPartitionBytes = 16 + 4 + 1 + 8 + 8 + 8 + 4 + 2 + 4
	manifestSegmentBytes   = 8 + 8 + 8 + 8 + 8
)

type manifest struct {
	Generation  uint64
	Clean       bool   // written by Close: there is nothing in the journal
	Epoch       uint32 // of the engine that wrote it
	LSN         LSN    // groups up to this one are in the segments, durably
	JournalFile uint64 // where the next group is, or in the file after it
	JournalPos  int64
	Partitions  []manifestPartition
}

type manifestPartition struct {
	Partition   model.TopicPartition
	StartOffset model.Offset
	EndOffset   model.Offset
	// The state is here if it is small, or else in the snapshot at StateOffset. With neither, recovery
	// reads it off the log.
	State       []byte
	StateOffset model.Offset // NoOffset if there is none
	Damage      string
	// HighWatermark is how far the log was known to be committed; 0 if it was not.
	HighWatermark model.Offset
	Loose         bool // there may be batches behind EndOffset that the journal does not know of
	Segments      []manifestSegment
}

type manifestSegment struct {
	Base           model.Offset
	SizeBytes      int64
	FirstTimestamp model.Timestamp // of its first batch: rolling by time counts from it
	MaxTimestamp   model.Timestamp
	MaxTimestampAt model.Offset // the last offset of the batch that first reached it
}

func (m *manifest) appendTo(dst []byte) []byte {
	be := binary.BigEndian
	dst = beginFrame(dst, manifestMagic, FormatVersion)
	dst = be.AppendUint64(dst, m.Generation)
	dst = append(dst, flag(m.Clean))
	dst = be.AppendUint32(dst, m.Epoch)
	dst = be.AppendUint64(dst, uint64(m.LSN))
	dst = be.AppendUint64(dst, m.JournalFile)
	dst = be.AppendUint64(dst, uint64(m.JournalPos))
	dst = be.AppendUint32(dst, uint32(len(m.Partitions)))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		dst = append(dst, p.Partition.Topic[:]...)
		dst = be.AppendUint32(dst, uint32(p.Partition.Partition))
		flags := flag(p.Loose)
		if p.HighWatermark > 0 {
			flags |= flagWatermark
		}
		dst = append(dst, flags)
		dst = be.AppendUint64(dst, uint64(p.StartOffset))
		dst = be.AppendUint64(dst, uint64(p.EndOffset))
		dst = be.AppendUint64(dst, uint64(p.StateOffset))
		if p.HighWatermark > 0 {
			dst = be.AppendUint64(dst, uint64(p.HighWatermark))
		}
		dst = be.AppendUint32(dst, uint32(len(p.State)))
		dst = append(dst, p.State...)
		damage := p.Damage[:min(len(p.Damage), damageDetailBytes)]
		dst = be.AppendUint16(dst, uint16(len(damage)))
		dst = append(dst, damage...)
		dst = be.AppendUint32(dst, uint32(len(p.Segments)))
		for _, s := range p.Segments {
			dst = be.AppendUint64(dst, uint64(s.Base))
			dst = be.AppendUint64(dst, uint64(s.SizeBytes))
			dst = be.AppendUint64(dst, uint64(s.FirstTimestamp))
			dst = be.AppendUint64(dst, uint64(s.MaxTimestamp))
			dst = be.AppendUint64(dst, uint64(s.MaxTimestampAt))
		}
	}
	return endFrame(dst)
}

// A partition's flags. A manifest of a build that knew of no high watermark has the first only.
const (
	flagLoose     byte = 1 << 0
	flagWatermark byte = 1 << 1
)

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func decodeManifest(b []byte) (*manifest, error) {
	body, err := openFrame(b, manifestMagic)
	if err != nil {
		return nil, err
	}
	c := cursor{b: body}
	m := &manifest{Generation: c.u64()}
	if clean := c.take(1); clean != nil {
		m.Clean = clean[0] != 0
	}
	m.Epoch, m.LSN, m.JournalFile, m.JournalPos = c.u32(), LSN(c.u64()), c.u64(), int64(c.u64())
	count := int(c.u32())
	if c.bad || count > len(c.b)/manifestPartitionBytes {
		return nil, fmt.Errorf("%w: partition count", ErrFrame)
	}
	m.Partitions = make([]manifestPartition, count)
	for i := range m.Partitions {
		p := &m.Partitions[i]
		copy(p.Partition.Topic[:], c.take(16))
		p.Partition.Partition = model.Partition(c.u32())
		watermark := false
		if flags := c.take(1); flags != nil {
			p.Loose, watermark = flags[0]&flagLoose != 0, flags[0]&flagWatermark != 0
		}
		p.StartOffset, p.EndOffset, p.StateOffset = model.Offset(c.u64()), model.Offset(c.u64()), model.Offset(c.u64())
		if watermark {
			p.HighWatermark = model.Offset(c.u64())
		}
		p.State = c.take(int(c.u32()))
		p.Damage = string(c.take(int(c.u16())))
		segments := int(c.u32())
		if c.bad || segments > len(c.b)/manifestSegmentBytes {
			return nil, fmt.Errorf("%w: segment count", ErrFrame)
		}
		p.Segments = make([]manifestSegment, segments)
		for k := range p.Segments {
			p.Segments[k] = manifestSegment{
				Base: model.Offset(c.u64()), SizeBytes: int64(c.u64()), FirstTimestamp: model.Timestamp(c.u64()),
				MaxTimestamp: model.Timestamp(c.u64()), MaxTimestampAt: model.Offset(c.u64()),
			}
		}
		if err := p.check(); err != nil {
			return nil, err
		}
		if i > 0 && m.Partitions[i-1].Partition.Compare(p.Partition) >= 0 {
			return nil, fmt.Errorf("%w: partitions out of order", ErrFrame)
		}
	}
	if c.bad || len(c.b) > 0 || m.JournalPos < 0 || m.Epoch >= 1<<(64-lsnCountBits) {
		return nil, fmt.Errorf("%w: fields", ErrFrame)
	}
	return m, nil
}

// check refuses what would break the engine's own invariants.
func (p *manifestPartition) check() error {
	if p.StartOffset < 0 || p.StartOffset > p.EndOffset || p.StateOffset < model.NoOffset || p.StateOffset > p.EndOffset ||
		p.HighWatermark < 0 || p.HighWatermark > p.EndOffset {
		return fmt.Errorf("%w: %v: offsets", ErrFrame, p.Partition)
	}
	for k, s := range p.Segments {
		if s.Base < 0 || s.Base > p.EndOffset || s.SizeBytes <= 0 || s.SizeBytes > segmentBytesMax ||
			k > 0 && s.Base <= p.Segments[k-1].Base {
			return fmt.Errorf("%w: %v: segment %d", ErrFrame, p.Partition, s.Base)
		}
	}
	return nil
}

// loadManifest reads both copies and returns the newer sound one. A copy that is missing or unsound is
// told in notes: a crash in the middle of a checkpoint leaves such, and so does rot.
func loadManifest(disk Disk) (m *manifest, newer string, notes []string, err error) {
	var errs []error
	for _, path := range [...]string{manifestA, manifestB} {
		b, err := readFile(disk, path)
		var got *manifest
		if err == nil {
			if got, err = decodeManifest(b); err != nil {
				err = fmt.Errorf("%s: %w", path, err)
			}
		}
		if err != nil {
			errs = append(errs, err)
			notes = append(notes, fmt.Sprintf("%v; the other copy was used", err))
			continue
		}
		if m == nil || got.Generation > m.Generation {
			m, newer = got, path
		}
	}
	if m == nil {
		return nil, "", nil, errors.Join(errs...)
	}
	return m, newer, notes, nil
}
