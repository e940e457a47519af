package broker

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/replica"
	"github.com/weirmq/weir/core/storage"
)

// damages is a world in which broker 1 finds damage in what broker 2 has, too.
type damages struct {
	*follows
	deletes []effect.Delete
	opens   []effect.Open
	notes   []effect.Note
}

func newDamages(t *testing.T) *damages { return &damages{follows: newFollows(t)} }

// run takes in something and all that follows from it; what is asked of storage but appends is kept.
func (d *damages) run(f func(out *effect.Set)) {
	d.t.Helper()
	var out effect.Set
	f(&out)
	for range 20 {
		d.deletes, d.notes, d.opens = append(d.deletes, out.Deletes...), append(d.notes, out.Notes...), append(d.opens, out.Opens...)
		for _, c := range out.Calls {
			if body, is := c.Body.(*effect.ReplicaFetch); is {
				d.fetches, d.ids = append(d.fetches, body), append(d.ids, c.ID)
			}
		}
		if len(out.Appends) == 0 {
			break
		}
		d.inFlight = append(d.inFlight, out.Appends...)
		done := &Completed{effect.Completions{Appended: d.durable(len(d.inFlight))}}
		out.Reset()
		d.b.Step(d.now, done, &out)
	}
	if err := d.b.Check(); err != nil {
		d.t.Fatal(err)
	}
}

// assigned makes a topic with one partition.
func (d *damages) assigned(name string, replicas ...model.NodeID) model.TopicPartition {
	d.t.Helper()
	d.run(func(out *effect.Set) {
		d.b.Step(d.now, &CreateTopics{To: d.ask(), Topics: []controller.CreateTopic{{
			Name: name, PartitionCount: -1, ReplicationFactor: -1, Assignments: []controller.Assignment{{Replicas: replicas}},
		}}}, out)
	})
	return model.TopicPartition{Topic: d.b.view.Named(name).ID}
}

// shrink has the leader's proposal committed that only some are in sync.
func (d *damages) shrink(tp model.TopicPartition, isr ...model.NodeID) {
	d.t.Helper()
	p := d.state(tp)
	part := effect.AlterPartitionPart{Partition: tp, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
	for _, n := range isr {
		part.ISR = append(part.ISR, effect.BrokerState{Broker: n, BrokerEpoch: model.NoBrokerEpoch})
	}
	leader := d.b.view.Broker(p.Leader)
	d.run(func(out *effect.Set) {
		d.b.Step(d.now, &AlterPartition{To: d.ask(), Ask: effect.AlterPartition{Broker: p.Leader, BrokerEpoch: leader.Epoch, Parts: []effect.AlterPartitionPart{part}}}, out)
	})
	if got := d.state(tp).ISR; !slices.Equal(got, isr) {
		d.t.Fatalf("in sync: %v", got)
	}
}

// contentWithOne lets a topic's leader acknowledge alone: who is not in sync is not eligible then.
func (d *damages) contentWithOne(topic string) {
	d.t.Helper()
	d.run(func(out *effect.Set) {
		d.b.Step(d.now, &AlterConfigs{To: d.ask(), Resources: []controller.AlterResource{{
			Type: metadata.TopicResource, Name: topic, Ops: []controller.AlterOp{{Setting: metadata.ConfigSetting{Name: "min.insync.replicas", Value: "1"}}},
		}}}, out)
	})
}

func (d *damages) state(tp model.TopicPartition) *metadata.Partition { return d.b.view.Partition(tp) }

// find has storage find damage, and then lets time pass.
func (d *damages) find(tp model.TopicPartition) {
	d.t.Helper()
	d.run(func(out *effect.Set) {
		d.b.Step(d.now, &Completed{effect.Completions{Damaged: []effect.Damaged{{Partition: tp, Detail: "a bit flipped"}}}}, out)
	})
	d.pass(0)
}

func (d *damages) pass(by model.Time) {
	d.t.Helper()
	d.now += by
	d.run(func(out *effect.Set) { d.b.Tick(d.now, 0, out) })
}

func (d *damages) noted(kind effect.NoteKind) (n int) {
	for _, note := range d.notes {
		if note.Kind == kind {
			n++
		}
	}
	return n
}

func TestADamagedFollowerIsFilledAnew(t *testing.T) {
	d := newDamages(t)
	tp := d.assigned("t", 2, 1)
	before := *d.state(tp)
	d.fetches = nil
	d.find(tp)
	p := d.state(tp)
	if !slices.Equal(p.ISR, []model.NodeID{2}) || len(p.ELR) != 0 || p.Leader != 2 || p.LeaderEpoch != before.LeaderEpoch+1 {
		t.Fatalf("the metadata says %+v", p)
	}
	if !slices.Equal(d.deletes, []effect.Delete{{Partition: tp}}) || d.noted(effect.NoteReplicaDropped) != 1 {
		t.Fatalf("deleted: %v, noted: %v", d.deletes, d.notes)
	}
	if _, here := d.b.Bounds(tp); here || d.b.OfflineCount() != 0 || d.b.Published().Offline(tp) {
		t.Error("the replica is still here")
	}
	d.opens, d.fetches = nil, nil
	d.run(func(out *effect.Set) {
		d.b.Step(d.now, &Completed{effect.Completions{Deleted: []effect.Deleted{{Partition: tp}}}}, out)
	})
	if len(d.opens) != 1 || d.opens[0].Partition != tp {
		t.Fatalf("opened: %v", d.opens)
	}
	d.pass(10e9) // whatever fetch was under way is given up
	for _, c := range d.b.fetchers[2].calls {
		d.run(func(out *effect.Set) {
			d.b.Step(d.now, &Answered{effect.Answer{From: 2, ID: c.id, Failure: effect.CallTimedOut}}, out)
		})
	}
	d.pass(10e9)
	if len(d.fetches) == 0 {
		t.Fatal("nothing is fetched")
	}
	part := d.fetches[len(d.fetches)-1].Parts[0]
	if part.Partition != tp || part.Offset != 0 || part.CurrentLeaderEpoch != p.LeaderEpoch {
		t.Errorf("it fetches %+v", part)
	}
	if d.pass(10e9); d.noted(effect.NoteReplicaDropped) != 1 || d.b.damage.due {
		t.Error("it is still told of")
	}
}

func TestADamagedLeaderLeavesToWhoIsInSync(t *testing.T) {
	d := newDamages(t)
	tp := d.assigned("t", 1, 2)
	d.find(tp)
	if p := d.state(tp); p.Leader != 2 || !slices.Equal(p.ISR, []model.NodeID{2}) || len(d.deletes) != 1 {
		t.Fatalf("the metadata says %+v, deleted is %v", p, d.deletes)
	}
}

func TestADamagedReplicaStaysWhereNobodyElseCouldLead(t *testing.T) {
	d := newDamages(t)
	tp := d.assigned("t", 1, 2)
	d.contentWithOne("t")
	d.shrink(tp, 1)
	before := d.state(tp)
	d.find(tp)
	for range 5 {
		d.pass(reportInterval)
	}
	if d.state(tp) != before || len(d.deletes) != 0 || d.b.OfflineCount() != 1 || d.noted(effect.NoteReplicaDropped) != 0 {
		t.Fatalf("the metadata says %+v, deleted is %v", d.state(tp), d.deletes)
	}
	if d.noted(effect.NoteReplicaAlone) != 1 {
		t.Errorf("it is to be said once, and was %d times", d.noted(effect.NoteReplicaAlone))
	}
	i := slices.IndexFunc(d.notes, func(n effect.Note) bool { return n.Kind == effect.NoteReplicaAlone })
	if n := d.notes[i]; n.Topic != "t" || !strings.HasPrefix(n.Detail, "a bit flipped; ") {
		t.Errorf("%+v", n)
	}
	// A leader of which nothing can be fetched would not have taken the other in. Somebody did meanwhile.
	if d.b.proposals.call != 0 || len(d.b.proposals.due) != 0 {
		t.Error("a leader that is offline says who is in sync")
	}
}

func TestAnOnlyReplicaThatIsDamagedIsNotToldOf(t *testing.T) {
	d := newDamages(t)
	tp := d.assigned("t", 1)
	before := d.state(tp)
	d.find(tp)
	d.pass(reportInterval)
	if d.state(tp) != before || len(d.deletes) != 0 || d.b.damage.due || d.b.OfflineCount() != 1 {
		t.Errorf("the metadata says %+v, deleted is %v", d.state(tp), d.deletes)
	}
}

// Nobody is in sync by what this broker knows, and the leader may just have had it taken in.
func TestADamagedReplicaIsNotDroppedByMetadataOfTheEpochInWhichItFollowed(t *testing.T) {
	d := newDamages(t)
	tp := d.assigned("t", 2, 1)
	d.contentWithOne("t")
	d.shrink(tp, 2)
	if p := d.state(tp); p.InSync(1) || slices.Contains(p.ELR, 1) {
		d.t.Fatalf("%+v", p)
	}
	d.run(func(out *effect.Set) {
		d.b.Step(d.now, &Completed{effect.Completions{Damaged: []effect.Damaged{{Partition: tp, Detail: "a bit flipped"}}}}, out)
	})
	if len(d.deletes) != 0 {
		t.Fatal("it is dropped although its leader knows how far it was")
	}
	epoch := d.state(tp).LeaderEpoch
	if d.pass(0); len(d.deletes) != 1 || d.state(tp).LeaderEpoch != epoch+1 {
		t.Errorf("the metadata says %+v, deleted is %v", d.state(tp), d.deletes)
	}
}

// The controller cannot be reached for a while, or is another, or does not know of this: it is told again.
func TestDamageIsToldAgainUntilItIsKnown(t *testing.T) {
	d := newDamages(t)
	tp := d.assigned("t", 2, 1)
	d.run(func(out *effect.Set) {
		d.b.Step(d.now, &Completed{effect.Completions{Damaged: []effect.Damaged{{Partition: tp, Detail: "a bit flipped"}}}}, out)
	})
	d.b.damage.call, d.b.damage.nextAt = 99, d.now+reportInterval
	for _, a := range []*effect.Answer{
		{Failure: effect.CallTimedOut},
		{Body: &effect.DamagedReported{Code: kerr.NotController.Code}},
		{Body: &effect.DamagedReported{Parts: []effect.DamagedPartReported{{Partition: tp}}}}, // and the image is late
	} {
		d.b.damage.call = 99
		d.b.damageReported(a, &effect.Set{})
		if at := d.b.damageDeadline(); at != d.now+reportInterval || len(d.deletes) != 0 {
			t.Fatalf("told again at %d, now is %d", at, d.now)
		}
	}
	if d.pass(reportInterval); len(d.deletes) != 1 {
		t.Error("it is not told again")
	}
}

// A log that breaks while it is cut is damaged as any other; one that only lacks the room to be cut is whole.
func TestLogThatCannotBeCutIsDamagedUnlessTheDiskIsFull(t *testing.T) {
	for failure, damaged := range map[effect.Failure]bool{effect.Broken: true, effect.DiskFull: false} {
		d := newDamages(t)
		tp := d.assigned("t", 2, 1)
		p := d.b.partitions.get(tp)
		at, ok := p.replica.Position(d.now)
		if !ok {
			t.Fatal("it does not follow")
		}
		d.run(func(out *effect.Set) {
			p.replica.Fetched(replica.Fetched{From: at, Diverging: &effect.EpochEnd{}}, d.now, out)
		})
		truncated := effect.Truncated{Partition: tp, Failure: failure}
		if failure == effect.DiskFull {
			truncated.State = log.New(0)
		}
		d.run(func(out *effect.Set) {
			d.b.Step(d.now, &Completed{effect.Completions{Truncated: []effect.Truncated{truncated}}}, out)
		})
		if told := len(d.b.reportable()) > 0 || len(d.deletes) > 0; told != damaged || d.b.partitions.get(tp) != nil && d.b.offline[tp] != damaged {
			t.Errorf("%v: told %t", failure, told)
		}
		if _, follows := p.replica.Position(d.now + 1e9); follows == damaged {
			t.Errorf("%v: follows after a second: %t", failure, follows)
		}
	}
}

func TestMoreDamageThanARequestTakesIsToldInTurns(t *testing.T) {
	d := newDamages(t)
	var all []model.TopicPartition
	for _, name := range []string{"a", "b", "c"} {
		all = append(all, d.assigned(name, 1, 2))
	}
	slices.SortFunc(all, model.TopicPartition.Compare)
	for _, tp := range all {
		d.b.setOffline(tp)
	}
	order := func() (got []model.TopicPartition) {
		for _, p := range d.b.reportable() {
			got = append(got, p.Partition)
		}
		return got
	}
	if got := order(); !slices.Equal(got, all) {
		t.Errorf("%v", got)
	}
	d.b.damage.after = all[0]
	if got := order(); !slices.Equal(got, []model.TopicPartition{all[1], all[2], all[0]}) {
		t.Errorf("%v", got)
	}
	d.b.damage.after = all[2]
	if got := order(); !slices.Equal(got, all) {
		t.Errorf("%v", got)
	}
}

// A broker that is restarted could be taken in before the others, and elected for what it cannot serve.
func TestABrokerIsNotCountedOnBeforeTheControllerKnowsWhatItCannotServe(t *testing.T) {
	d := newDamages(t)
	tp := d.assigned("t", 1, 2)
	b := d.b
	b.caughtUp, b.recovered = false, map[model.TopicPartition]*storage.Recovered{tp: {Partition: tp, Damage: "a bit flipped"}}
	b.damage.due = true
	if !b.untold() {
		t.Fatal("it asks to be counted on")
	}
	if parts := b.reportable(); len(parts) != 1 || parts[0].Partition != tp || parts[0].LeaderEpoch != model.NoLeaderEpoch {
		t.Fatalf("it tells of %+v", parts)
	}
	b.damageReported(&effect.Answer{From: 1, Body: &effect.DamagedReported{Code: kerr.NotController.Code}}, &effect.Set{})
	if !b.untold() {
		t.Fatal("nobody knows, and it asks to be counted on")
	}
	b.damageReported(&effect.Answer{From: 1, Body: &effect.DamagedReported{Parts: []effect.DamagedPartReported{{Partition: tp}}}}, &effect.Set{})
	if b.untold() {
		t.Error("the controller knows")
	}
	if b.damage.told = 2; !b.untold() {
		t.Error("another controller does not know")
	}
}
