package disk

import (
	"bytes"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/storage"
)

func openDirectTest(t *testing.T) *Disk {
	t.Helper()
	d := openTest(t)
	d.Direct("journal/")
	must(t, d.MakeDir("journal"))
	f, err := d.Create("journal/probe")
	must(t, err)
	if f.(*file).direct == nil {
		t.Skip("this file system has no direct writes")
	}
	must(t, f.Close())
	return d
}

// Whatever is written, in whole blocks or not, reads back, and a file never has two truths: one in the page cache and
// one on the disk.
func TestDirectAndOtherWritesAgree(t *testing.T) {
	d := openDirectTest(t)
	file := 0
	rapid.Check(t, func(r *rapid.T) {
		file++
		name := "journal/" + string(rune('a'+file%26)) + filepath.Base(t.Name())
		_ = d.Remove(name) // of an earlier round
		f, err := d.Create(name)
		if err != nil {
			r.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		var want []byte
		if n := rapid.SampledFrom([]int64{0, 1 << 16, 3 << 20}).Draw(r, "zeros"); n > 0 {
			if err := f.Zero(n); err != nil {
				r.Fatal(err)
			}
			want = make([]byte, n)
		}
		for range rapid.IntRange(1, 8).Draw(r, "writes") {
			unit := rapid.SampledFrom([]int{1, directBlockBytes}).Draw(r, "unit")
			off := rapid.IntRange(0, 40).Draw(r, "at") * unit
			var bufs [][]byte
			left := rapid.SampledFrom([]int{1, 3, 60, 300}).Draw(r, "units") * unit
			for left > 0 {
				n := min(left, rapid.IntRange(1, 300_000).Draw(r, "bytes"))
				b := bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(r, "value"))}, n)
				bufs, left = append(bufs, b), left-n
			}
			if err := f.WriteAt(bufs, int64(off)); err != nil {
				r.Fatal(err)
			}
			all := bytes.Join(bufs, nil)
			if need := off + len(all); need > len(want) {
				want = append(want, make([]byte, need-len(want))...)
			}
			copy(want[off:], all)
			if rapid.Bool().Draw(r, "sync") {
				if err := f.Sync(); err != nil {
					r.Fatal(err)
				}
			}
			got := make([]byte, len(want))
			if _, err := f.ReadAt(got, 0); err != nil {
				r.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				r.Fatalf("what was written does not read back")
			}
		}
		if n, err := f.SizeBytes(); err != nil || n != int64(len(want)) {
			r.Fatalf("size %d, %v; want %d", n, err, len(want))
		}
	})
}

func TestOnlyTheNamedFilesAreWrittenDirectly(t *testing.T) {
	d := openDirectTest(t)
	f, err := d.Create("segment")
	must(t, err)
	if f.(*file).direct != nil {
		t.Error("a file outside of the prefix is written directly")
	}
	must(t, f.Close())
}

// A file system that refuses at the first write is written to through its cache instead.
func TestARefusedDirectWriteIsMadeThroughTheCache(t *testing.T) {
	d := openDirectTest(t)
	f, err := d.Create("journal/f")
	must(t, err)
	// A descriptor without the flag and for reading only refuses with another error; one that has no blocks of
	// this size refuses with EINVAL, as an odd offset does.
	w := f.(*file).direct
	if tried, err := w.writeAt([][]byte{make([]byte, directBlockBytes)}, 3); tried || err == nil {
		t.Skipf("this file system takes direct writes anywhere: %v, %v", tried, err)
	}
	must(t, f.Close())
}

func BenchmarkJournalWrite(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 512 << 10} {
		for _, how := range []string{"cached", "direct"} {
			b.Run(how+" "+sizeName(size), func(b *testing.B) {
				d, err := Open(filepath.Join(b.TempDir(), "data"))
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = d.Close() }()
				if how == "direct" {
					d.Direct(storage.JournalPrefix)
				}
				if err := d.MakeDir("journal"); err != nil {
					b.Fatal(err)
				}
				f, err := d.Create(storage.JournalPrefix + "f")
				if err != nil {
					b.Fatal(err)
				}
				const fileBytes = 64 << 20
				if err := f.Zero(fileBytes); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				bufs := [][]byte{make([]byte, 88), make([]byte, size-88)}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				at := int64(0)
				for b.Loop() {
					if err := f.WriteAt(bufs, at); err != nil {
						b.Fatal(err)
					}
					if err := f.Sync(); err != nil {
						b.Fatal(err)
					}
					if at += int64(size); at+int64(size) > fileBytes {
						at = 0
					}
				}
			})
		}
	}
}

func sizeName(n int) string {
	switch n {
	case 4 << 10:
		return "4 KiB"
	case 64 << 10:
		return "64 KiB"
	}
	return "512 KiB"
}

// Writing early is writing: all of it, in order, whatever the sizes.
func TestEarlyWritesAreWhole(t *testing.T) {
	d := openTest(t)
	f, err := d.Create("f")
	must(t, err)
	var bufs [][]byte
	for i, n := range []int{1, 0, 3 << 20, 4095, earlyBytes, earlyBytes + 1} {
		bufs = append(bufs, bytes.Repeat([]byte{byte(i + 1)}, n))
	}
	must(t, f.(storage.EarlyWriter).WriteEarly(bufs, 7))
	must(t, f.Sync())
	want := append(make([]byte, 7), bytes.Join(bufs, nil)...)
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was written early does not read back: %v", err)
	}
	must(t, f.Close())
}
