package quic

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/weirmq/weir/transport"
)

var _ transport.Conn = (*Conn)(nil)

// Conn is a stream: one Kafka connection.
type Conn struct {
	stream *quicgo.Stream
	link   *link

	closed atomic.Bool

	writing   sync.Mutex // held during a write; Close takes it once the write was stopped
	truncated bool       // a write failed halfway

	deadline sync.Mutex // orders SetWriteDeadline and Close, which stops writes by a deadline
}

// Read reads what has arrived, waiting for the first byte.
func (c *Conn) Read(b []byte) (int, error) {
	if c.closed.Load() {
		return 0, failure("read", c, errClosed)
	}
	n, err := c.stream.Read(b)
	switch {
	case err == nil, err == io.EOF:
		return n, err
	case c.closed.Load():
		err = errClosed
	}
	return n, failure("read", c, err)
}

// Write writes all of b. It returns when the last of it was handed to the packet sender or fits the
// next packet, so the peer's window and the network's pace are felt here.
func (c *Conn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.write(b)
}

func (c *Conn) write(b []byte) (int, error) {
	if c.closed.Load() {
		return 0, failure("write", c, errClosed)
	}
	n, err := c.stream.Write(b)
	if err == nil {
		return n, nil
	}
	c.truncated = c.truncated || n > 0
	if c.closed.Load() {
		err = errClosed
	}
	return n, failure("write", c, err)
}

// WriteBuffers joins small buffers, so that they do not cost a packet each.
func (c *Conn) WriteBuffers(bufs *net.Buffers) (int64, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.closed.Load() {
		return 0, failure("write", c, errClosed)
	}
	n, err := transport.WriteBuffers((*turnHolder)(c), bufs)
	c.truncated = c.truncated || n > 0 && err != nil
	return n, err
}

// turnHolder is a Conn as the holder of its writing lock writes to it.
type turnHolder Conn

func (c *turnHolder) Write(b []byte) (int, error) { return (*Conn)(c).write(b) }

// Close finishes the stream, or aborts it if a write was cut short, and lets go of the QUIC
// connection. When that was the last stream of a Listener or Dialer already closed, it takes up to
// a second.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.stream.CancelRead(streamClosed)
	// The library's Close does not stop a Write, and must not run beside one. A deadline stops it.
	c.deadline.Lock()
	_ = c.stream.SetWriteDeadline(time.Unix(1, 0))
	c.deadline.Unlock()
	c.writing.Lock()
	if c.truncated {
		c.stream.CancelWrite(streamClosed)
	} else {
		_ = c.stream.Close() // fails when the peer had asked to stop, which is as well
	}
	c.writing.Unlock()
	c.link.give()
	return nil
}

// refuse drops a stream that nobody will accept.
func refuse(s *quicgo.Stream) {
	s.CancelRead(streamRefused)
	s.CancelWrite(streamRefused)
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline bounds Read, also one in progress.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.closed.Load() {
		return failure("set", c, errClosed)
	}
	return c.stream.SetReadDeadline(t)
}

// SetWriteDeadline bounds Write, also one in progress.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	if c.closed.Load() {
		return failure("set", c, errClosed)
	}
	return c.stream.SetWriteDeadline(t)
}

// LocalAddr is this end's UDP address, shared by all streams of the QUIC connection.
func (c *Conn) LocalAddr() net.Addr { return c.link.qc.LocalAddr() }

// RemoteAddr is the peer's UDP address. It may change when the peer's network does.
func (c *Conn) RemoteAddr() net.Addr { return c.link.qc.RemoteAddr() }

// ConnectionState is the TLS session's state: the client's certificate for mutual TLS. The
// handshake is complete, so it does not fail.
func (c *Conn) ConnectionState() (tls.ConnectionState, error) {
	return c.link.qc.ConnectionState().TLS, nil
}

// Transport is "quic".
func (c *Conn) Transport() string { return "quic" }
