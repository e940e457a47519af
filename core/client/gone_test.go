package client_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// goneFor is how long brokers name a node that is gone already: until the controller gives it up, and has told them.
const goneFor = 700 * ms

// eachWay runs a test with a node that refuses connections, and with one whose address answers nothing.
func eachWay(t *testing.T, f func(t *testing.T, vanish func(w *world, id model.NodeID))) {
	t.Run("refused", func(t *testing.T) {
		f(t, func(w *world, id model.NodeID) { w.down[id] = true })
	})
	t.Run("no answer", func(t *testing.T) {
		f(t, func(w *world, id model.NodeID) { w.down[id], w.unreachable[id] = true, true })
	})
}

// leaves has node 1 vanish, and node 2 take over what it led a while later.
func leaves(w *world, c *clienttest.Cluster, vanish func(w *world, id model.NodeID)) {
	vanish(w, 1)
	w.after(goneFor, func() {
		c.Controller = 2
		for _, t := range c.Topics {
			for _, p := range t.Partitions {
				if p.Leader == 1 {
					p.Leader, p.Epoch = 2, p.Epoch+1
				}
			}
		}
	})
}

// asksInTime has an admin ask something, to which the answer must be good, and come in time.
func (w *world) asksInTime(t *testing.T, limit model.Time, a *client.Admin, ask func(out *client.Out) client.OpID) client.Answer {
	t.Helper()
	begin := w.now
	ans := w.ask(a, ask)
	if took := w.now - begin; !ans.OK() || took > limit {
		t.Fatalf("after %d ms: %+v", took/ms, ans)
	}
	return ans
}

// Who begins to read asks the leader where, and that one may be gone.
func TestALeaderThatIsGoneIsNotWaitedForToBegin(t *testing.T) {
	eachWay(t, func(t *testing.T, vanish func(*world, model.NodeID)) {
		c := clienttest.New(3)
		fill(c.Create("t", 1).Partitions[0], 5, 5, record.CodecNone)
		w := newWorld(t, c)
		leaves(w, c, vanish)
		m := consumerFor(c, func(cfg *client.ConsumerConfig) {
			cfg.Bootstrap = []string{c.Addr(2)}
		})
		w.step(m, func(out *client.Out) { m.Assign(w.now, []client.Assignment{{Topic: "t"}}, out) })
		if got := w.drain(m, 3000*ms, func(n int) bool { return n == 25 }); len(got) != 25 {
			t.Errorf("%d of 25 records came in 3 s", len(got))
		}
	})
}

func TestALeaderThatIsGoneIsNotWaitedForByAdmins(t *testing.T) {
	eachWay(t, func(t *testing.T, vanish func(*world, model.NodeID)) {
		c := clienttest.New(3)
		fill(c.Create("t", 2).Partitions[0], 5, 5, record.CodecNone)
		w := newWorld(t, c)
		leaves(w, c, vanish)
		a := client.NewAdmin(client.NewAdminConfig(c.Addr(2)))
		ans := w.asksInTime(t, 3000*ms, a, func(out *client.Out) client.OpID {
			return a.ListOffsets(w.now, []client.OffsetQuery{
				{Topic: "t", Timestamp: client.LatestTimestamp}, {Topic: "t", Partition: 1, Timestamp: client.LatestTimestamp},
			}, out)
		})
		if ans.Offsets[0].Offset != 25 || ans.Offsets[1].Offset != 0 {
			t.Errorf("%+v", ans.Offsets)
		}
	})
}

// freezes has a node say nothing any more, on connections that there are and on new ones.
func freezes(w *world, id model.NodeID) {
	w.freeze(id)
	w.unreachable[id] = true
}

// Connections that there were are still there when a node freezes.
func TestANodeThatFreezesIsNotWaitedForByAdmins(t *testing.T) {
	for name, ask := range map[string]func(w *world, a *client.Admin, out *client.Out) client.OpID{
		"a leader": func(w *world, a *client.Admin, out *client.Out) client.OpID {
			return a.ListOffsets(w.now, []client.OffsetQuery{{Topic: "t", Timestamp: client.LatestTimestamp}}, out)
		},
		"a coordinator": func(w *world, a *client.Admin, out *client.Out) client.OpID { return a.GroupOffsets(w.now, "g", out) },
	} {
		t.Run(name, func(t *testing.T) {
			c := clienttest.New(3)
			c.Create("t", 1)
			w := newWorld(t, c)
			a := client.NewAdmin(client.NewAdminConfig(c.Addr(2)))
			if ans := w.ask(a, func(out *client.Out) client.OpID { return ask(w, a, out) }); !ans.OK() {
				t.Fatalf("%+v", ans)
			}
			leaves(w, c, freezes)
			w.asksInTime(t, 3000*ms, a, func(out *client.Out) client.OpID { return ask(w, a, out) })
		})
	}
}

// onlyTheController has other brokers refuse what only the controller can do.
func onlyTheController(c *clienttest.Cluster) func(model.NodeID, protocol.Key, string, model.Partition) clienttest.Verdict {
	return func(at model.NodeID, key protocol.Key, _ string, _ model.Partition) clienttest.Verdict {
		if (key == protocol.KeyCreateTopics || key == protocol.KeyDeleteTopics) && at != c.Controller {
			return clienttest.Verdict{Code: kerr.NotController.Code}
		}
		return clienttest.Verdict{}
	}
}

func TestAControllerThatIsGoneIsNotWaitedFor(t *testing.T) {
	eachWay(t, func(t *testing.T, vanish func(*world, model.NodeID)) {
		c := clienttest.New(3)
		c.Script = onlyTheController(c)
		w := newWorld(t, c)
		a := client.NewAdmin(client.NewAdminConfig(c.Addr(2)))
		leaves(w, c, vanish)
		w.asksInTime(t, 3000*ms, a, func(out *client.Out) client.OpID {
			return a.CreateTopics(w.now, []client.NewTopic{{Name: "x", PartitionCount: 1, ReplicationFactor: 1}}, false, out)
		})
	})
}

func TestAControllerThatFreezesIsNotWaitedFor(t *testing.T) {
	c := clienttest.New(3)
	c.Script = onlyTheController(c)
	w := newWorld(t, c)
	a := client.NewAdmin(client.NewAdminConfig(c.Addr(2)))
	w.fault = func(_ client.ConnID, node model.NodeID, key protocol.Key) fault {
		if node == 1 && key == protocol.KeyCreateTopics {
			leaves(w, c, freezes)
			return hang
		}
		return deliver
	}
	w.asksInTime(t, 3000*ms, a, func(out *client.Out) client.OpID {
		return a.CreateTopics(w.now, []client.NewTopic{{Name: "x", PartitionCount: 1, ReplicationFactor: 1}}, false, out)
	})
}

func TestACoordinatorThatIsCutOffIsNotAskedByAdminsWhoCoordinates(t *testing.T) {
	c := clienttest.New(3)
	w := newWorld(t, c)
	a := client.NewAdmin(client.NewAdminConfig(c.Addr(1)))
	c.Behind, c.Controller = []model.NodeID{1}, 2
	w.asksInTime(t, 2000*ms, a, func(out *client.Out) client.OpID { return a.GroupOffsets(w.now, "g", out) })
}

func TestACoordinatorThatIsGoneIsLookedForAgain(t *testing.T) {
	eachWay(t, func(t *testing.T, vanish func(*world, model.NodeID)) {
		t.Run("admin", func(t *testing.T) {
			c := clienttest.New(3)
			w := newWorld(t, c)
			a := client.NewAdmin(client.NewAdminConfig(c.Addr(2)))
			leaves(w, c, vanish)
			w.asksInTime(t, 3000*ms, a, func(out *client.Out) client.OpID { return a.GroupOffsets(w.now, "g", out) })
		})
		long := func(cfg *client.GroupConfig) {
			cfg.Bootstrap, cfg.RequestTimeout, cfg.SessionTimeout = []string{"b2:9092"}, 30_000*ms, 10_000*ms
		}
		t.Run("to join", func(t *testing.T) {
			k, c := newCrew(t, 3)
			c.Create("t", 3)
			leaves(k.w, c, vanish)
			k.hire(long, "t")
			if !k.run(5000*ms, func() bool { return k.settled("t", 3) }) {
				t.Errorf("it did not join in 5 s: %+v", k.group)
			}
		})
		t.Run("to leave", func(t *testing.T) {
			k, c := newCrew(t, 3)
			c.Create("t", 3)
			h := k.hire(long, "t")
			if !k.run(5000*ms, func() bool { return k.settled("t", 3) }) {
				t.Fatal("it did not join")
			}
			leaves(k.w, c, vanish)
			k.w.step(h.m, func(out *client.Out) { h.m.Leave(k.w.now, out) })
			if !k.run(3000*ms, func() bool { return h.left }) || len(k.group.Members) > 0 {
				t.Errorf("it left: %v; members after 3 s: %d", h.left, len(k.group.Members))
			}
		})
		t.Run("of a member", func(t *testing.T) {
			k, c := newCrew(t, 3)
			topic := c.Create("t", 3)
			h := k.hire(long, "t")
			if !k.run(5000*ms, func() bool { return k.settled("t", 3) }) {
				t.Fatal("it did not join")
			}
			fill(topic.Partitions[2], 1, 5, record.CodecNone)
			if !k.run(5000*ms, func() bool { return k.readAll("t", 2, 5) }) {
				t.Fatal("it did not read")
			}
			leaves(k.w, c, vanish)
			begin := k.w.now
			k.w.answers = nil
			k.w.step(h.m, func(out *client.Out) { h.m.Commit(k.w.now, nil, out) })
			heard := func() bool { return h.m.Generation() >= 0 && len(k.w.answers) > 0 }
			if !k.run(4000*ms, heard) {
				t.Fatalf("the commit got no answer in 4 s")
			}
			if ans := k.w.answers[0]; !ans.OK() {
				t.Errorf("the commit ended as %+v", ans)
			}
			// It stays a member: its session would be over by now.
			k.run(begin+12_000*ms-k.w.now, func() bool { return false })
			if !k.settled("t", 3) || h.m.Generation() < 0 {
				t.Errorf("it is a member no more: %+v", k.group)
			}
		})
	})
}

// A coordinator holds a JoinGroup until all members have joined, and one that freezes meanwhile looks just like that.
func TestACoordinatorThatFreezesIsNotWaitedForWithTheOtherMembers(t *testing.T) {
	k, c := newCrew(t, 3)
	c.Create("t", 3)
	usual := func(cfg *client.GroupConfig) {
		d := client.NewGroupConfig("g")
		cfg.RequestTimeout, cfg.SessionTimeout, cfg.RebalanceTimeout = d.RequestTimeout, d.SessionTimeout, d.RebalanceTimeout
		cfg.HeartbeatInterval = 1500 * ms // so long the others let themselves be waited for
	}
	k.hire(usual, "t")
	if !k.run(5000*ms, func() bool { return k.settled("t", 3) }) {
		t.Fatal("it did not join")
	}
	late := k.hire(usual, "t")
	k.run(100*ms, func() bool { return false })
	if k.group.State != "PreparingRebalance" {
		t.Fatalf("nobody is waited for: %+v", k.group)
	}
	leaves(k.w, c, freezes)
	begin, frozen := k.w.now, k.w.fault
	again := model.Time(0) // when it joins the new one
	k.w.fault = func(id client.ConnID, node model.NodeID, key protocol.Key) fault {
		if key == protocol.KeyJoinGroup && again == 0 {
			again = k.w.now - begin
		}
		return frozen(id, node, key)
	}
	if !k.run(5000*ms, func() bool { return k.settled("t", 3) && late.m.Generation() >= 0 }) {
		t.Errorf("it did not join in 5 s: %+v", k.group)
	}
	if again > 1300*ms {
		t.Errorf("the new coordinator was found after %d ms", again/ms)
	}
}

// A coordinator that the others are cut off from answers clients still: not what must be replicated, and that it is the coordinator.
func TestACoordinatorThatIsCutOffIsNotAskedWhoCoordinates(t *testing.T) {
	k, c := newCrew(t, 3)
	topic := c.Create("t", 3)
	h := k.hire(func(cfg *client.GroupConfig) {
		cfg.Bootstrap, cfg.RequestTimeout, cfg.SessionTimeout = []string{c.Addr(1)}, 30_000*ms, 10_000*ms
	}, "t")
	if !k.run(5000*ms, func() bool { return k.settled("t", 3) }) {
		t.Fatal("it did not join")
	}
	fill(topic.Partitions[2], 1, 5, record.CodecNone)
	if !k.run(5000*ms, func() bool { return k.readAll("t", 2, 5) }) {
		t.Fatal("it did not read")
	}
	c.Behind = []model.NodeID{1}
	k.w.fault = func(_ client.ConnID, node model.NodeID, key protocol.Key) fault {
		if node == 1 && (key == protocol.KeyOffsetCommit || key == protocol.KeyHeartbeat) {
			return hang
		}
		return deliver
	}
	c.Controller = 2
	k.w.answers = nil
	k.w.step(h.m, func(out *client.Out) { h.m.Commit(k.w.now, nil, out) })
	if !k.run(2000*ms, func() bool { return len(k.w.answers) > 0 }) || !k.w.answers[0].OK() {
		t.Errorf("after 2 s the commit came to %+v", k.w.answers)
	}
}

// What it had sent to the former is given up then; that is no reason to doubt the new one, and to ask the former.
func TestAMemberStaysWithTheCoordinatorThatItFound(t *testing.T) {
	k, c := newCrew(t, 3)
	c.Create("t", 1)
	h := k.hire(func(cfg *client.GroupConfig) {
		cfg.Bootstrap, cfg.RequestTimeout, cfg.SessionTimeout, cfg.HeartbeatInterval = []string{c.Addr(1)}, 30_000*ms, 10_000*ms, 3000*ms
	}, "t")
	if !k.run(5000*ms, func() bool { return k.settled("t", 1) }) {
		t.Fatal("it did not join")
	}
	asked := 0
	k.w.fault = func(_ client.ConnID, node model.NodeID, key protocol.Key) fault {
		if node == 1 && key == protocol.KeyFindCoordinator {
			asked++
		}
		if node == 1 && (key == protocol.KeyOffsetCommit || key == protocol.KeyHeartbeat) {
			return hang
		}
		return deliver
	}
	c.Behind, c.Controller = []model.NodeID{1}, 2
	k.w.answers = nil
	p := client.CommitOffset{TopicPartition: client.TopicPartition{Topic: "t"}, LeaderEpoch: -1}
	k.w.step(h.m, func(out *client.Out) { h.m.Commit(k.w.now, []client.CommitOffset{p}, out) })
	if !k.run(1500*ms, func() bool { return len(k.w.answers) > 0 }) || !k.w.answers[0].OK() || asked > 0 {
		t.Errorf("the former was asked %d times who coordinates; the commit came to %+v", asked, k.w.answers)
	}
}

// A change is waited for where it was sent. What comes after it need not be.
func TestWhatComesAfterARequestThatIsWaitedForIsAskedElsewhere(t *testing.T) {
	c := clienttest.New(3)
	c.Create("t", 1)
	w := newWorld(t, c)
	a := client.NewAdmin(client.NewAdminConfig(c.Addr(2)))
	describe := func(out *client.Out) client.OpID { return a.DescribeTopics(w.now, []string{"t"}, out) }
	if ans := w.ask(a, describe); !ans.OK() {
		t.Fatalf("%+v", ans)
	}
	freezes(w, 2)
	w.step(a, func(out *client.Out) {
		a.CreateTopics(w.now, []client.NewTopic{{Name: "x", PartitionCount: 1, ReplicationFactor: 1}}, false, out)
	})
	begin := w.now
	w.answers = nil
	w.step(a, func(out *client.Out) { describe(out) })
	if !w.run(3000*ms, func() bool { return len(w.answers) > 0 }, a) || !w.answers[0].OK() {
		t.Errorf("after %d ms: %+v", (w.now-begin)/ms, w.answers)
	}
}

// A broker that has left the cluster leads for a moment longer in what the others say, and has no address.
func TestALeaderThatNobodyKnowsIsNotWaitedForToBegin(t *testing.T) {
	c := clienttest.New(3)
	fill(c.Create("t", 1).Partitions[0], 5, 5, record.CodecNone)
	w := newWorld(t, c)
	c.Brokers = c.Brokers[1:]
	w.after(goneFor, func() { c.Topic("t").Partitions[0].Move(2) })
	m := consumerFor(c, nil)
	w.step(m, func(out *client.Out) { m.Assign(w.now, []client.Assignment{{Topic: "t"}}, out) })
	if got := w.drain(m, 3000*ms, func(n int) bool { return n == 25 }); len(got) != 25 {
		t.Errorf("%d of 25 records came in 3 s", len(got))
	}
}
