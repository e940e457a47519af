package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sort"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// partition is one log: its segments and what they amount to.
type partition struct {
	tp     model.TopicPartition
	dir    string
	config effect.LogConfig
	state  *log.State // everything written to the segments, durable or not

	segments []*segment // contiguous, ascending; the last is active; empty if there is nothing
	start    model.Offset
	end      model.Offset // log end offset; state.EndOffset() unless damaged

	// watermark is how far the log was last said to be committed. It is told with appends and retention; what is written down is
	// a lower bound, and at most the log's end.
	watermark model.Offset

	refusing bool // the last append was refused: those behind it leave a gap and are refused, too
	// told says that what the log holds was reported with a refusal of this attempt: once is enough, and a state is
	// large.
	told        bool
	toldAttempt uint32

	damage  string // why it cannot be used; empty if it can
	dirMade bool   // the directory exists
	unseen  bool   // nobody has looked into it since the start: see comes before any use
	// Names added to the directory, and how many of them a sync of it has covered.
	names, namesSynced uint64
	deleted            bool // a delete is staged: no more appends
	gone               bool // the delete is in the journal
	retains            int  // log starts staged or being synced
	staged             int  // operations staged
	cutting            int  // truncations staged or being synced
	cuts               int  // truncations carried out
	loose              loose

	stateOffset model.Offset   // of the snapshot that the newest manifest names, NoOffset if none
	states      []model.Offset // snapshots on the disk, ascending
	touched     bool           // changed since a checkpoint last took it up

	// of the turn that is being written
	ops       []int // indexes into the engine's turn, in order
	inTurn    bool
	turnBytes int64
	turnOps   int
	turnCut   bool // one of them is a truncation
}

// committed is how far the log is known to be committed.
func (p *partition) committed() model.Offset { return min(p.watermark, p.end) }

func newPartition(tp model.TopicPartition, config effect.LogConfig, start model.Offset) *partition {
	return &partition{
		tp: tp, dir: partitionDir(tp), config: config, state: log.New(start), start: start, end: start,
		stateOffset: model.NoOffset, loose: loose{from: model.NoOffset, flushTo: model.NoOffset},
	}
}

// active is the segment that grows, nil if there is none yet.
func (p *partition) active() *segment {
	if len(p.segments) == 0 {
		return nil
	}
	return p.segments[len(p.segments)-1]
}

// segmentEnd is the offset after segment i's last batch.
func (p *partition) segmentEnd(i int) model.Offset {
	if i+1 < len(p.segments) {
		return p.segments[i+1].base
	}
	return p.end
}

// find is the index of the segment that holds an offset, -1 if none does.
func (p *partition) find(o model.Offset) int {
	i := sort.Search(len(p.segments), func(i int) bool { return p.segments[i].base > o }) - 1
	if i < 0 || o >= p.end {
		return -1
	}
	return i
}

func (p *partition) sizeBytes() int64 {
	var n int64
	for _, s := range p.segments {
		n += s.sizeBytes
	}
	return n
}

// empty reports whether there is nothing to know of the partition. It may have a directory.
func (p *partition) empty() bool {
	return len(p.segments) == 0 && p.start == 0 && p.end == 0 && p.damage == ""
}

// mustRoll reports whether a batch starts a new segment. Like Kafka, time is measured by the batches'
// own timestamps, from the segment's first.
func (p *partition) mustRoll(s *segment, runBytes int64, h *record.Header) bool {
	size := s.sizeBytes + runBytes
	switch {
	case size == 0:
		return false
	case s.closed:
		return true
	case size+int64(h.SizeBytes) > int64(p.config.SegmentBytes):
		return true
	case h.LastOffset()-s.base > math.MaxInt32:
		return true
	case p.config.IndexBytesMax > 0 && s.index != nil && s.index.fileBytes() > int64(p.config.IndexBytesMax):
		return true
	case p.config.SegmentMs > 0 && s.firstTS >= 0 && h.MaxTimestamp >= 0:
		return int64(h.MaxTimestamp-s.firstTS) > p.config.SegmentMs-p.jitterMs(s)
	}
	return false
}

// jitterMs is how much earlier than others a segment is closed, so that the segments of many partitions do not
// all end at once. It is the same whenever it is asked for.
func (p *partition) jitterMs(s *segment) int64 {
	most := min(p.config.SegmentJitterMs, p.config.SegmentMs)
	if most <= 0 {
		return 0
	}
	var b [28]byte
	copy(b[:], p.tp.Topic[:])
	binary.BigEndian.PutUint32(b[16:], uint32(p.tp.Partition))
	binary.BigEndian.PutUint64(b[20:], uint64(s.base))
	return int64(xxhash.Sum64(b[:]) % uint64(most))
}

// writeTurn writes a partition's share of the turn to its segments. It fills in where each batch went, or
// why it was refused; refused batches leave no trace.
func (e *Engine) writeTurn(p *partition) {
	e.run.reset()
	e.see(p)
	for _, i := range p.ops {
		o := &e.turn[i]
		switch {
		case o.refused != effect.OK:
		case o.kind != opAppend:
			// What was asked before it is written before it.
			e.writeRun(p)
			e.applyOther(p, o)
		default:
			e.place(p, o)
		}
		if o.refused != effect.OK {
			p.refusing = true
		}
	}
	e.writeRun(p)
}

// run is consecutive batches of one turn that go to one segment in one write.
type run struct {
	seg     *segment
	created bool // seg is not among the partition's yet
	inPlace bool // synced where it is
	ops     []*op
	bufs    [][]byte
	bytes   int64
	offsets model.Offset // how many the batches span
}

func (r *run) reset() {
	clear(r.bufs)
	clear(r.ops)
	*r = run{ops: r.ops[:0], bufs: r.bufs[:0]}
}

// place stamps an append and adds it to the run, rolling the segment first if it must, or refuses it.
func (e *Engine) place(p *partition, o *op) {
	r := &e.run
	switch {
	case p.deleted:
		o.refused = effect.Missing
	case p.damage != "":
		o.refused = effect.Broken
	case o.base != p.end+r.offsets:
		if o.base < p.end+r.offsets || !p.refusing {
			invariant.Checkf(false, "%v: append at %d, log end offset is %d", p.tp, o.base, p.end+r.offsets)
		}
		o.refused = effect.DiskFull
	}
	if o.refused != effect.OK {
		p.refusing = true
		return
	}
	h := stamp(o)
	if r.seg != nil && p.mustRoll(r.seg, r.bytes, &h) {
		e.writeRun(p)
		if o.base != p.end {
			o.refused = p.refusal()
			return
		}
	}
	if r.seg == nil {
		r.seg = p.active()
		if r.seg == nil || p.mustRoll(r.seg, 0, &h) {
			r.seg, r.created = newSegment(p.dir, o.base), true
			r.seg.firstTS = h.MaxTimestamp
			r.seg.index = &index{exact: true}
		}
	}
	o.header, o.seg, o.position = h, r.seg, r.seg.sizeBytes+r.bytes
	r.inPlace = o.inPlace
	r.ops = append(r.ops, o)
	r.bufs = append(r.bufs, o.batch)
	r.bytes += int64(len(o.batch))
	r.offsets += h.NextOffset() - h.BaseOffset
}

// stamp writes what the leader decided into the batch and returns its header.
func stamp(o *op) record.Header {
	record.Stamp(o.batch, o.base, o.epoch)
	if o.appendTime != model.NoTimestamp {
		record.StampAppendTime(o.batch, o.appendTime)
	}
	h, err := record.ReadHeader(o.batch)
	if err != nil || h.SizeBytes != len(o.batch) {
		invariant.Checkf(false, "an append is one sound batch, not %d bytes (%v)", len(o.batch), err)
	}
	return h
}

// refusal is why the partition cannot take what follows a write that failed.
func (p *partition) refusal() effect.Failure {
	if p.damage != "" {
		return effect.Broken
	}
	return effect.DiskFull
}

// writeRun writes the run and takes its batches into the log's state, or refuses all of them.
func (e *Engine) writeRun(p *partition) {
	r := &e.run
	if len(r.ops) == 0 {
		return
	}
	if err := e.writeSegment(p, r); err != nil {
		if !errors.Is(err, ErrFull) {
			e.damaged(p, err.Error())
		} else {
			e.noteFull(effect.Note{Partition: p.tp, Offset: p.end, Detail: err.Error()})
		}
		for _, o := range r.ops {
			o.refused = p.refusal()
		}
		p.refusing = true
		r.reset()
		return
	}
	if r.created {
		if old := p.active(); old != nil {
			e.closeSegment(p, old)
		}
		e.snapshotSegment(p)
		p.segments = append(p.segments, r.seg)
		e.segmentCount++
	}
	s := r.seg
	for _, o := range r.ops {
		h := &o.header
		s.add(h, s.sizeBytes, p.config.IndexIntervalBytes)
		p.state.Apply(*h)
	}
	p.end = p.state.EndOffset()
	p.refusing, p.told = false, false
	if !s.dirty {
		s.dirty = true
		e.dirtied++
	}
	s.usedAt = e.checkpoints
	e.touch(p)
	r.reset()
}

// add takes a batch at position into the segment's bookkeeping.
func (s *segment) add(h *record.Header, position int64, interval int32) {
	if position == 0 {
		s.firstTS = h.MaxTimestamp
	}
	if h.MaxTimestamp > s.maxTS {
		s.maxTS, s.maxAt = h.MaxTimestamp, h.LastOffset()
	}
	if s.index != nil {
		s.index.add(s.base, h, position, interval, s.maxTS, s.maxAt)
	}
	s.sizeBytes = position + int64(h.SizeBytes)
}

// writeSegment puts the run's bytes down. After an error the segment is as it was before.
func (e *Engine) writeSegment(p *partition, r *run) error {
	s := r.seg
	if r.created {
		if err := e.makeDir(p); err != nil {
			return err
		}
		if err := e.files.create(s); err != nil {
			return err
		}
		p.names++
	} else if s.index == nil {
		if err := e.loadIndex(p, s); err != nil {
			return err
		}
	}
	f, err := e.files.get(s)
	if err != nil {
		return err
	}
	if early, ok := f.(EarlyWriter); ok && r.inPlace {
		err = early.WriteEarly(r.bufs, s.sizeBytes)
	} else {
		err = f.WriteAt(r.bufs, s.sizeBytes)
	}
	if err == nil {
		return nil
	}
	err = s.fail(err)
	if r.created {
		return errors.Join(err, e.files.close(s), e.disk.Remove(s.logPath()))
	}
	return errors.Join(err, f.Truncate(s.sizeBytes))
}

// makeDir makes the partition's directory before its first file. What an unfinished life may have left
// there goes: nothing durable knows of it.
func (e *Engine) makeDir(p *partition) error {
	if p.dirMade {
		return nil
	}
	if err := e.disk.MakeDir(p.dir); err != nil {
		return fmt.Errorf("%s: %w", p.dir, err)
	}
	if e.dropStray(p.tp) {
		if err := removeFiles(e.disk, p.dir); err != nil {
			return err
		}
		p.names++
	}
	p.dirMade = true
	e.names++
	return nil
}

// closeSegment finishes the active segment before another takes its place.
func (e *Engine) closeSegment(p *partition, s *segment) {
	if s.index != nil {
		s.index.addTime(s.maxTS, int32(s.maxAt-s.base))
		// An index that cannot be written is rebuilt when it is needed.
		_ = s.index.save(e.disk, s.path)
	}
	e.note(effect.Note{Kind: effect.NoteSegmentRolled, Partition: p.tp, Offset: p.end, Count: s.sizeBytes})
}
