package sim

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/session"
	"github.com/weirmq/weir/core/storage"
)

// Connections.

// connected makes a session.
func (p *process) connected(c *conn) {
	id := effect.ConnID(c.id)
	nc := &nodeConn{p: p, c: c, session: session.New(&p.config, id)}
	nc.session.ClientHost = fmt.Sprintf("/client%d", c.id)
	nc.session.ForNodes = c.ofNodes()
	p.conns[id] = nc
}

func (p *process) received(c *conn, b []byte) {
	if nc := p.conns[effect.ConnID(c.id)]; nc != nil {
		nc.buf = append(nc.buf, b...)
		p.run(nc.receive)
	}
}

func (p *process) lost(c *conn) {
	nc := p.conns[effect.ConnID(c.id)]
	if nc == nil {
		return
	}
	p.run(func() {
		nc.end()
		delete(p.conns, effect.ConnID(c.id))
	})
}

// end tells the session that its connection is gone.
func (nc *nodeConn) end() {
	if nc.closed {
		return
	}
	nc.closed = true
	p := nc.p
	for _, f := range nc.outbox {
		nc.session.Recycle(f)
	}
	nc.outbox = nil
	p.out.Reset()
	nc.session.Disconnect(&p.out)
	nc.carryOut()
}

// receive cuts what has arrived into frames.
func (nc *nodeConn) receive() {
	p := nc.p
	for !nc.closed && len(nc.buf) >= 4 {
		n := int(int32(binary.BigEndian.Uint32(nc.buf)))
		if n < 0 || n > frameBytesMax {
			nc.hangUp()
			return
		}
		if len(nc.buf) < 4+n {
			return
		}
		// The frame is the session's alone until it comes back.
		frame := append(make([]byte, 0, n), nc.buf[4:4+n]...)
		nc.buf = nc.buf[4+n:]
		p.out.Reset()
		p.n.w.coreEvents++
		nc.order.asked(p.n.w.now, frame)
		nc.session.See(p.published)
		key, version := nc.session.Receive(p.n.clock.wall(p.n.w.now), frame, &p.out)
		p.n.note("request", uint64(nc.c.id), uint64(uint16(key)), uint64(uint16(version)), "")
		nc.carryOut()
	}
}

// frameBytesMax is Kafka's default for socket.request.max.bytes.
const frameBytesMax = 100 << 20

func (nc *nodeConn) hangUp() {
	nc.end()
	nc.c.close(1)
	delete(nc.p.conns, effect.ConnID(nc.c.id))
}

// carryOut does what a session wants done.
func (nc *nodeConn) carryOut() {
	p := nc.p
	out := &p.out
	p.events = append(p.events, out.Events...)
	for i := range out.Frames {
		if err := nc.order.answered(&out.Frames[i]); err != "" {
			p.n.w.fail("response-order", fmt.Sprintf("connection %d: %s", nc.c.id, err))
		}
	}
	nc.outbox = append(nc.outbox, out.Frames...)
	for _, f := range out.Free {
		// Whoever still looks at it deserves to find nonsense.
		for i := range f {
			f[i] = 0xdb
		}
	}
	why := out.Close
	out.Reset()
	if nc.closed {
		for _, f := range nc.outbox {
			nc.session.Recycle(f)
		}
		nc.outbox = nil
	} else if len(nc.outbox) > 0 && !nc.outAt {
		nc.outAt = true
		p.later(p.n.w.now+p.wait(p.n.w.plan.Knobs.LoopDelay), nc.write)
	}
	p.schedule()
	if why != "" && !nc.closed {
		p.n.note("hang.up", nc.c.id, 0, 0, why)
		nc.write()
		nc.hangUp()
	}
}

// write puts the responses on the wire; file regions are read only now, as sendfile does.
func (nc *nodeConn) write() {
	nc.outAt = false
	for _, f := range nc.outbox {
		b := make([]byte, 0, f.LenBytes)
		for _, piece := range f.Pieces {
			if piece.Region == nil {
				b = append(b, piece.Bytes...)
				continue
			}
			at := len(b)
			b = b[:at+piece.Region.Len()]
			n, err := piece.Region.(effect.Region).ReadAt(b[at:], 0)
			invariant.Check(n == len(b)-at && (err == nil || n > 0), "a file region can be read whole")
		}
		invariant.Check(len(b) == f.LenBytes, "a frame is as long as it says")
		nc.c.send(1, b)
		nc.session.Recycle(f)
	}
	nc.outbox = nc.outbox[:0]
}

// wait draws how long an actor takes to get going.
func (p *process) wait(mean model.Time) model.Time {
	if t := p.n.slowTimes; t > 0 {
		p.n.w.fire(FaultSlowNode)
		mean = max(mean, 10*us) * model.Time(t)
	}
	if mean == 0 {
		return 0
	}
	return model.Time(p.n.rand.Exp(int64(mean)))
}

// slowed is how long something takes now that takes so long on a node that is not slow. What is left of it when the node
// is slow no more goes at its own pace: a sync of a second must not take minutes because it began in a slow one.
func (n *node) slowed(took model.Time) model.Time {
	times, left := model.Time(max(1, n.slowTimes)), max(0, n.slowUntil-n.w.now)
	if times == 1 || took*times <= left {
		return took * times
	}
	return left + took - left/times
}

// schedule gives every actor that has work a turn.
func (p *process) schedule() {
	now, k := p.n.w.now, &p.n.w.plan.Knobs
	if len(p.events) > 0 && !p.loopAt {
		p.loopAt = true
		p.later(now+p.wait(k.LoopDelay), p.loop)
	}
	if (len(p.sets) > 0 || p.stopping != nil && p.idle()) && !p.ioAt {
		p.ioAt = true
		p.later(max(now+p.wait(k.IODelay), p.ioFreeAt), p.io)
	}
}

// The loop.

// loop steps the broker with everything that waits.
func (p *process) loop() {
	p.loopAt = false
	events := p.events
	p.events = nil
	for _, ev := range events {
		set := p.set()
		p.n.w.coreEvents++
		p.steps++
		p.broker.Step(p.n.clock.monotonic(p.n.w.now), ev, set)
		p.watchFetches(ev, set)
		p.checkRetries(ev, set)
		p.dispatch(set)
		if done, ok := ev.(*broker.Completed); ok {
			for _, a := range done.Appended {
				p.checkBounds(a.Partition)
			}
			for _, r := range done.Retained {
				p.checkBounds(r.Partition)
			}
			p.checkWoken()
		}
	}
	p.serve()
	if p.steps >= p.n.w.checkEvery {
		p.steps = 0
		p.check()
	}
	p.scheduleTick()
	p.schedule()
}

// scheduleTick sees to it that the broker is woken at its deadline.
func (p *process) scheduleTick() {
	d := p.broker.Deadline()
	if d == 0 || p.tickAt != 0 && p.tickAt <= d {
		return
	}
	p.tickAt = d
	p.later(p.n.w.now+p.n.clock.wait(d-p.n.clock.monotonic(p.n.w.now)), func() {
		if p.tickAt != d {
			return // an earlier one took its place
		}
		p.tickAt = 0
		set := p.set()
		p.n.w.coreEvents++
		p.broker.Tick(p.n.clock.monotonic(p.n.w.now), p.n.clock.wall(p.n.w.now), set)
		p.watchFetches(nil, set)
		p.dispatch(set)
		p.serve()
		p.scheduleTick()
		p.schedule()
	})
}

// dispatch hands out the effects of one step, in an order of the simulator's choosing: effects are
// independent, except those on one log.
func (p *process) dispatch(set *effect.Set) {
	p.notes(set)
	p.published = p.broker.Published() // before any answer of the step
	p.n.w.applied(p.published.View)
	p.elected()
	r := p.n.rand
	if len(set.Produced) > 1 {
		r.Shuffle(len(set.Produced), func(i, j int) { set.Produced[i], set.Produced[j] = set.Produced[j], set.Produced[i] })
	}
	if len(set.Replies) > 1 {
		r.Shuffle(len(set.Replies), func(i, j int) { set.Replies[i], set.Replies[j] = set.Replies[j], set.Replies[i] })
	}
	first := len(set.Produced) > 0 && len(set.Replies) > 0 && r.Percent(50)
	if first {
		p.reply(set)
	}
	for _, o := range set.Produced {
		p.n.note("produced", uint64(o.To.Conn), o.To.Request, uint64(o.BaseOffset)<<16|uint64(uint16(o.Code)), "")
		if nc := p.conns[o.To.Conn]; nc != nil {
			p.out.Reset()
			nc.session.See(p.published)
			nc.session.Produced(o, &p.out)
			nc.carryOut()
		}
	}
	if !first {
		p.reply(set)
	}
	for _, o := range set.Closes {
		p.n.note("close", uint64(o.Conn), 0, 0, o.Cause)
		if nc := p.conns[o.Conn]; nc != nil {
			p.out.Reset()
			nc.session.HangUp(o.Cause, &p.out)
			nc.carryOut()
		}
	}
	if len(set.Calls) > 0 {
		p.call(set.Calls)
		clear(set.Calls)
		set.Calls = set.Calls[:0]
	}
	set.Produced, set.Replies, set.Closes, set.Notes = set.Produced[:0], set.Replies[:0], set.Closes[:0], set.Notes[:0]
	if set.Empty() {
		set.Reset()
		p.free = append(p.free, set)
		return
	}
	p.shuffleAppends(set)
	p.ghostSet(set)
	p.sets = append(p.sets, set)
}

func (p *process) reply(set *effect.Set) {
	for _, o := range set.Replies {
		p.n.note("replied", uint64(o.To.Conn), o.To.Request, 0, "")
		p.checkAltered(&o)
		if a, ok := o.Body.(*effect.ProducerIDAssigned); ok && a.Code == 0 {
			p.n.ghost.assigned(a.ID, a.Epoch)
		}
		if nc := p.conns[o.To.Conn]; nc != nil {
			p.out.Reset()
			nc.session.See(p.published)
			nc.session.Replied(o, &p.out)
			nc.carryOut()
		}
	}
}

// shuffleAppends reorders appends to different logs.
func (p *process) shuffleAppends(set *effect.Set) {
	a := set.Appends
	for i := len(a) - 1; i > 0; i-- {
		j := p.n.rand.Intn(i + 1)
		// Swapping is allowed if neither passes another append to its log.
		ok := true
		for k := j; k <= i && ok; k++ {
			ok = k == j || k == i || a[k].Partition != a[i].Partition && a[k].Partition != a[j].Partition
		}
		if ok && a[i].Partition != a[j].Partition {
			a[i], a[j] = a[j], a[i]
		}
	}
}

// ghostSet keeps the ghost informed of what is asked for.
func (p *process) ghostSet(set *effect.Set) {
	g := p.n.ghost
	g.cutBySet(set)
	for _, a := range set.StartAts {
		p.n.w.beganAnew[a.Partition] = max(p.n.w.beganAnew[a.Partition], a.Offset)
	}
	for i := range set.Appends {
		g.append(&set.Appends[i])
	}
	for i := range set.Opens {
		l := g.log(set.Opens[i].Partition)
		l.deleted = false // it was given to this node again
		l.configs = append(l.configs, set.Opens[i].Config)
	}
	for i := range set.Retains {
		l := g.log(set.Retains[i].Partition)
		l.limit, l.below = max(l.limit, set.Retains[i].HighWatermark), max(l.below, set.Retains[i].Below)
		l.wall = max(l.wall, set.Retains[i].Wall)
	}
	for i := range set.Deletes {
		g.log(set.Deletes[i].Partition).deleted = true
	}
}

// Input and output.

// io is one turn of the storage engine: perform what waits, resolve reads, begin a sync if none is under
// way. What it reports arrives when its disk operations have taken their time.
func (p *process) io() {
	p.ioAt = false
	n := p.n
	before := n.disk.opCount
	sets := p.sets
	p.sets = nil
	var fetched []effect.Read
	done := &effect.Completions{}
	for _, set := range sets {
		for i := range set.Appends {
			a := &set.Appends[i]
			n.ghost.hand(a)
			n.note("append", n.ghost.log(a.Partition).number, uint64(a.BaseOffset), uint64(a.Attempt), "")
		}
		p.n.w.coreEvents++
		p.engine.Perform(set, done)
		for _, r := range set.Reads {
			fetched = p.resolve(r, fetched)
		}
		set.Reset()
		p.free = append(p.free, set)
	}
	p.beginSync()
	unwritten := p.unwritten
	p.unwritten = nil
	for _, r := range unwritten {
		fetched = p.resolve(r, fetched)
	}
	p.beginCheckpoint()
	n.ghost.completed(done, false)
	cost := p.cost(n.disk.opCount - before)
	p.ioFreeAt = n.w.now + cost
	if len(fetched) > 0 || !done.Empty() || len(done.Notes) > 0 {
		p.reports++
		p.later(p.ioFreeAt, func() {
			p.reports--
			p.report(fetched, done)
		})
	}
	if p.stopping != nil && p.idle() {
		stop := p.stopping
		p.stopping = nil
		stop()
	}
}

// resolve finds the records of a fetch, unless they are to be written first.
func (p *process) resolve(r effect.Read, fetched []effect.Read) []effect.Read {
	if p.engine.Unwritten(r.Fetch) {
		p.unwritten = append(p.unwritten, r)
		return fetched
	}
	p.engine.ResolveRead(r.Fetch)
	return append(fetched, r)
}

// idle reports whether nothing is under way.
func (p *process) idle() bool {
	return !p.syncing && !p.checkpointing && len(p.sets) == 0 && len(p.events) == 0 && p.reports == 0
}

// cost is how long disk operations take.
func (p *process) cost(ops int64) model.Time {
	plan := p.n.w.plan.Disk
	mean := int64(plan.OpMean)
	cost := model.Time(ops * p.n.rand.Between(mean/2, mean*3/2))
	if p.n.slowMean > 0 {
		p.n.w.fire(FaultDiskSlow)
		cost += model.Time(p.n.rand.Exp(int64(p.n.slowMean)))
	}
	return p.n.slowed(cost)
}

// report delivers what an engine's turn came to.
func (p *process) report(fetched []effect.Read, done *effect.Completions) {
	r := p.n.rand
	r.Shuffle(len(fetched), func(i, j int) { fetched[i], fetched[j] = fetched[j], fetched[i] })
	for _, f := range fetched {
		nc := p.conns[f.To.Conn]
		if nc == nil {
			for i := range f.Fetch.Parts {
				for _, region := range f.Fetch.Parts[i].Records.Regions {
					region.Release()
				}
			}
			continue
		}
		p.out.Reset()
		nc.session.Fetched(f.To, f.Fetch, &p.out)
		nc.carryOut()
	}
	for _, note := range done.Notes {
		p.note(note)
	}
	for _, a := range done.Appended {
		p.n.note("appended", p.n.ghost.log(a.Partition).number, uint64(a.NextOffset), uint64(a.Failure)<<32|uint64(a.Attempt), "")
	}
	if !done.Empty() {
		p.events = append(p.events, &broker.Completed{Completions: *done})
	}
	p.schedule()
}

// beginSync starts a sync of what is staged, and says when it will end.
func (p *process) beginSync() {
	if p.syncing {
		return
	}
	work, ok := p.engine.BeginSync()
	if !ok {
		p.n.disk.Proven()
		return
	}
	p.syncing = true
	p.n.ghost.syncBegins()
	p.underway(work, true, func(err error, done *effect.Completions) error {
		p.syncing = false
		if err == nil {
			p.n.ghost.syncEnds()
		}
		return p.engine.EndSync(work, err, done)
	})
}

func (p *process) beginCheckpoint() {
	if p.checkpointing || !p.engine.CheckpointDue() {
		return
	}
	work, ok := p.engine.BeginCheckpoint()
	if !ok {
		return
	}
	p.checkpointing = true
	p.underway(work, false, func(err error, done *effect.Completions) error {
		p.checkpointing = false
		return p.engine.EndCheckpoint(work, err, done)
	})
}

// underway lets a sync happen some time from now, and tells the engine how it ended.
func (p *process) underway(work *storage.SyncWork, appends bool, end func(error, *effect.Completions) error) {
	n, plan := p.n, p.n.w.plan.Disk
	n.disk.BeginSync()
	took := plan.SyncMin + model.Time(n.rand.Exp(int64(plan.SyncMean)))
	if n.slowMean > 0 {
		took += model.Time(n.rand.Exp(int64(4 * n.slowMean)))
	}
	took = n.slowed(took)
	p.later(n.w.now+took, func() {
		err := n.disk.RunSync(appends, work.Run)
		n.note("synced", boolBit(err != nil), boolBit(appends), 0, "")
		// The engine hears of it when it gets round to it; other syncs may end meanwhile.
		p.later(max(n.w.now+p.wait(n.w.plan.Knobs.IODelay), p.ioFreeAt), func() { p.ended(err, end) })
	})
}

// ended tells the engine how a sync ended, and passes on what it reports.
func (p *process) ended(err error, end func(error, *effect.Completions) error) {
	n := p.n
	done := &effect.Completions{}
	stop := end(err, done)
	if errors.Is(err, errIO) && stop == nil {
		n.w.fail("sync-error-ignored", "a sync failed and the engine goes on: "+err.Error())
		return
	}
	if stop != nil {
		n.stop(stop)
		return
	}
	n.ghost.completed(done, true)
	p.report(nil, done)
	// The next sync begins with the next turn.
	if !p.ioAt {
		p.ioAt = true
		p.later(max(n.w.now, p.ioFreeAt), p.io)
	}
}
