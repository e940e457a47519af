// Package driver runs a client machine (core/client) on real time and real connections. It decides
// nothing: one goroutine owns the machine, steps it with what happens, and carries out what it asks for.
//
//	user goroutines ── Do, Wake ──┐                     ┌── writer goroutine ──► transport.Conn
//	reader goroutines ── frames ──┼──► inbox ──► loop ──┤
//	dialing goroutines ───────────┘   (one turn at a    └── turn, report: the package that uses it
//	                                   time, then Tick)
//
// What holds:
//
//  1. The machine, and everything in a turn, is touched by the loop's goroutine only.
//  2. The inbox is bounded: a reader waits until the loop has taken its earlier frames, user inputs wait
//     for their turn.
//  3. Disconnected reaches the machine after the connection's writer has stopped, so that no bytes are read
//     that the machine may reuse.
//  4. Waiting is on channels and timers only, so that users can test in a testing/synctest bubble.
package driver

import (
	"context"
	"log/slog"
	"sync"
	"time"

	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/transport"
)

// Settings are what all kinds of client share.
type Settings struct {
	Config machine.Config
	Dialer transport.Dialer
	Logger *slog.Logger // nil is silent
}

// Driver runs one machine.
type Driver struct {
	m        machine.Machine
	settings Settings
	began    time.Time

	// Turn takes the user's input, before the machine is ticked; Report hands over what came out. Both
	// run on the loop. Turn returns when it wants another turn at the latest, 0 for no wish.
	turn   func(now model.Time, out *machine.Out) model.Time
	report func(out *machine.Out)

	mu     sync.Mutex
	inbox  []event
	wake   chan struct{}
	closed chan struct{} // closed when the loop has ended

	conns map[machine.ConnID]*conn // the loop's
	group sync.WaitGroup           // dialing, reading and writing goroutines
	life  context.Context
	end   context.CancelFunc
}

// event is one input for the loop.
type event struct {
	kind   eventKind
	conn   *conn
	frame  []byte
	detail string
	do     func(now model.Time, out *machine.Out)
}

type eventKind uint8

const (
	connected eventKind = iota
	received
	written
	disconnected
	call
	stop
)

// Start runs a machine until Close.
func Start(m machine.Machine, s Settings, turn func(model.Time, *machine.Out) model.Time, report func(*machine.Out)) *Driver {
	d := &Driver{
		m: m, settings: s, began: time.Now(), turn: turn, report: report,
		wake: make(chan struct{}, 1), closed: make(chan struct{}), conns: make(map[machine.ConnID]*conn),
	}
	d.life, d.end = context.WithCancel(context.Background())
	go d.run()
	return d
}

// now is the machine's time. It begins above 0, which means no deadline.
func (d *Driver) now() model.Time { return model.Time(time.Since(d.began)) + 1 }

// Wake asks for a turn.
func (d *Driver) Wake() {
	select {
	case d.wake <- struct{}{}:
	default: // one is coming
	}
}

// Do runs f on the loop, in a turn of its own, and waits for it. It is false if the driver is closed or ctx
// ended first; then f may still run.
func (d *Driver) Do(ctx context.Context, f func(now model.Time, out *machine.Out)) bool {
	ran := make(chan struct{})
	d.post(event{kind: call, do: func(now model.Time, out *machine.Out) {
		f(now, out)
		close(ran)
	}})
	select {
	case <-ran:
		return true
	case <-ctx.Done():
		return false
	case <-d.closed:
		select {
		case <-ran:
			return true
		default:
			return false
		}
	}
}

// Done is closed when the loop has ended.
func (d *Driver) Done() <-chan struct{} { return d.closed }

// Close closes the machine and waits for all goroutines. What the machine reports of its end is
// reported before Close returns.
func (d *Driver) Close() {
	d.post(event{kind: stop})
	<-d.closed
	d.group.Wait()
}

func (d *Driver) post(e event) {
	d.mu.Lock()
	d.inbox = append(d.inbox, e)
	d.mu.Unlock()
	d.Wake()
}

// run is the loop.
func (d *Driver) run() {
	var (
		out    machine.Out
		events []event
	)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer close(d.closed)
	for {
		d.mu.Lock()
		events, d.inbox = d.inbox, events[:0]
		d.mu.Unlock()
		now := d.now()
		stopping := false
		for i := range events {
			stopping = d.take(now, &events[i], &out) || stopping
			events[i] = event{}
		}
		wish := d.turn(now, &out)
		if stopping {
			d.m.Close(now, &out)
		} else {
			d.m.Tick(now, &out)
		}
		d.carryOut(&out)
		d.report(&out)
		out.Reset()
		if stopping {
			d.end()
			for _, c := range d.conns {
				c.close()
			}
			return
		}
		next := d.m.Deadline()
		if wish != 0 && (next == 0 || wish < next) {
			next = wish
		}
		wait := time.Hour
		if next != 0 {
			if wait = time.Duration(next - d.now()); wait <= 0 {
				continue
			}
		}
		timer.Reset(wait)
		select {
		case <-d.wake:
		case <-timer.C:
		}
	}
}

// take gives the machine one event. It is true when the driver is to stop.
func (d *Driver) take(now model.Time, e *event, out *machine.Out) bool {
	switch e.kind {
	case connected:
		if d.conns[e.conn.id] == e.conn {
			e.conn.serve()
			d.m.Connected(now, e.conn.id, out)
		} else {
			e.conn.close()
		}
	case received:
		e.conn.credit <- struct{}{}
		if d.conns[e.conn.id] == e.conn {
			d.m.Received(now, e.conn.id, e.frame, out)
		}
	case written:
		if d.conns[e.conn.id] == e.conn {
			d.m.Written(now, e.conn.id, out)
		}
	case disconnected:
		if d.conns[e.conn.id] == e.conn {
			delete(d.conns, e.conn.id)
			d.m.Disconnected(now, e.conn.id, e.detail, out)
		}
	case call:
		e.do(now, out)
	case stop:
		return true
	}
	return false
}

// carryOut does what concerns the network; the rest is the user's.
func (d *Driver) carryOut(out *machine.Out) {
	for _, q := range out.Dials {
		c := newConn(d, q.Conn, q.Addr)
		d.conns[q.Conn] = c
		d.group.Add(1)
		go c.dial()
	}
	for i := range out.Sends {
		if c := d.conns[out.Sends[i].Conn]; c != nil {
			c.send(&out.Sends[i])
		}
	}
	for _, id := range out.Closes {
		if c := d.conns[id]; c != nil {
			delete(d.conns, id)
			c.close()
		}
	}
	if d.settings.Logger != nil {
		d.log(out.Notes)
	}
}

// log maps the machine's notes to log lines.
func (d *Driver) log(notes []machine.Note) {
	for i := range notes {
		n := &notes[i]
		level := slog.LevelDebug
		switch n.Kind {
		case machine.NoteConnectionLost, machine.NoteBatchFailed, machine.NoteEpochBumped, machine.NoteOffsetReset, machine.NoteTopicRecreated:
			level = slog.LevelWarn
		default:
		}
		d.settings.Logger.Log(d.life, level, n.Kind.String(), "conn", uint64(n.Conn), "node", int32(n.Node),
			"topic", n.Topic, "code", n.Code, "count", n.Count, "detail", n.Detail)
	}
}
