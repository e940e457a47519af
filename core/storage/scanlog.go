package storage

import (
	"github.com/weirmq/weir/core/effect"
)

// scanLog reads whole batches for a machine that loads its state. They are verified like a client's read, and
// stop at the end of a segment: the machine asks again from Next.
func (e *Engine) scanLog(s *effect.Scan, done *effect.Completions) {
	out := effect.Scanned{Partition: s.Partition, From: s.From, Next: s.From}
	p := e.partitions[s.Partition]
	if p != nil {
		e.see(p)
	}
	switch {
	case p == nil || p.gone:
		out.Failure = effect.Missing
	case p.damage != "":
		out.Failure = effect.Broken
	case s.From < p.end:
		if err := e.scanSegment(p, s, &out); err != nil {
			e.damaged(p, err.Error())
			out.Batches, out.Next, out.Failure = nil, s.From, effect.Broken
		}
	}
	done.Scanned = append(done.Scanned, out)
}

func (e *Engine) scanSegment(p *partition, s *effect.Scan, out *effect.Scanned) error {
	from := max(s.From, p.start)
	seg := p.segments[p.find(from)]
	position, h, err := e.locate(p, seg, from)
	if err != nil {
		return err
	}
	f, err := e.files.get(seg)
	if err != nil {
		return err
	}
	b := make([]byte, min(max(int64(s.BytesMax), int64(h.SizeBytes)), seg.sizeBytes-position))
	if err := readFull(f, b, position); err != nil {
		return seg.fail(err)
	}
	n, next, err := e.walk(p, seg, b, position, h.BaseOffset, nil)
	out.Batches, out.Next = b[:n:n], next
	return err
}
