package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// follows is a world in which broker 2 leads what broker 1 follows.
type follows struct {
	*world
	t       *testing.T
	fetches []*effect.ReplicaFetch
	ids     []effect.CallID
}

func newFollows(t *testing.T) *follows {
	t.Helper()
	f := &follows{world: newWorld(), t: t}
	f.step(&RegisterBroker{To: f.ask(), Ask: effect.RegisterBroker{
		Broker: 2, Incarnation: model.IncarnationID{2}, Directories: []model.DirectoryID{{2}}, PreviousBrokerEpoch: model.NoBrokerEpoch, Rack: "east",
		Listeners: []effect.BrokerListener{{Name: ClientListener, Host: "b", Port: 1}, {Name: InterNodeListener, Host: "b", Port: 2}},
	}})
	r := f.b.view.Broker(2)
	if r == nil {
		t.Fatal("broker 2 is not registered")
	}
	f.step(&BrokerHeartbeat{To: f.ask(), Ask: effect.HeartbeatBroker{Broker: 2, BrokerEpoch: r.Epoch, MetadataOffset: f.b.view.Version()}})
	return f
}

func (f *follows) ask() effect.RequestID {
	f.requests++
	return effect.RequestID{Conn: 9, Request: f.requests}
}

// step takes in an event and all that follows from it, every append being durable at once. It keeps the fetches.
func (f *follows) step(ev Event) {
	f.t.Helper()
	var out effect.Set
	f.b.Step(f.now, ev, &out)
	for range 20 {
		for _, c := range out.Calls {
			if body, is := c.Body.(*effect.ReplicaFetch); is {
				if c.To != 2 {
					f.t.Fatalf("node %d is asked", c.To)
				}
				f.fetches, f.ids = append(f.fetches, body), append(f.ids, c.ID)
			}
		}
		if len(out.Appends) == 0 {
			break
		}
		f.inFlight = append(f.inFlight, out.Appends...)
		done := &Completed{effect.Completions{Appended: f.durable(len(f.inFlight))}}
		out.Reset()
		f.b.Step(f.now, done, &out)
	}
	if err := f.b.Check(); err != nil {
		f.t.Fatal(err)
	}
}

// create makes a topic that node 2 leads and node 1 follows.
func (f *follows) create(name string, partitions int) model.TopicID {
	f.t.Helper()
	in := controller.CreateTopic{Name: name, PartitionCount: -1, ReplicationFactor: -1}
	for i := range partitions {
		in.Assignments = append(in.Assignments, controller.Assignment{Partition: model.Partition(i), Replicas: []model.NodeID{2, 1}})
	}
	f.step(&CreateTopics{To: f.ask(), Topics: []controller.CreateTopic{in}})
	t := f.b.view.Named(name)
	if t == nil || t.Partition(0).Leader != 2 {
		f.t.Fatalf("topic %s is not led by node 2", name)
	}
	return t.ID
}

func (f *follows) answer(id effect.CallID, body *effect.ReplicaFetched) {
	f.t.Helper()
	f.step(&Answered{effect.Answer{From: 2, ID: id, Body: body}})
}

// taken are the fetches since they were taken last, with their calls.
func (f *follows) taken() ([]*effect.ReplicaFetch, []effect.CallID) {
	fetches, ids := f.fetches, f.ids
	f.fetches, f.ids = nil, nil
	return fetches, ids
}

func (f *follows) one() (*effect.ReplicaFetch, effect.CallID) {
	f.t.Helper()
	fetches, ids := f.taken()
	if len(fetches) != 1 {
		f.t.Fatalf("%d fetches, not one", len(fetches))
	}
	return fetches[0], ids[0]
}

// session makes a session with the leader, and returns the fetch that waits there.
func (f *follows) session() effect.CallID {
	f.t.Helper()
	_, call := f.one()
	f.answer(call, &effect.ReplicaFetched{SessionID: 7})
	_, call = f.one()
	return call
}

// given is partition 0 of a topic with a batch of records from the start.
func given(id model.TopicID, records int32, highWatermark model.Offset) effect.ReplicaFetchedPart {
	return effect.ReplicaFetchedPart{
		Partition: model.TopicPartition{Topic: id}, Diverging: effect.DivergingEpoch{Epoch: model.NoLeaderEpoch}, HighWatermark: highWatermark,
		Batches: []effect.FetchedBatch{{Header: record.Header{RecordCount: records, LastOffsetDelta: records - 1, SizeBytes: 100, ProducerID: -1}}},
	}
}

// refused is a partition for which the leader does not answer.
func refused(id model.TopicID, index model.Partition, why *kerr.Error) effect.ReplicaFetchedPart {
	return effect.ReplicaFetchedPart{
		Partition: model.TopicPartition{Topic: id, Partition: index}, Code: why.Code, Diverging: effect.DivergingEpoch{Epoch: model.NoLeaderEpoch},
	}
}

// Partitions that come together are asked for together, and the fetch that makes the session is not parked.
func TestFollowerAsksForAllThatCameTogetherAtOnce(t *testing.T) {
	f := newFollows(t)
	f.create("many", 20)
	fetch, id := f.one()
	if len(fetch.Parts) != 20 || fetch.WaitMax != 0 || fetch.SessionID != 0 {
		t.Fatalf("the first fetch has %d partitions and waits %d", len(fetch.Parts), fetch.WaitMax)
	}
	f.create("more", 3)
	if fetches, _ := f.taken(); len(fetches) != 0 {
		t.Fatalf("%d fetches while it is not known whether there is a session", len(fetches))
	}
	f.answer(id, &effect.ReplicaFetched{SessionID: 7})
	fetch, _ = f.one()
	if len(fetch.Parts) != 3 || fetch.WaitMax != fetchWait || fetch.SessionID != 7 || fetch.SessionEpoch != 1 {
		t.Fatalf("the session goes on with %d partitions, and the leader may wait %d", len(fetch.Parts), fetch.WaitMax)
	}
	f.create("late", 1)
	fetch, _ = f.one()
	if len(fetch.Parts) != 1 || fetch.SessionEpoch != 2 {
		t.Fatalf("what comes while the leader waits is named: %v", fetch)
	}
}

// A leader without room for sessions is not asked again and again: it may wait with its answers.
func TestFollowerWithoutASessionLetsTheLeaderWait(t *testing.T) {
	f := newFollows(t)
	f.create("a", 2)
	_, id := f.one()
	f.answer(id, &effect.ReplicaFetched{})
	fetch, id := f.one()
	if len(fetch.Parts) != 2 || fetch.SessionID != 0 || fetch.WaitMax != fetchWait {
		t.Fatalf("%d partitions, waits %d", len(fetch.Parts), fetch.WaitMax)
	}
	f.answer(id, &effect.ReplicaFetched{SessionID: 7})
	if fetch, _ = f.one(); len(fetch.Parts) != 0 || fetch.SessionID != 7 {
		t.Fatalf("there is room again: %v", fetch)
	}
}

// A fetch says that everything before its offsets is durable.
func TestFollowerFetchesAgainWhenAllIsDurable(t *testing.T) {
	f := newFollows(t)
	id := f.create("a", 2)
	call := f.session()
	body := &effect.ReplicaFetched{SessionID: 7, Parts: []effect.ReplicaFetchedPart{given(id, 4, 0)}}
	var out effect.Set
	f.b.Step(f.now, &Answered{effect.Answer{From: 2, ID: call, Body: body}}, &out)
	if len(out.Calls) != 0 || len(out.Appends) != 1 {
		t.Fatalf("%d calls before the disk has it", len(out.Calls))
	}
	f.inFlight = append(f.inFlight, out.Appends...)
	f.step(&Completed{effect.Completions{Appended: f.durable(1)}})
	fetch, _ := f.one()
	if len(fetch.Parts) != 1 || fetch.Parts[0].Offset != 4 || fetch.Parts[0].Partition.Partition != 0 {
		t.Fatalf("it asks for %v", fetch.Parts)
	}
}

// What a leader refuses is forgotten by the session, and asked for again later, ever later.
func TestFollowerLeavesAPartitionAloneThatIsRefused(t *testing.T) {
	f := newFollows(t)
	id := f.create("a", 2)
	call := f.session()
	f.answer(call, &effect.ReplicaFetched{SessionID: 7, Parts: []effect.ReplicaFetchedPart{refused(id, 1, kerr.UnknownLeaderEpoch)}})
	fetch, _ := f.one()
	if len(fetch.Forget) != 1 || fetch.Forget[0].Partition != 1 || len(fetch.Parts) != 0 {
		t.Fatalf("it forgets %v and asks for %v", fetch.Forget, fetch.Parts)
	}
	f.now = f.b.fetchTimers.Deadline()
	if f.now == 0 {
		t.Fatal("it is never asked for again")
	}
	var out effect.Set
	f.b.Tick(f.now, 0, &out)
	for _, c := range out.Calls {
		if body, is := c.Body.(*effect.ReplicaFetch); is && len(body.Parts) == 1 && body.Parts[0].Partition.Partition == 1 {
			return
		}
	}
	t.Fatalf("at its time it is not asked for: %v", out.Calls)
}

// The leader has not taken in what it refused. If the pause is over before another fetch could be sent, it is told all the
// same.
func TestFollowerSaysAgainWhatWasRefused(t *testing.T) {
	f := newFollows(t)
	id := f.create("a", 2)
	call := f.session()
	var out effect.Set
	f.b.Step(f.now, &Answered{effect.Answer{From: 2, ID: call, Body: &effect.ReplicaFetched{SessionID: 7, Parts: []effect.ReplicaFetchedPart{
		refused(id, 1, kerr.UnknownTopicID),
		given(id, 1, 0),
	}}}}, &out)
	if len(out.Calls) != 0 {
		t.Fatal("a fetch is sent before the disk has what came")
	}
	f.inFlight = append(f.inFlight, out.Appends...)
	f.now += fetchRetryMax // the disk is slow
	f.step(&Completed{effect.Completions{Appended: f.durable(1)}})
	fetch, _ := f.one()
	if len(fetch.Parts) != 2 {
		t.Fatalf("it asks for %v", fetch.Parts)
	}
}

// Of two fetches under way the second may be answered before the leader has heard where the first has brought this node. Such
// an answer comes to nothing, and the next fetch says so.
func TestFollowerSaysWhatItMadeOfAnswers(t *testing.T) {
	f := newFollows(t)
	id := f.create("a", 1)
	first := f.session()
	f.create("b", 1)
	_, second := f.one()
	f.answer(first, &effect.ReplicaFetched{SessionID: 7, Parts: []effect.ReplicaFetchedPart{given(id, 1, 0)}})
	f.answer(second, &effect.ReplicaFetched{SessionID: 7, Parts: []effect.ReplicaFetchedPart{given(id, 1, 1)}})
	fetches, _ := f.taken()
	said := 0
	for _, fetch := range fetches {
		for _, part := range fetch.Parts {
			bounds, _ := f.b.Bounds(part.Partition)
			if part.Partition.Topic != id {
				continue
			}
			said++
			if part.Offset != 1 || part.HighWatermark != bounds.HighWatermark {
				t.Errorf("it knows %+v, and says %+v", bounds, part)
			}
		}
	}
	if said != 1 {
		t.Errorf("%d fetches name the partition: %v", said, fetches)
	}
}
