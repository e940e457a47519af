package metadata

import (
	"github.com/cespare/xxhash/v2"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Memo shares images between machines that run in one process and are told the same: whoever comes to a batch first
// applies it, and the others get the image that came of it. Images never change, so nobody can tell; a thousand brokers
// have the memory of one image. It must be used by one goroutine at a time.
//
// A nil Memo shares nothing.
type Memo struct {
	steps, stepsBefore   map[memoStep]memoResult
	images, imagesBefore map[memoImage]*Image
}

type memoStep struct {
	from *Image
	hash uint64 // of the batch
}

type memoResult struct {
	to      *Image
	changes *Changes
}

type memoImage struct {
	next model.Offset
	hash uint64 // of the bytes
}

// NewMemo is a memo that knows nothing yet.
func NewMemo() *Memo {
	return &Memo{steps: map[memoStep]memoResult{}, images: map[memoImage]*Image{}}
}

// Apply is Image.Apply.
func (m *Memo) Apply(i *Image, b record.Batch) (*Image, *Changes, error) {
	if m == nil {
		return i.Apply(b)
	}
	step := memoStep{i, xxhash.Sum64(b)}
	r, known := m.steps[step]
	if !known {
		r, known = m.stepsBefore[step]
	}
	if !known {
		var err error
		if r.to, r.changes, err = i.Apply(b); err != nil {
			return nil, nil, err
		}
	}
	m.steps[step] = r
	return r.to, r.changes, nil
}

// Read reads an image of everything below an offset by read, unless it was read before.
func (m *Memo) Read(batches []byte, next model.Offset, read func([]byte, model.Offset) (*Image, error)) (*Image, error) {
	if m == nil {
		return read(batches, next)
	}
	key := memoImage{next, xxhash.Sum64(batches)}
	i := m.images[key]
	if i == nil {
		i = m.imagesBefore[key]
	}
	if i == nil {
		var err error
		if i, err = read(batches, next); err != nil {
			return nil, err
		}
	}
	m.images[key] = i
	return i, nil
}

// Forget lets go of what nobody has come to since the Forget before.
func (m *Memo) Forget() {
	m.stepsBefore, m.steps = m.steps, map[memoStep]memoResult{}
	m.imagesBefore, m.images = m.images, map[memoImage]*Image{}
}
