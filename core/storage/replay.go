package storage

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// replay reads the journal from where the manifest says and writes the segments again.
//
// A group that does not check out is the end of the journal, a torn tail, unless something later proves
// that it had been durable: a group is written only after the one before it was synced. Then it is
// damage: of the partitions concerned when only payloads are bad, of the whole directory otherwise. A group
// whose sync failed before this process was started is dropped, however sound the page cache shows it.
func (r *recovery) replay() error {
	seq, pos := r.m.JournalFile, r.m.JournalPos
	for {
		want := r.last + 1
		h, found, err := r.groupAt(seq, pos, want)
		if err != nil {
			return err
		}
		if !found || h.Kind != groupEntries {
			// The group may not have fitted behind the last one.
			next, foundNext, err := r.groupAt(seq+1, 0, want)
			if err != nil {
				return err
			}
			if foundNext && next.Kind == groupEntries {
				seq, pos, h, found = seq+1, 0, next, true
			} else {
				found = false
			}
		}
		if !found {
			return r.endOfJournal(seq, pos, want)
		}
		taken, err := r.take(seq, pos, &h)
		if err != nil || !taken {
			return err
		}
		pos += int64(h.Padded)
	}
}

// endOfJournal makes sure that nothing later proves that group want was durable.
func (r *recovery) endOfJournal(seq uint64, pos int64, want LSN) error {
	later, err := r.provenLater(seq, pos, want)
	if err != nil {
		return err
	}
	if later != "" {
		return fmt.Errorf("%w: %s at %d: journal group %d does not check out, but %s proves that it was durable",
			ErrDamaged, journalPath(seq), pos, want, later)
	}
	return nil
}

// file opens a journal file for reading; nil if there is none.
func (r *recovery) file(seq uint64) (File, error) {
	if r.open != nil && r.openSeq == seq {
		return r.open, nil
	}
	if !slices.Contains(r.files, seq) {
		return nil, nil
	}
	f, err := r.e.disk.Open(journalPath(seq))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", journalPath(seq), err)
	}
	n, err := f.SizeBytes()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", journalPath(seq), err), f.Close())
	}
	if r.open != nil {
		if err := r.open.Close(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	r.open, r.openSeq, r.openLen = f, seq, n
	return f, nil
}

// groupAt reads the group header at a place; found only if it is the wanted group.
func (r *recovery) groupAt(seq uint64, pos int64, want LSN) (h groupHeader, found bool, err error) {
	f, err := r.file(seq)
	if f == nil || err != nil {
		return groupHeader{}, false, err
	}
	var b [groupHeaderBytes]byte
	if pos+groupHeaderBytes > r.openLen || readFull(f, b[:], pos) != nil {
		return groupHeader{}, false, nil
	}
	h, err = readGroupHeader(b[:])
	if err != nil || h.LSN != want || h.File != seq || pos+int64(h.Bytes) > r.openLen {
		return groupHeader{}, false, nil
	}
	return h, true, nil
}

// provenLater looks for a group behind a place that could only be there if the wanted one had been
// durable, and names it.
func (r *recovery) provenLater(seq uint64, pos int64, want LSN) (string, error) {
	for _, s := range r.files {
		if s < seq {
			continue
		}
		f, err := r.file(s)
		if err != nil {
			return "", err
		}
		from := int64(0)
		if s == seq {
			from = pos
		}
		at, err := r.laterIn(f, s, from, want)
		if err != nil {
			return "", err
		}
		if at >= 0 {
			return fmt.Sprintf("the group at %d of %s", at, journalPath(s)), nil
		}
	}
	return "", nil
}

// laterIn looks at every block of a file from a position on.
func (r *recovery) laterIn(f File, seq uint64, from int64, want LSN) (int64, error) {
	b := r.e.room(verifyChunkBytes)
	for ; from < r.openLen; from += int64(len(b)) {
		n, err := f.ReadAt(b[:min(int64(len(b)), r.openLen-from)], from)
		if err != nil && !errors.Is(err, io.EOF) {
			// A sector that cannot be read says nothing; what follows it may.
			r.note(effect.Note{Kind: effect.NoteDamageFound, Detail: fmt.Sprintf("%s at %d: %v", journalPath(seq), from, err)})
		}
		for at := 0; at+groupHeaderBytes <= n; at += blockBytesMin {
			h, err := readGroupHeader(b[at:n])
			if err == nil && h.Kind == groupFailed {
				h.LSN-- // it proves what was before the group that failed
			}
			if err == nil && h.LSN > want && h.File == seq {
				return from + int64(at), nil
			}
		}
	}
	return -1, nil
}

// proven reports whether the group that ends at pos was durable.
func (r *recovery) proven(seq uint64, pos int64, lsn LSN) (bool, error) {
	for _, place := range [...]struct {
		seq uint64
		pos int64
	}{{seq, pos}, {seq + 1, 0}} {
		h, found, err := r.groupAt(place.seq, place.pos, lsn+1)
		if err != nil || found && h.Kind != groupFailed {
			return err == nil, err
		}
	}
	later, err := r.provenLater(seq, pos, lsn)
	return later != "", err
}

// take reads one group and applies it; taken is false if it is a torn tail.
func (r *recovery) take(seq uint64, pos int64, h *groupHeader) (taken bool, err error) {
	f, err := r.file(seq)
	if err != nil {
		return false, err
	}
	if cap(r.body) < int(h.Bytes) {
		r.body = make([]byte, h.Bytes)
	}
	b := r.body[:h.Bytes]
	fault := ""
	if err := readFull(f, b, pos); err != nil {
		fault = err.Error()
	}
	r.group = r.group[:0]
	rest := b[groupHeaderBytes:]
	for i := uint32(0); fault == "" && i < h.Count; i++ {
		var n entry
		if n, rest, err = readEntry(rest, h.LSN, i); err != nil {
			fault = fmt.Sprintf("entry %d: %v", i, err)
			break
		}
		r.group = append(r.group, n)
	}
	if fault == "" && len(rest) > 0 {
		fault = fmt.Sprintf("%d bytes behind the entries", len(rest))
	}
	end := pos + int64(h.Padded)
	if next, found, err := r.groupAt(seq, end, h.LSN+1); err != nil || found && next.Kind == groupFailed {
		return false, err
	}
	if fault != "" {
		proven, err := r.proven(seq, end, h.LSN)
		if err != nil || !proven {
			return false, err
		}
		return false, fmt.Errorf("%w: %s at %d: group %d was durable: %s", ErrDamaged, journalPath(seq), pos, h.LSN, fault)
	}
	bad, inPlace := r.checkPayloads()
	if bad || inPlace {
		proven, err := r.proven(seq, end, h.LSN)
		if err != nil {
			return false, err
		}
		if !proven {
			if bad {
				return false, nil
			}
			for i := range r.group {
				if n := &r.group[i]; n.Kind == entryInPlace && !r.verifyInPlace(n) {
					return false, nil
				}
			}
		}
	}
	for i := range r.group {
		if err := r.apply(&r.group[i]); err != nil {
			return false, err
		}
	}
	if err := r.flush(); err != nil {
		return false, err
	}
	r.last = h.LSN
	return true, nil
}

// checkPayloads verifies the group's payloads. A bad one is replaced by the segment's copy if that is
// good; else its entry loses its payload.
func (r *recovery) checkPayloads() (bad, inPlace bool) {
	for i := range r.group {
		n := &r.group[i]
		if n.Kind == entryInPlace {
			inPlace = true
		}
		if n.payloadOK(n.Payload) {
			continue
		}
		n.Payload = r.segmentCopy(n)
		if n.Payload == nil {
			bad = true
		}
	}
	return bad, inPlace
}

// segmentCopy is the payload as the segment has it, nil if that is not the payload.
func (r *recovery) segmentCopy(n *entry) []byte {
	if n.Kind != entryBatch && n.Kind != entryInPlace {
		return nil
	}
	f, err := r.e.disk.Open(partitionDir(n.Partition) + "/" + offsetName(n.SegmentBase) + logSuffix)
	if err != nil {
		return nil
	}
	b := make([]byte, len(n.Payload))
	err = readFull(f, b, n.Position)
	if cerr := f.Close(); err != nil || cerr != nil || !n.payloadOK(b) {
		return nil
	}
	return b
}

// apply carries out one entry.
func (r *recovery) apply(n *entry) error {
	e := r.e
	r.out.ReplayedEntries++
	p := e.partitions[n.Partition]
	if p == nil {
		if n.Kind == entryDelete {
			r.gone = append(r.gone, n.Partition)
			return nil
		}
		p = newPartition(n.Partition, e.cfg.DefaultLog, 0)
		r.adopt(p)
		e.names++
	}
	p.touched = true
	p.names++
	switch n.Kind {
	case entryDelete:
		for _, s := range p.segments {
			e.letGo(s)
		}
		e.remove(p)
		r.gone = append(r.gone, p.tp)
		return nil
	case entryLogStart:
		if n.BaseOffset > p.end {
			r.damage(p, fmt.Sprintf("the journal starts the log at offset %d, it ends at %d", n.BaseOffset, p.end))
			return nil
		}
		return r.applyStart(p, n.BaseOffset)
	default:
		return r.applyBatch(p, n)
	}
}

func (r *recovery) applyStart(p *partition, start model.Offset) error {
	if err := r.flush(); err != nil {
		return err
	}
	for len(p.segments) > 0 && p.segmentEnd(0) <= start {
		r.e.letGo(p.segments[0])
		r.removed = append(r.removed, p.segments[0])
		p.segments = p.segments[1:]
		r.e.segmentCount--
	}
	p.start = max(p.start, start)
	if p.damage == "" {
		p.state.AdvanceStart(p.start)
	}
	return nil
}

// applyBatch puts a batch where it was. On a damaged partition bytes are still written, for whoever
// repairs it.
func (r *recovery) applyBatch(p *partition, n *entry) error {
	e := r.e
	s := p.active()
	if s == nil || s.base != n.SegmentBase {
		if n.SegmentBase != n.BaseOffset || n.Position != 0 || s != nil && n.SegmentBase < s.base {
			r.damage(p, fmt.Sprintf("the journal has offset %d at %d of segment %d, which is not there", n.BaseOffset, n.Position, n.SegmentBase))
			return nil
		}
		s = newSegment(p.dir, n.SegmentBase)
		s.fileBytes = -1
		s.trustFrom = segmentBytesMax + 1
		for _, f := range r.onDisk[p.tp] {
			if f.Name == offsetName(s.base)+logSuffix {
				s.fileBytes = f.SizeBytes
			}
		}
		p.segments = append(p.segments, s)
		e.segmentCount++
	}
	if n.BaseOffset != p.end || n.Position != s.sizeBytes {
		r.damage(p, fmt.Sprintf("the journal goes on at offset %d, position %d of segment %d; the log ends at offset %d, position %d",
			n.BaseOffset, n.Position, s.base, p.end, s.sizeBytes))
	}
	var h record.Header
	err := errEntry
	if n.Payload != nil {
		h, err = record.ReadHeader(n.Payload)
	}
	if err != nil || h.BaseOffset != n.BaseOffset || h.NextOffset() != n.NextOffset || int64(h.SizeBytes) != n.SizeBytes {
		r.damage(p, fmt.Sprintf("the journal's copy of the batch at offset %d does not check out", n.BaseOffset))
	}
	p.end = max(p.end, n.NextOffset)
	if p.damage == "" && h.LeaderEpoch < p.state.LeaderEpoch() {
		r.damage(p, fmt.Sprintf("leader epoch %d at offset %d after %d", h.LeaderEpoch, h.BaseOffset, p.state.LeaderEpoch()))
	}
	if p.damage == "" {
		p.state.Apply(h)
		s.add(&h, n.Position, 0)
	} else {
		s.sizeBytes = max(s.sizeBytes, n.Position+n.SizeBytes)
	}
	s.dirty = true
	if n.Kind == entryInPlace || n.Payload == nil {
		return nil
	}
	return r.put(p, s, n)
}

// put collects consecutive payloads of one segment into one write.
func (r *recovery) put(p *partition, s *segment, n *entry) error {
	w := &r.write
	if w.seg != s || w.end != n.Position {
		if err := r.flush(); err != nil {
			return err
		}
		w.p, w.seg, w.at, w.end = p, s, n.Position, n.Position
	}
	w.bufs = append(w.bufs, n.Payload)
	w.end += int64(len(n.Payload))
	return nil
}

// flush writes what put collected. It writes even what is there already: a page whose sync failed before
// the crash may look clean without being on the disk, and this makes it dirty again.
func (r *recovery) flush() error {
	e, w := r.e, &r.write
	if len(w.bufs) == 0 {
		return nil
	}
	s := w.seg
	if s.fileBytes < 0 {
		if !w.p.dirMade {
			if err := e.disk.MakeDir(w.p.dir); err != nil {
				return fmt.Errorf("%s: %w", w.p.dir, err)
			}
			w.p.dirMade = true
			e.names++
		}
		if err := e.files.create(s); err != nil {
			return err
		}
		s.fileBytes = 0
	}
	f, err := e.files.get(s)
	if err == nil {
		if err = f.WriteAt(w.bufs, w.at); err != nil {
			err = s.fail(err)
		}
	}
	s.short = s.short || w.at > s.fileBytes
	s.fileBytes = max(s.fileBytes, w.end)
	clear(w.bufs)
	w.bufs, w.seg = w.bufs[:0], nil
	return err
}
