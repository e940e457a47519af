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

func (e *Engine) findInBatch(p *partition, s *segment, position int64, h record.Header, ts model.Timestamp, limit model.Offset) (record.Record, bool, error) {
	f, err := e.files.get(s)
	if err != nil {
		return record.Record{}, false, err
	}
	b := e.room(h.SizeBytes)
	if err := readFull(f, b, position); err != nil {
		return record.Record{}, false, s.fail(err)
	}
	if n, _, err := e.walk(p, s, b, position, h.BaseOffset, nil); err != nil || n != len(b) {
		return record.Record{}, false, errors.Join(errDamaged, err)
	}
	for r, err := range record.Records(b, &e.decode, 0) {
		if err != nil {
			return record.Record{}, false, fmt.Errorf("%w: %s at %d: %w", errDamaged, s.logPath(), position, err)
		}
		if r.Offset >= limit {
			break
		}
		if r.Timestamp >= ts && r.Offset >= p.start {
			return record.Record{Offset: r.Offset, Timestamp: r.Timestamp}, true, nil
		}
	}
	return record.Record{}, false, nil
}

// maxTimestamp is the greatest timestamp below limit. Only the segment that limit cuts is read.
func (e *Engine) maxTimestamp(p *partition, limit model.Offset) (model.Timestamp, error) {
	greatest := model.NoTimestamp
	for i, s := range p.segments {
		switch {
		case s.base >= limit:
			return greatest, nil
		case p.segmentEnd(i) <= limit:
			greatest = max(greatest, s.maxTS)
		default:
			position, want := int64(0), s.base
			for position < s.sizeBytes && want < limit {
				h, err := e.header(s, position, want)
				if err != nil {
					return greatest, err
				}
				greatest = max(greatest, h.MaxTimestamp)
				position, want = position+int64(h.SizeBytes), h.NextOffset()
			}
		}
	}
	return greatest, nil
}
