package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// protocolsMax is how many protocols a member may offer: every join is compared with them.
const protocolsMax = 100

// Join takes in a JoinGroup request.
func (c *Coordinator) Join(now model.Time, in *Join, out *effect.Set) {
	c.advance(now, in.Wall)
	if in.RebalanceTimeoutMs <= 0 {
		in.RebalanceTimeoutMs = in.SessionTimeoutMs
	}
	if code := c.joinRefusal(in); code != 0 {
		refuseJoin(in, in.Member, code, out)
		return
	}
	c.submit(in, out)
}

// joinRefusal is what is wrong with a join, whatever the group.
func (c *Coordinator) joinRefusal(in *Join) int16 {
	if !validID(in.Group, false) {
		return kerr.InvalidGroupID.Code
	}
	if code := c.refusal(); code != 0 {
		return code
	}
	if in.SessionTimeoutMs < c.config.SessionTimeoutMsMin || in.SessionTimeoutMs > c.config.SessionTimeoutMsMax {
		return kerr.InvalidSessionTimeout.Code
	}
	if len(in.Instance) > nameBytesMax {
		return kerr.InvalidRequest.Code
	}
	if len(in.ProtocolType) > nameBytesMax || len(in.Protocols) > protocolsMax {
		return kerr.InconsistentGroupProtocol.Code
	}
	for i := range in.Protocols {
		if len(in.Protocols[i].Name) > nameBytesMax {
			return kerr.InconsistentGroupProtocol.Code
		}
		for j := range i {
			if in.Protocols[j].Name == in.Protocols[i].Name {
				return kerr.InconsistentGroupProtocol.Code
			}
		}
	}
	return 0
}

func refuseJoin(in *Join, member string, code int16, out *effect.Set) {
	reply(in.To, &effect.GroupJoined{Code: code, Generation: -1, Member: member}, out)
}

func (c *Coordinator) join(in *Join, out *effect.Set) {
	g := c.group(in.Group, in.Member == "")
	switch {
	case g == nil:
		refuseJoin(in, in.Member, kerr.UnknownMemberID.Code, out)
	case !c.hasRoom(g, in, g.placeOf(in)):
		out.Marks.Set(effect.MarkGroupFull)
		refuseJoin(in, "", kerr.GroupMaxSizeReached.Code, out)
	case !c.memory.room(joinBytes(in) - g.placeOf(in).size()):
		out.Marks.Set(effect.MarkGroupMemoryFull)
		refuseJoin(in, in.Member, kerr.CoordinatorNotAvailable.Code, out)
	case !g.supports(in.ProtocolType, in.Protocols):
		refuseJoin(in, in.Member, kerr.InconsistentGroupProtocol.Code, out)
	case in.Member == "" && in.Instance != "":
		c.joinStatic(g, in, out)
	case in.Member == "" && in.MemberIDRequired:
		c.giveOutID(g, in, out)
	case in.Member == "":
		c.addMember(g, in, c.newID(in.ClientID), out)
	case g.pending[in.Member] != nil && in.Instance == "":
		c.dropPending(g, g.pending[in.Member])
		c.addMember(g, in, in.Member, out)
	default:
		c.rejoin(g, in, out)
	}
}

// hasRoom reports whether a join fits group.max.size. While a round is open only those count who have come back to
// it: whoever comes too late finds it full.
func (c *Coordinator) hasRoom(g *group, in *Join, m *member) bool {
	if g.sizeBytes-m.size()+joinBytes(in) > groupBytesMax {
		return false
	}
	if g.state == PreparingRebalance {
		return m != nil && m.joining.waits || g.joiningCount < c.config.MembersMax
	}
	return m != nil || len(g.members) < c.config.MembersMax
}

// placeOf is the member whose place a join takes: its own, or that of its instance's last process; nil if none.
func (g *group) placeOf(in *Join) *member {
	if in.Member == "" && in.Instance != "" {
		return g.instances[in.Instance]
	}
	return g.members[in.Member]
}

// size is about what a member takes in memory; nobody takes nothing.
func (m *member) size() int {
	if m == nil {
		return 0
	}
	return m.sizeBytes
}

// giveOutID answers a first join with a member id to come back with, so that a client which gives up and tries
// again does not leave a member behind (KIP-394).
func (c *Coordinator) giveOutID(g *group, in *Join, out *effect.Set) {
	p := &pending{id: c.newID(in.ClientID)}
	p.timer.Owner = owner{kind: pendingTimer, group: g, pending: p}
	if g.pending == nil {
		g.pending = map[string]*pending{}
	}
	g.pending[p.id] = p
	c.memory.usedBytes += pendingBytes
	c.timers.Set(&p.timer, c.now+model.Time(in.SessionTimeoutMs)*millisecond)
	refuseJoin(in, p.id, kerr.MemberIDRequired.Code, out)
}

// dropPending forgets a member id that was given out.
func (c *Coordinator) dropPending(g *group, p *pending) {
	c.timers.Stop(&p.timer)
	delete(g.pending, p.id)
	c.memory.usedBytes -= pendingBytes
}

// addMember takes in a new member, and begins a round or joins the one that is open.
func (c *Coordinator) addMember(g *group, in *Join, id string, out *effect.Set) {
	m := &member{
		id: id, instance: in.Instance, clientID: in.ClientID, clientHost: in.ClientHost,
		sessionTimeoutMs: in.SessionTimeoutMs, rebalanceTimeoutMs: in.RebalanceTimeoutMs, protocols: in.Protocols, isNew: true,
		sizeBytes: joinBytes(in),
	}
	if g.state == PreparingRebalance && g.initial {
		g.memberAdded = true
	}
	if len(g.members) == 0 {
		g.protocolType = in.ProtocolType
	}
	g.add(m)
	g.parkJoin(m, in.To)
	c.timers.Set(&m.session, c.now+newMemberTimeout)
	note(g, effect.NoteMemberJoined, m.id, in.Reason, out)
	c.rebalance(g, "a member joined", out)
}

// check decides whether a request comes from a member. A static member that another process has taken the place
// of is told so for good (KIP-345).
func (g *group) check(id, instance string) (m *member, code int16) {
	if instance != "" {
		switch at := g.instances[instance]; {
		case at == nil:
			return nil, kerr.UnknownMemberID.Code
		case at.id != id:
			return nil, kerr.FencedInstanceID.Code
		}
	}
	if m = g.members[id]; m == nil {
		return nil, kerr.UnknownMemberID.Code
	}
	return m, 0
}

// rejoin takes in the join of a member.
func (c *Coordinator) rejoin(g *group, in *Join, out *effect.Set) {
	m, code := g.check(in.Member, in.Instance)
	switch {
	case code != 0:
		if code == kerr.FencedInstanceID.Code {
			out.Marks.Set(effect.MarkInstanceFenced)
		}
		refuseJoin(in, in.Member, code, out)
	case g.state == PreparingRebalance:
		c.rejoinRound(g, m, in, "", out)
	case g.state == CompletingRebalance && sameProtocols(m.protocols, in.Protocols):
		// It may not have received the answer: the generation is fixed, so it gets the same again.
		var roster []effect.GroupMember
		if m.id == g.leader {
			roster = g.roster()
		}
		c.touch(m)
		reply(in.To, g.joined(m, roster), out)
	case g.state == CompletingRebalance:
		c.rejoinRound(g, m, in, "a member joined again with other metadata", out)
	case g.state == Stable && m.id == g.leader:
		// The leader asks for a round when what it assigns from has changed, such as the partitions of a topic.
		c.rejoinRound(g, m, in, "the leader joined again", out)
	case g.state == Stable && !sameProtocols(m.protocols, in.Protocols):
		c.rejoinRound(g, m, in, "a member joined again with other metadata", out)
	case g.state == Stable:
		c.touch(m)
		reply(in.To, g.joined(m, nil), out)
	default:
		refuseJoin(in, in.Member, kerr.UnknownMemberID.Code, out)
	}
}

// rejoinRound lets a member wait for the end of the round, which it may begin.
func (c *Coordinator) rejoinRound(g *group, m *member, in *Join, why string, out *effect.Set) {
	c.failJoin(g, m, kerr.RebalanceInProgress.Code, out)
	g.update(m, in)
	g.parkJoin(m, in.To)
	c.rebalance(g, why, out)
}

// joinStatic takes in a static member without a member id: a new one, or one that was started again.
func (c *Coordinator) joinStatic(g *group, in *Join, out *effect.Set) {
	id := c.newID(in.Instance)
	m := g.instances[in.Instance]
	if m == nil {
		c.addMember(g, in, id, out)
		return
	}
	out.Marks.Set(effect.MarkStaticRejoin)
	r := &rejoin{in: in, member: m, id: id, leader: g.leader}
	if v := g.renamed(r); v != nil {
		// The new id must be durable before anybody hears of it: after a failover the old one would be valid
		// again, and the new one fenced for good (KAFKA-10284).
		c.writeGroup(g, decision{kind: decideRejoined, group: g, saved: v, rejoin: r}, out)
		return
	}
	c.cameBack(g, r, out)
}

// renamed is what the log says of a group, with a new id for a static member; nil if the log does not have it.
func (g *group) renamed(r *rejoin) *protocol.GroupMetadataValue {
	if g.saved == nil {
		return nil
	}
	v := *g.saved
	v.Members = slices.Clone(v.Members)
	at := slices.IndexFunc(v.Members, func(m protocol.GroupMetadataValueMemberMetadata) bool {
		return m.GroupInstanceID.Value == r.in.Instance
	})
	if at < 0 {
		return nil
	}
	m := &v.Members[at]
	if v.Leader.Value == m.MemberID {
		v.Leader.Value = r.id
	}
	m.MemberID, m.ClientID, m.ClientHost = r.id, r.in.ClientID, r.in.ClientHost
	m.SessionTimeout, m.RebalanceTimeout = r.in.SessionTimeoutMs, r.in.RebalanceTimeoutMs
	if said := offered(r.in.Protocols, v.Protocol.Value); said != nil {
		m.Subscription = said
	}
	return &v
}

// cameBack lets a static member go on under its new id. In a stable group its assignment stays what it is and nobody
// rebalances, unless it offers what changes the choice of the protocol, or wants other topics.
func (c *Coordinator) cameBack(g *group, r *rejoin, out *effect.Set) {
	stays := g.state == Stable && g.chooseWith(r.member, r.in) == g.protocol && !g.wantsOther(r.member, r.in)
	c.replace(g, r.member, r.in, r.id, out)
	if !stays {
		// In a round the leader may have been told of the old id, and would assign nothing to the new one.
		g.parkJoin(r.member, r.in.To)
		c.rebalance(g, "a static member came back", out)
		return
	}
	g.subscribed = g.subscriptions()
	answer := g.joined(r.member, nil)
	switch {
	case !r.in.CanSkipAssignment:
		// It is told of the leader of old, lest it believe that it must assign.
		answer.Leader = r.leader
	case g.leader == r.member.id:
		answer.SkipAssignment = true
		answer.Members = g.roster()
	}
	reply(r.in.To, answer, out)
}

// wantsOther reports whether a static member came back for other topics, which its assignment does not have. What
// else it says (what it owned, in which generation) differs whenever it was started again.
func (g *group) wantsOther(m *member, in *Join) bool {
	if g.protocolType != consumerType {
		return false
	}
	var before, now protocol.ConsumerProtocolSubscription
	if !readSubscription(g.metadata(m), &before) || !readSubscription(offered(in.Protocols, g.protocol), &now) {
		return false
	}
	slices.Sort(before.Topics)
	slices.Sort(now.Topics)
	return !slices.Equal(before.Topics, now.Topics)
}

// chooseWith is the protocol of the next generation if a member offered what it brings now.
func (g *group) chooseWith(m *member, in *Join) string {
	old := m.protocols
	g.offer(old, -1)
	m.protocols = in.Protocols
	g.offer(m.protocols, 1)
	chosen := g.choose()
	g.offer(m.protocols, -1)
	m.protocols = old
	g.offer(old, 1)
	return chosen
}

// replace gives a static member's place to its new process; what the old one waits for is fenced.
func (c *Coordinator) replace(g *group, m *member, in *Join, id string, out *effect.Set) {
	c.failJoin(g, m, kerr.FencedInstanceID.Code, out)
	c.failSync(m, kerr.FencedInstanceID.Code, out)
	note(g, effect.NoteMemberJoined, id, "takes the place of "+m.id, out)
	g.rename(m, id)
	g.update(m, in)
	c.touch(m)
}

// joined is the answer to a member of the generation in hand.
func (g *group) joined(m *member, roster []effect.GroupMember) *effect.GroupJoined {
	return &effect.GroupJoined{
		Generation: g.generation, ProtocolType: g.protocolType, Protocol: g.protocol, Leader: g.leader, Member: m.id, Members: roster,
	}
}

// failJoin answers a member's parked join with a code.
func (c *Coordinator) failJoin(g *group, m *member, code int16, out *effect.Set) {
	if !m.joining.waits {
		return
	}
	reply(m.joining.to, &effect.GroupJoined{Code: code, Generation: -1, Member: m.id}, out)
	m.joining = parked{}
	g.joiningCount--
}

// failSync answers a member's parked sync with a code.
func (c *Coordinator) failSync(m *member, code int16, out *effect.Set) {
	if !m.syncing.waits {
		return
	}
	reply(m.syncing.to, &effect.GroupSynced{Code: code}, out)
	m.syncing = parked{}
}

// touch begins a member's session anew.
func (c *Coordinator) touch(m *member) {
	c.timers.Set(&m.session, c.now+model.Time(m.sessionTimeoutMs)*millisecond)
}
