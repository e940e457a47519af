package storage

import (
	"fmt"
	"math"
	"time"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// A partition is loose when its topic asks for Kafka's trade (flush.messages above 1): its batches are reported
// when they are written to the segment. They are not in the journal, and synced in the background: when the
// configuration says, with the next checkpoint, or when a batch must be durable again.
//
//	         first append        its entry is durable          flush, checkpoint
//	strict ───────────────► marking ──────────────────► loose ◄──────────────────┐
//	  ▲                     (journaled as ever)           │ appends: written, reported, unsynced
//	  └── a checkpoint with nothing loose since the last ─┴──────────────────────┘
//
// So that recovery knows whose segments to search for batches that the journal lacks, a journal entry or the
// manifest says it of the partition first. It takes from the disk what follows on what is known, batch by batch,
// as long as they check out, and cuts the rest: a suffix is lost, no hole is left, nothing else is served.
type loose struct {
	marked  bool // something durable says that there may be more than the journal knows
	marking bool // the entry that says so is staged, or being synced
	written bool // it is in the journal
	group   LSN  // where
	used    bool // batches were written so since the last manifest was begun

	from     model.Offset // what begins here is neither journaled nor known to be synced; NoOffset if nothing does
	messages int64        // written since a flush was last asked for
	flushing bool         // a flush is staged, or being synced
	flushTo  model.Offset // what the sync under way covers; NoOffset without one
	due      model.Time   // when flush.ms has passed
	timed    bool         // in the engine's list of those that have a due time
}

// isLoose reports whether a configuration relaxes durability.
func isLoose(c *effect.LogConfig) bool { return c.FlushMessages > 1 && c.FlushMs > 0 }

// flushMs is the configured limit in nanoseconds; ok is false if there is none to speak of.
func flushAfter(c *effect.LogConfig) (d model.Time, ok bool) {
	if c.FlushMs > math.MaxInt64/int64(time.Millisecond)/2 {
		return 0, false
	}
	return model.Time(c.FlushMs) * model.Time(time.Millisecond), true
}

// writesLoose reports whether the partition's next append may be written at once. What is staged before it comes
// first. A new leader epoch goes through the journal: a batch's checksum does not cover it, and recovery takes
// up none that it does not know.
func (e *Engine) writesLoose(p *partition, epoch model.LeaderEpoch) bool {
	l, j := &p.loose, &e.journal
	if !isLoose(&p.config) || !l.marked || p.staged > 0 || p.cutting > 0 || p.state.LeaderEpoch() != epoch || e.fatal != nil {
		return false
	}
	// Recovery must see that the entry was durable. There is no group under way if the entry's is the last.
	return j.last > l.group || j.marked >= l.group || j.mark() == nil
}

// appendLoose writes a run of appends to one partition and reports it.
func (e *Engine) appendLoose(p *partition, ops []op, done *effect.Completions) {
	e.see(p)
	e.run.reset()
	for i := range ops {
		e.place(p, &ops[i])
	}
	e.writeRun(p)
	written := model.NoOffset
	for i := range ops {
		o := &ops[i]
		if o.refused != effect.OK {
			e.reportRefusedAppend(o, done)
			continue
		}
		if p.loose.from == model.NoOffset {
			p.loose.from = o.base
		}
		written = o.header.NextOffset()
		p.loose.messages += int64(written - o.base)
		e.sinceBytes += int64(len(o.batch))
	}
	if written == model.NoOffset {
		return
	}
	p.loose.used = true
	done.Appended = append(done.Appended, effect.Appended{Partition: p.tp, NextOffset: written})
	if p.loose.messages >= p.config.FlushMessages {
		e.flush(p)
	} else if _, ok := flushAfter(&p.config); ok && !p.loose.timed {
		p.loose.timed, p.loose.due = true, 0
		e.timed = append(e.timed, p)
		e.flushAt = 1
	}
}

// flush stages a sync of what is loose.
func (e *Engine) flush(p *partition) {
	if p.loose.flushing || p.gone || p.loose.from == model.NoOffset {
		return
	}
	p.loose.flushing, p.loose.messages = true, 0
	e.stage(op{kind: opFlush, p: p})
}

// mark stages the journal entry that allows a partition to be loose.
func (e *Engine) mark(p *partition) {
	if isLoose(&p.config) && !p.loose.marked && !p.loose.marking {
		p.loose.marking = true
		e.stage(op{kind: opMark, p: p})
	}
}

// Tick tells the engine the time, which flush.ms is measured by: it stages the flushes that are due. Call it in
// every turn, and at the Deadline.
func (e *Engine) Tick(now model.Time) {
	e.now = now
	if e.flushAt == 0 || now < e.flushAt {
		return
	}
	e.flushAt = 0
	kept := e.timed[:0]
	for _, p := range e.timed {
		after, ok := flushAfter(&p.config)
		if p.gone || p.damage != "" || p.loose.from == model.NoOffset || !ok {
			p.loose.timed = false
			continue
		}
		if p.loose.due == 0 {
			p.loose.due = now + after
		}
		if now >= p.loose.due {
			p.loose.timed = false
			e.flush(p)
			continue
		}
		kept = append(kept, p)
		if e.flushAt == 0 || p.loose.due < e.flushAt {
			e.flushAt = p.loose.due
		}
	}
	clear(e.timed[len(kept):])
	e.timed = kept
}

// Deadline is when Tick has something to do, 0 for never.
func (e *Engine) Deadline() model.Time { return e.flushAt }

// cover adds to the sync that is being drawn up what is loose of a partition.
func (e *Engine) cover(p *partition) error {
	l := &p.loose
	if l.from == model.NoOffset || l.flushTo != model.NoOffset {
		return nil
	}
	for i := max(0, p.find(l.from)); i < len(p.segments); i++ {
		if s := p.segments[i]; s.pins == 0 || !e.work.has(s) {
			if err := e.work.addSegment(&e.files, s); err != nil {
				return err
			}
		}
	}
	e.work.addNames(e, p)
	l.flushTo, l.messages = p.end, 0
	return nil
}

// settled takes in that everything of a loose partition below an offset is durable.
func (p *partition) settled(to model.Offset) {
	switch l := &p.loose; {
	case l.from == model.NoOffset || to <= l.from:
	case to >= p.end:
		l.from = model.NoOffset
	default:
		l.from = to
	}
}

// manifestLoose says whether a manifest that is being begun must allow for batches which the journal lacks, and
// makes the partition strict again if there have been none for long.
func (p *partition) manifestLoose() bool {
	l := &p.loose
	if !l.used && l.from == model.NoOffset {
		l.marked = false
	}
	l.used = false
	return l.marked || l.written
}

// adoptTail takes up what the disk holds behind the known end of a loose partition, up to an offset: batches
// that follow on each other and check out.
func (r *recovery) adoptTail(p *partition, to model.Offset) error {
	if p.damage != "" {
		return nil
	}
	return r.adoptOn(p, to)
}

// adoptOn is adoptTail whatever is wrong with the partition.
func (r *recovery) adoptOn(p *partition, to model.Offset) error {
	if err := r.look(p); err != nil {
		return err
	}
	for p.end < to {
		s := p.active()
		if s == nil || s.sizeBytes >= s.fileBytes { // less is there when the journal has more to write
			if s = r.nextSegment(p); s == nil {
				return nil
			}
		}
		adopted, err := r.adoptFrom(p, s, to)
		if err != nil {
			return err
		}
		if s.sizeBytes > 0 && s != p.active() {
			p.segments = append(p.segments, s)
			p.names++
			r.e.segmentCount++
		}
		if !adopted || s.sizeBytes < s.fileBytes {
			return nil
		}
	}
	return nil
}

// adoptBefore takes up what lies before an offset that the journal goes on at. A gap that was found before may be excused yet,
// and what is behind it must then be known.
func (r *recovery) adoptBefore(p *partition, to model.Offset) error {
	if p.damage != "" && !r.doubt(p).gap {
		return nil
	}
	if err := r.adoptOn(p, to); err != nil {
		return err
	}
	return r.adoptBehindGap(p, to)
}

// adoptBehindGap takes up what lies before an offset that the journal goes on at, although some of what lies before that is not
// there: retention may have removed it, as the journal then goes on to say, and a power loss may have brought back some of the
// files. Otherwise it stays damage. A gap that was found before reaches to the last, with what is there in between.
func (r *recovery) adoptBehindGap(p *partition, to model.Offset) error {
	for _, f := range r.seen[p] {
		base, suffix, ok := parseOffsetName(f.Name)
		if !ok || suffix != logSuffix || base <= p.end || base >= to {
			continue
		}
		r.damage(p, p.end, fmt.Sprintf("offsets %d to %d are missing", p.end, base))
		r.gap(p, base)
		p.end = base
		if err := r.adoptOn(p, to); err != nil {
			return err
		}
	}
	return nil
}

// nextSegment is the file that goes on where the partition ends, if there is one; it is not the partition's yet.
func (r *recovery) nextSegment(p *partition) *segment {
	for _, f := range r.seen[p] {
		if f.Name == offsetName(p.end)+logSuffix && p.segmentAt(p.end) < 0 {
			s := newSegment(p.dir, p.end)
			s.fileBytes, s.trustFrom = f.SizeBytes, segmentBytesMax+1
			return s
		}
	}
	return nil
}

// adoptFrom adopts what follows in one segment. The batches are written over themselves: a page whose sync failed
// looks clean.
func (r *recovery) adoptFrom(p *partition, s *segment, to model.Offset) (adopted bool, err error) {
	f, err := r.e.files.get(s)
	if err != nil {
		return false, err
	}
	limit := min(s.fileBytes, segmentBytesMax)
	for p.end < to && s.sizeBytes+record.HeaderBytes <= limit {
		b := r.e.room(record.HeaderBytes)
		if readFull(f, b, s.sizeBytes) != nil {
			break
		}
		h, err := record.ReadHeader(b)
		if known := r.epochOf(p); err != nil || h.BaseOffset != p.end || h.LeaderEpoch != known && known != model.NoLeaderEpoch ||
			int64(h.SizeBytes) > limit-s.sizeBytes {
			break
		}
		if b = r.e.room(h.SizeBytes); readFull(f, b, s.sizeBytes) != nil || record.CheckCRC(b) != nil {
			break
		}
		r.rewrite(p, replayed{seg: s, at: s.sizeBytes, bytes: int64(h.SizeBytes), inPlace: true})
		p.state.Apply(h)
		s.add(&h, s.sizeBytes, 0)
		s.dirty, p.touched = true, true
		p.end = h.NextOffset()
		adopted = true
		r.out.AdoptedBytes += int64(h.SizeBytes)
	}
	return adopted, nil
}

// epochOf is the newest leader epoch that a partition is known to have.
func (r *recovery) epochOf(p *partition) model.LeaderEpoch {
	epoch := p.state.LeaderEpoch()
	if d := r.doubts[p]; d != nil {
		epoch = max(epoch, d.epoch)
	}
	return epoch
}

// rewrite notes down that a batch is to be written to its segment.
func (r *recovery) rewrite(p *partition, w replayed) {
	if r.writes == nil {
		r.writes = make(map[*partition][]replayed)
	}
	r.writes[p] = append(r.writes[p], w)
}

// adoptTails takes up what the disk holds behind the end of the journal.
func (r *recovery) adoptTails() error {
	for _, p := range r.e.sorted {
		if p.loose.marked {
			if err := r.adoptTail(p, math.MaxInt64); err != nil {
				return err
			}
			if len(p.segments) > 0 && p.end <= p.start {
				r.applyStart(p, p.start, p.start) // nothing behind the start was left
			}
			if s := p.active(); s != nil {
				s.dirty, p.touched = true, true // an earlier life may have cut it in the page cache only
			}
		}
	}
	return nil
}

// restartAt makes a loose partition begin anew at an offset: what the journal's log start leaves of it begins
// there, and what lay before is gone or lost.
func (r *recovery) restartAt(p *partition, o model.Offset) {
	for _, s := range p.segments {
		r.e.letGo(s)
		r.removed = append(r.removed, removedSegment{p, s})
	}
	r.e.segmentCount -= len(p.segments)
	delete(r.writes, p)
	p.segments, p.state, p.start, p.end = nil, log.New(o), o, o
	p.states, p.stateOffset = nil, model.NoOffset // they know producers, and nothing of what those wrote after
}

// adoptToStart brings the end of a loose partition to a log start that the journal names. The segments before it
// may have been removed since, and with a power loss those behind it may not be there.
func (r *recovery) adoptToStart(p *partition, n *entry) error {
	if err := r.adoptTail(p, n.BaseOffset); err != nil {
		return err
	}
	if p.end < n.BaseOffset && n.SegmentBase > p.end {
		r.restartAt(p, n.SegmentBase)
		if err := r.adoptTail(p, n.BaseOffset); err != nil {
			return err
		}
	}
	if p.end < n.BaseOffset {
		r.restartAt(p, n.BaseOffset)
	}
	return nil
}
