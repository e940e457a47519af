package group

import (
	"errors"
	"fmt"

	"github.com/weirmq/weir/core/model"
)

// Loading reports whether the log is still being read.
func (c *Coordinator) Loading() bool { return !c.loading.done && !c.loading.failed }

// GroupCount is how many groups there are.
func (c *Coordinator) GroupCount() int { return len(c.order) }

// ParkedCount is how many joins and syncs wait for the others of their round.
func (c *Coordinator) ParkedCount() int {
	n := 0
	for _, g := range c.order {
		for _, m := range g.ordered {
			n += bit(m.joining.waits) + bit(m.syncing.waits)
		}
	}
	return n
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Check verifies the invariants against the bounds of the partition; it walks everything.
func (c *Coordinator) Check(highWatermark, logEndOffset model.Offset) error {
	for _, err := range []error{c.timers.Check(), c.expiry.Check(), c.writer.Check(highWatermark, logEndOffset), c.checkLog()} {
		if err != nil {
			return err
		}
	}
	if len(c.groups) != len(c.order) {
		return fmt.Errorf("%d groups by id, %d in order", len(c.groups), len(c.order))
	}
	writes, commits := c.inFlight()
	for i, g := range c.order {
		if c.groups[g.id] != g || g.place != i {
			return fmt.Errorf("group %q is filed wrongly", g.id)
		}
		if g.writes != writes[g] || g.commitsInFlight != commits[g] {
			return fmt.Errorf("group %q counts %d writes and %d commits in flight; there are %d and %d", g.id, g.writes, g.commitsInFlight, writes[g], commits[g])
		}
		for _, err := range []error{g.checkMembers(), g.checkState(), c.checkOffsets(g)} {
			if err != nil {
				return fmt.Errorf("group %q in %v: %w", g.id, g.state, err)
			}
		}
	}
	return nil
}

func (c *Coordinator) inFlight() (writes, commits map[*group]int) {
	writes, commits = map[*group]int{}, map[*group]int{}
	for d := range c.writer.Parked {
		switch d.kind {
		case decideCommitted:
			commits[d.group]++
		case decideRewritten:
		case decideAssigned, decideEmptied, decideRejoined, decideRemoved:
			writes[d.group]++
		}
	}
	return writes, commits
}

// checkLog verifies the order of keys, and that it holds every key which is live.
func (c *Coordinator) checkLog() error {
	count, bytes := 0, int64(0)
	for e := c.log.oldest; e != nil; e = e.newer {
		if e.newer == nil && c.log.newest != e || e.newer != nil && (e.newer.older != e || e.newer.at <= e.at) {
			return fmt.Errorf("the order of live keys is broken at offset %d", e.at)
		}
		count, bytes = count+1, bytes+int64(e.sizeBytes)
	}
	if bytes != c.log.liveBytes {
		return fmt.Errorf("live keys take %d bytes and are counted as %d", bytes, c.log.liveBytes)
	}
	for _, g := range c.order {
		count -= bit(g.saved != nil)
		for _, e := range g.offsets.ordered {
			count -= bit(e.at != model.NoOffset)
		}
	}
	if count != 0 {
		return fmt.Errorf("the order of live keys has %d more than there are", count)
	}
	return nil
}

func (g *group) checkMembers() error {
	joining, owed, size, offered := 0, 0, 0, map[string]int{}
	for i, m := range g.ordered {
		if m.place != i || g.members[m.id] != m || m.instance != "" && g.instances[m.instance] != m {
			return fmt.Errorf("member %q is filed wrongly", m.id)
		}
		if !m.session.IsSet() && !m.joining.waits && !m.syncing.waits && !g.putOff(m) {
			return fmt.Errorf("member %q neither waits nor has a session that ends", m.id)
		}
		joining, owed, size = joining+bit(m.joining.waits), owed+bit(m.syncOwed), size+m.sizeBytes
		for _, p := range m.protocols {
			offered[p.Name]++
		}
	}
	switch {
	case len(g.members) != len(g.ordered):
		return fmt.Errorf("%d members by id, %d in order", len(g.members), len(g.ordered))
	case joining != g.joiningCount || owed != g.syncOwed || size != g.sizeBytes:
		return fmt.Errorf("%d of %d join, %d of %d owe a sync, %d of %d bytes", joining, g.joiningCount, owed, g.syncOwed, size, g.sizeBytes)
	case len(offered) != len(g.offered):
		return fmt.Errorf("%d protocols are offered, %d are counted", len(offered), len(g.offered))
	}
	for _, m := range g.ordered {
		for _, p := range m.protocols {
			if offered[p.Name] != g.offered[p.Name] {
				return fmt.Errorf("protocol %q is offered by %d, counted as %d", p.Name, offered[p.Name], g.offered[p.Name])
			}
		}
	}
	return nil
}

// putOff reports whether the end of a member's session waits in the queue.
func (g *group) putOff(m *member) bool {
	for _, op := range g.queue {
		if o, ok := op.(*owner); ok && o.kind == sessionTimer && o.member == m {
			return true
		}
	}
	return false
}

// due reports whether a timer of the group runs or waits in the queue.
func (g *group) isDue(kind timerKind) bool {
	if kind == joinTimer && g.joinTimer.IsSet() || kind == syncTimer && g.syncTimer.IsSet() {
		return true
	}
	for _, op := range g.queue {
		if o, ok := op.(*owner); ok && o.kind == kind {
			return true
		}
	}
	return false
}

func (g *group) checkState() error {
	waitForSync := 0
	for _, m := range g.ordered {
		waitForSync += bit(m.syncing.waits)
	}
	if len(g.queue) > 0 && !g.blocks(g.queue[0]) {
		return errors.New("operations wait for nothing")
	}
	if g.joiningCount > 0 && g.state != PreparingRebalance || waitForSync > 0 && g.state != CompletingRebalance {
		return fmt.Errorf("%d joins and %d syncs wait", g.joiningCount, waitForSync)
	}
	if len(g.members) > 0 && g.members[g.leader] == nil {
		return fmt.Errorf("the leader %q is no member", g.leader)
	}
	switch g.state {
	case Empty:
		if len(g.members) > 0 || g.joinTimer.IsSet() || g.syncTimer.IsSet() {
			return fmt.Errorf("%d members, or a timer runs", len(g.members))
		}
		if len(g.pending)+len(g.offsets.ordered)+len(g.queue)+g.writes == 0 && g.saved == nil {
			return errors.New("nothing is left of it, and it is still there")
		}
	case PreparingRebalance:
		if !g.isDue(joinTimer) {
			return errors.New("the round of joins has no end")
		}
		if !g.initial && len(g.pending) == 0 && g.joiningCount == len(g.members) {
			return errors.New("everybody has joined, and the round goes on")
		}
	case CompletingRebalance, Stable:
		switch {
		case len(g.members) == 0 || g.protocol == "" || g.generation <= 0:
			return fmt.Errorf("%d members, protocol %q, generation %d", len(g.members), g.protocol, g.generation)
		case g.syncOwed > 0 && !g.isDue(syncTimer):
			return fmt.Errorf("%d members owe a sync, and nobody waits for it", g.syncOwed)
		case g.state == CompletingRebalance && g.syncOwed == 0 && g.writes == 0:
			return errors.New("everybody asked for an assignment, and none is being written")
		}
	case Dead:
		return errors.New("it is still there")
	}
	return nil
}

func (c *Coordinator) checkOffsets(g *group) error {
	if len(g.offsets.byKey) != len(g.offsets.ordered) {
		return fmt.Errorf("%d offsets by key, %d in order", len(g.offsets.byKey), len(g.offsets.ordered))
	}
	live := g.saved != nil
	for i, e := range g.offsets.ordered {
		if e.place != i || g.offsets.byKey[e.key] != e || e.group != g {
			return fmt.Errorf("the offset of %v is filed wrongly", e.key)
		}
		if e.at == model.NoOffset && e.inFlight == 0 {
			return fmt.Errorf("nothing is committed of %v, and nothing in flight", e.key)
		}
		live = live || e.at != model.NoOffset
	}
	if live && c.loading.done && !g.due.IsSet() {
		return errors.New("nobody will look whether it has expired")
	}
	return nil
}
