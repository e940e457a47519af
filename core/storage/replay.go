package storage

import (
	"fmt"
	"slices"

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
	if n := len(r.files); pos > 0 && (n == 0 || r.files[n-1] < seq) {
		// It was written to, and its name was durable before the manifest was. It is let go only when there is a later one.
		return fmt.Errorf("%w: %s is missing, which is needed from %d on", ErrDamaged, journalPath(seq), pos)
	}
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
	rewrite := false
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
			rewrite = true
		}
	}
	r.groupProven = true
	if slices.ContainsFunc(r.group, func(n entry) bool { return n.Kind == entryLoose }) {
		if r.groupProven, err = r.proven(seq, end, h.LSN); err != nil {
			return false, err
		}
	}
	r.groupFile, r.groupPos, r.groupRewrite = seq, pos, rewrite
	for i := range r.group {
		if err := r.apply(&r.group[i]); err != nil {
			return false, err
		}
	}
	r.last, r.lastBytes, r.lastProof = h.LSN, 0, r.lastProof[:0]
	if slices.ContainsFunc(r.group, func(n entry) bool {
		return n.Kind == entryDelete || n.Kind == entryLogStart || n.Kind == entryTruncate || n.Kind == entryStartAt
	}) {
		r.lastBytes = int(h.Bytes)
		for i := range r.group {
			n := &r.group[i]
			in := lastSegment{n.Partition, n.SegmentBase}
			if (n.healed || n.Kind == entryInPlace && rewrite) && !slices.Contains(r.lastProof, in) {
				r.lastProof = append(r.lastProof, in)
			}
		}
	}
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
	if err := r.look(p); err != nil {
		return err
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
	case entryLoose:
		// Before it was durable nothing was written so, and what stands behind the known end is of an earlier life.
		p.loose.marked = p.loose.marked || r.groupProven
	case entryLogStart:
		if r.excuse(p, n) && p.end < n.SegmentBase {
			r.restartAt(p, n.SegmentBase)
		}
		if p.loose.marked && n.BaseOffset > p.end && p.damage == "" {
			if err := r.adoptToStart(p, n); err != nil {
				return err
			}
		}
		if n.BaseOffset > p.end {
			r.damage(p, p.end, fmt.Sprintf("the journal starts the log at offset %d, it ends at %d", n.BaseOffset, p.end))
			return nil
		}
		r.applyStart(p, n.BaseOffset, n.SegmentBase)
	case entryTruncate, entryStartAt:
		return r.truncate(p, n)
	default:
		if p.loose.marked && n.BaseOffset > p.end {
			// It was durable before the group was written.
			if err := r.adoptBefore(p, n.BaseOffset); err != nil {
				return err
			}
		}
		r.applyBatch(p, n)
	}
	return nil
}

// applyStart moves the log's start. first is where the first segment began that it left, or the start: of a loose
// log the end may not be known yet.
func (r *recovery) applyStart(p *partition, start, first model.Offset) {
	for len(p.segments) > 0 && p.segments[0].base < first {
		r.e.letGo(p.segments[0])
		r.removed = append(r.removed, removedSegment{p, p.segments[0]})
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
	p.watermark = max(p.watermark, n.Watermark)
	s := p.active()
	if s == nil || s.base != n.SegmentBase {
		if n.SegmentBase != n.BaseOffset || n.Position != 0 || s != nil && n.SegmentBase < s.base {
			r.noSegment(p, n)
			return
		}
		s = newSegment(p.dir, n.SegmentBase)
		s.fileBytes, s.fresh = -1, true
		s.trustFrom = segmentBytesMax + 1
		for _, f := range r.seen[p] {
			if f.Name == offsetName(s.base)+logSuffix {
				s.fileBytes = f.SizeBytes
			}
		}
		p.segments = append(p.segments, s)
		p.names++ // the manifest does not know of the file: its name may not be durable
		e.segmentCount++
	}
	whole := p.damage == ""
	if n.BaseOffset != p.end || n.Position != s.sizeBytes {
		r.damage(p, p.end, fmt.Sprintf("the journal goes on at offset %d, position %d of segment %d; the log ends at offset %d, position %d",
			n.BaseOffset, n.Position, s.base, p.end, s.sizeBytes))
		switch d := r.doubt(p); {
		case n.BaseOffset <= p.end:
		case whole || d.gap:
			r.gap(p, n.BaseOffset)
		default:
			d.miss(p.end, n.BaseOffset)
		}
	}
	var h record.Header
	err := errEntry
	if n.Payload != nil {
		h, err = record.ReadHeader(n.Payload)
	}
	switch sound := p.damage == "" || r.doubt(p).gap; {
	case err != nil || h.BaseOffset != n.BaseOffset || h.NextOffset() != n.NextOffset || int64(h.SizeBytes) != n.SizeBytes:
		r.damage(p, n.BaseOffset, fmt.Sprintf("the journal's copy of the batch at offset %d does not check out", n.BaseOffset))
		r.doubt(p).gap = false
	case sound && (h.LeaderEpoch < p.state.LeaderEpoch() || h.BaseOffset < p.state.EndOffset()):
		r.damage(p, n.BaseOffset, fmt.Sprintf("leader epoch %d at offset %d after %d", h.LeaderEpoch, h.BaseOffset, p.state.LeaderEpoch()))
		r.doubt(p).gap = false
	}
	p.end = max(p.end, n.NextOffset)
	if p.damage == "" || r.doubt(p).gap {
		p.state.Apply(h)
		s.add(&h, n.Position, 0)
	} else {
		s.sizeBytes = max(s.sizeBytes, n.Position+n.SizeBytes)
		if d := r.doubt(p); err == nil {
			d.epoch = max(d.epoch, h.LeaderEpoch)
		}
	}
	s.dirty = true
	inPlace := n.Kind == entryInPlace
	if n.Payload == nil || n.healed || inPlace && !r.groupRewrite {
		return
	}
	r.rewrite(p, replayed{
		seg: s, at: n.Position, file: r.groupFile, payload: r.groupPos + n.payloadAt, bytes: n.SizeBytes, hash: n.PayloadHash, inPlace: inPlace,
	})
}
