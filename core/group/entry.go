package group

import (
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
)

// entry is one key of the log that is live: a group's members, or what it committed of one partition.
type entry struct {
	group *group
	key   offsetKey // zero for the group's members
	place int       // in offsets.ordered

	// at is where its newest durable record is; NoOffset while it has none, because its first is in flight.
	at           model.Offset
	sizeBytes    int32
	older, newer *entry // in the order of at
	inFlight     int32  // commits of this key that wait to be durable

	committed committed
}

// offsetKey names one partition that a group has committed.
type offsetKey struct {
	topic     string
	partition model.Partition
}

// committed is what a group committed of a partition.
type committed struct {
	offset          model.Offset
	leaderEpoch     model.LeaderEpoch
	metadata        string
	commitTimestamp model.Timestamp
	expireTimestamp model.Timestamp // NoTimestamp: by the broker's retention
	topicID         model.TopicID   // zero: not known
}

// offsets is what a group has committed.
type offsets struct {
	byKey   map[offsetKey]*entry
	ordered []*entry // the same, in an order that depends on nothing but history
}

func (os *offsets) get(k offsetKey) *entry { return os.byKey[k] }

// ensure is the entry of a key; a new one has nothing committed.
func (os *offsets) ensure(g *group, k offsetKey) *entry {
	if e := os.byKey[k]; e != nil {
		return e
	}
	if os.byKey == nil {
		os.byKey = make(map[offsetKey]*entry)
	}
	e := &entry{group: g, key: k, at: model.NoOffset, place: len(os.ordered)}
	os.byKey[k] = e
	os.ordered = append(os.ordered, e)
	return e
}

func (os *offsets) remove(e *entry) {
	last := len(os.ordered) - 1
	os.ordered[e.place] = os.ordered[last]
	os.ordered[e.place].place = e.place
	os.ordered[last] = nil
	os.ordered = os.ordered[:last]
	delete(os.byKey, e.key)
}

// keyLog is the coordinator's log as its live keys see it: a list of them by where their newest records are. The
// oldest says what the log still needs; writing the oldest anew, a few at a time, is what keeps it short.
type keyLog struct {
	oldest, newest *entry
	liveBytes      int64 // about what one record of each key takes
	sizeBytes      int64 // of the log
	marks          []logMark
	// highWatermark is the newest that was heard of.
	highWatermark model.Offset
	memory        *Memory
	rewriting     bool         // records are in flight that were written anew
	running       bool         // keys are being written anew, up to those whose records are at until
	until         model.Offset // of a run
	freedBytes    int64        // and not yet asked to be dropped
	freshBytes    int64        // written since the last run, but for what was written anew
	markBytes     int64        // how finely the log's size is known
}

// logMark says how many bytes of log end at an offset, so that it is known what a new start frees.
type logMark struct {
	next      model.Offset
	sizeBytes int64
}

// grow takes in that bytes were added to the log.
func (l *keyLog) grow(next model.Offset, sizeBytes int) {
	l.sizeBytes += int64(sizeBytes)
	if n := len(l.marks); n > 0 && l.marks[n-1].sizeBytes < l.markBytes {
		l.marks[n-1].next = next
		l.marks[n-1].sizeBytes += int64(sizeBytes)
		return
	}
	l.marks = append(l.marks, logMark{next, int64(sizeBytes)})
}

// cut takes in that nothing below an offset is needed.
func (l *keyLog) cut(below model.Offset) {
	n := 0
	for n < len(l.marks) && l.marks[n].next <= below {
		l.sizeBytes -= l.marks[n].sizeBytes
		l.freedBytes += l.marks[n].sizeBytes
		n++
	}
	if n > 0 {
		l.marks = append(l.marks[:0], l.marks[n:]...)
	}
}

// needed is the first offset that the log still needs.
func (l *keyLog) needed() model.Offset {
	if l.oldest != nil {
		return min(l.oldest.at, l.highWatermark)
	}
	return l.highWatermark
}

// move puts a key behind all others: its newest record is at an offset.
func (l *keyLog) move(e *entry, at model.Offset, sizeBytes int) {
	l.unlink(e)
	if l.newest != nil && l.newest.at >= at {
		invariant.Checkf(false, "a record at %d is applied after one at %d", at, l.newest.at)
	}
	e.at, e.sizeBytes = at, int32(sizeBytes)
	l.liveBytes += int64(sizeBytes)
	l.memory.usedBytes += int64(sizeBytes) + entryBytes
	e.older = l.newest
	if l.newest == nil {
		l.oldest = e
	} else {
		l.newest.newer = e
	}
	l.newest = e
}

// unlink takes a key out; it need not be in.
func (l *keyLog) unlink(e *entry) {
	if e.older == nil && l.oldest != e {
		return
	}
	l.liveBytes -= int64(e.sizeBytes)
	l.memory.usedBytes -= int64(e.sizeBytes) + entryBytes
	if e.older == nil {
		l.oldest = e.newer
	} else {
		e.older.newer = e.newer
	}
	if e.newer == nil {
		l.newest = e.older
	} else {
		e.newer.older = e.older
	}
	e.older, e.newer = nil, nil
}
