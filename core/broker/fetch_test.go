package broker

import (
	"math"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// withTopic is a world with one topic "t" of one partition.
func withTopic(t *testing.T) *world {
	t.Helper()
	w := newWorld()
	w.step(t, &CreateTopics{Topics: []controller.CreateTopic{{Name: "t", PartitionCount: 1, ReplicationFactor: 1}}})
	w.durableAll(t)
	return w
}

func (w *world) step(t *testing.T, ev Event) effect.Set {
	t.Helper()
	var out effect.Set
	w.b.Step(w.now, ev, &out)
	w.inFlight = append(w.inFlight, out.Appends...)
	if err := w.b.Check(); err != nil {
		t.Fatal(err)
	}
	return out
}

func (w *world) produce(t *testing.T, bytes int) {
	t.Helper()
	w.step(t, &Produce{Acks: -1, Wall: 1000, Parts: []ProducePart{{
		Topic: TopicRef{Name: "t"}, Batch: make([]byte, bytes),
		Header: record.Header{
			RecordCount: 1, SizeBytes: bytes, MaxTimestamp: 1000,
			ProducerID: model.NoProducerID, ProducerEpoch: model.NoProducerEpoch, BaseSequence: model.NoSequence,
		},
	}}})
}

func (w *world) durableAll(t *testing.T) effect.Set {
	t.Helper()
	return w.step(t, &Completed{effect.Completions{Appended: w.durable(len(w.inFlight))}})
}

func fetchOf(request uint64, bytesMin, bytesMax int32, offsets ...model.Offset) *Fetch {
	ev := &Fetch{Replica: model.NoNode, To: effect.RequestID{Conn: 1, Request: request}, Wait: 500, BytesMin: bytesMin, BytesMax: bytesMax, SessionEpoch: -1}
	for i, o := range offsets {
		ev.Parts = append(ev.Parts, FetchPart{
			Index: int32(i), Topic: TopicRef{Name: "t"}, CurrentLeaderEpoch: model.NoLeaderEpoch, LastFetchedEpoch: model.NoLeaderEpoch, Offset: o, BytesMax: math.MaxInt32,
		})
	}
	return ev
}

func TestAFetchWaitsForNoMoreThanItTakes(t *testing.T) {
	w := withTopic(t)
	w.produce(t, 100)
	w.durableAll(t)
	w.step(t, fetchOf(1, 1000, 150, 1)) // parked: it begins behind the batch
	w.produce(t, 100)
	if out := w.durableAll(t); len(out.Reads) != 0 {
		t.Fatal("100 bytes of 150 suffice")
	}
	w.produce(t, 100)
	if out := w.durableAll(t); len(out.Reads) != 1 {
		t.Error("200 bytes wait for 1000, though the client takes only 150")
	}
}

func TestAFetchIsNeverAnsweredWithMoreThanTheBrokersBound(t *testing.T) {
	w := withTopic(t)
	out := w.step(t, fetchOf(1, 0, math.MaxInt32, 0))
	if got := out.Reads[0].Fetch.BytesMax; got != fetchBytesMax {
		t.Errorf("%d bytes may be read for one response, which has 2 GiB at most", got)
	}
}

func TestAFetchBeyondTheHighWatermarkWaitsForBytesItCanRead(t *testing.T) {
	w := withTopic(t)
	w.produce(t, 100)
	w.step(t, fetchOf(1, 1, 1000, 1)) // at the log end offset, above the high watermark
	if out := w.durableAll(t); len(out.Reads) != 0 {
		t.Error("a fetch was woken by bytes below its offset")
	}
	w.produce(t, 100)
	if out := w.durableAll(t); len(out.Reads) != 1 {
		t.Error("a fetch was not woken by bytes at its offset")
	}
}

func TestAFetchFarBehindManyBatchesStaysParkedSoundly(t *testing.T) {
	w := withTopic(t)
	w.produce(t, 10)
	w.durableAll(t)
	w.step(t, fetchOf(1, 100_000, 200_000, 1))
	for range 200 { // more than the replica remembers the sizes of; step checks the broker each time
		w.produce(t, 10)
		w.durableAll(t)
	}
}

func TestARefusedAppendLeavesParkedFetchesSound(t *testing.T) {
	w := withTopic(t)
	for range 2 {
		w.produce(t, 100)
		w.durableAll(t)
	}
	w.step(t, fetchOf(1, 1000, 2000, 1))
	w.produce(t, 100)
	a := w.inFlight[0]
	w.inFlight = nil
	w.step(t, &Completed{effect.Completions{Appended: []effect.Appended{{
		Partition: a.Partition, Failure: effect.DiskFull, Attempt: a.Attempt, State: w.state(a.Partition).Clone(),
	}}}})
	w.produce(t, 100)
	if out := w.durableAll(t); len(out.Reads) != 0 {
		t.Error("200 bytes of 1000 suffice once an append was refused")
	}
}

func TestAPartitionNamedManyTimesInAFetchCostsOnceEach(t *testing.T) {
	w := withTopic(t)
	const parts = 200_000
	w.step(t, fetchOf(1, 1, 1000, 0)) // another waits, too
	start := time.Now()
	var out effect.Set
	w.b.Step(w.now, fetchOf(2, 1, 1000, make([]model.Offset, parts)...), &out)
	w.b.Step(w.now, &Disconnected{Conn: 1}, &out)
	// A step that walks all waiters for each takes half a minute here.
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("parking and dropping %d parts took %v", parts, took)
	}
	if w.b.ParkedFetchCount() != 0 || len(w.b.partitions.order[0].waiting) != 0 {
		t.Error("something is still parked")
	}
}

// A follower names a partition once, as long as nothing of it changes: what it says must be taken in whatever is said of
// other partitions beside it.
func TestLeaderTakesInEveryPartOfAFollowersFetch(t *testing.T) {
	f := newFollows(t)
	in := controller.CreateTopic{Name: "led", PartitionCount: -1, ReplicationFactor: -1}
	for i := range 3 {
		in.Assignments = append(in.Assignments, controller.Assignment{Partition: model.Partition(i), Replicas: []model.NodeID{1, 2}})
	}
	f.step(&CreateTopics{To: f.ask(), Topics: []controller.CreateTopic{in}})
	id := f.b.view.Named("led").ID
	ev := &Fetch{To: f.ask(), BytesMax: 1 << 20, BytesMin: 1, Replica: 2, BrokerEpoch: f.b.view.Broker(2).Epoch, ByID: true}
	for i := range 3 {
		tp := model.TopicPartition{Topic: id, Partition: model.Partition(i)}
		var out effect.Set
		f.b.Step(f.now, &Produce{To: f.ask(), Acks: 1, Parts: []ProducePart{{
			Topic: TopicRef{ID: id, ByID: true}, Partition: tp.Partition, Header: record.Header{RecordCount: 1, SizeBytes: 100, ProducerID: -1},
		}}}, &out)
		f.inFlight = append(f.inFlight, out.Appends...)
		f.step(&Completed{effect.Completions{Appended: f.durable(1)}})
		ev.Parts = append(ev.Parts, FetchPart{
			Topic: TopicRef{ID: id, ByID: true}, Partition: tp.Partition, Offset: 1, LastFetchedEpoch: 0, CurrentLeaderEpoch: 0, BytesMax: 1 << 20,
		})
	}
	ev.Parts[0].CurrentLeaderEpoch = 7 // it has heard of a leader that this node has not
	f.step(ev)
	for i := range 3 {
		want := model.Offset(1)
		if i == 0 {
			want = 0
		}
		if got, _ := f.b.Bounds(model.TopicPartition{Topic: id, Partition: model.Partition(i)}); got.HighWatermark != want {
			t.Errorf("partition %d: the high watermark is %d, not %d", i, got.HighWatermark, want)
		}
	}
}

// A client that says in which rack it is reads from a replica there that has what it asks for (KIP-392).
func TestClientIsSentToAReplicaInItsRack(t *testing.T) {
	f := newFollows(t)
	in := controller.CreateTopic{
		Name: "led", PartitionCount: -1, ReplicationFactor: -1, Assignments: []controller.Assignment{{Replicas: []model.NodeID{1, 2}}},
	}
	f.step(&CreateTopics{To: f.ask(), Topics: []controller.CreateTopic{in}})
	tp := model.TopicPartition{Topic: f.b.view.Named("led").ID}
	fetch := func(rack string, offset model.Offset) *effect.FetchPart {
		t.Helper()
		var out effect.Set
		f.b.Step(f.now, &Fetch{
			To: f.ask(), Rack: rack, Replica: model.NoNode, Wait: 100, BytesMin: 1, BytesMax: 1 << 20, ByID: true, SessionEpoch: -1,
			Parts: []FetchPart{{Topic: TopicRef{ID: tp.Topic, ByID: true}, Offset: offset, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, BytesMax: 1 << 20}},
		}, &out)
		if len(out.Reads) == 0 {
			return nil
		}
		return &out.Reads[0].Fetch.Parts[0]
	}
	if part := fetch("east", 0); part != nil {
		t.Fatalf("the replica there has not shown what it has: %+v", part)
	}
	var out effect.Set
	f.b.Step(f.now, &Fetch{
		To: f.ask(), BytesMax: 1 << 20, BytesMin: 1, Replica: 2, BrokerEpoch: f.b.view.Broker(2).Epoch, ByID: true, Wait: 100,
		Parts: []FetchPart{{Topic: TopicRef{ID: tp.Topic, ByID: true}, LastFetchedEpoch: -1, CurrentLeaderEpoch: -1, BytesMax: 1 << 20}},
	}, &out)
	if part := fetch("east", 0); part == nil || part.ReadReplica == nil || *part.ReadReplica != 2 || part.From != part.To {
		t.Fatalf("the client is not sent to node 2: %+v", part)
	}
	for _, rack := range []string{"", "west", f.b.members.Rack} {
		if part := fetch(rack, 0); part != nil {
			t.Errorf("a client in rack %q does not wait here: %+v", rack, part)
		}
	}
}

// A follower gives clients that say where they are what is committed, and nothing else.
func TestFollowerServesClientsUpToTheHighWatermark(t *testing.T) {
	f := newFollows(t)
	id := f.create("a", 1)
	call := f.session()
	f.answer(call, &effect.ReplicaFetched{SessionID: 7, Parts: []effect.ReplicaFetchedPart{given(id, 5, 3)}})
	fetch := func(rack string, offset model.Offset, epoch model.LeaderEpoch) effect.FetchPart {
		t.Helper()
		var out effect.Set
		f.b.Step(f.now, &Fetch{
			To: f.ask(), Rack: rack, Replica: model.NoNode, BytesMin: 1, BytesMax: 1 << 20, ByID: true, SessionEpoch: -1,
			Parts: []FetchPart{{Topic: TopicRef{ID: id, ByID: true}, Offset: offset, CurrentLeaderEpoch: epoch, LastFetchedEpoch: -1, BytesMax: 1 << 20}},
		}, &out)
		return out.Reads[0].Fetch.Parts[0]
	}
	if part := fetch("east", 0, 0); part.Code != 0 || part.From != 0 || part.To != 3 || part.HighWatermark != 3 {
		t.Errorf("what is committed is not given: %+v", part)
	}
	if part := fetch("east", 4, 0); part.Code != 0 || part.From != part.To {
		t.Errorf("what is not committed is given: %+v", part)
	}
	for _, refused := range []struct {
		rack   string
		offset model.Offset
		epoch  model.LeaderEpoch
		code   int16
	}{
		{"", 0, 0, kerr.NotLeaderForPartition.Code}, {"east", 6, 0, kerr.OffsetOutOfRange.Code}, {"east", 0, 1, kerr.UnknownLeaderEpoch.Code},
	} {
		if part := fetch(refused.rack, refused.offset, refused.epoch); part.Code != refused.code {
			t.Errorf("rack %q from %d in epoch %d: %s, not %s", refused.rack, refused.offset, refused.epoch, effect.CodeName(part.Code), effect.CodeName(refused.code))
		}
	}
}
