package controller

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

func TestLoadingTheMetadataLogGivesTheImageThatWroteIt(t *testing.T) {
	l := newLife(t, 1)
	l.ask(t, func(to effect.RequestID, out *effect.Set) {
		l.c.Create(to, []CreateTopic{
			{Name: "a", PartitionCount: 3, ReplicationFactor: -1, Settings: []metadata.ConfigSetting{{Name: "retention.ms", Value: "1000"}}},
			{Name: "b", PartitionCount: -1, ReplicationFactor: 1},
		}, false, out)
	})
	ids := l.ask(t, func(to effect.RequestID, out *effect.Set) {
		l.c.AllocateProducerIDs(to, &effect.AllocateProducerIDs{Broker: 1, BrokerEpoch: l.epochs[1]}, out)
	}).(*effect.ProducerIDsAllocated)
	l.ask(t, func(to effect.RequestID, out *effect.Set) { l.c.Delete(to, []DeleteTopic{{Name: "b"}}, out) })
	l.topic(t, "b", 2, -1)

	loaded := load(t, l.log)
	if loaded.TopicCount() != 2 || loaded.NextProducerID() != producerIDBlock || ids.First != 0 || !loaded.Equal(l.view.Image) {
		t.Fatalf("%d topics, next producer id %d", loaded.TopicCount(), loaded.NextProducerID())
	}
}

func TestTopicIDsDifferBetweenStartsAndNeverRepeat(t *testing.T) {
	seen := make(map[model.TopicID]bool)
	for start := range byte(3) {
		config := testConfig()
		config.IDSeed[0] = start
		c := New(config, metadata.NewView(metadata.NewImage(), 1, metadata.DefaultNodeConfig()))
		for range 100 {
			id := c.newTopicID(metadata.NewImage())
			if seen[id] || id.IsZero() || id[6]>>4 != 4 {
				t.Fatalf("id %x", id)
			}
			seen[id] = true
		}
	}
}

func TestALeaderThatResignsAnswersEverybody(t *testing.T) {
	l := newLife(t, 1)
	var out effect.Set
	create := func(to uint64, name string) {
		l.c.Create(effect.RequestID{Conn: 1, Request: to}, []CreateTopic{{Name: name, PartitionCount: 1, ReplicationFactor: 1}}, false, &out)
	}
	create(100, "a")
	if l.c.Take(&out) == nil {
		t.Fatal("nothing is decided")
	}
	create(101, "b")
	l.c.Resign(&out)
	create(102, "c")
	if len(out.Replies) != 3 || l.c.Active() {
		t.Fatalf("%d of 3 are answered", len(out.Replies))
	}
	for i, r := range out.Replies {
		want := kerr.NotController.Code
		if i == 0 {
			want = kerr.RequestTimedOut.Code // what was on its way may be committed by another yet
		}
		if answer := r.Body.(*effect.TopicsCreated).Topics[0]; answer.Code != want || answer.Message == "" {
			t.Errorf("%+v", answer)
		}
	}
}
