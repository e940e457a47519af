package workload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/sim/draw"
)

// member is one consumer of a group, as far as groups are concerned: it joins, is given partitions, sends
// heartbeats, commits offsets that say who committed them, and reads those that others did. It also crashes, leaves, falls
// silent for longer than its session, and tries to commit as what it no longer is.
//
//	             JoinGroup                SyncGroup
//	out ───────► (again with the id given) ───────► in ──► heartbeats, commits
//	 ▲                                               │
//	 └── rebalance, unknown member, fenced, crash ◄──┘
type member struct {
	g       *group
	crew    *crew
	process int64
	rand    *draw.Stream
	line    Line
	caller  *caller
	at      model.Time

	instance string // "": dynamic
	timeout  model.Time
	identity identity
	in       bool
	owned    []int32
	beatAt   model.Time
	ghost    identity // what it was before it crashed
	sent     int64

	settledAt model.Time
	beaten    bool // since settling, a heartbeat and a commit have succeeded in the generation it is in
	committed bool
}

// identity is what a member says it is.
type identity struct {
	id         string
	generation int32
}

func newMember(g *group, c *crew) *member {
	m := &member{g: g, crew: c, process: g.process(), identity: identity{generation: -1}}
	m.rand = g.Root.Stream("member", uint64(m.process))
	m.caller = newCaller(g, m.Name(), m.rand, &m.line)
	if m.rand.Percent(40) {
		m.instance = fmt.Sprintf("instance%d", m.process)
	}
	m.timeout = model.Time(m.rand.LogUniform(int64(GroupSessionMin), int64(2*second)))
	if g.spec.Calm {
		m.timeout = 10 * second
	}
	m.at = model.Time(m.rand.Between(1, int64(200*millisecond)))
	c.members = append(c.members, m)
	return m
}

// GroupSessionMin is the shortest session that members ask for.
const GroupSessionMin = 200 * millisecond

func (m *member) Name() string            { return fmt.Sprintf("member%d", m.process) }
func (m *member) Lines() []*Line          { return []*Line{&m.line} }
func (m *member) After(model.Time, *Line) {}
func (m *member) WakeAt() model.Time      { return m.at }

func (m *member) patience() model.Time {
	if m.g.spec.Calm {
		return 60 * second
	}
	return 2*m.timeout + second
}

func (m *member) static() protocol.NullString {
	if m.instance == "" {
		return protocol.NullString{}
	}
	return protocol.String(m.instance)
}

// speaks is a range of versions, of which static members need the newer ones.
func (m *member) speaks(staticMin, most int16) versions {
	if m.instance != "" {
		return versions{staticMin, most}
	}
	return versions{0, most}
}

func (m *member) Wake(now model.Time) {
	m.at = now + 1 + model.Time(m.rand.Exp(int64(m.g.spec.Gap)))
	switch {
	case m.caller.asked() || m.g.created == 0:
	case !m.caller.knows(now):
		m.at = now + 20*millisecond
	case !m.caller.found:
		m.g.findCoordinator(now, m.caller, m.crew.name, m.patience())
	case !m.in:
		m.join(now)
	case now >= m.beatAt:
		m.beat(now)
	case m.settledAt != 0:
		if !m.committed {
			m.commit(now, m.identity)
		} else if m.crew.settled() {
			m.at = now + m.timeout/4 // still there: others may not be done
		}
	default:
		m.live(now)
	}
}

// live is a member's everyday life.
func (m *member) live(now model.Time) {
	faults := !m.g.spec.Calm
	switch p := m.rand.Intn(100); {
	case p < 2 && faults: // it crashes, and whoever takes its place knows nothing
		m.ghost = m.identity
		m.caller.hangUp(now)
		m.out(identity{generation: -1})
		m.at = now + model.Time(m.rand.LogUniform(int64(10*millisecond), int64(2*m.timeout)))
	case p < 4:
		m.leave(now)
	case p < 6 && faults: // it is busy with something else
		m.at = now + model.Time(m.rand.LogUniform(int64(m.timeout/2), int64(2*m.timeout)))
		m.beatAt = m.at + m.timeout // and thinks of its heartbeat last
	case p < 12 && m.ghost.generation > 0:
		m.commit(now, m.ghost)
	case p < 14 && m.ghost.id != "" && m.instance != "":
		m.haunt(now)
	case p < 17 && m.identity.generation > 0:
		m.commit(now, identity{m.identity.id, m.identity.generation - 1 - int32(m.rand.Intn(2))})
	case p < 50:
		m.commit(now, m.identity)
	default:
		m.g.readOffset(now, m.caller, m.process, m.crew.name, m.crew.topic, int32(m.rand.Intn(int(m.crew.count))), m.patience())
	}
}

// out leaves the generation, to come back as what it is now.
func (m *member) out(as identity) {
	m.in, m.owned, m.identity = false, nil, as
	m.beaten, m.committed = false, false
}

func (m *member) subscription() []byte {
	s := &protocol.ConsumerProtocolSubscription{Topics: []string{m.crew.topic}, GenerationID: -1}
	s.UserData = binary.BigEndian.AppendUint64(nil, uint64(m.process))
	return protocol.AppendVersioned(nil, s, 1)
}

func (m *member) joinRequest(id string) *protocol.JoinGroupRequest {
	in := protocol.NewRequest(protocol.KeyJoinGroup).(*protocol.JoinGroupRequest)
	in.GroupID, in.MemberID, in.GroupInstanceID = m.crew.name, id, m.static()
	in.SessionTimeoutMs, in.RebalanceTimeoutMs = int32(m.timeout/millisecond), int32(m.timeout/millisecond)
	in.ProtocolType = "consumer"
	// Everybody speaks both: a coordinator that was loaded knows of its members, as Kafka's does, only the protocol
	// that was chosen, and refuses whoever does not speak it.
	names := []string{"sim-a", "sim-b"}
	if m.process%2 == 0 {
		slices.Reverse(names)
	}
	for _, name := range names {
		p := protocol.Add(&in.Protocols)
		p.Name, p.Metadata = name, m.subscription()
	}
	return in
}

func (m *member) join(now model.Time) {
	m.caller.ask(now, m.joinRequest(m.identity.id), m.speaks(5, 9), m.patience(), func(now model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.JoinGroupResponse)
		switch {
		case !ok:
		case out.ErrorCode == 0:
			m.joined(now, out)
		case out.ErrorCode == kerr.MemberIDRequired.Code:
			m.identity.id = out.MemberID
			m.at = now + 1
		default:
			m.refused(now, out.ErrorCode)
		}
	})
}

// refused goes by an error of the group protocol.
func (m *member) refused(now model.Time, code int16) {
	m.at = now + 1 + model.Time(m.rand.Exp(int64(10*millisecond)))
	switch code {
	case kerr.UnknownMemberID.Code, kerr.FencedInstanceID.Code:
		m.out(identity{generation: -1})
	case kerr.IllegalGeneration.Code, kerr.RebalanceInProgress.Code:
		m.out(identity{m.identity.id, -1})
	case kerr.CoordinatorLoadInProgress.Code, kerr.CoordinatorNotAvailable.Code, kerr.NotCoordinator.Code:
		m.at, m.caller.found = now+20*millisecond, false
	case kerr.UnknownTopicOrPartition.Code: // a coordinator may not have heard of the topic yet
		m.at = now + 20*millisecond
		if !m.g.several() {
			m.g.Fail("group-code", fmt.Sprintf("%s: code %d", m.Name(), code))
		}
	case kerr.GroupMaxSizeReached.Code: // members that crashed keep their places until their sessions end
		m.at = now + 20*millisecond
	default:
		m.g.Fail("group-code", fmt.Sprintf("%s: code %d", m.Name(), code))
	}
}

// joined checks what the coordinator says of the others, assigns the partitions if that is this member's
// task, and asks for its own.
func (m *member) joined(now model.Time, in *protocol.JoinGroupResponse) {
	m.identity = identity{in.MemberID, in.GenerationID}
	if m.instance != "" {
		m.crew.instances[m.instance] = in.MemberID
	}
	sync := protocol.NewRequest(protocol.KeySyncGroup).(*protocol.SyncGroupRequest)
	sync.GroupID, sync.MemberID, sync.GenerationID, sync.GroupInstanceID = m.crew.name, in.MemberID, in.GenerationID, m.static()
	if in.ProtocolType.Valid {
		sync.ProtocolType, sync.ProtocolName = in.ProtocolType, in.ProtocolName
	}
	if in.Leader == in.MemberID && !in.SkipAssignment {
		m.assign(in, sync)
	} else if len(in.Members) > 0 && in.Leader != in.MemberID {
		m.g.Fail("group-join", m.Name()+": a member that does not lead was told of the others")
	}
	m.caller.ask(now, sync, m.speaks(3, 5), m.patience(), func(now model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.SyncGroupResponse)
		switch {
		case !ok:
			m.out(identity{m.identity.id, -1})
		case out.ErrorCode == 0:
			m.synced(now, out.Assignment)
		default:
			m.refused(now, out.ErrorCode)
			if m.identity.generation >= 0 { // the coordinator is away
				m.out(identity{m.identity.id, -1})
			}
		}
	})
}

// assign deals the partitions out, in the order of the members' ids.
func (m *member) assign(in *protocol.JoinGroupResponse, sync *protocol.SyncGroupRequest) {
	ids := make([]string, 0, len(in.Members))
	for i := range in.Members {
		ids = append(ids, in.Members[i].MemberID)
		var s protocol.ConsumerProtocolSubscription
		_, err := protocol.ReadVersioned(in.Members[i].Metadata, &s)
		known := err == nil && len(s.UserData) == 8 && len(s.Topics) == 1 && s.Topics[0] == m.crew.topic &&
			slices.ContainsFunc(m.crew.members, func(o *member) bool { return uint64(o.process) == binary.BigEndian.Uint64(s.UserData) })
		if !known {
			m.g.Fail("group-join", fmt.Sprintf("%s: the metadata of member %q is not what anybody sent", m.Name(), in.Members[i].MemberID))
		}
	}
	slices.Sort(ids)
	if len(slices.Compact(slices.Clone(ids))) != len(ids) || !slices.Contains(ids, in.MemberID) {
		m.g.Fail("group-join", fmt.Sprintf("%s leads %q as %q", m.Name(), ids, in.MemberID))
		return
	}
	for i, id := range ids {
		a := &protocol.ConsumerProtocolAssignment{UserData: []byte(id)}
		t := protocol.Add(&a.AssignedPartitions)
		t.Topic = m.crew.topic
		for p := int32(i); p < m.crew.count; p += int32(len(ids)) {
			t.Partitions = append(t.Partitions, p)
		}
		s := protocol.Add(&sync.Assignments)
		s.MemberID, s.Assignment = id, protocol.AppendVersioned(nil, a, 1)
	}
}

// synced takes the partitions. Nobody else may have been given one of them in this generation.
func (m *member) synced(now model.Time, assignment []byte) {
	c := m.crew
	m.in, m.owned = true, nil
	m.beatAt = now + m.timeout/4
	if len(assignment) > 0 {
		var a protocol.ConsumerProtocolAssignment
		if _, err := protocol.ReadVersioned(bytes.Clone(assignment), &a); err != nil || len(a.AssignedPartitions) != 1 {
			m.g.Fail("group-assignment", fmt.Sprintf("%s: the assignment is not what a leader sent: %v", m.Name(), err))
			return
		}
		m.owned = a.AssignedPartitions[0].Partitions
		if id := string(a.UserData); id != m.identity.id && m.instance == "" {
			m.g.Fail("group-assignment", fmt.Sprintf("%s: %q was given what the leader sent to %q", m.Name(), m.identity.id, id))
		}
	}
	c.newest = max(c.newest, m.identity.generation)
	for _, p := range m.owned {
		k := ownership{m.identity.generation, p}
		if other, ok := c.owners[k]; ok && other != m.Name() && !m.g.Forget {
			m.g.Fail("two-owners", fmt.Sprintf("%s: partition %d belongs to %s and to %s in generation %d", c.name, p, other, m.Name(), k.generation))
		}
		c.owners[k] = m.Name()
	}
}

func (m *member) beat(now model.Time) {
	in := protocol.NewRequest(protocol.KeyHeartbeat).(*protocol.HeartbeatRequest)
	in.GroupID, in.GenerationID, in.MemberID, in.GroupInstanceID = m.crew.name, m.identity.generation, m.identity.id, m.static()
	as, called := m.identity, now
	m.caller.ask(now, in, m.speaks(3, 4), m.patience(), func(now model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.HeartbeatResponse)
		switch {
		case !ok || as != m.identity:
			m.beatAt = now
		case out.ErrorCode == 0:
			m.beatAt = now + m.timeout/4
			m.beaten = m.beaten || m.settledAt != 0 && called >= m.settledAt
		default:
			m.refused(now, out.ErrorCode)
		}
	})
}

// haunt joins as what it was before it crashed and another took its place.
func (m *member) haunt(now model.Time) {
	ghost, current := m.ghost.id, m.crew.instances[m.instance]
	m.caller.ask(now, m.joinRequest(ghost), m.speaks(5, 9), m.patience(), func(now model.Time, answer protocol.Message) {
		if out, ok := answer.(*protocol.JoinGroupResponse); ok && out.ErrorCode == 0 && ghost != current {
			m.g.Fail("fenced-join", fmt.Sprintf("%s: %q joined after %q took its place", m.crew.name, ghost, current))
		}
	})
}

func (m *member) leave(now model.Time) {
	in := protocol.NewRequest(protocol.KeyLeaveGroup).(*protocol.LeaveGroupRequest)
	in.GroupID, in.MemberID = m.crew.name, m.identity.id
	wish := versions{0, 2}
	if m.rand.Percent(50) || m.instance != "" {
		wish = versions{3, 5}
		in.MemberID = ""
		o := protocol.Add(&in.Members)
		o.MemberID, o.GroupInstanceID = m.identity.id, m.static()
	}
	m.ghost = m.identity
	m.out(identity{generation: -1})
	m.caller.ask(now, in, wish, m.patience(), func(now model.Time, answer protocol.Message) {
		m.at = now + model.Time(m.rand.LogUniform(int64(millisecond), int64(m.timeout)))
	})
}

// commit commits an offset as somebody.
func (m *member) commit(now model.Time, as identity) {
	partition := int32(m.rand.Intn(int(m.crew.count)))
	if as == m.identity && len(m.owned) > 0 {
		partition = m.owned[m.rand.Intn(len(m.owned))]
	}
	c := m.crew
	newest, current := c.newest, c.instances[m.instance]
	m.sent++
	m.g.commitOffset(now, m.caller, m.process, m.sent, as, m.static(), c.name, c.topic, partition, m.patience(), func(now model.Time, code int16) {
		switch {
		case m.g.Forget: // the group may have been forgotten meanwhile, and begun anew
		case code == 0 && as.generation >= 0 && as.generation < newest:
			m.g.Fail("stale-commit", fmt.Sprintf("%s: a commit of generation %d was accepted after generation %d began", c.name, as.generation, newest))
		case code == 0 && m.instance != "" && as.generation >= 0 && as.id != current:
			m.g.Fail("fenced-commit", fmt.Sprintf("%s: a commit of %q was accepted after %q took its place", c.name, as.id, current))
		}
		switch {
		case as != m.identity:
		case code == 0:
			m.committed = m.committed || m.settledAt != 0
		case code > 0:
			m.refused(now, code)
		}
	})
}

func (m *member) Settle(now model.Time) { m.settledAt, m.at = now, now }

func (m *member) Waiting() string {
	if m.settledAt != 0 && m.crew.settled() {
		return ""
	}
	return fmt.Sprintf("%s: in %v as %+v, owns %v, heartbeat %v, commit %v", m.crew.name, m.in, m.identity, m.owned, m.beaten, m.committed)
}
