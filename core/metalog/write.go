package metalog

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
	"github.com/weirmq/weir/core/record"
)

// submit asks storage for a write of the quorum's, or keeps it until there may be room.
func (l *Log) submit(w *quorum.Write, set *effect.Set) {
	l.account(w)
	p := pendingWrite{write: *w, entries: notAsked}
	if l.retryAt == 0 {
		l.put(&p, set)
	}
	l.unwritten = append(l.unwritten, p)
}

// notAsked is of a write that waits for the disk to have room: it is durable when it was asked for again.
const notAsked model.Offset = 1<<63 - 1

// account keeps book of where entries begin and end, durable or not.
func (l *Log) account(w *quorum.Write) {
	if w.Image != nil {
		next, _, err := splitImage(w.Image.Data)
		invariant.Check(err == nil, "an image was checked when it came")
		l.base, l.ends = w.Image.Index, []model.Offset{next}
	}
	if len(w.Entries) == 0 {
		return
	}
	from := w.Entries[0].Index
	invariant.Check(from > l.base && from <= l.last()+1, "entries follow each other")
	l.ends = l.ends[:from-l.base]
	for i := range w.Entries {
		l.ends = append(l.ends, l.ends[len(l.ends)-1]+offsetsOf(&w.Entries[i]))
	}
}

// offsetsOf is how many offsets an entry takes.
func offsetsOf(e *quorum.Entry) model.Offset {
	if e.Kind == quorum.EntryChange || len(e.Data) == 0 {
		return 1
	}
	return model.Offset(record.Batch(e.Data).LastOffsetDelta()) + 1
}

// put emits the effects of a write, which is accounted for.
func (l *Log) put(p *pendingWrite, set *effect.Set) {
	w := &p.write
	p.entries, p.hard, p.images = model.NoOffset, model.NoOffset, model.NoOffset
	if w.Image != nil {
		next, batches, err := splitImage(w.Image.Data)
		invariant.Check(err == nil, "an image was checked when it came")
		p.images = l.putImage(w.Image, next, batches, set)
		l.startAt(next, set)
	}
	if len(w.Entries) > 0 {
		l.cut(l.endOf(w.Entries[0].Index-1), set)
		for i := range w.Entries {
			e := &w.Entries[i]
			set.Appends = append(set.Appends, effect.Append{
				Partition: EntriesPartition, BaseOffset: l.entries.end, LeaderEpoch: epochOf(e.Term), AppendTime: model.NoTimestamp,
				Attempt: l.entries.attempt, Batch: batchOf(e),
			})
			l.entries.end += offsetsOf(e)
		}
		p.entries = l.entries.end
	}
	p.cuts = l.cutsAsked
	if w.Hard != nil {
		p.hard = l.putHard(*w.Hard, set)
	}
}

// cut drops what storage holds from an offset on. A set truncates before it appends: what it was to append beyond the
// offset is taken out of it again.
func (l *Log) cut(to model.Offset, set *effect.Set) {
	invariant.Check(to <= l.entries.end, "entries follow each other in storage, too")
	if to == l.entries.end {
		return
	}
	before := l.entries.end // of the set
	kept := set.Appends[:0]
	for _, a := range set.Appends {
		if a.Partition == EntriesPartition {
			before = min(before, a.BaseOffset)
			if a.BaseOffset >= to {
				continue
			}
		}
		kept = append(kept, a)
	}
	clear(set.Appends[len(kept):])
	set.Appends = kept
	l.entries.end = to
	for i := range l.unwritten {
		// The write that cuts comes later, and stands for what it drops of this one.
		if at := &l.unwritten[i].entries; *at != notAsked {
			*at = min(*at, to)
		}
	}
	if to >= before {
		return
	}
	set.Truncates = append(set.Truncates, effect.Truncate{Partition: EntriesPartition, To: to})
	l.cutsAsked++
	set.Marks.Set(effect.MarkMetadataTruncated)
}

// startAt makes the entries begin at an offset, empty.
func (l *Log) startAt(next model.Offset, set *effect.Set) {
	set.Appends = slices.DeleteFunc(set.Appends, func(a effect.Append) bool { return a.Partition == EntriesPartition })
	set.Truncates = slices.DeleteFunc(set.Truncates, func(t effect.Truncate) bool {
		if t.Partition == EntriesPartition {
			l.cutsAsked--
		}
		return t.Partition == EntriesPartition
	})
	set.StartAts = append(set.StartAts, effect.StartAt{Partition: EntriesPartition, Offset: next})
	l.cutsAsked++
	l.entries.end = next
}

// retry writes again all that is not durable, as one write: what of it is there is written over.
func (l *Log) retry(set *effect.Set) {
	l.retryAt = 0
	if len(l.unwritten) == 0 {
		return
	}
	all := pendingWrite{}
	for i := range l.unwritten {
		merge(&all.write, &l.unwritten[i].write)
	}
	l.unwritten = append(l.unwritten[:0], all)
	l.put(&l.unwritten[0], set)
}

// merge makes of a write and a later one the write that comes to the same.
func merge(all, w *quorum.Write) {
	all.Token = w.Token
	if w.Image != nil {
		all.Image, all.Entries = w.Image, nil
	}
	if len(w.Entries) > 0 {
		from := w.Entries[0].Index
		if len(all.Entries) == 0 || from <= all.Entries[0].Index {
			all.Entries = w.Entries
		} else {
			all.Entries = slices.Concat(all.Entries[:from-all.Entries[0].Index], w.Entries)
		}
	}
	if w.Hard != nil {
		all.Hard = w.Hard
	}
}

// putHard writes a hard state, and lets older ones go now and then.
func (l *Log) putHard(h quorum.HardState, set *effect.Set) model.Offset {
	var v [24]byte
	binary.BigEndian.PutUint64(v[:], uint64(h.Term))
	binary.BigEndian.PutUint64(v[8:], uint64(h.Vote))
	binary.BigEndian.PutUint64(v[16:], uint64(h.Commit))
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecNone))
	b.Append(record.Record{Value: v[:], Timestamp: model.NoTimestamp})
	set.Appends = append(set.Appends, effect.Append{
		Partition: HardPartition, BaseOffset: l.hard.end, AppendTime: model.NoTimestamp, Attempt: l.hard.attempt,
		Batch: append([]byte(nil), b.Finish()...),
	})
	l.hard.end++
	if keep := l.hard.durable - 1; keep-l.hardFrom >= hardStatesMax {
		l.hardFrom = keep
		set.Retains = append(set.Retains, effect.Retain{Partition: HardPartition, HighWatermark: l.hard.durable, Below: keep})
	}
	return l.hard.end
}

// hardStatesMax is how many hard states there are at most, about.
const hardStatesMax = 1000

func readHard(value []byte) (quorum.HardState, error) {
	if len(value) != 24 {
		return quorum.HardState{}, errors.New("a hard state has 24 bytes")
	}
	return quorum.HardState{
		Term: quorum.Term(binary.BigEndian.Uint64(value)), Vote: quorum.VoterID(binary.BigEndian.Uint64(value[8:])),
		Commit: quorum.Index(binary.BigEndian.Uint64(value[16:])),
	}, nil
}
