package group

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
)

// Resign ends a coordinator whose node does not lead the partition any more: whoever waits is sent to look for the
// next one. What it had written may or may not stay; the next coordinator finds out by loading. It answers nothing
// but NOT_COORDINATOR from then on.
func (c *Coordinator) Resign(now model.Time, out *effect.Set) {
	c.advance(now, c.wall)
	code := kerr.NotCoordinator.Code
	c.isResigned = true
	for _, d := range c.writer.Refused(model.NoOffset) {
		c.end(&d)
		c.undo(&d, code, out)
	}
	for _, g := range c.order {
		for _, m := range g.ordered {
			c.failJoin(g, m, code, out)
			c.failSync(m, code, out)
		}
		queue := g.queue
		g.queue = nil
		for _, op := range queue {
			c.refuse(op, code, out)
		}
	}
	c.memory.usedBytes -= c.log.liveBytes
	for e := c.log.oldest; e != nil; e = e.newer {
		c.memory.usedBytes -= entryBytes
	}
	for _, g := range c.order {
		c.memory.usedBytes -= int64(g.sizeBytes) + int64(len(g.pending))*pendingBytes
	}
	c.groups, c.order, c.log = map[string]*group{}, nil, keyLog{memory: c.memory, markBytes: c.log.markBytes}
	for t := c.timers.Due(maxTime); t != nil; t = c.timers.Due(maxTime) {
		continue
	}
	for g := c.expiry.Due(maxTime); g != nil; g = c.expiry.Due(maxTime) {
		continue
	}
}

const maxTime model.Time = 1<<63 - 1

// refuse answers an operation that was put off and will not be performed.
func (c *Coordinator) refuse(op operation, code int16, out *effect.Set) {
	switch op := op.(type) {
	case *Join:
		refuseJoin(op, op.Member, code, out)
	case *Sync:
		reply(op.To, &effect.GroupSynced{Code: code}, out)
	case *Leave:
		reply(op.To, &effect.GroupLeft{Code: code}, out)
	case *Commit:
		refuseCommit(op, code, out)
	case *DeleteOffsets:
		reply(op.To, &effect.OffsetsDeleted{Code: code}, out)
	case *deletion:
		op.removed(code, out)
	case *owner:
		// A timer; nobody waits for it.
	default:
		invariant.Checkf(false, "an operation of unknown kind: %T", op)
	}
}
