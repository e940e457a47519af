package tcp

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/weirmq/weir/transport"
)

var _ transport.Dialer = (*Dialer)(nil)

// Dialer opens TCP connections, and runs TLS on them if it was given a configuration. It keeps
// nothing between calls and need not be closed.
type Dialer struct {
	dialer net.Dialer
	tls    *tls.Config // nil for plain
}

// NewDialer returns a dialer for plain TCP when config is nil, for TLS otherwise.
func NewDialer(config *tls.Config) *Dialer {
	d := &Dialer{dialer: net.Dialer{KeepAliveConfig: keepAlive}}
	if config != nil {
		d.tls = secure(config)
		if d.tls.ClientSessionCache == nil {
			d.tls.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		}
	}
	return d
}

// Dial connects to addr ("host:port") and, for TLS, completes the handshake. The name that the
// peer's certificate must carry is the host of addr unless the configuration names one.
func (d *Dialer) Dial(ctx context.Context, addr string) (transport.Conn, error) {
	conn, err := d.dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	if d.tls == nil {
		return newDialed(tcp)
	}
	config := d.tls
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			tcp.Close()
			return nil, err
		}
		config = config.Clone()
		config.ServerName = host
	}
	c := &TLSConn{session: tls.Client(tcp, config)}
	if err := c.session.HandshakeContext(ctx); err != nil {
		tcp.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, &net.OpError{Op: "tls handshake", Net: "tcp", Addr: tcp.RemoteAddr(), Err: err}
	}
	c.ready.Store(true)
	return c, nil
}

func newDialed(tcp *net.TCPConn) (transport.Conn, error) {
	c, err := newConn(tcp)
	if err != nil {
		return nil, err
	}
	return c, nil
}
