package broker

import (
	"strings"
	"testing"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/replica"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// life is one life of a broker over a disk: it carries out effects at once, as the simplest driver would.
type life struct {
	t      *testing.T
	b      *Broker
	now    model.Time
	engine *storage.Engine
	last   effect.Set // effects of the newest event and all that followed from it
	hold   func(*effect.Set)
	notes  []effect.Note
}

// created counts the topics that were said to have been created.
func (l *life) created() (n int) {
	for _, note := range l.notes {
		if note.Kind == effect.NoteTopicCreated {
			n++
		}
	}
	return n
}

func begin(t *testing.T, disk storage.Disk, idSeed byte) *life {
	t.Helper()
	engine, rec, err := storage.Open(disk, storage.Config{Identity: storage.Identity{ClusterID: "test", NodeID: 1}, JournalFileBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	config := newWorld().b.config
	config.Controller.IDSeed[0], config.Groups.IDSeed[0] = idSeed, idSeed
	config.Groups.InitialRebalanceDelay, config.Groups.LogBytesMin = 0, 8<<10
	config.Controller.OffsetsSegmentBytes = 4 << 10
	var out effect.Set
	b, err := Open(config, engine, rec, &out)
	if err != nil {
		t.Fatal(err)
	}
	l := &life{t: t, b: b, engine: engine, now: 1}
	var done effect.Completions
	engine.Perform(&out, &done)
	for range 20 {
		if l.work(&done); b.Active() {
			for range 20 {
				l.tick(1) // groups are loaded
			}
			return l
		}
		b.self.nextAt = 0
		l.tick(0)
		done.Reset()
	}
	t.Fatal("the broker does not come to serve")
	return nil
}

func (l *life) step(ev Event) *effect.Set {
	l.t.Helper()
	l.last.Reset()
	l.b.Step(l.now, ev, &l.last)
	return l.carryOut()
}

// tick lets time pass.
func (l *life) tick(by model.Time) *effect.Set {
	l.t.Helper()
	l.now += by
	l.last.Reset()
	l.b.Tick(l.now, model.Timestamp(l.now/1_000_000), &l.last)
	return l.carryOut()
}

func (l *life) carryOut() *effect.Set {
	l.t.Helper()
	var done effect.Completions
	l.notes = append(l.notes, l.last.Notes...)
	l.engine.Perform(&l.last, &done)
	l.work(&done)
	return &l.last
}

// work syncs and completes until nothing is left to do.
func (l *life) work(done *effect.Completions) {
	l.t.Helper()
	for {
		if w, ok := l.engine.BeginSync(); ok {
			if err := l.engine.EndSync(w, w.Run(), done); err != nil {
				l.t.Fatal(err)
			}
		}
		if done.Empty() {
			break
		}
		var out effect.Set
		l.b.Step(l.now, &Completed{*done}, &out)
		if l.hold != nil {
			l.hold(&out)
		}
		done = &effect.Completions{}
		l.engine.Perform(&out, done)
		l.notes = append(l.notes, out.Notes...)
		l.last.Produced = append(l.last.Produced, out.Produced...)
		l.last.Replies = append(l.last.Replies, out.Replies...)
	}
	if err := l.b.Check(); err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) create(name string) model.TopicID {
	l.t.Helper()
	out := l.step(&CreateTopics{Topics: []controller.CreateTopic{{Name: name, PartitionCount: 2, ReplicationFactor: 1}}})
	created := out.Replies[0].Body.(*effect.TopicsCreated).Topics[0]
	if created.Code != 0 {
		l.t.Fatalf("create %s: %s", name, created.Message)
	}
	return created.ID
}

func (l *life) produce(topic string, seq model.Sequence) effect.Produced {
	l.t.Helper()
	var builder record.Builder
	o := record.NewOptions(record.CodecNone)
	o.ProducerID, o.ProducerEpoch, o.BaseSequence = 5, 0, seq
	builder.Begin(o)
	builder.Append(record.Record{Value: []byte("v"), Timestamp: 1})
	batch := builder.Finish()
	h, err := record.ReadHeader(batch)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.step(&Produce{Acks: -1, Wall: 1, Parts: []ProducePart{{Topic: TopicRef{Name: topic}, Header: h, Batch: batch}}}).Produced[0]
}

func TestTopicsRecordsAndProducersSurviveAPowerLoss(t *testing.T) {
	disk := storagetest.New()
	l := begin(t, disk, 1)
	id := l.create("orders")
	for seq := range model.Sequence(3) {
		if p := l.produce("orders", seq); p.Code != 0 || p.BaseOffset != model.Offset(seq) {
			t.Fatalf("%+v", p)
		}
	}
	out := l.step(&InitProducerID{})
	first := out.Replies[0].Body.(*effect.ProducerIDAssigned).ID
	if n := l.created(); n != 1 {
		t.Errorf("%d topics were said to be created", n)
	}

	disk.Crash(storagetest.LoseUnsynced, 1)
	l = begin(t, disk, 2)
	if n := l.created(); n != 0 {
		t.Errorf("%d topics were said to be created, of those that were there", n)
	}
	topic := l.b.view.Named("orders")
	if topic == nil || topic.ID != id || topic.PartitionCount() != 2 {
		t.Fatalf("the topic came back as %+v", topic)
	}
	bounds, _ := l.b.Bounds(model.TopicPartition{Topic: id})
	if bounds.HighWatermark != 3 {
		t.Fatalf("%+v", bounds)
	}
	if p := l.produce("orders", 2); p.BaseOffset != 2 {
		t.Errorf("a retry across the crash was written again: %+v", p)
	}
	if p := l.produce("orders", 3); p.BaseOffset != 3 {
		t.Errorf("the next batch: %+v", p)
	}
	out = l.step(&InitProducerID{})
	if again := out.Replies[0].Body.(*effect.ProducerIDAssigned).ID; again < first+1 {
		t.Errorf("producer id %d was given out before the crash, %d after", first, again)
	}
}

func TestFilesOfDeletedTopicsGoAtTheNextStartAtTheLatest(t *testing.T) {
	disk := storagetest.New()
	l := begin(t, disk, 1)
	old := l.create("orders")
	l.produce("orders", 0)
	out := l.step(&DeleteTopics{Topics: []controller.DeleteTopic{{Name: "orders"}}})
	if d := out.Replies[0].Body.(*effect.TopicsDeleted).Topics[0]; d.Code != 0 {
		t.Fatalf("%+v", d)
	}
	id := l.create("orders")
	if id == old {
		t.Fatal("a recreated name has its old id")
	}
	disk.Crash(storagetest.LoseUnsynced, 1)
	l = begin(t, disk, 2)
	for _, path := range disk.Paths() {
		if strings.Contains(path, old.String()) {
			t.Errorf("%s is still there", path)
		}
	}
	if p := l.produce("orders", 0); p.Code != 0 || p.BaseOffset != 0 {
		t.Errorf("the recreated topic remembers: %+v", p)
	}
}

func TestADamagedMetadataLogStopsTheStartAndDeletesNothing(t *testing.T) {
	disk := storagetest.New()
	l := begin(t, disk, 1)
	id := l.create("orders")
	l.produce("orders", 0)
	if err := l.engine.Close(&effect.Completions{}); err != nil {
		t.Fatal(err)
	}
	metadata := model.TopicPartition{Topic: model.MetadataTopicID}.Topic.String()
	flipped := false
	for _, path := range disk.Paths() {
		if strings.Contains(path, metadata) && strings.HasSuffix(path, ".log") {
			flipped = disk.Flip(path, 8*70)
		}
	}
	if !flipped {
		t.Fatal("there is no metadata log to damage")
	}
	engine, rec, err := storage.Open(disk, storage.Config{Identity: storage.Identity{ClusterID: "test", NodeID: 1}, JournalFileBytes: 64 << 10})
	if err == nil {
		var out effect.Set
		_, err = Open(newWorld().b.config, engine, rec, &out)
	}
	if err == nil || !strings.Contains(err.Error(), "metadata log") || !storage.IsDamage(err) {
		t.Fatalf("the start goes on: %v", err)
	}
	there := false
	for _, path := range disk.Paths() {
		there = there || strings.Contains(path, id.String())
	}
	if !there {
		t.Error("the files of a topic are gone because the metadata could not be read")
	}
}

// Nobody else need be there for what was committed before to be read.
func TestAReplicaBeginsWithTheHighWatermarkThatStorageKept(t *testing.T) {
	state := log.New(0)
	state.Apply(record.Header{BaseOffset: 0, LeaderEpoch: 1, RecordCount: 5, LastOffsetDelta: 4, SizeBytes: 100, ProducerID: -1})
	b := newWorld().b
	var out effect.Set
	r := b.newReplica(model.TopicPartition{}, &storage.Recovered{State: state, HighWatermark: 3}, &out)
	if got := r.Bounds().HighWatermark; got != 3 {
		t.Errorf("a replica begins with the high watermark %d", got)
	}
	r.Lead(replica.Leadership{
		Epoch: 2, Assignment: replica.Assignment{Replicas: []model.NodeID{1, 2}, ISR: []model.NodeID{1}},
		Config: replica.FollowersConfig{Self: 1, LagTimeMax: 1000, InSyncMin: 2},
	}, 1, &out)
	if got := r.Bounds().HighWatermark; got != 3 || r.KnowsEnd() {
		t.Errorf("a leader that is alone shows the log to %d", got)
	}
}
