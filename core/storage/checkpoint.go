package storage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
)

// checkpointRoundFiles bounds the files that one round of a checkpoint holds open to sync them.
const checkpointRoundFiles = 256

// checkpoint makes a prefix of the journal unnecessary, in steps that the driver runs one by one, each a
// BeginCheckpoint, a Run and an EndCheckpoint:
//
//	        BeginCheckpoint: the manifest's content is fixed,
//	idle ── large states are written to files ────────────────► data ──┐ rounds: segments, states
//	 ▲                                                           ▲  └──┘ and directories are synced
//	 │                                                           │
//	 │ journal files released      second copy synced            ▼ all synced
//	 └──────────────────────────── second ◄───────────────── first: the first copy is written, then synced
type checkpoint struct {
	step    checkpointStep
	running bool // a work is out
	blocked bool // the disk was full; wait until space may have been freed
	work    SyncWork

	manifest manifest
	encoded  []byte
	inline   []byte // states on their way into encoded
	pending  []pendingSync
	parts    []snapshotted
	states   []File // snapshots being synced
	copyFile File
	copyPath string
	released int64 // journal bytes that were live when it began
	// keepBytes is how much of the journal is kept for reuse when it is done.
	keepBytes int64
}

type checkpointStep uint8

const (
	stepIdle checkpointStep = iota
	stepData
	stepFirst
	stepSecond
)

// pendingSync is what one partition adds to a checkpoint.
type pendingSync struct {
	p     *partition
	segs  []*segment
	state model.Offset // a snapshot to sync, or NoOffset
	cuts  int          // the partition's then: a truncation since may have removed the snapshot
}

// snapshotted is what becomes true of a partition when the checkpoint is complete.
type snapshotted struct {
	p     *partition
	state model.Offset
	end   model.Offset // what its segments held
	cuts  int          // the partition's then
}

// CheckpointDue reports whether BeginCheckpoint should be called: enough was appended since the last
// checkpoint, or one has begun and is not complete.
func (e *Engine) CheckpointDue() bool {
	c := &e.checkpoint
	if e.fatal != nil || e.closed || c.running {
		return false
	}
	return c.step != stepIdle || e.sinceBytes >= e.checkpointBytes() && !c.blocked
}

// A checkpoint syncs each segment that was appended to, which costs about as much for a few records as for many:
// with thousands of busy partitions it waits until there is something to sync in each, up to a bound, because
// recovery reads what was appended since.
const (
	checkpointSegmentBytes = 64 << 10 // for each segment
	checkpointFactorMax    = 3        // times CheckpointBytes
)

// checkpointBytes is how much is appended until a checkpoint is due.
func (e *Engine) checkpointBytes() int64 {
	most := checkpointFactorMax * e.cfg.CheckpointBytes
	return max(e.cfg.CheckpointBytes, min(int64(e.dirtied)*checkpointSegmentBytes, most))
}

// BeginCheckpoint starts a checkpoint, or the next step of the one that has begun. ok is false when there
// is nothing to do. A checkpoint takes several rounds of BeginCheckpoint, Run, EndCheckpoint: go on while
// CheckpointDue. It may overlap with BeginSync and EndSync in any way.
func (e *Engine) BeginCheckpoint() (work *SyncWork, ok bool) {
	invariant.Check(!e.checkpoint.running, "one checkpoint step at a time")
	invariant.Check(!e.closed, "a closed engine is left alone")
	if e.fatal != nil {
		return nil, false
	}
	c := &e.checkpoint
	if c.step == stepIdle {
		if !slices.ContainsFunc(e.sorted, func(p *partition) bool { return p.touched }) && e.journal.last == c.manifest.LSN {
			e.sinceBytes = 0
			return nil, false
		}
		e.beginManifest(false)
	}
	c.running = true
	if c.step == stepData {
		c.work.err = e.drawUpData()
	} else {
		c.work.err = e.writeCopy()
	}
	return &c.work, true
}

// beginManifest fixes what the checkpoint will say: everything written so far.
func (e *Engine) beginManifest(clean bool) {
	c := &e.checkpoint
	e.checkpoints++
	c.keepBytes = 2 * e.checkpointBytes() // what was written until now, and while it is made
	e.sinceBytes, e.dirtied = 0, 0
	c.step = stepData
	c.released = e.journal.liveBytes()
	c.pending, c.parts = c.pending[:0], c.parts[:0]
	m := &c.manifest
	*m = manifest{
		Generation: e.generation + 1, Clean: clean, Epoch: e.epoch, LSN: e.journal.last,
		JournalFile: e.journal.seq, JournalPos: e.journal.pos, Partitions: m.Partitions[:0],
	}
	if e.journal.file == nil {
		m.JournalFile, m.JournalPos = e.journal.seq+1, 0
	}
	c.inline = c.inline[:0]
	for _, p := range e.sorted {
		isLoose := p.manifestLoose() && !clean
		if p.gone || p.empty() && !isLoose {
			continue
		}
		if isLoose && !p.loose.marked {
			// The sync of the entry that allows it is under way. What an earlier life left behind the end must be gone
			// before the manifest says so, too.
			p.touched = true
			if s := p.active(); s != nil {
				s.dirty = true
			}
		}
		d := describe(p)
		d.Loose = isLoose
		if p.damage == "" {
			from := len(c.inline)
			c.inline = p.state.AppendSnapshot(c.inline)
			d.State = c.inline[from:len(c.inline):len(c.inline)]
			if len(d.State) <= stateInlineBytes {
				d.StateOffset = model.NoOffset
			} else {
				c.inline = c.inline[:from]
			}
		}
		if p.touched {
			e.takeUp(p, &d)
		}
		if len(d.State) > stateInlineBytes {
			d.State = nil
		}
		m.Partitions = append(m.Partitions, d)
	}
	c.encoded = m.appendTo(c.encoded[:0])
	for i := range m.Partitions {
		m.Partitions[i].State = nil // lies in c.inline, which is reused
	}
}

// describe is the partition's part of a manifest, without its state.
func describe(p *partition) manifestPartition {
	m := manifestPartition{
		Partition: p.tp, StartOffset: p.start, EndOffset: p.end, StateOffset: p.stateOffset, Damage: p.damage, HighWatermark: p.committed(),
		Segments: make([]manifestSegment, len(p.segments)),
	}
	for i, s := range p.segments {
		m.Segments[i] = manifestSegment{
			Base: s.base, SizeBytes: s.sizeBytes, FirstTimestamp: s.firstTS, MaxTimestamp: s.maxTS, MaxTimestampAt: s.maxAt,
		}
	}
	return m
}

// takeUp takes what changed in a partition up into the checkpoint. A state too large for the manifest is
// written to a file of its own.
func (e *Engine) takeUp(p *partition, d *manifestPartition) {
	c := &e.checkpoint
	p.touched = false
	pend := pendingSync{p: p, state: model.NoOffset, cuts: p.cuts}
	for _, s := range p.segments {
		if s.dirty {
			s.dirty = false
			pend.segs = append(pend.segs, s)
		}
	}
	if s := p.active(); s != nil && s.index != nil && len(s.index.offsets)-s.index.saved >= indexSaveEntries {
		// An index that cannot be written is rebuilt when it is needed.
		_ = s.index.save(e.disk, s.path)
	}
	if len(d.State) > stateInlineBytes && p.end != p.stateOffset {
		if err := e.writeState(p, d.State); err != nil {
			// Without a snapshot, recovery reads the log from the one before.
			e.noteFull(effect.Note{Partition: p.tp, Offset: p.end, Detail: err.Error()})
		} else {
			d.StateOffset, pend.state = p.end, p.end
		}
	}
	if len(pend.segs) > 0 || pend.state != model.NoOffset || p.names != p.namesSynced {
		c.pending = append(c.pending, pend)
	}
	c.parts = append(c.parts, snapshotted{p, d.StateOffset, p.end, p.cuts})
}

// drawUpData puts the next files to sync into the work.
func (e *Engine) drawUpData() error {
	c := &e.checkpoint
	if e.journal.dirDirty {
		c.work.dirs = append(c.work.dirs, journalDir)
	}
	k := 0
	for ; k < len(c.pending) && len(c.work.files) < checkpointRoundFiles; k++ {
		n := &c.pending[k]
		if n.p.gone {
			continue
		}
		for _, s := range n.segs {
			if s.removed {
				continue
			}
			if err := c.work.addSegment(&e.files, s); err != nil {
				if n.p.damage != "" && errors.Is(err, ErrNotExist) {
					continue // that is what is wrong with it
				}
				return err
			}
		}
		if n.state != model.NoOffset && n.cuts == n.p.cuts {
			f, err := e.disk.Open(statePath(n.p.dir, n.state))
			if err != nil {
				return fmt.Errorf("%s: %w", statePath(n.p.dir, n.state), err)
			}
			c.states = append(c.states, f)
			c.work.files = append(c.work.files, f)
		}
		c.work.addNames(e, n.p)
	}
	clear(c.pending[:k])
	c.pending = c.pending[k:]
	return nil
}

// writeCopy writes one copy of the manifest.
func (e *Engine) writeCopy() error {
	c := &e.checkpoint
	c.copyPath = e.nextCopy
	f, err := e.disk.Open(c.copyPath)
	if errors.Is(err, ErrNotExist) {
		f, err = e.disk.Create(c.copyPath)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.copyPath, err)
	}
	c.copyFile = f
	if err := f.WriteAt([][]byte{c.encoded}, 0); err != nil {
		return fmt.Errorf("%s: %w", c.copyPath, err)
	}
	c.work.files = append(c.work.files, f)
	if c.step == stepFirst {
		c.work.dirs = append(c.work.dirs, ".")
	}
	return nil
}

// EndCheckpoint takes the outcome of the work's Run. An error wraps ErrStopped: the engine does nothing
// any more. A full disk is no error: the checkpoint is given up and tried again when space may have been
// freed.
func (e *Engine) EndCheckpoint(w *SyncWork, err error, done *effect.Completions) error {
	c := &e.checkpoint
	invariant.Check(c.running && w == &c.work, "a checkpoint step is ended once, after it was begun")
	c.running = false
	full := w.err != nil && errors.Is(w.err, ErrFull)
	if err == nil {
		err = w.err
	}
	w.finish(e, err == nil)
	for _, f := range c.states {
		err = errors.Join(err, f.Close())
	}
	c.states = c.states[:0]
	if c.copyFile != nil {
		err = errors.Join(err, c.copyFile.Close())
		c.copyFile = nil
	}
	switch {
	case full:
		e.giveUpCheckpoint(err)
	case err != nil:
		return e.stop(fmt.Errorf("checkpoint: %w", err))
	default:
		if err := e.nextStep(); err != nil {
			e.fatal = fmt.Errorf("%w: checkpoint: %w", ErrStopped, err)
			return e.fatal
		}
	}
	e.deliver(done)
	return nil
}

// giveUpCheckpoint goes back to idle. What was synced stays synced; the manifest that counts is the one
// before.
func (e *Engine) giveUpCheckpoint(cause error) {
	c := &e.checkpoint
	for i := range c.parts {
		c.parts[i].p.touched = true
	}
	for i := range c.pending {
		for _, s := range c.pending[i].segs {
			s.dirty = true
		}
	}
	c.step, c.blocked = stepIdle, true
	e.sinceBytes += e.cfg.CheckpointBytes
	e.noteFull(effect.Note{Detail: "checkpoint: " + cause.Error()})
}

func (e *Engine) nextStep() error {
	c := &e.checkpoint
	switch c.step {
	case stepIdle:
		invariant.Check(false, "a checkpoint step ends while one has begun")
	case stepData:
		if len(c.pending) == 0 {
			c.step = stepFirst
		}
	case stepFirst:
		e.generation = c.manifest.Generation
		e.nextCopy = otherCopy(c.copyPath)
		c.step = stepSecond
	case stepSecond:
		e.nextCopy = otherCopy(c.copyPath)
		c.step = stepIdle
		return e.completeCheckpoint()
	}
	return nil
}

func otherCopy(path string) string {
	if path == manifestA {
		return manifestB
	}
	return manifestA
}

// completeCheckpoint lets go of what both copies of the manifest no longer need.
func (e *Engine) completeCheckpoint() error {
	c := &e.checkpoint
	for _, s := range c.parts {
		if s.p.gone {
			continue
		}
		if s.p.stateOffset = s.state; s.cuts != s.p.cuts {
			s.p.stateOffset = model.NoOffset
		} else {
			s.p.settled(s.end)
		}
		if err := e.dropStates(s.p); err != nil {
			return err
		}
	}
	released, err := e.journal.release(c.manifest.LSN, c.keepBytes)
	if err != nil {
		return err
	}
	for _, seq := range released {
		e.note(effect.Note{Kind: effect.NoteJournalRecycled, Count: int64(seq)})
	}
	e.note(effect.Note{Kind: effect.NoteCheckpointed, Count: c.released - e.journal.liveBytes()})
	return e.closeIdle()
}

// closeIdle closes the files that nothing has used since the checkpoint before. So that their indexes need
// not stay in memory, some of them are saved first.
func (e *Engine) closeIdle() error {
	saves := idleSavesMax
	for s := e.files.oldest; s != nil; {
		next := s.newer
		if s.pins == 0 && s.usedAt+1 < e.checkpoints {
			if x := s.index; saves > 0 && x != nil && x.unsaved() {
				saves--
				// An index that cannot be written is rebuilt when it is needed.
				_ = x.save(e.disk, s.path)
			}
			if err := e.files.close(s); err != nil {
				return err
			}
		}
		s = next
	}
	return nil
}

// checkpointNow runs a whole checkpoint: at the end of recovery, and of the engine's life.
func (e *Engine) checkpointNow(clean bool, done *effect.Completions) error {
	for e.checkpoint.step != stepIdle {
		if err := e.checkpointStep(done); err != nil {
			return err
		}
	}
	e.checkpoint.blocked = false // an earlier one may have been given up for want of space; this one tries anew
	e.beginManifest(clean)
	for e.checkpoint.step != stepIdle {
		if err := e.checkpointStep(done); err != nil {
			return err
		}
	}
	if e.checkpoint.blocked {
		return fmt.Errorf("checkpoint: %w", ErrFull)
	}
	return nil
}

func (e *Engine) checkpointStep(done *effect.Completions) error {
	w, ok := e.BeginCheckpoint()
	invariant.Check(ok, "a checkpoint that has begun has a next step")
	return e.EndCheckpoint(w, w.Run(), done)
}
