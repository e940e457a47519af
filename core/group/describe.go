package group

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
)

// Describe is one group as it stands. A group that is not there is described as dead.
func (c *Coordinator) Describe(id string) effect.GroupDescribed {
	out := effect.GroupDescribed{Group: id, Code: c.refusal()}
	if !validID(id, true) {
		out.Code = kerr.InvalidGroupID.Code
	}
	if out.Code != 0 {
		return out
	}
	g := c.groups[id]
	if g == nil {
		out.State = Dead.String()
		return out
	}
	out.State, out.ProtocolType = g.state.String(), g.protocolType
	if g.state == Stable {
		out.Protocol = g.protocol
	}
	out.Members = make([]effect.MemberDescribed, 0, len(g.ordered))
	for _, m := range g.ordered {
		d := effect.MemberDescribed{Member: m.id, Instance: m.instance, ClientID: m.clientID, ClientHost: m.clientHost}
		if g.state == Stable {
			d.Metadata, d.Assignment = g.metadata(m), m.assignment
		}
		out.Members = append(out.Members, d)
	}
	return out
}

// List appends the groups in one of some states, and of one of some types, to an answer. No states mean all, and so
// do no types.
func (c *Coordinator) List(states, types []string, to *effect.GroupsListed) {
	if code := c.refusal(); code != 0 {
		to.Code = code
		return
	}
	if !listed(types, classicType) {
		return
	}
	for _, g := range c.order {
		if listed(states, g.state.String()) {
			to.Groups = append(to.Groups, effect.GroupListed{
				Group: g.id, ProtocolType: g.protocolType, State: g.state.String(), Type: classicType,
			})
		}
	}
}

// classicType is how Kafka calls the protocol that members agree among themselves in (KIP-848 has the other).
const classicType = "classic"

func listed(wanted []string, is string) bool {
	for _, w := range wanted {
		if strings.EqualFold(w, is) {
			return true
		}
	}
	return len(wanted) == 0
}
