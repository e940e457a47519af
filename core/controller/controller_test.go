package controller

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

func testConfig() Config {
	return Config{NodeID: 1, PartitionCountMax: 1000, Node: metadata.DefaultNodeConfig()}
}

// settleAll makes whatever the controller writes durable until it rests, and returns everything it answered.
func settleAll(t *testing.T, c *Controller, out *effect.Set) (changes []*metadata.Changes) {
	t.Helper()
	for {
		done, ok := c.Settle(out)
		if !ok && len(out.Appends) > 0 {
			a := out.Appends[0]
			out.Appends = out.Appends[1:]
			h, err := record.ReadHeader(a.Batch)
			if err != nil {
				t.Fatal(err)
			}
			done, ok = c.Appended(effect.Appended{Partition: a.Partition, NextOffset: a.BaseOffset + model.Offset(h.RecordCount)}, out)
		}
		if !ok {
			break
		}
		if done.Changes != nil {
			changes = append(changes, done.Changes)
		}
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return changes
}

func TestLoadingTheMetadataLogGivesTheImageThatWroteIt(t *testing.T) {
	c := New(testConfig(), metadata.NewView(metadata.NewImage(), 1, metadata.DefaultNodeConfig()))
	var log []record.Batch
	step := func(f func(out *effect.Set)) {
		var out effect.Set
		f(&out)
		for _, a := range out.Appends {
			log = append(log, record.Batch(a.Batch))
		}
		settleAll(t, c, &out)
	}
	step(func(out *effect.Set) {
		c.Create(effect.RequestID{}, []CreateTopic{
			{Name: "a", PartitionCount: 3, ReplicationFactor: -1, Settings: []metadata.ConfigSetting{{Name: "retention.ms", Value: "1000"}}},
			{Name: "b", PartitionCount: -1, ReplicationFactor: 1},
		}, false, out)
	})
	step(func(out *effect.Set) { c.Allocate(out) })
	step(func(out *effect.Set) { c.Delete(effect.RequestID{}, []DeleteTopic{{Name: "b"}}, out) })
	step(func(out *effect.Set) {
		c.Create(effect.RequestID{}, []CreateTopic{{Name: "b", PartitionCount: 2, ReplicationFactor: -1}}, false, out)
	})

	loaded := load(t, log)
	if loaded.TopicCount() != 2 || loaded.NextProducerID() != producerIDBlock || !loaded.Equal(c.View().Image) {
		t.Fatalf("%d topics, next producer id %d", loaded.TopicCount(), loaded.NextProducerID())
	}
}

// load makes an image of a log.
func load(t interface{ Fatal(args ...any) }, log []record.Batch) *metadata.Image {
	image := metadata.NewImage()
	for _, b := range log {
		next, _, err := image.Apply(b)
		if err != nil {
			t.Fatal(err)
		}
		image = next
	}
	return image
}

func TestTopicIDsDifferBetweenStartsAndNeverRepeat(t *testing.T) {
	seen := make(map[model.TopicID]bool)
	for start := range byte(3) {
		config := testConfig()
		config.IDSeed[0] = start
		c := New(config, metadata.NewView(metadata.NewImage(), 1, metadata.DefaultNodeConfig()))
		for range 100 {
			id := c.newTopicID()
			if seen[id] || id.IsZero() || id[6]>>4 != 4 {
				t.Fatalf("id %x", id)
			}
			seen[id] = true
		}
	}
}

func TestARefusedChangeSaysWhyItWasNotWritten(t *testing.T) {
	for failure, why := range map[effect.Failure]string{effect.DiskFull: "the disk is full", effect.Broken: "damaged"} {
		c := New(testConfig(), metadata.NewView(metadata.NewImage(), 1, metadata.DefaultNodeConfig()))
		var out effect.Set
		c.Create(effect.RequestID{}, []CreateTopic{{Name: "a", PartitionCount: 1, ReplicationFactor: 1}}, false, &out)
		c.Appended(effect.Appended{Partition: metadata.LogPartition, Failure: failure, Attempt: out.Appends[0].Attempt}, &out)
		answer := out.Replies[0].Body.(*effect.TopicsCreated).Topics[0]
		if answer.Code != kerr.KafkaStorageError.Code || !strings.Contains(answer.Message, why) {
			t.Errorf("%v: code %d, %q", failure, answer.Code, answer.Message)
		}
		if c.View().TopicCount() != 0 || c.end != 0 {
			t.Errorf("%v: %d topics, log end %d", failure, c.View().TopicCount(), c.end)
		}
	}
}
