package group

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// Sync takes in a SyncGroup request.
func (c *Coordinator) Sync(now model.Time, in *Sync, out *effect.Set) {
	c.advance(now, in.Wall)
	code := c.refusal()
	switch {
	case !validID(in.Group, false):
		code = kerr.InvalidGroupID.Code
	case code == kerr.CoordinatorLoadInProgress.Code:
		// The round is lost with the coordinator that it was in: the member has to join again. Older clients do
		// not expect to be told that the coordinator is loading.
		code = kerr.RebalanceInProgress.Code
	}
	if code != 0 {
		reply(in.To, &effect.GroupSynced{Code: code}, out)
		return
	}
	c.submit(in, out)
}

func (c *Coordinator) sync(in *Sync, out *effect.Set) {
	m, code := c.syncCheck(in)
	if code != 0 {
		reply(in.To, &effect.GroupSynced{Code: code}, out)
		return
	}
	g := c.groups[in.Group]
	g.owes(m, false)
	if g.state == Stable {
		if g.syncOwed == 0 {
			c.timers.Stop(&g.syncTimer)
		}
		c.touch(m)
		reply(in.To, g.synced(m), out)
		return
	}
	c.failSync(m, kerr.RebalanceInProgress.Code, out)
	m.syncing = parked{to: in.To, waits: true}
	if m.id == g.leader {
		c.writeAssignment(g, in, out)
	}
}

func (c *Coordinator) syncCheck(in *Sync) (*member, int16) {
	g := c.groups[in.Group]
	if g == nil {
		return nil, kerr.UnknownMemberID.Code
	}
	m, code := g.check(in.Member, in.Instance)
	switch {
	case code != 0:
		return nil, code
	case in.Generation != g.generation:
		return nil, kerr.IllegalGeneration.Code
	case in.ProtocolType != "" && in.ProtocolType != g.protocolType, in.Protocol != "" && g.state != PreparingRebalance && in.Protocol != g.protocol:
		return nil, kerr.InconsistentGroupProtocol.Code
	case g.state == PreparingRebalance:
		return nil, kerr.RebalanceInProgress.Code
	case g.state == Empty:
		return nil, kerr.UnknownMemberID.Code
	}
	return m, 0
}

func (g *group) synced(m *member) *effect.GroupSynced {
	return &effect.GroupSynced{ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: m.assignment}
}

// writeAssignment makes the leader's assignment durable; the members hear of it then.
func (c *Coordinator) writeAssignment(g *group, in *Sync, out *effect.Set) {
	given := make(map[string][]byte, len(in.Assignments))
	for i := range in.Assignments {
		given[in.Assignments[i].Member] = in.Assignments[i].Assignment
	}
	g.stateTimestamp = c.wall
	c.writeGroup(g, decision{kind: decideAssigned, group: g, saved: g.record(given)}, out)
}

// assigned completes a round: its assignment is durable.
func (c *Coordinator) assigned(g *group, out *effect.Set) {
	g.state = Stable
	for i := range g.saved.Members {
		s := &g.saved.Members[i]
		g.members[s.MemberID].assignment = s.Assignment
	}
	for _, m := range g.ordered {
		if m.syncing.waits {
			reply(m.syncing.to, g.synced(m), out)
			m.syncing = parked{}
			c.touch(m)
		}
	}
	if g.syncOwed == 0 {
		c.timers.Stop(&g.syncTimer)
	}
	c.schedule(g, c.wall+model.Timestamp(c.config.OffsetsRetentionMs))
	note(g, effect.NoteGroupStable, "", "", out)
}

// notAssigned takes back a decision that the log refused: the leader may bring its assignment again.
func (c *Coordinator) notAssigned(g *group, code int16, out *effect.Set) {
	if m := g.members[g.leader]; m != nil {
		c.failSync(m, code, out)
		g.owes(m, true)
		c.touch(m)
	}
}
