package node

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/link"
	"github.com/weirmq/weir/transport"
)

// carrier runs one link. Its goroutine alone touches the machine.
//
//	no connection ──machine dials──► dial ──► wire ──lost, or the machine closes it──► no connection
type carrier struct {
	links   *links
	key     laneKey
	machine *link.Link
	calls   *queue[effect.Call]

	out  link.Out
	dial *dial // under way; else nil
	wire *wire // the connection; else nil
}

func (l *carrier) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var calls []effect.Call
	for {
		l.arm(timer)
		var dialled <-chan struct{}
		var frames <-chan []byte
		var lost <-chan struct{}
		if l.dial != nil {
			dialled = l.dial.done
		}
		if l.wire != nil {
			frames, lost = l.wire.frames, l.wire.lost
		}
		select {
		case <-l.calls.signal:
		case <-timer.C:
		case <-dialled:
			l.dialled()
		case f := <-frames:
			l.machine.Receive(l.links.clock.now(), f, &l.out)
		case <-lost:
			l.drain()
		case <-l.links.stop:
			l.end()
			return
		}
		calls = l.calls.take(calls)
		now := l.links.clock.now()
		for i := range calls {
			l.machine.Call(now, &calls[i], &l.out)
			l.carryOut()
		}
		l.machine.Tick(now, &l.out)
		l.carryOut()
		if l.dial == nil && l.wire == nil && l.machine.Resting() && l.links.retire(l) {
			return
		}
	}
}

// arm sets the timer to the machine's deadline.
func (l *carrier) arm(timer *time.Timer) {
	wait := time.Hour
	if d := l.machine.Deadline(); d != 0 {
		wait = max(0, time.Duration(d-l.links.clock.now()))
	}
	timer.Reset(wait)
}

// carryOut does what the machine wants.
func (l *carrier) carryOut() {
	out := &l.out
	if out.Close != "" {
		if out.Refused {
			l.links.refused(l.key.to, out.Close)
		}
		l.close()
	}
	if out.Dial {
		l.dial = startDial(l.links, out.Address)
	}
	if l.wire != nil {
		l.wire.limit.Store(int64(l.machine.FrameBytesMax()))
		for _, f := range l.wire.send(out.Frames) {
			l.machine.Recycle(f)
		}
	}
	for i := range out.Answers {
		l.links.deliver(out.Answers[i])
	}
	out.Reset()
}

// close lets go of the connection, or of dialling.
func (l *carrier) close() {
	if l.dial != nil {
		l.dial.abandon()
		l.dial = nil
	}
	if l.wire != nil {
		l.wire.close(nil)
		l.wire = nil
	}
}

// dialled takes in how dialling ended.
func (l *carrier) dialled() {
	d := l.dial
	l.dial = nil
	now := l.links.clock.now()
	if d.err != nil {
		l.machine.Lost(now, d.err.Error(), &l.out)
	} else {
		l.wire = startWire(l.links, d.conn)
		l.machine.Connected(now, &l.out)
	}
	l.carryOut()
}

// drain takes in what had arrived when the connection ended, and then its end.
func (l *carrier) drain() {
	w := l.wire
	for {
		select {
		case f := <-w.frames:
			l.machine.Receive(l.links.clock.now(), f, &l.out)
			l.carryOut()
			if l.wire != w {
				return
			}
			continue
		default:
		}
		break
	}
	l.wire = nil
	l.machine.Lost(l.links.clock.now(), w.cause.Error(), &l.out)
	l.carryOut()
}

// end answers everything and closes the connection.
func (l *carrier) end() {
	now := l.links.clock.now()
	calls := l.calls.take(nil)
	for i := range calls {
		l.machine.Call(now, &calls[i], &l.out)
	}
	l.machine.Stop(now, "this node stops", &l.out)
	l.carryOut()
	l.close()
}

// dial is one attempt to connect.
type dial struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when conn or err is set
	conn   transport.Conn
	err    error

	mu        sync.Mutex
	abandoned bool
}

func startDial(ls *links, to effect.Address) *dial {
	ctx, cancel := context.WithCancel(context.Background())
	d := &dial{cancel: cancel, done: make(chan struct{})}
	ls.group.Go(func() {
		defer cancel()
		conn, err := ls.dialers.dial(ctx, to)
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.abandoned && err == nil {
			_ = conn.Close() // nobody wants it any more
		}
		d.conn, d.err = conn, err
		close(d.done)
	})
	return d
}

// abandon gives the attempt up. A connection that comes of it is closed.
func (d *dial) abandon() {
	d.cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.abandoned = true
	select {
	case <-d.done:
		if d.err == nil {
			_ = d.conn.Close() // nobody has seen it
		}
	default:
	}
}

// wire is one connection, with a goroutine that reads and one that writes.
type wire struct {
	links  *links
	conn   transport.Conn
	frames chan []byte
	limit  atomic.Int64  // of a response, in bytes
	lost   chan struct{} // closed when the connection is over, with cause set
	cause  error
	once   sync.Once

	mu     sync.Mutex
	outbox []link.Frame
	sent   []link.Frame // to be recycled
	wake   chan struct{}
}

const (
	// wireWriteTimeout bounds how long the other node may take nothing of what it is sent.
	wireWriteTimeout = 10 * time.Second
	wireReadBytes    = 64 << 10
	// wireTrustBytes is how much is allocated for a response on the word of its length alone.
	wireTrustBytes = 1 << 20
)

func startWire(ls *links, conn transport.Conn) *wire {
	w := &wire{links: ls, conn: conn, frames: make(chan []byte), lost: make(chan struct{}), wake: make(chan struct{}, 1)}
	ls.group.Go(func() { w.close(w.read()) })
	ls.group.Go(func() { w.close(w.write()) })
	return w
}

// close ends the connection. The first to call it says why.
func (w *wire) close(why error) {
	w.once.Do(func() {
		if w.cause = why; why == nil {
			w.cause = net.ErrClosed
		}
		close(w.lost)
		// Reader and writer hear of it. TLS may take its time, and the link has others to see to.
		w.links.group.Go(func() { _ = w.conn.Close() })
	})
}

// send queues frames for the writer, and gives back those that were written.
func (w *wire) send(frames []link.Frame) (written []link.Frame) {
	w.mu.Lock()
	w.outbox = append(w.outbox, frames...)
	written, w.sent = w.sent, nil
	w.mu.Unlock()
	if len(frames) > 0 {
		select {
		case w.wake <- struct{}{}:
		default: // it is awake
		}
	}
	return written
}

// write writes frames until the connection ends.
func (w *wire) write() error {
	var buffers net.Buffers
	for {
		select {
		case <-w.wake:
		case <-w.lost:
			return nil
		}
		w.mu.Lock()
		frames := w.outbox
		w.outbox = nil
		w.mu.Unlock()
		buffers = buffers[:0]
		for _, f := range frames {
			for _, p := range f.Pieces {
				buffers = append(buffers, p.Bytes)
			}
		}
		if err := w.writeAll(buffers); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
		w.mu.Lock()
		w.sent = append(w.sent, frames...)
		w.mu.Unlock()
	}
}

// writeAll writes buffers, a MiB or a single buffer in the time of one timeout.
func (w *wire) writeAll(buffers net.Buffers) error {
	const chunkBytes = 1 << 20
	for len(buffers) > 0 {
		n, size := 0, 0
		for n < len(buffers) && (n == 0 || size+len(buffers[n]) <= chunkBytes) {
			size += len(buffers[n])
			n++
		}
		if err := w.conn.SetWriteDeadline(time.Now().Add(wireWriteTimeout)); err != nil {
			return err
		}
		chunk := buffers[:n:n]
		if _, err := w.conn.WriteBuffers(&chunk); err != nil {
			return err
		}
		buffers = buffers[n:]
	}
	return nil
}

// read reads responses until the connection ends.
func (w *wire) read() error {
	r := bufio.NewReaderSize(w.conn, wireReadBytes)
	for {
		f, err := readResponse(r, &w.limit)
		if err != nil {
			return err
		}
		select {
		case w.frames <- f:
		case <-w.lost:
			return nil
		}
	}
}

// readResponse reads one response and returns it without its length. Memory grows with the bytes that come, not with
// those that are announced.
func readResponse(r io.Reader, limit *atomic.Int64) ([]byte, error) {
	var prefix [4]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, err
	}
	n := int(int32(binary.BigEndian.Uint32(prefix[:])))
	if most := limit.Load(); n < 4 || int64(n) > most {
		return nil, fmt.Errorf("a response of %d bytes, where %d are the most: the other end is no weir node, or fails", n, most)
	}
	frame := make([]byte, min(n, wireTrustBytes))
	for at := 0; ; {
		if _, err := io.ReadFull(r, frame[at:]); err != nil {
			return nil, err
		}
		if at = len(frame); at == n {
			return frame, nil
		}
		frame = append(frame, make([]byte, min(n-at, at))...)
	}
}
