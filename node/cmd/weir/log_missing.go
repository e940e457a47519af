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

// missingSegment is a segment that a checkpoint names and that is not there, or not all of it.
type missingSegment struct {
	path      string
	partition model.TopicPartition
	base, end model.Offset // of the segment after it; NoOffset if it is the last
	bytes     int64
	gone      bool
	left      int64 // bytes that are there
}

// removals is what the journal says was removed: partitions, what lies before where a log starts now, and what was
// truncated since a checkpoint.
type removals struct {
	since      storage.LSN // the checkpoint's
	partitions map[model.TopicPartition]bool
	starts     map[model.TopicPartition]model.Offset
	cuts       map[model.TopicPartition][]truncation
}

// truncation says that segments that begin at or behind base are gone, but for some bytes of that one.
type truncation struct {
	base  model.Offset
	bytes int64
}

func (r *removals) has(m *missingSegment) bool {
	start := r.starts[m.partition]
	return r.partitions[m.partition] || m.end != model.NoOffset && m.end <= start || m.end == model.NoOffset && m.base < start ||
		r.leaves(m.partition, m.base, m.bytes) <= m.left
}

// leaves is how much truncations leave of a segment.
func (r *removals) leaves(tp model.TopicPartition, base model.Offset, bytes int64) int64 {
	for _, c := range r.cuts[tp] {
		switch {
		case base > c.base:
			return 0
		case base == c.base:
			bytes = min(bytes, c.bytes)
		}
	}
	return bytes
}

// cut takes from what a checkpoint says of partitions what was truncated since.
func (r *removals) cut(m *storage.Manifest) {
	for i := range m.Partitions {
		p := &m.Partitions[i]
		left := p.Segments[:0]
		for _, s := range p.Segments {
			if s.SizeBytes = r.leaves(p.Partition, s.Base, s.SizeBytes); s.SizeBytes > 0 {
				left = append(left, s)
			}
		}
		p.Segments = left
	}
}

// judgeMissing reports the segments that nobody has removed. Between two checkpoints only the journal knows of
// deletions and retention; it is read before the checkpoint is looked at again, so that one that came meanwhile, and
// released the journal, is not missed.
func (v *verifier) judgeMissing(root string) error {
	if len(v.missing) == 0 {
		return nil
	}
	removed, err := readRemovals(filepath.Join(root, storage.JournalDir), v.since)
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
			if m.gone {
				v.found("missing-bytes", m.path, 0, false, "the segment is gone; %d bytes of it were durable", m.bytes)
			} else {
				v.found("missing-bytes", m.path, m.left, false, "the segment has %d bytes; %d were durable", m.left, m.bytes)
			}
		}
	}
	return nil
}

// names reports whether a checkpoint names what is missing.
func names(m *storage.Manifest, missing *missingSegment) bool {
	return slices.ContainsFunc(m.Partitions, func(p storage.ManifestPartition) bool {
		return p.Partition == missing.partition &&
			slices.ContainsFunc(p.Segments, func(s storage.ManifestSegment) bool {
				return s.Base == missing.base && s.SizeBytes > missing.left
			})
	})
}

// readRemovals reads all journal files. What older ones say than the checkpoint is in that, too; of log starts it does no harm, as
// what was before one does not come back.
func readRemovals(dir string, since storage.LSN) (*removals, error) {
	r := &removals{
		since: since, partitions: map[model.TopicPartition]bool{}, starts: map[model.TopicPartition]model.Offset{},
		cuts: map[model.TopicPartition][]truncation{},
	}
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
					if g.LSN > r.since { // since then it may have come back: a replica that was filled anew
						r.partitions[e.Partition] = true
					}
				case "log-start":
					r.starts[e.Partition] = max(r.starts[e.Partition], e.BaseOffset)
				case "truncate":
					if g.LSN > r.since {
						r.cuts[e.Partition] = append(r.cuts[e.Partition], truncation{e.SegmentBase, e.Position})
					}
				case "start-at":
					if g.LSN > r.since {
						r.cuts[e.Partition] = append(r.cuts[e.Partition], truncation{})
					}
				}
			}
			return nil
		})
	}
	return errors.Join(err, in.Close())
}
