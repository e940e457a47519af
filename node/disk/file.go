package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/storage"
)

// buffersMax is the kernel's limit on the buffers of one vectored write (IOV_MAX on every system that
// this package builds for).
const buffersMax = 1024

// zeros is what Zero writes, a piece at a time. Never written to.
var zeros [1 << 20]byte

// holders is one open file descriptor and how many hold it.
type holders struct {
	os     *os.File
	direct *direct // nil: written through the page cache
	count  atomic.Int32

	syncMu     sync.Mutex
	syncFailed error // of the first sync that failed; the system reports a lost page only once
}

func (h *holders) hold() *holders {
	n := h.count.Add(1)
	if n <= 1 {
		invariant.Checkf(false, "a file is held only while somebody holds it: %s", h.os.Name())
	}
	return h
}

func (h *holders) release() error {
	n := h.count.Add(-1)
	if n < 0 {
		invariant.Checkf(false, "a file is released once by each holder: %s", h.os.Name())
	}
	if n > 0 {
		return nil
	}
	err := h.os.Close()
	if h.direct != nil {
		err = errors.Join(err, h.direct.os.Close())
	}
	return err
}

// file is the engine's handle.
type file struct{ *holders }

func newFile(f *os.File) *file {
	h := &holders{os: f}
	h.count.Store(1)
	return &file{h}
}

// ReadAt implements storage.File.
func (f *file) ReadAt(p []byte, off int64) (int, error) { return f.os.ReadAt(p, off) }

// WriteAt implements storage.File. It goes on after partial writes, so only the error says whether all
// bytes were written.
func (f *file) WriteAt(bufs [][]byte, off int64) error { return f.writeAt(bufs, off, false) }

// WriteEarly implements storage.EarlyWriter: the disk is given each piece as soon as it is in the page cache. What
// fails then, the sync will tell.
func (f *file) WriteEarly(bufs [][]byte, off int64) error { return f.writeAt(bufs, off, true) }

func (f *file) writeAt(bufs [][]byte, off int64, early bool) error {
	if w := f.direct; w != nil && w.writable(bufs, off) {
		tried, err := w.writeAt(bufs, off)
		if tried {
			if err != nil {
				err = fmt.Errorf("write %s at %d: %w", f.os.Name(), off, err)
			}
			return wrap(err)
		}
		// The file system said no: from now on through the page cache, this time too.
		f.direct = nil
		_ = w.os.Close() // all that was written through it was written whole
	}
	fd := int(f.os.Fd())
	var skip int // bytes of bufs[0] that were written already
	for {
		for len(bufs) > 0 && skip == len(bufs[0]) {
			bufs, skip = bufs[1:], 0
		}
		if len(bufs) == 0 {
			return nil
		}
		n, err := 0, error(nil)
		if early {
			n, err = writePiece(fd, bufs[0][skip:], off)
		} else {
			n, err = writeSome(fd, bufs, skip, off)
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return wrap(fmt.Errorf("write %s at %d: %w", f.os.Name(), off, err))
		}
		off += int64(n)
		for n > 0 {
			if left := len(bufs[0]) - skip; n < left {
				skip, n = skip+n, 0
			} else {
				bufs, skip, n = bufs[1:], 0, n-left
			}
		}
	}
}

// earlyBytes is how much is written before the disk is given it.
const earlyBytes = 1 << 20

func writePiece(fd int, b []byte, off int64) (int, error) {
	n, err := unix.Pwrite(fd, b[:min(len(b), earlyBytes)], off)
	if n > 0 {
		beginWriting(fd, off, int64(n))
	}
	return n, err
}

func writeSome(fd int, bufs [][]byte, skip int, off int64) (int, error) {
	if skip > 0 || len(bufs) == 1 {
		return unix.Pwrite(fd, bufs[0][skip:], off)
	}
	return unix.Pwritev(fd, bufs[:min(len(bufs), buffersMax)], off)
}

// Zero implements storage.File. Reserving the space first finds a full disk before anything is written;
// writing it as well spares later syncs the file system's own bookkeeping, which a mere reservation does not.
func (f *file) Zero(n int64) error {
	size, err := f.SizeBytes()
	if err != nil {
		return err
	}
	if n <= size {
		return nil
	}
	if err := reserve(int(f.os.Fd()), size, n-size); err != nil {
		return wrap(fmt.Errorf("reserve %d bytes for %s: %w", n-size, f.os.Name(), err))
	}
	for off := size; off < n; {
		piece := zeros[:min(int64(len(zeros)), n-off)]
		if err := f.WriteAt([][]byte{piece}, off); err != nil {
			return err
		}
		off += int64(len(piece))
	}
	return nil
}

// Truncate implements storage.File.
func (f *file) Truncate(n int64) error { return wrap(f.os.Truncate(n)) }

// Sync implements storage.File.
func (f *file) Sync() error {
	h := f.hold()
	return errors.Join(h.sync(), h.release())
}

func (h *holders) sync() error {
	h.syncMu.Lock()
	defer h.syncMu.Unlock()
	if h.syncFailed == nil {
		if err := retry(func() error { return syncData(int(h.os.Fd())) }); err != nil {
			h.syncFailed = fmt.Errorf("sync %s: %w", h.os.Name(), err)
		}
	}
	return h.syncFailed
}

// SizeBytes implements storage.File.
func (f *file) SizeBytes() (int64, error) {
	info, err := f.os.Stat()
	if err != nil {
		return 0, wrap(err)
	}
	return info.Size(), nil
}

// Close implements storage.File.
func (f *file) Close() error { return f.release() }

// Region implements storage.File.
func (f *file) Region(off int64, n int) storage.Region {
	return &Region{holders: f.hold(), off: off, n: n}
}

// Region is a run of bytes in an open file. A transport that can send from a file takes File and Offset;
// any other reads.
type Region struct {
	*holders
	off      int64
	n        int
	released atomic.Bool
}

// Len is the region's size in bytes.
func (r *Region) Len() int { return r.n }

// File is the open file that the region lies in. It must not be closed, nor its position relied upon.
func (r *Region) File() *os.File { return r.os }

// Offset is where in File the region begins.
func (r *Region) Offset() int64 { return r.off }

// ReadAt reads from the region; off counts from its start.
func (r *Region) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(r.n) {
		return 0, fmt.Errorf("read %s: %d lies outside a region of %d bytes", r.os.Name(), off, r.n)
	}
	if left := int64(r.n) - off; int64(len(p)) > left {
		n, err := r.os.ReadAt(p[:left], r.off+off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	return r.os.ReadAt(p, r.off+off)
}

// Release lets the file go. It must be called once.
func (r *Region) Release() {
	invariant.Check(!r.released.Swap(true), "a region is released once")
	// The bytes were read or not; an error of closing a file that nobody wrote through tells nothing.
	_ = r.release()
}
