package storage

import (
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmq/weir/core/model"
)

// writeAll writes what the replay noted down, partition by partition, so that each file is opened once. It
// writes even what is there already: a page whose sync failed before the crash may look clean without
// being on the disk, and this makes it dirty again. A batch that is in its segment only is written over itself,
// unless a later group proves that it is on the disk; the bytes are the same, so that a torn write harms
// nothing.
func (r *recovery) writeAll() error {
	for _, p := range r.e.sorted {
		writes := r.writes[p]
		delete(r.writes, p)
		for len(writes) > 0 {
			k := 1
			total := writes[0].bytes
			// What is written over itself is written by itself: a torn write of other bytes could take it along.
			for k < len(writes) && writes[k].inPlace == writes[0].inPlace && writes[k].seg == writes[0].seg && writes[k].at == writes[0].at+total && total < verifyChunkBytes {
				total += writes[k].bytes
				k++
			}
			if !writes[0].seg.removed {
				if err := r.writeRun(p, writes[:k], total); err != nil {
					return err
				}
			}
			writes = writes[k:]
		}
	}
	return nil
}

// lastSegment is a segment that alone has batches of the journal's last group.
type lastSegment struct {
	tp   model.TopicPartition
	base model.Offset
}

// pinLast makes the last group durable, if it cuts, removes or deletes something: so far it may be in the page cache only, and it must
// not be lost once files are gone as it says. The groups before it were durable before it was written. The bytes are written again for
// the same reason as those of batches. Without what it has in segments only it would not be taken again.
func (r *recovery) pinLast() error {
	if r.lastBytes == 0 {
		return nil
	}
	for _, in := range r.lastProof {
		if err := r.pinSegment(in); err != nil {
			return err
		}
	}
	f, err := r.file(r.groupFile)
	if err == nil {
		b := make([]byte, r.lastBytes)
		if err = readFull(f, b, r.groupPos); err == nil {
			err = f.WriteAt([][]byte{b}, r.groupPos)
		}
		if err == nil {
			err = f.Sync()
		}
	}
	if err == nil {
		err = r.e.disk.SyncDir(journalDir)
	}
	if err != nil {
		return fmt.Errorf("%s at %d: %w", journalPath(r.groupFile), r.groupPos, err)
	}
	return nil
}

// pinSegment makes a segment durable, and its name. It was written to by writeAll.
func (r *recovery) pinSegment(in lastSegment) error {
	p := r.e.partitions[in.tp]
	if p == nil {
		return nil
	}
	i := p.segmentAt(in.base)
	if i < 0 {
		return nil
	}
	s := p.segments[i]
	f, err := r.e.files.get(s)
	if err == nil {
		err = f.Sync()
	}
	for _, dir := range [...]string{p.dir, partitionsDir} {
		if err == nil {
			err = r.e.disk.SyncDir(dir)
		}
	}
	if err != nil {
		return s.fail(err)
	}
	return nil
}

// writeRun copies consecutive batches from the journal to their segment.
func (r *recovery) writeRun(p *partition, run []replayed, total int64) error {
	e, s := r.e, run[0].seg
	if int64(cap(r.bufs)) < total {
		r.bufs = make([]byte, total)
	}
	b := r.bufs[:total]
	at := int64(0)
	for i := range run {
		w := &run[i]
		if w.inPlace {
			f, err := e.files.get(s)
			if err == nil {
				err = readFull(f, b[at:at+w.bytes], w.at)
			}
			if err != nil {
				return s.fail(err)
			}
			at += w.bytes
			continue
		}
		f, err := r.file(w.file)
		if err == nil {
			err = readFull(f, b[at:at+w.bytes], w.payload)
		}
		if err == nil && xxhash.Sum64(b[at:at+w.bytes]) != w.hash {
			err = ErrDamaged // it was sound a moment ago
		}
		if err != nil {
			return fmt.Errorf("%s at %d: %w", journalPath(w.file), w.payload, err)
		}
		at += w.bytes
	}
	if s.fileBytes < 0 {
		if !p.dirMade {
			if err := e.disk.MakeDir(p.dir); err != nil {
				return fmt.Errorf("%s: %w", p.dir, err)
			}
			p.dirMade = true
			e.names++
		}
		if err := e.files.create(s); err != nil {
			return err
		}
		s.fileBytes = 0
		p.names++
	}
	f, err := e.files.get(s)
	if err != nil {
		return err
	}
	if err := f.WriteAt([][]byte{b}, run[0].at); err != nil {
		return s.fail(err)
	}
	s.short = s.short || run[0].at > s.fileBytes
	s.fileBytes = max(s.fileBytes, run[0].at+total)
	return nil
}
