package metadata

import (
	"slices"

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
	steps  map[memoStep]memoResult
	images map[memoImage]*Image
	// stepsInOrder and imagesInOrder have the keys as they came, by which they are let go of.
	stepsInOrder  []memoStep
	imagesInOrder []memoImage
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
		var err error
		if r.to, r.changes, err = i.Apply(b); err != nil {
			return nil, nil, err
		}
		m.steps[step] = r
		m.stepsInOrder = append(m.stepsInOrder, step)
	}
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
		var err error
		if i, err = read(batches, next); err != nil {
			return nil, err
		}
		m.images[key] = i
		m.imagesInOrder = append(m.imagesInOrder, key)
	}
	return i, nil
}

// ForgetBefore lets go of what leads to versions below one: everybody is past it. Who is not after all has images of its
// own, which those behind it share.
func (m *Memo) ForgetBefore(version model.Offset) {
	n := 0
	for n < len(m.stepsInOrder) && m.stepsInOrder[n].from.Version() < version {
		delete(m.steps, m.stepsInOrder[n])
		n++
	}
	m.stepsInOrder = slices.Delete(m.stepsInOrder, 0, n)
	n = 0
	for n < len(m.imagesInOrder) && m.imagesInOrder[n].next < version {
		delete(m.images, m.imagesInOrder[n])
		n++
	}
	m.imagesInOrder = slices.Delete(m.imagesInOrder, 0, n)
}
