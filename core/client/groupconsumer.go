package client

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
)

// GroupConfig is a group member's configuration. Start from NewGroupConfig.
type GroupConfig struct {
	ConsumerConfig
	Group string
	// InstanceID makes the member static (KIP-345): it may restart within SessionTimeout without a rebalance.
	// Each running member needs its own.
	InstanceID string
	// Strategies are what the member can be assigned by, the best first; the coordinator chooses one that
	// all members have. Default Range, RoundRobin, CooperativeSticky: any other client's group can be joined.
	Strategies []Strategy
	// SessionTimeout is how long the member may be silent before the group goes on without it. Default
	// 45 s. RebalanceTimeout is how long it may take to let go of its partitions and join again. Default 60 s.
	SessionTimeout, RebalanceTimeout model.Time
	// HeartbeatInterval is how soon it notices a rebalance. Default 3 s.
	HeartbeatInterval model.Time
	// Start is where a partition begins that the group has committed nothing for. Default the earliest.
	Start Start
}

// NewGroupConfig is the default configuration.
func NewGroupConfig(group string, bootstrap ...string) GroupConfig {
	return GroupConfig{
		ConsumerConfig: NewConsumerConfig(bootstrap...), Group: group, Strategies: []Strategy{Range, RoundRobin, CooperativeSticky},
		SessionTimeout: 45 * second, RebalanceTimeout: 60 * second, HeartbeatInterval: 3 * second,
	}
}

// Validate reports what is wrong with the configuration.
func (c *GroupConfig) Validate() error {
	switch {
	case c.Group == "":
		return errors.New("the group has no name")
	case len(c.Strategies) == 0:
		return errors.New("no assignment strategy")
	case c.SessionTimeout <= 0 || c.SessionTimeout/millisecond > math.MaxInt32 || c.RebalanceTimeout <= 0 || c.RebalanceTimeout/millisecond > math.MaxInt32:
		return errors.New("the session and rebalance timeouts must be positive")
	case c.HeartbeatInterval <= 0 || c.HeartbeatInterval >= c.SessionTimeout:
		return errors.New("the heartbeat interval must be positive and less than the session timeout")
	}
	for i, s := range c.Strategies {
		if !s.Valid() || slices.Contains(c.Strategies[:i], s) {
			return fmt.Errorf("the strategy %q is unknown, or there twice", string(s))
		}
	}
	return c.ConsumerConfig.Validate()
}

// cooperative reports whether the member keeps its partitions while the group rebalances.
func (c *GroupConfig) cooperative() bool {
	return len(c.Strategies) == 1 && c.Strategies[0] == CooperativeSticky
}

// GroupConsumer is the machine of a member of a classic group of consumers: a Consumer whose partitions the
// group assigns, and commits of how far it is.
//
//	           Subscribe            ┌──── partitions to give up: EventRevoking, until Release ────┐
//	apart ───────────────► joining ─┴─► (leads: arranging) ─► syncing ─► stable ──rebalance──► revoking
//	  ▲                       ▲  JoinGroup      metadata      SyncGroup     │ Heartbeat           │
//	  └── leaving ◄── Leave   └─────────────────────────────────────────────┴─────────────────────┘
//
// What holds, beside what holds for every Consumer:
//
//  1. A partition is read by this member only between EventAssigned and EventRevoking or EventLost. Poll gives
//     nothing of it afterwards.
//  2. A commit is made in the name of the generation in which it was asked for; the coordinator refuses it
//     if the group went on without us.
//  3. JoinGroup and LeaveGroup wait for commits under way, so that none is refused by our own doing.
//  4. When no heartbeat was answered for SessionTimeout the partitions are given up (EventLost), for the
//     coordinator has given them away by then.
type GroupConsumer struct {
	cfg GroupConfig
	c   Consumer

	state       memberState
	topics      []string // subscribed to, ordered
	coordinator model.NodeID
	last        model.NodeID // that was the coordinator, anyNode before the first
	finding     bool         // a FindCoordinator is under way
	heldTo      model.Time   // not before: a connection to somebody else than the last is being made; 0 is no wait
	confirmAt   model.Time   // when one that says nothing may be asked about again
	probing     bool         // it is asked whether it is there
	probeAt     model.Time   // not asked that again before
	asked       bool         // a JoinGroup, SyncGroup, Heartbeat or LeaveGroup is under way
	retryAt     model.Time
	failures    int
	wakeAt      model.Time // when settle has something to do if nothing else happens; 0 is never

	member     string
	generation int32 // -1 without one
	strategy   Strategy
	leader     bool
	applicants []Applicant // the leader's
	sizes      []TopicSize // what the leader assigned by
	plan       []planned   // what the leader is to send

	heartbeatAt model.Time
	heardAt     model.Time // when the coordinator last answered for this generation

	owned    []TopicPartition // ordered; the consumer has them, or will when their offsets are known
	locating []TopicPartition // of these the committed offsets are being found out; ordered
	fetching bool             // an OffsetFetch is under way
	revoked  []TopicPartition // to be let go by Release
	changed  bool             // other topics were subscribed to since the last JoinGroup
	goodbye  bool             // a LeaveGroup is under way
	leaveBy  model.Time       // after which none is sent again

	commits   []*commit // under way, oldest first
	committed []CommitOffset
	lastOp    OpID
}

type memberState uint8

const (
	apart memberState = iota
	joining
	arranging
	syncing
	stable
	revoking
	leaving
	expelled // the coordinator does not let us in
)

// planned is what one member is to get.
type planned struct {
	member     string
	assignment []byte
}

// NewGroupConsumer makes a member that is in no group yet. The configuration must be valid.
func NewGroupConsumer(cfg GroupConfig) *GroupConsumer {
	g := &GroupConsumer{cfg: cfg, coordinator: anyNode, last: anyNode, generation: -1}
	g.c.cfg = cfg.ConsumerConfig
	g.c.cl.init(cfg.Config, &g.c)
	return g
}

// Consumer is the machine that reads: for its positions, and to pause and seek. Assign, Unassign and Follow
// are the group's.
func (g *GroupConsumer) Consumer() *Consumer { return &g.c }

// Subscribe joins the group for some topics, or changes which.
func (g *GroupConsumer) Subscribe(now model.Time, topics []string, out *Out) {
	g.topics = slices.Compact(slices.Sorted(slices.Values(topics)))
	for _, t := range g.topics {
		if _, added := g.c.cl.topics.want(t); added {
			g.c.cl.wantRefresh()
		}
	}
	switch g.state {
	case apart:
		g.state = joining
	case stable:
		g.rebalance(now, out)
	case joining, arranging, syncing:
		g.changed = true // once more, then
	case revoking, leaving, expelled:
	}
	g.settle(now, out)
}

// Poll is Consumer.Poll.
func (g *GroupConsumer) Poll(now model.Time, bytesMax int, out *Out) bool {
	return g.c.Poll(now, bytesMax, out)
}

// Available reports whether Poll would give something.
func (g *GroupConsumer) Available() bool { return g.c.Available() }

// Releasing reports whether the group waits for Release.
func (g *GroupConsumer) Releasing() bool { return len(g.revoked) > 0 }

// Release lets go of the partitions that are being revoked. What was read of them should have been
// committed before, or it is read again by others.
func (g *GroupConsumer) Release(now model.Time, out *Out) {
	for _, p := range g.revoked {
		g.drop(now, p, out)
	}
	g.revoked = nil
	g.settle(now, out)
}

// Owned are the partitions that the group has assigned to this member, ordered.
func (g *GroupConsumer) Owned() []TopicPartition { return slices.Clone(g.owned) }

// Settled reports whether the member reads all that the group has assigned to it, and nothing is to change.
func (g *GroupConsumer) Settled() bool {
	return g.state == stable && len(g.locating) == 0 && len(g.revoked) == 0
}

// Generation is that of the group that the member belongs to, -1 if it belongs to none.
func (g *GroupConsumer) Generation() int32 { return g.generation }

// MemberID is the name that the coordinator gave this member, empty before it did.
func (g *GroupConsumer) MemberID() string { return g.member }

// Leave leaves the group after the commits under way; EventLeft says when. A static member's place is kept
// until its session ends.
func (g *GroupConsumer) Leave(now model.Time, out *Out) {
	switch g.state {
	case apart, expelled:
		out.Events = append(out.Events, Event{Kind: EventLeft, Partition: AnyPartition, Offset: model.NoOffset})
		return
	case leaving:
		return
	case joining, arranging, syncing, stable, revoking:
	}
	g.state, g.retryAt, g.failures, g.leaveBy = leaving, 0, 0, now+g.cfg.RequestTimeout
	for _, p := range g.owned {
		g.c.Pause(p.Topic, p.Partition, true)
	}
	g.settle(now, out)
}

// Close closes all connections; commits under way fail.
func (g *GroupConsumer) Close(now model.Time, out *Out) {
	if g.c.closed {
		return
	}
	g.c.Close(now, out)
	for len(g.commits) > 0 {
		g.finishCommit(g.commits[0], Outcome{Reason: Closed}, nil, out)
	}
}

// Connected says that a Dial succeeded.
func (g *GroupConsumer) Connected(now model.Time, id ConnID, out *Out) {
	g.c.Connected(now, id, out)
	g.settle(now, out)
}

// Received hands over one response frame, without its length prefix. The machine owns it from then on.
func (g *GroupConsumer) Received(now model.Time, id ConnID, frame []byte, out *Out) {
	g.c.Received(now, id, frame, out)
	g.settle(now, out)
}

// Disconnected says that a connection failed or that a Dial did; the driver has stopped writing to it.
func (g *GroupConsumer) Disconnected(now model.Time, id ConnID, detail string, out *Out) {
	g.c.Disconnected(now, id, detail, out)
	g.settle(now, out)
}

// Written says that a frame with Send.Report has been written.
func (g *GroupConsumer) Written(now model.Time, id ConnID, out *Out) {
	g.c.Written(now, id, out)
	g.settle(now, out)
}

// Tick does what is due.
func (g *GroupConsumer) Tick(now model.Time, out *Out) {
	g.c.Tick(now, out)
	g.settle(now, out)
}

// Deadline is when Tick has something to do; 0 is never.
func (g *GroupConsumer) Deadline() model.Time {
	if g.c.closed {
		return 0
	}
	return soonest(g.c.Deadline(), g.wakeAt)
}

// Check verifies what must hold between inputs; it walks everything.
func (g *GroupConsumer) Check() error {
	if !slices.IsSortedFunc(g.owned, TopicPartition.Compare) || !slices.IsSortedFunc(g.locating, TopicPartition.Compare) {
		return errorf("partitions of the group out of order")
	}
	for _, p := range g.locating {
		if !slices.Contains(g.owned, p) {
			return errorf("%s/%d is being located and not owned", p.Topic, p.Partition)
		}
	}
	for _, x := range g.c.parts {
		if !slices.Contains(g.owned, TopicPartition{x.topic.name, x.partition}) {
			return errorf("%s/%d is read and not owned", x.topic.name, x.partition)
		}
	}
	if g.generation < 0 && len(g.owned) > 0 {
		return errorf("%d partitions owned in no generation", len(g.owned))
	}
	return g.c.Check()
}

// settle does what the state asks for, as far as it can be done now.
func (g *GroupConsumer) settle(now model.Time, out *Out) {
	if g.c.closed {
		return
	}
	g.wakeAt = 0
	g.expire(now, out)
	if g.state == revoking && len(g.revoked) == 0 {
		g.state = joining
	}
	g.sendCommits(now, out)
	if g.state == apart || g.state == expelled {
		return
	}
	if g.coordinator == anyNode {
		g.find(now, out)
		return
	}
	g.confirm(now, out)
	g.probe(now, out)
	g.locate(now, out)
	if now < g.retryAt {
		g.wakeAt = soonest(g.wakeAt, g.retryAt)
		return
	}
	switch g.state {
	case arranging:
		if g.arrange() {
			g.state = syncing
			g.sync(now, out)
		}
	case joining:
		if !g.asked && len(g.commits) == 0 {
			g.join(now, out)
		}
	case syncing:
		if !g.asked {
			g.sync(now, out)
		}
	case stable, revoking:
		if g.state == stable && (g.changed || g.leader && g.grown()) {
			g.changed = false
			g.rebalance(now, out)
			g.settle(now, out)
			return
		}
		if !g.asked && now >= g.heartbeatAt {
			g.heartbeat(now, out)
		} else if !g.asked {
			g.wakeAt = soonest(g.wakeAt, g.heartbeatAt)
		}
	case leaving:
		if !g.goodbye && len(g.commits) == 0 {
			g.leave(now, out)
		}
	case apart, expelled:
	}
}

// expire gives the partitions up when the coordinator has not answered for a session's length.
func (g *GroupConsumer) expire(now model.Time, out *Out) {
	if g.generation < 0 || g.state == leaving {
		return
	}
	end := g.heardAt + g.cfg.SessionTimeout
	if g.state == joining || g.state == arranging || g.state == syncing {
		end += g.cfg.RebalanceTimeout // the coordinator waits for us that long
	}
	if now < end {
		g.wakeAt = soonest(g.wakeAt, end)
		return
	}
	g.lose(now, out)
	g.state = joining
}

// lose gives up all partitions at once.
func (g *GroupConsumer) lose(now model.Time, out *Out) {
	for _, p := range slices.Clone(g.owned) {
		g.drop(now, p, out)
		out.Events = append(out.Events, Event{Kind: EventLost, Topic: p.Topic, Partition: p.Partition, Offset: model.NoOffset})
	}
	g.revoked, g.generation = nil, -1
}

// drop stops reading a partition.
func (g *GroupConsumer) drop(now model.Time, p TopicPartition, out *Out) {
	g.owned = without(g.owned, p)
	g.locating = without(g.locating, p)
	g.committed = slices.DeleteFunc(g.committed, func(o CommitOffset) bool { return o.TopicPartition == p })
	g.c.Unassign(now, p.Topic, p.Partition, out)
}

func without(list []TopicPartition, p TopicPartition) []TopicPartition {
	return slices.DeleteFunc(list, func(x TopicPartition) bool { return x == p })
}

// rebalance answers the coordinator's wish that all join again.
func (g *GroupConsumer) rebalance(_ model.Time, out *Out) {
	if g.state != stable && g.state != syncing {
		return
	}
	if g.cfg.cooperative() || len(g.owned) == 0 {
		g.state = joining
		return
	}
	g.revoke(g.owned, out)
}

// revoke asks the user to let go of partitions. The member joins again after that.
func (g *GroupConsumer) revoke(partitions []TopicPartition, out *Out) {
	g.state = revoking
	g.revoked = slices.Clone(partitions)
	for _, p := range g.revoked {
		g.c.Pause(p.Topic, p.Partition, true)
		position := model.NoOffset
		if x, ok := g.c.Position(p.Topic, p.Partition); ok {
			position = x.Offset
		}
		out.Events = append(out.Events, Event{Kind: EventRevoking, Topic: p.Topic, Partition: p.Partition, Offset: position})
	}
}

// assigned takes in what the group gave this member.
func (g *GroupConsumer) assigned(now model.Time, got []TopicPartition, out *Out) {
	got = slices.Clone(got)
	slices.SortFunc(got, TopicPartition.Compare)
	got = slices.Compact(got)
	g.state, g.heartbeatAt = stable, now+g.cfg.HeartbeatInterval
	for _, p := range got {
		if i, found := slices.BinarySearchFunc(g.owned, p, TopicPartition.Compare); !found {
			g.owned = slices.Insert(g.owned, i, p)
			n, _ := slices.BinarySearchFunc(g.locating, p, TopicPartition.Compare)
			g.locating = slices.Insert(g.locating, n, p)
			if _, added := g.c.cl.topics.want(p.Topic); added {
				g.c.cl.wantRefresh()
			}
		}
	}
	var gone []TopicPartition
	for _, p := range g.owned {
		if _, keep := slices.BinarySearchFunc(got, p, TopicPartition.Compare); !keep {
			gone = append(gone, p)
		}
	}
	if len(gone) > 0 {
		g.revoke(gone, out) // and then join again, so that others get them
	}
}

// begin lets reading begin where the group stopped.
func (g *GroupConsumer) begin(now model.Time, offsets []GroupOffset, out *Out) {
	for _, o := range offsets {
		if !slices.Contains(g.locating, o.TopicPartition) || o.Outcome.Code != 0 && Retriable(o.Outcome.Code) {
			continue
		}
		g.locating = without(g.locating, o.TopicPartition)
		start := g.cfg.Start
		if o.Offset >= 0 {
			start = At(o.Offset)
		}
		g.c.Assign(now, []Assignment{{Topic: o.Topic, Partition: o.Partition, Start: start}}, out)
		out.Events = append(out.Events, Event{Kind: EventAssigned, Topic: o.Topic, Partition: o.Partition, Offset: o.Offset})
		if slices.Contains(g.revoked, o.TopicPartition) || g.state == leaving {
			g.c.Pause(o.Topic, o.Partition, true)
		}
	}
}

// fail ends the membership: the coordinator will not have us.
func (g *GroupConsumer) fail(now model.Time, code int16, out *Out) {
	g.lose(now, out)
	g.state = expelled
	out.Events = append(out.Events, Event{Kind: EventGroupFailed, Partition: AnyPartition, Offset: model.NoOffset, Code: code})
	for len(g.commits) > 0 {
		g.finishCommit(g.commits[0], Outcome{Reason: Refused, Code: code, Definite: true}, nil, out)
	}
}

// rest waits before the next try.
func (g *GroupConsumer) rest(now model.Time) {
	g.failures++
	g.retryAt = now + g.c.cl.backoff(g.failures)
}

// refused deals with a code of JoinGroup, SyncGroup, Heartbeat or a commit that is about the membership. It
// is false if the code is not.
func (g *GroupConsumer) refused(now model.Time, code int16, out *Out) bool {
	switch code {
	case kerr.NotCoordinator.Code, kerr.CoordinatorNotAvailable.Code:
		g.coordinator = anyNode
		g.rest(now)
	case kerr.CoordinatorLoadInProgress.Code, kerr.RequestTimedOut.Code, kerr.NotLeaderForPartition.Code:
		g.rest(now)
	case kerr.RebalanceInProgress.Code:
		g.rebalance(now, out)
	case kerr.UnknownMemberID.Code:
		g.member = ""
		g.lose(now, out)
		g.again()
	case kerr.IllegalGeneration.Code:
		g.lose(now, out)
		g.again()
	case kerr.FencedInstanceID.Code:
		g.fail(now, code, out)
	default:
		return false
	}
	return true
}

// again joins anew, unless the member is on its way out.
func (g *GroupConsumer) again() {
	if g.state != leaving && g.state != apart && g.state != expelled {
		g.state = joining
	}
}

// sizeOf is how many partitions a topic has; false while that is not known. One that does not exist has none.
func (g *GroupConsumer) sizeOf(topic string) (int, bool) {
	t, added := g.c.cl.topics.want(topic)
	switch {
	case added:
		g.c.cl.wantRefresh()
		return 0, false
	case t.known && t.code == 0:
		return len(t.partitions), true
	case t.code != 0:
		return 0, true
	}
	return 0, false
}

// arrange divides the partitions, if the sizes of all topics are known.
func (g *GroupConsumer) arrange() bool {
	var names []string
	for i := range g.applicants {
		names = append(names, g.applicants[i].Topics...)
	}
	slices.Sort(names)
	sizes, complete := []TopicSize{}, true
	for _, name := range slices.Compact(names) {
		n, ok := g.sizeOf(name)
		complete = complete && ok
		sizes = append(sizes, TopicSize{name, n})
	}
	if !complete {
		return false
	}
	g.sizes = sizes
	g.plan = g.plan[:0]
	for i, partitions := range Assign(g.strategy, g.applicants, sizes) {
		g.plan = append(g.plan, planned{g.applicants[i].Member, EncodeAssignment(nil, partitions, nil)})
	}
	return true
}

// grown reports whether a topic has other partitions than when the leader divided them.
func (g *GroupConsumer) grown() bool {
	return slices.ContainsFunc(g.sizes, func(s TopicSize) bool {
		t := g.c.cl.topics.find(s.Topic)
		return t != nil && t.known && t.code == 0 && len(t.partitions) != s.Partitions
	})
}
