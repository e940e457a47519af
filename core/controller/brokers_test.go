package controller

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

func ids(n ...model.NodeID) []model.NodeID { return n }

func TestASilentBrokerIsFencedAndLeadsNothing(t *testing.T) {
	l := newLife(t, 3)
	l.topic(t, "t", 30, 3)
	was := map[model.Partition]model.NodeID{}
	for i, p := range l.view.Named("t").Partitions {
		was[i] = p.Leader
	}
	l.silence(t, 1, 3)
	if !l.view.Broker(2).Fenced || l.view.Broker(1).Fenced {
		t.Fatal("broker 2 alone is fenced")
	}
	for i, p := range l.view.Named("t").Partitions {
		if p.Leader == 2 || p.InSync(2) || len(p.ISR) != 2 {
			t.Errorf("partition %d: %+v", i, p)
		}
		if moved := was[i] == 2; moved != (p.LeaderEpoch == 1) || moved != (p.Leader != was[i]) {
			t.Errorf("partition %d moved from %d to %d in epoch %d", i, was[i], p.Leader, p.LeaderEpoch)
		}
	}
}

func TestAControllerThatStoodStillFencesNobody(t *testing.T) {
	l := newLife(t, 2)
	l.now += 5000
	l.run(t, l.c.Tick)
	if l.view.Broker(1).Fenced || l.view.Broker(2).Fenced {
		t.Error("nobody can be blamed for what was not taken in")
	}
	l.silence(t)
	if !l.view.Broker(1).Fenced || !l.view.Broker(2).Fenced {
		t.Error("then they are silent")
	}
}

// The last replicas in sync stay eligible when they are gone, because nothing was committed without them; those that went
// before them are not, for something may have been.
func TestOnlyWhoHasEverythingCommittedLeads(t *testing.T) {
	l := newLife(t, 3)
	l.topic(t, "t", 1, 3)
	l.silence(t, 1, 2) // 3 leaves while two are in sync
	l.silence(t, 1)    // 2 leaves with one in sync: less than a majority
	if p := l.partition("t", 0); p.Leader != 1 || !slices.Equal(p.ELR, ids(2)) {
		t.Fatalf("%+v", p)
	}
	l.silence(t)
	if p := l.partition("t", 0); p.Leader != model.NoNode || !slices.Equal(p.ELR, ids(1, 2)) && !slices.Equal(p.ELR, ids(2, 1)) {
		t.Fatalf("%+v", p)
	}
	l.beat(t, 3)
	if p := l.partition("t", 0); p.Leader != model.NoNode {
		t.Fatalf("3 leads without having everything: %+v", p)
	}
	l.beat(t, 2)
	if p := l.partition("t", 0); p.Leader != 2 || !slices.Equal(p.ISR, ids(2)) || slices.Contains(p.ELR, 2) {
		t.Fatalf("%+v", p)
	}
}

func TestABrokerThatComesBackWithAnotherDiskHasNothing(t *testing.T) {
	l := newLife(t, 3)
	l.topic(t, "t", 1, 3)
	l.topic(t, "alone", 3, 1)
	l.silence(t, 1, 2)
	l.silence(t, 1)
	l.register(t, 2, 20, 99)
	l.beat(t, 2)
	l.silence(t, 2) // 1, the only one in sync, leaves
	p := l.partition("t", 0)
	if p.Leader != model.NoNode || !slices.Equal(p.ELR, ids(1)) {
		t.Fatalf("%+v", p)
	}
	for i, p := range l.view.Named("alone").Partitions {
		if p.Replicas[0] == 2 && (p.Leader != model.NoNode || len(p.ISR) != 0) {
			t.Errorf("partition %d is led by a disk that lost it: %+v", i, p)
		}
	}
}

// Who led may take itself for the leader until it knows that it is not, however alive it is: it is not told that it has caught up.
func TestWhoLedIsBehindUntilItKnowsThatItDoesNotLead(t *testing.T) {
	l := newLife(t, 3)
	l.topic(t, "t", 1, 3)
	caughtUp := func(id model.NodeID, offset model.Offset) bool {
		return l.ask(t, func(to effect.RequestID, out *effect.Set) {
			l.c.Heartbeat(to, &effect.HeartbeatBroker{Broker: id, BrokerEpoch: l.epochs[id], MetadataOffset: offset}, true, out)
		}).(*effect.BrokerHeartbeatAnswered).IsCaughtUp
	}
	led, before := l.partition("t", 0).Leader, l.view.Version()-1
	others := slices.DeleteFunc(ids(1, 2, 3), func(n model.NodeID) bool { return n == led })

	l.ask(t, func(to effect.RequestID, out *effect.Set) {
		replicas := []model.NodeID{others[0], others[1], led}
		l.c.Reassign(to, []ReassignTopic{{Name: "t", Parts: []ReassignPart{{Replicas: replicas}}}}, false, out)
	})
	if l.partition("t", 0).Leader != led || !caughtUp(led, before) {
		t.Fatal("it leads, and another would be preferred: it need not know that yet")
	}
	l.run(t, l.c.rebalance)
	moved := l.view.Version() - 1
	if l.partition("t", 0).Leader != others[0] || caughtUp(led, moved-1) || !caughtUp(led, moved) {
		t.Error("another leads, and who led has caught up before it knows")
	}
	if !caughtUp(others[0], before) || !caughtUp(others[1], before) {
		t.Error("who led nothing is behind")
	}

	l.ask(t, func(to effect.RequestID, out *effect.Set) { l.c.Delete(to, []DeleteTopic{{Name: "t"}}, out) })
	if deleted := l.view.Version() - 1; caughtUp(others[0], deleted-1) || !caughtUp(others[0], deleted) || !caughtUp(led, deleted-1) {
		t.Error("the topic is gone, and who led it has caught up before it knows")
	}

	// The next controller does not know who led what, nor since when others do.
	l.c = New(l.c.config, l.view)
	l.c.Lead(l.view, model.NoNode, l.now)
	for id := model.NodeID(1); id <= 3; id++ {
		if now := l.view.Version() - 1; caughtUp(id, now-1) || !caughtUp(id, now) {
			t.Errorf("broker %d has caught up with this controller before it has what was committed before", id)
		}
	}
}

func TestASinglePartitionKeepsItsEpochThroughARestart(t *testing.T) {
	l := newLife(t, 1)
	l.topic(t, "t", 3, 1)
	records := len(l.log)
	l.register(t, 1, 77, 1)
	l.beat(t, 1)
	if p := l.partition("t", 0); p.Leader != 1 || p.LeaderEpoch != 0 || p.PartitionEpoch != 0 {
		t.Errorf("%+v", p)
	}
	if len(l.log)-records != 2 {
		t.Errorf("%d batches for a restart", len(l.log)-records)
	}
}

func TestARunningBrokersIDIsNotGivenToAnotherDisk(t *testing.T) {
	l := newLife(t, 2)
	if a := l.register(t, 2, 50, 60); a.Code != kerr.DuplicateBrokerRegistration.Code {
		t.Errorf("code %d", a.Code)
	}
	if a := l.register(t, 2, 50, 2); a.Code != 0 || !l.view.Broker(2).Fenced {
		t.Errorf("code %d: the same disk cannot be in use by two", a.Code)
	}
	l.silence(t, 1)
	if a := l.register(t, 2, 51, 60); a.Code != 0 {
		t.Errorf("code %d: the one that had the id is gone", a.Code)
	}
	answer := l.ask(t, func(to effect.RequestID, out *effect.Set) {
		l.c.Register(to, &effect.RegisterBroker{Broker: 3, ClusterID: "other", Directories: []model.DirectoryID{{3}}, Listeners: []effect.BrokerListener{{}}}, out)
	}).(*effect.BrokerRegistered)
	if answer.Code != kerr.InconsistentClusterID.Code {
		t.Errorf("code %d", answer.Code)
	}
}

func TestABrokerThatLeavesIsRelievedFirst(t *testing.T) {
	l := newLife(t, 3)
	l.topic(t, "t", 9, 2)
	leaveKnowing := func(offset model.Offset) *effect.BrokerHeartbeatAnswered {
		return l.ask(t, func(to effect.RequestID, out *effect.Set) {
			l.c.Heartbeat(to, &effect.HeartbeatBroker{Broker: 2, BrokerEpoch: l.epochs[2], MetadataOffset: offset, WantShutdown: true}, true, out)
		}).(*effect.BrokerHeartbeatAnswered)
	}
	leave := func() *effect.BrokerHeartbeatAnswered { return leaveKnowing(l.view.Version() - 1) }
	before := l.view.Version() - 1
	if leave().ShouldShutdown {
		t.Error("it may go before others lead")
	}
	for i, p := range l.view.Named("t").Partitions {
		if p.Leader == 2 || p.Leader == model.NoNode {
			t.Errorf("partition %d: %+v", i, p)
		}
	}
	for _, who := range []string{"the controller that decided it", "the next one"} {
		if leaveKnowing(before).ShouldShutdown {
			t.Errorf("%s lets it go that takes itself for a leader yet", who)
		}
		l.c = New(l.c.config, l.view)
		l.c.Lead(l.view, model.NoNode, l.now)
	}
	if !leave().ShouldShutdown || !l.view.Broker(2).Fenced {
		t.Errorf("it leads nothing and may not go: %+v", l.view.Broker(2))
	}
}

func TestLeadersMoveBackToPreferredReplicas(t *testing.T) {
	l := newLife(t, 3)
	l.topic(t, "t", 9, 2)
	l.silence(t, 1, 3)
	l.beat(t, 2)
	for i, p := range l.view.Named("t").Partitions {
		in := effect.AlterPartitionPart{Partition: model.TopicPartition{Topic: l.view.Named("t").ID, Partition: i}, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
		for _, n := range p.Replicas {
			in.ISR = append(in.ISR, effect.BrokerState{Broker: n, BrokerEpoch: l.epochs[n]})
		}
		l.ask(t, func(to effect.RequestID, out *effect.Set) {
			l.c.AlterPartition(to, &effect.AlterPartition{Broker: p.Leader, BrokerEpoch: l.epochs[p.Leader], Parts: []effect.AlterPartitionPart{in}}, out)
		})
	}
	l.run(t, l.c.rebalance)
	for i, p := range l.view.Named("t").Partitions {
		if p.Leader != p.Replicas[0] {
			t.Errorf("partition %d: %+v", i, p)
		}
	}
	before := len(l.log)
	if l.run(t, l.c.rebalance); len(l.log) != before {
		t.Error("everything is as it should be, and something is written")
	}
}

func TestTheLeaderSaysWhoIsInSync(t *testing.T) {
	l := newLife(t, 3)
	l.topic(t, "t", 1, 3)
	id := l.view.Named("t").ID
	alter := func(broker model.NodeID, leaderEpoch model.LeaderEpoch, partitionEpoch model.PartitionEpoch, isr ...model.NodeID) effect.PartitionAltered {
		in := effect.AlterPartitionPart{Partition: model.TopicPartition{Topic: id}, LeaderEpoch: leaderEpoch, PartitionEpoch: partitionEpoch}
		for _, n := range isr {
			in.ISR = append(in.ISR, effect.BrokerState{Broker: n, BrokerEpoch: l.epochs[n]})
		}
		return l.ask(t, func(to effect.RequestID, out *effect.Set) {
			l.c.AlterPartition(to, &effect.AlterPartition{Broker: broker, BrokerEpoch: l.epochs[broker], Parts: []effect.AlterPartitionPart{in}}, out)
		}).(*effect.PartitionsAltered).Parts[0]
	}
	leader := l.partition("t", 0).Leader
	others := slices.DeleteFunc(ids(1, 2, 3), func(n model.NodeID) bool { return n == leader })
	if a := alter(others[0], 0, 0, others[0]); a.Code != kerr.InvalidRequest.Code {
		t.Errorf("a follower may not: %+v", a)
	}
	if a := alter(leader, 0, 0, leader, others[0]); a.Code != 0 || a.PartitionEpoch != 1 || len(a.ISR) != 2 {
		t.Errorf("%+v", a)
	}
	if a := alter(leader, 0, 0, leader); a.Code != kerr.InvalidUpdateVersion.Code {
		t.Errorf("what it rests on has passed: %+v", a)
	}
	if a := alter(leader, 0, 1, others[0]); a.Code != kerr.InvalidRequest.Code {
		t.Errorf("without the leader: %+v", a)
	}
	l.silence(t, leader, others[0])
	p := l.partition("t", 0)
	if a := alter(leader, p.LeaderEpoch, p.PartitionEpoch, leader, others[0], others[1]); a.Code != kerr.IneligibleReplica.Code {
		t.Errorf("a fenced broker is not in sync: %+v", a)
	}
	stale := l.epochs[others[1]]
	l.register(t, others[1], 90, byte(others[1]))
	l.beat(t, others[1])
	l.epochs[others[1]] = stale
	p = l.partition("t", 0)
	if a := alter(leader, p.LeaderEpoch, p.PartitionEpoch, leader, others[0], others[1]); a.Code != kerr.IneligibleReplica.Code {
		t.Errorf("another life of it was in sync: %+v", a)
	}
}

// Whatever happens to brokers, a partition is led by somebody who has everything that was committed.
func TestLeadersHaveWhatWasCommitted(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l := newLife(r, 4)
		l.topic(r, "t", 4, 3)
		l.topic(r, "u", 4, 1)
		up := map[model.NodeID]bool{1: true, 2: true, 3: true, 4: true}
		// has are the replicas that have everything committed, as far as anybody can know: something is committed all the
		// time while enough are in sync.
		type key struct {
			topic string
			index model.Partition
		}
		has := map[key][]model.NodeID{}
		look := func() {
			for topic := range l.view.Topics {
				for i, p := range topic.Partitions {
					k := key{topic.Name, i}
					inSyncMin := len(p.Replicas)/2 + 1
					if has[k] == nil || p.Leader != model.NoNode && len(p.ISR) >= inSyncMin {
						has[k] = p.ISR
					}
					if p.Leader != model.NoNode && !slices.Contains(has[k], p.Leader) {
						r.Fatalf("%v is led by %d, and %v have everything: %+v", k, p.Leader, has[k], p)
					}
				}
			}
		}
		look()
		incarnation := byte(100)
		for range rapid.IntRange(1, 30).Draw(r, "steps") {
			id := model.NodeID(rapid.IntRange(1, 4).Draw(r, "broker"))
			switch rapid.IntRange(0, 3).Draw(r, "what") {
			case 0:
				delete(up, id)
				l.silence(r, sortedKeys(up)...)
			case 1:
				up[id] = true
				l.beat(r, id)
			case 2:
				incarnation++
				l.register(r, id, incarnation, byte(id))
				look()
				l.beat(r, id)
				up[id] = true
			case 3:
				for topic := range l.view.Topics {
					for i, p := range topic.Partitions {
						if p.Leader != id {
							continue
						}
						in := effect.AlterPartitionPart{
							Partition: model.TopicPartition{Topic: topic.ID, Partition: i}, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
						}
						for _, n := range p.Replicas {
							if n == id || up[n] && rapid.Bool().Draw(r, "in sync") {
								in.ISR = append(in.ISR, effect.BrokerState{Broker: n, BrokerEpoch: l.epochs[n]})
							}
						}
						l.ask(r, func(to effect.RequestID, out *effect.Set) {
							l.c.AlterPartition(to, &effect.AlterPartition{Broker: id, BrokerEpoch: l.epochs[id], Parts: []effect.AlterPartitionPart{in}}, out)
						})
						// Who joins has everything, and who has everything that a smaller ISR had has it still.
						k := key{topic.Name, i}
						for _, n := range l.view.Identified(topic.ID).Partition(i).ISR {
							if !slices.Contains(has[k], n) {
								has[k] = append(slices.Clone(has[k]), n)
							}
						}
					}
				}
			}
			look()
		}
		if !load(r, l.log).Equal(l.view.Image) {
			r.Fatal("the log says something else than the image")
		}
	})
}

func sortedKeys(m map[model.NodeID]bool) (out []model.NodeID) {
	for id := range m {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// Who led the quorum before was not heard by it for as long as an election takes already.
func TestTheControllerBeforeIsMissedSooner(t *testing.T) {
	l := newLife(t, 3)
	var out effect.Set
	l.c.Resign(&out)
	l.c.Lead(l.view, 2, l.now)
	pass := func() {
		for range 4 { // a long step would be a pause of the controller's own
			l.now += 140
			l.run(t, l.c.Tick)
		}
	}
	pass()
	for id := model.NodeID(1); id <= 3; id++ {
		if fenced := l.view.Broker(id).Fenced; fenced != (id == 2) {
			t.Errorf("broker %d is fenced: %t", id, fenced)
		}
	}
	pass()
	if !l.view.Broker(3).Fenced {
		t.Error("broker 3 was silent for the time of a session")
	}
}
