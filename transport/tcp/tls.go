package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/weirmq/weir/transport"
)

var _ transport.Conn = (*TLSConn)(nil)

// TLSConn is a TLS session on a TCP connection.
type TLSConn struct {
	session *tls.Conn
	timeout time.Duration // for the handshake

	ready  atomic.Bool // the handshake is complete
	closed atomic.Bool
}

// ErrHandshake says that a TLS handshake failed, for whatever reason is wrapped beside it.
var ErrHandshake = errors.New("tls: handshake")

// handshake completes the handshake, or waits for the other direction's goroutine to do so.
func (c *TLSConn) handshake() error {
	if c.ready.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	if err := c.session.HandshakeContext(ctx); err != nil {
		var timeout net.Error
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w with %v: not complete within %v", ErrHandshake, c.RemoteAddr(), c.timeout)
		case errors.As(err, &timeout) && timeout.Timeout():
			// Not wrapped: a handshake cannot be resumed, so this must not look like a deadline
			// after which reading goes on.
			return fmt.Errorf("%w with %v: %v", ErrHandshake, c.RemoteAddr(), err)
		default:
			return fmt.Errorf("%w with %v: %w", ErrHandshake, c.RemoteAddr(), err)
		}
	}
	c.ready.Store(true)
	return nil
}

// Read completes the handshake if needed, then reads.
func (c *TLSConn) Read(p []byte) (int, error) {
	if err := c.handshake(); err != nil {
		return 0, err
	}
	return c.session.Read(p)
}

// Write completes the handshake if needed, then writes.
func (c *TLSConn) Write(p []byte) (int, error) {
	if err := c.handshake(); err != nil {
		return 0, err
	}
	return c.session.Write(p)
}

// WriteBuffers joins small buffers, so that they do not cost a record each.
func (c *TLSConn) WriteBuffers(bufs *net.Buffers) (int64, error) {
	if err := c.handshake(); err != nil {
		return 0, err
	}
	return transport.WriteBuffers(c.session, bufs)
}

// ConnectionState is the session's state: the client's certificate for mutual TLS. It completes the
// handshake if needed.
func (c *TLSConn) ConnectionState() (tls.ConnectionState, error) {
	if err := c.handshake(); err != nil {
		return tls.ConnectionState{}, err
	}
	return c.session.ConnectionState(), nil
}

// Transport is "tls".
func (c *TLSConn) Transport() string { return "tls" }

// Close tells the peer that no more will come and closes both directions. It breaks a write in
// progress instead of waiting for it; it may wait up to five seconds to send that last record when
// nothing is in progress and the peer does not read.
func (c *TLSConn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	_ = c.session.Close() // at most: the peer was gone already and could not be told
	return nil
}

// LocalAddr is the TCP connection's.
func (c *TLSConn) LocalAddr() net.Addr { return c.session.LocalAddr() }

// RemoteAddr is the TCP connection's.
func (c *TLSConn) RemoteAddr() net.Addr { return c.session.RemoteAddr() }

// SetDeadline sets both deadlines.
func (c *TLSConn) SetDeadline(t time.Time) error { return c.session.SetDeadline(t) }

// SetReadDeadline bounds Read. A deadline that passes during the handshake fails the connection.
func (c *TLSConn) SetReadDeadline(t time.Time) error { return c.session.SetReadDeadline(t) }

// SetWriteDeadline bounds Write. After it passed in the middle of a record only Close is left.
func (c *TLSConn) SetWriteDeadline(t time.Time) error { return c.session.SetWriteDeadline(t) }
