package storage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Check verifies the engine's invariants against the disk. It reads every segment: tests and the
// simulator call it on small data.
func (e *Engine) Check() error { return e.CheckBut(nil) }

// CheckBut is Check without the logs of partitions whose disk is known to have lost something. Damage before the log
// start is nobody's concern, so the engine does not know of it, and what the log amounts to cannot be had
// without reading there.
func (e *Engine) CheckBut(lost func(model.TopicPartition) bool) error {
	if len(e.sorted) != len(e.partitions) {
		return fmt.Errorf("%d partitions sorted, %d known", len(e.sorted), len(e.partitions))
	}
	segments, open := 0, 0
	for i, p := range e.sorted {
		if i > 0 && e.sorted[i-1].tp.Compare(p.tp) >= 0 {
			return fmt.Errorf("%v: out of order", p.tp)
		}
		if e.partitions[p.tp] != p {
			return fmt.Errorf("%v: not known by its name", p.tp)
		}
		e.see(p)
		segments += len(p.segments)
		for _, s := range p.segments {
			if s.linked {
				open++
			}
		}
		if p.damage != "" || lost != nil && lost(p.tp) {
			continue
		}
		if err := e.checkPartition(p); err != nil {
			return fmt.Errorf("%v: %w", p.tp, err)
		}
	}
	if segments != e.segmentCount {
		return fmt.Errorf("%d segments, %d counted", segments, e.segmentCount)
	}
	return e.checkJournal()
}

func (e *Engine) checkJournal() error {
	j := &e.journal
	if j.durable > j.last || j.marked > j.durable {
		return fmt.Errorf("journal groups: last %x, durable %x, marked %x", j.last, j.durable, j.marked)
	}
	if j.file != nil && j.pos+int64(len(j.block)) > j.zeroed {
		return fmt.Errorf("journal file %d: position %d, %d bytes ready", j.seq, j.pos, j.zeroed)
	}
	for i, l := range j.live {
		if l.seq >= j.seq || i > 0 && (j.live[i-1].seq >= l.seq || j.live[i-1].last >= l.last) {
			return fmt.Errorf("journal file %d: out of order", l.seq)
		}
		if slices.Contains(j.free, l.seq) {
			return fmt.Errorf("journal file %d: live and free", l.seq)
		}
	}
	return nil
}

func (e *Engine) checkPartition(p *partition) error {
	if p.start > p.end || p.state.StartOffset() != p.start || p.state.EndOffset() != p.end {
		return fmt.Errorf("log [%d,%d), state [%d,%d)", p.start, p.end, p.state.StartOffset(), p.state.EndOffset())
	}
	if err := p.state.Check(); err != nil {
		return err
	}
	if len(p.segments) == 0 {
		if p.start != p.end {
			return fmt.Errorf("log [%d,%d) without segments", p.start, p.end)
		}
		return nil
	}
	if p.segments[0].base > p.start || p.segmentEnd(0) <= p.start {
		return fmt.Errorf("log starts at %d, its first segment holds [%d,%d)", p.start, p.segments[0].base, p.segmentEnd(0))
	}
	derived := log.New(p.segments[0].base)
	for i, s := range p.segments {
		before := derived.Clone()
		err := e.checkSegment(p, s, p.segmentEnd(i), derived)
		if errors.Is(err, errIndex) && s.trustFrom > 0 {
			// A power loss may leave an older index, which whoever comes upon it rebuilds.
			if err = e.rebuildIndex(p, s); err == nil {
				derived = before
				err = e.checkSegment(p, s, p.segmentEnd(i), derived)
			}
		}
		if err != nil {
			return err
		}
	}
	// Producers and epochs of records that retention removed are known to the state only.
	for o := p.start; o < p.end; {
		h := derived.EpochOf(o)
		if p.state.EpochOf(o) != h {
			return fmt.Errorf("state has leader epoch %d at offset %d, the log has %d", p.state.EpochOf(o), o, h)
		}
		_, end := derived.EpochEnd(h)
		o = max(end, o+1)
	}
	if p.start == 0 && p.segments[0].base == 0 && !p.state.RemembersOf(derived) {
		return errors.New("state differs from what the log amounts to")
	}
	return nil
}

func (e *Engine) checkSegment(p *partition, s *segment, end model.Offset, derived *log.State) error {
	f, err := e.files.get(s)
	if err != nil {
		return err
	}
	n, err := f.SizeBytes()
	if uncut := s.closed && p.cutting > 0 && n > s.sizeBytes; err != nil || n != s.sizeBytes && !uncut {
		return fmt.Errorf("%s: %d bytes, %d expected (%w)", s.logPath(), n, s.sizeBytes, err)
	}
	if s.file != nil && !s.linked || s.removed {
		return fmt.Errorf("%s: open but not among the open files, or removed", s.logPath())
	}
	if err := e.indexed(p, s); err != nil {
		return err
	}
	x := s.index
	maxTS, nextEntry, next := model.NoTimestamp, 0, s.base
	var position int64
	var fault error
	err = e.walkFile(p, s, 0, s.sizeBytes, s.base, func(b record.Batch) bool {
		h, _ := record.ReadHeader(b)
		derived.Apply(h)
		maxTS = max(maxTS, h.MaxTimestamp)
		if nextEntry < len(x.offsets) && int64(x.offsets[nextEntry].position) == position {
			if x.offsets[nextEntry].relative != int32(h.LastOffset()-s.base) {
				fault = fmt.Errorf("%w: %s: entry %d names offset %d, the batch ends at %d", errIndex, s.logPath(), nextEntry,
					s.base+model.Offset(x.offsets[nextEntry].relative), h.LastOffset())
			}
			nextEntry++
		}
		position += int64(h.SizeBytes)
		next = h.NextOffset()
		return fault == nil
	})
	switch {
	case err != nil || fault != nil:
		return errors.Join(err, fault)
	case nextEntry != len(x.offsets):
		return fmt.Errorf("%w: %s: entry %d leads to position %d, where no batch begins", errIndex, s.logPath(), nextEntry, x.offsets[nextEntry].position)
	case next != end:
		return fmt.Errorf("%s: ends at offset %d, not %d", s.logPath(), next, end)
	case maxTS != s.maxTS:
		return fmt.Errorf("%s: greatest timestamp %d, known as %d", s.logPath(), maxTS, s.maxTS)
	}
	return nil
}
