package sim

import (
	"io"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/storage"
)

// diskFile is one open handle.
type diskFile struct {
	disk   *Disk
	node   *inode
	life   uint64
	closed bool
}

func (d *Disk) open(n *inode) *diskFile {
	d.handles++
	return &diskFile{disk: d, node: n, life: d.life}
}

// use states that the handle is one of the running process: only a bug in the simulator or in the engine
// uses another.
func (f *diskFile) use() {
	invariant.Check(!f.closed, "a closed file is not used")
	invariant.Check(f.life == f.disk.life, "a file handle does not outlive its process")
}

func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	f.use()
	return f.node.readAt(p, off)
}

func (n *inode) readAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(n.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	c := copy(p, n.data[off:])
	if c < len(p) {
		return c, io.EOF
	}
	return c, nil
}

func (f *diskFile) WriteAt(bufs [][]byte, off int64) error {
	f.use()
	total := 0
	for _, b := range bufs {
		total += len(b)
	}
	// A process killed inside a write has written some prefix of it.
	f.disk.mutate(func() { f.write(bufs, off, f.disk.rand.Intn(total+1)) })
	room := f.room(off, total)
	if room < total {
		f.disk.fired(FaultDiskFull)
		f.write(bufs, off, f.disk.rand.Intn(room+1))
		return storage.ErrFull
	}
	f.write(bufs, off, total)
	return nil
}

// room is how many of n bytes at off fit on the disk.
func (f *diskFile) room(off int64, n int) int {
	grow := off + int64(n) - int64(len(f.node.data))
	if f.disk.capacityBytes == 0 || grow <= 0 {
		return n
	}
	free := max(0, f.disk.capacityBytes-f.disk.usedBytes)
	if !f.node.linked || grow <= free {
		return n
	}
	return int(max(0, int64(n)-(grow-free)))
}

func (f *diskFile) write(bufs [][]byte, off int64, limit int) {
	if limit == 0 {
		return
	}
	end := off + int64(limit)
	f.touch(off, end)
	f.grow(end)
	at := f.node.data[off:end]
	for _, b := range bufs {
		at = at[copy(at, b):]
	}
}

// grow makes the file at least n bytes long; what is between is a hole and reads as zeros.
func (f *diskFile) grow(n int64) {
	old := int64(len(f.node.data))
	if n <= old {
		return
	}
	f.touch(old, n)
	if n <= int64(cap(f.node.data)) {
		f.node.data = f.node.data[:n]
		clear(f.node.data[old:])
	} else {
		grown := make([]byte, n, max(n, 2*old))
		copy(grown, f.node.data)
		f.node.data = grown
	}
	if f.node.linked {
		f.disk.usedBytes += n - old
	}
}

// touch makes the pages of a range dirty, before they change. What an unfinished sync covers is
// remembered as it was when the sync began.
func (f *diskFile) touch(off, end int64) {
	n := f.node
	if f.disk.windows > 0 && n.windowAt != f.disk.windowAt {
		n.windowAt, n.late, n.shadow, n.sizeBegin = f.disk.windowAt, nil, map[int][]byte{}, len(n.data)
	}
	for page := int(off / pageBytes); page <= int((end-1)/pageBytes); page++ {
		if f.disk.windows > 0 && !n.late.has(page) {
			if n.dirty.has(page) {
				n.shadow[page] = append(make([]byte, 0, pageBytes), n.page(page)...)
			}
			n.late.add(page)
		}
		n.dirty.add(page)
		n.failed.remove(page)
	}
}

func (f *diskFile) Zero(n int64) error {
	f.use()
	f.disk.mutate(nil)
	size := int64(len(f.node.data))
	if n <= size {
		return nil
	}
	if room := f.room(size, int(n-size)); int64(room) < n-size {
		f.disk.fired(FaultDiskFull)
		f.grow(size + int64(f.disk.rand.Intn(room+1)))
		return storage.ErrFull
	}
	f.grow(n)
	return nil
}

func (f *diskFile) Truncate(n int64) error {
	f.use()
	f.disk.mutate(nil)
	size := int64(len(f.node.data))
	if n > size {
		f.grow(n)
		return nil
	}
	if n == size {
		return nil
	}
	f.touch(n, size)
	f.node.data = f.node.data[:n]
	if f.node.linked {
		f.disk.usedBytes -= size - n
	}
	return nil
}

// BeginSync notes that a sync begins now and is carried out later, by RunSync: it then makes durable what
// was written up to now, and nothing newer.
func (d *Disk) BeginSync() {
	d.windows++
	d.windowAt++
	d.provenTo = 0
}

// Proven notes that whoever writes to the disk has left a remark, in the cache, that all it synced is durable.
// It holds until the next sync begins, which may overwrite it, and no power loss.
func (d *Disk) Proven() { d.provenTo = d.syncCount }

// RunSync carries out a sync that began earlier; appends says that records hang on it.
func (d *Disk) RunSync(appends bool, run func() error) error {
	before := d.syncCount
	d.asOfBegin = true
	err := run()
	d.asOfBegin = false
	d.windows--
	if appends && err == nil && d.syncCount > before {
		// Only now is what the sync before this one covered proven durable to whoever recovers: a crash inside
		// this sync may leave nothing of it. A sync of no file, because every append was refused, proves nothing.
		d.appendsFrom = before
	}
	return err
}

func (f *diskFile) Sync() error {
	f.use()
	f.disk.mutate(nil)
	n := f.node
	if n.syncFailed {
		return errIO
	}
	fails := f.disk.failSync()
	n.syncFailed = fails
	if !fails {
		f.disk.syncCount++
	}
	late := pages(nil)
	size := len(n.data)
	if f.disk.asOfBegin && n.windowAt == f.disk.windowAt {
		late, size = n.late, min(n.sizeBegin, size)
	}
	if !fails {
		n.setDurableSize(size)
	}
	for page := range len(n.dirty) * 64 {
		if !n.dirty.has(page) {
			continue
		}
		content := n.page(page)
		if late.has(page) {
			content = n.shadow[page]
			if content == nil {
				continue // clean when the sync began
			}
			delete(n.shadow, page)
		} else {
			n.dirty.remove(page)
		}
		if fails && f.disk.rand.Percent(50) {
			n.failed.add(page)
			continue
		}
		if fails && page*pageBytes+len(content) > len(n.durable) {
			n.dirty.add(page) // it reached the device, but the size that would show it did not
			continue
		}
		n.persist(page, content, f.disk.syncCount)
	}
	if fails {
		return errIO
	}
	return nil
}

// page is what a process sees of a page; shorter at the end of the file.
func (n *inode) page(page int) []byte {
	off := page * pageBytes
	if off >= len(n.data) {
		return nil
	}
	return n.data[off:min(off+pageBytes, len(n.data))]
}

func (n *inode) setDurableSize(size int) {
	if size <= len(n.durable) {
		n.durable = n.durable[:size]
		return
	}
	if size <= cap(n.durable) {
		old := len(n.durable)
		n.durable = n.durable[:size]
		clear(n.durable[old:])
		return
	}
	grown := make([]byte, size, max(size, 2*len(n.durable)))
	copy(grown, n.durable)
	n.durable = grown
}

// persist writes one page to the device, as far as the durable size reaches.
func (n *inode) persist(page int, content []byte, at uint32) {
	off := page * pageBytes
	if off >= len(n.durable) {
		return
	}
	copy(n.durable[off:], content)
	for len(n.syncedAt) <= page {
		n.syncedAt = append(n.syncedAt, 0)
	}
	n.syncedAt[page] = at
}

func (f *diskFile) SizeBytes() (int64, error) {
	f.use()
	return int64(len(f.node.data)), nil
}

func (f *diskFile) Close() error {
	f.use()
	f.closed = true
	f.disk.handles--
	return nil
}

func (f *diskFile) Region(off int64, n int) storage.Region {
	f.use()
	f.disk.regions++
	return &diskRegion{disk: f.disk, node: f.node, off: off, n: n, life: f.life}
}

// diskRegion keeps its file's bytes readable, whatever becomes of the name and the handle.
type diskRegion struct {
	disk *Disk
	node *inode
	off  int64
	n    int
	life uint64
	gone bool
}

func (r *diskRegion) Len() int { return r.n }

func (r *diskRegion) ReadAt(p []byte, off int64) (int, error) {
	invariant.Check(!r.gone, "a released region is not read")
	if off >= int64(r.n) {
		return 0, io.EOF
	}
	whole := len(p)
	if rest := int64(r.n) - off; int64(whole) > rest {
		p = p[:rest]
	}
	c, err := r.node.readAt(p, r.off+off)
	if err == nil && c < whole {
		err = io.EOF
	}
	return c, err
}

func (r *diskRegion) Release() {
	invariant.Check(!r.gone, "a region is released once")
	r.gone = true
	if r.life == r.disk.life {
		r.disk.regions--
	}
}
