package node

import (
	"runtime"
	"sync"
	"time"

	"github.com/weirmq/weir/core/effect"
)

// gate lets few goroutines at a time do what takes long, and connections by turns, counted in the time that they
// take. The others wait without being runnable, so that the loop, storage and those who produce do not stand
// behind hundreds of them in the scheduler's line.
//
// One of them is passed by all heavy work:
//
//	decoding large requests, making large responses ──► costly ──┐
//	inflating, at most a few MiB ──► a decompressor of those ────┼──► heavy ──► work
//	inflating more ──► the one decompressor for that ────────────┘
//
// heavy leaves one processor to everybody else: Go's scheduler knows no priorities, and what becomes runnable when
// all processors are at such work waits for ten milliseconds, at each step that an honest request takes through
// the node. The lines before it are short, so that one kind of heavy work does not keep the others waiting.
type gate struct {
	mu    sync.Mutex
	free  int
	turns turns[*pass]
}

// pass is one goroutine's way through a gate.
type pass struct {
	conn    effect.ConnID
	granted chan struct{}
	begun   time.Time
}

func newGate(count int) *gate { return &gate{free: max(1, count)} }

// processors is how many goroutines run at a time.
func processors() int { return runtime.GOMAXPROCS(0) }

// enter waits to be let in until stop is closed; it is nil then.
func (g *gate) enter(conn effect.ConnID, stop <-chan struct{}) *pass {
	p := &pass{conn: conn, granted: make(chan struct{})}
	g.mu.Lock()
	g.turns.push(conn, p)
	g.admit()
	g.mu.Unlock()
	select {
	case <-p.granted:
		return p
	case <-stop:
	}
	g.mu.Lock()
	waits := g.turns.remove(conn, func(other *pass) bool { return other == p })
	g.mu.Unlock()
	if !waits {
		g.leave(p) // let in at the last moment
	}
	return nil
}

func (g *gate) leave(p *pass) {
	g.mu.Lock()
	g.free++
	g.turns.charge(p.conn, int64(time.Since(p.begun)))
	g.admit()
	g.mu.Unlock()
}

// admit lets in as many as there is room for. mu is held.
func (g *gate) admit() {
	for g.free > 0 && g.turns.count > 0 {
		g.free--
		p := g.turns.pop()
		p.begun = time.Now()
		close(p.granted)
	}
}

// costlyTurn is a connection's turn to decode a large request or to make large responses.
type costlyTurn struct {
	node          *Node
	costly, heavy *pass
}

// enterCostly waits for the connection's turn; it is nil if the connection is closed first.
func (n *Node) enterCostly(c *connection) *costlyTurn {
	t := &costlyTurn{node: n}
	if t.costly = n.costly.enter(c.id, c.closed); t.costly == nil {
		return nil
	}
	if t.heavy = n.heavy.enter(c.id, c.closed); t.heavy == nil {
		n.costly.leave(t.costly)
		return nil
	}
	return t
}

// leave ends the turn, if there is one.
func (t *costlyTurn) leave() {
	if t == nil {
		return
	}
	t.node.heavy.leave(t.heavy)
	t.node.costly.leave(t.costly)
}
