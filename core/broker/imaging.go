package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
)

// Images of the metadata come in pieces, to voters that are far behind and to brokers that do not vote, each piece in a call of its
// own: no image is too large for a line that is slow, or for a frame.
//
//	who begins anew                 who has it
//	   │ ◄── its name: an offer ──── │ to voters, from the quorum's leader (voter.go)
//	   │ ◄── or a fetch's answer ─── │ to who does not vote (observers.go)
//	   │ ──── FetchImage ──────────► │
//	   │ ◄─── a piece ────────────── │ held as long as somebody comes for it
//	   │        ...                  │
const (
	// imagesHeldMax bounds the images that are held for observers at a time. For voters there is room for one more: who does not vote
	// must not keep the quorum from being whole.
	imagesHeldMax = 2
	// pieceTimeout is how long a piece may take. Smaller ones are asked for then.
	pieceTimeout model.Time = 2e9
)

// DefaultImagePieceBytes is how much of an image is moved in a call.
const DefaultImagePieceBytes = 1 << 20

func (b *Broker) imagePieceBytes() int32 {
	if n := b.config.Quorum.ImagePieceBytes; n > 0 {
		return n
	}
	return DefaultImagePieceBytes
}

// fetchImage gives out a piece of an image.
func (b *Broker) fetchImage(ev *FetchImage, out *effect.Set) {
	ask := &ev.Ask
	answer := &effect.ImageFetched{ID: ask.ID, Leader: model.NoNode, LeaderEpoch: model.NoLeaderEpoch, Position: ask.Position}
	switch piece, sizeBytes, held := b.outgoing.Piece(ask.ID, ask.Position, min(ask.BytesMax, b.imagePieceBytes()), b.now); {
	case ask.Partition != metalog.EntriesPartition.Partition:
		answer.Code = kerr.UnknownTopicOrPartition.Code
	case !held:
		answer.Code = kerr.SnapshotNotFound.Code
	case ask.Position < 0 || ask.Position > sizeBytes:
		answer.Code = kerr.PositionOutOfRange.Code
	default:
		answer.SizeBytes, answer.Bytes = sizeBytes, piece
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer})
}

// askPiece asks a node for the next piece of an image.
func (b *Broker) askPiece(at VoterAddress, in *metalog.Incoming, out *effect.Set, answered func(*effect.Answer, *effect.Set)) effect.CallID {
	position, bytesMax := in.Ask()
	return b.call(at.Node, at.Address, effect.LaneMetadata, pieceTimeout, &effect.FetchImage{
		Replica: b.config.Advertised.ID, ClusterID: b.config.ClusterID, Partition: metalog.EntriesPartition.Partition,
		CurrentLeaderEpoch: model.NoLeaderEpoch, ID: in.ID(), Position: position, BytesMax: bytesMax,
	}, out, answered)
}

// pieceOutcome is what came of asking for a piece.
type pieceOutcome uint8

const (
	pieceTaken  pieceOutcome = iota
	pieceMissed              // it is asked for again, after a while
	pieceGone                // the image is not given out any more
	pieceLost                // that node is not heard
	pieceNone                // none comes from there, or one of another image
)

// takePiece takes in what came of asking for a piece, and says how long to wait if it did not come.
func takePiece(in *metalog.Incoming, a *effect.Answer) (outcome pieceOutcome, wait model.Time) {
	body, _ := a.Body.(*effect.ImageFetched)
	switch {
	case a.Failure == effect.CallRefused || a.Failure == effect.CallMalformed:
		return pieceNone, 0
	case a.Failure != effect.CallOK:
		wait, again := in.Miss(a.Failure)
		if !again {
			return pieceLost, 0
		}
		return pieceMissed, wait
	case body.Code == kerr.SnapshotNotFound.Code:
		return pieceGone, 0
	case body.Code != 0 || in.Take(body) != nil:
		return pieceNone, 0
	}
	return pieceTaken, 0
}

// fetching is the image that this voter was offered, on its way here.
type fetching struct {
	offer   metalog.Offer
	image   *metalog.Incoming
	call    effect.CallID // 0: none is under way
	retryAt model.Time
	usedAt  model.Time // when it was last on offer
}

// fetchOffered goes on fetching the image that this voter was offered. What has come of it is kept for a while when it is offered no
// more: it may be again.
func (b *Broker) fetchOffered(out *effect.Set) {
	v := b.voter
	f := &v.fetching
	from, offer, ok := v.log.Offered()
	if !ok {
		if f.image != nil && b.now-f.usedAt > fetchedKept {
			f.image = nil
		}
		return
	}
	f.usedAt = b.now
	if f.image == nil || f.offer != offer {
		f.offer, f.image, f.retryAt = offer, metalog.NewIncoming(offer.ID, offer.SizeBytes, b.imagePieceBytes()), b.now
	}
	if f.image.Whole() {
		b.offeredArrived(out)
		return
	}
	// One image at a time: they are large.
	if f.call != 0 || b.now < f.retryAt || b.observer.imaging() {
		return
	}
	node := voterNode(from)
	address, known := b.controllerAddress(node)
	if !known {
		return // who learns of nobody yet follows the log from outside, too
	}
	image := f.image
	f.call = b.askPiece(VoterAddress{Node: node, Address: address}, image, out, func(a *effect.Answer, out *effect.Set) {
		f.call = 0
		if f.image == image {
			b.offeredPiece(a, out)
		}
		b.fetchOffered(out)
	})
}

// fetchedKept is how long what has come of an image is kept while nobody offers it.
const fetchedKept model.Time = 10e9

// offeredPiece takes in what came of asking for a piece.
func (b *Broker) offeredPiece(a *effect.Answer, out *effect.Set) {
	v := b.voter
	f := &v.fetching
	switch outcome, wait := takePiece(f.image, a); outcome {
	case pieceTaken:
	case pieceMissed:
		f.retryAt = b.now + wait
	case pieceLost: // what has come is kept: whoever leads may offer the same again
		v.log.Decline()
	case pieceGone, pieceNone:
		f.image = nil
		v.log.Decline()
	}
}

// offeredArrived hands the quorum the image that it was offered.
func (b *Broker) offeredArrived(out *effect.Set) {
	v := b.voter
	image := v.fetching.image
	v.fetching.image = nil
	if err := v.log.Arrived(image.Image(), out, &v.out); err != nil {
		out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteQuorumRefused, Detail: err.Error()})
	} else if image.Pieces() > 1 {
		out.Marks.Set(effect.MarkVoterImaged)
	}
	b.voted(out)
}

// imageToServe names the image that a broker is to begin with: one that others are given already, if the log goes on from
// there, for a thousand brokers that begin together must not need a thousand images.
func (b *Broker) imageToServe() effect.ImageID {
	if id, ok := b.outgoing.Newest(b.voter.log.Start(), b.now); ok {
		return id
	}
	return b.newestImage()
}

// newestImage names an image of all that this node has, and holds it if there is room: who asks for it before there is asks again.
// Where nobody votes, it is of no epoch.
func (b *Broker) newestImage() effect.ImageID {
	id := effect.ImageID{EndOffset: b.view.Version()}
	logStart := b.view.Version()
	if b.voter != nil && b.voter.log != nil {
		id.Epoch, logStart = b.voter.log.Epoch(), b.voter.log.Start()
	}
	b.outgoing.Hold(id, logStart, imagesHeldMax, b.now, func() []byte { return imageBytes(b.view.Image) })
	return id
}

// imaging reports whether there is a voter here that waits for an image that it was offered.
func (b *Broker) imaging() (yes bool) {
	if b.voter != nil && b.voter.log != nil {
		_, _, yes = b.voter.log.Offered()
	}
	return yes
}

// Hold holds an image of everything that was applied.
func (i imager) Hold(id effect.ImageID) (metalog.Offer, bool) {
	return i.b.outgoing.Hold(id, i.b.voter.log.Start(), imagesHeldMax+1, i.b.now, i.Image)
}

// Holds reports whether an image is held still.
func (i imager) Holds(id effect.ImageID) bool { return i.b.outgoing.Holds(id, i.b.now) }
