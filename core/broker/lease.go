package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// lease is how long this broker may serve what it leads without hearing that it still does.
//
//	          heartbeat answered: caught up, not fenced       nothing heard for leaseMax
//	none ───────────────────────────────────────────► held ◄────────────────────────────► over
//
// A leader that is cut off does not learn that another leads by now. It cannot acknowledge anything with acks=all, as those
// in sync go by the new epoch; but it could tell readers for ever what the log was. So it stops, a while after the
// controller may have given its partitions to others: while the lease lasts, what it tells may be old by as much.
//
// That the controller hears it is not enough. The metadata comes by other ways than heartbeats, and who is alive can be
// relieved, too: by an operator, or for the sake of balance. So an answer counts only if it says that this broker has
// caught up, which it has not until it has every metadata in which others were given what it led.
//
// Followers go on fetching from it: what they are given is not shown to anybody until a leader is sure of it.
type lease struct {
	askedAt    model.Time // when the heartbeat that is under way was sent
	answeredAt model.Time // when the last one was sent whose answer says that this broker has caught up, or it asked to be registered
	heardAt    model.Time // when the last one was sent whose answer says that this broker is counted on; 0: none yet
	over       bool
}

// leaseMax is broker.session.timeout.ms, after which the controller takes a silent broker for dead, and the time in which
// another controller is elected, so that no leader stops serving only because the controller died.
func (b *Broker) leaseMax() model.Time {
	return b.config.Controller.SessionTimeout + b.electionMax()
}

// electionMax is about how long it takes at most until another leads the quorum.
func (b *Broker) electionMax() model.Time {
	q := &b.config.Quorum.Log.Quorum
	return 2 * model.Time(q.ElectionTicks) * q.TickInterval
}

// leases reports whether there is anybody who could give what this broker leads to others, unheard. Who is configured as the
// only voter need not be it any more.
func (b *Broker) leases() bool {
	if v := b.voter; v != nil && v.log != nil && v.log.Next() > 0 {
		return !v.log.Alone()
	}
	return b.voter == nil || b.otherVoters() > 0
}

// cutOff reports whether the lease is over: clients are sent away.
func (b *Broker) cutOff() bool {
	return b.self.lease.heardAt != 0 && b.leases() && b.now-b.self.lease.heardAt > b.leaseMax()
}

// doubted reports whether another may lead a partition that is led here: the controller may have taken this broker for silent since it
// was heard, or gave it the partition.
func (b *Broker) doubted(p *partition) bool {
	heardAt := b.self.lease.heardAt
	return heardAt != 0 && b.leases() && b.now-max(heardAt, p.toldAt) > b.config.Controller.SessionTimeout
}

// vouches reports whether what this node says as the controller counts: no others can have elected another yet. It is itself the
// last to know that, whether it was cut off, or stood still.
func (b *Broker) vouches() bool {
	v := b.voter
	return v != nil && v.term != 0 && v.log.Undisputed(b.now)
}

// heard takes in that the controller answered the heartbeat under way, and that this broker has caught up.
func (b *Broker) heard(fenced bool, out *effect.Set) {
	l := &b.self.lease
	if l.answeredAt = l.askedAt; !fenced {
		b.renew(out)
	}
}

// renew begins the lease anew.
func (b *Broker) renew(out *effect.Set) {
	l := &b.self.lease
	l.heardAt = max(l.heardAt, l.answeredAt)
	if l.over && !b.cutOff() {
		l.over = false
		out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteServesAgain})
	}
}

// tickLease ends the lease. Who waits at what is led here is sent away.
func (b *Broker) tickLease(out *effect.Set) {
	l := &b.self.lease
	if l.over || !b.cutOff() {
		return
	}
	l.over = true
	out.Marks.Set(effect.MarkLeaseOver)
	out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteCutOff, Count: int64(b.now-l.heardAt) / 1e6})
	for _, p := range b.partitions.order {
		if p.replica.Leads() {
			b.wake(p, out)
		}
	}
}

// leaseDeadline is when tickLease has something to do.
func (b *Broker) leaseDeadline() model.Time {
	if l := &b.self.lease; !l.over && l.heardAt != 0 && b.leases() {
		return l.heardAt + b.leaseMax() + 1
	}
	return 0
}

// checkServes decides whether a client that takes this broker for a partition's leader may go on.
func (b *Broker) checkServes(p *partition, epoch model.LeaderEpoch) (code int16) {
	switch {
	case p.replica.Offline() != "":
		return kerr.KafkaStorageError.Code
	case b.cutOff() && p.replica.Leads():
		return kerr.NotLeaderForPartition.Code
	}
	return p.replica.CheckLeads(epoch)
}
