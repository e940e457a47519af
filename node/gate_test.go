package node

import (
	"sync"
	"testing"
	"time"

	"github.com/weirmq/weir/core/effect"
)

// Each pass is charged the time that it took, and whoever has taken least is next.
func TestGateLetsInWhoTookLeast(t *testing.T) {
	g := newGate(1)
	var order []effect.ConnID
	var done sync.WaitGroup
	first := g.enter(1, nil)
	first.begun = first.begun.Add(-time.Second)
	for i, conn := range []effect.ConnID{1, 1, 2, 3} {
		done.Go(func() {
			p := g.enter(conn, nil)
			order = append(order, conn) // one at a time is inside
			g.leave(p)
		})
		for {
			g.mu.Lock()
			waiting := g.turns.count
			g.mu.Unlock()
			if waiting == i+1 {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	g.leave(first)
	done.Wait()
	if want := []effect.ConnID{2, 3, 1, 1}; len(order) != 4 || order[0] != want[0] || order[1] != want[1] || order[2] != 1 || order[3] != 1 {
		t.Errorf("let in %v, want %v", order, want)
	}
	if g.free != 1 || g.turns.count != 0 || len(g.turns.byConn) != 0 {
		t.Errorf("%d free, %d waiting, %d remembered", g.free, g.turns.count, len(g.turns.byConn))
	}
}

func TestWhoGivesUpLeavesTheGateToOthers(t *testing.T) {
	g := newGate(1)
	first := g.enter(1, nil)
	gone := make(chan struct{})
	close(gone)
	if g.enter(2, gone) != nil {
		t.Fatal("let in while another is inside")
	}
	let := make(chan *pass)
	go func() { let <- g.enter(3, nil) }()
	g.leave(first)
	g.leave(<-let)
	if g.free != 1 || g.turns.count != 0 {
		t.Errorf("%d free, %d waiting", g.free, g.turns.count)
	}
}
