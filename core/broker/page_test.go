package broker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

func TestPagesTogetherAreEverythingOnce(t *testing.T) {
	w := newWorld()
	var all []string
	var in []controller.CreateTopic
	for i, name := range []string{"a", "b", "c", "d"} {
		in = append(in, controller.CreateTopic{Name: name, PartitionCount: int32(2*i + 1), ReplicationFactor: 1})
		for p := range 2*i + 1 {
			all = append(all, fmt.Sprintf("%s/%d", name, p))
		}
	}
	w.step(t, &CreateTopics{Topics: in})
	w.durableAll(t)
	damaged := model.TopicPartition{Topic: w.b.view.Named("c").ID, Partition: 3}
	w.step(t, &Completed{effect.Completions{Damaged: []effect.Damaged{{Partition: damaged, Detail: "a bit flipped"}}}})

	for limit := range int32(20) {
		for _, names := range [][]string{nil, {"d", "a", "c", "b", "a"}} {
			var got []string
			ev := &DescribePage{Names: names, Limit: limit}
			for pages := 0; ; pages++ {
				if pages > len(all) {
					t.Fatalf("limit %d: pages without end", limit)
				}
				page := w.step(t, ev).Replies[0].Body.(*effect.PageDescribed)
				count := 0
				for _, topic := range page.Topics {
					for _, p := range topic.Partitions {
						got = append(got, fmt.Sprintf("%s/%d", topic.Name, p.Partition))
						if offline := topic.ID == damaged.Topic && p.Partition == damaged.Partition; offline != (p.Code == kerr.LeaderNotAvailable.Code) {
							t.Errorf("%s/%d has code %d", topic.Name, p.Partition, p.Code)
						}
						count++
					}
				}
				if count > max(1, int(limit)) {
					t.Errorf("limit %d: a page of %d", limit, count)
				}
				if page.Next == nil {
					break
				}
				ev.From = *page.Next
			}
			if !slices.Equal(got, all) {
				t.Errorf("limit %d: %v", limit, got)
			}
		}
	}
	page := w.step(t, &DescribePage{Names: []string{"a", "nobody", "a b"}, Limit: 100, From: effect.PageCursor{Topic: "a", Partition: 9}}).Replies[0].Body.(*effect.PageDescribed)
	if len(page.Topics) != 3 || len(page.Topics[0].Partitions) != 0 || page.Topics[1].Code != kerr.InvalidTopicException.Code ||
		page.Topics[2].Code != kerr.UnknownTopicOrPartition.Code || page.Next != nil {
		t.Errorf("%+v", page)
	}
}

func TestResourcesAreListed(t *testing.T) {
	w := withTopic(t)
	list := func(ev *ListResources) []effect.ResourceListed {
		return w.step(t, ev).Replies[0].Body.(*effect.ResourcesListed).Resources
	}
	if got := list(&ListResources{Topics: true, Brokers: true}); len(got) != 2 || got[0] != (effect.ResourceListed{Type: 2, Name: "t"}) || got[1] != (effect.ResourceListed{Type: 4, Name: "1"}) {
		t.Errorf("%+v", got)
	}
	if got := list(&ListResources{}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestTheClustersOwnTopicsAreLeftAlone(t *testing.T) {
	w := newWorld()
	w.b.config.Controller.OffsetsPartitionCount = 1
	config := w.b.config.Controller
	config.OffsetsPartitionCount, config.OffsetsSegmentBytes = 2, 1<<20
	w.b.controller = controller.New(config, metadata.NewView(metadata.NewImage(), 1, config.Node))
	var out effect.Set
	w.b.controller.Ensure(effect.RequestID{}, []string{metadata.OffsetsTopic}, &out)
	w.inFlight = append(w.inFlight, out.Appends...)
	w.durableAll(t)
	name := metadata.OffsetsTopic
	if w.b.view.Named(name) == nil {
		t.Fatal("the topic is not there")
	}
	produced := w.step(t, &Produce{Acks: -1, Parts: []ProducePart{{Topic: TopicRef{Name: name}}}}).Produced[0]
	if produced.Code != kerr.InvalidTopicException.Code {
		t.Errorf("produce: %s", effect.CodeName(produced.Code))
	}
	deleted := w.step(t, &DeleteRecords{Parts: []DeleteRecordsPart{{Topic: TopicRef{Name: name}}}}).Replies[0].Body.(*effect.RecordsDeleted).Parts[0]
	if deleted.Code != kerr.InvalidTopicException.Code {
		t.Errorf("delete records: %s", effect.CodeName(deleted.Code))
	}
	extended := w.step(t, &CreatePartitions{Topics: []controller.AddPartitions{{Name: name, Count: 9}}}).Replies[0].Body.(*effect.PartitionsCreated).Topics[0]
	if extended.Code != kerr.InvalidTopicException.Code {
		t.Errorf("create partitions: %s", effect.CodeName(extended.Code))
	}
	altered := w.step(t, &AlterConfigs{Resources: []controller.AlterResource{{
		Type: metadata.TopicResource, Name: name, Ops: []controller.AlterOp{{Setting: metadata.ConfigSetting{Name: "retention.ms", Value: "1"}}},
	}}}).Replies[0].Body.(*effect.ConfigsAltered).Resources[0]
	if altered.Code != kerr.InvalidTopicException.Code {
		t.Errorf("alter: %s", effect.CodeName(altered.Code))
	}
}
