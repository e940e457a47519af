package group

import (
	"github.com/weirmq/weir/core/coord"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// sweep removes offsets of topics that are gone, a few groups at a time. Nobody is shown them meanwhile: a commit
// names its topic by id.
type sweep struct {
	timer coord.Timer[owner]
	next  int  // of Coordinator.order
	again bool // a group was passed over because it was being written
}

// sweepStep is how many groups one step looks at.
const sweepStep = 200

// sweepRetry is how long to wait for groups that were being written.
const sweepRetry = 100 * millisecond

// TopicsDeleted takes in that topics were deleted.
func (c *Coordinator) TopicsDeleted(now model.Time, out *effect.Set) {
	c.advance(now, c.wall)
	if c.loading.done {
		c.beginSweep(c.now)
	}
}

func (c *Coordinator) beginSweep(at model.Time) {
	c.sweep.next, c.sweep.again = 0, false
	if len(c.order) > 0 {
		c.timers.Set(&c.sweep.timer, at)
	}
}

// sweepOn looks at the next groups. Groups that come or go meanwhile change places; one that is missed is only kept
// until the next sweep.
func (c *Coordinator) sweepOn(out *effect.Set) {
	s := &c.sweep
	for range sweepStep {
		if s.next >= len(c.order) {
			if s.again {
				c.beginSweep(c.now + sweepRetry)
			}
			return
		}
		g := c.order[s.next]
		s.next++
		if g.writes > 0 || g.commitsInFlight > 0 {
			s.again = true
			continue
		}
		c.sweepGroup(g, out)
	}
	c.timers.Set(&s.timer, c.now+1)
}

func (c *Coordinator) sweepGroup(g *group, out *effect.Set) {
	var gone []*entry
	for _, e := range g.offsets.ordered {
		if id, exists := c.topics.TopicID(e.key.topic); !exists || !e.committed.isOf(id) {
			gone = append(gone, e)
		}
	}
	if len(gone) > 0 {
		c.removeKeys(g, gone, false, expired{g, len(gone), "their topics were deleted"}, out)
	}
}
