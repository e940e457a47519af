package node

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/weirmq/weir/core/broker"
)

const (
	readBufferBytes = 16 << 10
	// firstBytes is what a request may claim before any of it has arrived: more is taken as bytes come in,
	// unless the connection has proved itself with a frame of half that size.
	firstBytes = 64 << 10
	// connectionShare is the part of queued.max.request.bytes that one connection may hold.
	connectionShare = 4
)

var (
	errSession = errors.New("the session closed the connection")
	errIdle    = errors.New("nothing happened on the connection for connections.max.idle.ms")
)

// reading is the reader's own state.
type reading struct {
	c       *connection
	r       *bufio.Reader
	frame   []byte    // being read
	charged int64     // what the frame holds of the budget
	proven  int       // the largest frame that arrived whole
	first   bool      // nothing has arrived yet
	until   time.Time // the read deadline that is set
}

func (in *reading) init(c *connection) {
	in.c, in.first = c, true
	in.r = bufio.NewReaderSize(c.conn, readBufferBytes)
}

// drop gives back what a frame that will never be whole held.
func (in *reading) drop() {
	in.c.node.budget.whole(in.c)
	in.c.node.budget.release(in.charged)
	in.frame, in.charged = nil, 0
}

// read takes in requests until the connection or the node ends.
func (c *connection) read() error {
	for {
		if !c.waitRoom() {
			return errSession
		}
		if err := c.in.next(); err != nil {
			return err
		}
		c.touch()
		if !c.receive() {
			return errSession
		}
	}
}

// waitRoom waits while the connection has too much in flight. It is false when the connection is closing.
func (c *connection) waitRoom() bool {
	limits := &c.node.config.Limits
	share := limits.QueuedBytesMax / connectionShare
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closing && len(c.requests) > 0 && (len(c.requests) >= int(limits.InFlightMax) || c.requestBytes >= share) {
		c.room.Wait()
	}
	return !c.closing
}

// receive gives the frame to the session. It is false when the session closes the connection.
func (c *connection) receive() bool {
	n := c.node
	in := &c.in
	size := int64(len(in.frame)) + 4
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	parked := c.session.Parked()
	key, _ := c.session.Receive(wallNow(), in.frame, &c.out)
	n.metrics.NetworkIn.Add(size)
	if key >= 0 && int(key) < len(n.metrics.Requests) {
		n.metrics.Requests[key].Add(1)
	}
	if c.session.Parked()+len(c.out.Frames) > parked {
		c.requests = append(c.requests, inFlight{key: key, bytes: in.charged, received: n.clock.now()})
		c.requestBytes += in.charged
	} else {
		// No answer is wanted (acks=0): what its batches hold is given back when they were written.
		n.budget.release(in.charged - unansweredBytes(c.out.Events))
	}
	in.frame, in.charged = nil, 0
	c.drain()
	if len(c.frames) > 0 || c.closing {
		c.wakeWriter()
	}
	return !c.closing
}

// unansweredBytes is the size of batches whose producers want no answer.
func unansweredBytes(events []broker.Event) int64 {
	size := int64(0)
	for _, ev := range events {
		if p, ok := ev.(*broker.Produce); ok && p.Acks == 0 {
			size += batchBytes(p)
		}
	}
	return size
}

// next reads one whole frame into in.frame.
func (in *reading) next() error {
	size, err := in.length()
	if err != nil {
		return err
	}
	have := min(size, max(firstBytes, 2*in.proven))
	for read := 0; read < size; {
		if err := in.grow(read, have); err != nil {
			return err
		}
		// The time spent waiting for memory is not the client's.
		if in.r.Buffered() < have-read {
			in.bound(in.c.node.config.Limits.FrameTimeout)
		}
		if _, err := io.ReadFull(in.r, in.frame[read:have]); err != nil {
			return in.interrupted(err, "a request began and did not arrive whole within request.read.timeout.ms")
		}
		read, have = have, min(size, 4*have)
	}
	in.c.node.budget.whole(in.c)
	in.proven = max(in.proven, size)
	return nil
}

// grow makes room for a frame's first bytes, or for more of them. The budget is asked before memory is taken.
func (in *reading) grow(read, bytes int) error {
	n := in.c.node
	if err := n.budget.acquire(in.c, int64(bytes)-in.charged, read > 0, in.c.closed); err != nil {
		return err
	}
	in.charged = int64(bytes)
	frame := n.buffers.get(bytes)
	copy(frame, in.frame[:read])
	if in.frame != nil {
		n.buffers.put(in.frame)
	}
	in.frame = frame
	return nil
}

// length reads a frame's length, waiting for it as long as the connection may be idle.
func (in *reading) length() (int, error) {
	limits := &in.c.node.config.Limits
	for {
		if in.r.Buffered() < 4 {
			in.bound(limits.ConnectionIdleMax)
		}
		prefix, err := in.r.Peek(4)
		if err == nil {
			size := int(int32(binary.BigEndian.Uint32(prefix)))
			if size <= 0 || size > int(limits.RequestBytesMax) {
				return 0, in.refuse(prefix, size)
			}
			in.first = false
			_, err = in.r.Discard(4)
			return size, err
		}
		if err := in.interrupted(err, ""); err != nil {
			return 0, err
		}
	}
}

// interrupted says what a failed read means: the node is stopping, time is up, or the connection is gone.
// Between frames (late is empty) a connection that waits for an answer is not idle: nil says to go on.
func (in *reading) interrupted(err error, late string) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	c := in.c
	in.until = time.Time{}
	if c.node.stopping() {
		return errStopping
	}
	if late != "" {
		return errors.New(late)
	}
	c.mu.Lock()
	waits := len(c.requests) > 0
	c.mu.Unlock()
	idle := time.Duration(c.node.clock.now()) - time.Duration(c.active.Load())
	if !waits && idle >= c.node.config.Limits.ConnectionIdleMax {
		c.log.Debug("connection closed", zap.Error(errIdle))
		return io.EOF
	}
	return nil
}

// bound sets the deadline of the reads that follow, give or take an eighth, so that it need not be set for
// every frame. A stopping node sets deadlines of its own, in the past, to interrupt every reader; these must
// not be overwritten.
func (in *reading) bound(d time.Duration) {
	c := in.c
	until := time.Now().Add(d)
	if off := until.Sub(in.until); -d/8 < off && off < d/8 {
		return
	}
	in.until = until
	_ = c.conn.SetReadDeadline(until) // a closed connection fails the read that follows
	if c.node.stopping() {
		_ = c.conn.SetReadDeadline(longAgo)
	}
}

// longAgo is a deadline that interrupts.
var longAgo = time.Unix(1, 0)

// refuse closes a connection whose first bytes cannot be a request, and says in the log what they are.
func (in *reading) refuse(prefix []byte, size int) error {
	c := in.c
	c.node.metrics.Malformed.Add(1)
	what := ""
	switch {
	case !in.first:
	case prefix[0] == 0x16 && prefix[1] == 0x03:
		what = "the client speaks TLS, and this listener is plain: turn TLS off at the client (security.protocol=PLAINTEXT)"
	case isHTTP(prefix):
		what = "the client speaks HTTP, and this port speaks Kafka's protocol"
		if http := c.node.HTTPAddr(); http != "" {
			what += ": HTTP is served on " + http
		}
		// An answer that an HTTP client shows to its user. What is unread of its request may turn it into a reset.
		_ = c.conn.SetWriteDeadline(time.Now().Add(time.Second))
		body := what + "\n"
		_, _ = fmt.Fprintf(c.conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			len(body), body)
		_, _ = in.r.Discard(in.r.Buffered())
	case string(prefix) == "SSH-":
		what = "the client speaks SSH, and this port speaks Kafka's protocol"
	}
	if what == "" {
		what = fmt.Sprintf("a request claims %d bytes; socket.request.max.bytes allows %d", size, c.node.config.Limits.RequestBytesMax)
	}
	c.log.Warn("connection closed because of what the client sent", zap.String("reason", what))
	return io.EOF
}

func isHTTP(prefix []byte) bool {
	switch string(prefix) {
	case "GET ", "POST", "HEAD", "PUT ", "DELE", "OPTI", "PATC", "CONN", "TRAC", "PRI ":
		return true
	}
	return false
}
