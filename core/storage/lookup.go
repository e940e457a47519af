package storage

import (
	"errors"
	"fmt"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// lookup answers by reading the records themselves: the time index only says where to begin.
func (e *Engine) lookup(l *effect.Lookup, done *effect.Completions) {
	out := effect.LookedUp{
		To: l.To, Index: l.Index, Partition: l.Partition, Offset: model.NoOffset, Timestamp: model.NoTimestamp,
	}
	p := e.partitions[l.Partition]
	if p != nil {
		e.see(p)
	}
	switch {
	case p == nil || p.gone:
		out.Failure = effect.Missing
	case p.damage != "":
		out.Failure = effect.Broken
	default:
		r, found, err := e.find(p, l)
		switch {
		case err != nil:
			e.damaged(p, err.Error())
			out.Failure = effect.Broken
		case found:
			out.Offset, out.Timestamp = r.Offset, r.Timestamp
		}
	}
	done.LookedUp = append(done.LookedUp, out)
}

func (e *Engine) find(p *partition, l *effect.Lookup) (record.Record, bool, error) {
	limit := min(l.Limit, p.end)
	ts := l.Timestamp
	if ts == effect.MaxTimestamp {
		var err error
		if ts, err = e.maxTimestamp(p, limit); err != nil || ts == model.NoTimestamp {
			return record.Record{}, false, err
		}
	}
	for _, s := range p.segments {
		if s.base >= limit {
			break
		}
		if s.maxTS < ts {
			continue
		}
		r, found, err := e.findInSegment(p, s, ts, limit)
		if err != nil || found {
			return r, found, err
		}
	}
	return record.Record{}, false, nil
}

// findInSegment is the first record of a segment at or after ts, at or after the log start and below
// limit.
func (e *Engine) findInSegment(p *partition, s *segment, ts model.Timestamp, limit model.Offset) (record.Record, bool, error) {
	position, h, err := e.locateTime(p, s, ts)
	if err == nil && h.NextOffset() <= p.start {
		position, h, err = e.locate(p, s, p.start)
	}
	for err == nil && h.BaseOffset < limit {
		if h.MaxTimestamp >= ts && h.NextOffset() > p.start {
			r, found, err := e.findInBatch(p, s, position, h, ts, limit)
			if err != nil || found {
				return r, found, err
			}
		}
		if position += int64(h.SizeBytes); position >= s.sizeBytes {
			break
		}
		h, err = e.header(s, position, h.NextOffset())
	}
	return record.Record{}, false, err
}

// locateTime is a batch with nothing at or after ts before it. A time entry that does not name its batch
// has the index rebuilt.
func (e *Engine) locateTime(p *partition, s *segment, ts model.Timestamp) (int64, record.Header, error) {
	if err := e.indexed(p, s); err != nil {
		return 0, record.Header{}, err
	}
	for range 2 {
		n, ok := s.index.floorTime(ts - 1)
		if !ok {
			h, err := e.header(s, 0, s.base)
			return 0, h, err
		}
		if last := s.base + model.Offset(n.relative); last < e.endOf(p, s) {
			position, h, err := e.locate(p, s, last)
			if err != nil || h.MaxTimestamp == n.timestamp && h.LastOffset() == last {
				return position, h, err
			}
		}
		if err := e.rebuildIndex(p, s); err != nil {
			return 0, record.Header{}, err
		}
	}
	return 0, record.Header{}, fmt.Errorf("%w: %s: time %d cannot be found", errDamaged, s.logPath(), ts)
}

func (e *Engine) findInBatch(p *partition, s *segment, position int64, h record.Header, ts model.Timestamp, limit model.Offset) (found record.Record, ok bool, err error) {
	err = e.eachRecord(p, s, position, h, func(r *record.Record) bool {
		if r.Offset < limit && r.Offset >= p.start && r.Timestamp >= ts {
			found, ok = record.Record{Offset: r.Offset, Timestamp: r.Timestamp}, true
		}
		return !ok && r.Offset < limit
	})
	return found, ok, err
}

// eachRecord reads the batch h at a position, checks it, and shows its records until fn has seen enough.
func (e *Engine) eachRecord(p *partition, s *segment, position int64, h record.Header, fn func(*record.Record) bool) error {
	f, err := e.files.get(s)
	if err != nil {
		return err
	}
	b := e.room(h.SizeBytes)
	if err := readFull(f, b, position); err != nil {
		return s.fail(err)
	}
	if n, _, err := e.walk(p, s, b, position, h.BaseOffset, nil); err != nil || n != len(b) {
		return errors.Join(errDamaged, err)
	}
	defer e.decode.Release()
	for r, err := range record.Records(b, &e.decode, 0) {
		if err != nil {
			return fmt.Errorf("%w: %s at %d: %w", errDamaged, s.logPath(), position, err)
		}
		if !fn(&r) {
			break
		}
	}
	return nil
}

// maxTimestamp is the greatest timestamp at or after the log start and below limit. Only a segment that one of
// the two cuts is read.
func (e *Engine) maxTimestamp(p *partition, limit model.Offset) (model.Timestamp, error) {
	greatest := model.NoTimestamp
	for i, s := range p.segments {
		from, to := max(s.base, p.start), min(p.segmentEnd(i), limit)
		if from >= to {
			continue
		}
		ts := s.maxTS
		if from > s.base || to < p.segmentEnd(i) {
			var err error
			if ts, err = e.maxWithin(p, s, from, to); err != nil {
				return greatest, err
			}
		}
		greatest = max(greatest, ts)
	}
	return greatest, nil
}

// maxWithin is the greatest timestamp of a segment in [from, to). The time index spares the way to an end that
// is cut; a beginning that is cut, by DeleteRecords, is read from there.
func (e *Engine) maxWithin(p *partition, s *segment, from, to model.Offset) (model.Timestamp, error) {
	if s.maxAt >= from && s.maxAt < to {
		_, h, err := e.locate(p, s, s.maxAt)
		if err != nil || h.BaseOffset >= from {
			return s.maxTS, err
		}
	}
	greatest, at := model.NoTimestamp, from
	if from == s.base {
		t, err := e.timeBefore(p, s, to)
		if err != nil {
			return greatest, err
		}
		if t.relative > 0 {
			greatest, at = t.timestamp, s.base+model.Offset(t.relative)
		}
	}
	position, h, err := e.locate(p, s, at)
	for err == nil && h.BaseOffset < to {
		ts := h.MaxTimestamp
		if h.BaseOffset < from {
			ts = model.NoTimestamp
			err = e.eachRecord(p, s, position, h, func(r *record.Record) bool {
				if r.Offset >= from {
					ts = max(ts, r.Timestamp)
				}
				return true
			})
		}
		greatest = max(greatest, ts)
		if position += int64(h.SizeBytes); err != nil || position >= s.sizeBytes {
			break
		}
		h, err = e.header(s, position, h.NextOffset())
	}
	return greatest, err
}

// timeBefore is the greatest timestamp that the time index knows of below an offset, and the last indexed
// offset that it takes into account; zero if there is none.
func (e *Engine) timeBefore(p *partition, s *segment, to model.Offset) (timeEntry, error) {
	if err := e.indexed(p, s); err != nil {
		return timeEntry{}, err
	}
	for range 2 {
		last, ok := s.index.floor(int64(to - 1 - s.base))
		if !ok {
			return timeEntry{}, nil
		}
		n, ok := s.index.greatestTime(last.relative)
		if !ok {
			return timeEntry{model.NoTimestamp, last.relative}, nil
		}
		_, h, err := e.locate(p, s, s.base+model.Offset(n.relative))
		if err != nil {
			return timeEntry{}, err
		}
		if h.MaxTimestamp == n.timestamp && h.LastOffset() == s.base+model.Offset(n.relative) {
			return timeEntry{n.timestamp, last.relative}, nil
		}
		if err := e.rebuildIndex(p, s); err != nil {
			return timeEntry{}, err
		}
	}
	return timeEntry{}, fmt.Errorf("%w: %s: the time index leads to other batches", errDamaged, s.logPath())
}
