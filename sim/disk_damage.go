package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirmq/weir/core/storage"
)

// Damage is what became of one file at rest: a bit that flipped, bytes that are zeros, a tail or a whole file that is gone.
type Damage struct {
	Kind   Fault
	Path   string
	Offset int64 // where it begins
	Bytes  int64 // how many are wrong or gone
	Bit    uint8 // which flipped
	Size   int64 // of the file, before
}

// String says what happened where.
func (h Damage) String() string {
	switch h.Kind {
	case FaultBitFlip:
		return fmt.Sprintf("bit %d of byte %d of %s", h.Bit, h.Offset, h.Path)
	case FaultZeroed:
		return fmt.Sprintf("%d bytes from %d of %s are zeros", h.Bytes, h.Offset, h.Path)
	case FaultShortened:
		return fmt.Sprintf("%s was cut from %d to %d bytes", h.Path, h.Size, h.Offset)
	default:
		return h.Path + " was removed"
	}
}

// harmTries bounds how often a place is drawn that can be damaged.
const harmTries = 64

// FlipBit turns one bit of one file that the process has synced, while no process runs.
func (d *Disk) FlipBit() (Damage, bool) { return d.Harm(FaultBitFlip, nil) }

// Harm damages one file that among, unless it is nil, chooses, while no process runs; three times in ten it is a file of the journal.
// What the newest sync of appends covered is left alone, unless it is Proven: at the end of a log, damage cannot be told from a
// write that never finished. Neither can the loss of the journal's newest file, or of its end, which is left alone altogether. It
// reports false if there is nothing to damage.
func (d *Disk) Harm(kind Fault, among func(path string) bool) (Damage, bool) {
	var files, journals []harmed
	d.walk(func(path string, n *inode) {
		if len(n.durable) > 0 && len(n.data) > 0 && (among == nil || among(path)) {
			files = append(files, harmed{path, n})
			if strings.HasPrefix(path, storage.JournalPrefix) {
				journals = append(journals, harmed{path, n})
			}
		}
	})
	if len(journals) > 0 && d.rand.Percent(30) {
		files = journals // few files, and what a start reads
	}
	if kind == FaultShortened || kind == FaultRemoved {
		if newest := d.newestJournal(); newest != nil {
			files = slices.DeleteFunc(slices.Clone(files), func(f harmed) bool { return f.n == newest })
		}
	}
	for range harmTries {
		if len(files) == 0 {
			break
		}
		f := files[d.rand.Intn(len(files))]
		h, ok := Damage{}, false
		switch kind {
		case FaultBitFlip, FaultZeroed:
			h, ok = d.spoil(f, kind)
		default:
			h, ok = d.takeAway(f, kind)
		}
		if ok {
			d.fired(kind)
			return h, true
		}
	}
	return Damage{}, false
}

type harmed struct {
	path string
	n    *inode
}

// newestJournal is the file of the journal that was begun last; nil if there is none.
func (d *Disk) newestJournal() (newest *inode) {
	d.walk(func(path string, n *inode) {
		if strings.HasPrefix(path, storage.JournalPrefix) {
			newest = n // their names ascend
		}
	})
	return newest
}

// proven reports whether a page is as it was synced, and something later on the disk says so.
func (d *Disk) proven(n *inode, page int) bool {
	return page < len(n.syncedAt) && n.syncedAt[page] != 0 && !n.dirty.has(page) && !d.unproven(n, page)
}

// unproven reports whether a page has what only the newest sync of appends covered.
func (d *Disk) unproven(n *inode, page int) bool {
	return page < len(n.syncedAt) && n.syncedAt[page] > max(d.appendsFrom, d.provenTo)
}

// spoil flips a bit of a file, or makes some of it zeros.
func (d *Disk) spoil(f harmed, kind Fault) (Damage, bool) {
	n := f.n
	off := d.rand.Intn(len(n.durable))
	if n.durable[off] == 0 && (kind == FaultZeroed || !d.rand.Percent(10)) {
		return Damage{}, false // most of a preallocated file is zeros that nobody reads
	}
	if !d.proven(n, off/pageBytes) {
		return Damage{}, false
	}
	h := Damage{Kind: kind, Path: f.path, Offset: int64(off), Bytes: 1, Size: int64(len(n.durable))}
	if kind == FaultBitFlip {
		h.Bit = uint8(d.rand.Intn(8))
		n.durable[off] ^= 1 << h.Bit
		n.data[off] ^= 1 << h.Bit
		return h, true
	}
	to := min(off+int(d.rand.LogUniform(1, 4*pageBytes)), len(n.durable), len(n.data))
	for page := off / pageBytes; page*pageBytes < to; page++ {
		if !d.proven(n, page) {
			to = page * pageBytes
		}
	}
	h.Bytes = int64(to - off)
	clear(n.durable[off:to])
	clear(n.data[off:to])
	return h, true
}

// takeAway cuts a file short, or removes it.
func (d *Disk) takeAway(f harmed, kind Fault) (Damage, bool) {
	n, at := f.n, 0
	if kind == FaultShortened {
		at = d.rand.Intn(len(n.data))
	}
	for page := at / pageBytes; page < len(n.syncedAt); page++ {
		if d.unproven(n, page) {
			return Damage{}, false
		}
	}
	h := Damage{Kind: kind, Path: f.path, Offset: int64(at), Bytes: int64(len(n.data) - at), Size: int64(len(n.data))}
	if kind == FaultRemoved {
		d.lost(f)
		return h, true
	}
	d.usedBytes -= h.Bytes
	n.data = n.data[:at]
	n.durable = n.durable[:min(at, len(n.durable))]
	first := (at + pageBytes - 1) / pageBytes
	for page := first; page < 64*max(len(n.dirty), len(n.failed)); page++ {
		n.dirty.remove(page)
		n.failed.remove(page)
	}
	n.syncedAt = n.syncedAt[:min(first, len(n.syncedAt))]
	return h, true
}

// lost takes a file's name away, on the device and from what was to become durable.
func (d *Disk) lost(f harmed) {
	dir, name, err := d.split(f.path)
	if err != nil {
		return // it was walked to
	}
	forget := func(dir *inode, name string) {
		if dir != nil && dir.durableNames[name] == f.n {
			delete(dir.durableNames, name)
		}
	}
	delete(dir.names, name)
	forget(dir, name)
	d.pending = slices.DeleteFunc(d.pending, func(c nameChange) bool {
		if c.node == f.n {
			forget(c.dir, c.name)
			forget(c.from, c.fromName)
		}
		return c.node == f.n
	})
	d.unlinked(f.n)
}
