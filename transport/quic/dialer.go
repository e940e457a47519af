package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"

	quicgo "github.com/quic-go/quic-go"

	"github.com/weirmq/weir/transport"
)

var _ transport.Dialer = (*Dialer)(nil)

// Dialer opens streams, on one QUIC connection per address. Close it when it is no longer needed.
type Dialer struct {
	config     Config
	tls        *tls.Config
	quicConfig *quicgo.Config

	connecting sync.WaitGroup

	mu     sync.Mutex
	closed bool
	peers  map[string]*peer // by the address dialed
}

// peer is the QUIC connection to one address, made or being made.
type peer struct {
	ready  chan struct{} // closed when link or err is set
	link   *link
	err    error
	cancel context.CancelFunc // stops the handshake

	waiterCount int // guarded by Dialer.mu; a handshake nobody waits for is stopped
}

// NewDialer returns a dialer that verifies peers with the TLS configuration; nil means with the
// system's authorities.
func NewDialer(tlsConfig *tls.Config, config Config) *Dialer {
	if tlsConfig == nil {
		tlsConfig = &tls.Config{}
	}
	d := &Dialer{config: config.withDefaults(), tls: secure(tlsConfig), peers: map[string]*peer{}}
	if d.tls.ClientSessionCache == nil {
		d.tls.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	d.quicConfig = d.config.quicConfig()
	return d
}

// Dial opens a stream to addr ("host:port"), over the QUIC connection there is or a new one. The
// name that the peer's certificate must carry is the host of addr unless the TLS configuration
// names one. Dial returns when the connection stands; the peer learns of the stream when its first
// bytes arrive. It waits while the peer allows no further stream.
func (d *Dialer) Dial(ctx context.Context, addr string) (transport.Conn, error) {
	failed := func(err error) error {
		return &net.OpError{Op: "dial", Net: "quic", Addr: name(addr), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return nil, failed(err)
	}
	for {
		p, made, err := d.connect(ctx, addr)
		if err != nil {
			return nil, failed(err)
		}
		c, err := open(ctx, p.link)
		if err == nil {
			return c, nil
		}
		if made || ctx.Err() != nil {
			return nil, failed(err)
		}
		// A connection of earlier that ended just now: that is not the caller's concern.
		d.forget(addr, p)
	}
}

// name is an address as it was dialed.
type name string

func (name) Network() string  { return "udp" }
func (n name) String() string { return string(n) }

func open(ctx context.Context, k *link) (*Conn, error) {
	if !k.take() {
		return nil, errors.New("the connection was closed")
	}
	s, err := k.qc.OpenStreamSync(ctx)
	if err != nil {
		k.give()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &gone{err}
	}
	return &Conn{stream: s, link: k}, nil
}

// connect returns the connection to addr, and whether it was made for this call or one beside it.
func (d *Dialer) connect(ctx context.Context, addr string) (p *peer, made bool, err error) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, false, net.ErrClosed
	}
	p = d.peers[addr]
	if p == nil {
		// The handshake is everyone's who waits for it, so it does not end with one's context.
		connectCtx, cancel := context.WithCancel(context.Background())
		p = &peer{ready: make(chan struct{}), cancel: cancel}
		d.peers[addr] = p
		d.connecting.Go(func() {
			defer cancel()
			d.make(connectCtx, addr, p)
		})
	}
	made = !isClosed(p.ready)
	p.waiterCount++
	d.mu.Unlock()

	select {
	case <-p.ready:
		err = p.err
	case <-ctx.Done():
		err = ctx.Err()
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	p.waiterCount--
	if p.waiterCount == 0 && !isClosed(p.ready) {
		p.cancel()
		d.forgetLocked(addr, p)
	}
	return p, made, err
}

// make runs the handshake for a peer and publishes the outcome.
func (d *Dialer) make(ctx context.Context, addr string, p *peer) {
	k, err := d.handshake(ctx, addr, func() { d.forget(addr, p) })
	d.mu.Lock()
	p.link, p.err = k, err
	wanted := d.peers[addr] == p && !d.closed
	if err != nil {
		d.forgetLocked(addr, p)
	}
	close(p.ready)
	d.mu.Unlock()
	if k != nil && !wanted {
		k.retire()
	}
}

// handshake tries the addresses of a name in turn; ended is called when the connection is over.
func (d *Dialer) handshake(ctx context.Context, addr string, ended func()) (*link, error) {
	host, portName, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", portName)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	config := d.tls
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = host
	}
	var failures []error
	for _, ip := range ips {
		udpAddr := net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), uint16(port)))
		k, err := d.handshakeWith(ctx, udpAddr, config, ended)
		if err == nil {
			return k, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			err = fmt.Errorf("nothing answered over UDP within %v; is a QUIC listener there, and UDP let through?", d.config.HandshakeTimeout)
		}
		if len(ips) > 1 {
			err = fmt.Errorf("%v: %w", net.JoinHostPort(ip.String(), strconv.Itoa(port)), err)
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

func (d *Dialer) handshakeWith(ctx context.Context, addr *net.UDPAddr, config *tls.Config, ended func()) (*link, error) {
	quietLibrary()
	socket, err := net.DialUDP("udp", nil, addr)
	if err != nil {
		return nil, err
	}
	library := &quicgo.Transport{Conn: connectedSocket{socket}}
	release := func() {
		_ = library.Close()
		_ = socket.Close()
	}
	qc, err := library.Dial(ctx, addr, config, d.quicConfig)
	if err != nil {
		release()
		return nil, err
	}
	return newLink(qc, d.config.UnusedTimeout/2, d.config.KeepAlivePeriod, func(*link) {
		ended()
		release()
	}), nil
}

// forget makes the next Dial to addr connect anew.
func (d *Dialer) forget(addr string, p *peer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgetLocked(addr, p)
}

func (d *Dialer) forgetLocked(addr string, p *peer) {
	if d.peers[addr] == p {
		delete(d.peers, addr)
	}
}

// Close stops dialing and closes the QUIC connections on which no stream is open; the others close
// with their last stream.
func (d *Dialer) Close() error {
	d.mu.Lock()
	d.closed = true
	peers := make([]*peer, 0, len(d.peers))
	for _, p := range d.peers {
		p.cancel()
		peers = append(peers, p)
	}
	d.mu.Unlock()
	d.connecting.Wait()
	var retiring sync.WaitGroup
	for _, p := range peers {
		if p.link != nil {
			retiring.Go(p.link.retire)
		}
	}
	retiring.Wait()
	return nil
}
