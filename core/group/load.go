package group

import (
	"fmt"

	"github.com/weirmq/weir/core/coord"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// loading is how far a coordinator has come to know what its log says.
type loading struct {
	done, failed bool
	scanned      bool // the whole log was read; groups are brought to life
	start, next  model.Offset
	end          model.Offset
	restored     int // groups brought to life, of Coordinator.order
	skippedCount int64
	decompressor record.Decompressor
	timer        coord.Timer[owner]
}

// scanBytes is how much of the log is read at a time.
const scanBytes = 1 << 20

// restoreStep is how many groups are brought to life in one step.
const restoreStep = 1000

// scanRetry is how long to wait for records that are in the log and cannot be read yet.
const scanRetry = 10 * millisecond

// Load begins to read the log from its start to its end, which is where this node's leadership begins. Until
// that is done members are told to try again.
func (c *Coordinator) Load(now model.Time, wall model.Timestamp, start, end model.Offset, out *effect.Set) {
	c.advance(now, wall)
	c.loading.start, c.loading.next, c.loading.end = start, start, end
	c.log.highWatermark = start
	c.loadOn(out)
}

// loadOn reads the next piece, or brings the next groups to life.
func (c *Coordinator) loadOn(out *effect.Set) {
	l := &c.loading
	if l.scanned || l.next >= l.end {
		c.restoreSome(out)
		return
	}
	out.Scans = append(out.Scans, effect.Scan{Partition: c.partition, From: l.next, BytesMax: scanBytes})
}

// Scanned takes in a piece of the log.
func (c *Coordinator) Scanned(now model.Time, in *effect.Scanned, out *effect.Set) {
	c.advance(now, c.wall)
	l := &c.loading
	if l.done || l.failed || l.scanned || in.From != l.next {
		return
	}
	if in.Failure != effect.OK {
		c.loadFailed("the log cannot be read: "+in.Failure.String(), out)
		return
	}
	if in.Next <= in.From {
		c.timers.Set(&l.timer, c.now+scanRetry)
		return
	}
	for b := in.Batches; len(b) > 0; {
		batch, rest, err := record.Next(b)
		if err == nil {
			err = c.loadBatch(batch)
		}
		if err != nil {
			c.loadFailed(err.Error(), out)
			return
		}
		b = rest
	}
	l.next = in.Next
	c.loadOn(out)
}

// loadBatch applies the records of a batch. A record that this version does not know, or that is not what it
// should be, is passed over: the rest of the partition's groups must not suffer for it.
func (c *Coordinator) loadBatch(b record.Batch) error {
	if b.BaseOffset() >= c.loading.end {
		return nil
	}
	c.log.grow(b.NextOffset(), len(b))
	c.log.freshBytes += int64(len(b))
	h, err := record.ReadHeader(b)
	if err != nil {
		return err
	}
	if h.IsControl() || h.IsTransactional() {
		c.loading.skippedCount += int64(h.RecordCount)
		return nil
	}
	r := record.NewReader(b, &c.loading.decompressor)
	for r.Next() {
		rec := r.Record()
		if rec.Offset < c.loading.start {
			continue
		}
		if lr, err := readRecord(rec.Key, rec.Value); err == nil && validID(lr.group, true) {
			c.apply(&lr, rec.Offset)
		} else {
			c.loading.skippedCount++
		}
	}
	return r.Err()
}

// Broken says, instead of Load, that the log cannot be read: it may not be taken for an empty one.
func (c *Coordinator) Broken(now model.Time, wall model.Timestamp, why string, out *effect.Set) {
	c.advance(now, wall)
	c.loadFailed(why, out)
}

func (c *Coordinator) loadFailed(why string, out *effect.Set) {
	c.loading.failed = true
	out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteCoordinatorFailed, Partition: c.partition, Offset: c.loading.next, Detail: why})
}

// restoreSome brings groups to life: their members are expected to go on as if nothing had happened.
func (c *Coordinator) restoreSome(out *effect.Set) {
	l := &c.loading
	l.scanned = true
	for range restoreStep {
		if l.restored == len(c.order) {
			c.loaded(out)
			return
		}
		c.restore(c.order[l.restored])
		l.restored++
	}
	c.timers.Set(&l.timer, c.now+1)
}

func (c *Coordinator) loaded(out *effect.Set) {
	l := &c.loading
	l.done = true
	l.decompressor = record.Decompressor{}
	c.log.highWatermark = l.end
	c.timers.Set(&c.expiryTimer, c.now+c.config.ExpiryInterval)
	c.beginSweep(c.now + 1) // topics may have gone while nobody looked
	detail := ""
	if l.skippedCount > 0 {
		detail = fmt.Sprintf("%d records were passed over", l.skippedCount)
	}
	if l.end > l.start {
		out.Notes = append(out.Notes, effect.Note{
			Kind: effect.NoteCoordinatorLoaded, Partition: c.partition, Offset: l.end, Count: int64(len(c.order)), Detail: detail,
		})
	}
	if len(c.order) > 0 {
		out.Marks.Set(effect.MarkGroupsLoaded)
	}
	c.rewrite(out)
}

// restore makes a group of what the log says of it.
func (c *Coordinator) restore(g *group) {
	v := g.saved
	if v != nil {
		g.generation, g.protocolType = v.Generation, v.ProtocolType
		g.stateTimestamp = model.Timestamp(v.CurrentStateTimestamp)
		g.emptySince = g.stateTimestamp
	}
	for _, e := range g.offsets.ordered {
		c.scheduleCommitted(g, &e.committed)
	}
	if v == nil || len(v.Members) == 0 {
		c.schedule(g, c.emptyDue(g))
		return
	}
	for i := range v.Members {
		s := &v.Members[i]
		m := &member{
			id: s.MemberID, instance: s.GroupInstanceID.Value, clientID: s.ClientID, clientHost: s.ClientHost,
			sessionTimeoutMs: s.SessionTimeout, rebalanceTimeoutMs: s.RebalanceTimeout, assignment: s.Assignment,
			protocols: []Protocol{{Name: v.Protocol.Value, Metadata: s.Subscription}},
			sizeBytes: memberBytes + len(s.Subscription),
		}
		if m.rebalanceTimeoutMs <= 0 {
			m.rebalanceTimeoutMs = m.sessionTimeoutMs
		}
		g.add(m)
		c.touch(m)
	}
	g.state, g.protocol, g.leader = Stable, v.Protocol.Value, v.Leader.Value
	g.subscribed = g.subscriptions()
	c.schedule(g, c.wall+model.Timestamp(c.config.OffsetsRetentionMs))
}
