package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
)

// observers are the brokers that do not vote, as a voter sees them. Any voter tells them what it knows to be committed:
// what is behind its image from its log, and else the image, in pieces.
type observers struct {
	parked []*observing // by deadline
	images []*servedImage
	// What parked fetches wait to differ from.
	told       model.Offset
	toldLeader model.NodeID
}

// observing is a fetch of the metadata log that waits for the next entry.
type observing struct {
	ev       *Fetch
	deadline model.Time
}

// servedImage is an image that is being given out. What was committed since is not in it.
type servedImage struct {
	id     effect.ImageID
	bytes  []byte
	usedAt model.Time
}

const (
	// imagesServedMax bounds the images that are given out at a time; imageServedMin is how long one is kept for
	// whoever began to fetch it.
	imagesServedMax            = 2
	imageServedMin  model.Time = 10e9
	imagePieceBytes            = 1 << 20
)

// isMetadataFetch reports whether another broker asks for the metadata log.
func isMetadataFetch(ev *Fetch) bool {
	return ev.Replica != model.NoNode && len(ev.Parts) == 1 && ev.Parts[0].Topic.ID == metalog.EntriesPartition.Topic
}

// fetchMetadata answers a broker that does not vote: with what was committed, an image to be fetched instead, or when
// there is something.
func (b *Broker) fetchMetadata(ev *Fetch, out *effect.Set) {
	part := &ev.Parts[0]
	waits := b.voter != nil && b.voter.log != nil && part.Partition == metalog.EntriesPartition.Partition && part.Offset >= b.view.Version()
	if ev.Wait <= 0 || !waits {
		b.answerObserver(ev, out)
		return
	}
	o := &observing{ev: ev, deadline: b.now + ev.Wait}
	i := len(b.observers.parked)
	for i > 0 && b.observers.parked[i-1].deadline > o.deadline {
		i--
	}
	b.observers.parked = slices.Insert(b.observers.parked, i, o)
}

// answerObserver answers with what there is now.
func (b *Broker) answerObserver(ev *Fetch, out *effect.Set) {
	part, v := &ev.Parts[0], b.voter
	answer := effect.FetchPart{
		Index: part.Index, Partition: metalog.EntriesPartition, BytesMax: part.BytesMax,
		HighWatermark: model.NoOffset, LastStableOffset: model.NoOffset, LogStartOffset: model.NoOffset,
	}
	switch {
	case part.Partition != metalog.EntriesPartition.Partition:
		answer.Partition.Partition = part.Partition
		answer.Code = kerr.UnknownTopicOrPartition.Code
	case (v == nil || b.unled()) && part.Offset == 0 && b.view.Version() > 0:
		// It does not vote, or not any more, but who has nothing learns from what it has who may know more.
		next, id := b.view.Version(), b.newestImage()
		answer.HighWatermark, answer.LastStableOffset, answer.LogStartOffset, answer.Image = next, next, next, &id
	case v == nil || v.log == nil || b.unled() || b.view.Version() != v.log.Next():
		answer.Code = kerr.NotLeaderForPartition.Code // it does not vote, or not yet
	default:
		next := b.view.Version()
		answer.HighWatermark, answer.LastStableOffset, answer.LogStartOffset = next, next, v.log.Start()
		answer.From, answer.To = part.Offset, max(part.Offset, next)
		if part.Offset < v.log.Start() {
			id := b.imageToServe()
			answer.Image, answer.To = &id, answer.From
		}
		if node, known := b.controllerNode(); known {
			leader, _ := b.shown(node)
			leader.ID = node
			answer.Leader = &effect.Leader{Broker: leader, Epoch: model.LeaderEpoch(v.log.State().Term)}
		}
	}
	out.Reads = append(out.Reads, effect.Read{To: ev.To, Fetch: &effect.FetchReply{
		BytesMax: min(ev.BytesMax, fetchBytesMax), Parts: []effect.FetchPart{answer},
	}})
}

// tellObservers answers everybody who waits, once there is something to tell.
func (b *Broker) tellObservers(out *effect.Set) {
	o := &b.observers
	leader, _ := b.controllerNode()
	if next := b.view.Version(); next != o.told || leader != o.toldLeader {
		o.told, o.toldLeader = next, leader
		b.answerObservers(len(o.parked), out)
	}
}

// tickObservers answers those whose time is up, and lets go of images that nobody fetches any more.
func (b *Broker) tickObservers(out *effect.Set) {
	b.observers.images = slices.DeleteFunc(b.observers.images, func(i *servedImage) bool { return b.now-i.usedAt > imageServedMin })
	n := 0
	for n < len(b.observers.parked) && b.observers.parked[n].deadline <= b.now {
		n++
	}
	b.answerObservers(n, out)
}

func (b *Broker) answerObservers(n int, out *effect.Set) {
	o := &b.observers
	for _, p := range o.parked[:n] {
		b.answerObserver(p.ev, out)
	}
	o.parked = slices.Delete(o.parked, 0, n)
}

// drop forgets what came by a connection that is gone.
func (o *observers) drop(conn effect.ConnID) {
	o.parked = slices.DeleteFunc(o.parked, func(p *observing) bool { return p.ev.To.Conn == conn })
}

// deadline is when tickObservers has something to do.
func (o *observers) deadline() model.Time {
	if len(o.parked) == 0 {
		return 0
	}
	return max(1, o.parked[0].deadline)
}

// fetchImage gives out a piece of an image.
func (b *Broker) fetchImage(ev *FetchImage, out *effect.Set) {
	answer := &effect.ImageFetched{ID: ev.Ask.ID, Leader: model.NoNode, LeaderEpoch: model.NoLeaderEpoch, Position: ev.Ask.Position}
	switch image := b.imageOf(ev.Ask.ID); {
	case ev.Ask.Partition != metalog.EntriesPartition.Partition:
		answer.Code = kerr.UnknownTopicOrPartition.Code
	case image == nil:
		answer.Code = kerr.SnapshotNotFound.Code
	case ev.Ask.Position < 0 || ev.Ask.Position > int64(len(image.bytes)):
		answer.Code = kerr.PositionOutOfRange.Code
	default:
		image.usedAt = b.now
		rest := image.bytes[ev.Ask.Position:]
		answer.SizeBytes = int64(len(image.bytes))
		answer.Bytes = rest[:min(len(rest), imagePieceBytes, max(1, int(ev.Ask.BytesMax)))]
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer})
}

// imageToServe names the image that a broker is to begin with: one that others are given already, if the log goes on from
// there, for a thousand brokers that begin together must not need a thousand images.
func (b *Broker) imageToServe() effect.ImageID {
	v := b.voter
	for i := len(b.observers.images) - 1; i >= 0; i-- {
		if image := b.observers.images[i]; image.id.EndOffset >= v.log.Start() {
			image.usedAt = b.now // it is about to be fetched
			return image.id
		}
	}
	return b.newestImage()
}

// newestImage names an image of all that this node has. Where nobody votes, it is of no epoch.
func (b *Broker) newestImage() effect.ImageID {
	id := effect.ImageID{EndOffset: b.view.Version()}
	if b.voter != nil && b.voter.log != nil {
		id.Epoch = b.voter.log.Epoch()
	}
	return id
}

// imageOf is an image by its name: one that is being given out, or the newest. nil if it is neither, or if there is no
// room for another.
func (b *Broker) imageOf(id effect.ImageID) *servedImage {
	o := &b.observers
	for _, image := range o.images {
		if image.id == id {
			return image
		}
	}
	if id.EndOffset == 0 || id != b.newestImage() {
		return nil
	}
	if len(o.images) >= imagesServedMax {
		return nil
	}
	image := &servedImage{id: id, bytes: imager{b}.Image(), usedAt: b.now}
	o.images = append(o.images, image)
	return image
}
