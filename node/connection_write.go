package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/session"
	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/transport"
)

// write sends responses until the connection ends, or until there is nothing to send and the writer is told to
// rest. Each round takes every answer that waits and writes every response they complete with as few calls as
// can be.
func (c *connection) write() error {
	var answers []answer
	var frames []session.Frame
	w := writing{c: c, conn: c.conn, buffers: &c.node.buffers}
	for {
		select {
		case <-c.wake:
		case <-c.closed:
			return nil
		}
		isCostly, turn := false, (*costlyTurn)(nil)
		if answers, isCostly = c.collect(answers[:0], c.isNode.Load()); isCostly {
			if turn = c.node.enterCostly(c); turn == nil {
				return nil
			}
			answers, _ = c.collect(answers, true)
		}
		frames = frames[:0]
		closing := c.round(answers, &frames, turn)
		err := w.send(frames)
		c.sent(frames)
		c.node.work.Add(-int64(len(answers)))
		idle := len(answers)+len(frames) == 0
		clear(answers)
		clear(frames)
		if err != nil {
			c.lostWriting(err)
		}
		if err != nil || closing {
			c.close()
			return nil
		}
		if idle && c.rest() {
			return nil
		}
	}
}

// round gives the session the answers and takes the frames that are to be written, swapping slices. It reports
// that they are the last.
func (c *connection) round(answers []answer, frames *[]session.Frame, turn *costlyTurn) (closing bool) {
	defer turn.leave()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take(answers)
	c.drain()
	*frames, c.frames = c.frames, *frames
	return c.closing
}

// collect takes the answers that wait and leaves spare, which is empty, in their place. It leaves them, and says
// so, if there is one that may be long in the making, unless those are wanted too.
func (c *connection) collect(spare []answer, all bool) (answers []answer, isCostly bool) {
	c.answersMu.Lock()
	defer c.answersMu.Unlock()
	for i := range c.answers {
		if c.answers[i].kind == answerReply && !all {
			return spare, true
		}
	}
	answers, c.answers = c.answers, spare
	return answers, false
}

// rest ends the writer if it was told to and there is nothing to do.
func (c *connection) rest() bool {
	c.answersMu.Lock()
	defer c.answersMu.Unlock()
	if !c.rests || len(c.answers) > 0 {
		return false
	}
	c.isWriting = false
	return true
}

func (c *connection) lostWriting(err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.mu.Lock()
		defer c.mu.Unlock()
		c.complainLocked(explain.SlowReader, fmt.Sprintf("it took nothing for %v; %d requests have no response, %d bytes wait in memory",
			c.node.config.Limits.ResponseTimeout, len(c.requests), c.heldBytes), "")
	case !transport.IsClosed(err):
		c.node.log.Info("connection lost while writing", zap.String("peer", c.peer), zap.Error(err))
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
	defer c.mu.Unlock()
	for i, f := range frames {
		r := &c.requests[i]
		if place := r.key.Place(); place >= 0 {
			m.RequestSeconds[place].Observe(int64(now - r.received))
		}
		m.NetworkOut.Add(int64(f.LenBytes))
		released += r.reserved
		c.session.Recycle(f)
	}
	c.readyCount -= len(frames)
	c.heldBytes -= released
	c.requests = append(c.requests[:0], c.requests[len(frames):]...)
	c.room.Signal()
	c.purse.responses.release(released)
}

// stepBytesMax is the largest part of a response that must be taken within response.write.timeout.ms: whoever
// reads faster than that is slow and not stuck.
const stepBytesMax = 1 << 20

// gatherBytesMax is the largest region that is read and sent with its surroundings. Larger ones are worth a
// system call of their own, which spares the copy.
const gatherBytesMax = 16 << 10

// writing gathers the pieces of responses.
type writing struct {
	c       *connection
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
	err := w.writeAll()
	clear(w.keep)
	w.keep = w.keep[:0]
	for i, b := range w.read {
		w.buffers.put(b)
		w.read[i] = nil
	}
	w.read = w.read[:0]
	return err
}

// writeAll writes keep: all at once, unless it is so much that a slow reader needs time for it.
func (w *writing) writeAll() error {
	size := 0
	for _, b := range w.keep {
		size += len(b)
	}
	if size <= stepBytesMax {
		w.bound()
		w.bufs = w.keep
		_, err := w.conn.WriteBuffers(&w.bufs)
		return err
	}
	for _, b := range w.keep {
		for len(b) > 0 {
			w.bound()
			n, err := w.conn.Write(b[:min(len(b), stepBytesMax)])
			if err != nil {
				return err
			}
			b = b[n:]
			w.c.touch()
		}
	}
	return nil
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
	for sent, size := int64(0), int64(r.Len()); sent < size; {
		step := min(size-sent, stepBytesMax)
		w.bound()
		var err error
		if f, ok := r.(fileRegion); ok {
			_, err = transport.SendFile(w.conn, f.File(), f.Offset()+sent, step)
		} else {
			_, err = transport.CopyFile(w.conn, r, sent, step)
		}
		if err != nil {
			return err
		}
		sent += step
		w.c.touch()
	}
	return nil
}

// bound sets the deadline of the write that follows, give or take an eighth.
func (w *writing) bound() {
	limit := w.c.node.config.Limits.ResponseTimeout
	if now := time.Now(); now.Sub(w.set) > limit/8 {
		w.set = now
		_ = w.conn.SetWriteDeadline(now.Add(limit)) // a closed connection fails the write that follows
	}
}
