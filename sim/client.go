package sim

import (
	"encoding/binary"
	"fmt"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/sim/draw"
	"github.com/weirmq/weir/sim/workload"
)

// host runs one client program: it carries out what the program's machines want of the network, and wakes
// them when they asked to be.
type host struct {
	w       *world
	program workload.Program
	lines   []*hostLine
	rand    *draw.Stream
	wakeAt  model.Time // scheduled; 0: none
	stopped bool
}

// hostLine is one machine with its connections.
type hostLine struct {
	h      *host
	line   *workload.Line
	life   uint64
	conns  map[client.ConnID]*clientConn
	ids    []client.ConnID // the keys, in order of dialling
	tickAt model.Time      // scheduled; 0: none
}

// clientConn is a connection as a client sees it.
type clientConn struct {
	l    *hostLine
	id   client.ConnID
	life uint64
	c    *conn
	buf  []byte
}

func newHost(w *world, p workload.Program, n int) *host {
	h := &host{w: w, program: p, rand: w.root.Stream("host", uint64(n))}
	for _, line := range p.Lines() {
		h.lines = append(h.lines, &hostLine{h: h, line: line, life: line.Life, conns: map[client.ConnID]*clientConn{}})
	}
	h.schedule()
	return h
}

// connected, received and lost make a clientConn the peer of its connection.
func (k *clientConn) connected(*conn) {
	k.input(func(now model.Time, m client.Machine, out *client.Out) { m.Connected(now, k.id, out) })
}

func (k *clientConn) received(_ *conn, b []byte) {
	k.buf = append(k.buf, b...)
	for len(k.buf) >= 4 {
		n := int(binary.BigEndian.Uint32(k.buf))
		if len(k.buf)-4 < n {
			return
		}
		frame := append(make([]byte, 0, n), k.buf[4:4+n]...)
		k.buf = k.buf[4+n:]
		k.input(func(now model.Time, m client.Machine, out *client.Out) { m.Received(now, k.id, frame, out) })
	}
}

func (k *clientConn) lost(*conn) {
	k.l.forget(k.id)
	k.input(func(now model.Time, m client.Machine, out *client.Out) { m.Disconnected(now, k.id, "lost", out) })
}

// written tells the machine that a frame without an answer is on its way.
func (k *clientConn) written() {
	if k.l.conns[k.id] == k {
		k.input(func(now model.Time, m client.Machine, out *client.Out) { m.Written(now, k.id, out) })
	}
}

func (k *clientConn) input(do func(model.Time, client.Machine, *client.Out)) {
	l := k.l
	if l.life != k.life || l.h.stopped {
		return
	}
	l.h.w.coreEvents++
	do(l.h.w.now, l.line.Machine, &l.line.Out)
	l.h.after(l)
}

func (l *hostLine) forget(id client.ConnID) {
	delete(l.conns, id)
	for i := range l.ids {
		if l.ids[i] == id {
			l.ids = append(l.ids[:i], l.ids[i+1:]...)
			return
		}
	}
}

// after lets the program look at what a machine reported, then carries out what all of them want.
func (h *host) after(l *hostLine) {
	h.program.After(h.w.now, l.line)
	for _, l := range h.lines {
		l.carryOut()
	}
	if h.rand.Percent(2) {
		for _, l := range h.lines {
			if err := l.line.Machine.Check(); err != nil {
				h.w.fail("client-check", fmt.Sprintf("%s: %v", h.program.Name(), err))
			}
		}
	}
	h.schedule()
}

func (l *hostLine) carryOut() {
	w := l.h.w
	if l.line.Life != l.life {
		for _, id := range l.ids {
			l.conns[id].c.close(0)
		}
		clear(l.conns)
		l.ids, l.life, l.tickAt = nil, l.line.Life, 0
		l.line.Out.Reset() // what the machine that was given up wanted, and its successor has not been asked
		return
	}
	out := &l.line.Out
	for _, d := range out.Dials {
		k := &clientConn{l: l, id: d.Conn, life: l.life}
		l.conns[d.Conn] = k
		l.ids = append(l.ids, d.Conn)
		k.c = w.net.dial(ends{0, w.machineAt(d.Addr)}, k, uint64(d.Conn), func() peer { return w.listener(d.Addr, false) })
	}
	for i := range out.Sends {
		s := &out.Sends[i]
		if k := l.conns[s.Conn]; k != nil {
			b := make([]byte, 0, s.SizeBytes())
			for _, p := range s.Pieces {
				b = append(b, p...)
			}
			k.c.send(0, b)
			if s.Report {
				w.after(50*us, k.written)
			}
		}
	}
	for _, id := range out.Closes {
		if k := l.conns[id]; k != nil {
			k.c.close(0)
			l.forget(id)
		}
	}
	for i := range out.Notes {
		n := &out.Notes[i]
		w.trace.add(w.now, 0, "client.note", uint64(n.Kind), uint64(n.Count), uint64(uint16(n.Code)), l.h.program.Name()+" "+n.Kind.String()+" "+n.Detail)
	}
	out.Reset()
}

// schedule arranges the next wake-ups.
func (h *host) schedule() {
	if h.stopped {
		return
	}
	w := h.w
	for _, l := range h.lines {
		d := l.line.Machine.Deadline()
		if d == 0 {
			continue
		}
		d = max(d, w.now+us)
		if l.tickAt != 0 && l.tickAt <= d {
			continue
		}
		l.tickAt = d
		life := l.life
		w.at(d, func() {
			if l.tickAt != d || l.life != life || h.stopped {
				return
			}
			l.tickAt = 0
			w.coreEvents++
			l.line.Machine.Tick(w.now, &l.line.Out)
			h.after(l)
		})
	}
	if at := h.program.WakeAt(); at != 0 {
		at = max(at, w.now+us)
		if h.wakeAt == 0 || at < h.wakeAt {
			h.wakeAt = at
			w.at(at, func() { h.wake(at) })
		}
	}
}

func (h *host) wake(at model.Time) {
	if h.wakeAt != at || h.stopped {
		return
	}
	h.wakeAt = 0
	if t := h.program.WakeAt(); t == 0 || t > h.w.now {
		h.schedule()
		return
	}
	h.program.Wake(h.w.now)
	for _, l := range h.lines {
		h.after(l)
	}
	h.schedule()
}

// stop closes all connections; the program is not heard any more.
func (h *host) stop() {
	for _, l := range h.lines {
		for _, id := range l.ids {
			l.conns[id].c.close(0)
		}
	}
	h.stopped = true
}

// listener is who accepts connections at an address, those of clients or those of nodes.
func (w *world) listener(addr string, ofNode bool) peer {
	for _, n := range w.nodes {
		if addr == n.addr() {
			return n.listener(ofNode)
		}
	}
	return nil
}

// machineAt is the number of the node at an address, 0 if there is none.
func (w *world) machineAt(addr string) int {
	for _, n := range w.nodes {
		if addr == n.addr() {
			return n.id
		}
	}
	return 0
}

func (n *node) addr() string { return addrText(n.address()) }

// address is where other nodes reach the node.
func (n *node) address() effect.Address { return addressOf(n.id) }

func addressOf(node int) effect.Address {
	return effect.Address{Host: fmt.Sprintf("node%d", node), Port: nodePort, Transport: effect.TransportMemory}
}

func addrText(a effect.Address) string { return fmt.Sprintf("%s:%d", a.Host, a.Port) }
