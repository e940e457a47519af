package storage

import (
	"errors"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// ResolveRead fills in the records of every part that asks for some: bytes, or regions of files with
// Config.Regions. A part reads from one segment only; the consumer asks again for more.
//
// Bytes written by this process are trusted; older ones are verified when they are first read, whichever
// way they are served. A part whose log is damaged gets KAFKA_STORAGE_ERROR, one whose range retention
// has just removed OFFSET_OUT_OF_RANGE. What was found is reported with the next completions.
//
// Nothing is cached here: what was just written is in the system's page cache. Batches that are staged
// become visible with the BeginSync that writes them, before they are durable: see Unwritten.
func (e *Engine) ResolveRead(f *effect.FetchReply) {
	left := int(f.BytesMax)
	whole := true // nothing was returned yet: the first batch comes even if it is too large
	for i := range f.Parts {
		part := &f.Parts[i]
		if part.Code != 0 || part.From >= part.To {
			continue
		}
		limit := min(left, int(part.BytesMax))
		if limit <= 0 && !whole {
			continue
		}
		part.Records, part.Code = e.read(part.Partition, part.From, part.To, max(0, limit), whole)
		if n := part.Records.LenBytes(); n > 0 {
			left -= n
			whole = false
		}
	}
}

// Unwritten reports whether a fetch finds nothing yet but asks for batches that are staged: it is to be resolved after a
// BeginSync that has written them. Before that they could still be refused, and others be given their offsets: a follower
// that had them could not be told from one that has the others.
func (e *Engine) Unwritten(f *effect.FetchReply) bool {
	waits := false
	for i := range f.Parts {
		part := &f.Parts[i]
		if part.Code != 0 {
			return false
		}
		if part.From >= part.To {
			continue
		}
		p := e.partitions[part.Partition]
		if p == nil || p.deleted || p.damage != "" || part.From < p.end {
			return false
		}
		waits = waits || p.staged > 0
	}
	return waits && e.fatal == nil
}

func (e *Engine) read(tp model.TopicPartition, from, to model.Offset, limit int, whole bool) (effect.Records, int16) {
	p := e.partitions[tp]
	if p == nil || p.gone {
		return effect.Records{}, kerr.UnknownTopicOrPartition.Code
	}
	if from < p.end {
		e.see(p)
	}
	if p.damage != "" {
		return effect.Records{}, kerr.KafkaStorageError.Code
	}
	if from >= p.end {
		return effect.Records{}, 0
	}
	i := p.find(from)
	if i < 0 || from < p.start {
		return effect.Records{}, kerr.OffsetOutOfRange.Code
	}
	records, err := e.readSegment(p, p.segments[i], from, min(to, p.segmentEnd(i)), limit, whole)
	if err != nil {
		e.damaged(p, err.Error())
		return effect.Records{}, kerr.KafkaStorageError.Code
	}
	return records, 0
}

// readSegment reads whole batches from the one that holds from.
func (e *Engine) readSegment(p *partition, s *segment, from, to model.Offset, limit int, whole bool) (effect.Records, error) {
	position, h, err := e.locate(p, s, from)
	if err != nil {
		return effect.Records{}, err
	}
	if h.SizeBytes > limit {
		if !whole {
			return effect.Records{}, nil
		}
		limit = h.SizeBytes
	}
	f, err := e.files.get(s)
	if err != nil {
		return effect.Records{}, err
	}
	if e.cfg.Regions {
		stop, err := e.boundary(p, s, position, h, to, int64(limit))
		if err == nil {
			err = e.verify(p, s, position, stop, h.BaseOffset)
		}
		if err != nil {
			return effect.Records{}, err
		}
		return effect.Records{Regions: []effect.Region{f.Region(position, int(stop-position))}}, nil
	}
	b := make([]byte, min(int64(limit), s.sizeBytes-position))
	if err := readFull(f, b, position); err != nil {
		return effect.Records{}, s.fail(err)
	}
	n, _, err := e.walk(p, s, b, position, h.BaseOffset, func(b record.Batch) bool { return b.BaseOffset() < to })
	if err != nil {
		return effect.Records{}, err
	}
	return effect.Records{Bytes: b[:n:n]}, nil
}

// boundary is where a read that begins with the batch h at position stops: before the first batch that
// begins at or after to, or that ends more than limit bytes on. The index spares most of the way.
func (e *Engine) boundary(p *partition, s *segment, position int64, h record.Header, to model.Offset, limit int64) (int64, error) {
	if to >= e.endOf(p, s) && s.sizeBytes-position <= limit {
		return s.sizeBytes, nil
	}
	begin, first := position, h
	for range 2 {
		stop, err := e.hop(s, begin, first, position, to, limit)
		if !errors.Is(err, errIndex) {
			return stop, err
		}
		if err := e.rebuildIndex(p, s); err != nil {
			return 0, err
		}
	}
	return 0, errDamaged
}

// endOf is the offset after the segment's last batch.
func (e *Engine) endOf(p *partition, s *segment) model.Offset {
	if s == p.active() {
		return p.end
	}
	return p.segmentEnd(p.find(s.base))
}

func (e *Engine) hop(s *segment, position int64, h record.Header, start int64, to model.Offset, limit int64) (int64, error) {
	// The last indexed batch that surely belongs to the answer or is its end.
	near, ok := s.index.floorPosition(start + limit)
	if last, ok2 := s.index.floor(min(int64(to-1-s.base), math.MaxInt32)); ok2 && last.position < near.position {
		near = last
	} else if !ok2 {
		ok = false
	}
	if ok && int64(near.position) > position {
		n, err := e.follow(s, near)
		if err != nil {
			return 0, err
		}
		position, h = int64(near.position), n
	}
	for {
		if h.BaseOffset >= to || position+int64(h.SizeBytes) > start+limit {
			return position, nil
		}
		position += int64(h.SizeBytes)
		if position >= s.sizeBytes {
			return position, nil
		}
		var err error
		if h, err = e.header(s, position, h.NextOffset()); err != nil {
			return 0, err
		}
	}
}
