// Package quic carries Kafka connections over QUIC: a Kafka connection is one bidirectional stream.
//
// Between a client and a broker there is one QUIC connection, made by the first Dial and shared by
// the later ones; each Dial opens a stream on it. Streams are independent pipes under one
// handshake, one congestion state and one encryption: a fetch of 50 MB on one does not hold up a
// heartbeat on another, as packets lost on one do not. There is no framing besides Kafka's own.
//
//	client program                                    broker
//	Dialer ── QUIC connection (UDP, TLS 1.3) ───────── Listener
//	  Dial ─► Conn ════════ stream 0 ════════════════► Conn ─► Accept
//	  Dial ─► Conn ════════ stream 4 ════════════════► Conn ─► Accept
//
// The client speaks first. Opening a stream sends nothing: the peer learns of it from its first
// bytes, so Accept returns when the client has written its first request. Kafka's clients always do.
//
// Input: an address and a *tls.Config (package certificate makes one for development). Output:
// transport.Listener and transport.Dialer. The listener wants a UDP port; weir takes the number of
// its TCP port.
//
//  1. TLS 1.3 and the ALPN token "weir-kafka/1" only. A peer that speaks anything else fails in the
//     handshake, before a byte reaches a session.
//  2. Close finishes both directions: it sends what was written, then the end of the stream, and
//     tells the peer to stop sending. A write that Close or a deadline cut short makes Close abort
//     the stream, so the peer sees a reset and never takes half a frame for the end.
//  3. Everything a peer can make this side hold is bounded: handshakes, connections, streams per
//     connection, connections nobody accepted yet, and received bytes nobody read yet.
//  4. A connection on which no stream is open for Config.UnusedTimeout is closed, by either side.
//  5. A dead peer is noticed: at once when its host says so (see below), after Config.IdleTimeout
//     when it is silent.
//  6. After Close of a Listener or Dialer and of its Conns, no goroutine, timer or socket remains.
//     The last of these closes waits until the peer has most likely received what was sent, at most
//     one second: a QUIC stack lives in the process, and nobody else would deliver the rest.
//
// When a process dies, the kernel resets its TCP connections; UDP has nothing alike. Two things make
// up for it. The dialer's sockets are connected (one per QUIC connection, hence not one for the
// whole process), so a "port unreachable" from the peer's host fails the connection at once. And the
// listener derives its stateless reset key from its certificate's key, so that a broker that came
// back on the same port disowns the connections of its former life when their packets arrive. The
// dialer's keep-alive makes sure that packets do.
//
// UDP buffers: the kernel drops what a busy process does not fetch in time, and QUIC then repeats
// it. About 7 MiB are wanted, which on Linux takes
//
//	sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000
//
// Without it everything works, slower under load. Listener.Warning says so, for the node's log; the
// library's own warning, printed to the standard logger, is turned off.
//
// Deliberately absent. 0-RTT: early data can be replayed by anyone who recorded it, and a replayed
// Produce or commit is a duplicate; only ApiVersions and Metadata would be safe, which this package
// cannot tell apart, and the round trip saved is one per QUIC connection, not per stream.
// Migration: a server must not bind identity to an address, and does not, but the client offers no
// second path. HTTP/3. Vectored writes and sendfile: every byte is encrypted in user space.
//
// What it costs, for choosing: ten to twenty times the CPU of plain TCP per byte and two to four
// times its round trip on loopback. QUIC is for independence of streams, for encryption by
// default and for networks that lose packets, not for bulk inside one rack.
package quic

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"syscall"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// ALPN is the token that names Kafka's protocol over QUIC streams in the TLS handshake.
const ALPN = "weir-kafka/1"

// Config bounds what a Listener or Dialer holds and waits for. Zero fields take the defaults.
type Config struct {
	// HandshakeTimeout bounds the time without an answer during a handshake; the whole handshake
	// may take twice as long. Default 5 s.
	HandshakeTimeout time.Duration

	// IdleTimeout is how long a peer may be silent before it is taken for dead. The smaller of
	// both peers' values counts. Default 15 s.
	IdleTimeout time.Duration

	// KeepAlivePeriod is after how long without a packet from the peer a dialer asks for one: what
	// it takes to notice a killed broker while only waiting for it. Default 500 ms.
	KeepAlivePeriod time.Duration

	// UnusedTimeout is how long a connection without streams is kept. Dialers use half of it, so
	// that they do not open a stream on what the listener is just closing. Default 30 s.
	UnusedTimeout time.Duration

	// StreamCountMax bounds the streams open on one connection. Dial waits for one to close, where
	// a listener's bound is reached. Default 1024.
	StreamCountMax int

	// ConnectionCountMax bounds the QUIC connections of a listener. Default 10,000.
	ConnectionCountMax int

	// ConnectionsPerAddressMax bounds the QUIC connections from one IP address. Default: no bound of its own.
	ConnectionsPerAddressMax int

	// HandshakesPerSecondMax bounds how many handshakes a listener begins in a second, once two seconds' worth were
	// begun at once; HandshakesPerAddressMax those from one IP address (64 bits of one of IPv6). Who comes too fast
	// is refused and may try again. Default: no bounds.
	HandshakesPerSecondMax, HandshakesPerAddressMax int

	// Refused, if set, is told of each client that a listener refuses, and why. It must not block.
	Refused func(client net.Addr, tooFast bool, why string)

	// AcceptCountMax bounds the streams that were opened and not yet accepted, over all
	// connections of a listener; further ones wait in their connections. Default 128.
	AcceptCountMax int

	// WindowBytesMax bounds, over all connections of a listener, the memory for received bytes
	// that it grants beyond the first 8 MiB of each connection. Default 512 MiB.
	WindowBytesMax int64
}

func (c Config) withDefaults() Config {
	setDefault(&c.HandshakeTimeout, 5*time.Second)
	setDefault(&c.IdleTimeout, 15*time.Second)
	setDefault(&c.KeepAlivePeriod, 500*time.Millisecond)
	setDefault(&c.UnusedTimeout, 30*time.Second)
	setDefault(&c.StreamCountMax, 1024)
	setDefault(&c.ConnectionCountMax, 10_000)
	setDefault(&c.ConnectionsPerAddressMax, math.MaxInt)
	setDefault(&c.HandshakesPerSecondMax, handshakesUnbounded)
	setDefault(&c.HandshakesPerAddressMax, handshakesUnbounded)
	setDefault(&c.AcceptCountMax, 128)
	setDefault(&c.WindowBytesMax, 512<<20)
	return c
}

// handshakesUnbounded is one in a nanosecond.
const handshakesUnbounded = 1_000_000_000

func setDefault[T time.Duration | int | int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Receive windows: how many bytes the peer may send ahead of the reader. A listener grants the first
// ones to anyone who completes a handshake; they double while the reader keeps up. A connection's
// window is many streams' windows, because streams that nobody reads fill it for all the others:
// sixteen may stand still before the rest does.
const (
	streamWindowBytes        = 512 << 10
	streamWindowBytesMax     = 16 << 20
	connectionWindowBytes    = 16 * streamWindowBytes
	connectionWindowBytesMax = 64 << 20
)

// quicConfig is what both sides have in common.
func (c Config) quicConfig() *quicgo.Config {
	return &quicgo.Config{
		Versions:                       []quicgo.Version{quicgo.Version1},
		HandshakeIdleTimeout:           c.HandshakeTimeout,
		MaxIdleTimeout:                 c.IdleTimeout,
		InitialStreamReceiveWindow:     streamWindowBytes,
		MaxStreamReceiveWindow:         streamWindowBytesMax,
		InitialConnectionReceiveWindow: connectionWindowBytes,
		MaxConnectionReceiveWindow:     connectionWindowBytesMax,
		MaxIncomingStreams:             -1,   // a listener raises it
		MaxIncomingUniStreams:          -1,   // Kafka has no use for them
		EnableDatagrams:                true, // keep-alives; nothing reads them, and the library keeps 128 at most
	}
}

// secure returns config as QUIC needs it.
func secure(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.MinVersion = tls.VersionTLS13
	config.NextProtos = []string{ALPN}
	return config
}

// Codes that end a stream or a connection on the wire. They tell a person with a packet trace what
// happened; nothing is decided by them.
const (
	streamClosed  quicgo.StreamErrorCode = 0 // its owner closed it
	streamRefused quicgo.StreamErrorCode = 1 // nobody accepts any more

	connectionClosed quicgo.ApplicationErrorCode = 0
	connectionUnused quicgo.ApplicationErrorCode = 1
)

// failure turns the library's errors into the three that transport.Conn knows: this side closed, a
// deadline passed, or the peer is gone. In the library's own terms a peer's silence is a timeout
// and also net.ErrClosed, which a caller would take for its own doing.
func failure(op string, c net.Conn, err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = os.ErrDeadlineExceeded
	case errors.Is(err, quicgo.ErrStreamClosed), errors.Is(err, errClosed):
		err = net.ErrClosed
	default:
		err = &gone{err}
	}
	return &net.OpError{Op: op, Net: "quic", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// errClosed stands for this side's Close.
var errClosed = errors.New("closed here")

// gone says that the peer ended the stream or the connection, or vanished.
type gone struct{ cause error }

func (e *gone) Error() string { return fmt.Sprintf("%v (%v)", syscall.ECONNRESET, e.cause) }
func (e *gone) Unwrap() error { return syscall.ECONNRESET }
