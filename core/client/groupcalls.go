package client

import (
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// groupCall is a request of a member to its coordinator.
type groupCall struct {
	g        *GroupConsumer
	node     model.NodeID // who was the coordinator, anyNode if anybody will do
	which    protocol.Key
	low      int16
	high     int16
	body     func(w *protocol.Writer, version int16)
	response func(now model.Time, version int16, r *protocol.Reader, out *Out) error
	lost     func(now model.Time, why Reason, out *Out)
}

func (q *groupCall) key() protocol.Key                        { return q.which }
func (q *groupCall) versions() (int16, int16)                 { return q.low, q.high }
func (q *groupCall) encode(w *protocol.Writer, version int16) { q.body(w, version) }

// misplaced: another coordinates by now, or anybody can say who does.
func (q *groupCall) misplaced() bool {
	return q.node == anyNode || q.g.coordinator != anyNode && q.g.coordinator != q.node
}

func (q *groupCall) answered(now model.Time, version int16, r *protocol.Reader, out *Out) error {
	return q.response(now, version, r, out)
}

func (q *groupCall) failed(now model.Time, why Reason, _ bool, out *Out) { q.lost(now, why, out) }

// find asks who coordinates the group: not the last one that did if there is another to ask, for it may be cut off from the others and
// think that it still does.
func (g *GroupConsumer) find(now model.Time, out *Out) {
	switch {
	case g.finding:
		return
	case now < g.retryAt:
		g.wakeAt = soonest(g.wakeAt, g.retryAt)
		return
	}
	var k *conn
	if e := g.c.cl.endpointOf(g.last); e != nil {
		var held bool
		if k, held = g.c.cl.elsewhere(now, e.addr, &g.heldTo, out); held {
			g.wakeAt = soonest(g.wakeAt, g.heldTo)
			return
		}
	}
	g.finding = true
	q := &groupCall{
		g: g, node: anyNode, which: protocol.KeyFindCoordinator, high: math.MaxInt16,
		body: func(w *protocol.Writer, version int16) { encodeFindCoordinator(w, version, g.cfg.Group) },
		response: func(now model.Time, version int16, r *protocol.Reader, out *Out) error {
			g.finding = false
			f, err := decodeFindCoordinator(r, version, g.cfg.Group)
			switch {
			case err != nil:
				g.rest(now)
				return err
			case f.code == 0 && f.node >= 0:
				g.c.cl.setEndpoint(f.node, f.addr)
				g.moveTo(now, f.node, out)
			case f.code == 0 || Retriable(f.code):
				g.rest(now)
			default:
				g.fail(now, f.code, out)
			}
			return nil
		},
		lost: func(now model.Time, why Reason, out *Out) {
			g.finding = false
			g.missed(now, anyNode, why, out)
		},
	}
	g.c.cl.submitVia(now, k, q, out)
}

// confirm asks whether a coordinator that says nothing still is one. Until then it is taken for it: it may just be slow.
func (g *GroupConsumer) confirm(now model.Time, out *Out) {
	e := g.c.cl.endpointOf(g.coordinator)
	if e == nil || !g.c.cl.silent(now, e.addr) {
		return
	}
	if now < g.confirmAt {
		g.wakeAt = soonest(g.wakeAt, g.confirmAt)
		return
	}
	if g.find(now, out); g.finding { // else it waits for a moment to ask
		g.confirmAt = now + slowAfter
	}
}

// probe asks a coordinator that lets the member wait for others whether it is there. Such a request may be held for as long as a rebalance
// takes, so that it does not tell; a question that is not answered makes the coordinator one that says nothing.
func (g *GroupConsumer) probe(now model.Time, out *Out) {
	e := g.c.cl.endpointOf(g.coordinator)
	if e == nil || g.probing {
		return
	}
	k := e.conns[coordination]
	if k == nil || k.state != ready || len(k.pending) == 0 || k.pending[0].key == protocol.KeyHeartbeat {
		return
	}
	if at := max(k.pending[0].at+slowAfter, g.probeAt); now < at {
		g.wakeAt = soonest(g.wakeAt, at)
		return
	}
	g.probing = true
	end := func(now model.Time) { g.probing, g.probeAt = false, now+slowAfter }
	g.c.cl.submit(now, g.coordinator, &groupCall{
		g: g, node: g.coordinator, which: protocol.KeyFindCoordinator, high: math.MaxInt16,
		body: func(w *protocol.Writer, version int16) { encodeFindCoordinator(w, version, g.cfg.Group) },
		response: func(now model.Time, version int16, r *protocol.Reader, _ *Out) error {
			end(now)
			_, err := decodeFindCoordinator(r, version, g.cfg.Group)
			return err
		},
		lost: func(now model.Time, _ Reason, _ *Out) { end(now) },
	}, out)
}

// moveTo takes a node for the coordinator. What the one before may hold for long is not waited for any more.
func (g *GroupConsumer) moveTo(now model.Time, node model.NodeID, out *Out) {
	former := g.c.cl.endpointOf(g.coordinator)
	g.coordinator, g.last = node, node
	if former == nil || former.node == node || !g.asked {
		return
	}
	if k := former.conns[coordination]; k != nil {
		g.c.cl.lose(now, k, "another coordinates", Lost, true, out)
	}
}

// missed deals with a request to a node, or to anybody, that got no answer. Of a coordinator that was found meanwhile it says nothing, and
// the silence of anybody nothing of the coordinator.
func (g *GroupConsumer) missed(now model.Time, node model.NodeID, why Reason, out *Out) {
	switch why {
	case Closed:
	case Unsupported:
		g.fail(now, kerr.UnsupportedVersion.Code, out)
	case Done, Refused, TimedOut, Lost, Malformed:
		if g.coordinator != anyNode && g.coordinator != node {
			return
		}
		g.coordinator = anyNode
		g.rest(now)
	}
}

// ask sends a request on the connection that waits for other members.
func (g *GroupConsumer) ask(now model.Time, q *groupCall, timeout model.Time, out *Out) {
	e := g.c.cl.endpointOf(g.coordinator)
	k := g.c.cl.open(now, e, coordination, out)
	if k == nil {
		if e.conns[coordination] == nil { // it was gone a moment ago
			g.missed(now, g.coordinator, Lost, out)
			g.wakeAt = soonest(g.wakeAt, g.retryAt)
		}
		return
	}
	response, lost, node := q.response, q.lost, g.coordinator
	g.asked = true
	q.g, q.node, q.high = g, node, math.MaxInt16
	q.response = func(now model.Time, version int16, r *protocol.Reader, out *Out) error {
		g.asked = false
		if err := response(now, version, r, out); err != nil {
			g.missed(now, node, Malformed, out)
			return err
		}
		return nil
	}
	q.lost = func(now model.Time, why Reason, out *Out) {
		g.asked = false
		if lost != nil {
			lost(now, why, out)
			return
		}
		g.missed(now, node, why, out)
	}
	g.c.cl.send(now, k, q, timeout, out)
	g.wakeAt = soonest(g.wakeAt, now+slowAfter) // to probe
}

// instance is the instance id as versions from 'since' on carry it.
func (g *GroupConsumer) instance(version, since int16) protocol.NullString {
	if g.cfg.InstanceID == "" || version < since {
		return protocol.NullString{}
	}
	return protocol.String(g.cfg.InstanceID)
}

// static is the least version for a request of a static member.
func (g *GroupConsumer) static(since int16) int16 {
	if g.cfg.InstanceID == "" {
		return 0
	}
	return since
}

func (g *GroupConsumer) join(now model.Time, out *Out) {
	s := Subscription{Topics: g.topics, Generation: g.generation}
	if g.cfg.cooperative() {
		s.Owned = g.owned
	}
	metadata := s.Encode(nil)
	g.changed = false
	g.ask(now, &groupCall{
		which: protocol.KeyJoinGroup, low: g.static(5),
		body: func(w *protocol.Writer, version int16) {
			var m protocol.JoinGroupRequest
			m.Default()
			m.GroupID, m.MemberID, m.ProtocolType = g.cfg.Group, g.member, consumerProtocolType
			m.SessionTimeoutMs = int32(g.cfg.SessionTimeout / millisecond)
			if version >= 1 {
				m.RebalanceTimeoutMs = int32(g.cfg.RebalanceTimeout / millisecond)
			}
			m.GroupInstanceID = g.instance(version, 5)
			for _, name := range g.cfg.Strategies {
				p := protocol.Add(&m.Protocols)
				p.Name, p.Metadata = string(name), metadata
			}
			m.Encode(w, version)
		},
		response: g.joined,
	}, g.cfg.RequestTimeout+g.cfg.RebalanceTimeout, out)
}

func (g *GroupConsumer) joined(now model.Time, version int16, r *protocol.Reader, out *Out) error {
	var m protocol.JoinGroupResponse
	m.Decode(r, version)
	if err := r.Finish(); err != nil {
		return err
	}
	switch {
	case m.ErrorCode == kerr.MemberIDRequired.Code:
		g.member = m.MemberID // and once more with it (KIP-394)
		return nil
	case m.ErrorCode != 0:
		if m.ErrorCode == kerr.RebalanceInProgress.Code {
			g.rest(now)
		} else if !g.refused(now, m.ErrorCode, out) {
			g.fail(now, m.ErrorCode, out)
		}
		return nil
	}
	if g.state != joining {
		if g.state == leaving {
			g.member = m.MemberID // the coordinator must be told who leaves
		}
		return nil
	}
	g.member, g.generation, g.failures, g.heardAt = m.MemberID, m.GenerationID, 0, now
	g.strategy, g.leader = Strategy(m.ProtocolName.Value), m.Leader == m.MemberID
	g.plan, g.applicants, g.sizes = nil, nil, nil
	g.state = syncing
	if g.leader && !m.SkipAssignment {
		g.state = arranging
		for i := range m.Members {
			x := &m.Members[i]
			s, err := ParseSubscription(x.Metadata)
			if err != nil {
				s = Subscription{} // it gets nothing, and the others are not made to suffer
			}
			g.applicants = append(g.applicants, Applicant{Member: x.MemberID, InstanceID: x.GroupInstanceID.Value, Subscription: s})
		}
		g.c.cl.wantRefresh() // divide what there is now
	}
	return nil
}

func (g *GroupConsumer) sync(now model.Time, out *Out) {
	g.ask(now, &groupCall{
		which: protocol.KeySyncGroup, low: g.static(3),
		body: func(w *protocol.Writer, version int16) {
			var m protocol.SyncGroupRequest
			m.Default()
			m.GroupID, m.GenerationID, m.MemberID = g.cfg.Group, g.generation, g.member
			m.GroupInstanceID = g.instance(version, 3)
			if version >= 5 {
				m.ProtocolType, m.ProtocolName = protocol.String(consumerProtocolType), protocol.String(string(g.strategy))
			}
			for _, p := range g.plan {
				a := protocol.Add(&m.Assignments)
				a.MemberID, a.Assignment = p.member, p.assignment
			}
			m.Encode(w, version)
		},
		response: func(now model.Time, version int16, r *protocol.Reader, out *Out) error {
			var m protocol.SyncGroupResponse
			m.Decode(r, version)
			if err := r.Finish(); err != nil {
				return err
			}
			if g.state != syncing {
				return nil
			}
			if m.ErrorCode != 0 {
				if !g.refused(now, m.ErrorCode, out) {
					g.fail(now, m.ErrorCode, out)
				}
				return nil
			}
			got, err := ParseAssignment(m.Assignment)
			if err != nil {
				got = nil // a leader that does not speak the protocol has given us nothing
			}
			g.heardAt, g.failures = now, 0
			g.assigned(now, got, out)
			return nil
		},
	}, g.cfg.RequestTimeout+g.cfg.RebalanceTimeout, out)
}

func (g *GroupConsumer) heartbeat(now model.Time, out *Out) {
	generation := g.generation
	g.ask(now, &groupCall{
		which: protocol.KeyHeartbeat, low: g.static(3),
		body: func(w *protocol.Writer, version int16) {
			var m protocol.HeartbeatRequest
			m.Default()
			m.GroupID, m.GenerationID, m.MemberID, m.GroupInstanceID = g.cfg.Group, g.generation, g.member, g.instance(version, 3)
			m.Encode(w, version)
		},
		response: func(now model.Time, version int16, r *protocol.Reader, out *Out) error {
			var m protocol.HeartbeatResponse
			m.Decode(r, version)
			if err := r.Finish(); err != nil {
				return err
			}
			g.heartbeatAt = now + g.cfg.HeartbeatInterval
			if g.generation != generation || g.state != stable && g.state != revoking {
				return nil
			}
			if m.ErrorCode == 0 || m.ErrorCode == kerr.RebalanceInProgress.Code {
				g.heardAt, g.failures = now, 0
			}
			if m.ErrorCode != 0 && !g.refused(now, m.ErrorCode, out) {
				g.fail(now, m.ErrorCode, out)
			}
			return nil
		},
	}, min(g.cfg.RequestTimeout, g.cfg.SessionTimeout), out)
}

// leave says goodbye. A static member goes without, so that its place is kept.
func (g *GroupConsumer) leave(now model.Time, out *Out) {
	if g.member == "" || g.cfg.InstanceID != "" {
		g.left(now, out)
		return
	}
	// Not behind a JoinGroup, which may wait for long.
	g.goodbye = true
	node := g.coordinator
	g.c.cl.submit(now, node, &groupCall{
		g: g, node: node, which: protocol.KeyLeaveGroup, high: math.MaxInt16,
		body: func(w *protocol.Writer, version int16) {
			var m protocol.LeaveGroupRequest
			m.Default()
			m.GroupID = g.cfg.Group
			if version < 3 {
				m.MemberID = g.member
			} else {
				protocol.Add(&m.Members).MemberID = g.member
			}
			m.Encode(w, version)
		},
		response: func(now model.Time, version int16, r *protocol.Reader, out *Out) error {
			var m protocol.LeaveGroupResponse
			m.Decode(r, version)
			if err := r.Finish(); err != nil || !Retriable(m.ErrorCode) || now >= g.leaveBy {
				g.left(now, out) // whatever else it says, there is nothing more to do
				return err
			}
			g.goodbye = false
			g.missed(now, node, Refused, out)
			return nil
		},
		// Another may coordinate by now. Who has heard it already does not mind to hear it twice.
		lost: func(now model.Time, why Reason, out *Out) {
			switch {
			case why == Closed:
			case why == Unsupported || now >= g.leaveBy:
				g.left(now, out) // the end of the session tells
			default:
				g.goodbye = false
				g.missed(now, node, why, out)
			}
		},
	}, out)
}

func (g *GroupConsumer) left(now model.Time, out *Out) {
	for _, p := range slices.Clone(g.owned) {
		g.drop(now, p, out)
	}
	g.revoked, g.generation, g.member, g.state, g.goodbye = nil, -1, "", apart, false
	out.Events = append(out.Events, Event{Kind: EventLeft, Partition: AnyPartition, Offset: model.NoOffset})
}

// locate finds out where the group stopped in partitions that are new to us.
func (g *GroupConsumer) locate(now model.Time, out *Out) {
	if len(g.locating) == 0 || g.fetching || g.coordinator == anyNode {
		return
	}
	if now < g.retryAt {
		g.wakeAt = soonest(g.wakeAt, g.retryAt)
		return
	}
	g.fetching = true
	asked := slices.Clone(g.locating)
	generation, node := g.generation, g.coordinator
	g.c.cl.submit(now, node, &groupCall{
		g: g, node: node, which: protocol.KeyOffsetFetch, low: 1, high: offsetsByNameMax,
		body: func(w *protocol.Writer, version int16) { encodeOffsetFetch(w, version, g.cfg.Group, asked) },
		response: func(now model.Time, version int16, r *protocol.Reader, out *Out) error {
			g.fetching = false
			offsets, code := decodeOffsetFetch(nil, r, version, g.cfg.Group)
			if err := r.Finish(); err != nil {
				g.rest(now)
				return err
			}
			if g.generation != generation {
				return nil // asked again if they are still ours
			}
			if code != 0 {
				if code == kerr.NotCoordinator.Code || code == kerr.CoordinatorNotAvailable.Code {
					g.coordinator = anyNode
				}
				if !Retriable(code) {
					g.fail(now, code, out)
					return nil
				}
				g.rest(now)
			}
			g.begin(now, offsets, out)
			if code == 0 && slices.ContainsFunc(asked, func(p TopicPartition) bool { return slices.Contains(g.locating, p) }) {
				g.rest(now) // some were left out
			}
			return nil
		},
		lost: func(now model.Time, why Reason, out *Out) {
			g.fetching = false
			g.missed(now, node, why, out)
		},
	}, out)
}

// commit is a commit under way.
type commit struct {
	op       OpID
	offsets  []CommitOffset
	who      membership
	deadline model.Time
	retryAt  model.Time
	failures int
	underway bool
	exposed  bool
}

// Commit tells the group how far this member is: to the offsets given or, with nil, to the positions after
// what Poll gave, as far as they have changed. The Answer of the same number has an outcome for each
// partition in Committed.
func (g *GroupConsumer) Commit(now model.Time, offsets []CommitOffset, out *Out) OpID {
	g.lastOp++
	if offsets == nil {
		offsets = g.progress()
	} else {
		offsets = slices.Clone(offsets)
		slices.SortFunc(offsets, func(x, y CommitOffset) int { return x.TopicPartition.Compare(y.TopicPartition) })
	}
	x := &commit{
		op: g.lastOp, offsets: offsets, who: membership{g.generation, g.member, g.cfg.InstanceID}, deadline: now + g.cfg.RequestTimeout,
	}
	switch {
	case len(offsets) == 0:
		out.Answers = append(out.Answers, Answer{Op: x.op})
	case g.generation < 0 || g.c.closed:
		out.Answers = append(out.Answers, Answer{Op: x.op, Outcome: Outcome{Reason: Refused, Code: kerr.UnknownMemberID.Code, Definite: true}})
	default:
		g.commits = append(g.commits, x)
		g.settle(now, out)
	}
	return x.op
}

// progress is what there is to commit.
func (g *GroupConsumer) progress() []CommitOffset {
	var offsets []CommitOffset
	for _, p := range g.owned {
		x, ok := g.c.Position(p.Topic, p.Partition)
		if !ok || x.Offset < 0 {
			continue
		}
		i, found := g.findCommitted(p)
		if !found || g.committed[i].Offset != x.Offset {
			offsets = append(offsets, CommitOffset{TopicPartition: p, Offset: x.Offset, LeaderEpoch: model.NoLeaderEpoch})
		}
	}
	return offsets
}

func (g *GroupConsumer) findCommitted(p TopicPartition) (int, bool) {
	return slices.BinarySearchFunc(g.committed, p, func(o CommitOffset, p TopicPartition) int { return o.TopicPartition.Compare(p) })
}

// sendCommits sends the oldest commit: one at a time, so that an older never overtakes a newer.
func (g *GroupConsumer) sendCommits(now model.Time, out *Out) {
	for len(g.commits) > 0 {
		x := g.commits[0]
		switch {
		case x.underway:
			return
		case now >= x.deadline:
			g.finishCommit(x, Outcome{Reason: TimedOut}, nil, out)
			continue
		case g.coordinator == anyNode, now < x.retryAt:
			g.wakeAt = soonest(g.wakeAt, x.deadline)
			if now < x.retryAt {
				g.wakeAt = soonest(g.wakeAt, x.retryAt)
			}
			if g.coordinator == anyNode {
				g.find(now, out)
			}
			return
		}
		x.underway = true
		g.c.cl.submit(now, g.coordinator, g.commitCall(x), out)
		return
	}
}

func (g *GroupConsumer) commitCall(x *commit) *groupCall {
	node := g.coordinator
	return &groupCall{
		g: g, node: node, which: protocol.KeyOffsetCommit, low: max(2, g.static(7)), high: offsetsByNameMax,
		body: func(w *protocol.Writer, version int16) { encodeOffsetCommit(w, version, g.cfg.Group, x.who, x.offsets) },
		response: func(now model.Time, version int16, r *protocol.Reader, out *Out) error {
			done, code := decodeOffsetCommit(nil, r, version)
			if err := r.Finish(); err != nil {
				g.delayCommit(now, x, true)
				return err
			}
			g.committedAs(now, x, done, code, out)
			return nil
		},
		lost: func(now model.Time, why Reason, out *Out) {
			switch why {
			case Closed, Unsupported:
				g.finishCommit(x, Outcome{Reason: why}, nil, out)
			case Done, Refused, TimedOut, Lost, Malformed:
				if g.coordinator == node {
					g.coordinator = anyNode
				}
				g.delayCommit(now, x, true)
			}
		},
	}
}

// committedAs takes in the answer to a commit.
func (g *GroupConsumer) committedAs(now model.Time, x *commit, done []GroupOffset, code int16, out *Out) {
	if code == kerr.NotCoordinator.Code || code == kerr.CoordinatorNotAvailable.Code {
		g.coordinator = anyNode
	}
	if code != 0 && Retriable(code) && code != kerr.UnknownTopicOrPartition.Code {
		g.delayCommit(now, x, false)
		return
	}
	if code != 0 {
		g.finishCommit(x, Outcome{Reason: Refused, Code: code, Definite: !x.exposed}, done, out)
		// Only if it was made in the name that we still have: an older one says nothing new.
		if x.who.generation == g.generation && x.who.member == g.member {
			g.refused(now, code, out)
		}
		return
	}
	for i := range done {
		if done[i].Outcome.OK() {
			g.remember(done[i].TopicPartition, x)
		}
	}
	g.finishCommit(x, Outcome{}, done, out)
}

// remember notes what is committed.
func (g *GroupConsumer) remember(p TopicPartition, x *commit) {
	i := slices.IndexFunc(x.offsets, func(o CommitOffset) bool { return o.TopicPartition == p })
	if i < 0 || !slices.Contains(g.owned, p) {
		return
	}
	if at, found := g.findCommitted(p); found {
		g.committed[at] = x.offsets[i]
	} else {
		g.committed = slices.Insert(g.committed, at, x.offsets[i])
	}
}

func (g *GroupConsumer) delayCommit(now model.Time, x *commit, exposed bool) {
	x.underway, x.exposed = false, x.exposed || exposed
	x.failures++
	x.retryAt = now + g.c.cl.backoff(x.failures)
}

func (g *GroupConsumer) finishCommit(x *commit, how Outcome, done []GroupOffset, out *Out) {
	i := slices.Index(g.commits, x)
	if i < 0 {
		return
	}
	g.commits = slices.Delete(g.commits, i, i+1)
	if !how.OK() && how.Reason != Refused {
		how.Definite = !x.exposed && !x.underway
	}
	out.Answers = append(out.Answers, Answer{Op: x.op, Outcome: how, Committed: done})
}
