package sim

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/model"
)

// ear is a peer that remembers what it heard.
type ear struct {
	got        []byte
	connected_ int
	lost_      int
	conn       *conn
}

func (e *ear) connected(c *conn)          { e.connected_++; e.conn = c }
func (e *ear) received(_ *conn, b []byte) { e.got = append(e.got, b...) }
func (e *ear) lost(*conn)                 { e.lost_++ }

func newTestWorld(seed uint64, plan NetPlan) *world {
	return newWorld(&Plan{Seed: seed, Net: plan, EventsMax: 1 << 40}, newTrace(nil))
}

func (w *world) settle(until model.Time) {
	for len(w.heap) > 0 && w.heap[0].at <= until && w.step() {
	}
	w.now = max(w.now, until)
}

// Whatever happens to a connection, each side receives a prefix of what the other sent, in order, and learns of
// the end at most once and after it.
func TestConnectionDeliversAPrefixInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newTestWorld(rapid.Uint64().Draw(t, "seed"), NetPlan{
			DelayMin: us, DelayMean: ms, SegmentPercent: 50,
			BytesPerSecond: rapid.SampledFrom([]int64{0, 1000, 1_000_000}).Draw(t, "rate"),
		})
		var client, server ear
		c := w.net.dial(ends{}, &client, 0, func() peer { return &server })
		w.settle(w.now + 100*ms)
		if client.connected_ != 1 || server.connected_ != 1 {
			t.Fatal("not connected")
		}
		var sent [2][]byte
		ended := false
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				c.clog(w.now+5*ms, FaultClog)
			case 1:
				c.reset(rapid.SampledFrom([]model.Time{0, 50 * ms}).Draw(t, "late"))
				ended = true
			case 2:
				c.close(rapid.IntRange(0, 1).Draw(t, "side"))
				ended = true
			default:
				s := rapid.IntRange(0, 1).Draw(t, "from")
				b := pattern(rapid.IntRange(1, 3000).Draw(t, "n"), byte(len(sent[s])))
				if c.sides[s].open {
					sent[s] = append(sent[s], b...)
				}
				c.send(s, b)
			}
			w.settle(w.now + model.Time(rapid.IntRange(0, 3).Draw(t, "ms"))*ms)
		}
		w.settle(w.now + 1000*sc)
		if !bytes.HasPrefix(sent[0], server.got) || !bytes.HasPrefix(sent[1], client.got) {
			t.Fatal("what arrived is no prefix of what was sent")
		}
		if client.lost_ > 1 || server.lost_ > 1 {
			t.Fatal("told of the end twice")
		}
		if !ended && (len(server.got) != len(sent[0]) || len(client.got) != len(sent[1])) {
			t.Fatal("bytes of a healthy connection were lost")
		}
		if ended && len(w.net.conns) != 0 {
			t.Fatal("a connection is left that is gone on both sides")
		}
	})
}

func TestDialIsRefusedOrNotAnswered(t *testing.T) {
	w := newTestWorld(1, NetPlan{DelayMin: us, DelayMean: ms})
	var client ear
	w.net.dial(ends{}, &client, 0, func() peer { return nil })
	w.settle(w.now + sc)
	if client.lost_ != 1 || client.connected_ != 0 {
		t.Errorf("nobody listens: %+v", client)
	}
	w.net.silenceUntil = w.now + sc
	w.net.dial(ends{}, &client, 0, func() peer { return &ear{} })
	w.settle(w.now + 10*sc)
	if client.lost_ != 1 || client.connected_ != 0 || w.fired[FaultSilence] != 1 {
		t.Errorf("silence: %+v", client)
	}
	w.net.refuseUntil = w.now + sc
	w.net.dial(ends{}, &client, 0, func() peer { return &ear{} })
	w.settle(w.now + 10*sc)
	if client.lost_ != 2 || w.fired[FaultRefuse] != 1 {
		t.Errorf("refused: %+v", client)
	}
}

// echo is a peer that sends back what it hears.
type echo struct{ ear }

func (e *echo) received(c *conn, b []byte) { c.send(1, b) }

// parrot is one that does the same at the other end, and begins.
type parrot struct{ ear }

func (p *parrot) connected(c *conn)          { c.send(0, pattern(1<<16, 1)) }
func (p *parrot) received(c *conn, b []byte) { c.send(0, b) }

// A circle of large messages costs far more than as many events otherwise do.
func TestBytesThatGoRoundInCirclesEndAWorld(t *testing.T) {
	w := newWorld(&Plan{Seed: 1, Net: NetPlan{DelayMin: us, DelayMean: ms}, EventsMax: 10_000}, newTrace(nil))
	w.net.dial(ends{}, &parrot{}, 0, func() peer { return &echo{} })
	w.settle(w.now + 1000*sc)
	if w.violation == nil || w.violation.Oracle != "events" || w.events > 1000 {
		t.Errorf("after %d events and %d bytes: %+v", w.events, w.carried, w.violation)
	}
}

// The one reordering that TCP allows: bytes of a connection that the client has given up are carried out
// after those of its next one.
func TestBytesOfADeadConnectionArriveLate(t *testing.T) {
	late := 0
	for seed := range uint64(50) {
		w := newTestWorld(seed, NetPlan{DelayMin: ms, DelayMean: ms})
		var client ear
		var server ear
		first := w.net.dial(ends{}, &client, 0, func() peer { return &server })
		w.settle(w.now + sc)
		first.send(0, []byte("old"))
		first.reset(sc)
		if client.lost_ != 1 {
			t.Fatal("the client did not lose the connection at once")
		}
		second := w.net.dial(ends{}, &client, 0, func() peer { return &server })
		w.settle(w.now + 100*ms)
		second.send(0, []byte("new"))
		w.settle(w.now + 10*sc)
		if string(server.got) == "newold" && w.fired[FaultLateDelivery] > 0 {
			late++
		}
	}
	if late < 40 {
		t.Errorf("the old bytes came late only %d of 50 times", late)
	}
}

func TestBlackholeSwallowsAndEndsTheConnection(t *testing.T) {
	for seed := range uint64(20) {
		w := newTestWorld(seed, NetPlan{DelayMin: us, DelayMean: us})
		var client, server ear
		c := w.net.dial(ends{}, &client, 0, func() peer { return &server })
		w.settle(w.now + sc)
		c.blackhole(w.now + sc)
		c.send(0, []byte("x"))
		c.send(1, []byte("y"))
		w.settle(w.now + 10*sc)
		if client.lost_ != 1 || server.lost_ != 1 || len(client.got)+len(server.got) > 1 {
			t.Errorf("seed %d: client %+v server %+v", seed, client, server)
		}
	}
}
