package controller

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/coord"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// Config is what a controller needs to know.
type Config struct {
	NodeID    model.NodeID
	ClusterID string
	// IDSeed makes topic ids: it must be random and differ at every start.
	IDSeed [16]byte
	// PartitionCountMax bounds the partitions of all topics together.
	PartitionCountMax int
	// Node is what the node was started with; what was set while it ran comes on top.
	Node metadata.NodeConfig
	// RebalanceInterval is how often leaders move back to the replicas that are preferred (leader.rebalance.interval.ms);
	// 0 is never.
	RebalanceInterval model.Time
	// SessionTimeout is how long a broker may be silent before it is fenced (broker.session.timeout.ms).
	SessionTimeout model.Time
	// ReplicationFactorDefault is default.replication.factor; 0 is 3, or as many as there are brokers if that is less.
	ReplicationFactorDefault int16
	// OffsetsPartitionCount, OffsetsReplicationFactor and OffsetsSegmentBytes shape metadata.OffsetsTopic
	// (offsets.topic.num.partitions, offsets.topic.replication.factor, offsets.topic.segment.bytes). A factor of 0 is 3, or
	// as many as there are brokers if that is less; with another the topic is made once so many are there.
	OffsetsPartitionCount    int32
	OffsetsReplicationFactor int16
	OffsetsSegmentBytes      int32
}

// Controller is the machine that changes the cluster's metadata. There is one on every voter, and the quorum's leader's is
// active.
//
//	             Lead, with all that was committed before             Resign
//	inactive ─────────────────────────────────────────────► active ──────────► inactive
//	                                       Take ──► batch ──► quorum ──► Committed ──► answers
type Controller struct {
	config  Config
	view    *metadata.View
	now     model.Time
	stood   bool // nothing came for long: this node stood still
	active  bool
	idCount uint64

	queued []*request // not yet decided
	turn   *turn      // what is being committed; nil while nothing is

	rebalanceAt model.Time // 0: never
	index       index
	contacts    map[model.NodeID]*contact
	silences    coord.Timers[*contact]
	// leavingSince is by which metadata everything is led elsewhere that a broker led that wants to stop, as far as it can be.
	leavingSince map[model.NodeID]model.Offset

	builder record.Builder
}

// request is one thing that somebody asked of the controller.
type request struct {
	to effect.RequestID
	// decide adds records to a turn, and returns the answer to be given when they are committed; nil if nobody waits
	// for one.
	decide func(t *turn) effect.Body
	// refuse is the answer if nothing came of it; nil if nobody waits for one.
	refuse func(code int16, why string) effect.Body
}

// turn is one batch of metadata records on its way to being committed, and who waits for it.
type turn struct {
	c        *Controller
	draft    *metadata.Draft // the metadata with everything that was decided in the turn
	view     *metadata.View  // of the draft
	values   [][]byte
	bytes    int
	requests []*request
	answers  []effect.Body
	fresh    []model.TopicPartition // that the turn creates, or gives new replicas
	leaving  []model.NodeID         // brokers that begin to leave
	marks    effect.Marks
}

// turnBytesMax is about how many bytes of records a turn takes.
const turnBytesMax = 4 << 20

// New makes an inactive controller.
func New(config Config, view *metadata.View) *Controller {
	return &Controller{config: config, view: view}
}

// Active reports whether this controller decides.
func (c *Controller) Active() bool { return c.active }

// Lead makes the controller the cluster's. The view is of everything that was committed before its leadership, so that
// no decision rests on less. before is who led last, NoNode if that is not known.
//
// Everybody is given the time of a session to be heard, and who led before a part of it: the quorum has not heard of it for as long
// as an election takes, or it has handed over and soon shows that it lives.
func (c *Controller) Lead(view *metadata.View, before model.NodeID, now model.Time) {
	c.active, c.view, c.now, c.stood = true, view, now, false
	c.index = indexOf(view.Image)
	if c.rebalanceAt = 0; c.config.RebalanceInterval > 0 {
		c.rebalanceAt = now + c.config.RebalanceInterval
	}
	c.contacts, c.leavingSince = make(map[model.NodeID]*contact), make(map[model.NodeID]model.Offset)
	c.silences = coord.Timers[*contact]{}
	for b := range view.Brokers {
		k := c.hear(b)
		k.since = view.Version() - 1 // an earlier controller may have relieved it, nobody knows when
		if b.InControlledShutdown {
			c.leavingSince[b.ID] = view.Version() - 1 // an earlier controller decided it, nobody knows when
		}
		if b.ID == before && b.ID != c.config.NodeID {
			c.silences.Set(&k.timer, now+c.config.SessionTimeout/formerShare)
		}
	}
}

// Resign ends the controller's leadership. What became of what is under way nobody here knows.
func (c *Controller) Resign(out *effect.Set) {
	if !c.active {
		return
	}
	c.active = false
	turn, waiting := c.turn, c.queued
	c.turn, c.queued = nil, nil
	if turn != nil {
		for _, r := range turn.requests {
			c.refuse(r, kerr.RequestTimedOut.Code, "another node has become the controller: it may be committed yet", out)
		}
	}
	for _, r := range waiting {
		c.refuse(r, kerr.NotController.Code, "another node has become the controller", out)
	}
}

func (c *Controller) refuse(r *request, code int16, why string, out *effect.Set) {
	if answer := r.refuse(code, why); answer != nil {
		reply(r.to, answer, out)
	}
}

// Refuse answers everything that is not decided yet.
func (c *Controller) Refuse(code int16, why string, out *effect.Set) {
	waiting := c.queued
	c.queued = nil
	for _, r := range waiting {
		c.refuse(r, code, why, out)
	}
}

// Applied takes in metadata that was committed, whoever decided it.
func (c *Controller) Applied(view *metadata.View, changes *metadata.Changes) {
	c.view = view
	if !c.active {
		return
	}
	c.index.update(changes)
	for _, ch := range changes.Brokers {
		if ch.After != nil {
			if k := c.hear(ch.After); ch.After.Fenced {
				k.since = view.Version() - 1
			}
		} else if k := c.contacts[ch.Before.ID]; k != nil {
			c.silences.Stop(&k.timer)
			delete(c.contacts, ch.Before.ID)
			delete(c.leavingSince, ch.Before.ID)
		}
	}
	for i := range changes.Topics {
		ch := &changes.Topics[i]
		if ch.After == nil {
			for _, p := range ch.Before.Partitions {
				c.relieved(p.Leader)
			}
			continue
		}
		for _, pc := range ch.Partitions {
			if pc.Before != nil && pc.Before.Leader != pc.After.Leader {
				c.relieved(pc.Before.Leader)
			}
		}
	}
}

// relieved notes that a broker does not lead something any more.
func (c *Controller) relieved(node model.NodeID) {
	if k := c.contacts[node]; k != nil {
		k.since = c.view.Version() - 1
	}
}

// Committed says that the turn was committed, and applied.
func (c *Controller) Committed(out *effect.Set) {
	t := c.turn
	invariant.Check(t != nil, "a turn is committed that was taken")
	c.turn = nil
	for _, id := range t.leaving {
		c.leavingSince[id] = c.view.Version() - 1
	}
	t.answer(out)
}

// Now says what time it is, before every input.
func (c *Controller) Now(now model.Time) {
	// Whatever brokers do, something comes several times in the time of a session.
	if c.active && now-c.now > c.config.SessionTimeout/4 {
		c.stood = true
	}
	c.now = now
}

// Tick does what is due.
func (c *Controller) Tick(out *effect.Set) {
	if !c.active {
		return
	}
	c.tickBrokers(out)
	if c.rebalanceAt != 0 && c.now >= c.rebalanceAt {
		c.rebalanceAt = c.now + c.config.RebalanceInterval
		c.rebalance(out)
	}
}

// Deadline is when Tick must be called next; 0 means never.
func (c *Controller) Deadline() model.Time {
	if !c.active {
		return 0
	}
	if d := c.silences.Deadline(); c.rebalanceAt == 0 || d != 0 && d < c.rebalanceAt {
		return d
	}
	return c.rebalanceAt
}

func (c *Controller) ask(r *request, out *effect.Set) {
	if !c.active {
		c.refuse(r, kerr.NotController.Code, "this node is not the controller", out)
		return
	}
	c.queued = append(c.queued, r)
}

// dry answers what would come of a request (validate only).
func (c *Controller) dry(r *request, out *effect.Set) {
	if !c.active {
		c.refuse(r, kerr.NotController.Code, "this node is not the controller", out)
		return
	}
	reply(r.to, r.decide(c.newTurn()), out)
}

// Take decides what waits and returns the batch that is to be committed; nil if nothing is. One turn is under way at a
// time. What comes to nothing but refusals is answered with the turn, or at once if that writes nothing.
func (c *Controller) Take(out *effect.Set) record.Batch {
	if !c.active || c.turn != nil || len(c.queued) == 0 {
		return nil
	}
	t := c.newTurn()
	n := 0
	for n < len(c.queued) && t.bytes < turnBytesMax {
		t.requests = append(t.requests, c.queued[n])
		t.answers = append(t.answers, c.queued[n].decide(t))
		n++
	}
	clear(c.queued[:n])
	c.queued = c.queued[n:]
	out.Marks.Merge(t.marks)
	if len(t.values) == 0 {
		t.answer(out)
		return nil
	}
	c.builder.Begin(record.NewOptions(record.CodecNone))
	for _, v := range t.values {
		c.builder.Append(record.Record{Value: v, Timestamp: model.NoTimestamp})
	}
	c.turn = t
	return append(record.Batch(nil), c.builder.Finish()...)
}

func (c *Controller) newTurn() *turn {
	t := &turn{c: c, draft: c.view.Edit()}
	t.view = c.view.Of(t.draft.Image())
	return t
}

// image is the metadata with everything that was decided in the turn.
func (t *turn) image() *metadata.Image { return t.draft.Image() }

// record adds a record to the turn.
func (t *turn) record(rec protocol.Record, version int16) {
	if err := t.draft.Record(rec); err != nil {
		invariant.Checkf(false, "the controller decided metadata that it cannot apply: %v", err)
	}
	v := protocol.AppendMetadataRecord(nil, rec, version)
	t.values = append(t.values, v)
	t.bytes += len(v)
}

// change makes of a partition what it is to be.
func (t *turn) change(tp model.TopicPartition, was, to *metadata.Partition) {
	if rec := changeRecord(tp, was, to); rec != nil {
		t.record(rec, 2)
	}
}

// brokerEpoch is an epoch for a broker that no registration has had: about the offset of its record.
func (t *turn) brokerEpoch(old *metadata.Broker) model.BrokerEpoch {
	epoch := model.BrokerEpoch(t.c.view.Version()) + model.BrokerEpoch(len(t.values))
	if old != nil {
		epoch = max(epoch, old.Epoch+1)
	}
	return epoch
}

// answer gives everybody the answer.
func (t *turn) answer(out *effect.Set) {
	for i, r := range t.requests {
		if t.answers[i] != nil {
			reply(r.to, t.answers[i], out)
		}
	}
}

func reply(to effect.RequestID, body effect.Body, out *effect.Set) {
	out.Replies = append(out.Replies, effect.Reply{To: to, Body: body})
}

// newTopicID draws an id from the seed of this start and a counter.
func (c *Controller) newTopicID(image *metadata.Image) model.TopicID {
	for {
		c.idCount++
		var in [25]byte
		copy(in[:16], c.config.IDSeed[:])
		binary.BigEndian.PutUint64(in[16:24], c.idCount)
		var id model.TopicID
		binary.BigEndian.PutUint64(id[:8], xxhash.Sum64(in[:]))
		in[24] = 1
		binary.BigEndian.PutUint64(id[8:], xxhash.Sum64(in[:]))
		id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // a UUID of version 4, as clients print them
		if image.Identified(id) == nil && !id.IsZero() && id != model.MetadataTopicID {
			return id
		}
	}
}

// Check verifies the invariants.
func (c *Controller) Check() error {
	if !c.active {
		if c.turn != nil || len(c.queued) > 0 {
			return fmt.Errorf("an inactive controller keeps %d requests", len(c.queued))
		}
		return nil
	}
	for b := range c.view.Brokers {
		if k := c.contacts[b.ID]; k == nil || k.epoch != b.Epoch {
			return fmt.Errorf("nobody listens for broker %d", b.ID)
		}
	}
	return c.silences.Check()
}
