// Package disk is storage.Disk on real files: a data directory of the operating system.
//
// In: relative paths and bytes of the storage engine. Out: files of the data directory, and region
// handles that a transport may pass to sendfile.
//
// Invariants:
//
//  1. One process uses a data directory at a time. Open holds an exclusive lock until Close, and the
//     kernel drops it when the process dies, however it dies.
//  2. A write that returned nil has written every byte. Sync that returned nil has made them durable;
//     one that failed is never tried again here.
//  3. A file is closed when its last holder lets go: the engine's handle, each Region, a Sync under way.
//     So a region stays readable after the engine has closed or removed the file.
//
// Deliberately absent: caching, retries, read-ahead, mmap. The page cache does the first, and the engine
// decides the rest. Writes past the page cache (direct.go) are for files that the node names: its journal.
//
// Not obvious: the engine's files lie in the directory's subdirectory "log", so that the lock, the node's
// identity and certificates can lie beside it and the engine sees nothing but its own.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/storage"
)

// Disk is one data directory, locked. Its methods may be called from several goroutines.
type Disk struct {
	dir  string // the data directory
	root string // where the engine's paths begin
	lock *os.File

	directPrefix string
	gather       directBuffer
}

// EngineDir is the subdirectory of the data directory that the engine's paths begin in.
const EngineDir = "log"

var _ storage.Disk = (*Disk)(nil)

// Open makes the data directory if it is missing and locks it. It refuses a directory that another
// process uses (ErrInUse), and one that holds files of something else.
func Open(dir string) (*Disk, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("data directory %s cannot be made: %w", dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	d := &Disk{dir: dir, root: filepath.Join(dir, EngineDir), lock: lock}
	if err := d.makeRoot(); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s cannot be set up: %w", dir, err), lock.Close())
	}
	return d, nil
}

// makeRoot makes the engine's directory durable, name included: what is synced in it must be found again.
func (d *Disk) makeRoot() error {
	if err := os.MkdirAll(d.root, 0o750); err != nil {
		return err
	}
	parent := syncDir(filepath.Dir(d.dir))
	if errors.Is(parent, fs.ErrPermission) {
		parent = nil // we may not look into it, so we did not make the data directory either
	}
	return errors.Join(syncDir(d.dir), parent)
}

// Path is the data directory as an absolute path.
func (d *Disk) Path() string { return d.dir }

// Close gives up the lock. Files and regions that are still open stay usable.
func (d *Disk) Close() error { return d.lock.Close() }

func (d *Disk) path(rel string) string {
	if rel == "" || rel == "." {
		return d.root
	}
	if !filepath.IsLocal(filepath.FromSlash(rel)) {
		invariant.Checkf(false, "a path of the storage engine stays inside the data directory: %q", rel)
	}
	return filepath.Join(d.root, filepath.FromSlash(rel))
}

// Create implements storage.Disk.
func (d *Disk) Create(path string) (storage.File, error) {
	return d.open(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Open implements storage.Disk.
func (d *Disk) Open(path string) (storage.File, error) {
	return d.open(path, os.O_RDWR)
}

func (d *Disk) open(path string, flag int) (storage.File, error) {
	f, err := os.OpenFile(d.path(path), flag, 0o640)
	if err != nil {
		return nil, wrap(err)
	}
	opened := newFile(f)
	opened.direct = d.openDirect(path)
	return opened, nil
}

// Rename implements storage.Disk.
func (d *Disk) Rename(from, to string) error { return wrap(os.Rename(d.path(from), d.path(to))) }

// Remove implements storage.Disk.
func (d *Disk) Remove(path string) error { return wrap(unlink(d.path(path))) }

// MakeDir implements storage.Disk.
func (d *Disk) MakeDir(path string) error { return wrap(os.MkdirAll(d.path(path), 0o750)) }

// RemoveDir implements storage.Disk.
func (d *Disk) RemoveDir(path string) error { return wrap(rmdir(d.path(path))) }

// List implements storage.Disk.
func (d *Disk) List(dir string) ([]storage.Entry, error) {
	entries, err := os.ReadDir(d.path(dir))
	if err != nil {
		return nil, wrap(err)
	}
	out := make([]storage.Entry, 0, len(entries))
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, storage.Entry{Name: e.Name(), Dir: true})
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since the directory was read
		}
		if err != nil {
			return nil, wrap(err)
		}
		out = append(out, storage.Entry{Name: e.Name(), SizeBytes: info.Size()})
	}
	return out, nil
}

// SyncDir implements storage.Disk.
func (d *Disk) SyncDir(dir string) error { return syncDir(d.path(dir)) }

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return wrap(err)
	}
	err = f.Sync()
	return wrap(errors.Join(err, f.Close()))
}

// unlink and rmdir are used instead of os.Remove, which tries the one when the other fails: the engine
// never means a directory when it says file.
func unlink(path string) error {
	return retry(func() error { return pathError("unlink", path, unix.Unlink(path)) })
}

func rmdir(path string) error {
	return retry(func() error { return pathError("rmdir", path, unix.Rmdir(path)) })
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		err := call()
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// wrap turns the two errors that the engine tells apart into its own, and keeps the system's words.
func wrap(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", storage.ErrNotExist, err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w", storage.ErrFull, err)
	}
	return err
}
