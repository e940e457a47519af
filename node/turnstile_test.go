package node

import (
	"math/rand/v2"
	"testing"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
)

func produceOf(conn effect.ConnID, request uint64) input {
	return input{event: &broker.Produce{To: effect.RequestID{Conn: conn, Request: request}}}
}

func TestConnectionsTakeTurns(t *testing.T) {
	var ts turnstile
	for i := range uint64(100) {
		ts.push(produceOf(1, i))
	}
	ts.push(produceOf(2, 0))
	ts.push(produceOf(3, 0))
	ts.push(produceOf(2, 1))
	for i, want := range []effect.RequestID{{Conn: 1}, {Conn: 2}, {Conn: 3}, {Conn: 1, Request: 1}, {Conn: 2, Request: 1}, {Conn: 1, Request: 2}} {
		if got := ts.pop().event.(*broker.Produce).To; got != want {
			t.Errorf("turn %d is %v, want %v", i, got, want)
		}
	}
}

// Nothing is lost, the order of each connection stays, and none waits for more than one turn of each other.
func TestTurnsKeepTheOrderOfConnections(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var ts turnstile
	pushed, popped := map[effect.ConnID]uint64{}, map[effect.ConnID]uint64{}
	total := 0
	for range 100_000 {
		if ts.count() == 0 || random.IntN(2) == 0 {
			conn := effect.ConnID(random.IntN(20))
			ts.push(produceOf(conn, pushed[conn]))
			pushed[conn]++
			total++
			continue
		}
		to := ts.pop().event.(*broker.Produce).To
		if to.Request != popped[to.Conn] {
			t.Fatalf("connection %d: request %d after %d", to.Conn, to.Request, popped[to.Conn])
		}
		popped[to.Conn]++
		total--
		if ts.count() != total {
			t.Fatalf("%d wait, it says %d", total, ts.count())
		}
	}
	for ts.count() > 0 {
		ts.pop()
	}
	if len(ts.turns.byConn) != 0 || len(ts.turns.lines) != 0 {
		t.Error("it keeps lines of nobody")
	}
}
