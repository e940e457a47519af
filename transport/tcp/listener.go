package tcp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/weirmq/weir/transport"
)

var _ transport.Listener = (*Listener)(nil)

// Listener accepts TCP connections, and runs TLS on them if it was given a configuration.
type Listener struct {
	listener *net.TCPListener
	tls      *tls.Config   // nil for plain
	timeout  time.Duration // for a connection's handshake
	sendSize int           // of sockets' send buffers; 0: the system's

	accepted chan accept   // unbuffered: the kernel's backlog is the queue
	closed   chan struct{} // closed by Close
	stopped  chan struct{} // closed when run returned
	close    sync.Once
}

type accept struct {
	conn transport.Conn
	err  error
}

// Config is how a Listener listens.
type Config struct {
	// TLS runs on every connection; nil for plain TCP.
	TLS *tls.Config
	// SendBufferBytes is the size of sockets' send buffers, which the system doubles for its own needs; 0 leaves it
	// to the system, which lets them grow to megabytes. A small one keeps what is sent in the processor's cache until
	// it is received, but allows no more than itself for each round trip.
	SendBufferBytes int
	// HandshakeTimeout is for TLS; 0 is HandshakeTimeout.
	HandshakeTimeout time.Duration
}

// Listen binds addr ("host:port"; port 0 takes a free one).
func Listen(addr string, c Config) (*Listener, error) {
	config := c.TLS
	if config != nil && len(config.Certificates) == 0 && config.GetCertificate == nil && config.GetConfigForClient == nil {
		return nil, errors.New("tls: listen: the TLS configuration has no certificate")
	}
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	nl, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	l := &Listener{
		listener: nl.(*net.TCPListener),
		timeout:  cmp.Or(c.HandshakeTimeout, HandshakeTimeout),
		sendSize: c.SendBufferBytes,
		accepted: make(chan accept),
		closed:   make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	if config != nil {
		l.tls = secure(config)
	}
	go l.run()
	return l, nil
}

// run accepts ahead of Accept by one connection: the kernel's accept knows nothing of contexts.
func (l *Listener) run() {
	defer close(l.stopped)
	const pauseMin, pauseMax = 5 * time.Millisecond, time.Second
	pause := pauseMin
	for {
		conn, err := l.accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		select {
		case l.accepted <- accept{conn, err}:
		case <-l.closed:
			if conn != nil {
				conn.Close()
			}
			return
		}
		if err == nil {
			pause = pauseMin
			continue
		}
		// Out of descriptors, most likely: the same call would fail at once, and again.
		select {
		case <-time.After(pause):
		case <-l.closed:
			return
		}
		pause = min(2*pause, pauseMax)
	}
}

func (l *Listener) accept() (transport.Conn, error) {
	tcp, err := l.listener.AcceptTCP()
	if err != nil {
		return nil, err
	}
	if l.sendSize > 0 {
		if err := tcp.SetWriteBuffer(l.sendSize); err != nil {
			tcp.Close() // the error to tell is the other one
			return nil, err
		}
	}
	if l.tls != nil {
		return &TLSConn{session: tls.Server(tcp, l.tls), timeout: l.timeout}, nil
	}
	return newConn(tcp)
}

// Accept returns the next connection. For TLS its handshake has not begun.
func (l *Listener) Accept(ctx context.Context) (transport.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case a := <-l.accepted:
		return a.conn, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.stopped:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Addr is the address bound.
func (l *Listener) Addr() net.Addr { return l.listener.Addr() }

// Close stops accepting. Accepted connections live on.
func (l *Listener) Close() error {
	var err error
	l.close.Do(func() {
		close(l.closed)
		err = l.listener.Close()
	})
	<-l.stopped
	return err
}
