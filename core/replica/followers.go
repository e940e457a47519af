package replica

import (
	"slices"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
)

// Followers is what a partition's leader knows of the other replicas: how far each has the log durably, who is in
// sync, and how far the log may therefore be read.
//
//	                fetches, up to the high watermark            the controller commits
//	out of sync ───────────────────────────────────────► joining ─────────────────────► in sync
//	     ▲                                                  │                              │
//	     │◄──────────── the controller refuses ─────────────┘        not caught up for     │
//	     │                                                           replica.lag.time.max.ms,
//	     │                                                           or silent             │
//	     └──────────── the controller commits ◄─────────────── leaving ◄───────────────────┘
//
// The high watermark waits for everybody who is in sync, who may be by now for all that the leader knows (joining, and
// doubted: the maximal ISR of KIP-497), and who is leaving until that is committed. It stands still while fewer than
// min.insync.replicas are in sync (KIP-966), and it never goes back while the leader leads.
//
// A follower that is caught up costs nothing: no deadline is its own until something is appended.
type Followers struct {
	config     FollowersConfig
	assignment Assignment
	epochStart model.Offset // where this leadership began: who has not got so far is not in sync
	all        []follower   // by ascending node, without the leader
	deleted    model.Offset // nobody may lead whose log has anything from before it
	durable    model.Offset // the leader's own
	end        model.Offset // the leader's log end offset, durable or not
	watermark  model.Offset
	proposed   []model.NodeID // in sync, as was asked of the controller; nil if nothing was
	asked      bool           // the proposal is on its way
	// doubted are in proposals that nobody answered: until the partition epoch that they rest on has passed, they may have been
	// committed, or may yet be.
	doubted []model.NodeID
}

// FollowersConfig is what the leader goes by.
type FollowersConfig struct {
	Self model.NodeID
	// LagTimeMax is how long a follower may be behind (replica.lag.time.max.ms).
	LagTimeMax model.Time
	// SilentTimeMax is how long a follower may ask for nothing while there is something for it: one that is only slow asks.
	// 0: as long as it may be behind.
	SilentTimeMax model.Time
	// InSyncMin is min.insync.replicas.
	InSyncMin int
}

// Assignment is what the controller has committed about a partition.
type Assignment struct {
	Replicas       []model.NodeID
	ISR            []model.NodeID
	PartitionEpoch model.PartitionEpoch // counts the changes of everything here
}

// follower is one other replica.
type follower struct {
	node model.NodeID
	// brokerEpoch is of the process that fetched last: a later one may have lost what an earlier one had (KIP-903).
	brokerEpoch model.BrokerEpoch
	end         model.Offset // durable there; NoOffset until it has fetched
	caughtUpAt  model.Time   // when it was known to have all that there was
	fetchedAt   model.Time
	// endThen is the leader's log end at fetchedAt: who has that much now was caught up then, although more has come.
	endThen model.Offset
	start   model.Offset // of its log, as it said last; NoOffset until it has
	inSync  bool         // committed
	alive   bool         // the controller has not fenced it
}

// LeaderStart is what a leadership begins with.
type LeaderStart struct {
	End           model.Offset // the log end offset: where the new leader epoch begins
	Durable       model.Offset
	HighWatermark model.Offset // as far as this replica knew it as a follower
}

// NewFollowers begins a leadership. In-sync followers have the time of a lag to show themselves.
func NewFollowers(config FollowersConfig, a Assignment, start LeaderStart, now model.Time) *Followers {
	if config.SilentTimeMax == 0 || config.SilentTimeMax > config.LagTimeMax {
		config.SilentTimeMax = config.LagTimeMax
	}
	f := &Followers{
		config: config, epochStart: start.End, end: start.End, durable: start.Durable, watermark: start.HighWatermark,
	}
	f.assign(a, now)
	f.advance()
	return f
}

// assign takes over who the replicas are, keeping what is known of those that stay.
func (f *Followers) assign(a Assignment, now model.Time) {
	before := f.all
	f.assignment, f.all = a, nil
	for _, node := range a.Replicas {
		if node == f.config.Self {
			continue
		}
		r := follower{node: node, brokerEpoch: -1, end: model.NoOffset, start: model.NoOffset, caughtUpAt: now, fetchedAt: now, endThen: f.end, alive: true}
		if i := slices.IndexFunc(before, func(r follower) bool { return r.node == node }); i >= 0 {
			r = before[i]
		}
		isIn := slices.Contains(a.ISR, node)
		if isIn && !r.inSync {
			f.spare(&r, now)
		}
		r.inSync = isIn
		f.all = append(f.all, r)
	}
	slices.SortFunc(f.all, func(a, b follower) int { return int(a.node) - int(b.node) })
}

// Assigned takes in what the controller has committed, by the metadata log or in answer to a proposal. What is older
// than what is known changes nothing. It reports whether the high watermark moved.
//
// An answer does not say who the replicas are, and may come before the metadata that changed them together with who is in
// sync, as the end of a move does: then the same partition epoch comes again with other replicas, which are those.
//
// Proposals that were made before are settled by a new partition epoch: they rested on one that has passed, so either they are
// part of what was committed or they never will be.
func (f *Followers) Assigned(a Assignment, now model.Time) (advanced bool) {
	if a.PartitionEpoch < f.assignment.PartitionEpoch ||
		a.PartitionEpoch == f.assignment.PartitionEpoch && slices.Equal(a.Replicas, f.assignment.Replicas) {
		return false
	}
	if a.PartitionEpoch > f.assignment.PartitionEpoch {
		f.proposed, f.asked, f.doubted = nil, false, nil
	}
	f.assign(a, now)
	return f.advance()
}

// Alive says whether the controller has a node fenced. Nobody who is fenced is proposed (KIP-841).
func (f *Followers) Alive(node model.NodeID, alive bool) {
	if r := f.find(node); r != nil {
		r.alive = alive
	}
}

// Fetched takes in a follower's fetch, whose offset is the follower's durable log end. ok is false if it is not a
// replica of the partition.
func (f *Followers) Fetched(node model.NodeID, brokerEpoch model.BrokerEpoch, offset model.Offset, now model.Time) (advanced, ok bool) {
	r := f.find(node)
	if r == nil || brokerEpoch < r.brokerEpoch {
		return false, false // an earlier life's fetch, which came late
	}
	if offset > f.end {
		invariant.Checkf(false, "node %d has the log to %d, and its leader to %d", node, offset, f.end)
	}
	if brokerEpoch == r.brokerEpoch && offset < r.end {
		return false, true // sent before another that has been here: a process does not lose what it said to have
	}
	r.brokerEpoch, r.end = brokerEpoch, offset
	switch {
	case offset >= f.end:
		r.caughtUpAt = now
	case offset >= r.endThen:
		r.caughtUpAt = max(r.caughtUpAt, r.fetchedAt)
	}
	r.fetchedAt, r.endThen = now, f.end
	return f.advance(), true
}

// Starts takes in where a follower's log starts.
func (f *Followers) Starts(node model.NodeID, brokerEpoch model.BrokerEpoch, start model.Offset) {
	if r := f.find(node); r != nil && brokerEpoch >= r.brokerEpoch {
		r.start = start
	}
}

// LowWatermark is where the logs of all that are in sync start, as far as is known: nothing before it comes back, whoever of
// them leads next. While fewer than min.insync.replicas are, others may lead next: then it is NoOffset.
func (f *Followers) LowWatermark(own model.Offset) model.Offset {
	if !f.Enough() {
		return model.NoOffset
	}
	for i := range f.all {
		if r := &f.all[i]; f.mayBeInSync(r) {
			own = min(own, r.start)
		}
	}
	return own
}

// Deleted says that somebody was told that the log starts at an offset: who has not followed does not join.
func (f *Followers) Deleted(below model.Offset) { f.deleted = max(f.deleted, below) }

// Appended says how far the leader's own log goes now, and how far it is durable. It reports whether the high
// watermark moved.
func (f *Followers) Appended(end, durable model.Offset, now model.Time) (advanced bool) {
	if end > f.end {
		for i := range f.all {
			// Until this moment it had everything: an idle partition's followers do not fetch to say so.
			if f.all[i].end == f.end {
				f.all[i].caughtUpAt = now
			}
		}
	}
	f.end, f.durable = end, durable
	return f.advance()
}

// Has reports whether a follower has the log durably up to an offset.
func (f *Followers) Has(node model.NodeID, offset model.Offset) bool {
	r := f.find(node)
	return r != nil && r.end >= offset
}

// HighWatermark is how far the log may be read.
func (f *Followers) HighWatermark() model.Offset { return f.watermark }

// InSyncCount is how many replicas are in sync, the leader among them, as committed.
func (f *Followers) InSyncCount() int { return len(f.assignment.ISR) }

// Enough reports whether as many are in sync as min.insync.replicas wants.
func (f *Followers) Enough() bool { return f.InSyncCount() >= f.config.InSyncMin }

// Configure takes over a new min.insync.replicas. It reports whether the high watermark moved.
func (f *Followers) Configure(inSyncMin int) (advanced bool) {
	f.config.InSyncMin = inSyncMin
	return f.advance()
}

// Cut says that appends were refused: the leader's log ends earlier than it was said to. Nobody can have fetched what is gone from
// this leader, as only what is staged is fetched, and what is refused is not. But it may be what this replica fetched as a follower:
// then others, of which one led, have it, and what they have further on is not this leader's log.
func (f *Followers) Cut(end model.Offset) {
	f.end, f.epochStart = end, min(f.epochStart, end)
	for i := range f.all {
		r := &f.all[i]
		r.end, r.endThen = min(r.end, end), min(r.endThen, end)
	}
}

// mayBeInSync reports whether a follower is in sync, or may be by now for all that is known here.
func (f *Followers) mayBeInSync(r *follower) bool {
	return r.inSync || slices.Contains(f.proposed, r.node) || slices.Contains(f.doubted, r.node)
}

// advance moves the high watermark as far as it may go.
func (f *Followers) advance() bool {
	if !f.Enough() {
		return false
	}
	to := f.durable
	for i := range f.all {
		if r := &f.all[i]; f.mayBeInSync(r) {
			to = min(to, max(r.end, 0))
		}
	}
	if to <= f.watermark {
		return false
	}
	f.watermark = to
	return true
}

// Proposal asks the controller who is to be in sync (AlterPartition).
type Proposal struct {
	ISR []InSync // ascending
	// PartitionEpoch is what it rests on: the controller refuses it if that has passed.
	PartitionEpoch model.PartitionEpoch
}

// InSync is one member of a proposal, with the process that is meant.
type InSync struct {
	Node        model.NodeID
	BrokerEpoch model.BrokerEpoch // -1 of the leader, which the controller knows by who asks
}

// Propose looks who is in sync, and says so if that is not what is committed. One proposal is on its way at a time;
// an unanswered one is repeated after Unanswered.
func (f *Followers) Propose(now model.Time) (p Proposal, ok bool) {
	if f.asked {
		return Proposal{}, false
	}
	if d := f.Deadline(); d != 0 && now-d > f.config.SilentTimeMax/2 {
		// This process stood still when it should have looked. Nobody is to blame for what it did not take in.
		for i := range f.all {
			f.spare(&f.all[i], now)
		}
	}
	if f.proposed == nil {
		// Where there is doubt, what is committed is proposed again if need be, for the sake of its new partition epoch.
		if isr := f.wanted(now); len(f.doubted) > 0 || !slices.Equal(isr, sorted(f.assignment.ISR)) {
			f.proposed = isr
		}
	}
	if f.proposed == nil {
		return Proposal{}, false
	}
	f.asked = true
	p.PartitionEpoch = f.assignment.PartitionEpoch
	for _, node := range f.proposed {
		in := InSync{Node: node, BrokerEpoch: -1}
		if r := f.find(node); r != nil {
			in.BrokerEpoch = r.brokerEpoch
		}
		p.ISR = append(p.ISR, in)
	}
	return p, true
}

// wanted is who should be in sync.
func (f *Followers) wanted(now model.Time) []model.NodeID {
	isr := []model.NodeID{f.config.Self}
	for i := range f.all {
		r := &f.all[i]
		if r.inSync && !f.lags(r, now) || !r.inSync && f.mayJoin(r, now) {
			isr = append(isr, r.node)
		}
	}
	slices.Sort(isr)
	return isr
}

// lags reports whether a follower has been behind for too long. One that has less than the high watermark has lost
// what it had, and is not waited for.
func (f *Followers) lags(r *follower, now model.Time) bool {
	if r.end != model.NoOffset && r.end < f.watermark {
		return true
	}
	return r.end != f.end && now > f.patience(r)
}

// patience is until when a follower that is behind stays in sync.
func (f *Followers) patience(r *follower) model.Time {
	return min(r.caughtUpAt+f.config.LagTimeMax, max(r.caughtUpAt, r.fetchedAt)+f.config.SilentTimeMax)
}

// spare gives a follower half of its time anew.
func (f *Followers) spare(r *follower, now model.Time) {
	r.caughtUpAt = max(r.caughtUpAt, now-f.config.LagTimeMax/2)
	r.fetchedAt = max(r.fetchedAt, now-f.config.SilentTimeMax/2)
}

// mayJoin reports whether a follower has all that is committed, and all from before this leadership. One that has
// everything need not have asked of late: a session's follower does not name a quiet partition again.
func (f *Followers) mayJoin(r *follower, now model.Time) bool {
	return r.alive && r.end != model.NoOffset && r.end >= f.watermark && r.end >= f.epochStart && max(r.start, 0) >= f.deleted &&
		(r.end == f.end || now-r.fetchedAt <= f.config.LagTimeMax)
}

// Unanswered says that nobody knows what became of a proposal: it may have been committed. It is made again as it was.
func (f *Followers) Unanswered() {
	f.asked = false
	for _, node := range f.proposed {
		if !slices.Contains(f.doubted, node) {
			f.doubted = append(f.doubted, node)
		}
	}
}

// Refused says that the controller has not committed a proposal and never will, as it was made this time. If it was made
// before, and nobody answered, that may have been what it was refused for.
func (f *Followers) Refused() (advanced bool) {
	f.proposed, f.asked = nil, false
	return f.advance()
}

// Deadline is when Propose should be called next, if nothing happens before; 0 if there is nothing to wait for.
func (f *Followers) Deadline() model.Time {
	d := model.Time(0)
	if f.asked {
		return 0
	}
	for i := range f.all {
		r := &f.all[i]
		if r.inSync && r.end != f.end {
			if at := f.patience(r) + 1; d == 0 || at < d {
				d = at
			}
		}
	}
	return d
}

func (f *Followers) find(node model.NodeID) *follower {
	for i := range f.all {
		if f.all[i].node == node {
			return &f.all[i]
		}
	}
	return nil
}

func sorted(nodes []model.NodeID) []model.NodeID {
	nodes = slices.Clone(nodes)
	slices.Sort(nodes)
	return nodes
}

// Alone reports whether there are no other replicas.
func (f *Followers) Alone() bool { return len(f.all) == 0 }

// Complete reports whether every replica is in sync, as committed.
func (f *Followers) Complete() bool { return len(f.assignment.ISR) == len(f.assignment.Replicas) }
