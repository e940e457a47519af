package storage

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cespare/xxhash/v2"

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
	if pos+groupHeaderBytes > r.openLen {
		return groupHeader{}, false, nil
	}
	if err := readFull(f, b[:], pos); err != nil {
		// No torn write leaves a sector that cannot be read: there may have been a group.
		return groupHeader{}, false, fmt.Errorf("%w: %s at %d: %w", ErrDamaged, journalPath(seq), pos, err)
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
	step := len(b)
	for from < r.openLen {
		n, err := f.ReadAt(b[:min(int64(step), r.openLen-from)], from)
		if err != nil && !errors.Is(err, io.EOF) {
			if step > blockBytesMin {
				step = blockBytesMin // find out which block cannot be read, and what the others say
				continue
			}
			r.note(effect.Note{Kind: effect.NoteDamageFound, Detail: fmt.Sprintf("%s at %d: %v", journalPath(seq), from, err)})
			n = 0
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
		from += int64(step)
		if from%verifyChunkBytes == 0 {
			step = len(b)
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
		return false, fmt.Errorf("%w: %s at %d: group %d: %w", ErrDamaged, journalPath(seq), pos, h.LSN, err)
	}
	r.group = r.group[:0]
	rest := b[groupHeaderBytes:]
	for i := uint32(0); fault == "" && i < h.Count; i++ {
		var n entry
		if n, rest, err = readEntry(rest, h.LSN, i); err != nil {
			fault = fmt.Sprintf("entry %d: %v", i, err)
			break
		}
		n.payloadAt = int64(len(b) - len(rest) - len(n.Payload))
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
			if !r.checkInPlace() {
				return false, nil
			}
		}
	}
	r.groupFile, r.groupPos = seq, pos
	for i := range r.group {
		r.apply(&r.group[i])
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
		n.healed = n.Payload != nil
		bad = bad || !n.healed
	}
	return bad, inPlace
}

// checkInPlace verifies the batches of the group that are only in their segments: false means that the sync
// did not come to its end. What cannot be read was not torn; its entry loses its payload.
func (r *recovery) checkInPlace() bool {
	for i := range r.group {
		n := &r.group[i]
		if n.Kind != entryInPlace {
			continue
		}
		ok, err := r.verifyInPlace(n)
		if err != nil {
			n.Payload = nil
			continue
		}
		if !ok {
			return false
		}
	}
	return true
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

// apply carries out one entry in memory and notes down what must be written.
func (r *recovery) apply(n *entry) {
	e := r.e
	r.out.ReplayedEntries++
	p := e.partitions[n.Partition]
	if p == nil {
		if n.Kind == entryDelete {
			r.gone = append(r.gone, n.Partition)
			return
		}
		p = newPartition(n.Partition, e.cfg.DefaultLog, 0)
		r.adopt(p)
		e.names++
	}
	p.touched = true
	switch n.Kind {
	case entryDelete:
		for _, s := range p.segments {
			e.letGo(s)
		}
		delete(r.writes, p)
		e.remove(p)
		r.gone = append(r.gone, p.tp)
	case entryLogStart:
		if n.BaseOffset > p.end {
			r.damage(p, fmt.Sprintf("the journal starts the log at offset %d, it ends at %d", n.BaseOffset, p.end))
			return
		}
		r.applyStart(p, n.BaseOffset)
	default:
		r.applyBatch(p, n)
	}
}

func (r *recovery) applyStart(p *partition, start model.Offset) {
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
}

// applyBatch puts a batch where it was. On a damaged partition bytes are still written, for whoever
// repairs it.
func (r *recovery) applyBatch(p *partition, n *entry) {
	e := r.e
	s := p.active()
	if s == nil || s.base != n.SegmentBase {
		if n.SegmentBase != n.BaseOffset || n.Position != 0 || s != nil && n.SegmentBase < s.base {
			r.damage(p, fmt.Sprintf("the journal has offset %d at %d of segment %d, which is not there", n.BaseOffset, n.Position, n.SegmentBase))
			return
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
		p.names++ // the manifest does not know of the file: its name may not be durable
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
	if n.Kind == entryInPlace || n.Payload == nil || n.healed {
		return
	}
	if r.writes == nil {
		r.writes = make(map[*partition][]replayed)
	}
	r.writes[p] = append(r.writes[p], replayed{
		seg: s, at: n.Position, file: r.groupFile, payload: r.groupPos + n.payloadAt, bytes: n.SizeBytes, hash: n.PayloadHash,
	})
}

// writeAll writes what the replay noted down, partition by partition, so that each file is opened once. It
// writes even what is there already: a page whose sync failed before the crash may look clean without
// being on the disk, and this makes it dirty again.
func (r *recovery) writeAll() error {
	for _, p := range r.e.sorted {
		writes := r.writes[p]
		delete(r.writes, p)
		for len(writes) > 0 {
			k := 1
			total := writes[0].bytes
			for k < len(writes) && writes[k].seg == writes[0].seg && writes[k].at == writes[0].at+total && total < verifyChunkBytes {
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
