package group

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/coord"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
)

// Config is what all coordinators of a node share.
type Config struct {
	// InitialRebalanceDelay is how long an empty group waits for more members once one has joined
	// (group.initial.rebalance.delay.ms).
	InitialRebalanceDelay model.Time
	// SessionTimeoutMsMin and SessionTimeoutMsMax bound what a member may ask for (group.min.session.timeout.ms,
	// group.max.session.timeout.ms).
	SessionTimeoutMsMin, SessionTimeoutMsMax int32
	// MembersMax is how many members a group may have (group.max.size).
	MembersMax int
	// OffsetsRetentionMs is how long offsets outlive their group (offsets.retention.minutes).
	OffsetsRetentionMs int64
	// ExpiryInterval is how often expired offsets are looked for (offsets.retention.check.interval.ms).
	ExpiryInterval model.Time
	// MetadataBytesMax bounds what a commit may say beside its offset (offset.metadata.max.bytes).
	MetadataBytesMax int
	// LogBytesMin is how large a coordinator's log may grow before it is rewritten, however little is live in it.
	LogBytesMin int64
	// MemoryBytesMax bounds what all groups of the node hold together (group.memory.bytes.max).
	MemoryBytesMax int64
	// IDSeed makes member ids: it must be random and differ at every start.
	IDSeed [16]byte
}

// DefaultConfig is Kafka's defaults.
func DefaultConfig() Config {
	return Config{
		InitialRebalanceDelay: 3 * second, SessionTimeoutMsMin: 6_000, SessionTimeoutMsMax: 1_800_000, MembersMax: 1<<31 - 1,
		OffsetsRetentionMs: 7 * 24 * 3600 * 1000, ExpiryInterval: 600 * second, MetadataBytesMax: 4096, LogBytesMin: 1 << 20,
		MemoryBytesMax: 1 << 30,
	}
}

const (
	millisecond model.Time = 1_000_000
	second      model.Time = 1_000_000_000
)

// newMemberTimeout removes a member that joined for the first time and whose round does not end: it has no
// member id to send heartbeats with, so nothing else would tell that it is gone.
const newMemberTimeout = 300 * second

// Topics is what a coordinator needs to know of the cluster's topics.
type Topics interface {
	// TopicID is the id of the topic that has a name now; false says that there is none.
	TopicID(name string) (model.TopicID, bool)
}

// Coordinator is the machine of one partition of __consumer_offsets. Make it with New, then Load it.
//
//	         Load            end of the log           Resign
//	created ──────► loading ────────────────► ready ────────► (dropped)
//	                   └── damage ──► failed
type Coordinator struct {
	config    *Config
	topics    Topics
	partition model.TopicPartition
	now       model.Time
	wall      model.Timestamp // the time of day that the newest input brought

	loading    loading
	isResigned bool
	groups     map[string]*group
	order      []*group // the same, in an order that depends on nothing but history

	writer coord.Writer[decision]
	timers coord.Timers[owner]
	expiry coord.Timers[*group] // by time of day
	log    keyLog

	memory *Memory
	sweep  sweep

	expiryTimer coord.Timer[owner]
	key, value  []byte // memory of the encoder
}

// owner says what a timer is for.
type owner struct {
	kind    timerKind
	group   *group
	member  *member
	pending *pending
}

type timerKind uint8

const (
	sessionTimer timerKind = iota + 1 // a member was silent for too long
	pendingTimer                      // a member id was given out and never used
	joinTimer                         // the round of joins is over
	syncTimer                         // a member never asked for its assignment
	expiryTimer                       // expired offsets are looked for
	loadTimer                         // the log is read on
	sweepTimer                        // offsets of deleted topics are looked for
)

// New makes the coordinator of a partition, whose log is written through log. memory is shared by the coordinators
// of a loop.
func New(config *Config, tp model.TopicPartition, log coord.Log, topics Topics, memory *Memory) *Coordinator {
	c := &Coordinator{
		config: config, topics: topics, partition: tp, groups: make(map[string]*group), writer: coord.NewWriter[decision](log),
		memory: memory, log: keyLog{memory: memory, markBytes: config.LogBytesMin / 32},
	}
	c.sweep.timer.Owner.kind = sweepTimer
	c.expiryTimer.Owner.kind = expiryTimer
	c.loading.timer.Owner.kind = loadTimer
	return c
}

// Partition is the partition whose groups this coordinates.
func (c *Coordinator) Partition() model.TopicPartition { return c.partition }

// Deadline is when Tick must be called next; 0 means never.
func (c *Coordinator) Deadline() model.Time { return c.timers.Deadline() }

// Tick does what was due by now. wall is the time of day.
func (c *Coordinator) Tick(now model.Time, wall model.Timestamp, out *effect.Set) {
	c.advance(now, wall)
	for t := c.timers.Due(now); t != nil; t = c.timers.Due(now) {
		c.wentOff(&t.Owner, out)
	}
}

func (c *Coordinator) wentOff(o *owner, out *effect.Set) {
	switch {
	case o.kind == expiryTimer:
		c.expire(out)
	case o.kind == loadTimer:
		c.loadOn(out)
	case o.kind == sweepTimer:
		c.sweepOn(out)
	case o.group.writes > 0:
		o.group.queue = append(o.group.queue, o)
	default:
		c.perform(o, out)
	}
}

func (c *Coordinator) advance(now model.Time, wall model.Timestamp) {
	if now < c.now {
		invariant.Checkf(false, "time went back from %d to %d", c.now, now)
	}
	c.now, c.wall = now, wall
}

// submit performs an operation, or puts it off while its group waits for a write.
func (c *Coordinator) submit(op operation, out *effect.Set) {
	if g := c.groups[op.groupID()]; g != nil && (len(g.queue) > 0 || g.blocks(op)) {
		g.queue = append(g.queue, op)
		return
	}
	c.perform(op, out)
}

func (c *Coordinator) perform(op operation, out *effect.Set) {
	switch op := op.(type) {
	case *Join:
		c.join(op, out)
	case *Sync:
		c.sync(op, out)
	case *Leave:
		c.leave(op, out)
	case *Commit:
		c.commit(op, out)
	case *DeleteOffsets:
		c.deleteOffsets(op, out)
	case *deletion:
		c.deleteGroup(op, out)
	case *owner:
		c.timerDue(op, out)
	default:
		invariant.Checkf(false, "an operation of unknown kind: %T", op)
	}
	c.forgetEmpty(op.groupID())
}

// drain performs what was put off, until the group waits again.
func (c *Coordinator) drain(g *group, out *effect.Set) {
	queue := g.queue
	g.queue = nil
	for len(queue) > 0 {
		if at := c.groups[g.id]; at != nil && at.blocks(queue[0]) {
			at.queue = queue
			return
		}
		c.perform(queue[0], out)
		queue[0], queue = nil, queue[1:]
	}
	c.forgetEmpty(g.id)
}

// timerDue does what a timer of a group or member is for.
func (c *Coordinator) timerDue(o *owner, out *effect.Set) {
	g := o.group
	switch o.kind {
	case sessionTimer:
		if g.members[o.member.id] == o.member {
			c.sessionOver(g, o.member, out)
		}
	case pendingTimer:
		if g.pending[o.pending.id] == o.pending {
			c.dropPending(g, o.pending)
			note(g, effect.NoteMemberExpired, o.pending.id, "never joined with the member id that it was given", out)
			c.tryCompleteJoin(g, out)
		}
	case joinTimer:
		if g.state == PreparingRebalance && !g.joinTimer.IsSet() {
			c.joinDue(g, out)
		}
	case syncTimer:
		if !g.syncTimer.IsSet() {
			c.syncDue(g, out)
		}
	default:
		invariant.Checkf(false, "a timer of unknown kind %d", o.kind)
	}
}

// refusal is why nothing can be asked of this coordinator now; 0 if it can.
func (c *Coordinator) refusal() int16 {
	switch {
	case c.isResigned:
		return kerr.NotCoordinator.Code
	case c.loading.failed:
		return kerr.CoordinatorNotAvailable.Code
	case !c.loading.done:
		return kerr.CoordinatorLoadInProgress.Code
	}
	return 0
}

// group is the group of an id, nil if there is none; make creates it.
func (c *Coordinator) group(id string, create bool) *group {
	g := c.groups[id]
	if g == nil && create {
		g = &group{id: id, memory: c.memory, place: len(c.order), stateTimestamp: model.NoTimestamp, emptySince: model.NoTimestamp}
		g.due.Owner, g.meta.group = g, g
		g.joinTimer.Owner = owner{kind: joinTimer, group: g}
		g.syncTimer.Owner = owner{kind: syncTimer, group: g}
		c.groups[id] = g
		c.order = append(c.order, g)
	}
	return g
}

// forgetEmpty drops a group of which nothing is left: no members, no offsets, no record in the log.
func (c *Coordinator) forgetEmpty(id string) {
	g := c.groups[id]
	if g == nil || g.state != Empty || len(g.members)+len(g.pending)+len(g.offsets.byKey)+len(g.queue) > 0 || g.saved != nil || g.writes > 0 {
		return
	}
	g.state = Dead
	c.expiry.Stop(&g.due)
	c.timers.Stop(&g.joinTimer)
	c.timers.Stop(&g.syncTimer)
	last := len(c.order) - 1
	c.order[g.place] = c.order[last]
	c.order[g.place].place = g.place
	c.order[last] = nil
	c.order = c.order[:last]
	delete(c.groups, id)
}

// newID makes a member id that nobody has had: what the member calls itself, and a UUID.
func (c *Coordinator) newID(prefix string) string {
	c.memory.idCount++
	var in [29]byte
	copy(in[:16], c.config.IDSeed[:])
	binary.BigEndian.PutUint64(in[16:], c.memory.idCount)
	binary.BigEndian.PutUint32(in[24:], uint32(c.partition.Partition))
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], xxhash.Sum64(in[:]))
	in[28] = 1
	binary.BigEndian.PutUint64(id[8:], xxhash.Sum64(in[:]))
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%s-%x-%x-%x-%x-%x", prefix[:min(len(prefix), nameBytesMax)], id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// nameBytesMax bounds what clients call themselves and their protocols: such names come back in responses, and
// go into records, whose strings are short.
const nameBytesMax = 249

// groupIDBytesMax is the longest string that every version of every response and record can hold.
const groupIDBytesMax = 1<<15 - 1

// validID reports whether a group can have an id. Offsets may be kept without one, as in Kafka.
func validID(id string, mayBeEmpty bool) bool {
	return len(id) <= groupIDBytesMax && (id != "" || mayBeEmpty)
}

func reply(to effect.RequestID, body effect.Body, out *effect.Set) {
	out.Replies = append(out.Replies, effect.Reply{To: to, Body: body})
}

// reasonBytesMax is how much of a client's reason the log repeats.
const reasonBytesMax = 200

func note(g *group, kind effect.NoteKind, member, detail string, out *effect.Set) {
	text := detail[:min(len(detail), reasonBytesMax)]
	if member != "" {
		text = "member " + member
		if detail != "" {
			text += ": " + detail[:min(len(detail), reasonBytesMax)]
		}
	}
	out.Notes = append(out.Notes, effect.Note{Kind: kind, Group: g.id[:min(len(g.id), nameBytesMax)], Count: int64(g.generation), Detail: text})
}
