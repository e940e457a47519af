package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
)

func (a *app) logCommand() *cobra.Command {
	c := &cobra.Command{Use: "log", Short: "Look into the files of a data directory"}
	c.AddCommand(a.logDumpCommand(), a.logVerifyCommand())
	return c
}

// readAhead is how much of a file is read at a time.
const readAhead = 1 << 20

// logFile is one file that dump or verify reads. Nothing is ever written, so the node may be running.
type logFile struct {
	path string
	kind fileKind
	base model.Offset // of a segment and its indexes
	of   logKind
}

type fileKind string

const (
	fileSegment   fileKind = "segment"
	fileIndex     fileKind = "index"
	fileTimeIndex fileKind = "timeindex"
	fileJournal   fileKind = "journal"
	fileManifest  fileKind = "manifest"
	fileIdentity  fileKind = "identity"
)

// logKind says what the records of a log are.
type logKind uint8

const (
	plainRecords logKind = iota
	metadataRecords
	offsetRecords
)

// fileAt says what a file is, by its name.
func fileAt(path string) (logFile, error) {
	name := filepath.Base(path)
	f := logFile{path: path}
	if base, suffix, ok := storage.ParseSegmentName(name); ok {
		f.base = base
		switch suffix {
		case ".log":
			f.kind = fileSegment
		case ".index":
			f.kind = fileIndex
		case ".timeindex":
			f.kind = fileTimeIndex
		}
	}
	switch {
	case strings.HasSuffix(name, ".journal"):
		f.kind = fileJournal
	case name == storage.ManifestPath || name == storage.ManifestCopyPath:
		f.kind = fileManifest
	case name == storage.MetaPath:
		f.kind = fileIdentity
	}
	if f.kind == "" {
		return f, usage("%s is none of the files that weir or Kafka keep records in (.log, .index, .timeindex, .journal, checkpoint.a, checkpoint.b, meta)", path)
	}
	return f, nil
}

// dataDir is where the storage engine's files are in a data directory, or that directory itself.
func dataDir(dir string) (string, bool) {
	for _, d := range []string{filepath.Join(dir, "log"), dir} {
		if _, err := os.Stat(filepath.Join(d, storage.PartitionsDir)); err == nil {
			return d, true
		}
	}
	return "", false
}

// partitionFiles lists the files of one partition's directory, of weir or of Kafka.
func partitionFiles(dir string, of logKind) ([]logFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []logFile
	for _, e := range entries {
		if f, err := fileAt(filepath.Join(dir, e.Name())); err == nil && f.kind != fileIdentity {
			f.of = of
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b logFile) int { return strings.Compare(a.path, b.path) })
	return files, nil
}

// kindOfDir says what the records in a partition's directory are, by its name: Kafka's has the topic's name in it,
// weir's its id, whose name the metadata log knows.
func kindOfDir(dir string) logKind {
	name := filepath.Base(dir)
	if tp, ok := storage.ParsePartitionDir(name); ok {
		if tp.Topic == model.MetadataTopicID {
			return metadataRecords
		}
		if names := topicNames(filepath.Dir(filepath.Dir(dir))); names[tp.Topic] == "__consumer_offsets" {
			return offsetRecords
		}
		return plainRecords
	}
	switch {
	case strings.HasPrefix(name, "__cluster_metadata-"):
		return metadataRecords
	case strings.HasPrefix(name, "__consumer_offsets-"):
		return offsetRecords
	}
	return plainRecords
}

// topicNames reads the names of topics from the metadata log under an engine's directory, as far as it can be read:
// names are a help for the eye, and a deleted topic's is one, too.
func topicNames(root string) map[model.TopicID]string {
	names := map[model.TopicID]string{model.MetadataTopicID: "__cluster_metadata"}
	dir := filepath.Join(root, storage.PartitionsDir, storage.PartitionDir(model.TopicPartition{Topic: model.MetadataTopicID}))
	files, err := partitionFiles(dir, metadataRecords)
	if err != nil {
		return names
	}
	var d record.Decompressor
	for _, f := range files {
		if f.kind != fileSegment {
			continue
		}
		_ = f.walk(nil, func(_ int64, _ *record.Header, b record.Batch, crc error) error {
			if crc != nil {
				return nil
			}
			for r, err := range record.Records(b, &d, 0) {
				if err != nil {
					break
				}
				if rec, _, err := protocol.ReadMetadataRecord(r.Value); err == nil {
					if t, ok := rec.(*protocol.TopicRecord); ok {
						names[model.TopicID(t.TopicID)] = t.Name
					}
				}
			}
			return nil
		})
	}
	return names
}

// walk reads a segment's batches.
func (f *logFile) walk(read func(n int), fn func(position int64, h *record.Header, b record.Batch, crc error) error) error {
	in, err := os.Open(f.path)
	if err != nil {
		return err
	}
	_, err = storage.WalkSegment(bufio.NewReaderSize(&counted{in, read}, readAhead), fn)
	return errors.Join(err, in.Close())
}

// counted tells how much is read.
type counted struct {
	r    io.Reader
	read func(n int)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.read != nil {
		c.read(n)
	}
	return n, err
}

// offsetRange is FROM:TO of --offsets, the end exclusive.
type offsetRange struct{ from, to model.Offset }

func parseOffsetRange(s string) (offsetRange, error) {
	r := offsetRange{0, model.Offset(1<<63 - 1)}
	from, to, colon := strings.Cut(s, ":")
	for _, part := range []struct {
		text string
		at   *model.Offset
	}{{from, &r.from}, {to, &r.to}} {
		if part.text == "" {
			continue
		}
		n, err := strconv.ParseInt(part.text, 10, 64)
		if err != nil || n < 0 {
			return r, usage("--offsets takes FROM:TO, either of which may be left out, not %q", s)
		}
		*part.at = model.Offset(n)
	}
	if !colon && from != "" {
		r.to = r.from + 1
	}
	return r, nil
}

func (r offsetRange) has(h *record.Header) bool {
	return h.LastOffset() >= r.from && h.BaseOffset < r.to
}

// placeAt is where in a file something is, for people.
func placeAt(path string, position int64) string { return fmt.Sprintf("%s at %d", path, position) }
