package broker

import (
	"bytes"
	"slices"
	"testing"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// A voter whose broker has observed more than its own log is committed to makes its images of what is logged.
func TestALogGoesByWhatIsLoggedWhileItsBrokerIsAhead(t *testing.T) {
	w := withTopic(t)
	m := imager{w.b}
	logged, image := w.b.view.Version(), m.Image()

	var out effect.Set
	w.b.Step(w.now, &CreateTopics{Topics: []controller.CreateTopic{{Name: "u", PartitionCount: 1, ReplicationFactor: 1}}}, &out)
	i := slices.IndexFunc(out.Appends, func(a effect.Append) bool { return a.Partition == metalog.EntriesPartition })
	if i < 0 {
		t.Fatalf("nothing is proposed: %+v", out.Appends)
	}
	batch := record.Batch(bytes.Clone(out.Appends[i].Batch))
	record.Stamp(batch, logged, model.LeaderEpoch(w.b.voter.log.State().Term))
	if err := w.b.applyObserved(batch, &effect.Set{}); err != nil {
		t.Fatal(err)
	}
	if w.b.view.Named("u") == nil || w.b.view.Version() == logged {
		t.Fatal("what is observed is not known")
	}
	if m.Applied() != logged || m.Applied() != w.b.voter.log.Next() || !bytes.Equal(m.Image(), image) {
		t.Errorf("the log is committed to %d, and its image is of %d", w.b.voter.log.Next(), m.Applied())
	}

	w.settle(&out)
	if err := w.b.Check(); err != nil {
		t.Error(err)
	}
	if m.Applied() != w.b.view.Version() || m.Applied() != w.b.voter.log.Next() || w.b.voter.behind != nil || bytes.Equal(m.Image(), image) {
		t.Errorf("the log is committed to %d, its image is of %d, and the broker knows %d", w.b.voter.log.Next(), m.Applied(), w.b.view.Version())
	}
}
