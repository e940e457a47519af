package client_test

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

const ms = model.Time(1_000_000)

// world drives machines against a clienttest.Cluster in virtual time. Every hop takes a millisecond
// unless a test's fault says otherwise.
type world struct {
	t       tester
	cluster *clienttest.Cluster
	now     model.Time
	events  eventHeap
	serial  int
	links   map[link]*wire
	out     client.Out
	// killed are machines whose process is dead: nothing comes from them, and nothing reaches them.
	killed map[client.Machine]bool
	// down are nodes that cannot be reached.
	down map[model.NodeID]bool
	// unreachable are nodes from whose addresses nothing comes back.
	unreachable map[model.NodeID]bool
	// fault decides what happens to a request frame; nil is nothing.
	fault func(conn client.ConnID, node model.NodeID, key protocol.Key) fault

	acks    []client.Ack
	events_ []client.Event
	tagged  []taggedEvent // events with whose they are
	told    func()        // after each step that reported events
	chunks  []client.Chunk
	answers []client.Answer
	trace   strings.Builder
	tracing bool
	ticks   int
}

// fault is what the network does to one request.
type fault uint8

const (
	deliver    fault = iota
	dropBefore       // the connection dies before the broker sees it
	dropAfter        // the broker handles it, the connection dies before the answer
	lateAfter        // the client's side dies; the broker handles it a second later
	hang             // nothing ever comes back
	mute             // the broker handles it, and nothing ever comes back
)

type link struct {
	m  client.Machine
	id client.ConnID
}

type wire struct {
	node model.NodeID
	dead bool
	// busy is until when earlier requests hold up later answers.
	busy model.Time
}

type taggedEvent struct {
	m client.Machine
	e client.Event
}

type event struct {
	at     model.Time
	serial int
	do     func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].serial < h[j].serial
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// tester is a test of package testing or of rapid.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func newWorld(t tester, c *clienttest.Cluster) *world {
	return &world{
		t: t, cluster: c, now: 1000 * ms, links: make(map[link]*wire), killed: make(map[client.Machine]bool),
		down: make(map[model.NodeID]bool), unreachable: make(map[model.NodeID]bool),
	}
}

func (w *world) after(d model.Time, do func()) {
	w.serial++
	heap.Push(&w.events, event{w.now + d, w.serial, do})
}

func (w *world) logf(format string, args ...any) {
	if w.tracing {
		fmt.Fprintf(&w.trace, "%5d  ", (w.now-1000*ms)/ms)
		fmt.Fprintf(&w.trace, format+"\n", args...)
	}
}

// step gives a machine an input and carries out what it asks for.
func (w *world) step(m client.Machine, input func(*client.Out)) {
	if w.killed[m] {
		return
	}
	w.out.Reset()
	input(&w.out)
	w.carryOut(m)
}

func (w *world) carryOut(m client.Machine) {
	if err := m.Check(); err != nil {
		w.t.Fatalf("at %d ms: %v\n%s", w.now/ms, err, w.trace.String())
	}
	for _, d := range w.out.Dials {
		w.dial(m, d)
	}
	for _, s := range w.out.Sends {
		w.send(m, s)
	}
	for _, id := range w.out.Closes {
		w.logf("close #%d", id)
		if k := w.links[link{m, id}]; k != nil {
			k.dead = true
		}
	}
	for _, a := range w.out.Acks {
		a.Handles = slices.Clone(a.Handles)
		w.acks = append(w.acks, a)
		w.logf("ack %s/%d x%d base=%d %s code=%d definite=%v", a.Topic, a.Partition, len(a.Handles), a.BaseOffset, a.Reason, a.Code, a.Definite)
	}
	for _, e := range w.out.Events {
		w.events_ = append(w.events_, e)
		w.tagged = append(w.tagged, taggedEvent{m, e})
		w.logf("%s %s/%d offset=%d code=%d", e.Kind, e.Topic, e.Partition, e.Offset, e.Code)
	}
	if len(w.out.Events) > 0 && w.told != nil {
		w.told()
	}
	for _, c := range w.out.Chunks {
		w.chunks = append(w.chunks, c)
		w.logf("chunk %s/%d from=%d next=%d records=%d", c.Topic, c.Partition, c.From, c.Next, c.RecordCount())
	}
	for _, a := range w.out.Answers {
		w.answers = append(w.answers, a)
		w.logf("answer %d %s code=%d definite=%v", a.Op, a.Reason, a.Code, a.Definite)
	}
}

func (w *world) dial(m client.Machine, d client.Dial) {
	w.logf("dial #%d %s", d.Conn, d.Addr)
	node := model.NodeID(-1)
	for _, id := range w.cluster.Brokers {
		if w.cluster.Addr(id) == d.Addr {
			node = id
		}
	}
	w.after(ms, func() {
		if w.unreachable[node] {
			return
		}
		if node < 0 || w.down[node] {
			w.step(m, func(out *client.Out) { m.Disconnected(w.now, d.Conn, "refused", out) })
			return
		}
		w.links[link{m, d.Conn}] = &wire{node: node}
		w.step(m, func(out *client.Out) { m.Connected(w.now, d.Conn, out) })
	})
}

func (w *world) send(m client.Machine, s client.Send) {
	k := w.links[link{m, s.Conn}]
	var frame []byte
	for _, p := range s.Pieces {
		frame = append(frame, p...)
	}
	if n := int(frame[0])<<24 | int(frame[1])<<16 | int(frame[2])<<8 | int(frame[3]); n != len(frame)-4 {
		w.t.Fatalf("a frame of %d bytes says %d", len(frame)-4, n)
	}
	frame = frame[4:]
	key := protocol.Key(int16(frame[0])<<8 | int16(frame[1]))
	version := int16(frame[2])<<8 | int16(frame[3])
	if k == nil || k.dead {
		return
	}
	if s.Report {
		w.after(ms, func() { w.step(m, func(out *client.Out) { m.Written(w.now, s.Conn, out) }) })
	}
	what := deliver
	if w.fault != nil {
		what = w.fault(s.Conn, k.node, key)
	}
	w.logf("send #%d %s v%d to %d%s", s.Conn, key, version, k.node, [...]string{"", " (lost)", " (answer lost)", " (late)", " (hangs)", " (no answer)"}[what])
	lost := func(d model.Time) {
		k.dead = true
		w.after(d, func() {
			w.step(m, func(out *client.Out) { m.Disconnected(w.now, s.Conn, "reset", out) })
		})
	}
	switch what {
	case hang:
		return
	case mute:
		w.after(ms, func() { w.cluster.Handle(k.node, frame) })
		return
	case dropBefore:
		lost(ms)
		return
	case lateAfter:
		w.after(1000*ms, func() { w.cluster.Handle(k.node, frame) })
		lost(ms)
		return
	}
	// Requests of a connection are handled in order; a fetch that finds nothing waits for its time.
	at := max(w.now+ms, k.busy)
	k.busy = at
	w.after(at-w.now, func() { w.handle(m, k, s.Conn, frame, what, -1) })
	if what == dropAfter {
		k.dead = true
	}
}

func (w *world) handle(m client.Machine, k *wire, id client.ConnID, frame []byte, what fault, patience model.Time) {
	if w.killed[m] {
		return
	}
	if w.unreachable[k.node] {
		return
	}
	if w.down[k.node] {
		if !k.dead {
			k.dead = true
			w.step(m, func(out *client.Out) { m.Disconnected(w.now, id, "reset", out) })
		}
		return
	}
	answer, empty, waitMs := w.cluster.Handle(k.node, frame)
	if empty && patience != 0 {
		if patience < 0 {
			patience = model.Time(waitMs) * ms
		}
		d := min(patience, 20*ms)
		k.busy = w.now + d
		w.after(d, func() { w.handle(m, k, id, frame, what, patience-d) })
		return
	}
	if what == dropAfter {
		w.after(ms, func() {
			w.step(m, func(out *client.Out) { m.Disconnected(w.now, id, "reset", out) })
		})
		return
	}
	if answer == nil {
		return
	}
	w.after(ms, func() {
		if !k.dead {
			w.step(m, func(out *client.Out) { m.Received(w.now, id, answer[4:], out) })
		}
	})
}

// run lets time pass until done says so, at most for limit.
func (w *world) run(limit model.Time, done func() bool, machines ...client.Machine) bool {
	end := w.now + limit
	for !done() {
		next := end
		if len(w.events) > 0 {
			next = min(next, w.events[0].at)
		}
		var due client.Machine
		for _, m := range machines {
			if d := m.Deadline(); d != 0 && max(d, w.now) < next {
				next, due = max(d, w.now), m
			}
		}
		if next >= end {
			w.now = end
			return done()
		}
		if next > w.now {
			w.ticks = 0
		}
		w.now = max(w.now, next)
		if due != nil {
			if w.ticks++; w.ticks > 1000 {
				w.t.Fatalf("at %d ms the machine's deadline does not move", w.now/ms)
			}
			w.step(due, func(out *client.Out) { due.Tick(w.now, out) })
			continue
		}
		e := heap.Pop(&w.events).(event)
		e.do()
	}
	return true
}

// produce offers a record and fails the test when it is not taken.
func (w *world) produce(p *client.Producer, topic string, partition model.Partition, key, value string, handle uint64) {
	w.t.Helper()
	w.step(p, func(out *client.Out) {
		r := record.Record{Value: []byte(value), Timestamp: model.Timestamp(w.now / ms)}
		if key != "" {
			r.Key = []byte(key)
		}
		if err := p.Produce(w.now, topic, partition, &r, handle, out); err != nil {
			w.t.Fatalf("produce: %v", err)
		}
	})
}
