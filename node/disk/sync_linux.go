package disk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// syncData makes a file's bytes, and what is needed to find them, durable.
func syncData(fd int) error { return unix.Fdatasync(fd) }

// beginWriting has the kernel start to write what is dirty there, without waiting for it.
func beginWriting(fd int, off, n int64) {
	_ = unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE) // a hint; what fails, the sync reports
}

// reserve takes space for a part of a file that is written next, without moving the file's end: after a
// crash, the end tells how far the zeros got.
func reserve(fd int, off, n int64) error {
	err := retry(func() error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, n) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil // writing the zeros will tell
	}
	return err
}
