package replica

import (
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// A leader tells its high watermark once. Where it comes with the records below it, these are durable only later.
func TestFollowersHighWatermarkRisesWhenItsRecordsAreDurable(t *testing.T) {
	var out effect.Set
	r := New(model.TopicPartition{}, log.New(0), 0)
	r.Follow(2, 1, &out)
	at, ok := r.Position(1)
	if !ok {
		t.Fatal("a follower of somebody has a position")
	}
	h := record.Header{BaseOffset: 0, LeaderEpoch: 1, RecordCount: 1, SizeBytes: 100, ProducerID: -1}
	if r.Fetched(Fetched{From: at, HighWatermark: 1, Batches: []Batch{{Header: h}}}, 1, &out) {
		t.Error("the high watermark moved before anything was durable")
	}
	if !r.Appended(effect.Appended{NextOffset: h.NextOffset()}, 2, &out) || r.Bounds().HighWatermark != 1 {
		t.Errorf("the high watermark is %d once everything is durable, and the leader's is 1", r.Bounds().HighWatermark)
	}
}

// What a leader said of its high watermark is nothing in the next one's epoch.
func TestFollowerForgetsTheHighWatermarkOfAnotherEpoch(t *testing.T) {
	var out effect.Set
	r := New(model.TopicPartition{}, log.New(0), 0)
	r.Follow(2, 1, &out)
	at, _ := r.Position(1)
	h := record.Header{BaseOffset: 0, LeaderEpoch: 1, RecordCount: 1, SizeBytes: 100, ProducerID: -1}
	r.Fetched(Fetched{From: at, HighWatermark: 1, Batches: []Batch{{Header: h}}}, 1, &out)
	r.Follow(3, 2, &out)
	if r.Appended(effect.Appended{NextOffset: h.NextOffset()}, 2, &out) || r.Bounds().HighWatermark != 0 {
		t.Errorf("the high watermark is %d, and the leader has said nothing of one", r.Bounds().HighWatermark)
	}
}

// A new leader's high watermark may be behind what the leader before it has shown.
func TestNewLeaderDoesNotKnowTheEndUntilItsHighWatermarkIsThere(t *testing.T) {
	var out effect.Set
	state := log.New(0)
	state.Apply(record.Header{BaseOffset: 0, LeaderEpoch: 1, RecordCount: 5, LastOffsetDelta: 4, SizeBytes: 100, ProducerID: -1})
	r := New(model.TopicPartition{}, state, 0)
	r.Lead(Leadership{
		Epoch: 2, Assignment: Assignment{Replicas: []model.NodeID{1, 2}, ISR: []model.NodeID{1, 2}},
		Config: FollowersConfig{Self: 1, LagTimeMax: 1000, InSyncMin: 1},
	}, 1, &out)
	if r.KnowsEnd() {
		t.Error("it knows the end before anybody else has shown how far it is")
	}
	r.FetchedBy(2, 1, 5, 2, &out)
	if !r.KnowsEnd() || r.Bounds().HighWatermark != 5 {
		t.Errorf("the high watermark is %d; everybody in sync has 5", r.Bounds().HighWatermark)
	}
}

// A follower that is fenced when it has caught up joins when it is not, although it says nothing new.
func TestFollowerOfAQuietLogJoinsWhenItIsAlive(t *testing.T) {
	f := NewFollowers(FollowersConfig{Self: 1, LagTimeMax: 100, InSyncMin: 1},
		Assignment{Replicas: []model.NodeID{1, 2}, ISR: []model.NodeID{1}}, LeaderStart{}, 1)
	f.Alive(2, false)
	f.Fetched(2, 7, 0, 2)
	if _, ok := f.Propose(3); ok {
		t.Fatal("a fenced broker is proposed")
	}
	f.Alive(2, true)
	if p, ok := f.Propose(500); !ok || len(p.ISR) != 2 {
		t.Errorf("proposed: %v %v", p, ok)
	}
}

// The records of a batch that lie below the leader's log start were deleted one by one; they come with the rest of it.
func TestFollowerBeginsInsideABatchWhereItsLeadersLogStarts(t *testing.T) {
	var out effect.Set
	r := New(model.TopicPartition{}, log.New(0), 0)
	r.Follow(2, 1, &out)
	at, _ := r.Position(1)
	r.Fetched(Fetched{From: at, HighWatermark: 20, LogStartOffset: 15, OffsetOutOfRange: true}, 1, &out)
	if len(out.StartAts) != 1 || out.StartAts[0].Offset != 15 {
		t.Fatalf("it begins anew where the leader's log does: %v", out.StartAts)
	}
	r.Truncated(effect.Truncated{State: log.New(15), NextOffset: 15}, 2, &out)
	out.Reset()
	at, _ = r.Position(2)
	h := record.Header{BaseOffset: 10, LeaderEpoch: 1, RecordCount: 10, LastOffsetDelta: 9, SizeBytes: 100, ProducerID: -1}
	r.Fetched(Fetched{From: at, HighWatermark: 20, LogStartOffset: 15, Batches: []Batch{{Header: h}}}, 3, &out)
	if len(out.StartAts) != 1 || out.StartAts[0].Offset != 10 || len(out.Appends) != 1 || out.Appends[0].BaseOffset != 10 {
		t.Fatalf("it takes the batch whole: %v %v", out.StartAts, out.Appends)
	}
	r.Retained(effect.Retained{LogStartOffset: 15}, &out) // asked for before: of the log that is not there any more
	if err := r.Check(); err != nil || r.Bounds().HighWatermark != 10 {
		t.Fatalf("%v, high watermark %d", err, r.Bounds().HighWatermark)
	}
	out.Reset()
	r.Truncated(effect.Truncated{State: log.New(10), NextOffset: 10}, 4, &out)
	r.Appended(effect.Appended{NextOffset: 20}, 4, &out)
	if len(out.Retains) != 1 || out.Retains[0].Below != 15 || r.Bounds().HighWatermark != 20 {
		t.Fatalf("when it is durable, the records below the leader's start go: %v, high watermark %d", out.Retains, r.Bounds().HighWatermark)
	}
}
