package storage

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// ErrDamaged is wrapped by Open's error when durable bytes do not check out and it cannot be known whose
// they are. Nothing was changed; the directory needs an operator.
var ErrDamaged = errors.New("durable data is damaged")

// Recovery is what Open found.
type Recovery struct {
	Partitions []Recovered // in order
	Notes      []effect.Note
	// ReplayedEntries counts the journal entries that were written to the segments again.
	ReplayedEntries int64
	// TailDroppedBytes were in segments and had never been made durable, or were truncated and still there.
	TailDroppedBytes int64
	// AdoptedBytes were in segments of loose partitions, and nothing but their own checksums vouches for them.
	AdoptedBytes  int64
	CleanShutdown bool
	Created       bool // the directory was empty
	// Strays are partition directories that nothing durable knows of; see Engine.DeleteUnknown.
	Strays []model.TopicPartition
}

// Recovered is one partition as it was found.
type Recovered struct {
	Partition model.TopicPartition
	// State is the caller's to keep. If there is damage it only says where the log starts.
	State     *log.State
	SizeBytes int64
	// Damage says why the partition cannot be used; empty if it can.
	Damage string
	// HighWatermark is how far the log is known to have been committed: a lower bound, from what appends and retention told.
	HighWatermark model.Offset
}

// Open makes an engine over the disk's data directory, creating what is needed in an empty one, and
// brings the segments to where the journal says they are. What it returns is durable.
func Open(disk Disk, cfg Config) (*Engine, *Recovery, error) {
	e := &Engine{disk: disk, cfg: cfg.withDefaults(), partitions: map[model.TopicPartition]*partition{}}
	e.work.disk, e.checkpoint.work.disk = disk, disk
	// A directory that is there may be in the page cache only: of a log that retention emptied no checkpoint had
	// anything to sync. The first sync of names in this life covers all of them.
	e.names = 1
	e.files = openFiles{disk: disk, max: e.cfg.OpenFilesMax}
	e.journal = journal{disk: disk, cfg: &e.cfg, block: make([]byte, e.cfg.JournalBlockBytes)}
	r := &recovery{e: e, out: &Recovery{}}
	if err := r.run(); err != nil {
		return nil, nil, errors.Join(err, e.abandon())
	}
	return e, r.out, nil
}

// abandon closes what a failed Open left open.
func (e *Engine) abandon() error {
	var errs error
	for e.files.newest != nil {
		s := e.files.newest
		s.pins = 0
		errs = errors.Join(errs, e.files.close(s))
	}
	return errs
}

type recovery struct {
	e   *Engine
	m   *manifest
	out *Recovery

	files   []uint64 // journal files, ascending
	open    File     // the journal file being read
	openSeq uint64
	openLen int64

	onDisk map[model.TopicPartition]bool // partitions that have a directory
	dirs   []model.TopicPartition        // the same, in order
	seen   map[*partition][]Entry        // what is in the directories of those that were looked at
	gone   []model.TopicPartition        // deleted by the journal
	// removed by the journal, perhaps written by it before; not in seen
	removed []removedSegment
	doubts  map[*partition]*doubts
	body    []byte
	group   []entry
	last    LSN // of the last group taken
	// where the group being applied begins
	groupFile uint64
	groupPos  int64
	// lastBytes are of the last group taken, 0 unless files are cut or go as it says; see pinLast
	lastBytes int
	// lastProof are the segments that alone have some of the last group's batches, if nothing else proves it; see pinLast
	lastProof []lastSegment
	// nothing proves the group, so its batches in place must be written again
	groupRewrite bool
	// something proves it, or nothing in it needs that
	groupProven bool

	writes map[*partition][]replayed // what is to be written to the segments, in order
	bufs   []byte
}

// removedSegment is one that the journal removed.
type removedSegment struct {
	p *partition
	s *segment
}

// replayed is a batch in the journal that belongs in a segment.
type replayed struct {
	seg     *segment
	at      int64 // in the segment
	file    uint64
	payload int64 // where it is in the file
	bytes   int64
	hash    uint64
	inPlace bool // it is in the segment only
}

func (r *recovery) run() error {
	e := r.e
	if err := r.identify(); err != nil {
		return err
	}
	var newer string
	var notes []string
	var err error
	if r.m, newer, notes, err = loadManifest(e.disk); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	e.generation, e.nextCopy = r.m.Generation, otherCopy(newer)
	if err := r.pin(newer, len(notes) == 0); err != nil {
		return err
	}
	for _, n := range notes {
		r.note(effect.Note{Kind: effect.NoteDamageFound, Detail: n})
	}
	if err := r.list(); err != nil {
		return err
	}
	for i := range r.m.Partitions {
		if err := r.load(&r.m.Partitions[i]); err != nil {
			return err
		}
	}
	r.last = r.m.LSN
	r.out.CleanShutdown = r.m.Clean && !r.out.Created
	if !r.m.Clean {
		err := r.replay()
		if err == nil {
			err = r.adoptTails()
		}
		if err == nil {
			err = r.writeAll()
		}
		if err == nil {
			err = r.pinLast()
		}
		if r.open != nil {
			err = errors.Join(err, r.open.Close())
		}
		if err != nil {
			return err
		}
	}
	if err := r.settle(); err != nil {
		return err
	}
	if err := r.restart(); err != nil {
		return err
	}
	r.report()
	return nil
}

func (r *recovery) note(n effect.Note) { r.out.Notes = append(r.out.Notes, n) }

// identify reads whose directory this is, or makes it ours.
func (r *recovery) identify() error {
	e := r.e
	id, err := readMeta(e.disk)
	if err == nil {
		e.id = id
		return id.match(e.cfg.Identity)
	}
	if !errors.Is(err, ErrNotExist) {
		return err
	}
	// No identity: the directory is new, or its creation was cut short, which leaves no partition.
	if parts, err := e.disk.List(partitionsDir); err == nil && len(parts) > 0 {
		return fmt.Errorf("%w: there are partitions but %s is missing", ErrDamaged, metaPath)
	}
	// What is written first is of generation 0, and nothing is put into the journal before there is a later one.
	if m, newer, _, err := loadManifest(e.disk); err == nil && m.Generation > 0 {
		return fmt.Errorf("%w: there is %s but %s is missing", ErrDamaged, newer, metaPath)
	}
	r.out.Created = true
	for _, dir := range [...]string{journalDir, partitionsDir} {
		if err := e.disk.MakeDir(dir); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	if err := removeFiles(e.disk, journalDir); err != nil {
		return err
	}
	b := (&manifest{Clean: true, LSN: firstLSN(0), JournalFile: firstJournalFile}).appendTo(nil)
	for _, path := range [...]string{manifestA, manifestB} {
		if err := createFile(e.disk, path, b); err != nil {
			return err
		}
	}
	e.id = e.cfg.Identity
	return writeMeta(e.disk, e.id) // syncs the directory: all of it is there, or no identity
}

// pin makes sure that the manifest which recovery goes by is durable before its twin is overwritten, and
// the names beside it before anything more is acknowledged: so far they may be in the page cache only. The
// bytes are written again because a page whose sync failed looks clean. Without a sound twin there is
// nothing to do, and nothing to risk: the twin was touched only after this copy had been synced.
func (r *recovery) pin(path string, twin bool) error {
	if twin {
		f, err := r.e.disk.Open(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err = f.WriteAt([][]byte{r.m.appendTo(nil)}, 0); err == nil {
			err = f.Sync()
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := r.e.disk.SyncDir("."); err != nil {
		return fmt.Errorf("sync of the data directory: %w", err)
	}
	return nil
}

// firstJournalFile leaves a number below it free; see journal.prepareNext.
const firstJournalFile = 2

// createFile makes a small file anew and syncs it.
func createFile(disk Disk, path string, b []byte) error {
	if err := disk.Remove(path); err != nil && !errors.Is(err, ErrNotExist) {
		return fmt.Errorf("%s: %w", path, err)
	}
	f, err := disk.Create(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	err = f.WriteAt([][]byte{b}, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// restart writes a checkpoint of what was recovered, under a new epoch: from here on the old journal
// files are free.
func (r *recovery) restart() error {
	e := r.e
	e.epoch = r.m.Epoch + 1
	if e.epoch >= 1<<(64-lsnCountBits) {
		return fmt.Errorf("%w: epoch %d", ErrFrame, e.epoch)
	}
	e.journal.last = firstLSN(e.epoch)
	e.journal.durable, e.journal.marked = e.journal.last, e.journal.last
	e.journal.seq = r.m.JournalFile - 1
	if n := len(r.files); n > 0 {
		e.journal.seq = max(e.journal.seq, r.files[n-1])
	}
	// Names that an earlier life gave may not be durable yet.
	e.journal.dirDirty = true
	for _, p := range e.sorted {
		for _, s := range p.segments {
			s.trustFrom = s.sizeBytes
		}
	}
	var done effect.Completions
	if err := e.checkpointNow(false, &done); err != nil {
		return err
	}
	e.journal.free = append(e.journal.free, r.files...)
	r.out.Notes = append(r.out.Notes, done.Notes...)
	return nil
}

func (r *recovery) report() {
	e := r.e
	r.out.Partitions = make([]Recovered, 0, len(e.sorted))
	for _, p := range e.sorted {
		r.out.Partitions = append(r.out.Partitions, Recovered{
			Partition: p.tp, State: p.state.Clone(), SizeBytes: p.sizeBytes(), Damage: p.damage, HighWatermark: p.committed(),
		})
	}
	for _, tp := range r.dirs {
		if _, ok := e.partitions[tp]; !ok && r.onDisk[tp] {
			e.strays = append(e.strays, tp)
		}
	}
	r.out.Strays = slices.Clone(e.strays)
	r.note(effect.Note{Kind: effect.NoteRecovered, Count: r.out.ReplayedEntries, Offset: model.NoOffset})
}

// verifyInPlace checks a batch that is only in its segment against its journal entry. It is not written
// again: there is no other copy, should the power fail meanwhile. An error means that it cannot be read.
func (r *recovery) verifyInPlace(n *entry) (ok bool, err error) {
	if n.SizeBytes < record.HeaderBytes {
		return false, nil
	}
	f, err := r.e.disk.Open(partitionDir(n.Partition) + "/" + offsetName(n.SegmentBase) + logSuffix)
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	b := make([]byte, n.SizeBytes)
	err = readFull(f, b, n.Position)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	}
	return err == nil && slices.Equal(b[:record.HeaderBytes], n.Payload) && record.CheckCRC(b) == nil, err
}
