package metalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
)

// Offer says of an image what whoever fetches it has to know.
type Offer struct {
	ID        effect.ImageID
	SizeBytes int64
	Sum       uint64 // of the bytes: what arrives in pieces must be the image that was offered
}

// offerOf is the offer of an image.
func offerOf(id effect.ImageID, image []byte) Offer {
	return Offer{ID: id, SizeBytes: int64(len(image)), Sum: xxhash.Sum64(image)}
}

// check refuses an image that is not the one that was offered.
func (o *Offer) check(image []byte) error {
	if got := offerOf(o.ID, image); got != *o {
		return fmt.Errorf("an image of %d bytes and sum %x, and one of %d bytes and sum %x was offered", got.SizeBytes, got.Sum, o.SizeBytes, o.Sum)
	}
	return nil
}

const offerBytes = 8 + 4 + 8 + 8

// write is an offer as the quorum carries it.
func (o *Offer) write() []byte {
	b := make([]byte, 0, offerBytes)
	b = binary.BigEndian.AppendUint64(b, uint64(o.ID.EndOffset))
	b = binary.BigEndian.AppendUint32(b, uint32(o.ID.Epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(o.SizeBytes))
	return binary.BigEndian.AppendUint64(b, o.Sum)
}

// readOffer is write's inverse.
func readOffer(b []byte) (Offer, error) {
	if len(b) != offerBytes {
		return Offer{}, fmt.Errorf("the offer of an image has %d bytes, not %d", offerBytes, len(b))
	}
	o := Offer{
		ID: effect.ImageID{
			EndOffset: model.Offset(binary.BigEndian.Uint64(b)), Epoch: model.LeaderEpoch(binary.BigEndian.Uint32(b[8:])),
		},
		SizeBytes: int64(binary.BigEndian.Uint64(b[12:])), Sum: binary.BigEndian.Uint64(b[20:]),
	}
	if o.ID.EndOffset <= 0 || o.ID.Epoch < 0 || o.SizeBytes < 0 || o.SizeBytes > imageBytesMax {
		return Offer{}, fmt.Errorf("the offer of an image up to offset %d, of epoch %d, with %d bytes", o.ID.EndOffset, o.ID.Epoch, o.SizeBytes)
	}
	return o, nil
}

// imageBytesMax is larger than any image.
const imageBytesMax = 4 << 30

// madeOffer is an offer that another voter has taken in: it is made again until that has come by the image.
type madeOffer struct {
	to quorum.VoterID
	at model.Time
}

// Sent says what became of a message, or of an offer.
func (l *Log) Sent(to quorum.VoterID, isOffer, ok bool, now model.Time, set *effect.Set, out *Out) {
	switch {
	case l.broken != "":
		return
	case isOffer && ok:
		l.offers = append(l.offers, madeOffer{to, now + l.config.OfferInterval})
		return
	case isOffer:
		l.q.OfferLost(to, &l.out)
	case !ok:
		l.q.Unreachable(to, &l.out)
	}
	l.carry(set, out)
}

// offerAgain makes offers again that nothing may have come of: whoever fetches an image goes on, and who has forgotten begins.
func (l *Log) offerAgain(now model.Time, set *effect.Set, out *Out) {
	if !l.q.State().Leads {
		l.offers = nil
	}
	for len(l.offers) > 0 && l.offers[0].at <= now {
		to := l.offers[0].to
		l.offers = slices.Delete(l.offers, 0, 1)
		l.q.OfferLost(to, &l.out)
		l.carry(set, out)
	}
}

// Offered is the image that this voter was offered, and who offers it: it is to be fetched, until it is Offered no more.
func (l *Log) Offered() (from quorum.VoterID, o Offer, ok bool) {
	if l.broken != "" {
		return 0, Offer{}, false
	}
	from, image, ok := l.q.Offered()
	if !ok {
		return 0, Offer{}, false
	}
	o, err := readOffer(image.Data)
	invariant.Check(err == nil, "an offer was checked when it came")
	return from, o, true
}

// Decline forgets what was offered: it cannot be had. It will be offered again.
func (l *Log) Decline() { l.q.Decline() }

// Arrived takes in the image that was offered: batches. An error says that it is another, or none; then it is not offered any more.
func (l *Log) Arrived(image []byte, set *effect.Set, out *Out) error {
	_, o, ok := l.Offered()
	if !ok {
		return errors.New("an image that nobody offers")
	}
	if err := o.check(image); err != nil {
		l.Decline()
		return err
	}
	err := l.q.Arrived(imageData(o.ID.EndOffset, image), &l.out)
	l.carry(set, out)
	return err
}

// imager is what the quorum asks for images.
type imager struct{ l *Log }

// Offer is part of quorum.Imager.
func (i imager) Offer() (about []byte, ok bool) {
	l := i.l
	if l.machine.Applied() != l.Next() {
		return nil, false
	}
	o, ok := l.machine.Hold(effect.ImageID{EndOffset: l.Next(), Epoch: l.Epoch()})
	return o.write(), ok
}

// Holds is part of quorum.Imager.
func (i imager) Holds(about []byte) bool {
	o, err := readOffer(about)
	return err == nil && i.l.machine.Holds(o.ID)
}
