package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// index is one segment's sparse indexes, in Kafka's file formats:
//
//	.index      relative last offset of a batch (int32), its position in the segment (int32)
//	.timeindex  greatest timestamp so far (int64), relative last offset of the batch that reached it (int32)
//
// An entry is made for a batch that begins more than IndexIntervalBytes after the last one with an entry.
// Indexes are derived and carry no checksum. Whoever follows an entry checks that it leads to the batch that
// it names, and has the index rebuilt from the segment when it does not.
type index struct {
	offsets []offsetEntry
	times   []timeEntry

	sinceBytes int64 // since the last entry's batch began: that batch and those after it
	saved      int   // of offsets, already in the file
	savedTimes int
	exact      bool // the files hold nothing behind what was saved
}

type offsetEntry struct{ relative, position int32 }

type timeEntry struct {
	timestamp model.Timestamp
	relative  int32
}

const (
	offsetEntryBytes = 8
	timeEntryBytes   = 12
)

// add takes in a batch appended at position. maxTS and maxAt are the segment's, with this batch.
func (x *index) add(base model.Offset, h *record.Header, position int64, interval int32, maxTS model.Timestamp, maxAt model.Offset) {
	if x.sinceBytes > int64(interval) {
		x.offsets = append(x.offsets, offsetEntry{int32(h.LastOffset() - base), int32(position)})
		x.addTime(maxTS, int32(maxAt-base))
		x.sinceBytes = 0
	}
	x.sinceBytes += int64(h.SizeBytes)
}

// addTime adds a time entry if it is later than the last.
func (x *index) addTime(ts model.Timestamp, relative int32) {
	if n := len(x.times); ts < 0 || n > 0 && (x.times[n-1].timestamp >= ts || x.times[n-1].relative >= relative) {
		return
	}
	x.times = append(x.times, timeEntry{ts, relative})
}

// floor is the last entry whose offset is at or below the asked one; ok is false if there is none, and
// the search begins with the segment.
func (x *index) floor(relative int64) (e offsetEntry, ok bool) {
	i := sort.Search(len(x.offsets), func(i int) bool { return int64(x.offsets[i].relative) > relative })
	if i == 0 {
		return offsetEntry{}, false
	}
	return x.offsets[i-1], true
}

// floorPosition is the last entry whose position is at or below the asked one.
func (x *index) floorPosition(position int64) (e offsetEntry, ok bool) {
	i := sort.Search(len(x.offsets), func(i int) bool { return int64(x.offsets[i].position) > position })
	if i == 0 {
		return offsetEntry{}, false
	}
	return x.offsets[i-1], true
}

// floorTime is the last entry whose time is at or before ts.
func (x *index) floorTime(ts model.Timestamp) (e timeEntry, ok bool) {
	i := sort.Search(len(x.times), func(i int) bool { return x.times[i].timestamp > ts })
	if i == 0 {
		return timeEntry{}, false
	}
	return x.times[i-1], true
}

// greatestTime is the last entry for an offset at or below relative. If that offset has an entry in the
// offset index, it is the greatest time up to there.
func (x *index) greatestTime(relative int32) (e timeEntry, ok bool) {
	i := sort.Search(len(x.times), func(i int) bool { return x.times[i].relative > relative })
	if i == 0 {
		return timeEntry{}, false
	}
	return x.times[i-1], true
}

// errIndex says that an entry does not lead to the batch that it names.
var errIndex = errors.New("index does not fit its segment")

// decodeIndex reads both files of a segment of sizeBytes: entries up to the first that cannot be are
// taken, the rest is left to be scanned for.
func decodeIndex(offsets, times []byte, sizeBytes int64) *index {
	be := binary.BigEndian
	x := &index{}
	for ; len(offsets) >= offsetEntryBytes; offsets = offsets[offsetEntryBytes:] {
		e := offsetEntry{int32(be.Uint32(offsets)), int32(be.Uint32(offsets[4:]))}
		if e.relative < 0 || e.position <= 0 || int64(e.position) >= sizeBytes-record.HeaderBytes {
			break
		}
		if n := len(x.offsets); n > 0 && (x.offsets[n-1].relative >= e.relative || x.offsets[n-1].position >= e.position) {
			break
		}
		x.offsets = append(x.offsets, e)
	}
	for ; len(times) >= timeEntryBytes; times = times[timeEntryBytes:] {
		e := timeEntry{model.Timestamp(be.Uint64(times)), int32(be.Uint32(times[8:]))}
		if e.relative < 0 || e.timestamp < 0 {
			break
		}
		if n := len(x.times); n > 0 && (x.times[n-1].timestamp >= e.timestamp || x.times[n-1].relative >= e.relative) {
			break
		}
		x.times = append(x.times, e)
	}
	x.saved, x.savedTimes = len(x.offsets), len(x.times)
	return x
}

// cutUncertain forgets the offset entries behind the last time entry, if later times stand somewhere behind
// it: a crash may have kept more of one file than of the other, and what lies between must be read again.
// Otherwise the next time entry would be one that is later than its predecessor but not than all before it.
func (x *index) cutUncertain(s *segment) {
	n, keep := len(x.times), 0
	if s.maxTS < 0 || n > 0 && x.times[n-1].timestamp >= s.maxTS {
		return
	}
	if n > 0 {
		keep = sort.Search(len(x.offsets), func(i int) bool { return x.offsets[i].relative > x.times[n-1].relative })
	}
	if keep < len(x.offsets) {
		x.offsets = x.offsets[:keep]
		x.saved, x.exact = min(x.saved, keep), false
	}
}

// timesCovered is how many time entries there are up to the last offset entry. One behind it was made when the segment was
// closed, and would stand in the way of those for offset entries that are yet to be made, if the interval is another now.
func (x *index) timesCovered() int {
	if len(x.offsets) == 0 {
		return 0
	}
	last := x.offsets[len(x.offsets)-1].relative
	return sort.Search(len(x.times), func(i int) bool { return x.times[i].relative > last })
}

// timesSaved takes in that the file holds the entries that were read from it, as far as they are the same now.
func (x *index) timesSaved(known []timeEntry) {
	same := 0
	for same < len(known) && same < len(x.times) && known[same] == x.times[same] {
		same++
	}
	if x.savedTimes = min(x.savedTimes, same); same < len(known) {
		x.exact = false
	}
}

// cut forgets what lies at or behind a position, where the batch begins that relative is the first offset of.
func (x *index) cut(position, relative int64) {
	n := sort.Search(len(x.offsets), func(i int) bool { return int64(x.offsets[i].position) >= position })
	k := sort.Search(len(x.times), func(i int) bool { return int64(x.times[i].relative) >= relative })
	x.offsets, x.times = x.offsets[:n], x.times[:k]
	x.saved, x.savedTimes, x.exact = min(x.saved, n), min(x.savedTimes, k), false
}

// encodeUnsaved is what the files lack.
func (x *index) encodeUnsaved() (offsets, times []byte) {
	be := binary.BigEndian
	for _, e := range x.offsets[x.saved:] {
		offsets = be.AppendUint32(offsets, uint32(e.relative))
		offsets = be.AppendUint32(offsets, uint32(e.position))
	}
	for _, e := range x.times[x.savedTimes:] {
		times = be.AppendUint64(times, uint64(e.timestamp))
		times = be.AppendUint32(times, uint32(e.relative))
	}
	return offsets, times
}

// fileBytes is what the larger of the two files needs with one entry more, and the one at the segment's end.
func (x *index) fileBytes() int64 {
	return max(int64(len(x.offsets)+1)*offsetEntryBytes, int64(len(x.times)+2)*timeEntryBytes)
}

// unsaved reports whether the files lack something, or hold too much.
func (x *index) unsaved() bool {
	return !x.exact || x.saved != len(x.offsets) || x.savedTimes != len(x.times)
}

// save writes what the files lack, without syncing: an index lost is an index rebuilt.
func (x *index) save(disk Disk, path string) error {
	if !x.unsaved() {
		return nil
	}
	offsets, times := x.encodeUnsaved()
	if err := writeIndexFile(disk, path+indexSuffix, offsets, int64(x.saved)*offsetEntryBytes, x.exact); err != nil {
		return err
	}
	if err := writeIndexFile(disk, path+timeIndexSuffix, times, int64(x.savedTimes)*timeEntryBytes, x.exact); err != nil {
		return err
	}
	x.saved, x.savedTimes, x.exact = len(x.offsets), len(x.times), true
	return nil
}

func writeIndexFile(disk Disk, path string, b []byte, at int64, exact bool) error {
	if exact && len(b) == 0 {
		return nil
	}
	f, err := disk.Open(path)
	if errors.Is(err, ErrNotExist) {
		f, err = disk.Create(path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(b) > 0 {
		err = f.WriteAt([][]byte{b}, at)
	}
	if err == nil && !exact {
		err = f.Truncate(at + int64(len(b)))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
