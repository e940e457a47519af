package sim

import (
	"encoding/binary"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/link"
	"github.com/weirmq/weir/core/model"
)

// nodeLink drives one lane of a process to another node, as the production node's carrier does: it is the dialling side
// of its connections.
type nodeLink struct {
	p       *process
	key     laneKey
	machine *link.Link
	out     link.Out
	c       *conn  // being dialled, or open; else nil
	buf     []byte // received and not yet a whole frame
	tickAt  model.Time
}

// laneKey names one lane.
type laneKey struct {
	to   model.NodeID
	lane effect.Lane
}

// heed takes an answer for the loop.
func (p *process) heed(a effect.Answer) {
	p.n.note("answer", uint64(a.ID), uint64(uint32(a.From)), uint64(a.Failure), a.Detail)
	if p.listen != nil {
		p.listen(a)
		return
	}
	p.events = append(p.events, &broker.Answered{Answer: a})
}

// call makes the calls of a set, in an order of the simulator's choosing but for those of one lane.
func (p *process) call(calls []effect.Call) {
	for i := len(calls) - 1; i > 0; i-- {
		if laneOf(&calls[i]) != laneOf(&calls[i-1]) && p.n.rand.Percent(50) {
			calls[i], calls[i-1] = calls[i-1], calls[i]
		}
	}
	for i := range calls {
		c := &calls[i]
		p.n.note("call", uint64(c.ID), uint64(uint32(c.To)), uint64(c.Lane), "")
		l := p.links[laneOf(c)]
		if l == nil {
			l = p.newLink(laneOf(c))
		}
		p.n.w.coreEvents++
		l.machine.Call(p.monotonic(), c, &l.out)
		l.carryOut()
	}
	p.schedule()
}

func laneOf(c *effect.Call) laneKey { return laneKey{c.To, c.Lane} }

func (p *process) newLink(key laneKey) *nodeLink {
	config := link.DefaultConfig()
	config.Self, config.To, config.ClusterID, config.Incarnation = p.config.NodeID, key.to, p.config.ClusterID, p.config.Incarnation
	config.Version = "simulated"
	l := &nodeLink{p: p, key: key, machine: link.New(config)}
	p.links[key] = l
	p.lanes = append(p.lanes, l)
	return l
}

func (p *process) monotonic() model.Time { return p.n.clock.monotonic(p.n.w.now) }

// connected, received and lost make a nodeLink the peer of its connection.
func (l *nodeLink) connected(c *conn) {
	l.p.run(func() {
		if l.c == c {
			l.input(func(now model.Time) { l.machine.Connected(now, &l.out) })
		}
	})
}

func (l *nodeLink) received(c *conn, b []byte) {
	if l.c == c {
		l.buf = append(l.buf, b...)
		l.p.run(func() { l.receive(c) })
	}
}

func (l *nodeLink) lost(c *conn) {
	l.p.run(func() {
		if l.c != c {
			return
		}
		l.c, l.buf = nil, nil
		l.input(func(now model.Time) { l.machine.Lost(now, "lost", &l.out) })
	})
}

// receive cuts what has arrived into frames.
func (l *nodeLink) receive(c *conn) {
	for l.c == c && len(l.buf) >= 4 {
		n := int(int32(binary.BigEndian.Uint32(l.buf)))
		if n < 0 || n > l.machine.FrameBytesMax() {
			l.c.close(0)
			l.c, l.buf = nil, nil
			l.input(func(now model.Time) { l.machine.Lost(now, "a response beyond the limit", &l.out) })
			return
		}
		if len(l.buf) < 4+n {
			return
		}
		frame := append(make([]byte, 0, n), l.buf[4:4+n]...)
		l.buf = l.buf[4+n:]
		l.input(func(now model.Time) { l.machine.Receive(now, frame, &l.out) })
	}
}

func (l *nodeLink) input(do func(now model.Time)) {
	l.p.n.w.coreEvents++
	do(l.p.monotonic())
	l.carryOut()
	l.p.schedule()
}

// carryOut does what the machine wants.
func (l *nodeLink) carryOut() {
	p, out := l.p, &l.out
	w := p.n.w
	if out.Close != "" {
		p.n.note("link.close", uint64(uint32(l.key.to)), uint64(l.key.lane), boolBit(out.Refused), out.Close)
		if l.c != nil {
			l.c.close(0)
			l.c, l.buf = nil, nil
		}
	}
	if out.Dial {
		invariant.Check(l.c == nil, "a link has one connection")
		addr := addrText(out.Address)
		l.c = w.net.dial(ends{p.n.id, w.machineAt(addr)}, l, uint64(l.key.lane), func() peer { return w.listener(addr, true) })
	}
	for _, f := range out.Frames {
		b := make([]byte, 0, f.LenBytes)
		for _, piece := range f.Pieces {
			b = append(b, piece.Bytes...)
		}
		invariant.Check(len(b) == f.LenBytes, "a frame is as long as it says")
		l.machine.Recycle(f)
		if l.c != nil {
			l.c.send(0, b)
		}
	}
	for i := range out.Answers {
		p.heed(out.Answers[i])
	}
	for _, f := range out.Free {
		// Whoever still looks at it deserves to find nonsense.
		for i := range f {
			f[i] = 0xdb
		}
	}
	out.Reset()
	if p.steps%16 == 0 {
		if err := l.machine.Check(); err != nil {
			w.fail("link-check", err.Error())
		}
	}
	l.scheduleTick()
}

// scheduleTick sees to it that the machine is woken at its deadline.
func (l *nodeLink) scheduleTick() {
	p, d := l.p, l.machine.Deadline()
	if d == 0 || l.tickAt != 0 && l.tickAt <= d {
		return
	}
	l.tickAt = d
	p.later(p.n.w.now+p.n.clock.wait(d-p.monotonic()), func() {
		if l.tickAt != d {
			return // an earlier one took its place
		}
		l.tickAt = 0
		l.input(func(now model.Time) { l.machine.Tick(now, &l.out) })
	})
}

// stopLinks ends every link, as a clean shutdown does.
func (p *process) stopLinks() {
	for _, l := range p.lanes {
		l.machine.Stop(p.monotonic(), "this node stops", &l.out)
		l.carryOut()
	}
}
