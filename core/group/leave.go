package group

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// Leave takes in a LeaveGroup request.
func (c *Coordinator) Leave(now model.Time, in *Leave, out *effect.Set) {
	c.advance(now, in.Wall)
	code := c.refusal()
	if !validID(in.Group, false) {
		code = kerr.InvalidGroupID.Code
	}
	if code != 0 {
		reply(in.To, &effect.GroupLeft{Code: code}, out)
		return
	}
	c.submit(in, out)
}

func (c *Coordinator) leave(in *Leave, out *effect.Set) {
	g := c.groups[in.Group]
	answer := &effect.GroupLeft{Members: make([]effect.MemberLeft, 0, len(in.Members))}
	var gone []*member
	for i := range in.Members {
		l := &in.Members[i]
		m, code := c.leaving(g, l, out)
		if m != nil {
			// It is marked by being out of the group; the round begins once for all who leave together.
			note(g, effect.NoteMemberLeft, m.id, l.Reason, out)
			c.drop(g, m, kerr.UnknownMemberID.Code, out)
			gone = append(gone, m)
		}
		answer.Members = append(answer.Members, effect.MemberLeft{Member: l.Member, Instance: l.Instance, Code: code})
	}
	reply(in.To, answer, out)
	switch {
	case g == nil:
	case len(gone) > 0 && (g.state == Stable || g.state == CompletingRebalance):
		c.rebalance(g, "a member left", out)
	case g.state == PreparingRebalance:
		c.tryCompleteJoin(g, out)
	}
}

// leaving finds who leaves: nil if it is nobody, or only a member id that was given out.
func (c *Coordinator) leaving(g *group, l *LeavingMember, _ *effect.Set) (*member, int16) {
	if g == nil {
		return nil, kerr.UnknownMemberID.Code
	}
	if l.Member == "" && l.Instance != "" {
		if m := g.instances[l.Instance]; m != nil {
			return m, 0
		}
		return nil, kerr.UnknownMemberID.Code
	}
	if p := g.pending[l.Member]; p != nil && l.Instance == "" {
		c.dropPending(g, p)
		return nil, 0
	}
	return g.check(l.Member, l.Instance)
}
