package memory

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/weirmq/weir/transport"
)

var _ transport.Conn = (*Conn)(nil)

// Conn is one end of a connection.
type Conn struct {
	in, out       *pipe
	local, remote Addr
	close         sync.Once
}

func newPair(client, server Addr, bufferBytes int) (*Conn, *Conn) {
	up, down := newPipe(bufferBytes), newPipe(bufferBytes)
	return &Conn{in: down, out: up, local: client, remote: server},
		&Conn{in: up, out: down, local: server, remote: client}
}

// Read reads what has arrived, waiting for the first byte.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	return n, c.failed("read", err)
}

// Write writes all of b, waiting for room.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	return n, c.failed("write", err)
}

// WriteBuffers writes the buffers as one run.
func (c *Conn) WriteBuffers(bufs *net.Buffers) (int64, error) {
	n, err := c.out.writeBuffers(bufs)
	return n, c.failed("write", err)
}

// Close closes both directions. The peer still reads what was written.
func (c *Conn) Close() error {
	c.close.Do(func() {
		c.out.finish()
		c.in.abandon()
		c.in.readDeadline.set(time.Time{}) // stops their timers
		c.out.writeDeadline.set(time.Time{})
	})
	return nil
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
	if isClosed(c.in.abandoned) {
		return c.failed("set", net.ErrClosed)
	}
	c.in.readDeadline.set(t)
	return nil
}

// SetWriteDeadline bounds Write, also one in progress.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if isClosed(c.out.finished) {
		return c.failed("set", net.ErrClosed)
	}
	c.out.writeDeadline.set(t)
	return nil
}

// LocalAddr is the listener's name, or a name made up for the dialer.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the peer's LocalAddr.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Transport is "memory".
func (c *Conn) Transport() string { return "memory" }

// failed dresses an error in the operation's names, except io.EOF, which readers compare with.
func (c *Conn) failed(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "memory", Source: c.local, Addr: c.remote, Err: err}
}
