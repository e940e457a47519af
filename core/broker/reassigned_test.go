package broker

import (
	"testing"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// other makes a second broker that is counted on, and returns its epoch.
func (l *life) other() model.BrokerEpoch {
	l.t.Helper()
	out := l.step(&RegisterBroker{Ask: effect.RegisterBroker{
		Broker: 2, ClusterID: l.b.config.ClusterID, Incarnation: model.IncarnationID{2}, Directories: []model.DirectoryID{{2}},
		Listeners: []effect.BrokerListener{{Name: ClientListener, Host: "other", Port: 1}},
	}})
	epoch := out.Replies[0].Body.(*effect.BrokerRegistered).BrokerEpoch
	l.step(&BrokerHeartbeat{Ask: effect.HeartbeatBroker{Broker: 2, BrokerEpoch: epoch, MetadataOffset: l.b.view.Version()}})
	if r := l.b.view.Broker(2); r == nil || !r.Active() {
		l.t.Fatalf("the other broker is %+v", r)
	}
	return epoch
}

// move has a partition moved to a node, and its leader say that the node is in sync.
func (l *life) move(topic string, to model.NodeID, epochs map[model.NodeID]model.BrokerEpoch) {
	l.t.Helper()
	out := l.step(&ReassignPartitions{FactorMayChange: true, Topics: []controller.ReassignTopic{
		{Name: topic, Parts: []controller.ReassignPart{{Partition: 0, Replicas: []model.NodeID{to}}}},
	}})
	if p := out.Replies[0].Body.(*effect.PartitionsReassigned).Topics[0].Parts[0]; p.Code != 0 {
		l.t.Fatalf("%+v", p)
	}
	of := l.b.view.Named(topic)
	p := of.Partition(0)
	ask := effect.AlterPartition{Broker: p.Leader, BrokerEpoch: epochs[p.Leader], Parts: []effect.AlterPartitionPart{{
		Partition: model.TopicPartition{Topic: of.ID}, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		ISR: []effect.BrokerState{{Broker: p.Leader, BrokerEpoch: epochs[p.Leader]}, {Broker: to, BrokerEpoch: epochs[to]}},
	}}}
	l.step(&AlterPartition{Ask: ask})
	if p = l.b.view.Named(topic).Partition(0); p.Leader != to || len(p.Replicas) != 1 {
		l.t.Fatalf("after the move: %+v", p)
	}
}

func TestAPartitionThatCameBackIsThereAfterARestart(t *testing.T) {
	disk := storagetest.New()
	l := begin(t, disk, 1)
	id := l.create("orders")
	l.produce("orders", 0)
	epochs := map[model.NodeID]model.BrokerEpoch{1: l.b.self.epoch, 2: l.other()}
	l.move("orders", 2, epochs)
	tp := model.TopicPartition{Topic: id}
	if _, here := l.b.Bounds(tp); here {
		t.Fatal("the partition is on another node, and still here")
	}
	l.move("orders", 1, epochs)
	// The other broker is no real one: what was there is gone with it.
	for seq := range model.Sequence(3) {
		if p := l.produce("orders", seq); p.Code != 0 || p.BaseOffset != model.Offset(seq) {
			t.Fatalf("%+v", p)
		}
	}
	disk.Crash(storagetest.LoseUnsynced, 1)
	l = begin(t, disk, 2)
	if b, here := l.b.Bounds(tp); !here || b.HighWatermark != 3 {
		t.Fatalf("after a restart: %+v", b)
	}
	if p := l.produce("orders", 3); p.Code != 0 || p.BaseOffset != 3 {
		t.Errorf("%+v", p)
	}
}

// What is under way in storage when a partition goes is not taken for what is asked of it when it has come back.
func TestAPartitionComesBackWhenItsFilesAreGone(t *testing.T) {
	l := begin(t, storagetest.New(), 1)
	id := l.create("orders")
	tp := model.TopicPartition{Topic: id}
	l.produce("orders", 0)
	epochs := map[model.NodeID]model.BrokerEpoch{1: l.b.self.epoch, 2: l.other()}
	// The files' removal is held back, as by a slow disk: the partition goes and comes back meanwhile.
	var held []effect.Delete
	l.hold = func(set *effect.Set) {
		held = append(held, set.Deletes...)
		set.Deletes = nil
	}
	l.move("orders", 2, epochs)
	l.move("orders", 1, epochs)
	if _, here := l.b.Bounds(tp); here || len(held) != 1 {
		t.Fatalf("the partition is back before its files are gone: %v", held)
	}
	l.hold = nil
	l.last.Reset()
	l.last.Deletes = held
	l.carryOut()
	if _, here := l.b.Bounds(tp); !here {
		t.Fatal("its files are gone, and the partition does not come back")
	}
	if p := l.produce("orders", 0); p.Code != 0 || p.BaseOffset != 0 {
		t.Errorf("%+v", p)
	}
}

func TestAReplicaTellsOfItsOwnLogWhoeverLeads(t *testing.T) {
	l := begin(t, storagetest.New(), 1)
	l.create("orders")
	l.produce("orders", 0)
	list := func(at model.Timestamp) effect.OffsetListed {
		out := l.step(&ListOffsets{OfReplica: true, Parts: []ListOffsetsPart{{Topic: TopicRef{Name: "orders"}, CurrentLeaderEpoch: 99, Timestamp: at}}})
		return out.Replies[0].Body.(*effect.OffsetsListed).Parts[0]
	}
	if a := list(LatestTimestamp); a.Code != 0 || a.Offset != 1 {
		t.Errorf("%+v", a)
	}
	if a := list(EarliestTimestamp); a.Code != 0 || a.Offset != 0 {
		t.Errorf("%+v", a)
	}
	if a := list(5); a.Code == 0 {
		t.Errorf("a time is for the leader: %+v", a)
	}
}
