package storage

import (
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
)

// list reads which journal files and which partitions' directories there are. What is in a partition's directory
// is looked up when the partition is used, by the journal or later: most of a hundred thousand are not.
func (r *recovery) list() error {
	e := r.e
	entries, err := e.disk.List(journalDir)
	if err != nil {
		return fmt.Errorf("%s: %w", journalDir, err)
	}
	for _, n := range entries {
		if seq, ok := parseJournalName(n.Name); ok {
			r.files = append(r.files, seq)
		}
	}
	slices.Sort(r.files)
	if entries, err = e.disk.List(partitionsDir); err != nil {
		return fmt.Errorf("%s: %w", partitionsDir, err)
	}
	r.onDisk = make(map[model.TopicPartition]bool, len(entries))
	for _, n := range entries {
		if tp, ok := parsePartitionDir(n.Name); ok && n.Dir {
			r.onDisk[tp] = true
			r.dirs = append(r.dirs, tp)
		}
	}
	slices.SortFunc(r.dirs, model.TopicPartition.Compare)
	return nil
}

// load makes a partition from the manifest and its newest state snapshot.
func (r *recovery) load(m *manifestPartition) error {
	e := r.e
	p := newPartition(m.Partition, e.cfg.DefaultLog, m.StartOffset)
	p.end, p.stateOffset, p.damage = m.EndOffset, m.StateOffset, m.Damage
	p.loose.marked, p.watermark = m.Loose, m.HighWatermark
	p.segments = make([]*segment, 0, len(m.Segments))
	for _, ms := range m.Segments {
		s := newSegment(p.dir, ms.Base)
		s.sizeBytes, s.firstTS, s.maxTS, s.maxAt = ms.SizeBytes, ms.FirstTimestamp, ms.MaxTimestamp, ms.MaxTimestampAt
		s.fileBytes = -1
		s.trustFrom = segmentBytesMax + 1
		p.segments = append(p.segments, s)
	}
	r.adopt(p)
	if p.damage != "" || r.loadInline(p, m.State) {
		return nil
	}
	if err := r.look(p); err != nil {
		return err
	}
	r.loadState(p)
	return nil
}

// adopt takes a partition that the manifest or the journal names.
func (r *recovery) adopt(p *partition) {
	r.e.add(p)
	if p.dirMade = r.onDisk[p.tp]; p.dirMade {
		// What an earlier life removed from it may be gone from the page cache only. Should a power loss bring it
		// back, it must not fit what has been written since.
		p.names++
	}
	p.unseen = true
}

// look lists the directory of a partition that recovery has to do with.
func (r *recovery) look(p *partition) error {
	if !p.unseen {
		return nil
	}
	files, err := r.e.list(p)
	if err != nil {
		return err
	}
	if r.seen == nil {
		r.seen = make(map[*partition][]Entry)
	}
	r.seen[p] = files
	return nil
}

// list takes in what the partition's directory holds.
func (e *Engine) list(p *partition) ([]Entry, error) {
	p.unseen = false
	if !p.dirMade {
		return nil, nil
	}
	files, err := e.disk.List(p.dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.dir, err)
	}
	for _, f := range files {
		o, suffix, ok := parseOffsetName(f.Name)
		switch {
		case !ok:
		case suffix == logSuffix:
			if i := p.segmentAt(o); i >= 0 {
				p.segments[i].fileBytes = f.SizeBytes
			}
		case suffix == stateSuffix && o <= p.end: // others are of what was lost, or truncated
			p.states = append(p.states, o)
		}
	}
	slices.Sort(p.states)
	return files, nil
}

// see makes sure, before the first use of a partition that recovery had nothing to do with, that its files are
// what is known of them. It may become damaged.
func (e *Engine) see(p *partition) {
	if !p.unseen {
		return
	}
	files, err := e.list(p)
	if err == nil && p.damage == "" {
		var detail string
		if detail = p.missing(); detail != "" {
			e.damaged(p, detail)
			return
		}
		var dropped int64
		if dropped, err = e.tidy(p, files); dropped > 0 {
			e.note(effect.Note{Kind: effect.NoteTailDropped, Partition: p.tp, Offset: p.end, Count: dropped})
		}
	}
	if err != nil {
		e.damaged(p, err.Error())
	}
}

// segmentAt is the index of the segment with that base, or -1.
func (p *partition) segmentAt(base model.Offset) int {
	i, ok := slices.BinarySearchFunc(p.segments, base, func(s *segment, o model.Offset) int {
		switch {
		case s.base < o:
			return -1
		case s.base > o:
			return 1
		}
		return 0
	})
	if !ok {
		return -1
	}
	return i
}

// loadInline takes the state that stands in the manifest, if it does and is sound.
func (r *recovery) loadInline(p *partition, inline []byte) bool {
	if len(inline) == 0 {
		return false
	}
	s, err := log.LoadSnapshot(inline)
	if err == nil && s.EndOffset() != p.end {
		err = fmt.Errorf("%w: it is of offset %d", ErrFrame, s.EndOffset())
	}
	if err != nil {
		r.note(effect.Note{
			Kind: effect.NoteDamageFound, Partition: p.tp, Offset: p.end,
			Detail: "state in the manifest: " + err.Error() + "; it is rebuilt from the log",
		})
		return false
	}
	p.state = s
	p.state.AdvanceStart(p.start)
	return true
}

// loadState brings the partition's state to the manifest's end: from the snapshot that it names or, should
// that be unusable, from an older one or none and the headers in the log.
func (r *recovery) loadState(p *partition) {
	e := r.e
	state := log.New(p.start)
	if len(p.segments) > 0 && p.segments[0].base < p.start {
		state = log.New(p.segments[0].base)
	}
	for i := len(p.states) - 1; i >= 0; i-- {
		s, err := loadState(e.disk, p.dir, p.states[i])
		if err == nil {
			state = s
			break
		}
		if p.states[i] == p.stateOffset {
			r.doubtState(p, err.Error())
		}
	}
	if n := len(p.states); p.stateOffset != model.NoOffset && (n == 0 || p.states[n-1] < p.stateOffset) {
		r.doubtState(p, statePath(p.dir, p.stateOffset)+" is missing")
	}
	if p.stateOffset != model.NoOffset && state.EndOffset() != p.stateOffset {
		p.stateOffset, p.touched = model.NoOffset, true
	}
	if len(p.segments) == 0 {
		state.AdvanceStart(p.start)
	}
	whole, err := e.scanState(p, state)
	if err != nil {
		r.damage(p, state.EndOffset(), err.Error())
	}
	if !whole || err != nil {
		r.doubt(p).partial = true
	}
	p.state = state
	p.state.AdvanceStart(p.start)
}

// doubtState remembers to say that the snapshot which the manifest names cannot be used, unless the journal has
// truncated the log below it.
func (r *recovery) doubtState(p *partition, why string) {
	d := r.doubt(p)
	d.notes = append(d.notes, effect.Note{
		Kind: effect.NoteDamageFound, Partition: p.tp, Offset: p.stateOffset, Detail: why + "; the state is rebuilt from the log",
	})
}

// scanState applies the batches between the state's end and the partition's. A segment that is not whole is
// left out: either the journal goes on to remove it, or settle finds the damage.
func (e *Engine) scanState(p *partition, state *log.State) (whole bool, err error) {
	whole = true
	for i, s := range p.segments {
		end := p.segmentEnd(i)
		if end <= state.EndOffset() {
			continue
		}
		if s.fileBytes < s.sizeBytes {
			whole = false
			continue
		}
		position, want := int64(0), s.base
		for position < s.sizeBytes {
			h, err := e.header(s, position, want)
			if err != nil {
				return whole, err
			}
			position, want = position+int64(h.SizeBytes), h.NextOffset()
			if h.BaseOffset < state.EndOffset() {
				continue
			}
			if h.LeaderEpoch < state.LeaderEpoch() {
				return whole, fmt.Errorf("%s: leader epoch %d after %d", s.logPath(), h.LeaderEpoch, state.LeaderEpoch())
			}
			state.Apply(h)
		}
		if want != end {
			return whole, fmt.Errorf("%s ends at offset %d, not %d", s.logPath(), want, end)
		}
	}
	if whole && state.EndOffset() != p.end {
		return whole, fmt.Errorf("the log ends at offset %d, not %d", state.EndOffset(), p.end)
	}
	return whole, nil
}
