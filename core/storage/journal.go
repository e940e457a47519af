package storage

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weirmq/weir/core/invariant"
)

const (
	journalDir    = "journal"
	journalSuffix = ".journal"
	journalDigits = 10
)

// JournalPrefix begins the paths of journal files: written in whole blocks, synced at once, and read only at a start.
const JournalPrefix = journalDir + "/"

func journalName(seq uint64) string {
	s := strconv.FormatUint(seq, 10)
	if len(s) < journalDigits {
		s = strings.Repeat("0", journalDigits-len(s)) + s
	}
	return s + journalSuffix
}

func journalPath(seq uint64) string { return journalDir + "/" + journalName(seq) }

func parseJournalName(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, journalSuffix)
	if !ok || len(digits) < journalDigits {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil
}

// journal is the writing side: one current file, those behind it that a checkpoint has not released yet,
// and those released, which are renamed to be written again.
//
//	create, zeroed in steps          full               checkpoint passed it
//	────────────────────► current ────────────► live ──────────────────────► free ──┐
//	                         ▲                                                       │ rename
//	                         └───────────────────────────────────────────────────────┘
type journal struct {
	disk Disk
	cfg  *Config

	file   File
	seq    uint64
	pos    int64 // where the next group goes
	zeroed int64 // the file's size: groups overwrite, they never extend

	last    LSN // of the last group written
	durable LSN // of the last group synced
	marked  LSN // of the last group that something on the disk proves durable

	live     []liveFile // behind the current file, ascending
	free     []uint64   // ascending
	dirDirty bool       // the current file's name may not be durable yet

	block []byte // a zero block to pad with
	head  []byte // headers of the group being written
	bufs  [][]byte
}

type liveFile struct {
	seq  uint64
	last LSN
}

// capacityBytes is the largest group: a file less the block that the mark may need.
func (j *journal) capacityBytes() int64 {
	return j.cfg.JournalFileBytes - int64(j.cfg.JournalBlockBytes)
}

func (j *journal) padded(n int64) int64 { return roundUp(n, int64(j.cfg.JournalBlockBytes)) }

// reserve makes sure that a group of n bytes (unpadded) can be written without allocating: in the current
// file, or else in the next one. spare is left untouched behind it in the current file, unless there is a
// next file ready: what frees space must never wait for space. An error that is ErrFull changes nothing.
func (j *journal) reserve(n, spare int64) error {
	n = j.padded(n)
	invariant.Check(n <= j.capacityBytes(), "a group fits a journal file")
	limit := j.capacityBytes()
	if j.file != nil && j.pos+n <= limit {
		if j.pos+n+spare <= limit || len(j.free) > 0 {
			return j.grow(j.pos + n + min(spare, limit-j.pos-n))
		}
		// The spare would be cut into: first see that there is a file to go on in.
		if err := j.prepareNext(); err != nil {
			return err
		}
		return j.grow(j.pos + n)
	}
	return j.advance(min(n+j.padded(spare), limit))
}

// grow zeroes the current file at least up to n and the block behind it.
func (j *journal) grow(n int64) error {
	n += int64(j.cfg.JournalBlockBytes)
	if n <= j.zeroed {
		return nil
	}
	want := min(j.cfg.JournalFileBytes, roundUp(n, journalGrowBytes))
	if err := j.file.Zero(want); err != nil {
		// Whatever part of the step was zeroed stays for the next attempt; a small disk may still have
		// room for what is needed now.
		if !errors.Is(err, ErrFull) {
			return fmt.Errorf("%s: %w", journalPath(j.seq), err)
		}
		if err = j.file.Zero(n); err != nil {
			return fmt.Errorf("%s: %w", journalPath(j.seq), err)
		}
		want = n
	}
	j.zeroed = want
	return nil
}

// prepareNext sees that a free file exists, making one if need be. Its number is below the current one's,
// as every free file's is; recovery ignores it.
func (j *journal) prepareNext() error {
	if len(j.free) > 0 {
		return nil
	}
	seq, ok := j.unusedBelow()
	if !ok {
		return nil
	}
	f, err := j.disk.Create(journalPath(seq))
	if err != nil {
		return fmt.Errorf("%s: %w", journalPath(seq), err)
	}
	zerr := f.Zero(j.cfg.JournalFileBytes)
	if err := f.Close(); err != nil && zerr == nil {
		zerr = err
	}
	if zerr != nil {
		if err := j.disk.Remove(journalPath(seq)); err != nil {
			return fmt.Errorf("%s: %w", journalPath(seq), err)
		}
		return fmt.Errorf("%s: %w", journalPath(seq), zerr)
	}
	j.free = append(j.free, seq)
	return nil
}

// unusedBelow is a number below every live file's, for a file that waits to be renamed.
func (j *journal) unusedBelow() (uint64, bool) {
	lowest := j.seq
	if len(j.live) > 0 {
		lowest = j.live[0].seq
	}
	for seq := uint64(1); seq < lowest; seq++ {
		if !slices.Contains(j.free, seq) {
			return seq, true
		}
	}
	return 0, false
}

// advance makes the next file current, for a group of n bytes.
func (j *journal) advance(n int64) error {
	next := j.seq + 1
	path := journalPath(next)
	var f File
	var err error
	var size int64
	recycled := len(j.free) > 0
	if recycled {
		from := journalPath(j.free[0])
		if f, err = j.disk.Open(from); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		if size, err = f.SizeBytes(); err == nil && size < n+int64(j.cfg.JournalBlockBytes) {
			err = f.Zero(j.cfg.JournalFileBytes)
			size = j.cfg.JournalFileBytes
		}
		if err == nil {
			err = j.disk.Rename(from, path)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", from, err), f.Close())
		}
	} else {
		if f, err = j.disk.Create(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		size = min(j.cfg.JournalFileBytes, roundUp(n+int64(j.cfg.JournalBlockBytes), journalGrowBytes))
		if err = f.Zero(size); errors.Is(err, ErrFull) {
			size = n + int64(j.cfg.JournalBlockBytes)
			err = f.Zero(size)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
			return errors.Join(err, f.Close(), j.disk.Remove(path))
		}
	}
	if j.file != nil {
		if err := j.file.Close(); err != nil {
			return fmt.Errorf("%s: %w", journalPath(j.seq), err)
		}
		j.live = append(j.live, liveFile{seq: j.seq, last: j.last})
	}
	if recycled {
		j.free = slices.Delete(j.free, 0, 1)
	}
	j.file, j.seq, j.pos, j.zeroed, j.dirDirty = f, next, 0, size, true
	return nil
}

// write puts down one group of entries at the place that reserve made sure of. Payloads are written from
// where they are.
func (j *journal) write(entries []entry) (LSN, int64, error) {
	lsn := j.last + 1
	need := groupHeaderBytes + len(entries)*entryHeaderBytes
	j.head = slices.Grow(j.head[:0], need)[:need]
	h := groupHeader{LSN: lsn, File: j.seq, Count: uint32(len(entries)), Bytes: uint32(need)}
	for i := range entries {
		h.Bytes += uint32(len(entries[i].Payload))
	}
	h.Padded = uint32(j.padded(int64(h.Bytes)))
	putGroupHeader(j.head, &h)
	j.bufs = j.bufs[:0]
	from := 0
	for i := range entries {
		e := &entries[i]
		e.LSN, e.Index = lsn, uint32(i)
		to := groupHeaderBytes + (i+1)*entryHeaderBytes
		putEntryHeader(j.head[to-entryHeaderBytes:to], e)
		if len(e.Payload) > 0 {
			j.bufs = append(j.bufs, j.head[from:to], e.Payload)
			from = to
		}
	}
	if from < need {
		j.bufs = append(j.bufs, j.head[from:need])
	}
	if pad := h.Padded - h.Bytes; pad > 0 {
		j.bufs = append(j.bufs, j.block[:pad])
	}
	n := int64(h.Padded)
	invariant.Check(j.pos+n <= j.zeroed, "a group is written to reserved space")
	err := j.file.WriteAt(j.bufs, j.pos)
	clear(j.bufs)
	if err != nil {
		return 0, 0, fmt.Errorf("%s at %d: %w", journalPath(j.seq), j.pos, err)
	}
	j.last = lsn
	j.pos += n
	return lsn, n, nil
}

// mark writes, without syncing it, that the last group is durable: at the place of the next group, under
// the next group's LSN, to be overwritten by it.
func (j *journal) mark() error {
	if j.marked == j.last {
		return nil
	}
	invariant.Check(j.durable == j.last, "a group is marked durable after its sync")
	if err := j.remark(groupMark); err != nil {
		return err
	}
	j.marked = j.last
	return nil
}

// remark writes a remark about the last group where the next one would go. There is always room.
func (j *journal) remark(kind groupKind) error {
	if j.file == nil {
		return nil
	}
	j.head = slices.Grow(j.head[:0], groupHeaderBytes)[:groupHeaderBytes]
	putGroupHeader(j.head, &groupHeader{
		Kind: kind, LSN: j.last + 1, File: j.seq, Bytes: groupHeaderBytes, Padded: uint32(len(j.block)),
	})
	j.bufs = append(j.bufs[:0], j.head, j.block[groupHeaderBytes:])
	err := j.file.WriteAt(j.bufs, j.pos)
	clear(j.bufs)
	if err != nil {
		return fmt.Errorf("%s at %d: %w", journalPath(j.seq), j.pos, err)
	}
	return nil
}

// release frees every file whose groups are all at or below lsn and returns them. Of those that are free, as many
// are kept as make keepBytes.
func (j *journal) release(lsn LSN, keepBytes int64) (released []uint64, err error) {
	for len(j.live) > 0 && j.live[0].last <= lsn {
		released = append(released, j.live[0].seq)
		j.live = slices.Delete(j.live, 0, 1)
	}
	j.free = append(j.free, released...)
	keep := max(j.cfg.JournalFilesMin, int(keepBytes/j.cfg.JournalFileBytes))
	for len(j.free) > keep && !j.dirDirty { // that the current file is there is durable before one that it followed is gone
		last := len(j.free) - 1
		if err := j.disk.Remove(journalPath(j.free[last])); err != nil {
			return released, fmt.Errorf("%s: %w", journalPath(j.free[last]), err)
		}
		j.free = j.free[:last]
	}
	return released, nil
}

// liveBytes is the room that unreleased files take.
func (j *journal) liveBytes() int64 { return int64(len(j.live))*j.cfg.JournalFileBytes + j.pos }

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	f := j.file
	j.file = nil
	return f.Close()
}
