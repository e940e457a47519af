package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
)

// observers are the brokers that do not vote, as a voter sees them. Any voter tells them what it knows to be committed:
// what is behind its image from its log, and else the image, in pieces (imaging.go).
type observers struct {
	parked []*observing // by deadline
	// What parked fetches wait to differ from.
	told       model.Offset
	toldLeader model.NodeID
}

// observing is a fetch of the metadata log that waits for the next entry.
type observing struct {
	ev       *Fetch
	deadline model.Time
}

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
	b.outgoing.Tick(b.now)
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
