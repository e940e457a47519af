package broker

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// newObserver is broker 5, which does not vote, and asks voter 1.
func newObserver(w *world) *Broker {
	config := w.b.config
	config.Advertised.ID, config.Controller.NodeID = 5, 5
	return newBroker(config, metadata.NewView(metadata.NewImage(), 5, config.Controller.Node))
}

// called is the one call of a tick.
func called(t *testing.T, b *Broker, now model.Time) *effect.Call {
	t.Helper()
	var out effect.Set
	b.Tick(now, 0, &out)
	var call *effect.Call
	for i := range out.Calls {
		if out.Calls[i].Lane == effect.LaneMetadata {
			call = &out.Calls[i]
		}
	}
	if call == nil {
		t.Fatal("the metadata is not asked for")
	}
	return call
}

// imaged feeds an observer the image of a voter in pieces, each changed by mangle.
func imaged(t *testing.T, o *Broker, w *world, mangle func([]byte)) {
	t.Helper()
	id := w.b.newestImage()
	now := model.Time(1)
	answer := func(call *effect.Call, body effect.AnswerBody) {
		var out effect.Set
		o.Step(now, &Answered{effect.Answer{From: 1, ID: call.ID, Body: body}}, &out)
	}
	answer(called(t, o, now), &effect.ReplicaFetched{Parts: []effect.ReplicaFetchedPart{{
		Partition: metalog.EntriesPartition, Image: id, Leader: 1, LeaderEpoch: id.Epoch,
	}}})
	for o.observer.imaging() {
		now++
		call := called(t, o, now)
		ask := *call.Body.(*effect.FetchImage)
		ask.BytesMax = 100
		var out effect.Set
		w.b.Step(w.now, &FetchImage{Ask: ask}, &out)
		body := out.Replies[0].Body.(*effect.ImageFetched)
		body.Bytes = append([]byte(nil), body.Bytes...)
		mangle(body.Bytes)
		answer(call, body)
	}
}

func TestObserverBeginsWithAnImageInPieces(t *testing.T) {
	w := withTopic(t)
	o := newObserver(w)
	imaged(t, o, w, func([]byte) {})
	if !o.view.Image.Equal(w.b.view.Image) || o.view.Version() != w.b.view.Version() {
		t.Fatalf("the observer's metadata is not the voter's: version %d, not %d", o.view.Version(), w.b.view.Version())
	}
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
}

// Bytes from another node are refused, never believed: the observer asks again, and has what it had.
func TestObserverRefusesAnImageThatIsNotSound(t *testing.T) {
	w := withTopic(t)
	o := newObserver(w)
	at := 0
	imaged(t, o, w, func(b []byte) {
		if at++; at == 2 {
			b[len(b)/2] ^= 1
		}
	})
	if o.view.Version() != 0 || o.observer.failures != 1 {
		t.Fatalf("the metadata is of version %d after %d failures", o.view.Version(), o.observer.failures)
	}
}

// A node that does not vote tells those that have nothing what it knows, so that they learn who votes: it may be the only one that is
// configured. Who has something asks elsewhere.
func TestWhoDoesNotVoteHelpsThoseThatHaveNothing(t *testing.T) {
	w := withTopic(t)
	o := newObserver(w)
	imaged(t, o, w, func([]byte) {})
	fetch := func(offset model.Offset) effect.FetchPart {
		var out effect.Set
		o.Step(100, &Fetch{
			To: effect.RequestID{Conn: 7, Request: 1}, Replica: 6, BrokerEpoch: model.NoBrokerEpoch, BytesMin: 1, BytesMax: 1 << 20, ByID: true, SessionEpoch: -1,
			Parts: []FetchPart{{Topic: TopicRef{ID: metalog.EntriesPartition.Topic, ByID: true}, Offset: offset, LastFetchedEpoch: model.NoLeaderEpoch, CurrentLeaderEpoch: model.NoLeaderEpoch, BytesMax: 1 << 20}},
		}, &out)
		return out.Reads[0].Fetch.Parts[0]
	}
	if part := fetch(1); part.Code != kerr.NotLeaderForPartition.Code || part.Image != nil {
		t.Fatalf("who has something is answered: %+v", part)
	}
	part := fetch(0)
	if part.Code != 0 || part.Image == nil || part.Image.EndOffset != o.view.Version() || part.From != part.To {
		t.Fatalf("who has nothing is not helped: %+v", part)
	}
	var out effect.Set
	o.Step(100, &FetchImage{Ask: effect.FetchImage{Partition: metalog.EntriesPartition.Partition, ID: *part.Image, BytesMax: 1 << 20}}, &out)
	body := out.Replies[0].Body.(*effect.ImageFetched)
	image, err := imageFrom(body.Bytes, part.Image.EndOffset)
	if err != nil || body.Code != 0 || !image.Equal(w.b.view.Image) {
		t.Fatalf("the image that was named is not given: %v, code %d", err, body.Code)
	}
}

// A voter answers who does not vote at once if there is something, with an image if its log begins later, and else when the
// next entry is committed.
func TestVoterTellsObserversWhatIsCommitted(t *testing.T) {
	w := withTopic(t)
	fetch := func(request uint64, offset model.Offset) effect.Set {
		return w.step(t, &Fetch{
			To: effect.RequestID{Conn: 7, Request: request}, Replica: 5, BrokerEpoch: model.NoBrokerEpoch, Wait: 1000, BytesMin: 1, BytesMax: 1 << 20, ByID: true, SessionEpoch: -1,
			Parts: []FetchPart{{Topic: TopicRef{ID: metalog.EntriesPartition.Topic, ByID: true}, Offset: offset, LastFetchedEpoch: model.NoLeaderEpoch, CurrentLeaderEpoch: model.NoLeaderEpoch, BytesMax: 1 << 20}},
		})
	}
	version := w.b.view.Version()
	from := w.b.voter.log.Start()
	if part := fetch(1, from).Reads[0].Fetch.Parts[0]; part.From != from || part.To != version || part.Leader.Broker.ID != 1 || part.Image != nil {
		t.Fatalf("what is committed is not given: %+v", part)
	}
	if part := fetch(1, from-1).Reads[0].Fetch.Parts[0]; part.From != part.To || part.Image == nil || part.Image.EndOffset != version {
		t.Fatalf("what is not there any more is not replaced: %+v", part)
	}
	if reads := fetch(2, version).Reads; len(reads) != 0 {
		t.Fatalf("there is nothing to tell: %v", reads)
	}
	w.step(t, &CreateTopics{Topics: []controller.CreateTopic{{Name: "u", PartitionCount: 1, ReplicationFactor: 1}}})
	var reads []effect.Read
	for range 3 {
		reads = append(reads, w.durableAll(t).Reads...)
	}
	if len(reads) != 1 || reads[0].To.Request != 2 || reads[0].Fetch.Parts[0].From != version || reads[0].Fetch.Parts[0].To != w.b.view.Version() {
		t.Fatalf("who waits is not told: %v", reads)
	}
	fetch(3, w.b.view.Version())
	w.step(t, &Disconnected{7})
	if n := len(w.b.observers.parked); n != 0 {
		t.Fatalf("%d fetches wait whose connection is gone", n)
	}
	fetch(4, w.b.view.Version())
	w.now += 1000
	var out effect.Set
	if w.b.Tick(w.now, 0, &out); len(out.Reads) != 1 || out.Reads[0].Fetch.Parts[0].To != w.b.view.Version() {
		t.Fatalf("who has waited long enough is not answered: %v", out.Reads)
	}
}

// An image that is given out is large: it is let go of when nobody has come for it for a while.
func TestVoterLetsGoOfImagesThatNobodyFetches(t *testing.T) {
	w := withTopic(t)
	const imageServedMin model.Time = 10e9
	id := w.b.newestImage()
	fetch := func() {
		w.step(t, &FetchImage{Ask: effect.FetchImage{ID: id, BytesMax: 10}})
	}
	tick := func(by model.Time) int {
		w.now += by
		var out effect.Set
		w.b.Tick(w.now, 0, &out)
		return w.b.outgoing.Count()
	}
	fetch()
	if n := tick(imageServedMin); n != 1 {
		t.Fatalf("%d images while one is fetched", n)
	}
	fetch()
	if n := tick(imageServedMin); n != 1 {
		t.Fatalf("%d images while one is fetched", n)
	}
	if n := tick(1); n != 0 {
		t.Fatalf("%d images are kept for nobody", n)
	}
}

// The same holds for a voter: what another sends, or what an older version of it finds on its disk, is no reason to panic.
func TestVoterRefusesMetadataThatIsNotSound(t *testing.T) {
	w := withTopic(t)
	m := imager{w.b}
	image, version := m.Image(), w.b.view.Version()
	if err := m.CheckImage(image, version); err != nil {
		t.Fatalf("its own image is refused: %v", err)
	}
	torn := slices.Clone(image)
	torn[len(torn)/2] ^= 1
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecNone))
	b.Append(record.Record{Value: []byte("of another kind"), Timestamp: model.NoTimestamp})
	strange := slices.Clone(b.Finish())
	for name, bytes := range map[string][]byte{
		"an image with other bytes":      torn,
		"an image that is cut short":     image[:len(image)-1],
		"an image that contradicts":      slices.Concat(image, image),
		"an image of something else":     strange,
		"an image with something behind": slices.Concat(image, strange),
	} {
		if m.CheckImage(bytes, version) == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for name, bytes := range map[string][]byte{"an image that contradicts": slices.Concat(image, image), "an image of something else": strange} {
		voter := newBroker(w.b.config, metadata.NewView(metadata.NewImage(), 1, w.b.config.Controller.Node))
		voter.voter = voter.newVoter()
		saved := new(metalog.Saved)
		saved.Found([]model.VoterID{voter.voter.id}, bytes)
		var out effect.Set
		if voter.vote(saved, &out) == nil {
			t.Errorf("%s on the disk is begun with", name)
		}
	}
	if m.CheckBatch(strange) == nil {
		t.Error("a batch of something else is taken")
	}
}
