package storage

import (
	"errors"

	"github.com/weirmq/weir/core/effect"
)

// ErrNotExist and ErrFull are the two disk errors that the engine tells apart; all others are fatal to the log
// they concern.
var (
	ErrNotExist = errors.New("no such file or directory")
	ErrFull     = errors.New("no space left on the disk")
)

// Region is a run of bytes in a file.
type Region = effect.Region

// Disk is the file system that the engine runs over: real files in a node, a faulty simulated disk in
// the simulator. Paths are relative to the data directory, separated by slashes.
//
// What survives a power loss, as both implementations agree:
//   - bytes of a file written before a File.Sync that returned nil;
//   - a file's name, a rename or a removal, once SyncDir of its directory has returned nil.
//
// Everything else may be lost, kept, torn at a sector, or replaced by zeros or by what stood there
// before. A process crash alone loses nothing that was written.
//
// SyncDir and File.Sync may be called from another goroutine than the rest (SyncWork.Run does); everything
// else is called from one at a time.
type Disk interface {
	// Create makes a new empty file for reading and writing; it fails if the name exists.
	Create(path string) (File, error)
	// Open opens an existing file for reading and writing; the error satisfies errors.Is(err, ErrNotExist) if there is none.
	Open(path string) (File, error)
	Rename(from, to string) error
	Remove(path string) error
	// MakeDir makes a directory and any missing parents; existing ones are fine.
	MakeDir(path string) error
	// RemoveDir removes an empty directory.
	RemoveDir(path string) error
	// List names a directory's entries in sorted order; a missing directory is ErrNotExist.
	List(dir string) ([]Entry, error)
	// SyncDir makes a directory's entries durable.
	SyncDir(dir string) error
}

// ManySyncer is what a Disk may offer besides: Sync on every file and SyncDir on every directory, in any
// order or at once. Recovery and checkpoints of many partitions wait for little else. It may be called from
// another goroutine, as Sync may. A directory that does not exist is no error; everything else is as if
// they had been called one by one.
type ManySyncer interface {
	SyncMany(files []File, dirs []string) error
}

// EarlyWriter is what a File may offer besides: WriteAt of bytes that are synced next, so that the disk may begin
// with them while the rest is being written. It promises no more than WriteAt does.
type EarlyWriter interface {
	WriteEarly(bufs [][]byte, off int64) error
}

// Entry is one name in a directory.
type Entry struct {
	Name      string
	Dir       bool
	SizeBytes int64
}

// File is one open file. Sync may be called from another goroutine than the rest; everything else is
// called from one at a time. The engine may have more than one handle of a file over time, never two at
// once; Sync on a newer handle covers what was written through an older one.
type File interface {
	// ReadAt is io.ReaderAt: fewer bytes than asked come with an error, io.EOF at the end of the file.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes the buffers one after the other at off, with one system call where the system has
	// one. Either all of it was written or the error says why; an error satisfying errors.Is(err, ErrFull)
	// means no space, and some of the bytes may have been written.
	WriteAt(bufs [][]byte, off int64) error
	// Zero makes the file at least n bytes long by writing zeros from its end on, so that later writes there neither
	// allocate nor change its size.
	Zero(n int64) error
	Truncate(n int64) error
	// Sync makes the file's bytes and size durable. After an error nothing may be assumed of what was
	// written since the last success: every later Sync of this File fails, too. Two syncs of a file can
	// overlap, a checkpoint's and an append's, and a system reports the loss of a page only once: the other
	// must not take the silence for success.
	Sync() error
	SizeBytes() (int64, error)
	// Region is a run of the file that outlives the engine's turn: the file's bytes stay readable until it is released, even if the
	// file is removed or closed meanwhile.
	Region(off int64, n int) Region
	Close() error
}
