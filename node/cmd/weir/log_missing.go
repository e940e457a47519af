package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage"
)

// missingSegment is a segment that a checkpoint names and that is not there.
type missingSegment struct {
	path      string
	partition model.TopicPartition
	base, end model.Offset // of the segment after it; NoOffset if it is the last
	bytes     int64
}

// removals is what the journal says was removed: partitions, and what lies before where a log starts now.
type removals struct {
	partitions map[model.TopicPartition]bool
	starts     map[model.TopicPartition]model.Offset
}

func (r *removals) has(m *missingSegment) bool {
	start := r.starts[m.partition]
	return r.partitions[m.partition] || m.end != model.NoOffset && m.end <= start || m.end == model.NoOffset && m.base < start
}

// judgeMissing reports the segments that nobody has removed. Between two checkpoints only the journal knows of
// deletions and retention; it is read before the checkpoint is looked at again, so that one that came meanwhile, and
// released the journal, is not missed.
func (v *verifier) judgeMissing(root string) error {
	if len(v.missing) == 0 {
		return nil
	}
	removed, err := readRemovals(filepath.Join(root, storage.JournalDir))
	if err != nil {
		return err
	}
	now, _, err := newerManifest(root)
	if err != nil {
		return err
	}
	missing := v.missing
	v.missing = nil
	for i := range missing {
		m := &missing[i]
		if !removed.has(m) && names(now, m) {
			v.found("missing-bytes", m.path, 0, false, "the segment is gone; %d bytes of it were durable", m.bytes)
		}
	}
	return nil
}

// names reports whether a checkpoint names a segment.
func names(m *storage.Manifest, missing *missingSegment) bool {
	return slices.ContainsFunc(m.Partitions, func(p storage.ManifestPartition) bool {
		return p.Partition == missing.partition &&
			slices.ContainsFunc(p.Segments, func(s storage.ManifestSegment) bool { return s.Base == missing.base })
	})
}

// readRemovals reads all journal files. What older ones say is in the checkpoint too, and does no harm: offsets never
// go back and a partition's id is never used again.
func readRemovals(dir string) (*removals, error) {
	r := &removals{partitions: map[model.TopicPartition]bool{}, starts: map[model.TopicPartition]model.Offset{}}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		err := r.read(filepath.Join(dir, file.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, storage.ErrDamaged) { // damage is told elsewhere
			return nil, err
		}
	}
	return r, nil
}

func (r *removals) read(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := in.Stat()
	if err == nil {
		err = storage.WalkJournal(in, info.Size(), func(g *storage.JournalGroup) error {
			for i := range g.Entries {
				switch e := &g.Entries[i]; e.Kind {
				case "delete":
					r.partitions[e.Partition] = true
				case "log-start":
					r.starts[e.Partition] = max(r.starts[e.Partition], e.BaseOffset)
				}
			}
			return nil
		})
	}
	return errors.Join(err, in.Close())
}
