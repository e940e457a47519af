package broker

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// imageOf is an image of topics of one partition each, which is on node 7 but for the first one's, which is on node 1, too.
func imageOf(t *testing.T, topics int) *metadata.Image {
	t.Helper()
	d := metadata.NewImage().Edit()
	for i := range topics {
		id := [16]byte{1, byte(i), byte(i >> 8)}
		replicas := []int32{7}
		if i == 0 {
			replicas = []int32{7, 1}
		}
		for _, r := range []protocol.Record{
			&protocol.TopicRecord{Name: fmt.Sprintf("topic-%d", i), TopicID: id},
			&protocol.PartitionRecord{TopicID: id, Replicas: replicas, Isr: replicas, Leader: 7},
		} {
			if err := d.Record(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	image, _ := d.Seal(model.Offset(2 * topics))
	return image
}

// caughtUpWith is a broker that has caught up with an image.
func caughtUpWith(image *metadata.Image) *Broker {
	b := newBroker(Config{Advertised: effect.Broker{ID: 1}}, metadata.NewView(metadata.NewImage(), 1, metadata.DefaultNodeConfig()))
	before := b.view
	b.caughtUp, b.view = true, b.view.Of(image)
	b.metadataReplaced(before, &effect.Set{})
	b.publish()
	return b
}

func TestTopicsThatAreElsewhereAreFoundAndNotKept(t *testing.T) {
	image := imageOf(t, 50)
	b := caughtUpWith(image)
	if err := b.checkPartitions(); err != nil {
		t.Error(err)
	}
	if len(b.topics) != 1 || len(b.partitions.order) != 1 {
		t.Errorf("%d topics and %d partitions are kept", len(b.topics), len(b.partitions.order))
	}
	elsewhere := image.Named("topic-9")
	if of, code := b.findTopic(TopicRef{Name: "topic-9"}, 0); code != 0 || of != elsewhere {
		t.Errorf("by name: %v, %s", of, effect.CodeName(code))
	}
	if _, code := b.find(TopicRef{ID: elsewhere.ID}, 0); effect.CodeName(code) != "NOT_LEADER_FOR_PARTITION" {
		t.Errorf("its partition: %s", effect.CodeName(code))
	}
	if p, code := b.find(TopicRef{ID: image.Named("topic-0").ID}, 0); code != 0 || p == nil {
		t.Errorf("the partition that is here: %s", effect.CodeName(code))
	}
	// It is gone from here, and then there is nothing of its topic.
	before := b.view
	b.view = b.view.Of(imageOf(t, 0))
	b.metadataReplaced(before, &effect.Set{})
	if len(b.topics) != 0 {
		t.Errorf("%d topics are kept of which nothing is here", len(b.topics))
	}
}

// A broker costs what it holds: of what is elsewhere there is one image for all brokers of a process, and nothing beside it. It was some
// 340 bytes for each topic of the cluster.
func TestABrokersMemoryDoesNotGrowWithTopicsThatAreElsewhere(t *testing.T) {
	const topics, brokers = 5000, 20
	image := imageOf(t, topics)
	var kept []*Broker
	before := heap()
	for range brokers {
		kept = append(kept, caughtUpWith(image))
	}
	after := heap()
	if each := (int64(after) - int64(before)) / brokers; each > 10*topics {
		t.Errorf("a broker that has one partition takes %d bytes in a cluster of %d topics", each, topics)
	}
	runtime.KeepAlive(kept)
	runtime.KeepAlive(image)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
