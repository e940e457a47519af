package storage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/effect"
)

// settle brings the files of each partition that was looked at to what is known of it: longer ones are cut,
// unknown ones go, and shorter ones are damage.
func (r *recovery) settle() error {
	e := r.e
	for _, p := range slices.Clone(e.sorted) {
		if p.empty() {
			e.remove(p) // it was to be loose, and nothing came of it; what its directory holds is a stray
			continue
		}
		if p.unseen {
			continue
		}
		if detail := p.missing(); detail != "" {
			r.damage(p, p.start, detail)
		}
		if p.damage != "" {
			// Nothing is removed or cut where something is wrong.
			r.note(effect.Note{Kind: effect.NoteDamageFound, Partition: p.tp, Offset: p.end, Detail: p.damage})
			continue
		}
		dropped, err := e.tidy(p, r.seen[p])
		if err != nil {
			return err
		}
		if dropped > 0 {
			r.out.TailDroppedBytes += dropped
			r.note(effect.Note{Kind: effect.NoteTailDropped, Partition: p.tp, Offset: p.end, Count: dropped})
		}
		if r.learn(p); p.damage != "" {
			r.note(effect.Note{Kind: effect.NoteDamageFound, Partition: p.tp, Offset: p.end, Detail: p.damage})
		}
	}
	for _, n := range r.removed {
		if n.p.segmentAt(n.s.base) >= 0 {
			continue // a segment that came after a truncation has its name
		}
		if err := e.removeSegment(n.s); err != nil {
			return err
		}
	}
	for _, tp := range r.gone {
		if _, ok := e.partitions[tp]; ok {
			continue
		}
		r.onDisk[tp] = false
		if err := removeDir(e.disk, partitionDir(tp)); err != nil {
			return err
		}
	}
	return nil
}

// missing says what the partition's files lack, by their sizes.
func (p *partition) missing() string {
	for i, s := range p.segments {
		switch {
		case s.fileBytes < 0:
			return fmt.Sprintf("%s: the file is missing, of %d bytes", s.logPath(), s.sizeBytes)
		case s.fileBytes < s.sizeBytes:
			return fmt.Sprintf("%s: the file has %d of %d bytes", s.logPath(), s.fileBytes, s.sizeBytes)
		case s.short:
			return fmt.Sprintf("%s: of %d bytes some are missing", s.logPath(), s.sizeBytes)
		}
		if p.segmentEnd(i) < s.base {
			return fmt.Sprintf("%s: segments overlap", s.logPath())
		}
	}
	return ""
}

// tidy cuts and removes what a partition's directory holds beyond what is known: it was never acknowledged. It
// returns how much of that was in segments.
func (e *Engine) tidy(p *partition, files []Entry) (dropped int64, err error) {
	for _, s := range p.segments {
		if s.fileBytes > s.sizeBytes {
			f, err := e.files.get(s)
			if err == nil {
				err = f.Truncate(s.sizeBytes)
			}
			if err != nil {
				return dropped, s.fail(err)
			}
			dropped += s.fileBytes - s.sizeBytes
			s.dirty, p.touched = true, true
		}
	}
	for _, f := range files {
		o, suffix, ok := parseOffsetName(f.Name)
		keep := !ok
		switch suffix {
		case logSuffix, indexSuffix, timeIndexSuffix:
			i := p.segmentAt(o)
			keep = i >= 0 && (suffix == logSuffix || !p.segments[i].fresh)
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
			return dropped, fmt.Errorf("%s/%s: %w", p.dir, f.Name, err)
		}
		p.names++
		p.touched = p.touched || suffix == logSuffix
	}
	return dropped, nil
}
