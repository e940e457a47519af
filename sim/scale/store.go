package scale

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// store carries out what is asked of storage: a voter's metadata log by the engine, and of other partitions, which are
// empty, that they are there.
func (n *node) store() {
	for i := range n.out.Opens {
		if tp := n.out.Opens[i].Partition; !metalog.Holds(tp) {
			n.held[tp] = true
		}
	}
	done := effect.Completions{}
	for _, d := range n.out.Deletes {
		delete(n.held, d.Partition)
		done.Deleted = append(done.Deleted, effect.Deleted{Partition: d.Partition})
	}
	if n.engine == nil {
		invariant.Check(len(n.out.Appends) == 0, "who does not vote writes nothing")
		n.complete(done)
		return
	}
	var set effect.Set
	for i := range n.out.Opens {
		if metalog.Holds(n.out.Opens[i].Partition) {
			set.Opens = append(set.Opens, n.out.Opens[i])
		}
	}
	for _, r := range n.out.Retains {
		if metalog.Holds(r.Partition) {
			set.Retains = append(set.Retains, r)
		}
	}
	set.Truncates, set.StartAts, set.Appends = n.out.Truncates, n.out.StartAts, n.out.Appends
	n.keepEntries(&set)
	n.engine.Perform(&set, &done)
	for {
		work, ok := n.engine.BeginSync()
		if !ok {
			break
		}
		if err := n.engine.EndSync(work, work.Run(), &done); err != nil {
			invariant.Checkf(false, "a disk in memory fails: %v", err)
		}
	}
	n.complete(done)
}

// complete tells the machine what is durable, after the time that it takes.
func (n *node) complete(done effect.Completions) {
	if !done.Empty() {
		n.w.put(n.w.now+syncTime, n, &broker.Completed{Completions: done})
	}
}

// keepEntries keeps the metadata log for those who fetch it.
func (n *node) keepEntries(set *effect.Set) {
	for _, t := range set.Truncates {
		if t.Partition != metalog.EntriesPartition {
			continue
		}
		for k := len(n.entries); k > 0 && n.entries[k-1].NextOffset() > t.To; k-- {
			n.entries = n.entries[:k-1]
		}
	}
	for _, s := range set.StartAts {
		if s.Partition == metalog.EntriesPartition {
			n.entries = nil
		}
	}
	for i := range set.Appends {
		a := &set.Appends[i]
		n.w.counts.logBytes += int64(len(a.Batch))
		if a.Partition == metalog.EntriesPartition {
			record.Stamp(a.Batch, a.BaseOffset, a.LeaderEpoch) // as the engine is about to: it is the same memory
			n.keepEntry(a.Batch)
		}
	}
	for _, r := range set.Retains {
		if r.Partition != metalog.EntriesPartition {
			continue
		}
		k := 0
		for k < len(n.entries) && n.entries[k].NextOffset() <= r.Below {
			k++
		}
		n.entries = append([]record.Batch(nil), n.entries[k:]...)
	}
}

// keepEntry keeps an entry, in the memory of another voter that has it, too.
func (n *node) keepEntry(b record.Batch) {
	for _, other := range n.w.nodes[:n.w.o.Voters] {
		i, there := slices.BinarySearchFunc(other.entries, b.BaseOffset(), func(e record.Batch, at model.Offset) int { return cmp.Compare(e.BaseOffset(), at) })
		if there && bytes.Equal(other.entries[i], b) {
			b = other.entries[i]
			break
		}
	}
	n.entries = append(n.entries, b)
}

// batches are the entries from an offset up to another, as far as some bytes.
func (n *node) batches(part *effect.FetchPart) (out []effect.FetchedBatch) {
	left := int(part.BytesMax)
	for _, b := range n.entries {
		if b.BaseOffset() < part.From || b.BaseOffset() >= part.To {
			continue
		}
		h, err := record.ReadHeader(b)
		if err != nil || left < len(b) && len(out) > 0 {
			break
		}
		left -= len(b)
		out = append(out, effect.FetchedBatch{Header: h, Batch: b})
	}
	return out
}
