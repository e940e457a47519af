package controller

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

func testConfig() Config {
	return Config{NodeID: 1, PartitionCountMax: 1000, Node: DefaultNodeConfig()}
}

// settleAll makes whatever the controller writes durable until it rests, and returns everything it answered.
func settleAll(t *testing.T, c *Controller, out *effect.Set) (changes []Change) {
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
		changes = append(changes, done.Changes...)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return changes
}

func TestLoadingTheMetadataLogGivesTheImageThatWroteIt(t *testing.T) {
	c := New(testConfig(), NewImage(1, DefaultNodeConfig()), 0)
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
			{Name: "a", PartitionCount: 3, ReplicationFactor: -1, Settings: []ConfigSetting{{Name: "retention.ms", Value: "1000"}}},
			{Name: "b", PartitionCount: -1, ReplicationFactor: 1},
		}, false, out)
	})
	step(func(out *effect.Set) { c.Allocate(out) })
	step(func(out *effect.Set) { c.Delete(effect.RequestID{}, []DeleteTopic{{Name: "b"}}, out) })
	step(func(out *effect.Set) {
		c.Create(effect.RequestID{}, []CreateTopic{{Name: "b", PartitionCount: 2, ReplicationFactor: -1}}, false, out)
	})

	loaded := NewImage(1, DefaultNodeConfig())
	for _, b := range log {
		if err := loaded.ApplyBatch(b, func(Change) {}); err != nil {
			t.Fatal(err)
		}
	}
	if loaded.TopicCount() != 2 || loaded.nextProducerID != producerIDBlock {
		t.Fatalf("%d topics, next producer id %d", loaded.TopicCount(), loaded.nextProducerID)
	}
	for topic := range c.Image().Topics {
		again := loaded.Identified(topic.ID)
		if again == nil || again.Name != topic.Name || len(again.Partitions) != len(topic.Partitions) || again.Config != topic.Config {
			t.Errorf("%s came back as %+v", topic.Name, again)
		}
	}
	if again := New(testConfig(), loaded, 0); again.partitionCount != c.partitionCount {
		t.Errorf("%d partitions counted, %d loaded", c.partitionCount, again.partitionCount)
	}
}

func TestWhatTheMetadataLogCannotSayIsAnError(t *testing.T) {
	id := [16]byte{1}
	topic := &protocol.TopicRecord{Name: "a", TopicID: id}
	partition := func(n int32, of [16]byte) protocol.Record {
		p := &protocol.PartitionRecord{}
		p.Default()
		p.PartitionID, p.TopicID, p.Leader, p.Replicas, p.Isr = n, of, 1, []int32{1}, []int32{1}
		return p
	}
	config := &protocol.ConfigRecord{ResourceType: TopicResource, ResourceName: "nobody", Name: "retention.ms"}
	ids := func(next int64) protocol.Record { return &protocol.ProducerIDsRecord{NextProducerID: next} }
	for _, c := range []struct {
		rule    string
		records []protocol.Record
	}{
		{"a topic exists once", []protocol.Record{topic, topic}},
		{"partitions are numbered without gaps", []protocol.Record{topic, partition(1, id)}},
		{"a partition has a topic", []protocol.Record{partition(0, [16]byte{9})}},
		{"a configuration has a topic", []protocol.Record{config}},
		{"only what exists is removed", []protocol.Record{&protocol.RemoveTopicRecord{TopicID: id}}},
		{"producer ids do not go back", []protocol.Record{ids(2000), ids(1000)}},
		{"a record of another kind is not passed over", []protocol.Record{&protocol.FeatureLevelRecord{Name: "x"}}},
	} {
		image := NewImage(1, DefaultNodeConfig())
		var err error
		for _, r := range c.records {
			if err == nil {
				_, err = image.apply(protocol.AppendMetadataRecord(nil, r, 0))
			}
		}
		if err == nil {
			t.Errorf("%s: accepted", c.rule)
		}
	}
}

func TestEveryConfigurationTakesItsDefaultAndListsIt(t *testing.T) {
	image := NewImage(1, DefaultNodeConfig())
	last := ""
	for _, e := range image.DescribeTopic(&Topic{Config: DefaultTopicConfig()}) {
		if last >= e.Name {
			t.Errorf("%s is out of order", e.Name)
		}
		last = e.Name
		got, err := DefaultTopicConfig().With([]ConfigSetting{{Name: e.Name, Value: e.Value}})
		if err != nil || got != DefaultTopicConfig() {
			t.Errorf("%s=%s: %+v, %v", e.Name, e.Value, got, err)
		}
		if e.Source != effect.FromDefault || e.Doc == "" || e.Type == 0 {
			t.Errorf("%+v: not the default, or not documented, though nobody set it", e)
		}
	}
	last = ""
	for _, e := range image.DescribeNode(nil) {
		if last >= e.Name {
			t.Errorf("%s is out of order", e.Name)
		}
		last = e.Name
		got, err := DefaultNodeConfig().With([]ConfigSetting{{Name: e.Name, Value: e.Value}})
		if err != nil || got != DefaultNodeConfig() || e.Source != effect.FromDefault {
			t.Errorf("%s=%s: %+v, %v", e.Name, e.Value, got, err)
		}
	}
	names := make(map[string]bool)
	for _, s := range Settings() {
		for _, name := range []string{"topic " + s.Topic, "node " + s.Node} {
			if names[name] && !strings.HasSuffix(name, " ") {
				t.Errorf("%s is there twice", name)
			}
			names[name] = true
		}
		if s.Topic == "" && s.Node == "" || s.Range == "" || s.Doc == "" {
			t.Errorf("%+v is incomplete", s)
		}
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ name, value, why string }{
		{"no.such.thing", "1", "not one that weir has"},
		{"retention.ms", "soon", "whole number"},
		{"retention.ms", "-2", "whole number"},
		{"segment.bytes", "10", "whole number"},
		{"cleanup.policy", "compact", "only be delete"},
		{"message.timestamp.type", "Never", "CreateTime or LogAppendTime"},
		{"retention.ms", strings.Repeat(" ", 1000) + "1", "at most 249"},
	} {
		_, err := DefaultTopicConfig().With([]ConfigSetting{{Name: c.name, Value: c.value}})
		if err == nil || !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s=%s: %v", c.name, c.value, err)
		}
	}
	twice := []ConfigSetting{{Name: "retention.ms", Value: "1"}, {Name: "retention.ms", Value: "2"}}
	if _, err := DefaultTopicConfig().With(twice); err == nil {
		t.Error("a configuration given twice is accepted")
	}
}

func TestTopicNames(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "A-b_c.9": true, "__offsets": true, strings.Repeat("x", 249): true,
		"": false, ".": false, "..": false, strings.Repeat("x", 250): false, "a b": false, "a/b": false, "ä": false,
		"__cluster_metadata": false,
	} {
		if why := NameProblem(name); (why == "") != good {
			t.Errorf("%q: %q", name, why)
		}
	}
}

func TestTopicIDsDifferBetweenStartsAndNeverRepeat(t *testing.T) {
	seen := make(map[model.TopicID]bool)
	for start := range byte(3) {
		config := testConfig()
		config.IDSeed[0] = start
		c := New(config, NewImage(1, DefaultNodeConfig()), 0)
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
		c := New(testConfig(), NewImage(1, DefaultNodeConfig()), 0)
		var out effect.Set
		c.Create(effect.RequestID{}, []CreateTopic{{Name: "a", PartitionCount: 1, ReplicationFactor: 1}}, false, &out)
		c.Appended(effect.Appended{Partition: MetadataPartition, Failure: failure, Attempt: out.Appends[0].Attempt}, &out)
		answer := out.Replies[0].Body.(*effect.TopicsCreated).Topics[0]
		if answer.Code != kerr.KafkaStorageError.Code || !strings.Contains(answer.Message, why) {
			t.Errorf("%v: code %d, %q", failure, answer.Code, answer.Message)
		}
		if c.Image().TopicCount() != 0 || c.end != 0 {
			t.Errorf("%v: %d topics, log end %d", failure, c.Image().TopicCount(), c.end)
		}
	}
}
