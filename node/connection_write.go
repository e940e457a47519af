package node

import (
	"fmt"
	"net"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/session"
	"github.com/weirmq/weir/transport"
)

// writeTimeout is how long one write may make no progress: the client does not read, and what it is owed
// must not be held for ever.
const writeTimeout = 2 * time.Minute

// write sends responses until the connection ends. Each round takes every answer that waits and writes
// every response they complete with as few calls as can be.
func (c *connection) write() {
	var answers []answer
	var frames []session.Frame
	w := writing{conn: c.conn, buffers: &c.node.buffers}
	for {
		select {
		case <-c.wake:
		case <-c.closed:
			return
		}
		c.answersMu.Lock()
		answers, c.answers = c.answers, answers[:0]
		c.answersMu.Unlock()

		c.mu.Lock()
		c.take(answers)
		c.drain()
		frames, c.frames = c.frames, frames[:0]
		closing := c.closing
		c.mu.Unlock()

		err := w.send(frames)
		c.sent(frames)
		c.node.work.Add(-int64(len(answers)))
		clear(answers)
		clear(frames)
		if err != nil && !transport.IsClosed(err) {
			c.log.Info("connection lost while writing", zap.Error(err))
		}
		if err != nil || closing {
			c.close()
			return
		}
	}
}

// sent gives back what written responses held.
func (c *connection) sent(frames []session.Frame) {
	if len(frames) == 0 {
		return
	}
	c.touch()
	now := c.node.clock.now()
	m := c.node.metrics
	released := int64(0)
	c.mu.Lock()
	for i, f := range frames {
		r := &c.requests[i]
		if r.key >= 0 && int(r.key) < len(m.RequestSeconds) {
			m.RequestSeconds[r.key].Observe(int64(now - r.received))
		}
		m.NetworkOut.Add(int64(f.LenBytes))
		released += r.bytes
		c.session.Recycle(f)
	}
	c.requestBytes -= released
	c.requests = append(c.requests[:0], c.requests[len(frames):]...)
	c.room.Signal()
	c.mu.Unlock()
	c.node.budget.release(released)
}

// gatherBytesMax is the largest region that is read and sent with its surroundings. Larger ones are worth a
// system call of their own, which spares the copy.
const gatherBytesMax = 16 << 10

// writing gathers the pieces of responses.
type writing struct {
	conn    transport.Conn
	buffers *bufferPool
	read    [][]byte // small regions, until they are sent
	bufs    net.Buffers
	keep    net.Buffers // the array of bufs, which writing consumes
	set     time.Time   // when the write deadline was set
}

// send writes frames: bytes together with one call, regions by the kernel where the transport can.
func (w *writing) send(frames []session.Frame) error {
	w.keep = w.keep[:0]
	for i := range frames {
		for _, p := range frames[i].Pieces {
			if p.Region == nil {
				w.keep = append(w.keep, p.Bytes)
				continue
			}
			r := p.Region.(effect.Region)
			err := error(nil)
			if r.Len() <= gatherBytesMax {
				err = w.readRegion(r)
			} else if err = w.flush(); err == nil {
				err = w.sendRegion(r)
			}
			if err != nil {
				return err
			}
		}
	}
	return w.flush()
}

func (w *writing) flush() error {
	if len(w.keep) == 0 {
		return nil
	}
	w.bound()
	w.bufs = w.keep
	_, err := w.conn.WriteBuffers(&w.bufs)
	clear(w.keep)
	w.keep = w.keep[:0]
	for i, b := range w.read {
		w.buffers.put(b)
		w.read[i] = nil
	}
	w.read = w.read[:0]
	return err
}

// readRegion reads a region to be sent with the bytes around it.
func (w *writing) readRegion(r effect.Region) error {
	b := w.buffers.get(r.Len())
	w.read = append(w.read, b)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return fmt.Errorf("records cannot be read from their file: %w", err)
	}
	w.keep = append(w.keep, b)
	return nil
}

// fileRegion is a region of a real file, as node/disk makes them.
type fileRegion interface {
	File() *os.File
	Offset() int64
}

func (w *writing) sendRegion(r effect.Region) error {
	w.bound()
	if f, ok := r.(fileRegion); ok {
		_, err := transport.SendFile(w.conn, f.File(), f.Offset(), int64(r.Len()))
		return err
	}
	_, err := transport.CopyFile(w.conn, r, 0, int64(r.Len()))
	return err
}

// bound sets the deadline of the write that follows, give or take an eighth.
func (w *writing) bound() {
	if now := time.Now(); now.Sub(w.set) > writeTimeout/8 {
		w.set = now
		_ = w.conn.SetWriteDeadline(now.Add(writeTimeout)) // a closed connection fails the write that follows
	}
}
