package storage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/core/storage/storagetest"
)

var versionedFiles = []string{storage.ManifestPath, storage.ManifestCopyPath, storage.MetaPath}

// setVersion gives a frame on the disk another version, and a checksum to go with it.
func setVersion(disk *storagetest.MemoryDisk, path string, version uint32) {
	was := disk.Bytes(path)
	b := bytes.Clone(was)
	binary.BigEndian.PutUint32(b[4:], version)
	end := 16 + binary.BigEndian.Uint64(b[8:])
	binary.BigEndian.PutUint64(b[end:], xxhash.Sum64(b[:end]))
	for i := range b {
		for bit := range 8 {
			if (b[i]^was[i])>>bit&1 != 0 {
				disk.Flip(path, int64(i*8+bit))
			}
		}
	}
}

// A directory of the version before is taken over with what is in its journal, and becomes one that older builds refuse:
// they would take a truncation for the journal's end. A later version is refused.
func TestDirectoryOfTheVersionBeforeIsTakenOver(t *testing.T) {
	for version := uint32(1); version <= storage.FormatVersion+1; version++ {
		r := newRig(t, smallConfig())
		tp := topic(1)
		r.create(tp, smallLog())
		want := r.fill(tp, 0, 5, 100)
		r.disk.Crash(storagetest.LoseUnsynced, 0)
		for _, path := range versionedFiles {
			setVersion(r.disk, path, version)
		}
		if version < 2 || version > storage.FormatVersion {
			before := map[string][]byte{}
			for _, path := range r.disk.Paths() {
				before[path] = r.disk.Bytes(path)
			}
			if _, _, err := openEngine(r); !errors.Is(err, storage.ErrVersion) {
				t.Errorf("version %d: opened with %v", version, err)
			}
			for _, path := range r.disk.Paths() {
				if !bytes.Equal(r.disk.Bytes(path), before[path]) {
					t.Errorf("version %d: %s was changed", version, path)
				}
			}
			continue
		}
		r.open()
		if got := r.readAll(tp, 0, 5); !bytes.Equal(got, want) || r.rec.ReplayedEntries != 5 {
			t.Errorf("version %d: %d bytes of %d, %d entries replayed", version, len(got), len(want), r.rec.ReplayedEntries)
		}
		for _, path := range versionedFiles[:2] {
			if v := binary.BigEndian.Uint32(r.disk.Bytes(path)[4:]); v != storage.FormatVersion {
				t.Errorf("%s is of version %d after the start", path, v)
			}
		}
	}
}
