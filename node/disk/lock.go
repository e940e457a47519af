package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrInUse says that another process uses the data directory.
var ErrInUse = errors.New("data directory in use")

// lockName marks a data directory as weir's, and is what is locked. It holds the holder's process id,
// for the error message only: the lock itself is the kernel's.
const lockName = ".weir-lock"

func lockDir(root string) (*os.File, error) {
	path := filepath.Join(root, lockName)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := refuseForeign(root); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("data directory %s cannot be locked: %w", root, err)
	}
	err = retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder := readHolder(f)
		return nil, errors.Join(fmt.Errorf(
			"%w: %s is used by %s; stop that process, or give this one another directory", ErrInUse, root, holder), f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s cannot be locked: %w", root, err), f.Close())
	}
	if err := writeHolder(f); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s cannot be written: %w", root, err), f.Close())
	}
	return f, nil
}

// refuseForeign keeps weir from spreading files over a directory that is somebody's: a data directory
// is new, empty, or ours.
func refuseForeign(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("data directory %s cannot be read: %w", root, err)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" { // a file system of its own has one
			return fmt.Errorf("%s is not a data directory of weir: it holds %q and no %s; give an empty directory",
				root, e.Name(), lockName)
		}
	}
	return nil
}

func writeHolder(f *os.File) error {
	line := fmt.Sprintf("%d\n", os.Getpid())
	if _, err := f.WriteAt([]byte(line), 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(line)))
}

func readHolder(f *os.File) string {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	pid, _, found := strings.Cut(string(b[:n]), "\n")
	switch {
	case !found:
		return "another process"
	case pid == fmt.Sprint(os.Getpid()):
		return "this very process (" + pid + ")"
	}
	return "process " + pid
}
