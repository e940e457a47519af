package storage

import (
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Engine is the storage of one loop. Make it with Open. It belongs to one goroutine at a time, except for
// SyncWork.Run.
type Engine struct {
	disk Disk
	cfg  Config
	id   Identity

	partitions map[model.TopicPartition]*partition
	sorted     []*partition           // the same, in order
	strays     []model.TopicPartition // in order

	journal journal
	files   openFiles

	staged  []op // in order of arrival
	direct  []op // appends that are written at once
	turn    []op // those that a sync is making durable
	parts   []*partition
	run     run
	entries []entry

	syncing bool
	work    SyncWork
	refused []int // of turn
	fatal   error
	late    effect.Completions // found outside a call that reports
	window  window
	scratch []byte
	decode  record.Decompressor

	timed   []*partition // loose ones that flush.ms is running for
	flushAt model.Time   // when to look at them; 0 is never
	now     model.Time   // as Tick last said
	full    fullness

	// Names added to the partitions directory, and how many of them a sync of it has covered.
	names, namesSynced uint64
	segmentCount       int

	checkpoint  checkpoint
	checkpoints uint64 // how many were begun
	sinceBytes  int64  // appended since the last was begun
	dirtied     int    // segments that were appended to since then
	generation  uint64 // of the newest manifest
	epoch       uint32
	nextCopy    string // which manifest file is written first next time
	closed      bool
}

type opKind uint8

const (
	opAppend opKind = iota + 1
	opLogStart
	opDelete
	opMark  // a partition becomes loose
	opFlush // what is loose of one is synced
	opTruncate
	opStartAt
)

// op is one staged operation.
type op struct {
	kind    opKind
	p       *partition
	refused effect.Failure

	// an append
	batch      []byte
	base       model.Offset
	epoch      model.LeaderEpoch
	appendTime model.Timestamp
	attempt    uint32
	inPlace    bool
	header     record.Header
	seg        *segment
	position   int64

	// a log start
	start   model.Offset
	removed []*segment

	cut *truncation

	silent bool // nobody waits for the completion
}

// Perform carries out the opens, truncations, appends, retains, lookups, scans and deletes of a set, in that order;
// reads are ResolveRead's. Truncations, appends, deletes and retains that remove something are only staged: BeginSync
// writes them. Appends to loose partitions are written and reported at once. done gets what is known at once.
func (e *Engine) Perform(set *effect.Set, done *effect.Completions) {
	invariant.Check(!e.closed, "a closed engine is left alone")
	for i := range set.Opens {
		e.open(&set.Opens[i])
	}
	for _, t := range set.Truncates {
		e.stageTruncate(opTruncate, t.Partition, t.To, done)
	}
	for _, a := range set.StartAts {
		e.stageTruncate(opStartAt, a.Partition, a.Offset, done)
	}
	e.direct = slices.Grow(e.direct[:0], len(set.Appends))
	for i := range set.Appends {
		e.takeAppend(&set.Appends[i], done)
	}
	e.writeDirect(done)
	for i := range set.Retains {
		e.retain(&set.Retains[i], done)
	}
	for i := range set.Lookups {
		e.lookup(&set.Lookups[i], done)
	}
	for i := range set.Scans {
		e.scanLog(&set.Scans[i], done)
	}
	for i := range set.Deletes {
		e.stageDelete(set.Deletes[i].Partition, false, done)
	}
	e.deliver(done)
}

// deliver hands over what was found outside a call that reports.
func (e *Engine) deliver(done *effect.Completions) {
	done.Damaged = append(done.Damaged, e.late.Damaged...)
	done.Notes = append(done.Notes, e.late.Notes...)
	e.late.Reset()
}

func (e *Engine) note(n effect.Note) { e.late.Notes = append(e.late.Notes, n) }

// damaged takes a partition out of use and remembers to say so.
func (e *Engine) damaged(p *partition, detail string) {
	if p.damage != "" {
		return
	}
	p.damage = detail[:min(len(detail), damageDetailBytes)]
	e.touch(p)
	if p.deleted {
		return // whoever has it deleted may soon have another in its place
	}
	e.late.Damaged = append(e.late.Damaged, effect.Damaged{Partition: p.tp, Detail: p.damage})
	e.note(effect.Note{Kind: effect.NoteDamageFound, Partition: p.tp, Offset: p.end, Detail: p.damage})
}

func (e *Engine) touch(p *partition) { p.touched = true }

func (e *Engine) add(p *partition) {
	i := e.search(p.tp)
	e.partitions[p.tp] = p
	e.sorted = slices.Insert(e.sorted, i, p)
	e.segmentCount += len(p.segments)
}

func (e *Engine) search(tp model.TopicPartition) int {
	return sort.Search(len(e.sorted), func(i int) bool { return e.sorted[i].tp.Compare(tp) >= 0 })
}

func (e *Engine) remove(p *partition) {
	i := e.search(p.tp)
	delete(e.partitions, p.tp)
	e.sorted = slices.Delete(e.sorted, i, i+1)
	e.segmentCount -= len(p.segments)
}

func (e *Engine) open(o *effect.Open) {
	p := e.partitions[o.Partition]
	if p == nil || p.deleted {
		invariant.Check(p == nil, "a deleted partition's id is never used again")
		p = newPartition(o.Partition, logBounds(o.Config), 0)
		e.add(p)
	}
	p.config = logBounds(o.Config)
	e.note(effect.Note{Kind: effect.NotePartitionOpened, Partition: p.tp, Offset: p.end})
}

// takeAppend stages an append, or keeps it for writeDirect if its partition is loose.
func (e *Engine) takeAppend(a *effect.Append, done *effect.Completions) {
	p := e.partitions[a.Partition]
	failure := effect.OK
	switch {
	case p == nil || p.deleted:
		failure = effect.Missing
	case p.damage != "":
		failure = effect.Broken
	}
	if failure != effect.OK {
		next := model.NoOffset
		if p != nil {
			next = p.end
		}
		done.Appended = append(done.Appended, effect.Appended{
			Partition: a.Partition, NextOffset: next, Failure: failure, Attempt: a.Attempt,
		})
		return
	}
	o := op{
		kind: opAppend, p: p, batch: a.Batch, base: a.BaseOffset, epoch: a.LeaderEpoch,
		appendTime: a.AppendTime, attempt: a.Attempt,
	}
	p.watermark = max(p.watermark, a.HighWatermark)
	if e.writesLoose(p, a.LeaderEpoch) {
		if n := len(e.direct); n > 0 && e.direct[n-1].p != p {
			e.writeDirect(done)
		}
		e.direct = append(e.direct, o)
		return
	}
	e.stage(o)
	e.mark(p)
}

// writeDirect writes the appends that were kept, all of one partition.
func (e *Engine) writeDirect(done *effect.Completions) {
	if len(e.direct) == 0 {
		return
	}
	e.appendLoose(e.direct[0].p, e.direct, done)
	clear(e.direct)
	e.direct = e.direct[:0]
}

func (e *Engine) stage(o op) {
	o.p.staged += o.ordered()
	e.staged = append(e.staged, o)
}

// ordered is 1 if the order of the operation among its partition's matters.
func (o *op) ordered() int {
	if o.kind == opMark || o.kind == opFlush {
		return 0
	}
	return 1
}

// Partitions lists every partition that the engine knows, in order.
func (e *Engine) Partitions() []model.TopicPartition {
	out := make([]model.TopicPartition, 0, len(e.sorted))
	for _, p := range e.sorted {
		if !p.deleted {
			out = append(out, p.tp)
		}
	}
	return out
}

// Identity is what the directory says of itself.
func (e *Engine) Identity() Identity { return e.id }

// Stats is what the engine holds.
type Stats struct {
	PartitionCount   int
	DamagedCount     int
	SegmentCount     int
	OpenFileCount    int   // of segments
	JournalBytes     int64 // that recovery would look at
	JournalFreeCount int   // files ready to be written again
	StagedCount      int
	StagedBytes      int64
	SinceCheckpoint  int64 // bytes appended
	Checkpoints      uint64
	JournalLSN       LSN
	DurableLSN       LSN
}

// Stats counts. It walks the partitions.
func (e *Engine) Stats() Stats {
	s := Stats{
		PartitionCount: len(e.sorted), SegmentCount: e.segmentCount, OpenFileCount: e.files.count,
		JournalBytes: e.journal.liveBytes(), JournalFreeCount: len(e.journal.free), StagedCount: len(e.staged),
		SinceCheckpoint: e.sinceBytes, Checkpoints: e.checkpoints, JournalLSN: e.journal.last, DurableLSN: e.journal.durable,
	}
	for i := range e.staged {
		s.StagedBytes += int64(len(e.staged[i].batch))
	}
	for _, p := range e.sorted {
		if p.damage != "" {
			s.DamagedCount++
		}
	}
	return s
}

// Committed says how far a log is committed, before Close: what came since its last append and retention is remembered, too.
func (e *Engine) Committed(tp model.TopicPartition, highWatermark model.Offset) {
	if p := e.partitions[tp]; p != nil && !p.deleted {
		p.watermark = max(p.watermark, highWatermark)
	}
}

// Close shuts down cleanly: it makes everything staged durable, checkpoints, and writes that nothing is
// left to replay. done gets what it completed. The engine is unusable afterwards, also after an error.
func (e *Engine) Close(done *effect.Completions) error {
	invariant.Check(!e.closed, "an engine is closed once")
	invariant.Check(!e.syncing && !e.checkpoint.running, "no sync is under way when an engine is closed")
	err := e.shutDown(done)
	e.closed = true
	for e.files.newest != nil {
		s := e.files.newest
		s.pins = 0
		if cerr := e.files.close(s); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}
	if cerr := e.journal.close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w", journalPath(e.journal.seq), cerr))
	}
	return err
}

func (e *Engine) shutDown(done *effect.Completions) error {
	if e.fatal != nil {
		return e.fatal
	}
	for {
		w, ok := e.BeginSync()
		if !ok {
			break
		}
		if err := e.EndSync(w, w.Run(), done); err != nil {
			return err
		}
	}
	for _, p := range e.sorted {
		if s := p.active(); s != nil && s.index != nil && p.damage == "" {
			// An index that cannot be written is rebuilt when it is needed.
			_ = s.index.save(e.disk, s.path)
		}
	}
	return e.checkpointNow(true, done)
}
