package group

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// expireStep is how many groups one Tick looks at.
const expireStep = 200

// schedule sees to it that a group is looked at for expired offsets no later than at a time of day. Looking too
// early costs a little, so times are only ever moved forward here.
func (c *Coordinator) schedule(g *group, at model.Timestamp) {
	if !g.due.IsSet() || g.due.At() > model.Time(at) {
		c.expiry.Set(&g.due, model.Time(at))
	}
}

func (c *Coordinator) scheduleCommitted(g *group, v *committed) {
	at := v.commitTimestamp + model.Timestamp(c.config.OffsetsRetentionMs)
	if v.expireTimestamp != model.NoTimestamp {
		at = v.expireTimestamp
	}
	c.schedule(g, at)
}

// emptyDue is when a group that has just become empty is to be looked at.
func (c *Coordinator) emptyDue(g *group) model.Timestamp {
	if len(g.offsets.byKey) == 0 {
		return c.wall
	}
	return g.emptySince + model.Timestamp(c.config.OffsetsRetentionMs)
}

// expire looks at the groups that may have something expired.
func (c *Coordinator) expire(out *effect.Set) {
	c.timers.Set(&c.expiryTimer, c.now+c.config.ExpiryInterval)
	for range expireStep {
		due := c.expiry.Due(model.Time(c.wall))
		if due == nil {
			return
		}
		c.expireGroup(due.Owner, out)
	}
	c.timers.Set(&c.expiryTimer, c.now+millisecond) // there may be more
}

// expireGroup removes what has expired of a group, and the group itself if nothing is left. Offsets of a group
// with members never expire by age alone, however old (KAFKA-4682, KIP-211): only those of topics that none of
// them wants any more.
func (c *Coordinator) expireGroup(g *group, out *effect.Set) {
	retention := model.Timestamp(c.config.OffsetsRetentionMs)
	if g.writes > 0 || g.commitsInFlight > 0 {
		c.schedule(g, c.wall+1) // the next look
		return
	}
	var gone []*entry
	next := c.wall + retention
	for _, e := range g.offsets.ordered {
		at, expires := c.expiresAt(g, e)
		switch {
		case !expires:
		case at <= c.wall:
			gone = append(gone, e)
		default:
			next = min(next, at)
		}
	}
	all := g.state == Empty && len(gone) == len(g.offsets.ordered) && len(g.pending) == 0
	if len(gone) > 0 || all {
		c.schedule(g, next) // if the removal is refused
		c.removeKeys(g, gone, all, expired{g, len(gone), "older than the retention"}, out)
		c.forgetEmpty(g.id)
		return
	}
	c.schedule(g, next)
}

// expiresAt is when an offset expires as things are; false says that it does not.
func (c *Coordinator) expiresAt(g *group, e *entry) (model.Timestamp, bool) {
	v := &e.committed
	at := v.commitTimestamp
	switch {
	case g.state == Empty:
		if g.protocolType != "" {
			at = max(at, g.emptySince)
		}
	case g.state == Stable && g.subscribed.known && !g.subscribed.to(e.key.topic):
	default:
		return 0, false
	}
	if v.expireTimestamp != model.NoTimestamp {
		return v.expireTimestamp, true
	}
	return at + model.Timestamp(c.config.OffsetsRetentionMs), true
}

// expired hears how the removal of what nobody needs ended; if it was refused, the next look tries again.
type expired struct {
	group *group
	count int
	why   string
}

func (x expired) removed(code int16, out *effect.Set) {
	if code == 0 && x.count > 0 {
		out.Marks.Set(effect.MarkOffsetsExpired)
		out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteOffsetsExpired, Group: x.group.id, Count: int64(x.count), Detail: x.why})
	}
}
