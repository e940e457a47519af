package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// deletion is a DeleteRecords request that waits for storage to move log starts for good.
type deletion struct {
	to       effect.RequestID
	answer   *effect.RecordsDeleted
	missing  int // how many parts storage still owes
	deadline model.Time
}

// deleting is one part of a deletion: it waits at its partition.
type deleting struct {
	deletion *deletion
	index    int
	below    model.Offset
}

func (b *Broker) deleteRecords(ev *DeleteRecords, out *effect.Set) {
	d := &deletion{
		to: ev.To, answer: &effect.RecordsDeleted{Parts: make([]effect.PartDeleted, len(ev.Parts))}, deadline: b.now + max(0, ev.Wait),
	}
	for i := range ev.Parts {
		if b.deletePart(ev, i, d, out) {
			d.missing++
		}
	}
	if d.missing == 0 {
		out.Replies = append(out.Replies, effect.Reply{To: d.to, Body: d.answer})
		return
	}
	at, _ := slices.BinarySearchFunc(b.deletions, d.deadline, func(d *deletion, t model.Time) int {
		if d.deadline <= t {
			return -1
		}
		return 1
	})
	b.deletions = slices.Insert(b.deletions, at, d)
}

// deletePart answers one part, or asks storage and reports that it did.
func (b *Broker) deletePart(ev *DeleteRecords, i int, d *deletion, out *effect.Set) (asked bool) {
	part, answer := &ev.Parts[i], &d.answer.Parts[i]
	*answer = effect.PartDeleted{Index: part.Index, LowWatermark: model.NoOffset}
	p, code := b.find(part.Topic, part.Partition)
	if code == 0 {
		code = b.checkServes(p, model.NoLeaderEpoch)
	}
	if code == 0 && metadata.Internal(p.topic.Name) {
		code = kerr.InvalidTopicException.Code
	}
	if code != 0 {
		answer.Code = code
		return false
	}
	bounds, below := p.replica.Bounds(), part.Offset
	if below == ToHighWatermark {
		below = bounds.HighWatermark
	}
	switch {
	case below > bounds.HighWatermark && !p.replica.KnowsEnd():
		answer.Code = kerr.OffsetNotAvailable.Code // another leader may have shown more
		return false
	case below < 0 || below > bounds.HighWatermark:
		answer.Code = kerr.OffsetOutOfRange.Code
		return false
	case below <= b.lowWatermark(p):
		answer.LowWatermark = b.lowWatermark(p)
		return false
	case below > bounds.LogStartOffset:
		out.Retains = append(out.Retains, effect.Retain{
			Partition: p.replica.Partition(), HighWatermark: bounds.HighWatermark, Wall: ev.Wall, Below: below,
		})
	}
	p.deleting = append(p.deleting, deleting{deletion: d, index: i, below: below})
	return true
}

// lowWatermark is where the log starts for good, whoever of those in sync leads next (KIP-107).
func (b *Broker) lowWatermark(p *partition) model.Offset {
	start := p.replica.Bounds().LogStartOffset
	if f := p.replica.Followers(); f != nil {
		return f.LowWatermark(start)
	}
	return start
}

// deletionsAdvance answers the deletions that all replicas in sync have followed.
func (b *Broker) deletionsAdvance(p *partition, out *effect.Set) {
	if len(p.deleting) > 0 && p.replica.Leads() {
		b.deletedBelow(p, b.lowWatermark(p), 0, out)
	}
}

// deletedBelow tells the deletions that wait at a partition that its log starts at an offset for good, or
// that it cannot be had.
func (b *Broker) deletedBelow(p *partition, start model.Offset, code int16, out *effect.Set) {
	if len(p.deleting) == 0 {
		return
	}
	waiting := p.deleting
	p.deleting = nil
	if f := p.replica.Followers(); f != nil && code == 0 {
		f.Deleted(start)
	}
	for _, w := range waiting {
		if code == 0 && start < w.below {
			p.deleting = append(p.deleting, w)
			continue
		}
		if w.deletion.missing == 0 {
			continue // it timed out
		}
		answer := &w.deletion.answer.Parts[w.index]
		answer.Code = code
		if code == 0 {
			answer.LowWatermark = start
		}
		if w.deletion.missing--; w.deletion.missing == 0 {
			out.Replies = append(out.Replies, effect.Reply{To: w.deletion.to, Body: w.deletion.answer})
			b.deletions = slices.DeleteFunc(b.deletions, func(d *deletion) bool { return d == w.deletion })
		}
	}
}

// timeOutDeletions answers those whose clients wait no longer. Their records may yet be deleted.
func (b *Broker) timeOutDeletions(out *effect.Set) {
	for len(b.deletions) > 0 && b.deletions[0].deadline <= b.now {
		d := b.deletions[0]
		b.deletions = b.deletions[1:]
		d.missing = 0
		answer := &effect.RecordsDeleted{Parts: slices.Clone(d.answer.Parts)}
		for i := range answer.Parts {
			if p := &answer.Parts[i]; p.Code == 0 && p.LowWatermark == model.NoOffset {
				p.Code = kerr.RequestTimedOut.Code
			}
		}
		out.Replies = append(out.Replies, effect.Reply{To: d.to, Body: answer})
	}
}
