package broker

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/coord"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/replica"
	"github.com/weirmq/weir/core/storage"
)

// Config is what a broker needs to know.
type Config struct {
	ClusterID string
	// Advertised is how clients reach this node.
	Advertised effect.Broker
	// RetentionCheckInterval is how often each partition's retention is applied (log.retention.check.interval.ms).
	RetentionCheckInterval model.Time
	// FetchSessionsMax is how many fetch sessions there may be (max.incremental.fetch.session.cache.slots).
	FetchSessionsMax int
	Controller       controller.Config
	Groups           group.Config
	Quorum           QuorumConfig
	Membership       MembershipConfig
	// LagTimeMax is how long a follower may be behind before it is not in sync any more (replica.lag.time.max.ms).
	LagTimeMax model.Time
	// Memo, unless nil, is shared with other brokers of the same process.
	Memo *metadata.Memo
}

// Broker is the machine of one loop.
type Broker struct {
	config     Config
	now        model.Time
	controller *controller.Controller
	view       *metadata.View // the metadata as this node goes by it
	voter      *voter         // nil if this node does not vote
	blank      *metalog.Saved // what a node that does not vote has of a voter's on its disk: promises at most
	hint       model.NodeID   // whom this node takes for the controller; NoNode if nobody
	// recovered are partitions on the disk of which no topic is known yet.
	recovered map[model.TopicPartition]*storage.Recovered
	self      membership
	// caughtUp says that the metadata has been that of this life: the broker was counted on. Until then no partitions are
	// taken up.
	caughtUp     bool
	members      MembershipConfig
	calls        calls
	fetchers     map[model.NodeID]*fetcher
	fetchTimers  coord.Timers[*fetcher]
	throttle     throttle
	stirred      []*fetcher // to run at the end of this step
	proposals    proposals
	expectations []*expectation
	topics       map[model.TopicID]*topic // of which there are partitions here
	commonConfig *metadata.TopicConfig    // of topics without settings of their own
	partitions   partitions
	deleting     map[model.TopicPartition]bool // whose files are being removed
	fetches      fetches
	fetchCount   uint64 // of full fetches, to find partitions that one names twice
	sessions     fetchSessions
	listings     map[effect.RequestID]*listing
	deletions    []*deletion // by deadline
	ids          producerIDs
	published    *Published
	recoded      []effect.CodecChange // since it was published
	// offline are partitions that cannot be used here; offlineChanged says that they are others than were published.
	offline        map[model.TopicPartition]bool
	offlineChanged bool
	retention      retention
	observer       observer
	observers      observers
	outgoing       metalog.Outgoing // images of the metadata that others fetch here
	timeouts       produceTimeouts
	damage         damage
	groups         groups
}

// newBroker is a broker over loaded metadata, without its partitions.
func newBroker(config Config, view *metadata.View) *Broker {
	b := &Broker{
		config:     config,
		controller: controller.New(config.Controller, view),
		view:       view,
		hint:       model.NoNode,
		damage:     damage{told: model.NoNode},
		self:       membership{epoch: model.NoBrokerEpoch},
		members:    config.Membership,
		calls:      calls{waiting: make(map[effect.CallID]func(*effect.Answer, *effect.Set))},
		fetchers:   make(map[model.NodeID]*fetcher),
		topics:     make(map[model.TopicID]*topic),
		deleting:   make(map[model.TopicPartition]bool),
		listings:   make(map[effect.RequestID]*listing),
		offline:    make(map[model.TopicPartition]bool),
		retention:  retention{next: 1},
		groups:     groups{memory: group.Memory{BytesMax: config.Groups.MemoryBytesMax}},
	}
	b.publish()
	return b
}

// Step takes in one event.
func (b *Broker) Step(now model.Time, ev Event, out *effect.Set) {
	b.advance(now)
	switch ev := ev.(type) {
	case *Produce:
		b.produce(ev, out)
	case *Fetch:
		b.fetch(ev, out)
	case *ListOffsets:
		b.listOffsets(ev, out)
	case *EnsureTopics:
		b.ensure(ev.Names, out, func(out *effect.Set) {
			out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.TopicsEnsured{}})
		})
	case *CreateMissing:
		b.createMissing(ev.To, &ev.Ask, out)
	case *CreateTopics:
		b.directed(ev.To, &ev.Origin, out, func(out *effect.Set) { b.controller.Create(ev.To, ev.Topics, ev.ValidateOnly, out) })
	case *DeleteTopics:
		b.directed(ev.To, &ev.Origin, out, func(out *effect.Set) { b.controller.Delete(ev.To, ev.Topics, out) })
	case *CreatePartitions:
		b.directed(ev.To, &ev.Origin, out, func(out *effect.Set) { b.controller.Extend(ev.To, ev.Topics, ev.ValidateOnly, out) })
	case *AlterConfigs:
		b.directed(ev.To, &ev.Origin, out, func(out *effect.Set) { b.controller.Alter(ev.To, ev.Resources, ev.ValidateOnly, out) })
	case *ReassignPartitions:
		b.directed(ev.To, &ev.Origin, out, func(out *effect.Set) { b.controller.Reassign(ev.To, ev.Topics, ev.FactorMayChange, out) })
	case *ListReassignments:
		b.directed(ev.To, &ev.Origin, out, func(out *effect.Set) { b.controller.ListReassignments(ev.To, ev.All, ev.Topics, out) })
	case *ElectLeaders:
		b.directed(ev.To, &ev.Origin, out, func(out *effect.Set) { b.controller.ElectLeaders(ev.To, ev.Unclean, ev.All, ev.Topics, out) })
	case *AddVoter:
		b.directed(ev.To, &ev.Origin, out, func(out *effect.Set) { b.addVoter(ev, out) })
	case *RemoveVoter:
		b.directed(ev.To, &ev.Origin, out, func(out *effect.Set) { b.removeVoter(ev, out) })
	case *DescribeQuorum:
		b.directed(ev.To, &ev.Origin, out, func(out *effect.Set) { b.describeQuorum(ev, out) })
	case *UnregisterBroker:
		b.directed(ev.To, &ev.Origin, out, func(out *effect.Set) { b.controller.Unregister(ev.To, ev.Node, out) })
	case *DeleteRecords:
		b.deleteRecords(ev, out)
	case *EpochEnds:
		b.epochEnds(ev, out)
	case *InitProducerID:
		b.initProducerID(ev, out)
	case *FindCoordinator:
		b.findCoordinator(ev, out)
	case *JoinGroup:
		b.joinGroup(ev, out)
	case *SyncGroup:
		b.syncGroup(ev, out)
	case *Heartbeat:
		b.heartbeat(ev, out)
	case *LeaveGroup:
		b.leaveGroup(ev, out)
	case *CommitOffsets:
		b.commitOffsets(ev, out)
	case *FetchOffsets:
		b.fetchOffsets(ev, out)
	case *DescribeGroups:
		b.describeGroups(ev, out)
	case *ListGroups:
		b.listGroups(ev, out)
	case *DeleteGroups:
		b.deleteGroups(ev, out)
	case *DeleteOffsets:
		b.deleteOffsets(ev, out)
	case *AlterPartition:
		b.alterPartition(ev, out)
	case *RegisterBroker:
		b.registerBroker(ev, out)
	case *BrokerHeartbeat:
		b.brokerHeartbeat(ev, out)
	case *AllocateProducerIDs:
		b.allocateProducerIDs(ev, out)
	case *ReportDamaged:
		b.controller.ReportDamaged(ev.To, &ev.Ask, out)
	case *QuorumMessages:
		b.quorumMessages(ev, out)
	case *FetchImage:
		b.fetchImage(ev, out)
	case *Leave:
		b.leave(out)
	case *Answered:
		b.answered(&ev.Answer, out)
	case *Disconnected:
		b.fetches.drop(ev.Conn)
		b.dropSessions(ev.Conn)
		b.observers.drop(ev.Conn)
	case *Completed:
		b.completed(ev, out)
	default:
		invariant.Checkf(false, "an event of unknown kind: %T", ev)
	}
	b.settle(out)
}

// Tick does what was due by now. wall is the time of day.
func (b *Broker) Tick(now model.Time, wall model.Timestamp, out *effect.Set) {
	b.advance(now)
	for f := b.fetches.due(now); f != nil; f = b.fetches.due(now) {
		out.Marks.Set(effect.MarkFetchTimedOut)
		b.finishFetch(f, out)
	}
	b.timeOutDeletions(out)
	b.timeouts.tick(now, out)
	b.tickVoter(now, out)
	b.tickChange(out)
	b.tickObserver(now, out)
	b.controller.Tick(out)
	b.tickMembership(now, out)
	b.tickLease(out)
	b.tickFetchers(now)
	b.tickProposals(now, out)
	b.tickDamage(out)
	b.expected(out)
	b.tickGroups(now, wall, out)
	b.retain(now, wall, out)
	b.settle(out)
}

// Deadline is when Tick must be called next; 0 means never.
func (b *Broker) Deadline() model.Time {
	d := b.fetches.deadline()
	if r := b.retention.next; len(b.partitions.order)+len(b.retention.undeleted) > 0 && (d == 0 || r < d) {
		d = r
	}
	for _, at := range [...]model.Time{
		b.voterDeadline(), b.observerDeadline(), b.controller.Deadline(), b.membershipDeadline(), b.leaseDeadline(), b.fetchTimers.Deadline(), b.proposalsDeadline(), b.expectationsDeadline(),
		b.damageDeadline(),
	} {
		if at != 0 && (d == 0 || at < d) {
			d = at
		}
	}
	if t := b.timeouts.next; t != 0 && (d == 0 || t < d) {
		d = t
	}
	if len(b.deletions) > 0 && (d == 0 || b.deletions[0].deadline < d) {
		d = max(1, b.deletions[0].deadline)
	}
	if g := b.groupsDeadline(); g != 0 && (d == 0 || g < d) {
		d = g
	}
	return d
}

func (b *Broker) advance(now model.Time) {
	if now < b.now {
		invariant.Checkf(false, "time went back from %d to %d", b.now, now)
	}
	b.now = now
	b.controller.Now(now)
}

// settle carries on what the step began: what the controller decides, what this node asks of itself, and what leaders
// propose. Then it publishes what has changed.
func (b *Broker) settle(out *effect.Set) {
	for {
		b.decide(out)
		b.sendProposals(out)
		if !b.settleCalls(out) {
			b.catchUp(out)
			b.runFetchers(out)
			b.tellObservers(out)
			b.publish()
			return
		}
	}
}

func (b *Broker) completed(ev *Completed, out *effect.Set) {
	for _, a := range ev.Appended {
		if metalog.Holds(a.Partition) {
			if b.voter != nil && b.voter.log != nil {
				b.voter.log.Appended(a, b.now, out, &b.voter.out)
				b.voted(out)
			}
			continue
		}
		if p := b.partitions.get(a.Partition); p != nil {
			b.appended(p, a, out)
		}
	}
	for _, t := range ev.Truncated {
		if metalog.Holds(t.Partition) {
			if b.voter != nil && b.voter.log != nil {
				b.voter.log.Truncated(t, b.now, out, &b.voter.out)
				b.voted(out)
			}
			continue
		}
		if p := b.partitions.get(t.Partition); p != nil {
			p.replica.Truncated(t, b.now, out)
			b.moved(p)
			switch {
			case p.replica.Offline() != "":
				b.wentOffline(p, out)
			case p.replica.Leads():
				b.assign(p, p.topic.Partition(p.index()), out)
			}
		}
	}
	for _, l := range ev.LookedUp {
		b.lookedUp(l, out)
	}
	for i := range ev.Scanned {
		b.groupsScanned(&ev.Scanned[i], out)
	}
	for _, r := range ev.Retained {
		p := b.partitions.get(r.Partition)
		switch {
		case p == nil:
		case r.Failure == effect.OK:
			before := p.replica.Bounds().LogStartOffset
			if p.replica.Retained(r, out); p.replica.Bounds().LogStartOffset != before {
				p.changed()
				b.moved(p) // a leader is told
				if len(p.deleting) > 0 {
					b.tellReplicas(p, out)
				}
			}
			b.deletionsAdvance(p, out)
		default:
			b.deletedBelow(p, 0, kerr.KafkaStorageError.Code, out)
		}
	}
	for _, d := range ev.Deleted {
		if d.Failure == effect.DiskFull {
			b.retention.undeleted = append(b.retention.undeleted, d.Partition)
			continue
		}
		b.filesDeleted(d.Partition, out)
	}
	for _, d := range ev.Damaged {
		if metalog.Holds(d.Partition) && b.voter != nil && b.voter.log != nil {
			b.voter.log.Damaged(d, out)
		}
		if p := b.partitions.get(d.Partition); p != nil {
			p.replica.GoOffline(d.Detail, out)
			b.wentOffline(p, out)
		} else if rec := b.recovered[d.Partition]; rec != nil {
			rec.Damage = d.Detail // it is not taken up yet
			b.damage.due, b.damage.nextAt = true, b.now
		}
	}
}

func (b *Broker) appended(p *partition, a effect.Appended, out *effect.Set) {
	before := p.replica.Bounds().HighWatermark
	if p.replica.Appended(a, b.now, out) {
		b.wakeFrom(p, before, out)
	}
	b.moved(p)
	if p.replica.Offline() != "" {
		b.wentOffline(p, out)
		return
	}
	if p.coordinator != nil {
		b.groupsAppended(p.coordinator, a, out)
	}
}

// wentOffline answers everybody who waits at a partition that cannot be used any more.
func (b *Broker) wentOffline(p *partition, out *effect.Set) {
	b.setOffline(p.replica.Partition())
	b.damaged(p)
	b.wake(p, out)
	b.deletedBelow(p, 0, kerr.KafkaStorageError.Code, out)
	if p.coordinator != nil {
		b.groupsAppended(p.coordinator, effect.Appended{Failure: effect.Broken}, out)
	}
}

func (b *Broker) produce(ev *Produce, out *effect.Set) {
	for i := range ev.Parts {
		part := &ev.Parts[i]
		p, code := b.find(part.Topic, part.Partition)
		why := ""
		if code == 0 && b.cutOff() && p.replica.Leads() {
			code, why = kerr.NotLeaderForPartition.Code, "this node has not reached the controller, or what it decides, for so long that another may lead by now"
		}
		if code == 0 {
			code, why = checkBatch(p.topic, part, ev)
		}
		if code != 0 {
			if ev.Acks == 0 {
				out.Close(ev.To.Conn, fmt.Sprintf("a batch produced with acks=0 to %s was refused: %s", part.target(), strings.TrimSuffix(effect.CodeName(code)+": "+why, ": ")))
			} else {
				out.Produced = append(out.Produced, effect.Produced{
					To: ev.To, Index: part.Index, Code: code, Message: why,
					BaseOffset: model.NoOffset, AppendTime: model.NoTimestamp, LogStartOffset: model.NoOffset,
				})
			}
			continue
		}
		in := replica.Produce{
			To: ev.To, Index: part.Index, Acks: ev.Acks, AppendTime: model.NoTimestamp, Header: part.Header, Batch: part.Batch,
			IsDoubted: b.doubted(p),
		}
		if ev.Wait > 0 {
			in.Deadline = b.now + ev.Wait
		}
		if p.topic.Config.LogAppendTime {
			in.AppendTime = ev.Wall
		}
		end, answers := p.replica.LogEndOffset(), len(out.Produced)
		p.replica.Produce(in, b.now, out)
		b.hintLeader(p, answers, out)
		b.timeouts.watch(p, b.now)
		if p.replica.LogEndOffset() > end {
			b.extended(p, end, out)
		}
	}
}

// checkBatch applies the topic's configuration to a batch.
func checkBatch(t *topic, part *ProducePart, ev *Produce) (code int16, why string) {
	c, h := t.Config, &part.Header
	switch {
	case metadata.Internal(t.Name):
		return kerr.InvalidTopicException.Code, fmt.Sprintf("topic %q is the cluster's own: clients cannot write to it", t.Name)
	case h.SizeBytes > int(c.MessageBytesMax):
		return kerr.MessageTooLarge.Code, fmt.Sprintf("the batch has %d bytes; max.message.bytes of topic %q is %d", h.SizeBytes, t.Name, c.MessageBytesMax)
	case c.LogAppendTime || h.MaxTimestamp == model.NoTimestamp:
		return 0, ""
	case int64(h.MaxTimestamp-ev.Wall) > c.TimestampAfterMsMax:
		return kerr.InvalidTimestamp.Code, fmt.Sprintf("a record's time, %d, is %d ms ahead of this broker's clock; message.timestamp.after.max.ms of topic %q is %d",
			h.MaxTimestamp, int64(h.MaxTimestamp-ev.Wall), t.Name, c.TimestampAfterMsMax)
	case h.MinTimestamp < ev.Wall-model.Timestamp(c.TimestampBeforeMsMax):
		return kerr.InvalidTimestamp.Code, fmt.Sprintf("a record's time, %d, is %d ms behind this broker's clock; message.timestamp.before.max.ms of topic %q is %d",
			h.MinTimestamp, int64(ev.Wall-h.MinTimestamp), t.Name, c.TimestampBeforeMsMax)
	}
	return 0, ""
}

// find is the partition that a request means, or the code to refuse it with.
func (b *Broker) find(ref TopicRef, index model.Partition) (*partition, int16) {
	id := ref.ID
	if !ref.isID() {
		t := b.view.Named(ref.Name)
		if t == nil {
			return nil, kerr.UnknownTopicOrPartition.Code
		}
		id = t.ID
	}
	if p := b.partitions.get(model.TopicPartition{Topic: id, Partition: index}); p != nil {
		return p, 0
	}
	if _, code := b.findTopic(TopicRef{ID: id, ByID: true}, index); code != 0 {
		return nil, code
	}
	return nil, kerr.NotLeaderForPartition.Code // it is elsewhere
}

// findTopic is the topic that a request means, wherever its partitions are, or the code to refuse it with. Until the metadata is
// that of this life, no topic is known.
func (b *Broker) findTopic(ref TopicRef, index model.Partition) (*metadata.Topic, int16) {
	var t *metadata.Topic
	missing := kerr.UnknownTopicID.Code
	if ref.isID() {
		t = b.view.Identified(ref.ID)
	} else if t = b.view.Named(ref.Name); t == nil {
		missing = kerr.UnknownTopicOrPartition.Code
	}
	switch {
	case t == nil || !b.caughtUp:
		return nil, missing
	case t.Partition(index) == nil:
		return nil, kerr.UnknownTopicOrPartition.Code
	default:
		return t, 0
	}
}

// PartitionCount is how many partitions this broker holds.
func (b *Broker) PartitionCount() int { return len(b.partitions.order) }

// OfflineCount is how many of them cannot be used.
func (b *Broker) OfflineCount() int { return len(b.offline) }

// TopicCount is how many topics there are.
func (b *Broker) TopicCount() int { return b.view.TopicCount() }

// FetchSessionCount is how many fetch sessions there are.
func (b *Broker) FetchSessionCount() int { return len(b.sessions.byID) }

// ParkedFetchCount is how many fetches wait for data.
func (b *Broker) ParkedFetchCount() int { return len(b.fetches.heap) }

// Check verifies the invariants of the broker and of every machine in it.
func (b *Broker) Check() error {
	if b.voter != nil && b.voter.log != nil {
		if err := b.voter.log.Check(); err != nil {
			return err
		}
		if v := b.voter; v.behind != nil && (v.behind.Version() != v.log.Next() || v.behind.Version() >= b.view.Version()) {
			return fmt.Errorf("the metadata log is committed to %d, what is kept of it is of %d, and the broker knows %d", v.log.Next(), v.behind.Version(), b.view.Version())
		}
	}
	if err := b.controller.Check(); err != nil {
		return fmt.Errorf("controller: %w", err)
	}
	if err := b.checkPartitions(); err != nil {
		return err
	}
	if err := b.groups.check(); err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	if err := b.fetches.check(&b.partitions); err != nil {
		return err
	}
	return b.checkSessions()
}

// Bounds is how far a partition may be read; the second result says whether it is here. The simulator
// compares it with what it knows to be durable.
func (b *Broker) Bounds(tp model.TopicPartition) (replica.Bounds, bool) {
	p := b.partitions.get(tp)
	if p == nil {
		return replica.Bounds{}, false
	}
	return p.replica.Bounds(), true
}
