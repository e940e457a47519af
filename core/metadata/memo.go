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
//	known   a ──► b ──► c ──► d ──► e        what leads to each is kept until it is forgotten
//	                    ▲
//	late    x ──► y ────┘                    who comes from elsewhere joins the others where it meets them
//
// Whoever is told by one log has equal images at a version, by whatever way it came there: so it need not stay with images of
// its own that it began with or was too late for.
//
// A nil Memo shares nothing.
type Memo struct {
	steps  map[memoStep]memoResult
	images map[memoImage]*Image
	known  map[model.Offset]*Image // by version: which of equal images everybody gets
	// The keys as they came, by which they are let go of.
	stepsInOrder  []memoStep
	imagesInOrder []memoImage
	knownInOrder  []model.Offset
}

type memoStep struct {
	from *Image
	hash uint64 // of the batch
}

type memoResult struct {
	to      *Image
	changes *Changes
	joined  bool
}

type memoImage struct {
	next model.Offset
	hash uint64 // of the bytes
}

// NewMemo is a memo that knows nothing yet.
func NewMemo() *Memo {
	return &Memo{steps: map[memoStep]memoResult{}, images: map[memoImage]*Image{}, known: map[model.Offset]*Image{}}
}

// Apply is Image.Apply. joined says that the next image was not made of this one, but is equal to what would have been: they
// have nothing in common, and whoever keeps topics of this one keeps all of it.
func (m *Memo) Apply(i *Image, b record.Batch) (to *Image, changes *Changes, joined bool, err error) {
	if m == nil {
		to, changes, err = i.Apply(b)
		return to, changes, false, err
	}
	step := memoStep{i, xxhash.Sum64(b)}
	r, known := m.steps[step]
	if !known {
		made, changes, err := i.Apply(b)
		if err != nil {
			return nil, nil, false, err
		}
		to := m.knownAs(made)
		r = memoResult{to, changes, to != made}
		m.steps[step] = r
		m.stepsInOrder = append(m.stepsInOrder, step)
	}
	return r.to, r.changes, r.joined, nil
}

// knownAs is the image that everybody gets in the place of one that is equal.
func (m *Memo) knownAs(i *Image) *Image {
	if known := m.known[i.version]; known != nil {
		return known
	}
	m.known[i.version] = i
	m.knownInOrder = append(m.knownInOrder, i.version)
	return i
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
		i = m.knownAs(i)
		m.images[key] = i
		m.imagesInOrder = append(m.imagesInOrder, key)
	}
	return i, nil
}

// ForgetBefore lets go of what leads to versions up to one: nearly everybody is past it. Who is not goes by images of its own,
// until it has come to a version that is known.
func (m *Memo) ForgetBefore(version model.Offset) {
	m.stepsInOrder = slices.DeleteFunc(m.stepsInOrder, func(s memoStep) bool {
		old := s.from.version < version
		if old {
			delete(m.steps, s)
		}
		return old
	})
	m.imagesInOrder = slices.DeleteFunc(m.imagesInOrder, func(i memoImage) bool {
		old := i.next < version
		if old {
			delete(m.images, i)
		}
		return old
	})
	m.knownInOrder = slices.DeleteFunc(m.knownInOrder, func(v model.Offset) bool {
		old := v < version
		if old {
			delete(m.known, v)
		}
		return old
	})
}
