package storage

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
)

// Names under a data directory.
const (
	partitionsDir   = "partitions"
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	stateSuffix     = ".state"

	offsetDigits  = 20
	topicIDDigits = 22
)

func partitionDir(tp model.TopicPartition) string {
	return partitionsDir + "/" + tp.Topic.String() + "-" + strconv.Itoa(int(tp.Partition))
}

func parsePartitionDir(name string) (model.TopicPartition, bool) {
	if len(name) < topicIDDigits+2 || name[topicIDDigits] != '-' {
		return model.TopicPartition{}, false
	}
	id, err := model.ParseTopicID(name[:topicIDDigits])
	if err != nil {
		return model.TopicPartition{}, false
	}
	n, err := strconv.ParseInt(name[topicIDDigits+1:], 10, 32)
	if err != nil || n < 0 || strconv.Itoa(int(n)) != name[topicIDDigits+1:] {
		return model.TopicPartition{}, false
	}
	return model.TopicPartition{Topic: id, Partition: model.Partition(n)}, true
}

func offsetName(o model.Offset) string {
	s := strconv.FormatInt(int64(o), 10)
	return strings.Repeat("0", offsetDigits-len(s)) + s
}

// parseOffsetName reads a file name of 20 digits and a suffix.
func parseOffsetName(name string) (o model.Offset, suffix string, ok bool) {
	if len(name) < offsetDigits {
		return 0, "", false
	}
	n, err := strconv.ParseInt(name[:offsetDigits], 10, 64)
	if err != nil || n < 0 {
		return 0, "", false
	}
	return model.Offset(n), name[offsetDigits:], true
}

// segment is one file of a log. The last of a partition is active: the only one that grows.
//
//	no file ──first batch──► active ──roll──► closed ──retention──► removed
type segment struct {
	base      model.Offset
	sizeBytes int64
	firstTS   model.Timestamp
	maxTS     model.Timestamp
	maxAt     model.Offset

	index *index // nil until needed
	file  File   // nil while closed
	path  string // without suffix

	// What was here before this process started is checked when first read: below trustFrom, the ranges
	// that have been.
	trustFrom int64
	checked   []span

	removed      bool  // its names are gone; the file is closed when nothing uses it
	fileBytes    int64 // during recovery: what the disk says
	short        bool  // during recovery: bytes are missing before some that were written
	closed       bool  // it was cut and does not grow in this life
	fresh        bool  // during recovery: index files under its name may be another's
	dirty        bool  // written since a checkpoint last took it up
	pins         int   // syncs under way that use file
	newer, older *segment
	linked       bool
	usedAt       uint64 // the count of checkpoints at its last use
}

// span is a range of bytes, the end exclusive.
type span struct{ from, to int64 }

func newSegment(dir string, base model.Offset) *segment {
	return &segment{
		base: base, firstTS: model.NoTimestamp, maxTS: model.NoTimestamp, maxAt: base,
		path: dir + "/" + offsetName(base),
	}
}

func (s *segment) logPath() string { return s.path + logSuffix }

func (s *segment) fail(err error) error { return fmt.Errorf("%s: %w", s.logPath(), err) }

// spansMax bounds what is remembered of ranges read out of order; a range forgotten is checked again.
const spansMax = 64

// unchecked returns the first range within [from, to) that must still be checked.
func (s *segment) unchecked(from, to int64) (span, bool) {
	to = min(to, s.trustFrom)
	for _, c := range s.checked {
		if from < c.from {
			break
		}
		if from < c.to {
			from = c.to
		}
	}
	if from >= to {
		return span{}, false
	}
	for _, c := range s.checked {
		if c.from > from {
			return span{from, min(to, c.from)}, true
		}
	}
	return span{from, to}, true
}

// markChecked remembers that [from, to) is sound.
func (s *segment) markChecked(from, to int64) {
	if from >= to || from >= s.trustFrom {
		return
	}
	i := 0
	for i < len(s.checked) && s.checked[i].to < from {
		i++
	}
	k := i
	for k < len(s.checked) && s.checked[k].from <= to {
		from, to = min(from, s.checked[k].from), max(to, s.checked[k].to)
		k++
	}
	if i == k {
		if len(s.checked) >= spansMax {
			s.checked = s.checked[1:]
			i = max(0, i-1)
		}
		s.checked = append(s.checked, span{})
		copy(s.checked[i+1:], s.checked[i:])
		s.checked[i] = span{from, to}
		return
	}
	s.checked[i] = span{from, to}
	s.checked = append(s.checked[:i+1], s.checked[k:]...)
}

// openFiles is the segments whose files are open, most recently used first.
type openFiles struct {
	disk           Disk
	max            int
	count          int
	newest, oldest *segment
}

func (o *openFiles) unlink(s *segment) {
	if !s.linked {
		return
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		o.newest = s.older
	}
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		o.oldest = s.newer
	}
	s.newer, s.older, s.linked = nil, nil, false
	o.count--
}

func (o *openFiles) link(s *segment) {
	s.older, s.newer, s.linked = o.newest, nil, true
	if o.newest != nil {
		o.newest.newer = s
	} else {
		o.oldest = s
	}
	o.newest = s
	o.count++
}

// get returns the segment's file, opening it if need be and closing the least recently used beyond the
// maximum.
func (o *openFiles) get(s *segment) (File, error) {
	if s.file == nil {
		f, err := o.disk.Open(s.logPath())
		if err != nil {
			return nil, s.fail(err)
		}
		if err := o.adopt(s, f); err != nil {
			return nil, err
		}
		return s.file, nil
	}
	if o.newest != s {
		o.unlink(s)
		o.link(s)
	}
	return s.file, nil
}

// adopt takes a file that has just been opened or created.
func (o *openFiles) adopt(s *segment, f File) error {
	s.file = f
	o.link(s)
	for c := o.oldest; c != nil && o.count > o.max; {
		next := c.newer
		if c.pins == 0 && c != s {
			if err := o.close(c); err != nil {
				return err
			}
		}
		c = next
	}
	return nil
}

// close closes a segment's file. Its index goes, too, when the files hold all of it.
func (o *openFiles) close(s *segment) error {
	if s.file == nil {
		return nil
	}
	invariant.Check(s.pins == 0, "a file that is being synced stays open")
	f := s.file
	o.unlink(s)
	s.file = nil
	if s.index != nil && !s.index.unsaved() {
		s.index = nil
	}
	if err := f.Close(); err != nil {
		return s.fail(err)
	}
	return nil
}

// create makes the segment's file. A leftover of an unfinished life under the same name, which nothing
// durable knows of, is removed first.
func (o *openFiles) create(s *segment) error {
	f, err := o.disk.Create(s.logPath())
	if err != nil && !errors.Is(err, ErrFull) {
		if rerr := o.disk.Remove(s.logPath()); rerr != nil {
			return s.fail(err)
		}
		f, err = o.disk.Create(s.logPath())
	}
	if err != nil {
		return s.fail(err)
	}
	return o.adopt(s, f)
}
