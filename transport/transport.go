// Package transport is what carries Kafka's protocol between two programs: one interface, and
// below it tcp (plain and TLS), quic and memory.
//
// A Conn is one Kafka connection: an ordered pipe of bytes in both directions, on which the client
// speaks first. Nothing here knows what the bytes mean, and nothing here decides anything: framing,
// versions and authentication are the session's, reconnecting and back-off are the client's.
//
//	package   a Kafka connection is           encrypted   sendfile   Conn.Transport
//	tcp       a TCP connection                no          yes        "tcp"
//	tcp       a TLS session on it             1.2, 1.3    no         "tls"
//	quic      a stream of a QUIC connection   1.3         no         "quic"
//	memory    a pair of bounded buffers       no          no         "memory"
//
// What every implementation keeps (transporttest checks it over each of them):
//
//  1. Bytes arrive in the order written, once, or the connection fails.
//  2. What was written before Close is delivered: the peer reads it, then io.EOF. This holds while
//     the closing side has no unread input: a TCP stack answers Close with a reset when bytes are
//     left unread, and the reset may overtake what was sent.
//  3. Close unblocks Read, Write and WriteBuffers, may be called from any goroutine, and again.
//  4. A writer whose peer does not read blocks: memory per connection is bounded.
//  5. A deadline that passes fails the operations blocked on it with os.ErrDeadlineExceeded. After a
//     new read deadline reading goes on where it stopped. After a failed write an unknown part has
//     gone out (TLS cannot even go on), so the connection is good for Close only. No other error
//     unwraps to os.ErrDeadlineExceeded, so a caller may take it for its own deadline.
//  6. Concurrent calls of Write do not interleave.
//
// The client speaks first, and that matters: a QUIC stream exists for the server only when bytes
// arrive on it. A Dial that succeeds says that the peer is there; on QUIC the peer's Accept returns
// once the dialer has written something. A server that wants to greet its clients cannot use QUIC.
//
// Deliberately absent: half-close (Kafka has no use for it), connection pools, retries, metrics,
// logging. Errors are returned to the caller, who knows what to do with them.
package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
)

// Conn is one ordered pipe of bytes in both directions: a Kafka connection. It is a net.Conn, so
// any Go Kafka client that takes a dial function can run over it.
//
// One goroutine may read while another writes, and any may close or set deadlines.
type Conn interface {
	net.Conn

	// WriteBuffers writes the buffers in order, with one system call where the kernel can do so
	// and with few packets or TLS records elsewhere. It returns the bytes written and leaves the
	// unwritten rest in *bufs, as net.Buffers.WriteTo does; the buffers' bytes are not changed and
	// may be reused when it returns.
	WriteBuffers(bufs *net.Buffers) (int64, error)

	// Transport names what carries the bytes: "tcp", "tls", "quic" or "memory".
	Transport() string
}

// Listener accepts connections on one address.
type Listener interface {
	// Accept returns the next connection. It fails with the context's error when ctx ends, with
	// an error that is net.ErrClosed once the listener is closed, and with any other error when
	// one connection could not be accepted (say, no file descriptors are left): the listener then
	// still works, paces itself, and Accept may be called again at once.
	Accept(ctx context.Context) (Conn, error)

	// Addr is the address bound, with the port filled in when port 0 was asked for.
	Addr() net.Addr

	// Close stops accepting and drops what nobody accepted yet. Accepted connections live on.
	// When the listener and every connection it accepted are closed, the address is free again.
	// It is safe to call again and from any goroutine.
	Close() error
}

// Dialer opens connections. Its address is "host:port", or a name for memory.
type Dialer interface {
	// Dial connects within the life of ctx, which bounds only the dialing. Where nobody listens
	// the error unwraps to syscall.ECONNREFUSED if the peer's host said so.
	Dial(ctx context.Context, addr string) (Conn, error)
}

// IsClosed reports whether err is how a connection ordinarily ends: the peer finished or vanished,
// or this side closed. It tells what a log need not mention from what it must.
func IsClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}
