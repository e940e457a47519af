package metalog

import (
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// Incoming is an image on its way here, piece by piece. A piece that is lost is asked for again; where they take too long, they
// are made smaller.
//
//	┌─────────┬─────────┬────┐ · · · · · · ┐
//	│ piece   │ piece   │    │ asked for   │ sizeBytes
//	└─────────┴─────────┴────┘ · · · · · · ┘
type Incoming struct {
	id        effect.ImageID
	sizeBytes int64 // -1: not known yet
	pieces    [][]byte
	gotBytes  int64
	askBytes  int32
	mostBytes int32
	missed    int // pieces in a row, by how bad that is
}

const (
	pieceBytesMin            = 4 << 10
	missedWaitMin model.Time = 20e6
	missedWaitMax model.Time = 1e9
	// missedMax is when whoever was to give the image is given up: after eight pieces in a row that took too long, for they become
	// smaller, or three that were lost, or two that could not be asked for.
	missedMax         = 8
	missedLost        = 3
	missedUnreachable = 4
)

// NewIncoming begins with an image, in pieces of at most so many bytes. sizeBytes is -1 if only its name is known.
func NewIncoming(id effect.ImageID, sizeBytes int64, pieceBytesMax int32) *Incoming {
	return &Incoming{id: id, sizeBytes: sizeBytes, askBytes: pieceBytesMax, mostBytes: pieceBytesMax}
}

// ID is the image's name.
func (i *Incoming) ID() effect.ImageID { return i.id }

// Ask is the piece that is asked for next.
func (i *Incoming) Ask() (position int64, bytesMax int32) { return i.gotBytes, i.askBytes }

// Pieces is how many have come.
func (i *Incoming) Pieces() int { return len(i.pieces) }

// Whole reports whether nothing is missing.
func (i *Incoming) Whole() bool { return i.gotBytes == i.sizeBytes }

// Image is all of it. Whether it is one has to be seen.
func (i *Incoming) Image() []byte { return slices.Concat(i.pieces...) }

// Take takes in the piece that was asked for. An error says that it is none of this image: it has to be begun anew.
func (i *Incoming) Take(a *effect.ImageFetched) error {
	switch {
	case a.ID != i.id || a.Position != i.gotBytes:
		return fmt.Errorf("byte %d of image %d-%d comes, and byte %d of %d-%d was asked for", a.Position, a.ID.EndOffset, a.ID.Epoch, i.gotBytes, i.id.EndOffset, i.id.Epoch)
	case i.sizeBytes >= 0 && a.SizeBytes != i.sizeBytes || a.SizeBytes < 0 || a.SizeBytes > imageBytesMax:
		return fmt.Errorf("an image of %d bytes, and it was to have %d", a.SizeBytes, i.sizeBytes)
	case int64(len(a.Bytes)) > a.SizeBytes-a.Position || len(a.Bytes) == 0 && a.SizeBytes > a.Position:
		return fmt.Errorf("%d bytes from %d of an image of %d", len(a.Bytes), a.Position, a.SizeBytes)
	}
	i.sizeBytes, i.missed = a.SizeBytes, 0
	i.pieces, i.gotBytes = append(i.pieces, a.Bytes), i.gotBytes+int64(len(a.Bytes))
	i.askBytes = min(i.mostBytes, 2*i.askBytes)
	return nil
}

// Miss says that a piece did not come. It reports whether to ask for it again, after a while.
func (i *Incoming) Miss(why effect.CallFailure) (wait model.Time, again bool) {
	switch why { //nolint:exhaustive // others are losses
	case effect.CallTimedOut:
		i.askBytes = max(min(pieceBytesMin, i.mostBytes), i.askBytes/2)
		i.missed++
	case effect.CallUnreachable:
		i.missed += missedUnreachable
	default:
		i.missed += missedLost
	}
	if i.missed >= missedMax {
		i.missed = 0 // if it is gone on with, then anew
		return 0, false
	}
	return min(missedWaitMax, missedWaitMin<<i.missed), true
}
