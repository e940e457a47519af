package disk

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/weirmq/weir/core/storage"
)

func TestSyncManySyncsEachAndForgivesDirectoriesThatAreGone(t *testing.T) {
	d := openTest(t)
	var files []storage.File
	dirs := []string{".", "gone"}
	for i := range 3*syncsAtOnce + 5 {
		dir := fmt.Sprint("d", i)
		must(t, d.MakeDir(dir))
		f, err := d.Create(dir + "/f")
		must(t, err)
		must(t, f.WriteAt([][]byte{[]byte("x")}, 0))
		files, dirs = append(files, f), append(dirs, dir)
	}
	must(t, d.SyncMany(files, dirs))
	must(t, d.SyncMany(nil, nil))
	must(t, d.SyncMany(files[:1], nil))

	// One that cannot be synced fails the whole, and stays failed.
	reader, writer, err := os.Pipe()
	must(t, err)
	defer reader.Close()
	defer writer.Close()
	bad := files[syncsAtOnce+1].(*file)
	whole := bad.os
	bad.os = writer
	if err := d.SyncMany(files, dirs); err == nil {
		t.Error("a sync that failed went unreported")
	}
	bad.os = whole
	if err := bad.Sync(); err == nil {
		t.Error("a file whose sync failed among many can be synced again")
	}
	if err := d.SyncMany(nil, []string{"d0/f/not a directory"}); err == nil || errors.Is(err, storage.ErrNotExist) {
		t.Errorf("a directory that cannot be synced: %v", err)
	}
	for _, f := range files {
		must(t, f.Close())
	}
}

// BenchmarkSyncMany syncs a hundred files that have just grown, as a round of a checkpoint does, at once and one
// by one.
func BenchmarkSyncMany(b *testing.B) {
	for _, many := range []bool{false, true} {
		b.Run(fmt.Sprintf("many=%v", many), func(b *testing.B) {
			d, err := Open(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = d.Close() }()
			var files []storage.File
			for i := range 100 {
				f, err := d.Create(fmt.Sprint("f", i))
				if err != nil {
					b.Fatal(err)
				}
				files = append(files, f)
			}
			at := int64(0)
			bufs := [][]byte{make([]byte, 300)}
			for b.Loop() {
				for _, f := range files {
					if err := f.WriteAt(bufs, at); err != nil {
						b.Fatal(err)
					}
				}
				at += 300
				if many {
					err = d.SyncMany(files, nil)
				} else {
					for _, f := range files {
						err = errors.Join(err, f.Sync())
					}
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			for _, f := range files {
				if err := f.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
