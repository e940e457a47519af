package storage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/effect"
)

// settle brings each partition's files to what is known of it: longer ones are cut, unknown ones go, and
// shorter ones are damage.
func (r *recovery) settle() error {
	e := r.e
	for _, p := range e.sorted {
		if err := r.settlePartition(p); err != nil {
			return err
		}
	}
	for _, s := range r.removed {
		if err := e.removeSegment(s); err != nil {
			return err
		}
	}
	for _, tp := range r.gone {
		if _, ok := e.partitions[tp]; ok {
			continue
		}
		e.dropStray(tp)
		if err := removeDir(e.disk, partitionDir(tp)); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) settlePartition(p *partition) error {
	e := r.e
	for i, s := range p.segments {
		if s.fileBytes < s.sizeBytes || s.short {
			r.damage(p, fmt.Sprintf("%s: of %d bytes some are missing", s.logPath(), s.sizeBytes))
		}
		if p.segmentEnd(i) < s.base {
			r.damage(p, fmt.Sprintf("%s: segments overlap", s.logPath()))
		}
	}
	if p.damage != "" {
		// Nothing is removed or cut where something is wrong.
		r.note(effect.Note{Kind: effect.NoteDamageFound, Partition: p.tp, Offset: p.end, Detail: p.damage})
		return nil
	}
	var dropped int64
	for _, s := range p.segments {
		if s.fileBytes > s.sizeBytes {
			f, err := e.files.get(s)
			if err == nil {
				err = f.Truncate(s.sizeBytes)
			}
			if err != nil {
				return s.fail(err)
			}
			dropped += s.fileBytes - s.sizeBytes
			s.dirty, p.touched = true, true
		}
	}
	for _, f := range r.onDisk[p.tp] {
		o, suffix, ok := parseOffsetName(f.Name)
		keep := !ok
		switch suffix {
		case logSuffix, indexSuffix, timeIndexSuffix:
			keep = p.segmentAt(o) >= 0
			if !keep && suffix == logSuffix && o >= p.start {
				dropped += f.SizeBytes
			}
		case stateSuffix:
			keep = slices.Contains(p.states, o)
		}
		if keep {
			continue
		}
		if err := e.disk.Remove(p.dir + "/" + f.Name); err != nil && !errors.Is(err, ErrNotExist) {
			return fmt.Errorf("%s/%s: %w", p.dir, f.Name, err)
		}
	}
	if dropped > 0 {
		r.out.TailDroppedBytes += dropped
		r.note(effect.Note{Kind: effect.NoteTailDropped, Partition: p.tp, Offset: p.end, Count: dropped})
	}
	return nil
}
