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

// submit asks storage for a write of the quorum's, or keeps it until it may be written.
func (l *Log) submit(w *quorum.Write, set *effect.Set) {
	l.account(w)
	p := pendingWrite{write: *w, images: notAsked}
	if l.retryAt == 0 && l.barred == barNone {
		l.put(&p, set)
	}
	l.unwritten = append(l.unwritten, p)
}

// notAsked is where the image of a write ends that waits.
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

// put emits the effects of a write, which is accounted for: all of them, or those that the others have to wait for.
func (l *Log) put(p *pendingWrite, set *effect.Set) {
	w := &p.write
	p.entries, p.hard, p.images = model.NoOffset, model.NoOffset, model.NoOffset
	switch {
	case w.Image == nil || p.image == imageDone:
	case p.image == imageDurable:
		l.startAt(p, set)
		return
	default:
		next, batches, err := splitImage(w.Image.Data)
		invariant.Check(err == nil, "an image was checked when it came")
		p.images = l.putImage(w.Image, next, batches, set)
		l.barred = barImage
		return
	}
	if len(w.Entries) > 0 {
		if !l.cut(l.endOf(w.Entries[0].Index-1), set) {
			return
		}
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
	if w.Hard != nil {
		p.hard = l.putHard(*w.Hard, set)
	}
	p.asked = true
}

// cut drops what storage holds from an offset on, and reports whether it is dropped already: if storage was not asked
// for it yet, and the set was only about to.
func (l *Log) cut(to model.Offset, set *effect.Set) bool {
	invariant.Check(to <= l.entries.end, "entries follow each other in storage, too")
	if to == l.entries.end {
		return true
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
	set.Marks.Set(effect.MarkMetadataTruncated)
	if to >= before {
		for i := range l.unwritten {
			// The write that cuts comes later, and stands for what it drops of this one.
			at := &l.unwritten[i].entries
			*at = min(*at, to)
		}
		return true
	}
	set.Truncates = append(set.Truncates, effect.Truncate{Partition: EntriesPartition, To: to})
	l.barred = barCut
	return false
}

// startAt makes the entries begin where the image of a write ends, empty.
func (l *Log) startAt(p *pendingWrite, set *effect.Set) {
	next, _, err := splitImage(p.write.Image.Data)
	invariant.Check(err == nil, "an image was checked when it came")
	set.StartAts = append(set.StartAts, effect.StartAt{Partition: EntriesPartition, Offset: next})
	l.barred = barCut
	l.entries.end, l.start = next, next
}

// resume writes what waited, as one write: what of it is there is written over.
func (l *Log) resume(set *effect.Set, out *Out) {
	if l.retryAt != 0 || l.barred != barNone || len(l.unwritten) == 0 {
		return
	}
	all := pendingWrite{}
	for i := range l.unwritten {
		w := &l.unwritten[i]
		if w.write.Image != nil {
			all.image = w.image
		}
		merge(&all.write, &w.write)
	}
	clear(l.unwritten)
	l.unwritten = l.unwritten[:1]
	l.unwritten[0] = all
	l.put(&l.unwritten[0], set)
	if l.durable(&l.unwritten[0]) {
		l.settle(set, out)
	}
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
