package group

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
)

// rebalance begins a round of joins, or completes the one that is open if nobody is missing any more.
func (c *Coordinator) rebalance(g *group, why string, out *effect.Set) {
	if g.state == PreparingRebalance {
		c.tryCompleteJoin(g, out)
		return
	}
	note(g, effect.NoteRebalancing, "", why, out)
	out.Marks.Set(effect.MarkRebalance)
	if g.state == CompletingRebalance {
		for _, m := range g.ordered {
			if m.syncing.waits {
				c.failSync(m, kerr.RebalanceInProgress.Code, out)
				c.touch(m)
			}
		}
	}
	c.timers.Stop(&g.syncTimer)
	g.initial = g.state == Empty
	g.state = PreparingRebalance
	timeout := g.rebalanceTimeout()
	if g.initial {
		// Others will probably come, too: a round for each of them would be dear.
		g.memberAdded = false
		g.initialLeft = max(0, timeout-c.config.InitialRebalanceDelay)
		c.timers.Set(&g.joinTimer, c.now+c.config.InitialRebalanceDelay)
		return
	}
	c.timers.Set(&g.joinTimer, c.now+timeout)
	c.tryCompleteJoin(g, out)
}

// tryCompleteJoin ends the round of joins if everybody has come.
func (c *Coordinator) tryCompleteJoin(g *group, out *effect.Set) {
	if g.state != PreparingRebalance || len(g.pending) > 0 || g.joiningCount < len(g.members) {
		return
	}
	if g.initial && len(g.members) > 0 {
		return // it waits for others
	}
	c.completeJoin(g, out)
}

// joinDue ends the round of joins because its time is over, unless an empty group still fills.
func (c *Coordinator) joinDue(g *group, out *effect.Set) {
	if g.initial && g.memberAdded && g.initialLeft > 0 {
		g.memberAdded = false
		delay := min(c.config.InitialRebalanceDelay, g.initialLeft)
		g.initialLeft -= delay
		c.timers.Set(&g.joinTimer, c.now+delay)
		return
	}
	c.completeJoin(g, out)
}

// completeJoin fixes the members of the next generation: those who came, and static members, who may come late.
func (c *Coordinator) completeJoin(g *group, out *effect.Set) {
	c.timers.Stop(&g.joinTimer)
	for i := len(g.ordered) - 1; i >= 0; i-- {
		if m := g.ordered[i]; !m.joining.waits && m.instance == "" {
			note(g, effect.NoteMemberExpired, m.id, "did not join the round in time", out)
			c.drop(g, m, 0, out)
		}
	}
	if len(g.members) > 0 && !g.electLeader() {
		// Only static members are left, none of whom has come: wait for them, or for their sessions to end.
		g.initial = false
		c.timers.Set(&g.joinTimer, c.now+max(g.rebalanceTimeout(), second))
		return
	}
	g.initial = false
	g.generation = nextGeneration(g.generation)
	if len(g.members) == 0 {
		c.becomeEmpty(g, out)
		return
	}
	g.protocol = g.choose()
	g.state = CompletingRebalance
	g.subscribed = g.subscriptions()
	note(g, effect.NoteGenerationBegun, "", "", out)
	roster := g.roster()
	for _, m := range g.ordered {
		m.isNew = false
		m.assignment = nil
		g.owes(m, true)
		c.touch(m)
		if !m.joining.waits {
			continue
		}
		var seen []effect.GroupMember
		if m.id == g.leader {
			seen = roster
		}
		reply(m.joining.to, g.joined(m, seen), out)
		m.joining = parked{}
		g.joiningCount--
	}
	c.timers.Set(&g.syncTimer, c.now+max(g.rebalanceTimeout(), millisecond))
}

// nextGeneration counts generations; after the last that fits comes the first again.
func nextGeneration(n int32) int32 {
	if n == 1<<31-1 {
		return 1
	}
	return n + 1
}

// electLeader sees to it that the leader has joined; false says that nobody has.
func (g *group) electLeader() bool {
	if m := g.members[g.leader]; m != nil && m.joining.waits {
		return true
	}
	for _, m := range g.ordered {
		if m.joining.waits {
			g.leader = m.id
			return true
		}
	}
	return false
}

// becomeEmpty ends a group's last generation. The log hears of it, so that its offsets' time begins to run;
// a group that the log knows nothing of is simply forgotten.
func (c *Coordinator) becomeEmpty(g *group, out *effect.Set) {
	g.state, g.protocol, g.leader = Empty, "", ""
	g.subscribed = subscriptions{}
	g.stateTimestamp, g.emptySince = c.wall, c.wall
	c.timers.Stop(&g.syncTimer)
	c.schedule(g, c.emptyDue(g))
	if g.saved == nil && len(g.offsets.byKey) == 0 {
		return
	}
	c.writeGroup(g, decision{kind: decideEmptied, group: g, saved: g.record(nil)}, out)
}

// drop removes a member, telling what it waits for with a code.
func (c *Coordinator) drop(g *group, m *member, code int16, out *effect.Set) {
	c.failJoin(g, m, code, out)
	c.failSync(m, code, out)
	c.timers.Stop(&m.session)
	g.remove(m)
}

// removeMember takes a member out of its group, which the others must hear of.
func (c *Coordinator) removeMember(g *group, m *member, why string, out *effect.Set) {
	c.drop(g, m, kerr.UnknownMemberID.Code, out)
	if g.state != Empty {
		c.rebalance(g, why, out)
	}
}

// sessionOver removes a member that was silent for too long. One that waits for us is not silent, unless it
// has joined for the first time.
func (c *Coordinator) sessionOver(g *group, m *member, out *effect.Set) {
	if !m.isNew && (m.joining.waits || m.syncing.waits) {
		return
	}
	out.Marks.Set(effect.MarkMemberExpired)
	note(g, effect.NoteMemberExpired, m.id, "was not heard of for its session timeout", out)
	c.removeMember(g, m, "a member's session ended", out)
}

// syncDue removes the members that never asked for their assignment, a leader that brings none among them.
func (c *Coordinator) syncDue(g *group, out *effect.Set) {
	if g.syncOwed == 0 || g.state != CompletingRebalance && g.state != Stable {
		return
	}
	for i := len(g.ordered) - 1; i >= 0; i-- {
		if m := g.ordered[i]; m.syncOwed {
			note(g, effect.NoteMemberExpired, m.id, "did not ask for its assignment in time", out)
			c.drop(g, m, kerr.UnknownMemberID.Code, out)
		}
	}
	c.rebalance(g, "members did not ask for their assignments", out)
}
