package metadata

import (
	"testing"

	"github.com/weirmq/weir/core/protocol"
)

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
