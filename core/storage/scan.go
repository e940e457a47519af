package storage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// errDamaged is what reading a segment returns when its bytes are not what was written.
var errDamaged = errors.New("damaged")

// IsDamage reports whether an error says that durable bytes do not check out, of a partition or of what all of them need.
func IsDamage(err error) bool { return errors.Is(err, ErrDamaged) || errors.Is(err, errDamaged) }

// window is the last piece of a segment that headers were read from: neighbouring headers cost one read.
type window struct {
	seg  *segment
	at   int64
	data []byte
	buf  [4096]byte
}

// header reads the batch header at a position of a segment. It checks that the batch lies within the
// segment and begins at offset want, unless that is NoOffset.
func (e *Engine) header(s *segment, position int64, want model.Offset) (record.Header, error) {
	w := &e.window
	off := position - w.at
	if w.seg != s || off < 0 || off+record.HeaderBytes > int64(len(w.data)) {
		f, err := e.files.get(s)
		if err != nil {
			return record.Header{}, err
		}
		n := min(int64(len(w.buf)), s.sizeBytes-position)
		if n < record.HeaderBytes {
			return record.Header{}, fmt.Errorf("%w: %s at %d: %d bytes left", errDamaged, s.logPath(), position, n)
		}
		w.seg = nil
		if err := readFull(f, w.buf[:n], position); err != nil {
			return record.Header{}, fmt.Errorf("%w: %s at %d: %w", errDamaged, s.logPath(), position, err)
		}
		w.seg, w.at, w.data, off = s, position, w.buf[:n], 0
	}
	h, err := record.ReadHeader(w.data[off:])
	if err == nil && int64(h.SizeBytes) > s.sizeBytes-position {
		err = fmt.Errorf("batch of %d bytes with %d left", h.SizeBytes, s.sizeBytes-position)
	}
	if err == nil && want != model.NoOffset && h.BaseOffset != want {
		err = fmt.Errorf("batch of offset %d where %d was expected", h.BaseOffset, want)
	}
	if err != nil {
		return record.Header{}, fmt.Errorf("%w: %s at %d: %w", errDamaged, s.logPath(), position, err)
	}
	return h, nil
}

// follow reads the header that an index entry leads to: errIndex if it is not the one that the entry
// names.
func (e *Engine) follow(s *segment, n offsetEntry) (record.Header, error) {
	h, err := e.header(s, int64(n.position), model.NoOffset)
	if err != nil || h.LastOffset() != s.base+model.Offset(n.relative) {
		return record.Header{}, errIndex
	}
	return h, nil
}

// loadIndex reads a segment's index files, and the segment itself from where they end.
func (e *Engine) loadIndex(p *partition, s *segment) error {
	offsets, err := readFile(e.disk, s.path+indexSuffix)
	var times []byte
	if err == nil {
		times, err = readFile(e.disk, s.path+timeIndexSuffix)
	}
	if err != nil {
		return e.rebuildIndex(p, s)
	}
	x := decodeIndex(offsets, times, s.sizeBytes)
	x.exact = len(offsets) == x.saved*offsetEntryBytes && len(times) == x.savedTimes*timeEntryBytes
	if err := e.completeIndex(p, s, x); err != nil {
		return e.rebuildIndex(p, s)
	}
	s.index = x
	return nil
}

// rebuildIndex makes the index from the segment alone. An error means that the segment is damaged.
func (e *Engine) rebuildIndex(p *partition, s *segment) error {
	x := &index{}
	if err := e.completeIndex(p, s, x); err != nil {
		return err
	}
	s.index = x
	return nil
}

// completeIndex adds what the segment holds beyond the index's last entry.
func (e *Engine) completeIndex(p *partition, s *segment, x *index) error {
	x.cutUncertain(s)
	known := slices.Clone(x.times)
	x.times = x.times[:x.timesCovered()]
	position, want := int64(0), s.base
	maxTS, maxAt := model.NoTimestamp, s.base
	if n := len(x.times); n > 0 {
		maxTS, maxAt = x.times[n-1].timestamp, s.base+model.Offset(x.times[n-1].relative)
	}
	if n := len(x.offsets); n > 0 {
		h, err := e.follow(s, x.offsets[n-1])
		if err != nil {
			return err
		}
		x.sinceBytes = int64(h.SizeBytes)
		position, want = int64(x.offsets[n-1].position)+int64(h.SizeBytes), h.NextOffset()
		if h.MaxTimestamp > maxTS {
			maxTS, maxAt = h.MaxTimestamp, h.LastOffset()
		}
	}
	for position < s.sizeBytes {
		h, err := e.header(s, position, want)
		if err != nil {
			return err
		}
		if h.MaxTimestamp > maxTS {
			maxTS, maxAt = h.MaxTimestamp, h.LastOffset()
		}
		x.add(s.base, &h, position, p.config.IndexIntervalBytes, maxTS, maxAt)
		position, want = position+int64(h.SizeBytes), h.NextOffset()
	}
	if s != p.active() {
		x.addTime(s.maxTS, int32(s.maxAt-s.base))
	}
	x.timesSaved(known)
	return nil
}

// indexed makes sure that the segment's index is in memory.
func (e *Engine) indexed(p *partition, s *segment) error {
	s.usedAt = e.checkpoints
	if s.index != nil {
		return nil
	}
	return e.loadIndex(p, s)
}

// locate finds the batch that holds an offset which the segment holds.
func (e *Engine) locate(p *partition, s *segment, o model.Offset) (position int64, h record.Header, err error) {
	if err := e.indexed(p, s); err != nil {
		return 0, record.Header{}, err
	}
	position, h, err = e.seek(s, o)
	if errors.Is(err, errIndex) {
		if err := e.rebuildIndex(p, s); err != nil {
			return 0, record.Header{}, err
		}
		position, h, err = e.seek(s, o)
	}
	if errors.Is(err, errIndex) {
		err = fmt.Errorf("%w: %s: offset %d cannot be found", errDamaged, s.logPath(), o)
	}
	return position, h, err
}

func (e *Engine) seek(s *segment, o model.Offset) (position int64, h record.Header, err error) {
	n, ok := s.index.floor(int64(o - s.base))
	if ok {
		position = int64(n.position)
		h, err = e.follow(s, n)
	} else {
		h, err = e.header(s, 0, s.base)
	}
	for err == nil {
		if o < h.BaseOffset {
			return 0, h, errIndex
		}
		if o <= h.LastOffset() {
			return position, h, nil
		}
		position += int64(h.SizeBytes)
		if position >= s.sizeBytes {
			return 0, h, errIndex
		}
		h, err = e.header(s, position, h.NextOffset())
	}
	return 0, h, err
}

// checkBatch verifies one whole batch: its place in the log, its CRC, and its leader epoch, which the CRC
// does not cover. Of batches before the log start the state has forgotten the epoch.
func (p *partition) checkBatch(b record.Batch, want model.Offset) error {
	h, err := record.ReadHeader(b)
	switch {
	case err != nil:
		return err
	case h.SizeBytes != len(b):
		return fmt.Errorf("batch of %d bytes in %d", h.SizeBytes, len(b))
	case h.BaseOffset != want:
		return fmt.Errorf("batch of offset %d where %d was expected", h.BaseOffset, want)
	}
	if epoch := p.state.EpochOf(h.LastOffset()); epoch != h.LeaderEpoch && h.LastOffset() >= p.start {
		return fmt.Errorf("batch of leader epoch %d where the log has %d", h.LeaderEpoch, epoch)
	}
	return record.CheckCRC(b)
}

// walk verifies the batches that b begins with, the first of them at a position of the segment and of
// offset want, and calls each with its size; it stops at the first that b does not hold whole. What was
// verified before, or written by this process, is only looked at.
func (e *Engine) walk(p *partition, s *segment, b []byte, position int64, want model.Offset, each func(record.Batch) bool) (bytes int, next model.Offset, err error) {
	off := 0
	for len(b)-off >= record.HeaderBytes {
		h, err := record.ReadHeader(b[off:])
		if err == nil && h.BaseOffset != want {
			err = fmt.Errorf("batch of offset %d where %d was expected", h.BaseOffset, want)
		}
		if err != nil {
			return off, want, fmt.Errorf("%w: %s at %d: %w", errDamaged, s.logPath(), position+int64(off), err)
		}
		if h.SizeBytes > len(b)-off {
			break
		}
		batch := record.Batch(b[off : off+h.SizeBytes : off+h.SizeBytes])
		at, to := position+int64(off), position+int64(off+h.SizeBytes)
		if _, must := s.unchecked(at, to); must {
			if err := p.checkBatch(batch, want); err != nil {
				return off, want, fmt.Errorf("%w: %s at %d: %w", errDamaged, s.logPath(), at, err)
			}
			s.markChecked(at, to)
		}
		if each != nil && !each(batch) {
			break
		}
		off += h.SizeBytes
		want = h.NextOffset()
	}
	return off, want, nil
}

// verify makes sure that the batches in [position, stop) of a segment have been checked. The first is of
// offset want.
func (e *Engine) verify(p *partition, s *segment, position, stop int64, want model.Offset) error {
	if _, must := s.unchecked(position, stop); !must {
		return nil
	}
	return e.walkFile(p, s, position, stop, want, nil)
}

// walkFile reads and walks the batches in [position, stop) piece by piece, until each has seen enough.
func (e *Engine) walkFile(p *partition, s *segment, position, stop int64, want model.Offset, each func(record.Batch) bool) error {
	f, err := e.files.get(s)
	if err != nil {
		return err
	}
	enough := false
	until := func(b record.Batch) bool {
		enough = each != nil && !each(b)
		return !enough
	}
	piece := int64(verifyChunkBytes)
	for position < stop {
		n := min(piece, stop-position)
		b := e.room(int(n))
		if err := readFull(f, b, position); err != nil {
			return fmt.Errorf("%w: %s at %d: %w", errDamaged, s.logPath(), position, err)
		}
		done, next, err := e.walk(p, s, b, position, want, until)
		if err != nil || enough {
			return err
		}
		if done == 0 {
			// One batch is larger than the piece, or cut off by the end.
			if n == stop-position {
				return fmt.Errorf("%w: %s at %d: batch is cut short", errDamaged, s.logPath(), position)
			}
			piece *= 2
			continue
		}
		position += int64(done)
		want = next
	}
	return nil
}

// room is scratch memory of n bytes, valid until the next call. What is too large to keep is not kept.
func (e *Engine) room(n int) []byte {
	if n > 4*verifyChunkBytes {
		return make([]byte, n)
	}
	if cap(e.scratch) < n {
		e.scratch = make([]byte, n)
	}
	return e.scratch[:n]
}

// ReadAll walks a partition's batches from its log start to its end, verifying each. A batch is valid
// during the call only. The error is fn's, or says what is damaged.
func (e *Engine) ReadAll(tp model.TopicPartition, fn func(record.Batch) error) error {
	p := e.partitions[tp]
	if p == nil {
		return nil
	}
	e.see(p)
	if p.damage != "" {
		return fmt.Errorf("%v: %w: %s", tp, errDamaged, p.damage)
	}
	var stopped error
	for i, s := range p.segments {
		position, from := int64(0), s.base
		var err error
		if from < p.start {
			// What lies before the start is nobody's concern any more, damaged or not.
			var h record.Header
			if position, h, err = e.locate(p, s, p.start); err == nil {
				from = h.BaseOffset
			}
		}
		if err == nil {
			err = e.walkFile(p, s, position, s.sizeBytes, from, func(b record.Batch) bool {
				stopped = fn(b)
				return stopped == nil
			})
		}
		if stopped != nil {
			return stopped
		}
		if err == nil && i+1 < len(p.segments) {
			// Segments follow each other without a gap.
			err = e.endsAt(p, s, p.segments[i+1].base)
		}
		if err != nil {
			e.damaged(p, err.Error())
			return fmt.Errorf("%v: %w", tp, err)
		}
	}
	return nil
}

// endsAt checks that a closed segment's last batch ends where the next segment begins.
func (e *Engine) endsAt(p *partition, s *segment, next model.Offset) error {
	_, h, err := e.locate(p, s, next-1)
	if err == nil && h.NextOffset() != next {
		err = fmt.Errorf("%w: %s ends at %d, the next segment begins at %d", errDamaged, s.logPath(), h.NextOffset(), next)
	}
	return err
}
