package client_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// crew drives members of one group and watches who owns what.
type crew struct {
	w       *world
	group   *clienttest.Group
	members []*hand
	owner   map[client.TopicPartition]*hand
	read    map[string]int // records, by topic/partition@offset
	trouble string
}

// hand is one member.
type hand struct {
	m       *client.GroupConsumer
	name    string
	next    map[client.TopicPartition]model.Offset // where reading goes on
	dead    bool
	left    bool
	failed  int16
	decoder client.Decoder
}

func newCrew(t tester, brokers int) (*crew, *clienttest.Cluster) {
	c := clienttest.New(brokers)
	k := &crew{w: newWorld(t, c), group: c.Group("g"), owner: map[client.TopicPartition]*hand{}, read: map[string]int{}}
	k.w.told = k.dispatch
	return k, c
}

func (c *crew) hire(edit func(*client.GroupConfig), topics ...string) *hand {
	cfg := client.NewGroupConfig("g", c.w.cluster.Addr(c.w.cluster.Brokers[0]), c.w.cluster.Addr(c.w.cluster.Brokers[len(c.w.cluster.Brokers)-1]))
	cfg.Seed = uint64(len(c.members) + 1)
	cfg.SessionTimeout, cfg.RebalanceTimeout, cfg.HeartbeatInterval = 6000*ms, 5000*ms, 300*ms
	cfg.RequestTimeout = 2000 * ms
	if edit != nil {
		edit(&cfg)
	}
	h := &hand{m: client.NewGroupConsumer(cfg), name: fmt.Sprint("h", len(c.members)), next: map[client.TopicPartition]model.Offset{}}
	c.members = append(c.members, h)
	c.w.step(h.m, func(out *client.Out) { h.m.Subscribe(c.w.now, topics, out) })
	return h
}

func cooperative(cfg *client.GroupConfig) {
	cfg.Strategies = []client.Strategy{client.CooperativeSticky}
}

// look takes in what the members report, reads what there is, commits and lets go.
func (c *crew) look() {
	w := c.w
	for _, h := range c.members {
		if h.dead {
			continue
		}
		w.events_ = w.events_[:0]
		w.chunks = w.chunks[:0]
		w.step(h.m, func(out *client.Out) {
			h.m.Poll(w.now, 1<<20, out)
			c.take(h, out)
		})
		if h.m.Releasing() {
			w.step(h.m, func(out *client.Out) { h.m.Commit(w.now, nil, out) })
			w.step(h.m, func(out *client.Out) {
				for _, p := range h.m.Owned() {
					if x, ok := h.m.Consumer().Position(p.Topic, p.Partition); ok && x.Paused {
						c.disown(h, p)
					}
				}
				h.m.Release(w.now, out)
			})
		}
	}
}

func (c *crew) disown(h *hand, p client.TopicPartition) {
	if c.owner[p] == h {
		delete(c.owner, p)
	}
	delete(h.next, p)
}

// events handles the events that collected in the world for a member.
func (c *crew) events(h *hand, events []client.Event) {
	for _, e := range events {
		p := client.TopicPartition{Topic: e.Topic, Partition: e.Partition}
		switch e.Kind {
		case client.EventAssigned:
			// Whom the coordinator has given up may not have heard of it: its commits are refused.
			if o := c.owner[p]; o != nil && o != h && !o.dead && c.belongs(o) && c.belongs(h) {
				c.trouble = fmt.Sprintf("at %d ms %s gets %v, which %s has", c.w.now/ms, h.name, p, o.name)
			}
			// Such a one may even be told of partitions late, and must not be taken for their owner.
			if c.owner[p] == nil || c.belongs(h) {
				c.owner[p] = h
			}
			h.next[p] = max(e.Offset, 0)
		case client.EventLost:
			c.disown(h, p)
		case client.EventLeft:
			h.left = true
			for p, o := range c.owner {
				if o == h {
					delete(c.owner, p)
				}
			}
		case client.EventGroupFailed:
			h.failed = e.Code
		case client.EventRevoking, client.EventEnd, client.EventReset, client.EventRemade, client.EventHalted:
		}
	}
}

// belongs reports whether the coordinator counts on a member.
func (c *crew) belongs(h *hand) bool {
	return slices.ContainsFunc(c.group.Members, func(m *clienttest.Member) bool { return m.ID == h.m.MemberID() })
}

// take reads the chunks of one step.
func (c *crew) take(h *hand, out *client.Out) {
	for i := range out.Chunks {
		k := &out.Chunks[i]
		p := client.TopicPartition{Topic: k.Topic, Partition: k.Partition}
		if c.owner[p] != h && c.belongs(h) {
			c.trouble = fmt.Sprintf("at %d ms %s reads %v, which is not its own", c.w.now/ms, h.name, p)
		}
		if h.next[p] != k.From {
			c.trouble = fmt.Sprintf("at %d ms %s reads %v from %d instead of %d", c.w.now/ms, h.name, p, k.From, h.next[p])
		}
		h.next[p] = k.Next
		if err := h.decoder.Each(k, func(r *record.Record) { c.read[fmt.Sprintf("%s/%d@%d", p.Topic, p.Partition, r.Offset)]++ }); err != nil {
			c.trouble = err.Error()
		}
	}
}

// run lets time pass until done, looking every few milliseconds.
func (c *crew) run(limit model.Time, done func() bool) bool {
	w := c.w
	end := w.now + limit
	for w.now < end && !done() && c.trouble == "" {
		var machines []client.Machine
		for _, h := range c.members {
			if !h.dead {
				machines = append(machines, h.m)
			}
		}
		w.run(min(5*ms, end-w.now), func() bool { return false }, machines...)
		c.look()
	}
	if c.trouble != "" {
		w.t.Fatalf("%s\n%s", c.trouble, w.trace.String())
	}
	return done()
}

// dispatch hands the events that a step reported to the member they are about, at once: a millisecond later the coordinator may have
// let in a member that it did not count on when the member was told.
func (c *crew) dispatch() {
	for _, e := range c.w.tagged {
		for _, h := range c.members {
			if client.Machine(h.m) == e.m {
				c.events(h, []client.Event{e.e})
			}
		}
	}
	c.w.tagged = c.w.tagged[:0]
}

// settled reports whether the members that live own all partitions of a topic, each once and fairly.
func (c *crew) settled(topic string, n int) bool {
	total, least, most := 0, 1<<30, 0
	for _, h := range c.members {
		if h.dead || h.left {
			continue
		}
		owned := len(h.next)
		if h.m.Generation() != c.group.Generation || len(h.m.Owned()) != owned {
			return false
		}
		total += owned
		least, most = min(least, owned), max(most, owned)
	}
	return c.group.State == "Stable" && total == n && most-least <= 1
}

func (c *crew) readAll(topic string, partition, n int) bool {
	for i := range n {
		if c.read[fmt.Sprintf("%s/%d@%d", topic, partition, i)] == 0 {
			return false
		}
	}
	return true
}

func TestMembersDivideATopicAndTakeOver(t *testing.T) {
	for name, edit := range map[string]func(*client.GroupConfig){"eager": nil, "cooperative": cooperative} {
		t.Run(name, func(t *testing.T) {
			c, cluster := newCrew(t, 2)
			topic := cluster.Create("t", 6)
			for _, p := range topic.Partitions {
				fill(p, 3, 5, record.CodecNone)
			}
			a := c.hire(edit, "t")
			if !c.run(20_000*ms, func() bool { return c.settled("t", 6) && c.readAll("t", 5, 15) }) {
				t.Fatalf("one member: %+v", c.group)
			}
			b := c.hire(edit, "t")
			if !c.run(20_000*ms, func() bool { return c.settled("t", 6) && len(b.next) == 3 }) {
				t.Fatalf("two members: %+v", c.group)
			}
			// What was read was committed when it was let go, so nothing is read again.
			for at, n := range c.read {
				if n != 1 {
					t.Errorf("%s was read %d times", at, n)
				}
			}
			for _, p := range topic.Partitions {
				fill(p, 1, 5, record.CodecNone)
			}
			c.hire(edit, "t")
			// One crashes without a word; the others take over where it committed.
			c.kill(a)
			if !c.run(60_000*ms, func() bool { return c.settled("t", 6) && c.readAll("t", 0, 20) && c.readAll("t", 5, 20) }) {
				t.Fatalf("after a crash: %+v\n%v", c.group, c.owner)
			}
			c.w.step(b.m, func(out *client.Out) { b.m.Commit(c.w.now, nil, out); b.m.Leave(c.w.now, out) })
			if !c.run(20_000*ms, func() bool { return b.left && c.settled("t", 6) }) {
				t.Fatalf("after leaving: %+v", c.group)
			}
			if len(c.group.Members) != 1 {
				t.Errorf("%d members are left", len(c.group.Members))
			}
		})
	}
}

func TestCooperativeMembersKeepWhatNeedNotMove(t *testing.T) {
	c, cluster := newCrew(t, 1)
	cluster.Create("t", 6)
	a := c.hire(cooperative, "t")
	c.run(20_000*ms, func() bool { return c.settled("t", 6) })
	before := a.m.Owned()
	c.hire(cooperative, "t")
	gaps := 0
	c.run(20_000*ms, func() bool {
		if len(a.next) < 3 {
			gaps++
		}
		return c.settled("t", 6)
	})
	after := a.m.Owned()
	for _, p := range after {
		if !slices.Contains(before, p) {
			t.Errorf("%v is new to its owner", p)
		}
	}
	if gaps > 0 || len(after) != 3 {
		t.Errorf("it kept %v, and had fewer than three partitions %d times", after, gaps)
	}
}

func TestCommitsAreMadeInOnesOwnName(t *testing.T) {
	c, cluster := newCrew(t, 1)
	fill(cluster.Create("t", 1).Partitions[0], 2, 5, record.CodecNone)
	a := c.hire(nil, "t")
	c.run(20_000*ms, func() bool { return c.readAll("t", 0, 10) })
	p := client.TopicPartition{Topic: "t"}
	commit := func(offset model.Offset) client.Answer {
		n := len(c.w.answers)
		c.w.step(a.m, func(out *client.Out) {
			a.m.Commit(c.w.now, []client.CommitOffset{{TopicPartition: p, Offset: offset, LeaderEpoch: -1, Metadata: "note"}}, out)
		})
		c.run(20_000*ms, func() bool { return len(c.w.answers) > n })
		return c.w.answers[len(c.w.answers)-1]
	}
	if ans := commit(4); !ans.OK() || len(ans.Committed) != 1 || !ans.Committed[0].Outcome.OK() {
		t.Errorf("a commit ended as %+v", ans)
	}
	if o := c.group.Offsets[clienttest.Place{Topic: "t"}]; o.Offset != 4 || o.Metadata != "note" {
		t.Errorf("committed is %+v", o)
	}
	c.group.Expire(a.m.MemberID())
	if ans := commit(7); ans.OK() || ans.Code != kerr.UnknownMemberID.Code || !ans.Definite {
		t.Errorf("a commit after the session's end ended as %+v", ans)
	}
	if c.owner[p] != nil {
		t.Error("the partition was not given up")
	}
	if o := c.group.Offsets[clienttest.Place{Topic: "t"}]; o.Offset != 4 {
		t.Errorf("committed is %+v", o)
	}
	if !c.run(20_000*ms, func() bool { return c.settled("t", 1) && a.next[p] == 10 }) || c.read["t/0@5"] != 2 || c.read["t/0@3"] != 1 {
		t.Errorf("it did not come back: %+v, read %v", c.group, c.read)
	}
	// The coordinator moves, and says so to commits and heartbeats.
	moved := 0
	cluster.Script = func(_ model.NodeID, key protocol.Key, _ string, _ model.Partition) clienttest.Verdict {
		if key == protocol.KeyOffsetCommit && moved < 2 {
			moved++
			return clienttest.Verdict{Code: kerr.NotCoordinator.Code}
		}
		return clienttest.Verdict{}
	}
	if ans := commit(9); !ans.OK() || moved != 2 {
		t.Errorf("a commit to the wrong broker ended as %+v after %d refusals", ans, moved)
	}
}

func TestWhoIsNotLetInSaysSo(t *testing.T) {
	for key, code := range map[protocol.Key]int16{
		protocol.KeyJoinGroup: kerr.GroupAuthorizationFailed.Code, protocol.KeyFindCoordinator: kerr.InvalidGroupID.Code,
		protocol.KeySyncGroup: kerr.GroupMaxSizeReached.Code, protocol.KeyHeartbeat: kerr.FencedInstanceID.Code,
		protocol.KeyOffsetFetch: kerr.GroupAuthorizationFailed.Code,
	} {
		c, cluster := newCrew(t, 1)
		cluster.Create("t", 1)
		cluster.Script = func(_ model.NodeID, k protocol.Key, _ string, _ model.Partition) clienttest.Verdict {
			if k == key {
				return clienttest.Verdict{Code: code}
			}
			return clienttest.Verdict{}
		}
		a := c.hire(nil, "t")
		if !c.run(20_000*ms, func() bool { return a.failed != 0 }) || a.failed != code || len(a.m.Owned()) != 0 {
			t.Errorf("%v refused with %d: failed with %d, owns %v", key, code, a.failed, a.m.Owned())
		}
	}
}

func TestASilentCoordinatorCostsThePartitions(t *testing.T) {
	c, cluster := newCrew(t, 2)
	cluster.Controller = 2
	cluster.Create("t", 2)
	a := c.hire(nil, "t")
	if !c.run(20_000*ms, func() bool { return c.settled("t", 2) }) {
		t.Fatal("it did not join")
	}
	c.w.down[2] = true
	if !c.run(30_000*ms, func() bool { return len(c.owner) == 0 }) {
		t.Fatal("it still reads")
	}
	if since := c.w.now; since == 0 || a.m.Generation() != -1 {
		t.Errorf("generation %d", a.m.Generation())
	}
	c.w.down[2] = false
	c.group.Expire(c.group.Members[0].ID)
	if !c.run(30_000*ms, func() bool { return c.settled("t", 2) }) {
		t.Errorf("it did not come back: %+v", c.group)
	}
}

func TestNewPartitionsAreDividedToo(t *testing.T) {
	c, cluster := newCrew(t, 1)
	topic := cluster.Create("t", 1)
	short := func(cfg *client.GroupConfig) { cfg.MetadataAgeMax = 500 * ms }
	c.hire(short, "t", "later")
	c.hire(short, "t")
	if !c.run(20_000*ms, func() bool { return c.group.State == "Stable" && len(c.owner) == 1 }) {
		t.Fatalf("they did not join: %+v", c.group)
	}
	more := cluster.Create("more", 3)
	topic.Partitions = append(topic.Partitions, more.Partitions[1:]...)
	cluster.Create("later", 2)
	if !c.run(30_000*ms, func() bool { return len(c.owner) == 5 }) {
		t.Errorf("owned are %v", c.owner)
	}
}

func TestStaticMembersComeBackToTheirPlace(t *testing.T) {
	c, cluster := newCrew(t, 1)
	cluster.Create("t", 2)
	static := func(cfg *client.GroupConfig) { cfg.InstanceID = "one" }
	a := c.hire(static, "t")
	if !c.run(20_000*ms, func() bool { return c.settled("t", 2) }) {
		t.Fatal("it did not join")
	}
	c.w.step(a.m, func(out *client.Out) { a.m.Leave(c.w.now, out) })
	c.run(20_000*ms, func() bool { return a.left })
	if len(c.group.Members) != 1 {
		t.Errorf("%d members: a static one leaves without a word", len(c.group.Members))
	}
	c.kill(a)
	c.hire(static, "t")
	if !c.run(20_000*ms, func() bool { return c.settled("t", 2) }) || len(c.group.Members) != 1 {
		t.Errorf("it did not come back: %+v", c.group)
	}
}

// TestGroupsSurviveFaults: requests are lost, answers are lost, members come, go and crash, the coordinator
// moves, brokers are gone and named still. Nobody ever reads what is another's, and in the end all is divided and read.
func TestGroupsSurviveFaults(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, cluster := newCrew(t, 3)
		n := rapid.IntRange(1, 5).Draw(t, "partitions")
		topic := cluster.Create("t", n)
		for _, p := range topic.Partitions {
			fill(p, 2, 5, record.CodecNone)
		}
		edit := rapid.SampledFrom([]func(*client.GroupConfig){nil, cooperative}).Draw(t, "strategy")
		quiet := false
		c.w.fault = func(client.ConnID, model.NodeID, protocol.Key) fault {
			if quiet || rapid.IntRange(0, 19).Draw(t, "fault") > 0 {
				return deliver
			}
			return rapid.SampledFrom([]fault{dropBefore, dropAfter, hang}).Draw(t, "kind")
		}
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			var live []*hand
			for _, h := range c.members {
				if !h.dead && !h.left && h.failed == 0 {
					live = append(live, h)
				}
			}
			switch what := rapid.IntRange(0, 6).Draw(t, "step"); {
			case what < 2 || len(live) == 0:
				if len(live) < 4 {
					c.hire(edit, "t")
				}
			case what == 2:
				h := rapid.SampledFrom(live).Draw(t, "leaver")
				c.w.step(h.m, func(out *client.Out) { h.m.Leave(c.w.now, out) })
			case what == 3:
				c.kill(rapid.SampledFrom(live).Draw(t, "victim"))
			case what == 4:
				cluster.Controller = c.running(rapid.SampledFrom(cluster.Brokers).Draw(t, "coordinator"))
			case what == 5:
				// One at a time: the one before is back, or stays away if it is the last.
				clear(c.w.down)
				clear(c.w.unreachable)
				gone := rapid.SampledFrom(cluster.Brokers).Draw(t, "gone")
				c.w.down[gone], c.w.unreachable[gone] = true, rapid.Bool().Draw(t, "unreachable")
				c.w.after(goneFor, func() {
					cluster.Controller = c.running(cluster.Controller)
					for _, p := range topic.Partitions {
						if to := c.running(p.Leader); to != p.Leader {
							p.Leader, p.Epoch = to, p.Epoch+1
						}
					}
				})
			default:
				for _, p := range topic.Partitions {
					fill(p, 1, 2, record.CodecNone)
				}
			}
			c.run(model.Time(rapid.IntRange(1, 3000).Draw(t, "pause"))*ms, func() bool { return false })
		}
		quiet = true
		// Those that nobody will hear of again are gone when their sessions end.
		c.run(30_000*ms, func() bool { return false })
		c.bury()
		last := c.hire(edit, "t")
		ok := c.run(120_000*ms, func() bool {
			c.bury()
			if !c.settled("t", n) || last.m.Generation() < 0 {
				return false
			}
			for i, p := range topic.Partitions {
				if !c.readAll("t", i, int(p.End())) {
					return false
				}
			}
			return true
		})
		if !ok {
			names := ""
			for _, h := range c.members {
				names += fmt.Sprintf("%s dead=%v left=%v failed=%d id=%s generation=%d owns=%v\n", h.name, h.dead, h.left, h.failed, h.m.MemberID(), h.m.Generation(), h.m.Owned())
			}
			t.Fatalf("they did not settle: %+v\n%s", c.group, names)
		}
	})
}

// running is a broker, or the next if that one is gone.
func (c *crew) running(id model.NodeID) model.NodeID {
	all := c.w.cluster.Brokers
	for c.w.down[id] {
		id = all[(slices.Index(all, id)+1)%len(all)]
	}
	return id
}

// kill ends a member's process without a word.
func (c *crew) kill(h *hand) {
	h.dead = true
	c.w.killed[h.m] = true
}

// bury removes members of the coordinator's whose process is dead or knows nothing of them any more.
func (c *crew) bury() {
	for _, m := range slices.Clone(c.group.Members) {
		if !slices.ContainsFunc(c.members, func(h *hand) bool { return !h.dead && !h.left && h.m.MemberID() == m.ID }) {
			if c.group.State == "Stable" || c.group.State == "PreparingRebalance" {
				c.group.Expire(m.ID)
			}
		}
	}
}
