package group

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/coord"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

var (
	errUnknownKind = errors.New("a record of a kind that the classic protocol does not have")
	errMembers     = errors.New("a group record whose members cannot be")
)

// decision is what was decided and waits to be durable.
type decision struct {
	kind      decisionKind
	group     *group
	sizeBytes int

	saved  *protocol.GroupMetadataValue // assigned, emptied, rejoined: what the log says then
	rejoin *rejoin
	commit *Commit
	codes  []int16  // of commit
	gone   []*entry // removed: these keys
	all    bool     // removed: the group's record, too
	last   bool     // removed: nothing more of the group follows
	tell   teller   // removed: who is told
	anew   []*entry // rewritten
}

type decisionKind uint8

const (
	decideAssigned  decisionKind = iota + 1 // the leader's assignment
	decideEmptied                           // the group has no members any more
	decideRejoined                          // a static member came back under a new id
	decideCommitted                         // offsets
	decideRemoved                           // offsets, and the group with them, or not
	decideRewritten                         // live keys, so that their old records can go
)

// rejoin is a static member that comes back.
type rejoin struct {
	in     *Join
	member *member
	id     string
	leader string // as it was
}

// teller hears how a removal ended.
type teller interface {
	removed(code int16, out *effect.Set)
}

// writeGroup writes what the log is to say of a group's members. Until it is durable nothing else is decided
// about them.
func (c *Coordinator) writeGroup(g *group, d decision, out *effect.Set) {
	c.writer.Begin(c.wall)
	c.key, c.value = appendGroupKey(c.key[:0], g.id), appendGroupValue(c.value[:0], d.saved)
	if len(c.value) > coord.BatchBytesMax {
		c.undo(&d, kerr.UnknownServerError.Code, out)
		return
	}
	c.writer.Add(c.key, c.value)
	c.append(d, out)
}

// append writes the batch at hand, or takes the decision back if the log does not take it.
func (c *Coordinator) append(d decision, out *effect.Set) bool {
	d.sizeBytes = c.writer.SizeBytes()
	c.begin(&d)
	if _, code := c.writer.Append(d, out); code != 0 {
		c.end(&d)
		c.undo(&d, coordinatorCode(code), out)
		return false
	}
	return true
}

// begin notes that a decision is in flight, end that it is not any more.
func (c *Coordinator) begin(d *decision) {
	switch d.kind {
	case decideCommitted:
		d.group.commitsInFlight++
		for i := range d.commit.Parts {
			if d.codes[i] == 0 {
				d.group.offsets.ensure(d.group, d.commit.Parts[i].key()).inFlight++
			}
		}
	case decideRewritten:
		c.log.rewriting = true
	default:
		d.group.writes++
	}
}

func (c *Coordinator) end(d *decision) {
	switch d.kind {
	case decideCommitted:
		d.group.commitsInFlight--
		for i := range d.commit.Parts {
			if d.codes[i] == 0 {
				d.group.offsets.get(d.commit.Parts[i].key()).inFlight--
			}
		}
	case decideRewritten:
		c.log.rewriting = false
	default:
		d.group.writes--
	}
}

// coordinatorCode is what a client is told when the log refuses its coordinator's records: the same that Kafka
// says, on all of which it looks for the coordinator and tries again.
func coordinatorCode(code int16) int16 {
	if code == kerr.NotLeaderForPartition.Code {
		return kerr.NotCoordinator.Code
	}
	return kerr.CoordinatorNotAvailable.Code
}

// Durable takes in how far the partition is durable: decisions below it are applied and answered.
func (c *Coordinator) Durable(now model.Time, highWatermark model.Offset, out *effect.Set) {
	c.advance(now, c.wall)
	c.log.highWatermark = max(c.log.highWatermark, highWatermark)
	for d, base, ok := c.writer.Durable(highWatermark); ok; d, base, ok = c.writer.Durable(highWatermark) {
		c.settled(&d, base, out)
	}
	c.rewrite(out)
}

// Refused takes in that the log ends at an offset: what was to be written beyond it never was.
func (c *Coordinator) Refused(now model.Time, logEndOffset model.Offset, code int16, out *effect.Set) {
	c.advance(now, c.wall)
	refused := c.writer.Refused(logEndOffset)
	if len(refused) > 0 {
		out.Marks.Set(effect.MarkCoordinatorRefused)
	}
	for i := range refused {
		c.end(&refused[i])
		c.undo(&refused[i], coordinatorCode(code), out)
	}
	for i := range refused {
		if g := refused[i].group; g != nil {
			c.drain(g, out)
		}
	}
}

// settled applies a durable decision and answers who waits for it.
func (c *Coordinator) settled(d *decision, base model.Offset, out *effect.Set) {
	c.end(d)
	g := d.group
	records := model.Offset(1)
	switch d.kind {
	case decideCommitted:
		records = c.committed(d, base, out)
	case decideRewritten:
		records = model.Offset(len(d.anew))
		for i, e := range d.anew {
			c.log.move(e, base+model.Offset(i), int(e.sizeBytes))
		}
	case decideRemoved:
		for _, e := range d.gone {
			c.applyRemoved(g, e.key)
		}
		records = model.Offset(len(d.gone))
		if d.all {
			c.applyGroup(g, nil, base+records)
			records++
		}
		if d.last {
			d.tell.removed(0, out)
		}
	default:
		c.applyGroup(g, d.saved, base)
		if d.kind == decideAssigned {
			c.assigned(g, out)
		}
		if d.kind == decideRejoined {
			c.cameBack(g, d.rejoin, out)
		}
	}
	c.log.grow(base+records, d.sizeBytes)
	if d.kind != decideRewritten {
		c.log.freshBytes += int64(d.sizeBytes)
	}
	if g != nil {
		c.drain(g, out)
	}
}

// undo answers who waits for a decision that was not written; nothing of it has been applied.
func (c *Coordinator) undo(d *decision, code int16, out *effect.Set) {
	switch d.kind {
	case decideAssigned:
		c.notAssigned(d.group, code, out)
	case decideRejoined:
		refuseJoin(d.rejoin.in, "", code, out)
	case decideCommitted:
		c.notCommitted(d, code, out)
	case decideRemoved:
		if d.last {
			d.tell.removed(code, out)
		}
	case decideRewritten:
		// The old records stay.
	case decideEmptied:
		// The log goes on saying that the last members are there: should the coordinator be lost now, they are
		// expected to come back, and expire.
	}
}

// Apply takes in one record of the log, whether it was just made durable or is read by loading.
func (c *Coordinator) apply(r *logRecord, at model.Offset) {
	live := r.saved != nil || r.committed != nil
	g := c.group(r.group, live)
	switch {
	case g == nil:
	case r.isGroup:
		c.applyGroup(g, r.saved, at)
	case r.committed != nil:
		c.applyCommitted(g, r.key, r.committed, at)
	default:
		c.applyRemoved(g, r.key)
	}
	if g != nil && !live {
		c.forgetEmpty(r.group)
	}
}

// applyGroup takes in what the log says of a group's members; nil is a tombstone.
func (c *Coordinator) applyGroup(g *group, saved *protocol.GroupMetadataValue, at model.Offset) {
	g.saved = saved
	if saved == nil {
		c.log.unlink(&g.meta)
		return
	}
	size := recordBytes + len(g.id)
	for i := range saved.Members {
		m := &saved.Members[i]
		size += recordBytes + len(m.MemberID) + len(m.ClientID) + len(m.Subscription) + len(m.Assignment)
	}
	c.log.move(&g.meta, at, size)
}

func (c *Coordinator) applyCommitted(g *group, k offsetKey, v *committed, at model.Offset) {
	e := g.offsets.ensure(g, k)
	e.committed = *v
	c.log.move(e, at, recordBytes+len(g.id)+len(k.topic)+len(v.metadata))
}

func (c *Coordinator) applyRemoved(g *group, k offsetKey) {
	if e := g.offsets.get(k); e != nil {
		c.log.unlink(e)
		g.offsets.remove(e)
	}
}

// recordBytes is about what a record takes beside its names.
const recordBytes = 64
