package broker

import (
	"fmt"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// observer is how a broker that does not vote comes by the metadata: it fetches what is committed from one voter, and from
// the next if that fails. It keeps nothing of it on its disk, and begins with an image after a restart.
//
//	             its records are gone there             all of it came
//	fetching ────────────────────────────► imaging ────────────────────► fetching
//	   ▲                                       │
//	   └──── it is given out no more ──────────┘
type observer struct {
	call     effect.CallID // 0: none is under way
	voter    int           // whom it asks: how often it has gone on to the next
	known    bool          // it asks brokers that it knows, and not those that are configured
	retryAt  model.Time
	failures int               // in a row
	image    *metalog.Incoming // nil: none is being fetched
}

const (
	observeWait     model.Time = 500e6
	observeTimeout  model.Time = 2e9
	observeRetryMin model.Time = 20e6
	observeRetryMax model.Time = 1e9
	observeBytes               = 4 << 20
)

// observes reports whether this broker follows the metadata log from outside: it does not vote, or nobody leads it.
func (b *Broker) observes() bool {
	if b.voter != nil && !b.unled() {
		return false
	}
	if b.otherVoters() > 0 {
		return true
	}
	for r := range b.view.Brokers {
		if r.ID != b.config.Advertised.ID {
			return true
		}
	}
	return false
}

// source is who is asked for the metadata: one voter of the configuration after another, and in every other round, as those
// who vote may be others by now, one after another of the brokers that are known; false if there is nobody.
func (b *Broker) source() (at VoterAddress, ok bool) {
	o, self, voters := &b.observer, b.config.Advertised.ID, b.config.Quorum.Voters
	others := b.otherVoters()
	if o.known || others == 0 {
		if at, ok = b.knownSource(); ok || others == 0 {
			return at, ok
		}
	}
	// Brokers begin with different voters.
	for i := range voters {
		if at = voters[(int(self)+o.voter+i)%len(voters)]; at.Node != self {
			return at, true
		}
	}
	return at, false
}

// otherVoters is how many others are configured as voters.
func (b *Broker) otherVoters() (count int) {
	for _, v := range b.config.Quorum.Voters {
		if v.Node != b.config.Advertised.ID {
			count++
		}
	}
	return count
}

// knownSource is one of the other brokers that have registered.
func (b *Broker) knownSource() (at VoterAddress, ok bool) {
	var all []VoterAddress
	for r := range b.view.Brokers {
		if address, known := b.addressOf(r.ID); known && r.ID != b.config.Advertised.ID {
			all = append(all, VoterAddress{Node: r.ID, Address: address})
		}
	}
	if len(all) == 0 {
		return at, false
	}
	return all[b.observer.voter%len(all)], true
}

// tickObserver asks for what comes next.
func (b *Broker) tickObserver(now model.Time, out *effect.Set) {
	b.tickObservers(out)
	o := &b.observer
	if !b.observes() && o.call == 0 {
		o.image = nil
	}
	if !b.observes() || o.call != 0 || now < o.retryAt {
		return
	}
	at, ok := b.source()
	if !ok {
		return
	}
	if o.imaging() {
		o.call = b.askPiece(at, o.image, out, b.imageObserved)
		return
	}
	wait := observeWait
	if b.imaging() {
		wait = 0 // pieces come by the same connection
	}
	o.call = b.call(at.Node, at.Address, effect.LaneMetadata, observeWait+observeTimeout, &effect.ReplicaFetch{
		Replica: b.config.Advertised.ID, BrokerEpoch: b.self.epoch, ClusterID: b.config.ClusterID,
		WaitMax: wait, BytesMin: 1, BytesMax: observeBytes, SessionEpoch: sessionEnds,
		Parts: []effect.ReplicaFetchPart{{
			Partition: metalog.EntriesPartition, CurrentLeaderEpoch: model.NoLeaderEpoch, Offset: b.view.Version(),
			LastFetchedEpoch: model.NoLeaderEpoch, LogStartOffset: model.NoOffset, BytesMax: observeBytes,
		}},
	}, out, b.observed)
}

func (o *observer) imaging() bool { return o.image != nil }

// observed takes in what was committed.
func (b *Broker) observed(a *effect.Answer, out *effect.Set) {
	o := &b.observer
	o.call = 0
	body, _ := a.Body.(*effect.ReplicaFetched)
	if a.Failure != effect.CallOK || body.Code != 0 || len(body.Parts) != 1 || body.Parts[0].Code != 0 {
		o.next(b)
		return
	}
	part := &body.Parts[0]
	if node, known := b.controllerNode(); part.Leader != model.NoNode && (!known || node != part.Leader) {
		b.controllerKnown(part.Leader)
	}
	switch {
	case part.Image.EndOffset > b.view.Version() && b.imaging():
		o.next(b) // the quorum fetches one
		return
	case part.Image.EndOffset > b.view.Version():
		o.image = metalog.NewIncoming(part.Image, -1, b.imagePieceBytes())
	case len(part.Batches) == 0 && part.HighWatermark > b.view.Version():
		o.next(b) // it has something, and does not give it
		return
	default:
		for i := range part.Batches {
			if err := b.applyObserved(record.Batch(part.Batches[i].Batch), out); err != nil {
				b.refuseMetadata(err, out)
				return
			}
		}
	}
	if part.Leader == model.NoNode && !o.imaging() {
		o.next(b) // a voter that hears of no leader hears of nothing that is committed
		return
	}
	o.failures, o.retryAt = 0, b.now
	if b.imaging() {
		o.retryAt += observeWait
	}
}

// applyObserved goes on by one batch of the log.
func (b *Broker) applyObserved(batch record.Batch, out *effect.Set) error {
	if batch.NextOffset() <= b.view.Version() {
		return nil // the quorum was faster
	}
	if batch.BaseOffset() != b.view.Version() {
		return fmt.Errorf("a batch at offset %d comes where one at %d was to", batch.BaseOffset(), b.view.Version())
	}
	b.keepLogged()
	return b.applyMetadata(batch, out)
}

// imageObserved takes in a piece of an image, and the image when it is whole.
func (b *Broker) imageObserved(a *effect.Answer, out *effect.Set) {
	o := &b.observer
	o.call = 0
	switch outcome, wait := takePiece(o.image, a); outcome {
	case pieceTaken:
		o.failures, o.retryAt = 0, b.now
	case pieceMissed:
		o.retryAt = b.now + wait
		return
	case pieceGone:
		o.image = nil
		o.retryAt = b.now + observeRetryMin
		return
	case pieceLost, pieceNone:
		o.image = nil // another voter has another
		o.next(b)
		return
	}
	if !o.image.Whole() {
		return
	}
	whole := o.image
	o.image = nil
	image, err := b.config.Memo.Read(whole.Image(), whole.ID().EndOffset, imageFrom)
	if err != nil {
		b.refuseMetadata(err, out)
		return
	}
	if image.Version() <= b.view.Version() {
		return // the quorum was faster
	}
	before := b.view
	b.keepLogged()
	b.view = b.view.Of(image)
	out.Marks.Set(effect.MarkObserverImaged)
	if b.caughtUp {
		b.metadataReplaced(before, out)
	}
}

// refuseMetadata says what is wrong with what a voter sent, and asks another.
func (b *Broker) refuseMetadata(err error, out *effect.Set) {
	out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteMetadataRefused, Offset: b.view.Version(), Detail: err.Error()})
	b.observer.next(b)
}

// next asks another voter, after a while.
func (o *observer) next(b *Broker) {
	o.voter++
	o.retryAt = b.now + min(observeRetryMax, observeRetryMin<<min(o.failures, 6))
	o.failures++
	if o.failures%max(1, b.otherVoters()) == 0 {
		o.known = !o.known
	}
}

// observerDeadline is when tickObserver has something to do.
func (b *Broker) observerDeadline() model.Time {
	d := b.observers.deadline()
	if o := &b.observer; b.observes() && o.call == 0 && (d == 0 || o.retryAt < d) {
		d = max(1, o.retryAt)
	}
	return d
}

// imageFrom reads an image of everything below an offset.
func imageFrom(batches []byte, next model.Offset) (*metadata.Image, error) {
	draft := metadata.NewImage().Edit()
	for rest := batches; len(rest) > 0; {
		batch, more, err := record.Next(rest)
		if err == nil {
			err = record.CheckCRC(batch)
		}
		if err == nil {
			err = draft.Apply(batch)
		}
		if err != nil {
			return nil, fmt.Errorf("an image of the metadata: %w", err)
		}
		rest = more
	}
	image, _ := draft.Seal(next)
	return image, nil
}
