package quic

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/weirmq/weir/transport"
)

var _ transport.Listener = (*Listener)(nil)

// handshakeCountMax is how many handshakes may be under way before newcomers must first prove that
// they can receive at the address they claim (RFC 9000 §8.1.2), which costs them a round trip and
// keeps floods with forged addresses from costing signatures.
const handshakeCountMax = 64

// Listener accepts the streams of all QUIC connections on one UDP socket.
type Listener struct {
	config   Config
	socket   *net.UDPConn
	library  *quicgo.Transport
	listener *quicgo.Listener
	warning  string

	accepted chan *Conn
	closed   chan struct{} // closed by Close
	closing  sync.Once
	running  sync.WaitGroup

	connectionCount atomic.Int64 // from the first packet on
	handshakeCount  atomic.Int64 // of these, not complete

	mu          sync.Mutex
	links       map[*link]struct{}
	windowBytes map[*quicgo.Conn]int64 // granted beyond the first, per connection in links
	windowTotal int64
	addresses   map[netip.Addr]int // connections, by where they came from
	handshakes  handshakes
	released    bool
}

// Listen binds the UDP address addr ("host:port"; port 0 takes a free one). The TLS configuration
// must have a certificate.
func Listen(addr string, tlsConfig *tls.Config, config Config) (*Listener, error) {
	if tlsConfig == nil || len(tlsConfig.Certificates) == 0 && tlsConfig.GetCertificate == nil && tlsConfig.GetConfigForClient == nil {
		return nil, errors.New("quic: listen: QUIC is always encrypted, and the TLS configuration has no certificate")
	}
	config = config.withDefaults()
	udpAddr, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	quietLibrary()
	socket, err := net.ListenUDP("udp", udpAddr)
	if err != nil {
		return nil, err
	}
	l := &Listener{
		config:      config,
		socket:      socket,
		accepted:    make(chan *Conn, config.AcceptCountMax),
		closed:      make(chan struct{}),
		links:       map[*link]struct{}{},
		windowBytes: map[*quicgo.Conn]int64{},
		addresses:   map[netip.Addr]int{},
		handshakes:  newHandshakes(config.HandshakesPerSecondMax, config.HandshakesPerAddressMax),
	}
	l.library = &quicgo.Transport{
		Conn:                socket,
		StatelessResetKey:   resetKey(tlsConfig, socket.LocalAddr()),
		ConnContext:         l.admit,
		VerifySourceAddress: func(net.Addr) bool { return l.handshakeCount.Load() > handshakeCountMax },
	}
	quicConfig := config.quicConfig()
	quicConfig.MaxIncomingStreams = int64(config.StreamCountMax)
	quicConfig.AllowConnectionWindowIncrease = l.growWindow
	l.listener, err = l.library.Listen(secure(tlsConfig), quicConfig)
	if err != nil {
		socket.Close()
		return nil, err
	}
	l.warning = bufferWarning(socket)
	l.running.Go(l.run)
	return l, nil
}

// resetKey is the secret with which a broker that restarted disowns the connections it had before:
// the same for the same certificate key and address. It is nil, and peers then wait for their idle
// timeout, where the key is not to be had (in a hardware module, or chosen per client).
func resetKey(config *tls.Config, addr net.Addr) *quicgo.StatelessResetKey {
	if len(config.Certificates) == 0 {
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(config.Certificates[0].PrivateKey)
	if err != nil {
		return nil
	}
	h := sha256.New()
	h.Write([]byte("weir quic stateless reset\x00" + addr.String() + "\x00"))
	h.Write(der)
	return (*quicgo.StatelessResetKey)(h.Sum(nil))
}

// attempt marks a connection whose handshake is under way.
type attempt struct {
	count *atomic.Int64
	once  sync.Once
}

func (a *attempt) over() { a.once.Do(func() { a.count.Add(-1) }) }

type attemptKey struct{}

// admit is called with the first packet of each connection; the context ends with it.
func (l *Listener) admit(ctx context.Context, client *quicgo.ClientInfo) (context.Context, error) {
	if l.connectionCount.Add(1) > int64(l.config.ConnectionCountMax) {
		l.connectionCount.Add(-1)
		return nil, l.refuse(client, false, fmt.Sprintf("%d QUIC connections are open", l.config.ConnectionCountMax))
	}
	ip := client.RemoteAddr.(*net.UDPAddr).AddrPort().Addr().Unmap()
	if !l.allowHandshake(ip) {
		l.connectionCount.Add(-1)
		return nil, l.refuse(client, true, fmt.Sprintf("more than %d QUIC handshakes a second from %s, or %d in all",
			l.config.HandshakesPerAddressMax, ip, l.config.HandshakesPerSecondMax))
	}
	if !l.addAddress(ip) {
		l.connectionCount.Add(-1)
		return nil, l.refuse(client, false, fmt.Sprintf("%d QUIC connections are open from %s", l.config.ConnectionsPerAddressMax, ip))
	}
	l.handshakeCount.Add(1)
	a := &attempt{count: &l.handshakeCount}
	context.AfterFunc(ctx, func() {
		a.over()
		l.connectionCount.Add(-1)
		l.removeAddress(ip)
	})
	return context.WithValue(ctx, attemptKey{}, a), nil
}

func (l *Listener) refuse(client *quicgo.ClientInfo, tooFast bool, why string) error {
	if l.config.Refused != nil {
		l.config.Refused(client.RemoteAddr, tooFast, why)
	}
	return errors.New(why)
}

func (l *Listener) allowHandshake(from netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.handshakes.allow(time.Now(), from)
}

// addAddress counts a connection from ip, unless there are too many.
func (l *Listener) addAddress(ip netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addresses[ip] >= l.config.ConnectionsPerAddressMax {
		return false
	}
	l.addresses[ip]++
	return true
}

func (l *Listener) removeAddress(ip netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addresses[ip]--; l.addresses[ip] == 0 {
		delete(l.addresses, ip)
	}
}

// growWindow is asked when a connection's reader keeps up and would be served by a larger window.
func (l *Listener) growWindow(qc *quicgo.Conn, delta uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	granted, known := l.windowBytes[qc]
	if !known || l.windowTotal+int64(delta) > l.config.WindowBytesMax {
		return false
	}
	l.windowBytes[qc] = granted + int64(delta)
	l.windowTotal += int64(delta)
	return true
}

// run takes each connection as its handshake completes.
func (l *Listener) run() {
	for {
		qc, err := l.listener.Accept(context.Background())
		if err != nil {
			return // only ever because the listener was closed
		}
		if a, ok := qc.Context().Value(attemptKey{}).(*attempt); ok {
			a.over()
		}
		l.mu.Lock()
		k := newLink(qc, l.config.UnusedTimeout, 0, l.forget)
		l.links[k] = struct{}{}
		l.windowBytes[qc] = 0
		l.mu.Unlock()
		go l.serve(k)
	}
}

// serve hands on a connection's streams, and refuses them once the listener is closed: a client
// would otherwise write requests to a stream that nobody reads.
func (l *Listener) serve(k *link) {
	for {
		s, err := k.qc.AcceptStream(k.qc.Context())
		if err != nil {
			return // the connection is over
		}
		if !k.take() { // the listener was closed
			refuse(s)
			continue
		}
		c := &Conn{stream: s, link: k}
		select {
		case l.accepted <- c:
			if isClosed(l.closed) {
				l.drop() // Close may have dropped the others before this one came
			}
		case <-l.closed:
			c.Close()
		}
	}
}

// forget takes a connection that is over off the books.
func (l *Listener) forget(k *link) {
	l.mu.Lock()
	delete(l.links, k)
	l.windowTotal -= l.windowBytes[k.qc]
	delete(l.windowBytes, k.qc)
	l.mu.Unlock()
	l.release()
}

// release gives the socket back once nothing uses it.
func (l *Listener) release() {
	l.mu.Lock()
	last := isClosed(l.closed) && len(l.links) == 0 && !l.released
	l.released = l.released || last
	l.mu.Unlock()
	if last {
		_ = l.library.Close()
		_ = l.socket.Close()
	}
}

// Accept returns the next stream on which bytes arrived.
func (l *Listener) Accept(ctx context.Context) (transport.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !isClosed(l.closed) { // asked first: select chooses at random
		select {
		case c := <-l.accepted:
			return c, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.closed:
		}
	}
	return nil, &net.OpError{Op: "accept", Net: "quic", Addr: l.Addr(), Err: net.ErrClosed}
}

// Addr is the UDP address bound.
func (l *Listener) Addr() net.Addr { return l.socket.LocalAddr() }

// Warning is empty, or one sentence for the operator: the kernel's UDP buffers are too small.
func (l *Listener) Warning() string { return l.warning }

// Close stops accepting: new QUIC connections and new streams are refused, unused connections
// closed. Accepted streams live on, and with them the socket until the last is closed.
func (l *Listener) Close() error {
	l.closing.Do(func() {
		close(l.closed)
		_ = l.listener.Close()
		l.running.Wait()
		l.drop()
		l.mu.Lock()
		links := make([]*link, 0, len(l.links))
		for k := range l.links {
			links = append(links, k)
		}
		l.mu.Unlock()
		var retiring sync.WaitGroup
		for _, k := range links {
			retiring.Go(k.retire)
		}
		retiring.Wait()
		l.release()
	})
	return nil
}

// drop closes the streams that nobody accepted.
func (l *Listener) drop() {
	for {
		select {
		case c := <-l.accepted:
			c.Close()
		default:
			return
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
