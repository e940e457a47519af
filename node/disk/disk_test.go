package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirmq/weir/core/storage"
)

func openTest(t *testing.T) *Disk {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDiskDoesWhatTheEngineIsPromised(t *testing.T) {
	d := openTest(t)
	must(t, d.MakeDir("a/b"))
	must(t, d.MakeDir("a/b"))

	f, err := d.Create("a/b/f")
	must(t, err)
	if _, err := d.Create("a/b/f"); err == nil || errors.Is(err, storage.ErrNotExist) {
		t.Errorf("creating an existing file: %v", err)
	}
	must(t, f.WriteAt([][]byte{[]byte("he"), nil, []byte("llo")}, 3))
	must(t, f.Sync())
	must(t, d.SyncDir("a/b"))
	if n, err := f.SizeBytes(); n != 8 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	must(t, f.Truncate(6))
	must(t, f.Close())

	must(t, d.Rename("a/b/f", "a/g"))
	if _, err := d.Open("a/b/f"); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("opening a file that was renamed away: %v", err)
	}
	f, err = d.Open("a/g")
	must(t, err)
	b := make([]byte, 16)
	n, err := f.ReadAt(b, 0)
	if string(b[:n]) != "\x00\x00\x00hel" || err == nil {
		t.Errorf("read %q, %v", b[:n], err)
	}
	must(t, f.Close())

	entries, err := d.List("a")
	must(t, err)
	if got := fmt.Sprint(entries); got != "[{b true 0} {g false 6}]" {
		t.Errorf("list: %s", got)
	}
	if _, err := d.List("no"); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("listing what is missing: %v", err)
	}
	if err := d.RemoveDir("a"); err == nil {
		t.Error("a directory with entries was removed")
	}
	if err := d.Remove("a/b"); err == nil {
		t.Error("a directory was removed as if it were a file")
	}
	must(t, d.Remove("a/g"))
	if err := d.Remove("a/g"); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("removing what is missing: %v", err)
	}
	must(t, d.RemoveDir("a/b"))
	must(t, d.SyncDir(""))
	entries, err = d.List("")
	must(t, err)
	if len(entries) != 1 || entries[0].Name != "a" {
		t.Errorf("the data directory shows the engine %v", entries)
	}
}

func TestWriteTakesMoreBuffersThanOneCallCan(t *testing.T) {
	d := openTest(t)
	f, err := d.Create("f")
	must(t, err)
	var bufs [][]byte
	var want []byte
	for i := range 2*buffersMax + 77 {
		b := bytes.Repeat([]byte{byte(i)}, i%13)
		bufs, want = append(bufs, b), append(want, b...)
	}
	must(t, f.WriteAt(bufs, 5))
	got := make([]byte, len(want))
	_, err = f.ReadAt(got, 5)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the file does not hold the buffers in order")
	}
	must(t, f.Close())
}

// A file size limit makes the kernel write a part and then refuse: the part must be gone on from.
func TestWriteGoesOnAfterAPartialWrite(t *testing.T) {
	if os.Getenv("WEIR_TEST_FSIZE") == "" {
		cmd := exec.CommandContext(childContext(t), os.Args[0], "-test.run", t.Name(), "-test.v")
		cmd.Env = append(os.Environ(), "WEIR_TEST_FSIZE=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("refused with EFBIG")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	d := openTest(t)
	f, err := d.Create("f")
	must(t, err)
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 10, Max: 10}))
	err = f.WriteAt([][]byte{[]byte("0123456"), []byte("789abc")}, 0)
	if !errors.Is(err, unix.EFBIG) {
		t.Fatalf("a write past the limit: %v", err)
	}
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	if string(b[:n]) != "0123456789" {
		t.Fatalf("before the refusal %q was written", b[:n])
	}
	t.Log("refused with EFBIG")
}

func TestZeroWritesZerosFromTheEndOn(t *testing.T) {
	d := openTest(t)
	f, err := d.Create("f")
	must(t, err)
	must(t, f.WriteAt([][]byte{[]byte("abc")}, 0))
	const size = 3<<20 + 17
	must(t, f.Zero(size))
	must(t, f.Zero(10)) // shorter than it is: nothing to do
	if n, err := f.SizeBytes(); n != size || err != nil {
		t.Fatalf("size %d, %v", n, err)
	}
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	must(t, err)
	if string(b[:3]) != "abc" || len(bytes.Trim(b[3:], "\x00")) != 0 {
		t.Error("something else than zeros was written")
	}
	var st unix.Stat_t
	must(t, unix.Fstat(int(f.(*file).os.Fd()), &st))
	if st.Blocks*512 < size {
		t.Errorf("only %d of %d bytes have space on the disk", st.Blocks*512, size)
	}
	must(t, f.Close())
}

func TestRegionOutlivesItsFile(t *testing.T) {
	d := openTest(t)
	f, err := d.Create("f")
	must(t, err)
	must(t, f.WriteAt([][]byte{[]byte("0123456789")}, 0))
	r := f.Region(2, 5).(*Region)
	must(t, f.Close())
	must(t, d.Remove("f"))

	b := make([]byte, 10)
	n, err := r.ReadAt(b, 1)
	if string(b[:n]) != "3456" || err == nil {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if _, err := r.ReadAt(b, 6); err == nil {
		t.Error("read outside the region")
	}
	if r.Len() != 5 || r.Offset() != 2 {
		t.Errorf("region %d+%d", r.Offset(), r.Len())
	}
	h := r.holders
	r.Release()
	if _, err := h.os.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the last holder let go, but the file is open: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a second release went unnoticed")
		}
	}()
	r.Release()
}

func TestDataDirectoryHasOneUser(t *testing.T) {
	if dir := os.Getenv("WEIR_TEST_LOCKED"); dir != "" {
		_, err := Open(dir)
		fmt.Println("refused:", errors.Is(err, ErrInUse), err)
		return
	}
	d := openTest(t)
	if _, err := Open(d.Path()); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "this very process") {
		t.Errorf("a second Open in this process: %v", err)
	}
	cmd := exec.CommandContext(childContext(t), os.Args[0], "-test.run", t.Name())
	cmd.Env = append(os.Environ(), "WEIR_TEST_LOCKED="+d.Path())
	out, err := cmd.CombinedOutput()
	must(t, err)
	if !bytes.Contains(out, fmt.Appendf(nil, "refused: true")) || !bytes.Contains(out, fmt.Appendf(nil, "process %d", os.Getpid())) {
		t.Errorf("another process was told: %s", out)
	}
	must(t, d.Close())
	again, err := Open(d.Path())
	must(t, err)
	d.lock = again.lock
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600))
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("a directory that holds something else: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, lockName)); err == nil {
		t.Error("the foreign directory was written to")
	}
}

func TestFullDiskIsToldApart(t *testing.T) {
	for _, errno := range []error{unix.ENOSPC, unix.EDQUOT} {
		if err := wrap(fmt.Errorf("write: %w", errno)); !errors.Is(err, storage.ErrFull) || !errors.Is(err, errno) {
			t.Errorf("%v became %v", errno, err)
		}
	}
	if err := wrap(unix.EIO); errors.Is(err, storage.ErrFull) || errors.Is(err, storage.ErrNotExist) {
		t.Errorf("EIO became %v", err)
	}
}

func BenchmarkAppendAndSync(b *testing.B) {
	d, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	f, err := d.Create("f")
	if err != nil {
		b.Fatal(err)
	}
	const size = 64 << 20
	if err := errors.Join(f.Zero(size), f.Sync()); err != nil {
		b.Fatal(err)
	}
	bufs := [][]byte{make([]byte, 64), make([]byte, 4096-64)}
	b.ReportAllocs()
	b.SetBytes(4096)
	off := int64(0)
	for b.Loop() {
		if err := errors.Join(f.WriteAt(bufs, off), f.Sync()); err != nil {
			b.Fatal(err)
		}
		off = (off + 4096) % size
	}
}

func TestAfterAFailedSyncEveryLaterSyncOfTheFileFails(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	h := newFile(f)
	if err := h.Sync(); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe() // a file that cannot be synced
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	whole := h.os
	h.os = writer
	first := h.Sync()
	h.os = whole
	if second := h.Sync(); first == nil || second == nil || second.Error() != first.Error() {
		t.Errorf("the first sync failed with %v, the one after it with %v", first, second)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// childContext ends a process that a test has started and that hangs.
func childContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
