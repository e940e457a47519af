package metalog

import (
	"cmp"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// Outgoing are the images that a node gives out in pieces, to voters that are far behind and to brokers that do not vote. They are
// large: few are held at a time, and each only as long as somebody comes for it.
type Outgoing struct{ images []*outgoingImage }

// outgoingImage is an image that is being given out. What was committed since is not in it.
type outgoingImage struct {
	offer  Offer
	bytes  []byte
	usedAt model.Time
}

// heldMin is how long an image is held for whoever was told of it or has begun to fetch it.
const heldMin model.Time = 10e9

// staleMin is how long nobody has come for an image that makes room for another: a piece that got lost is asked for again sooner.
const staleMin model.Time = 3e9

// Hold makes an image unless it is held already, and holds it. It reports whether there was room among countMax. Those of less than
// the log goes on from are of no use, and make room; so does the one that nobody has come for for longest.
func (o *Outgoing) Hold(id effect.ImageID, logStart model.Offset, countMax int, now model.Time, image func() []byte) (Offer, bool) {
	if i := o.get(id); i != nil {
		i.usedAt = now
		return i.offer, true
	}
	if len(o.images) >= countMax {
		o.images = slices.DeleteFunc(o.images, func(i *outgoingImage) bool { return i.offer.ID.EndOffset < logStart })
	}
	if len(o.images) >= countMax {
		oldest := slices.MinFunc(o.images, func(x, y *outgoingImage) int { return cmp.Compare(x.usedAt, y.usedAt) })
		if now-oldest.usedAt < staleMin {
			return Offer{}, false
		}
		o.images = slices.DeleteFunc(o.images, func(i *outgoingImage) bool { return i == oldest })
	}
	i := &outgoingImage{bytes: image(), usedAt: now}
	i.offer = offerOf(id, i.bytes)
	o.images = append(o.images, i)
	return i.offer, true
}

// Holds reports whether an image is held, and goes on holding it.
func (o *Outgoing) Holds(id effect.ImageID, now model.Time) bool {
	i := o.get(id)
	if i != nil {
		i.usedAt = now
	}
	return i != nil
}

// Newest names the newest image that is of everything below an offset, at least, and goes on holding it.
func (o *Outgoing) Newest(from model.Offset, now model.Time) (id effect.ImageID, ok bool) {
	var newest *outgoingImage
	for _, i := range o.images {
		if i.offer.ID.EndOffset >= from && (newest == nil || i.offer.ID.EndOffset > newest.offer.ID.EndOffset) {
			newest = i
		}
	}
	if newest == nil {
		return id, false
	}
	newest.usedAt = now
	return newest.offer.ID, true
}

// Piece is up to bytesMax of an image from a position on; it has sizeBytes in all. ok is false if the image is not held.
func (o *Outgoing) Piece(id effect.ImageID, position int64, bytesMax int32, now model.Time) (piece []byte, sizeBytes int64, ok bool) {
	i := o.get(id)
	if i == nil {
		return nil, 0, false
	}
	i.usedAt = now
	if position < 0 || position > i.offer.SizeBytes {
		return nil, i.offer.SizeBytes, true
	}
	rest := i.bytes[position:]
	return rest[:min(len(rest), max(1, int(bytesMax)))], i.offer.SizeBytes, true
}

// Tick lets go of what nobody comes for.
func (o *Outgoing) Tick(now model.Time) {
	o.images = slices.DeleteFunc(o.images, func(i *outgoingImage) bool { return now-i.usedAt > heldMin })
}

// Count is how many images are held.
func (o *Outgoing) Count() int { return len(o.images) }

func (o *Outgoing) get(id effect.ImageID) *outgoingImage {
	for _, i := range o.images {
		if i.offer.ID == id {
			return i
		}
	}
	return nil
}
