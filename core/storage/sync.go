package storage

import (
	"errors"
	"fmt"
	"time"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// ErrStopped is wrapped by the error of EndSync and EndCheckpoint that means: this node must stop. What a
// failed sync may have lost cannot be known, so nothing is retried and nothing more is acknowledged;
// recovery finds out what is there.
var ErrStopped = errors.New("storage has stopped")

// SyncWork names what must be synced. Run it on any goroutine, then hand it back.
type SyncWork struct {
	disk  Disk
	files []File
	dirs  []string
	err   error // what already went wrong

	segments []*segment // whose files are in use
	checks   []nameCheck
	names    uint64 // of the partitions directory when the work was drawn up
	allNames bool   // the partitions directory is in dirs
}

// nameCheck remembers how many names of a partition's directory the work covers.
type nameCheck struct {
	p     *partition
	names uint64
}

// Run syncs every file and every directory. It touches nothing of the engine.
func (w *SyncWork) Run() error {
	if w.err != nil {
		return w.err
	}
	if many, ok := w.disk.(ManySyncer); ok && len(w.files)+len(w.dirs) > 2 {
		return many.SyncMany(w.files, w.dirs)
	}
	for _, f := range w.files {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
	}
	for _, dir := range w.dirs {
		// A directory that is gone was a partition's, deleted since the work was drawn up.
		if err := w.disk.SyncDir(dir); err != nil && !errors.Is(err, ErrNotExist) {
			return fmt.Errorf("sync of directory %s: %w", dir, err)
		}
	}
	return nil
}

func (w *SyncWork) reset() {
	clear(w.files)
	clear(w.segments)
	clear(w.checks)
	*w = SyncWork{disk: w.disk, files: w.files[:0], dirs: w.dirs[:0], segments: w.segments[:0], checks: w.checks[:0]}
}

// addSegment adds a segment's file and keeps it open meanwhile.
func (w *SyncWork) addSegment(files *openFiles, s *segment) error {
	f, err := files.get(s)
	if err != nil {
		return err
	}
	s.pins++
	w.files = append(w.files, f)
	w.segments = append(w.segments, s)
	return nil
}

// addNames adds the partition's directory, and the one above, if names in them may not be durable.
func (w *SyncWork) addNames(e *Engine, p *partition) {
	if p.names != p.namesSynced {
		w.dirs = append(w.dirs, p.dir)
		w.checks = append(w.checks, nameCheck{p, p.names})
	}
	if e.names != e.namesSynced && !w.allNames {
		w.dirs = append(w.dirs, partitionsDir)
		w.names, w.allNames = e.names, true
	}
}

// finish lets go of the work's files and takes note of what became durable.
func (w *SyncWork) finish(e *Engine, ok bool) {
	for _, s := range w.segments {
		s.pins--
		if s.removed && s.pins == 0 {
			// The names are gone already; an error of closing has nothing left to be about.
			_ = e.files.close(s)
		}
	}
	if ok {
		for _, c := range w.checks {
			c.p.namesSynced = max(c.p.namesSynced, c.names)
		}
		if w.allNames {
			e.namesSynced = max(e.namesSynced, w.names)
		}
	}
	w.reset()
}

// BeginSync writes what is staged, to the journal and to the segments, and names what must be synced for
// it. ok is false when there is nothing to do. One sync at a time: no second BeginSync before EndSync; a
// checkpoint may overlap.
//
// When everything staged was refused, the work is empty; it must be ended all the same, because EndSync
// reports the refusals. At most one journal file's worth is taken: ask again after EndSync.
func (e *Engine) BeginSync() (work *SyncWork, ok bool) {
	invariant.Check(!e.syncing, "one sync at a time")
	invariant.Check(!e.closed, "a closed engine is left alone")
	if e.fatal != nil {
		return nil, false
	}
	if len(e.staged) == 0 {
		if err := e.journal.mark(); err == nil {
			return nil, false
		} else {
			e.work.err = err
		}
	}
	e.syncing = true
	if e.work.err == nil {
		e.work.err = e.writeStaged()
	}
	return &e.work, true
}

func (e *Engine) writeStaged() error {
	need, spare := e.takeTurn()
	if len(e.turn) > 1 || e.turn[0].kind != opFlush { // that has nothing for the journal, and what waits for it must not
		if err := e.journal.reserve(need, spare); err != nil {
			if !errors.Is(err, ErrFull) {
				return err
			}
			if err := e.refuseAppends(err); err != nil {
				return err
			}
		}
	}
	for _, p := range e.parts {
		e.writeTurn(p)
	}
	return e.writeGroup()
}

// takeTurn moves the longest run of staged operations that fits one group into the turn, and says how
// large the group can become. spare is what appends must leave for operations that free space.
func (e *Engine) takeTurn() (need, spare int64) {
	for i := range e.staged {
		e.staged[i].p.turnBytes += int64(len(e.staged[i].batch))
	}
	need = groupHeaderBytes
	n := 0
	for ; n < len(e.staged); n++ {
		o := &e.staged[n]
		if (o.kind == opAppend || o.cut != nil) && o.p.loose.from != model.NoOffset {
			// What the journal lacks before it is made durable first, in a turn of its own.
			break
		}
		if o.p.turnCut || o.cut != nil && o.p.turnOps > 0 {
			// A truncation shares no group with what else is done to its log: its files are cut before anything is
			// written behind it, and what they have in place is still there when a group needs it for its proof.
			break
		}
		o.p.turnOps++
		o.p.turnCut = o.cut != nil
		cost := int64(entryHeaderBytes)
		if o.kind == opAppend {
			o.inPlace = e.cfg.InPlaceBytesMin > 0 && o.p.turnBytes >= int64(e.cfg.InPlaceBytesMin) ||
				groupHeaderBytes+entryHeaderBytes+int64(len(o.batch)) > e.journal.capacityBytes()
			if o.inPlace {
				cost += record.HeaderBytes
			} else {
				cost += int64(len(o.batch))
			}
			spare = e.spareBytes()
		}
		if o.cut != nil {
			cost += truncatePayloadBytes
		}
		if n > 0 && need+cost > e.journal.capacityBytes() {
			break
		}
		need += cost
	}
	for i := range e.staged {
		p := e.staged[i].p
		p.turnBytes, p.turnOps, p.turnCut = 0, 0, false
	}
	switch n {
	case 0:
		e.turn = append(e.turn[:0], op{kind: opFlush, p: e.staged[0].p})
	case len(e.staged):
		e.turn, e.staged = e.staged, e.turn[:0]
	default:
		e.turn = append(e.turn[:0], e.staged[:n]...)
		rest := copy(e.staged, e.staged[n:])
		clear(e.staged[rest:])
		e.staged = e.staged[:rest]
	}
	for i := range n {
		e.turn[i].p.staged -= e.turn[i].ordered()
	}
	e.parts, e.refused = e.parts[:0], e.refused[:0]
	for i := range e.turn {
		p := e.turn[i].p
		if !p.inTurn {
			p.inTurn = true
			p.ops = p.ops[:0]
			e.parts = append(e.parts, p)
		}
		p.ops = append(p.ops, i)
	}
	return need, spare
}

// spareBytes is the room in the journal that appends leave for log starts and deletes, so that a full
// disk can be freed.
func (e *Engine) spareBytes() int64 {
	return min(16*int64(e.cfg.JournalBlockBytes), e.cfg.JournalFileBytes/4)
}

// refuseAppends refuses the turn's appends, because the journal has no room, and sees whether there is
// room for what remains.
func (e *Engine) refuseAppends(cause error) error {
	need := int64(groupHeaderBytes)
	for i := range e.turn {
		o := &e.turn[i]
		if o.kind == opAppend {
			o.refused = effect.DiskFull
			continue
		}
		if o.kind == opFlush {
			continue
		}
		need += entryHeaderBytes + truncatePayloadBytes
	}
	e.noteFull(effect.Note{Detail: cause.Error()})
	e.checkpoint.blocked = false
	if need == groupHeaderBytes {
		return nil
	}
	err := e.journal.reserve(need, 0)
	if err == nil || !errors.Is(err, ErrFull) {
		return err
	}
	for i := range e.turn {
		if e.turn[i].kind != opFlush {
			e.turn[i].refused = effect.DiskFull
		}
	}
	return nil
}

// writeGroup journals what was not refused and draws up the work.
func (e *Engine) writeGroup() error {
	e.entries = e.entries[:0]
	for i := range e.turn {
		o := &e.turn[i]
		if o.refused != effect.OK {
			e.refused = append(e.refused, i)
			continue
		}
		n := entry{Partition: o.p.tp}
		switch o.kind {
		case opAppend:
			n.Kind, n.Payload = entryBatch, o.batch
			n.BaseOffset, n.NextOffset = o.base, o.header.NextOffset()
			n.Watermark = min(o.p.watermark, o.base)
			n.SegmentBase, n.Position, n.SizeBytes = o.seg.base, o.position, int64(len(o.batch))
			if o.inPlace {
				n.Kind, n.Payload = entryInPlace, o.batch[:record.HeaderBytes]
				if o.seg.pins == 0 || !e.work.has(o.seg) {
					if err := e.work.addSegment(&e.files, o.seg); err != nil {
						return err
					}
				}
				e.work.addNames(e, o.p)
			}
			e.sinceBytes += int64(len(o.batch))
		case opFlush:
			if err := e.cover(o.p); err != nil {
				return err
			}
			continue
		case opMark:
			// From here on recovery takes what follows on the known for ours: what an earlier life may have left
			// there must be gone for good.
			if !o.p.dirMade {
				o.refused = effect.Missing // there is nothing to clear yet; the next append tries again
				e.refused = append(e.refused, i)
				continue
			}
			if s := o.p.active(); s != nil && (s.pins == 0 || !e.work.has(s)) {
				if err := e.work.addSegment(&e.files, s); err != nil {
					return err
				}
			}
			e.work.addNames(e, o.p)
			o.p.loose.written, o.p.loose.group = true, e.journal.last+1
			n.Kind, n.BaseOffset, n.NextOffset = entryLoose, o.p.end, o.p.end
		case opLogStart:
			n.Kind, n.BaseOffset, n.NextOffset = entryLogStart, o.start, o.start
			n.SegmentBase = o.start
			if len(o.p.segments) > 0 {
				n.SegmentBase = o.p.segments[0].base
			}
		case opDelete:
			n.Kind = entryDelete
		case opTruncate, opStartAt:
			if o.cut.idle {
				continue
			}
			n = o.truncateEntry()
			// From here on nothing in the segments counts that the journal does not know of.
			o.p.loose.marked = false
		}
		e.entries = append(e.entries, n)
	}
	if len(e.entries) == 0 {
		// The sync of this turn proves nothing about the group before it, and while everything is refused
		// there may be no turn without anything staged.
		if err := e.journal.mark(); err != nil {
			return err
		}
		if len(e.work.segments) > 0 && e.journal.file != nil {
			// What is flushed is worth nothing if the journal cannot show that recovery may look for it.
			e.work.files = append(e.work.files, e.journal.file)
			if e.journal.dirDirty {
				e.work.dirs = append(e.work.dirs, journalDir)
			}
		}
		return nil
	}
	_, n, err := e.journal.write(e.entries)
	clear(e.entries)
	if err != nil {
		return err
	}
	e.sinceBytes += n
	e.work.files = append(e.work.files, e.journal.file)
	if e.journal.dirDirty {
		e.work.dirs = append(e.work.dirs, journalDir)
	}
	return nil
}

// has reports whether the segment's file is already in the work.
func (w *SyncWork) has(s *segment) bool {
	for _, o := range w.segments {
		if o == s {
			return true
		}
	}
	return false
}

// EndSync takes the outcome of the work's Run. On success everything in it is durable and done gets one
// Appended per partition, one per refused append, and the deletes and retains that are finished. An
// error wraps ErrStopped: the engine does nothing any more.
func (e *Engine) EndSync(w *SyncWork, err error, done *effect.Completions) error {
	invariant.Check(e.syncing && w == &e.work, "a sync is ended once, after it was begun")
	e.syncing = false
	if err == nil {
		err = w.err
	}
	w.finish(e, err == nil)
	if e.fatal != nil {
		// A checkpoint's sync failed meanwhile. It may have been told of the failure that this one was
		// after: a system reports it once, and drops the pages.
		return e.fatal
	}
	if err != nil {
		return e.stop(err)
	}
	if e.journal.durable != e.journal.last {
		// A group is written only after the one before it was synced, so that it proves that one.
		e.journal.marked = e.journal.durable
		e.journal.durable = e.journal.last
		e.journal.dirDirty = false
	}
	for _, p := range e.parts {
		if p.loose.flushTo != model.NoOffset {
			p.settled(p.loose.flushTo)
			p.loose.flushTo = model.NoOffset
		}
		e.reportAppended(p, done)
	}
	for _, i := range e.refused {
		e.reportRefused(i, done)
	}
	wrote := false
	for i := range e.turn {
		switch o := &e.turn[i]; {
		case o.kind == opAppend:
			wrote = wrote || o.refused == effect.OK
		case o.refused == effect.OK:
			e.finishOther(o, done)
		}
	}
	if e.full.on && wrote && len(e.refused) == 0 {
		if e.full.said {
			e.note(effect.Note{Kind: effect.NoteDiskRoom, Count: e.full.refused})
		}
		e.full = fullness{saidAt: e.full.saidAt}
	}
	for _, p := range e.parts {
		p.inTurn = false
	}
	clear(e.turn)
	clear(e.parts)
	e.turn, e.parts, e.refused = e.turn[:0], e.parts[:0], e.refused[:0]
	e.deliver(done)
	return nil
}

// stop ends the engine after a failed sync. Should this process be started again over the same page cache,
// the group under way would look sound there without being on the disk, so a remark says that it is not. If the
// remark cannot be written either, the error says why.
func (e *Engine) stop(err error) error {
	e.fatal = fmt.Errorf("%w: %w", ErrStopped, err)
	if e.journal.durable != e.journal.last {
		_ = e.journal.remark(groupFailed)
	}
	return e.fatal
}

// reportAppended says how far a partition's appends of the turn are durable.
func (e *Engine) reportAppended(p *partition, done *effect.Completions) {
	for k := len(p.ops) - 1; k >= 0; k-- {
		o := &e.turn[p.ops[k]]
		if o.kind == opAppend && o.refused == effect.OK {
			done.Appended = append(done.Appended, effect.Appended{Partition: p.tp, NextOffset: o.header.NextOffset()})
			return
		}
	}
}

// fullness is what is known of a full disk.
type fullness struct {
	on      bool
	said    bool
	refused int64      // appends since
	saidAt  model.Time // by Tick
}

// fullSayEvery is how often a disk that fills up and empties again and again is spoken of.
const fullSayEvery = 10 * model.Time(time.Second)

// noteFull says that the disk is full: once, until there is room again, however many requests it refuses.
func (e *Engine) noteFull(n effect.Note) {
	f := &e.full
	f.on = true
	if f.said || f.saidAt != 0 && e.now-f.saidAt < fullSayEvery {
		return
	}
	f.said, f.saidAt = true, e.now
	n.Kind = effect.NoteDiskFull
	e.note(n)
}

func (e *Engine) reportRefusedAppend(o *op, done *effect.Completions) {
	if o.refused == effect.DiskFull {
		e.full.refused++
	}
	a := effect.Appended{Partition: o.p.tp, NextOffset: o.p.end, Failure: o.refused, Attempt: o.attempt}
	if p := o.p; o.refused == effect.DiskFull && (!p.told || p.toldAttempt != o.attempt) {
		a.State = p.state.Clone()
		p.told, p.toldAttempt = true, o.attempt
	}
	done.Appended = append(done.Appended, a)
}

// reportRefused says what the log holds instead of the refused operation.
func (e *Engine) reportRefused(i int, done *effect.Completions) {
	o := &e.turn[i]
	switch o.kind {
	case opAppend:
		e.reportRefusedAppend(o, done)
	case opMark:
		o.p.loose.marking = false
	case opFlush:
		o.p.loose.flushing = false
	case opLogStart:
		o.p.retains--
		done.Retained = append(done.Retained, effect.Retained{
			Partition: o.p.tp, LogStartOffset: o.p.start, Failure: o.refused,
		})
	case opTruncate, opStartAt:
		e.refuseTruncate(o, done)
	case opDelete:
		o.p.deleted = false
		if !o.silent {
			done.Deleted = append(done.Deleted, effect.Deleted{Partition: o.p.tp, Failure: o.refused})
		}
	}
}
