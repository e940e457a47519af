package replica

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Leadership is what the controller has committed about a partition that this node leads.
type Leadership struct {
	Epoch      model.LeaderEpoch
	Assignment Assignment
	Config     FollowersConfig
}

// Lead begins a leadership, or goes on with it: only who is in sync may have changed. It reports whether the high
// watermark moved.
//
// A leader that is told of a new epoch of its own keeps what waits: its log is what it was.
func (r *Replica) Lead(l Leadership, now model.Time, out *effect.Set) (advanced bool) {
	switch {
	case r.offline != "" || l.Epoch < r.epoch:
		return false
	case r.cutting:
		r.next = &l
		return false
	case r.role == leading && l.Epoch == r.epoch:
		moved := r.followers.Assigned(l.Assignment, now)
		return r.advance(r.followers.Configure(l.Config.InSyncMin) || moved, out)
	}
	r.role, r.epoch, r.leader = leading, l.Epoch, l.Config.Self
	before := r.highWatermark
	r.followers = NewFollowers(l.Config, l.Assignment, LeaderStart{
		End: r.state.EndOffset(), Durable: r.durable, HighWatermark: r.highWatermark,
	}, now)
	r.followers.Deleted(r.state.StartOffset())
	return r.advance(r.followers.HighWatermark() > before, out)
}

// Leads reports whether this replica leads.
func (r *Replica) Leads() bool { return r.role == leading && r.offline == "" }

// KnowsEnd reports whether the high watermark has got to where this leadership began. Before that it is lower than what
// others may have shown of the log, and nobody may be told that the log ends there (KIP-207).
func (r *Replica) KnowsEnd() bool { return r.Leads() && r.highWatermark >= r.followers.epochStart }

// Followers is what the leader knows of the others; nil while this replica does not lead. Calls that move the high
// watermark must go through the Replica.
func (r *Replica) Followers() *Followers {
	if !r.Leads() {
		return nil
	}
	return r.followers
}

// FetchedBy takes in another replica's fetch: it has the log durably up to the offset. A code refuses it.
func (r *Replica) FetchedBy(node model.NodeID, brokerEpoch model.BrokerEpoch, offset model.Offset, now model.Time, out *effect.Set) (advanced bool, code int16) {
	invariant.Check(r.Leads(), "only a leader is fetched from")
	if offset > r.state.EndOffset() {
		return false, kerr.OffsetOutOfRange.Code
	}
	moved, ok := r.followers.Fetched(node, brokerEpoch, offset, now)
	if !ok {
		return false, kerr.UnknownLeaderEpoch.Code
	}
	return r.advance(moved, out), 0
}

// Refused says that a proposal will never be committed. It reports whether the high watermark moved.
func (r *Replica) Refused(out *effect.Set) (advanced bool) {
	return r.Leads() && r.advance(r.followers.Refused(), out)
}

// Alive says whether the controller has a node fenced.
func (r *Replica) Alive(node model.NodeID, alive bool) {
	if r.Leads() {
		r.followers.Alive(node, alive)
	}
}

// Assigned takes in what the controller has answered to a proposal. It reports whether the high watermark moved.
func (r *Replica) Assigned(a Assignment, now model.Time, out *effect.Set) (advanced bool) {
	return r.Leads() && r.advance(r.followers.Assigned(a, now), out)
}
