package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/link"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/quic"
	"github.com/weirmq/weir/transport/tcp"
)

// links carries the loop's calls to other nodes, and the answers back. Each lane to a node has a carrier: one link machine
// with a goroutine of its own, which is there while there is something to do on it.
//
//	loop ── call ──► carrier ──► link ──► connection's writer ──► transport
//	  ▲                 ▲         │
//	  └─── Answered ────┼─────────┘
//	                    └────── frames ◄── connection's reader ◄── transport
//
// What answers may wait for the loop is bounded by what it asked for: a link has so many calls and no more.
type links struct {
	config  link.Config // of every link, but for To
	clock   clock
	dialers *dialers
	deliver func(effect.Answer)               // may be called from any goroutine
	refused func(to model.NodeID, why string) // another node is at a node's address

	inUse *atomic.Int64 // shown by the metrics

	mu     sync.Mutex
	byLane map[laneKey]*carrier
	closed bool
	stop   chan struct{} // closed by close
	group  sync.WaitGroup
}

// laneKey names one lane.
type laneKey struct {
	to   model.NodeID
	lane effect.Lane
}

func newLinks(config link.Config, c clock, d *dialers, inUse *atomic.Int64, deliver func(effect.Answer), refused func(model.NodeID, string)) *links {
	return &links{
		config: config, clock: c, dialers: d, inUse: inUse, deliver: deliver, refused: refused,
		byLane: map[laneKey]*carrier{}, stop: make(chan struct{}),
	}
}

// call takes a call in. Its answer is delivered later, from another goroutine; once links is closed there is none.
func (ls *links) call(c *effect.Call) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return
	}
	key := laneKey{c.To, c.Lane}
	l := ls.byLane[key]
	if l == nil {
		config := ls.config
		config.To = c.To
		l = &carrier{links: ls, key: key, machine: link.New(config), calls: newQueue[effect.Call]()}
		ls.byLane[key] = l
		ls.inUse.Store(int64(len(ls.byLane)))
		ls.group.Go(l.run)
	}
	l.calls.push(*c)
}

// retire ends a carrier that has nothing to do. It is false if a call has come meanwhile.
func (ls *links) retire(l *carrier) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.calls.len() > 0 {
		return false
	}
	delete(ls.byLane, l.key)
	ls.inUse.Store(int64(len(ls.byLane)))
	return true
}

// count is how many carriers there are.
func (ls *links) count() int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return len(ls.byLane)
}

// close ends every carrier, and waits for them. Calls that have no answer get one.
func (ls *links) close() {
	ls.mu.Lock()
	if !ls.closed {
		ls.closed = true
		close(ls.stop)
	}
	ls.mu.Unlock()
	ls.group.Wait()
	ls.dialers.close()
}

// dialers open connections to other nodes, each kind on its first use.
type dialers struct {
	trust func() (*tls.Config, error) // for encrypted transports

	mu   sync.Mutex
	has  map[effect.Transport]transport.Dialer
	quic *quic.Dialer
}

func newDialers(given map[effect.Transport]transport.Dialer, trust func() (*tls.Config, error)) *dialers {
	d := &dialers{trust: trust, has: map[effect.Transport]transport.Dialer{}}
	for kind, dialer := range given {
		d.has[kind] = dialer
	}
	return d
}

// dial connects to an address.
func (d *dialers) dial(ctx context.Context, to effect.Address) (transport.Conn, error) {
	dialer, err := d.of(to.Transport)
	if err != nil {
		return nil, err
	}
	return dialer.Dial(ctx, net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
}

func (d *dialers) of(kind effect.Transport) (transport.Dialer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dialer := d.has[kind]; dialer != nil {
		return dialer, nil
	}
	var config *tls.Config
	if kind == effect.TransportTLS || kind == effect.TransportQUIC {
		var err error
		if config, err = d.trust(); err != nil {
			return nil, fmt.Errorf("which certificates to trust: %w", err)
		}
	}
	var dialer transport.Dialer
	switch kind {
	case effect.TransportTCP, effect.TransportTLS:
		dialer = tcp.NewDialer(config)
	case effect.TransportQUIC:
		d.quic = quic.NewDialer(config, quic.Config{})
		dialer = d.quic
	case effect.TransportMemory:
		return nil, errors.New("this process has no network in memory")
	default:
		return nil, fmt.Errorf("%v is not known to this version", kind)
	}
	d.has[kind] = dialer
	return dialer, nil
}

func (d *dialers) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.quic != nil {
		_ = d.quic.Close() // nobody dials any more
		d.quic = nil
	}
}

// startLinks makes the node's links.
func (n *Node) startLinks(given map[effect.Transport]transport.Dialer) {
	config := link.DefaultConfig()
	config.Self, config.ClusterID, config.Incarnation = n.sessions.NodeID, n.sessions.ClusterID, n.sessions.Incarnation
	n.links = newLinks(config, n.clock, newDialers(given, n.trustOfNodes), &n.metrics.Links,
		func(a effect.Answer) {
			n.metrics.Calls[a.Failure].Add(1)
			n.heard.answer(&a)
			n.loop.push(input{event: &broker.Answered{Answer: a}})
		},
		func(to model.NodeID, why string) {
			n.complaints.about(explain.WrongNode, strconv.Itoa(int(to)), why, "", zap.Int32("node", int32(to)))
		})
}

// trustOfNodes is which certificates other nodes may show: of the authorities that were configured, or the node's own.
func (n *Node) trustOfNodes() (*tls.Config, error) {
	for _, path := range []string{n.config.Truststore, n.config.TLSCertificate, n.addresses.certificate} {
		if path != "" {
			return certificate.ClientConfig(path)
		}
	}
	return nil, errors.New("set ssl.truststore.location")
}
