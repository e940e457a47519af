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
