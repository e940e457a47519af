package sim

import (
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/sim/draw"
)

// peer is one side of a connection.
type peer interface {
	// connected says that the other side took the connection.
	connected(c *conn)
	// received hands over bytes in the order they were sent, in pieces of any size. They are the
	// receiver's from then on.
	received(c *conn, b []byte)
	// lost says that the connection is gone: refused, reset, or closed by the other side.
	lost(c *conn)
}

// network carries bytes between clients and nodes. Its connections are what TCP promises and no more:
//
//	dial ──► connected ──► bytes in order, late, in pieces ──► lost
//	  └────► lost (refused)
//	  └────► nothing (silence)
//
// A datagram shuffler would reorder what TCP never reorders; a plain queue would never show the one thing
// that clients do suffer: bytes of a connection that one side has long given up, carried out by the other.
type network struct {
	w     *world
	plan  NetPlan
	conns []*conn // open on at least one side, by id
	next  uint64

	refuseUntil  model.Time
	silenceUntil model.Time
	cuts         []cut // machines that cannot send to others now
}

// conn is one connection. Side 0 dialled, side 1 accepted.
type conn struct {
	id    uint64
	net   *network
	ends  ends
	rand  *draw.Stream
	sides [2]side
	pipes [2]pipe // pipes[s] carries what side s sent
	// tag is for the sides to find their own state.
	tag [2]uint64
}

type side struct {
	peer peer
	open bool
}

// pipe is one direction.
type pipe struct {
	queue     []chunk
	arriveMin model.Time // nothing arrives before what was sent before it
	freeAt    model.Time // when the link has sent all so far
	clogUntil model.Time
	waiting   bool // a delivery is scheduled
}

// chunk is a run of bytes under way; end marks the end of the stream.
type chunk struct {
	bytes  []byte
	arrive model.Time
	end    bool
	late   bool // its connection is dead at the sender's side
}

func newNetwork(w *world, plan NetPlan) *network { return &network{w: w, plan: plan, next: 1} }

// ends are the machines of a connection's two sides: nodes by their number, and 0 where all clients are.
type ends [2]int

// dial connects a client, or a node, to whatever listens at a node.
func (n *network) dial(between ends, from peer, tag uint64, listener func() peer) *conn {
	c := &conn{id: n.next, net: n, ends: between, rand: n.w.root.Stream("net.conn", n.next)}
	n.next++
	c.sides[0], c.tag[0] = side{peer: from, open: true}, tag
	n.conns = append(n.conns, c)
	n.w.after(c.delay(), func() { c.whenOpen(0, func() { c.arriveDial(listener()) }) })
	return c
}

func (c *conn) arriveDial(to peer) {
	n := c.net
	n.w.trace.add(n.w.now, 0, "net.dial", c.id, c.tag[0], boolBit(to != nil), "")
	switch {
	case !c.sides[0].open:
		n.forget(c)
		return
	case n.w.now < n.silenceUntil:
		n.w.fire(FaultSilence)
		return
	case to == nil || n.w.now < n.refuseUntil:
		if to != nil {
			n.w.fire(FaultRefuse)
		}
		n.w.after(c.delay(), func() { c.whenOpen(1, func() { c.drop(0) }) })
		return
	}
	c.sides[1] = side{peer: to, open: true}
	to.connected(c)
	n.w.after(c.delay(), func() {
		c.whenOpen(1, func() {
			if c.sides[0].open {
				c.sides[0].peer.connected(c)
			}
		})
	})
}

// delay draws one way's time.
func (c *conn) delay() model.Time {
	p := c.net.plan
	d := p.DelayMin + model.Time(c.rand.Exp(int64(p.DelayMean)))
	if far := p.NodeDelay; far > 0 && c.ofNodes() {
		const jitter = 20 // one part of so many, on average
		d += far + model.Time(c.rand.Exp(int64(far/jitter)))
		c.net.w.fire(FaultFar)
	}
	if c.rand.PerMillion(1000) {
		d += 20 * p.DelayMean
	}
	return d
}

// ofNodes reports whether the connection is one between nodes.
func (c *conn) ofNodes() bool { return c.ends[0] != 0 && c.ends[1] != 0 }

// send writes bytes at a side. They are the network's from then on. What is sent on a connection that the
// sender has lost goes nowhere.
func (c *conn) send(s int, b []byte) {
	if !c.sides[s].open || len(b) == 0 {
		return
	}
	c.net.w.trace.add(c.net.w.now, 0, "net.send", c.id<<1|uint64(s), uint64(len(b)), xxhash.Sum64(b), "")
	if !c.rand.Percent(c.net.plan.SegmentPercent) || len(b) == 1 {
		c.enqueue(s, chunk{bytes: b}, c.delay())
		return
	}
	c.net.w.fire(FaultSegment)
	for pieces := 1 + c.rand.Intn(4); pieces > 0 && len(b) > 1; pieces-- {
		cut := 1 + c.rand.Intn(min(len(b)-1, 1<<c.rand.Intn(12)))
		c.enqueue(s, chunk{bytes: b[:cut:cut]}, c.delay())
		b = b[cut:]
	}
	c.enqueue(s, chunk{bytes: b}, c.delay())
}

func (c *conn) enqueue(s int, k chunk, delay model.Time) {
	w, p := c.net.w, &c.pipes[s]
	sent := max(w.now, p.freeAt)
	rate := c.net.plan.BytesPerSecond
	if r := c.net.plan.NodeBytesPerSecond; r > 0 && c.ofNodes() && (rate == 0 || r < rate) {
		rate = r
	}
	if rate > 0 && len(k.bytes) > 0 {
		sent += model.Time(int64(len(k.bytes)) * int64(sc) / rate)
		p.freeAt = sent
		w.fire(FaultBandwidth)
	}
	k.arrive = max(sent+delay, p.arriveMin)
	p.arriveMin = k.arrive
	p.queue = append(p.queue, k)
	c.await(s)
}

// await schedules the delivery of the oldest chunk.
func (c *conn) await(s int) {
	p := &c.pipes[s]
	if p.waiting || len(p.queue) == 0 {
		return
	}
	p.waiting = true
	c.net.w.at(max(p.queue[0].arrive, p.clogUntil, c.cutUntil(s)), func() { c.deliver(s) })
}

func (c *conn) deliver(s int) {
	w, p := c.net.w, &c.pipes[s]
	p.waiting = false
	for len(p.queue) > 0 && p.queue[0].arrive <= w.now && p.clogUntil <= w.now && !c.isCut(s) {
		k := p.queue[0]
		p.queue[0] = chunk{}
		p.queue = p.queue[1:]
		if k.end {
			c.drop(1 - s)
			return
		}
		if to := &c.sides[1-s]; to.open {
			w.trace.add(w.now, 0, "net.receive", c.id<<1|uint64(1-s), uint64(len(k.bytes)), 0, "")
			if k.late || !c.sides[s].open && s == 0 {
				w.fire(FaultLateDelivery)
			}
			w.carry(len(k.bytes))
			to.peer.received(c, k.bytes)
		}
	}
	c.await(s)
}

// drop ends the connection for one side, and tells it.
func (c *conn) drop(s int) {
	if !c.sides[s].open {
		return
	}
	c.sides[s].open = false
	c.net.w.trace.add(c.net.w.now, 0, "net.lost", c.id<<1|uint64(s), 0, 0, "")
	c.sides[s].peer.lost(c)
	// The other side learns of it when it has received all that was sent before.
	c.enqueue(s, chunk{end: true}, c.delay())
	c.net.forget(c)
}

// close ends the connection at a side's own wish. The other side receives what was sent, then the end.
func (c *conn) close(s int) {
	if !c.sides[s].open {
		return
	}
	c.sides[s].open = false
	c.net.w.trace.add(c.net.w.now, 0, "net.close", c.id<<1|uint64(s), 0, 0, "")
	c.enqueue(s, chunk{end: true}, c.delay())
	c.net.forget(c)
}

// forget leaves out a connection that is gone on both sides. Chunks under way find its sides closed.
func (n *network) forget(c *conn) {
	if c.sides[0].open || c.sides[1].open {
		return
	}
	if i, ok := slices.BinarySearchFunc(n.conns, c.id, func(o *conn, id uint64) int { return compare(o.id, id) }); ok {
		n.conns = slices.Delete(n.conns, i, i+1)
	}
}

// reset breaks a connection: each side receives a prefix of what was under way to it, then loses it. With
// late, the client loses it now and the node receives everything, up to that much later.
func (c *conn) reset(late model.Time) {
	w := c.net.w
	w.fire(FaultReset)
	w.trace.add(w.now, 0, "net.reset", c.id, uint64(late), 0, "")
	if c.sides[1].peer == nil { // still dialling
		c.drop(0)
		return
	}
	c.shorten(1)
	if late == 0 {
		c.shorten(0)
		return
	}
	p := &c.pipes[0]
	for i := range p.queue {
		p.queue[i].late = true
		p.queue[i].arrive += model.Time(c.rand.Between(int64(late/2), int64(late)))
		p.arriveMin = max(p.arriveMin, p.queue[i].arrive)
		p.queue[i].arrive = p.arriveMin
	}
	p.waiting = false // its event finds nothing due and waits anew
	c.await(0)
	c.drop(0)
}

// shorten leaves a random prefix of what side s sent and is still under way, and ends the other side then.
func (c *conn) shorten(s int) {
	p := &c.pipes[s]
	total := 0
	for _, k := range p.queue {
		total += len(k.bytes)
	}
	keep := c.rand.Intn(total + 1)
	for i, k := range p.queue {
		if len(k.bytes) > keep {
			p.queue[i].bytes = k.bytes[:keep]
			p.queue = p.queue[:i+1]
			break
		}
		keep -= len(k.bytes)
	}
	p.queue = slices.DeleteFunc(p.queue, func(k chunk) bool { return len(k.bytes) == 0 && !k.end })
	c.enqueue(s, chunk{end: true}, 0)
}

// pick calls visit for some of the open connections.
func (n *network) pick(r *draw.Stream, percent int64, visit func(c *conn)) {
	for _, c := range slices.Clone(n.conns) {
		if r.Percent(percent) {
			visit(c)
		}
	}
}

// clog holds back everything of a connection in one or both directions until a time.
func (c *conn) clog(until model.Time, kind Fault) {
	c.net.w.fire(kind)
	both := c.rand.Percent(50)
	one := c.rand.Intn(2)
	for s := range 2 {
		if both || s == one {
			c.pipes[s].clogUntil = max(c.pipes[s].clogUntil, until)
		}
	}
}

// blackhole swallows a connection: nothing arrives any more, and in the end both sides lose it.
func (c *conn) blackhole(until model.Time) {
	c.clog(until, FaultBlackhole)
	c.net.w.at(until, func() {
		for s := range 2 {
			c.pipes[s].queue = nil
		}
		c.drop(0)
		c.drop(1)
	})
}

// each visits the connections that a process has accepted and not lost.
func (n *network) each(to peer, visit func(c *conn)) {
	for _, c := range slices.Clone(n.conns) {
		if c.sides[1].peer == to && c.sides[1].open {
			visit(c)
		}
	}
}

// belongs reports whether a side is a process's: it accepted there, or one of its links dialled.
func (s *side) belongs(p *process) bool {
	if !s.open {
		return false
	}
	if l, ok := s.peer.(*nodeLink); ok {
		return l.p == p
	}
	return s.peer == peer(p)
}

// kill breaks every connection of a node that died: its kernel says so, or, after a power loss, nothing
// does until the client gives up or the node is back and does not know the connection.
func (n *network) kill(p *process, silent model.Time) {
	for _, c := range slices.Clone(n.conns) {
		for s := range c.sides {
			if !c.sides[s].belongs(p) {
				continue
			}
			c.sides[s].open = false
			if silent > 0 {
				c.pipes[s].clogUntil = max(c.pipes[s].clogUntil, n.w.now+silent)
			}
			c.shorten(s)
			n.forget(c)
		}
	}
}

// heal makes the network prompt again.
func (n *network) heal() {
	n.refuseUntil, n.silenceUntil, n.cuts = 0, 0, nil
	n.plan.DelayMin, n.plan.DelayMean, n.plan.SegmentPercent, n.plan.BytesPerSecond = 100*us, 100*us, 0, 0
	n.plan.NodeDelay, n.plan.NodeBytesPerSecond = 0, 0
	for _, c := range n.conns {
		for s := range 2 {
			c.pipes[s].clogUntil, c.pipes[s].freeAt = 0, 0
			c.pipes[s].waiting = false
			c.await(s)
		}
	}
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func boolBit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
