package disk

import (
	"errors"
	"os"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Direct writes go from memory to the disk and pass the page cache by. What is written once, synced at once and
// read only after a crash, as a journal is, gains by it: no copy into the cache, no pages for the sync to find and
// write, and nothing that is read pushed out. Only whole blocks can be written so.
const (
	// directBlockBytes is a multiple of every disk's block and of what its memory must be aligned to.
	directBlockBytes = 4096
	// directChunkBytes is how much is gathered for one write: at this size the disk is busy, and the memory small.
	directChunkBytes = 1 << 20
)

// Direct makes writes of whole blocks to files whose path begins with prefix go past the page cache, where the
// file system can. It is called before the files are opened.
func (d *Disk) Direct(prefix string) { d.directPrefix = prefix }

// direct is the second descriptor of a file that is written past the page cache.
type direct struct {
	os  *os.File
	buf *directBuffer
}

// directBuffer is aligned memory that writes gather in, one at a time.
type directBuffer struct {
	mu sync.Mutex
	b  []byte
}

func (g *directBuffer) bytes() []byte {
	if g.b == nil {
		b := make([]byte, directChunkBytes+directBlockBytes)
		skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (directBlockBytes - 1)
		g.b = b[skip : skip+directChunkBytes : skip+directChunkBytes]
	}
	return g.b
}

// openDirect opens a file once more, for direct writes. A file system that cannot do them is no error.
func (d *Disk) openDirect(rel string) *direct {
	if d.directPrefix == "" || directFlag == 0 || !strings.HasPrefix(rel, d.directPrefix) {
		return nil
	}
	f, err := os.OpenFile(d.path(rel), os.O_WRONLY|directFlag, 0)
	if err != nil {
		return nil
	}
	return &direct{os: f, buf: &d.gather}
}

// writable reports whether these buffers at that place are whole blocks.
func (w *direct) writable(bufs [][]byte, off int64) bool {
	size := 0
	for _, b := range bufs {
		size += len(b)
	}
	return size > 0 && size%directBlockBytes == 0 && off%directBlockBytes == 0
}

// writeAt writes whole blocks. tried is false if the file system turned out not to want them; nothing that matters
// was written then.
func (w *direct) writeAt(bufs [][]byte, off int64) (tried bool, err error) {
	w.buf.mu.Lock()
	defer w.buf.mu.Unlock()
	b := w.buf.bytes()
	fd := int(w.os.Fd())
	filled := 0
	flush := func() error {
		for at := 0; at < filled; {
			n, err := unix.Pwrite(fd, b[at:filled], off)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case err != nil:
				return err
			case n == 0 || n%directBlockBytes != 0:
				return errShortDirect
			}
			at, off = at+n, off+int64(n)
		}
		filled = 0
		return nil
	}
	for _, p := range bufs {
		for len(p) > 0 {
			n := copy(b[filled:], p)
			p, filled = p[n:], filled+n
			if filled == len(b) {
				if err := flush(); err != nil {
					return !errors.Is(err, unix.EINVAL) && !errors.Is(err, errShortDirect), err
				}
			}
		}
	}
	err = flush()
	return !errors.Is(err, unix.EINVAL) && !errors.Is(err, errShortDirect), err
}

var errShortDirect = errors.New("a direct write ended within a block")
