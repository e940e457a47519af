package replica

import (
	"math"

	"github.com/weirmq/weir/core/model"
)

// sizes remembers how many bytes lie between the newest offsets of a log, so that a fetch which asks
// for a minimum of bytes can be judged without the disk. What it has forgotten counts as plenty: such a
// reader is far behind and will find enough.
type sizes struct {
	total int64      // bytes of all batches ever noted
	marks []sizeMark // by ascending offset; the oldest are dropped
}

// sizeMark says that everything noted below next came to total bytes.
type sizeMark struct {
	next  model.Offset
	total int64
}

// sizeMarksMax bounds the marks: it is more than the batches that wait to be durable at any time, times
// the few that a reader may lag while still counting bytes.
const sizeMarksMax = 128

func (s *sizes) note(next model.Offset, bytes int) {
	s.total += int64(bytes)
	if len(s.marks) == sizeMarksMax {
		n := copy(s.marks, s.marks[sizeMarksMax/2:])
		s.marks = s.marks[:n]
	}
	s.marks = append(s.marks, sizeMark{next, s.total})
}

// cut forgets the batches that were refused: those that end above the log's end.
func (s *sizes) cut(end model.Offset) {
	for n := len(s.marks); n > 0 && s.marks[n-1].next > end; n-- {
		s.marks = s.marks[:n-1]
	}
	if n := len(s.marks); n > 0 {
		s.total = s.marks[n-1].total
	}
}

// PlentyBytes stands for the size of what has been forgotten.
const PlentyBytes = math.MaxInt32

// between is how many bytes of whole batches lie from an offset up to another that ends a batch, or
// PlentyBytes if that has been forgotten.
func (s *sizes) between(from, to model.Offset) int64 {
	if from >= to {
		return 0
	}
	upper := int64(-1)
	for i := len(s.marks) - 1; i >= 0; i-- {
		m := s.marks[i]
		if upper < 0 && m.next <= to {
			upper = m.total
		}
		if m.next <= from && upper >= 0 {
			return upper - m.total
		}
	}
	return PlentyBytes
}
