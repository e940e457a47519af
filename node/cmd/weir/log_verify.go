package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/node/explain"
)

func (a *app) logVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify PATH...", Short: "Check that files are what was written", Args: cobra.MinimumNArgs(1),
		Long: `Reads everything below each PATH and checks it: batches (checksums, offsets without a gap), indexes (each entry leads to
the batch that it names), journal groups and checkpoints. PATH is a file, the directory of a partition, of weir or of
Kafka, or a data directory. Nothing is changed; the node may be running, and what it has not made durable yet is left
out of the judgement.

Problems are lines on stdout: a code, the file, the position, what is wrong. With damage the exit code is 1.

  bad-crc           a batch does not have the checksum that it was written with
  bad-batch         what stands there is no batch, or is cut short
  bad-offset        offsets have a gap, go back, or do not begin as the file's name says
  missing-bytes     a segment is missing or shorter than it was made durable
  bad-index         an index leads to another batch than it names; weir repairs that by itself
  bad-journal       a journal group that was durable is not whole
  bad-checkpoint    a checkpoint cannot be read; one of two is harmless
  bad-identity      the file that says whose directory it is cannot be read
  offline           the node has found damage in the partition before`,
		Example: "  weir log verify weir-data\n  weir log verify /var/lib/kafka/orders-0 --output json",
		RunE: func(_ *cobra.Command, paths []string) error {
			v := &verifier{app: a}
			stop := a.progress(func() string {
				return fmt.Sprintf("%d MiB in %d segments, %d problems", v.bytes.Load()>>20, v.segments.Load(), v.problems.Load())
			})
			var errs error
			for _, path := range paths {
				errs = errors.Join(errs, v.path(path))
			}
			stop()
			if errs != nil {
				return errs
			}
			return v.conclude()
		},
	}
}

// verifier checks files and counts what it finds.
type verifier struct {
	app                       *app
	bytes, segments, problems atomic.Int64
	partitions, batches       int64
	repairable                int64 // of the problems
	missing                   []missingSegment
	since                     storage.LSN // the checkpoint that a directory is judged by
	err                       error       // of writing
}

// problem is one thing that is wrong.
type problem struct {
	Code       string `json:"code"`
	Path       string `json:"path"`
	Position   int64  `json:"position"`
	Message    string `json:"message"`
	Repairable bool   `json:"repairable"` // the node mends it by itself
}

func (v *verifier) found(code, path string, position int64, repairable bool, format string, args ...any) {
	p := problem{code, path, position, fmt.Sprintf(format, args...), repairable}
	v.problems.Add(1)
	if repairable {
		v.repairable++
	}
	v.err = errors.Join(v.err, v.app.print(&p, "%s %s at %d: %s\n", p.Code, p.Path, p.Position, p.Message))
}

func (v *verifier) conclude() error {
	sum := map[string]int64{
		"partitions": v.partitions, "segments": v.segments.Load(), "batches": v.batches, "bytes": v.bytes.Load(),
		"problems": v.problems.Load(), "repairable_problems": v.repairable,
	}
	err := errors.Join(v.err, v.app.print(sum, "%d partitions, %d segments, %d batches, %d bytes: %d problems\n", sum["partitions"],
		sum["segments"], sum["batches"], sum["bytes"], sum["problems"]))
	if damaged := v.problems.Load() - v.repairable; damaged > 0 && err == nil {
		err = fail(explain.DataDamaged, "", fmt.Errorf("%d of the %d problems are damage that the node cannot mend", damaged, v.problems.Load()))
	}
	return err
}

func (v *verifier) path(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		f, err := fileAt(path)
		if err != nil {
			return err
		}
		return v.file(&f)
	}
	if root, ok := dataDir(path); ok {
		return v.directory(root)
	}
	files, err := partitionFiles(path, plainRecords)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return usage("%s is neither a data directory nor the directory of a partition", path)
	}
	return v.partition(path, files, nil)
}

// file checks one file by itself; a segment with the indexes beside it.
func (v *verifier) file(f *logFile) error {
	switch f.kind {
	case fileSegment:
		_, err := v.segment(f, -1, model.NoOffset)
		return err
	case fileIndex, fileTimeIndex:
		s := *f
		s.kind, s.path = fileSegment, f.path[:strings.LastIndexByte(f.path, '.')]+".log"
		_, err := v.segment(&s, -1, model.NoOffset)
		return err
	case fileJournal:
		return v.journal(f.path)
	case fileManifest, fileIdentity:
	}
	b, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	if f.kind == fileIdentity {
		if _, err := storage.ReadIdentity(b); err != nil {
			v.found("bad-identity", f.path, 0, false, "%v", err)
		}
	} else if _, err := storage.ReadManifest(b); err != nil {
		v.found("bad-checkpoint", f.path, 0, false, "%v", err)
	}
	return nil
}

// newerManifest reads both copies of the manifest.
func newerManifest(root string) (newer *storage.Manifest, bad map[string]error, err error) {
	bad = map[string]error{}
	var errs error
	for _, name := range []string{storage.ManifestPath, storage.ManifestCopyPath} {
		path := filepath.Join(root, name)
		b, err := os.ReadFile(path)
		var m *storage.Manifest
		if err == nil {
			m, err = storage.ReadManifest(b)
		}
		if err != nil {
			bad[path] = err
			errs = errors.Join(errs, fmt.Errorf("%s: %w", path, err))
		} else if newer == nil || m.Generation > newer.Generation {
			newer = m
		}
	}
	if newer == nil {
		return nil, bad, fail(explain.DataDamaged, "", errs)
	}
	return newer, bad, nil
}

// directory checks a whole data directory by its checkpoint.
func (v *verifier) directory(root string) error {
	identity := logFile{path: filepath.Join(root, storage.MetaPath), kind: fileIdentity}
	switch err := v.file(&identity); {
	case errors.Is(err, fs.ErrNotExist):
		v.found("bad-identity", identity.path, 0, false, "the file is gone")
	case err != nil:
		return err
	}
	m, bad, err := newerManifest(root)
	for path, err := range bad {
		v.found("bad-checkpoint", path, 0, m != nil, "%v", err)
	}
	if err != nil {
		return nil // it is among the problems
	}
	v.since = m.LSN
	removed, err := readRemovals(filepath.Join(root, storage.JournalDir), v.since)
	if err != nil {
		return err
	}
	removed.cut(m)
	known := map[string]bool{}
	for i := range m.Partitions {
		p := &m.Partitions[i]
		name := storage.PartitionDir(p.Partition)
		known[name] = true
		dir := filepath.Join(root, storage.PartitionsDir, name)
		if p.Damage != "" {
			v.found("offline", dir, 0, false, "%s", p.Damage)
		}
		files, err := partitionFiles(dir, plainRecords)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := v.partition(dir, files, p); err != nil {
			return err
		}
	}
	dirs, err := os.ReadDir(filepath.Join(root, storage.PartitionsDir))
	if err != nil {
		return err
	}
	for _, d := range dirs {
		// Made since the checkpoint: the journal knows what is durable there, the checksums do, too.
		dir := filepath.Join(root, storage.PartitionsDir, d.Name())
		if files, err := partitionFiles(dir, plainRecords); err == nil && !known[d.Name()] {
			if err := v.partition(dir, files, &storage.ManifestPartition{}); err != nil {
				return err
			}
		}
	}
	journals, err := os.ReadDir(filepath.Join(root, storage.JournalDir))
	if err != nil {
		return err
	}
	for _, j := range journals {
		// A running node gives journal files that it has no use for any more other names.
		if err := v.journal(filepath.Join(root, storage.JournalDir, j.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return v.judgeMissing(root)
}

// partition checks the segments of one directory. With a manifest what lies behind its sizes may be unfinished.
func (v *verifier) partition(dir string, files []logFile, m *storage.ManifestPartition) error {
	v.partitions++
	next := model.NoOffset
	for i := range files {
		f := &files[i]
		if f.kind != fileSegment {
			continue
		}
		durable := int64(-1)
		if m != nil {
			durable = 0
			if k := slices.IndexFunc(m.Segments, func(s storage.ManifestSegment) bool { return s.Base == f.base }); k >= 0 {
				durable = m.Segments[k].SizeBytes
			}
		}
		end, err := v.segment(f, durable, next)
		if m != nil && errors.Is(err, fs.ErrNotExist) {
			next = model.NoOffset // it went in this moment: see below
			continue
		}
		if err != nil {
			return err
		}
		next = model.NoOffset
		if m != nil && durable > 0 {
			next = end
		}
	}
	if m == nil {
		return nil
	}
	for i, s := range m.Segments {
		missing := missingSegment{
			path: filepath.Join(dir, fmt.Sprintf("%020d.log", s.Base)), partition: m.Partition, base: s.Base, end: model.NoOffset,
			bytes: s.SizeBytes,
		}
		if i+1 < len(m.Segments) {
			missing.end = m.Segments[i+1].Base
		}
		info, err := os.Stat(missing.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing.gone = true
			v.missing = append(v.missing, missing)
		case err != nil:
			return err
		case info.Size() < s.SizeBytes:
			missing.left = info.Size()
			v.missing = append(v.missing, missing)
		}
	}
	return nil
}

// segment checks a segment and its indexes. durable is how much of it must be right, -1 if all; next is the offset
// that it must begin with, unless NoOffset. It returns the offset after the last batch.
func (v *verifier) segment(f *logFile, durable int64, next model.Offset) (model.Offset, error) {
	v.segments.Add(1)
	judged := func(position int64) bool { return durable < 0 || position < durable }
	if next != model.NoOffset && f.base != next && durable != 0 {
		v.found("bad-offset", f.path, 0, false, "the segment begins at offset %d; the one before it ends at %d", f.base, next)
	}
	want, end := f.base, int64(0)
	x, err := v.indexes(f)
	if err != nil {
		return want, err
	}
	err = f.walk(func(n int) { v.bytes.Add(int64(n)) }, func(position int64, h *record.Header, _ record.Batch, crc error) error {
		v.batches++
		end = position + int64(h.SizeBytes)
		if !judged(position) {
			if crc != nil || h.BaseOffset != want {
				return errUnfinished
			}
			want = h.NextOffset()
			x.batch(v, position, h)
			return nil
		}
		if crc != nil {
			v.found("bad-crc", f.path, position, false, "%v (offsets %d to %d)", crc, h.BaseOffset, h.LastOffset())
		}
		switch {
		case h.BaseOffset < want, h.BaseOffset > want && durable >= 0:
			v.found("bad-offset", f.path, position, false, "a batch of offset %d where %d was expected", h.BaseOffset, want)
		}
		want = h.NextOffset() // compaction leaves gaps in Kafka's segments
		x.batch(v, position, h)
		return nil
	})
	switch {
	case errors.Is(err, errUnfinished):
	case errors.Is(err, storage.ErrFrame):
		if judged(end) {
			v.found("bad-batch", f.path, end, false, "%v", err)
		}
	case err != nil:
		return want, err
	}
	x.end(v, end)
	return want, nil
}

// errUnfinished ends a walk at what was never made durable.
var errUnfinished = errors.New("not durable yet")

// indexCheck follows a segment's indexes while its batches go by.
type indexCheck struct {
	offsetsPath, timesPath string
	offsets                []storage.IndexEntry
	times                  []storage.TimeIndexEntry
	atOffset, atTime       int // the next entries
	bad                    bool
}

// indexes reads the index files of a segment, as far as there are any.
func (v *verifier) indexes(f *logFile) (*indexCheck, error) {
	stem := strings.TrimSuffix(f.path, ".log")
	x := &indexCheck{offsetsPath: stem + ".index", timesPath: stem + ".timeindex"}
	for _, path := range []string{x.offsetsPath, x.timesPath} {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if path == x.offsetsPath {
			x.offsets, err = storage.ReadIndex(b, f.base)
		} else {
			x.times, err = storage.ReadTimeIndex(b, f.base)
		}
		if err != nil {
			v.found("bad-index", path, 0, true, "%v", err)
		}
	}
	return x, nil
}

func (x *indexCheck) batch(v *verifier, position int64, h *record.Header) {
	for ; x.atOffset < len(x.offsets) && x.offsets[x.atOffset].Position <= position; x.atOffset++ {
		if e := x.offsets[x.atOffset]; !x.bad && (e.Position != position || e.Offset != h.LastOffset()) {
			x.bad = true // the rest follows from the first
			v.found("bad-index", x.offsetsPath, int64(x.atOffset)*8, true, "entry %d leads to %d for offset %d; offsets %d to %d begin at %d",
				x.atOffset, e.Position, e.Offset, h.BaseOffset, h.LastOffset(), position)
		}
	}
	for ; x.atTime < len(x.times) && x.times[x.atTime].Offset <= h.LastOffset(); x.atTime++ {
		if e := x.times[x.atTime]; !x.bad && e.Offset == h.LastOffset() && h.MaxTimestamp < e.Timestamp {
			x.bad = true
			v.found("bad-index", x.timesPath, int64(x.atTime)*12, true, "entry %d has time %d for offset %d; the batch's greatest is %d",
				x.atTime, e.Timestamp, e.Offset, h.MaxTimestamp)
		}
	}
}

// end checks that no entry is left when the batches are.
func (x *indexCheck) end(v *verifier, end int64) {
	if n := len(x.offsets); !x.bad && x.atOffset < n && x.offsets[x.atOffset].Position < end {
		v.found("bad-index", x.offsetsPath, int64(x.atOffset)*8, true, "entry %d leads to %d, where no batch begins", x.atOffset, x.offsets[x.atOffset].Position)
	}
}

func (v *verifier) journal(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := in.Stat()
	if err == nil {
		err = storage.WalkJournal(in, info.Size(), func(g *storage.JournalGroup) error {
			v.bytes.Add(int64(g.Bytes))
			return nil
		})
		if errors.Is(err, storage.ErrDamaged) {
			v.found("bad-journal", path, 0, false, "%v", err)
			err = nil
		}
	}
	return errors.Join(err, in.Close())
}
