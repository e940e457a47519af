package storage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
)

// retain finds out what retention lets go and stages the new log start. Whole segments go, oldest first,
// while they are too old or the log is too large, and only below the high watermark; when even the active
// one qualifies it goes, too, and the next append begins a new one. Below moves the start to any offset, within
// a segment, too: the segment goes when nothing of it is left.
func (e *Engine) retain(r *effect.Retain, done *effect.Completions) {
	p := e.partitions[r.Partition]
	out := effect.Retained{Partition: r.Partition, LogStartOffset: model.NoOffset}
	if p == nil || p.deleted {
		out.Failure = effect.Missing
		done.Retained = append(done.Retained, out)
		return
	}
	e.see(p) // what nobody reads is looked at with the periodic retention
	out.LogStartOffset = p.start
	if p.damage != "" {
		out.Failure = effect.Broken
		done.Retained = append(done.Retained, out)
		return
	}
	if r.HighWatermark > p.watermark {
		p.watermark = r.HighWatermark
		e.touch(p)
	}
	if r.ProducerExpirationMs > 0 {
		p.state.Expire(r.Wall, r.ProducerExpirationMs)
	}
	invariant.Check(r.Below <= r.HighWatermark && (r.Below <= p.end || p.cutting > 0), "only what is committed is deleted")
	if p.retains > 0 && r.Below <= 0 {
		// The start in memory is not durable yet, and nothing else may be reported. Who asks for a certain
		// start hears of it in its turn.
		out.LogStartOffset = model.NoOffset
		done.Retained = append(done.Retained, out)
		return
	}
	start := max(e.expired(p, r), r.Below)
	if start <= p.start && p.retains == 0 {
		done.Retained = append(done.Retained, out)
		return
	}
	p.retains++
	e.stage(op{kind: opLogStart, p: p, start: max(start, p.start)})
}

// expired is where the log would start after retention.
func (e *Engine) expired(p *partition, r *effect.Retain) model.Offset {
	start := p.start
	left := p.sizeBytes()
	for i, s := range p.segments {
		end := p.segmentEnd(i)
		if end > r.HighWatermark || i == len(p.segments)-1 && p.staged > 0 {
			break
		}
		old := p.config.RetentionMs >= 0 && s.maxTS >= 0 && int64(r.Wall-s.maxTS) > p.config.RetentionMs
		large := p.config.RetentionBytes >= 0 && left-s.sizeBytes >= p.config.RetentionBytes
		if !old && !large {
			break
		}
		start = end
		left -= s.sizeBytes
	}
	return start
}

func (e *Engine) stageDelete(tp model.TopicPartition, silent bool, done *effect.Completions) {
	p := e.partitions[tp]
	if p == nil || p.deleted {
		if !silent {
			done.Deleted = append(done.Deleted, effect.Deleted{Partition: tp, Failure: effect.Missing})
		}
		return
	}
	if p.empty() && !p.dirMade && p.staged == 0 {
		e.remove(p)
		if !silent {
			done.Deleted = append(done.Deleted, effect.Deleted{Partition: tp})
		}
		return
	}
	p.deleted = true
	e.stage(op{kind: opDelete, p: p, silent: silent})
}

// DeleteUnknown stages the deletion of every partition that known does not vouch for, and removes
// directories that nothing durable knows of unless known does: a partition that exists but has no data
// yet. It is called once at start, after the metadata log was loaded without damage, and returns how
// many partitions and directories go. BeginSync makes it durable; no Deleted is reported.
func (e *Engine) DeleteUnknown(known func(model.TopicPartition) bool) (count int, err error) {
	for _, p := range slices.Clone(e.sorted) {
		if !p.deleted && !known(p.tp) {
			e.stageDelete(p.tp, true, nil)
			count++
		}
	}
	for _, tp := range slices.Clone(e.strays) {
		if known(tp) {
			continue
		}
		e.dropStray(tp)
		if err := removeDir(e.disk, partitionDir(tp)); err != nil {
			return count, err
		}
		count++
	}
	return count, nil
}

func (e *Engine) addStray(tp model.TopicPartition) {
	if i, ok := slices.BinarySearchFunc(e.strays, tp, model.TopicPartition.Compare); !ok {
		e.strays = slices.Insert(e.strays, i, tp)
	}
}

// dropStray forgets a stray directory and reports whether there was one.
func (e *Engine) dropStray(tp model.TopicPartition) bool {
	i, ok := slices.BinarySearchFunc(e.strays, tp, model.TopicPartition.Compare)
	if !ok {
		return false
	}
	e.strays = slices.Delete(e.strays, i, i+1)
	return true
}

// applyOther takes a log start or a delete into memory, just before it is journaled.
func (e *Engine) applyOther(p *partition, o *op) {
	switch {
	case o.kind == opDelete:
		p.gone = true
	case o.kind == opMark, o.kind == opFlush:
		return
	case o.cut != nil:
		e.truncate(p, o)
		p.watermark = min(p.watermark, p.end)
		return
	case p.deleted:
		o.refused = effect.Missing
	case p.damage != "":
		o.refused = effect.Broken
	default:
		o.start = min(max(o.start, p.start), p.end) // others may have been staged before it, and truncations
		k := 0
		for k < len(p.segments) && p.segmentEnd(k) <= o.start {
			k++
		}
		o.removed = slices.Clone(p.segments[:k])
		p.segments = slices.Delete(p.segments, 0, k)
		e.segmentCount -= k
		p.start = o.start
		p.state.AdvanceStart(o.start)
	}
	e.touch(p)
}

// finishOther removes the files that a durable log start or delete leaves behind. A file that will not go
// is no danger: nothing names it any more, and the next start removes it.
func (e *Engine) finishOther(o *op, done *effect.Completions) {
	p := o.p
	if o.kind == opMark {
		p.loose.marked, p.loose.marking, p.loose.written = true, false, false
		return
	}
	if o.kind == opFlush {
		p.loose.flushing = false
		return
	}
	if o.cut != nil {
		e.finishTruncate(o, done)
		return
	}
	if o.kind == opLogStart {
		var freed int64
		for _, s := range o.removed {
			freed += s.sizeBytes
			err := e.removeSegment(s)
			n := effect.Note{Kind: effect.NoteSegmentDeleted, Partition: p.tp, Offset: s.base, Count: s.sizeBytes}
			if err != nil {
				n.Detail = err.Error()
			}
			e.note(n)
		}
		p.retains--
		e.checkpoint.blocked = false
		done.Retained = append(done.Retained, effect.Retained{
			Partition: p.tp, LogStartOffset: o.start, FreedBytes: freed,
		})
		return
	}
	for _, s := range p.segments {
		e.letGo(s)
	}
	e.remove(p)
	e.checkpoint.blocked = false
	if p.dirMade {
		if err := removeDir(e.disk, p.dir); err != nil {
			e.addStray(p.tp)
			e.note(effect.Note{Kind: effect.NoteSegmentDeleted, Partition: p.tp, Detail: err.Error()})
		}
	}
	if !o.silent {
		done.Deleted = append(done.Deleted, effect.Deleted{Partition: p.tp})
	}
}

// letGo closes a segment that is about to be removed, or leaves that to the sync that is using it.
func (e *Engine) letGo(s *segment) {
	s.removed = true
	s.index = nil
	if s.pins == 0 {
		// Nothing depends on the bytes any more.
		_ = e.files.close(s)
	}
}

func (e *Engine) removeSegment(s *segment) error {
	e.letGo(s)
	var errs error
	for _, suffix := range [...]string{logSuffix, indexSuffix, timeIndexSuffix} {
		errs = errors.Join(errs, removeIfThere(e.disk, s.path+suffix))
	}
	return errs
}

func removeIfThere(disk Disk, path string) error {
	if err := disk.Remove(path); err != nil && !errors.Is(err, ErrNotExist) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// removeFiles empties a directory of files.
func removeFiles(disk Disk, dir string) error {
	entries, err := disk.List(dir)
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	for _, n := range entries {
		if err := disk.Remove(dir + "/" + n.Name); err != nil && !errors.Is(err, ErrNotExist) {
			return fmt.Errorf("%s/%s: %w", dir, n.Name, err)
		}
	}
	return nil
}

func removeDir(disk Disk, dir string) error {
	if err := removeFiles(disk, dir); err != nil {
		return err
	}
	if err := disk.RemoveDir(dir); err != nil && !errors.Is(err, ErrNotExist) {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}
