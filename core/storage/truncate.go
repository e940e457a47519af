package storage

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// A truncation drops the end of a log, or all of it. It is an entry of the journal like an append, in a group that
// holds nothing else of its log:
//
//	group 41                group 42          the sync of 42 ends            group 43
//	append 5, append 6 ──► truncate to 5 ──► files are cut and removed ──► append 5' in a segment of its own
//
// So the files keep everything until the truncation is durable, and nothing is written over what it dropped: a crash
// finds the log as it was or as it became. The segment that it cuts does not grow any more in this life: whoever is
// still being sent what was dropped gets that or nothing, never what took its place.

// truncation is what a staged opTruncate or opStartAt asks for, and what became of it.
type truncation struct {
	to model.Offset

	idle     bool // there is nothing to drop
	end      model.Offset
	base     model.Offset // of the first segment that is cut or dropped
	position int64        // what is left of it
	maxTS    model.Timestamp
	maxAt    model.Offset
	seg      *segment // that is cut
	removed  []*segment
	records  int64 // dropped, or the offsets that they took
}

// stageTruncate stages the truncation of a log to an offset, or its new beginning there.
func (e *Engine) stageTruncate(kind opKind, tp model.TopicPartition, to model.Offset, done *effect.Completions) {
	invariant.Check(to >= 0, "a log is truncated to an offset")
	p := e.partitions[tp]
	if p == nil || p.deleted {
		done.Truncated = append(done.Truncated, effect.Truncated{Partition: tp, NextOffset: model.NoOffset, Failure: effect.Missing})
		return
	}
	p.cutting++
	e.stage(op{kind: kind, p: p, cut: &truncation{to: to}})
}

// truncate takes a truncation into memory, just before it is journaled.
func (e *Engine) truncate(p *partition, o *op) {
	c := o.cut
	switch {
	case p.deleted:
		o.refused = effect.Missing
		return
	case p.damage != "":
		o.refused = effect.Broken
		return
	case o.kind == opStartAt || c.to < p.start:
		o.kind = opStartAt
		if len(p.segments) == 0 && p.start == c.to && p.end == c.to && p.state.Equal(log.New(c.to)) {
			c.idle = true
			break
		}
		e.cut(p, c, c.to, 0, log.New(c.to))
		p.start = c.to
	case c.to >= p.end:
		c.idle = true
	default:
		if err := e.truncateTo(p, c); err != nil {
			e.damaged(p, err.Error())
			o.refused = effect.Broken
			return
		}
	}
	c.end = p.end
	p.refusing, p.told = p.end != c.to, false
}

// truncateTo finds the place where the log is to end and cuts it there. Nothing is changed before all of it is known.
func (e *Engine) truncateTo(p *partition, c *truncation) error {
	i := p.find(c.to)
	s := p.segments[i]
	position, h, err := e.locate(p, s, c.to)
	if err != nil {
		return err
	}
	end := h.BaseOffset
	state := p.state.Clone()
	if doubtful := state.Truncate(end); len(doubtful) > 0 {
		if err := e.relearn(p, state, doubtful, end); err != nil {
			return err
		}
	}
	if end <= p.start {
		i, position = 0, 0 // what is left lies before the start
	}
	if position > 0 {
		if c.maxTS, c.maxAt, err = e.maxBefore(p, s, position, end); err != nil {
			return err
		}
		c.position = position
	}
	e.cut(p, c, end, i, state)
	return nil
}

// cut lets the log end at an offset: segments go from the i-th on, but for the first c.position bytes of that one.
func (e *Engine) cut(p *partition, c *truncation, end model.Offset, i int, state *log.State) {
	if c.records = int64(p.end - end); i == 0 && c.position == 0 {
		c.records = int64(p.end - p.start) // all there were, wherever it goes on
	}
	if i < len(p.segments) {
		s := p.segments[i]
		c.base = s.base
		if c.position > 0 {
			s.cut(c.position, end, c.maxTS, c.maxAt)
			c.seg = s
			i++
		}
	}
	e.window.seg = nil
	c.removed = slices.Clone(p.segments[i:])
	clear(p.segments[i:])
	p.segments = p.segments[:i]
	e.segmentCount -= len(c.removed)
	p.state, p.end, p.start = state, end, min(p.start, end)
	p.loose.from, p.loose.messages = model.NoOffset, 0
	if p.stateOffset > end {
		p.stateOffset = model.NoOffset
	}
	p.cuts++
	e.touch(p)
}

// cut makes the segment end at a position.
func (s *segment) cut(position int64, end model.Offset, maxTS model.Timestamp, maxAt model.Offset) {
	s.sizeBytes, s.maxTS, s.maxAt, s.closed = position, maxTS, maxAt, true
	if s.index != nil {
		s.index.cut(position, int64(end-s.base))
	}
}

// maxBefore is the greatest timestamp of a segment before a position, and the last offset of the batch that reached
// it first. The index spares most of the way.
func (e *Engine) maxBefore(p *partition, s *segment, position int64, end model.Offset) (ts model.Timestamp, at model.Offset, err error) {
	if s.maxAt < end {
		return s.maxTS, s.maxAt, nil
	}
	var from int64
	var want model.Offset
	for tries := 0; ; tries++ {
		ts, at, from, want = model.NoTimestamp, s.base, 0, s.base
		if ok := e.maxIndexed(p, s, end, &ts, &at, &from, &want); ok {
			break
		}
		if tries > 0 {
			return ts, at, fmt.Errorf("%w: %s: the time index leads to other batches", errDamaged, s.logPath())
		}
		if err := e.rebuildIndex(p, s); err != nil {
			return ts, at, err
		}
	}
	err = e.eachHeader(s, from, position, want, func(h *record.Header) error {
		if h.MaxTimestamp > ts {
			ts, at = h.MaxTimestamp, h.LastOffset()
		}
		return nil
	})
	return ts, at, err
}

// maxIndexed finds the greatest timestamp up to the last batch below end that has an index entry, and where that batch
// begins. It is false if the index leads to other batches.
func (e *Engine) maxIndexed(p *partition, s *segment, end model.Offset, ts *model.Timestamp, at *model.Offset, from *int64, want *model.Offset) bool {
	last, ok := s.index.floor(int64(end - 1 - s.base))
	if !ok {
		return true
	}
	n, ok := s.index.greatestTime(last.relative)
	if !ok {
		return true // nothing before it has a time, or the entry was lost: read all
	}
	_, reached, err := e.locate(p, s, s.base+model.Offset(n.relative))
	if err != nil || reached.MaxTimestamp != n.timestamp || reached.LastOffset() != s.base+model.Offset(n.relative) {
		return false
	}
	h, err := e.follow(s, last)
	if err != nil {
		return false
	}
	*ts, *at, *from, *want = n.timestamp, reached.LastOffset(), int64(last.position), h.BaseOffset
	return true
}

// eachHeader shows the headers of the batches in [from, to) of a segment, the first of which begins at offset want.
func (e *Engine) eachHeader(s *segment, from, to int64, want model.Offset, fn func(*record.Header) error) error {
	for from < to {
		h, err := e.header(s, from, want)
		if err != nil {
			return err
		}
		if err := fn(&h); err != nil {
			return err
		}
		from, want = from+int64(h.SizeBytes), h.NextOffset()
	}
	return nil
}

// relearnBytes is how far back relearn looks first.
const relearnBytes = 1 << 20

// relearn finds out what a log that is cut at end remembers of producers: from the last part of the segment before the
// end, then from more of it, and at last from all behind the newest snapshot. There is one where a segment begins.
func (e *Engine) relearn(p *partition, state *log.State, ids []model.ProducerID, end model.Offset) error {
	i := p.find(end - 1)
	if i < 0 {
		return e.relearnAll(p, state, ids, end)
	}
	s := p.segments[i]
	if err := e.indexed(p, s); err != nil {
		return err
	}
	stop, err := e.positionOf(p, s, end)
	if err != nil {
		return err
	}
	for back := int64(relearnBytes); back < stop; back *= 8 {
		n, ok := s.index.floorPosition(stop - back)
		if !ok {
			break
		}
		h, err := e.follow(s, n)
		if err != nil {
			break // the index is not to be relied on
		}
		tail := log.New(h.BaseOffset)
		if err := e.applyHeaders(s, int64(n.position), stop, h.BaseOffset, tail); err != nil {
			return err
		}
		var left []model.ProducerID
		for _, id := range ids {
			if tail.Whole(id) {
				state.Relearn(tail, []model.ProducerID{id})
			} else {
				left = append(left, id)
			}
		}
		if ids = left; len(ids) == 0 {
			return nil
		}
	}
	return e.relearnAll(p, state, ids, end)
}

// relearnAll reads the log from the newest sound snapshot on, or from its beginning.
func (e *Engine) relearnAll(p *partition, state *log.State, ids []model.ProducerID, end model.Offset) error {
	whole := log.New(p.segments[0].base)
	for i := len(p.states) - 1; i >= 0; i-- {
		if p.states[i] > end || p.states[i] < p.segments[0].base {
			continue
		}
		if s, err := loadState(e.disk, p.dir, p.states[i]); err == nil {
			whole = s
			break
		}
	}
	for i := 0; i < len(p.segments) && p.segments[i].base < end; i++ {
		s, from := p.segments[i], whole.EndOffset()
		if p.segmentEnd(i) <= from {
			continue
		}
		position, err := e.positionOf(p, s, from)
		if err != nil {
			return err
		}
		stop, err := e.positionOf(p, s, end)
		if err == nil {
			err = e.applyHeaders(s, position, stop, from, whole)
		}
		if err != nil {
			return err
		}
	}
	if whole.EndOffset() != end {
		return fmt.Errorf("%w: the log has offset %d where %d was expected", errDamaged, whole.EndOffset(), end)
	}
	state.Relearn(whole, ids)
	return nil
}

// positionOf is where in a segment the batch begins that an offset is the first of, or where the segment ends.
func (e *Engine) positionOf(p *partition, s *segment, o model.Offset) (int64, error) {
	if o >= e.endOf(p, s) {
		return s.sizeBytes, nil
	}
	position, h, err := e.locate(p, s, o)
	if err == nil && h.BaseOffset != o {
		err = fmt.Errorf("%w: %s: no batch begins at %d", errDamaged, s.logPath(), o)
	}
	return position, err
}

// applyHeaders applies the batches in [from, to) of a segment to a state.
func (e *Engine) applyHeaders(s *segment, from, to int64, want model.Offset, state *log.State) error {
	return e.eachHeader(s, from, to, want, func(h *record.Header) error {
		if h.LeaderEpoch < state.LeaderEpoch() {
			return fmt.Errorf("%w: %s: leader epoch %d after %d", errDamaged, s.logPath(), h.LeaderEpoch, state.LeaderEpoch())
		}
		state.Apply(*h)
		return nil
	})
}

// entry is what the journal says of a truncation: where the log ends, and where in which segment.
func (o *op) truncateEntry() entry {
	c := o.cut
	n := entry{Kind: entryTruncate, Partition: o.p.tp, BaseOffset: c.end, NextOffset: c.end, SegmentBase: c.base, Position: c.position}
	if o.kind == opStartAt {
		n.Kind, n.SegmentBase = entryStartAt, c.end
	}
	if c.position > 0 {
		n.Payload = binary.BigEndian.AppendUint64(nil, uint64(c.maxTS))
		n.Payload = binary.BigEndian.AppendUint64(n.Payload, uint64(c.maxAt))
	}
	return n
}

const truncatePayloadBytes = 16

// greatest reads the payload of a truncation that cuts a segment: its greatest timestamp now, and where it is.
func (e *entry) greatest() (ts model.Timestamp, at model.Offset, ok bool) {
	if len(e.Payload) != truncatePayloadBytes {
		return 0, 0, false
	}
	ts = model.Timestamp(binary.BigEndian.Uint64(e.Payload))
	at = model.Offset(binary.BigEndian.Uint64(e.Payload[8:]))
	return ts, at, ts >= model.NoTimestamp && at >= e.SegmentBase && at < e.BaseOffset
}

// finishTruncate cuts and removes the files of what a durable truncation dropped, and reports it. A log whose files
// cannot be cut takes nothing more: what stays there could be taken for what is written next.
func (e *Engine) finishTruncate(o *op, done *effect.Completions) {
	p, c := o.p, o.cut
	p.cutting--
	if !c.idle {
		if err := e.dropTail(p, o); err != nil {
			e.damaged(p, err.Error())
		}
		e.checkpoint.blocked = false
		if c.records > 0 {
			e.note(effect.Note{Kind: effect.NoteTruncated, Partition: p.tp, Offset: c.end, Count: c.records})
		}
	}
	out := effect.Truncated{Partition: p.tp, NextOffset: c.end}
	if p.damage == "" {
		out.State = p.state.Clone()
	} else {
		out.Failure = effect.Broken
	}
	done.Truncated = append(done.Truncated, out)
}

func (e *Engine) dropTail(p *partition, o *op) error {
	c := o.cut
	p.names++
	e.touch(p)
	for _, s := range c.removed {
		if err := e.removeSegment(s); err != nil {
			return err
		}
	}
	for n := len(p.states); n > 0 && (p.states[n-1] > c.end || o.kind == opStartAt); n-- {
		if err := removeIfThere(e.disk, statePath(p.dir, p.states[n-1])); err != nil {
			return err
		}
		p.states = p.states[:n-1]
	}
	s := c.seg
	if s == nil {
		return nil
	}
	f, err := e.files.get(s)
	if err == nil {
		err = f.Truncate(s.sizeBytes)
	}
	if err != nil {
		return s.fail(err)
	}
	s.dirty = true
	return e.renewIndex(s)
}

// renewIndex writes a segment's index to new files: what a crash leaves of those that it had may lead to what was
// dropped, and look right when the segment has grown again.
func (e *Engine) renewIndex(s *segment) error {
	for _, suffix := range [...]string{indexSuffix, timeIndexSuffix} {
		if err := removeIfThere(e.disk, s.path+suffix); err != nil {
			return err
		}
	}
	if x := s.index; x != nil {
		x.saved, x.savedTimes, x.exact = 0, 0, true
		// An index that cannot be written is rebuilt when it is needed.
		_ = x.save(e.disk, s.path)
	}
	return nil
}

// refuseTruncate reports a truncation that did not happen.
func (e *Engine) refuseTruncate(o *op, done *effect.Completions) {
	p := o.p
	p.cutting--
	out := effect.Truncated{Partition: p.tp, NextOffset: p.end, Failure: o.refused}
	if o.refused == effect.DiskFull {
		out.State = p.state.Clone()
	}
	done.Truncated = append(done.Truncated, out)
}
