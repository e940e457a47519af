package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

func (w *world) tick(t *testing.T, to model.Time) effect.Set {
	t.Helper()
	var out effect.Set
	w.now = to
	w.b.Tick(to, model.Timestamp(to), &out)
	if err := w.b.Check(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStorageForgetsTheProducersOfALogThatRetentionEmptied(t *testing.T) {
	w := withTopic(t)
	w.produce(t, 100)
	w.durableAll(t)
	tp := w.b.partitions.order[0].replica.Partition()
	w.step(t, &Completed{effect.Completions{Retained: []effect.Retained{{Partition: tp, LogStartOffset: 1}}}})
	if out := w.tick(t, 5000); len(out.Retains) != 1 {
		t.Error("storage is not told of time passing: what it knows of producers stays for ever")
	}
}

func TestATimeLookedUpInADeletedTopicIsOfAnUnknownPartition(t *testing.T) {
	w := withTopic(t)
	w.produce(t, 100)
	w.durableAll(t)
	out := w.step(t, &ListOffsets{Parts: []ListOffsetsPart{{Topic: TopicRef{Name: "t"}, CurrentLeaderEpoch: model.NoLeaderEpoch, Timestamp: 5}}})
	l := out.Lookups[0]
	w.step(t, &DeleteTopics{Topics: []controller.DeleteTopic{{Name: "t"}}})
	w.durableAll(t)
	out = w.step(t, &Completed{effect.Completions{LookedUp: []effect.LookedUp{{
		To: l.To, Partition: l.Partition, Offset: model.NoOffset, Failure: effect.Missing,
	}}}})
	if code := out.Replies[0].Body.(*effect.OffsetsListed).Parts[0].Code; code != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("%s", effect.CodeName(code))
	}
	if len(w.b.listings) != 0 {
		t.Error("the request is still known")
	}
}

func TestADeleteThatAFullDiskRefusedIsTriedAgain(t *testing.T) {
	w := withTopic(t)
	w.step(t, &DeleteTopics{Topics: []controller.DeleteTopic{{Name: "t"}}})
	out := w.durableAll(t)
	tp := out.Deletes[0].Partition
	for i := range 2 {
		w.step(t, &Completed{effect.Completions{Deleted: []effect.Deleted{{Partition: tp, Failure: effect.DiskFull}}}})
		at := w.deadline()
		if at == 0 {
			t.Fatal("nothing is due: the files stay until the next start")
		}
		at = max(at, w.now)
		if out := w.tick(t, at); len(out.Deletes) != 1 || out.Deletes[0].Partition != tp {
			t.Fatalf("round %d: %+v", i, out.Deletes)
		}
	}
	w.step(t, &Completed{effect.Completions{Deleted: []effect.Deleted{{Partition: tp}}}})
	if at := w.deadline(); at != 0 {
		t.Errorf("something is due at %d, and nothing is left to do", at)
	}
}
