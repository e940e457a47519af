package storage

import (
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// What the manifest names may have been cut, removed, or have made room for another file under its name, if the journal
// goes on to truncate it. So nothing that recovery misses or finds wrong counts before the journal's end: a truncation
// that drops all of it settles the matter. What it does not drop stays damage.

// doubts is what recovery cannot know of a partition before the end of the journal.
type doubts struct {
	partial  bool // some of the log could not be read for the state
	rebuild  bool // the state is to be read off the log
	unsound  bool // p.damage is of something that began at from
	from     model.Offset
	gap      bool              // it is that batches are missing, and nothing else; the state has all behind them
	gaps     []gap             // where batches are missing, whatever else is wrong, ascending
	forgot   bool              // because of a gap the state knows no producers from before it
	epoch    model.LeaderEpoch // the newest of what the state does not have because something is wrong
	uncut    bool              // a truncation was not carried out: what is there is not what should be, whatever is excused
	notes    []effect.Note
	relearns []model.ProducerID // to be learnt again
}

// gap is a range of offsets that are missing.
type gap struct{ from, to model.Offset }

// startGaps forgets what is missing before an offset.
func (d *doubts) startGaps(at model.Offset) {
	d.gaps = slices.DeleteFunc(d.gaps, func(g gap) bool { return g.to <= at })
	for i := range d.gaps {
		d.gaps[i].from = max(d.gaps[i].from, at)
	}
}

// miss notes that batches are missing.
func (d *doubts) miss(from, to model.Offset) {
	d.gaps = append(d.gaps, gap{from, to})
	slices.SortStableFunc(d.gaps, func(a, b gap) int { return int(min(1, max(-1, a.from-b.from))) })
}

// endGaps forgets what is missing from an offset on.
func (d *doubts) endGaps(at model.Offset) {
	d.gaps = slices.DeleteFunc(d.gaps, func(g gap) bool { return g.from >= at })
	for i := range d.gaps {
		d.gaps[i].to = min(d.gaps[i].to, at)
	}
}

func (r *recovery) doubt(p *partition) *doubts {
	d := r.doubts[p]
	if d == nil {
		if r.doubts == nil {
			r.doubts = make(map[*partition]*doubts)
		}
		d = &doubts{epoch: model.NoLeaderEpoch}
		r.doubts[p] = d
	}
	return d
}

// damage takes a partition out of use because of what begins at an offset.
func (r *recovery) damage(p *partition, from model.Offset, detail string) {
	if p.damage == "" {
		p.damage = detail[:min(len(detail), damageDetailBytes)]
		p.touched = true
		d := r.doubt(p)
		d.unsound, d.from = true, from
	}
}

// gap notes that what is wrong with a partition is that batches are missing from its end up to an offset.
func (r *recovery) gap(p *partition, to model.Offset) {
	d := r.doubt(p)
	d.gap, d.forgot = true, true
	d.miss(p.end, to)
	p.state.ForgetProducers()
}

// noSegment takes in a batch whose segment is not there. It may have been removed since, as the journal then says.
func (r *recovery) noSegment(p *partition, n *entry) {
	whole, s := p.damage == "", p.active()
	r.damage(p, p.end, fmt.Sprintf("the journal has offset %d at %d of segment %d, which is not there", n.BaseOffset, n.Position, n.SegmentBase))
	d := r.doubt(p)
	if !whole && !d.gap || n.BaseOffset < p.end || s != nil && n.SegmentBase < s.base {
		// What else is wrong may be excused yet, and this not with it.
		d.gap = false
		d.miss(min(p.end, n.BaseOffset), n.NextOffset)
		p.end = max(p.end, n.NextOffset)
		return
	}
	r.gap(p, n.NextOffset)
	p.end = n.NextOffset
	if h, err := record.ReadHeader(n.Payload); err == nil && h.BaseOffset >= p.state.EndOffset() && h.LeaderEpoch >= p.state.LeaderEpoch() {
		p.state.Apply(h) // the epoch of what follows
	}
}

// excuse clears a partition of what was found wrong before the first segment that a log start leaves: its file may have
// been removed since. It reports whether there was anything, and nothing is left.
func (r *recovery) excuse(p *partition, n *entry) bool {
	d := r.doubts[p]
	if p.damage == "" || d == nil || !d.unsound || d.uncut || d.from >= n.SegmentBase {
		return false
	}
	if d.startGaps(n.SegmentBase); len(d.gaps) > 0 {
		d.from, d.rebuild = d.gaps[0].from, d.rebuild || !d.gap
		return false
	}
	p.damage, d.unsound, d.rebuild, d.gap = "", false, d.rebuild || !d.gap, false
	return true
}

// truncate replays a truncation.
func (r *recovery) truncate(p *partition, n *entry) error {
	end, all := n.BaseOffset, n.Kind == entryStartAt
	p.watermark = min(p.watermark, end)
	if p.loose.marked && !all && end > p.end && p.damage == "" {
		// It was durable before the group was written.
		if err := r.adoptTail(p, end); err != nil {
			return err
		}
	}
	p.loose.marked = false
	d := r.doubt(p)
	if p.damage != "" {
		if d.gap && !all {
			d.endGaps(end)
		}
		switch {
		case d.gap && !all && len(d.gaps) > 0:
			d.rebuild = true // when retention turns out to have removed the rest
		case !d.unsound || !all && !d.gap && (d.from < end || len(d.gaps) > 0 && d.gaps[0].from < end):
			d.uncut = d.uncut || end < p.end
			return nil
		default:
			p.damage, d.unsound, d.uncut, d.gap, d.gaps, d.rebuild = "", false, false, false, nil, d.rebuild || d.forgot
		}
	}
	if all {
		r.cutFrom(p, 0)
		*d = doubts{epoch: model.NoLeaderEpoch}
		p.state, p.start, p.end, p.states, p.stateOffset = log.New(end), end, end, nil, model.NoOffset
		return nil
	}
	i, ok := slices.BinarySearchFunc(p.segments, n.SegmentBase, func(s *segment, o model.Offset) int { return int(min(1, max(-1, s.base-o))) })
	if d.gap && end > p.end {
		r.gap(p, end)
		p.end = end
	}
	if end > p.end || n.Position > 0 && (!ok && !d.gap || ok && p.segments[i].sizeBytes < n.Position) {
		d.gap = false
		r.damage(p, p.end, fmt.Sprintf("the journal truncates the log to offset %d, at %d of segment %d; it ends at offset %d",
			end, n.Position, n.SegmentBase, p.end))
		return nil
	}
	if n.Position > 0 && ok {
		ts, at, ok := n.greatest()
		if !ok {
			d.gap = false
			r.damage(p, n.SegmentBase, fmt.Sprintf("the journal's truncation to offset %d does not check out", end))
			return nil
		}
		s := p.segments[i]
		s.cut(n.Position, end, ts, at)
		s.closed, s.fresh, s.dirty = false, true, true
		if writes := r.writes[p]; len(writes) > 0 {
			r.writes[p] = slices.DeleteFunc(writes, func(w replayed) bool { return w.seg == s && w.at >= n.Position })
		}
		i++
	}
	r.cutFrom(p, i)
	d.relearns = append(d.relearns, p.state.Truncate(end)...)
	d.rebuild = d.rebuild || d.partial
	d.notes = slices.DeleteFunc(d.notes, func(n effect.Note) bool { return n.Offset > end })
	p.start, p.end = min(p.start, end), end
	for len(p.states) > 0 && p.states[len(p.states)-1] > end {
		p.states = p.states[:len(p.states)-1]
	}
	if p.stateOffset > end {
		p.stateOffset = model.NoOffset
	}
	return nil
}

// cutFrom lets go of a partition's segments from the i-th on. Their files are tidied away, unless others have taken
// their names.
func (r *recovery) cutFrom(p *partition, i int) {
	for _, s := range p.segments[i:] {
		r.e.letGo(s)
	}
	r.e.segmentCount -= len(p.segments) - i
	clear(p.segments[i:])
	p.segments = p.segments[:i]
}

// learn completes the state of a partition that the journal truncated, now that its files are what they should be.
func (r *recovery) learn(p *partition) {
	d := r.doubts[p]
	if d == nil {
		return
	}
	if d.rebuild {
		p.stateOffset = model.NoOffset
		r.loadState(p)
		return
	}
	r.out.Notes = append(r.out.Notes, d.notes...)
	if len(d.relearns) == 0 || len(p.segments) == 0 {
		return
	}
	slices.Sort(d.relearns)
	if err := r.e.relearnAll(p, p.state, slices.Compact(d.relearns), p.end); err != nil {
		r.damage(p, p.start, err.Error())
	}
}
