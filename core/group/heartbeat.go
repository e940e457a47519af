package group

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// Heartbeat takes in a Heartbeat request. It never waits.
func (c *Coordinator) Heartbeat(now model.Time, in *Heartbeat, out *effect.Set) {
	c.advance(now, c.wall)
	code := c.refusal()
	switch {
	case !validID(in.Group, false):
		code = kerr.InvalidGroupID.Code
	case code == kerr.CoordinatorLoadInProgress.Code:
		code = 0 // nothing is known yet, and the member is not to blame
	case code == 0:
		code = c.heartbeat(in)
	}
	reply(in.To, &effect.HeartbeatAnswered{Code: code}, out)
}

func (c *Coordinator) heartbeat(in *Heartbeat) int16 {
	g := c.groups[in.Group]
	if g == nil {
		return kerr.UnknownMemberID.Code
	}
	m, code := g.check(in.Member, in.Instance)
	switch {
	case code != 0:
		return code
	case in.Generation != g.generation:
		return kerr.IllegalGeneration.Code
	}
	c.touch(m)
	if g.state == PreparingRebalance {
		return kerr.RebalanceInProgress.Code
	}
	return 0
}
