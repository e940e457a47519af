package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/node/explain"
)

// advice finds out that clients are told an address that they cannot reach, the error that costs new users of
// this field the most time: a client connects, asks for metadata, is told where to go, fails there, and starts
// again. At the client this looks like a broker that hangs.
//
// A client is suspected if it came to another address than the advertised one. Most of these are well: there is
// a translation of addresses between, or a port of a container is mapped. So it is watched: if it asks for
// metadata again and again and never does what a client does at the advertised address, it is told of.
//
//	came to the advertised address ──────────────────────────────► nothing is kept
//	came to another ──► watched by its host ──produces, fetches...──► well
//	                                       └──only asks, for a while──► one line in the log
type advice struct {
	host string // advertised
	port int32

	mu       sync.Mutex
	resolved []netip.Addr // of host; nil until known, empty if there are none
	hosts    map[string]*lostHost
}

// lostHost is a host whose clients came to another address than the advertised one.
type lostHost struct {
	via         string // the address they came to
	asked       int    // requests for metadata
	first, last model.Time
	isWell      bool
	isTold      bool
}

const (
	// watchedHostsMax bounds the memory. Hosts beyond it are not watched; the first ones tell enough.
	watchedHostsMax = 1024
	// A host is told of when its clients asked so often, over so long a time, in vain.
	lostAskedMin = 3
	lostAfter    = model.Time(3 * time.Second)
	// lostFor is when a host that is silent is forgotten.
	lostFor = model.Time(10 * time.Minute)
)

// start takes the advertised address and looks its name up, as clients will.
func (a *advice) start(n *Node, host string, port int32) {
	a.host, a.port, a.hosts = host, port, map[string]*lostHost{}
	if ip, err := netip.ParseAddr(host); err == nil {
		a.resolved = []netip.Addr{ip.Unmap()}
		return
	}
	n.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		go func() {
			select {
			case <-n.idle:
				cancel()
			case <-ctx.Done():
			}
		}()
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if n.stopping() {
			return
		}
		if err != nil {
			n.log.Warn("the advertised name does not resolve on this machine: clients are told to connect to it",
				zap.String("code", string(explain.ClientsNeverReturned)), zap.String("advertised", a.address()), zap.Error(err),
				zap.String("fix", "set advertised.listeners to a name or address that clients can resolve; ignore this if only they can"))
		}
		resolved := make([]netip.Addr, 0, len(addrs))
		for _, ip := range addrs {
			resolved = append(resolved, ip.Unmap())
		}
		a.mu.Lock()
		a.resolved = resolved
		a.mu.Unlock()
	})
}

func (a *advice) address() string { return net.JoinHostPort(a.host, strconv.Itoa(int(a.port))) }

// suspects reports whether a connection that came to this address came to another than the advertised one.
func (a *advice) suspects(local net.Addr) bool {
	at, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return false // not a network with addresses
	}
	if int32(at.Port()) != a.port {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.resolved == nil && net.ParseIP(a.host) == nil {
		return false // not known yet
	}
	for _, ip := range a.resolved {
		if ip == at.Addr().Unmap().WithZone("") {
			return false
		}
	}
	return true
}

// asking are the requests that clients send to any broker they know, before they go where metadata sent them.
var asking = []protocol.Key{
	protocol.KeyAPIVersions, protocol.KeyMetadata, protocol.KeyFindCoordinator, protocol.KeyInitProducerID,
	protocol.KeyDescribeCluster, protocol.KeySaslHandshake, protocol.KeySaslAuthenticate,
	protocol.KeyGetTelemetrySubscriptions,
}

// proves reports whether a request is one that clients send where metadata sent them.
func proves(key protocol.Key) bool { return !slices.Contains(asking, key) }

// saw takes note of a request on a suspected connection.
func (a *advice) saw(c *connection, key protocol.Key, now model.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.hosts[c.host]
	if h == nil {
		if len(a.hosts) >= watchedHostsMax {
			return
		}
		h = &lostHost{via: c.conn.LocalAddr().String(), first: now}
		a.hosts[c.host] = h
	}
	h.last = now
	if proves(key) {
		h.isWell = true
	} else if key == protocol.KeyMetadata {
		h.asked++
	}
}

// look tells of hosts that are lost, and forgets those that are gone.
func (a *advice) look(n *Node) {
	now := n.clock.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for host, h := range a.hosts {
		switch {
		case now-h.last > lostFor:
			delete(a.hosts, host)
		case !h.isWell && !h.isTold && h.asked >= lostAskedMin && h.last-h.first >= lostAfter:
			h.isTold = true
			reason, fix := a.diagnose(host, h)
			n.metrics.Misadvertised.Add(1)
			n.complaints.about(explain.ClientsNeverReturned, host, reason, fix, zap.String("advertised", a.address()), zap.String("came_to", h.via))
		}
	}
}

func (a *advice) diagnose(host string, h *lostHost) (reason, fix string) {
	reason = fmt.Sprintf("clients from %s come to %s, ask for metadata, are told to connect to %s, and never do anything there (%d times in %v)",
		host, h.via, a.address(), h.asked, time.Duration(h.last-h.first).Round(time.Second))
	fix = "set advertised.listeners to an address that reaches this node from there, such as " + h.via
	loopback := len(a.resolved) > 0
	for _, ip := range a.resolved {
		loopback = loopback && ip.IsLoopback()
	}
	switch peer, err := netip.ParseAddr(host); {
	case loopback && (err != nil || !peer.IsLoopback()):
		reason += ": there that address is their own machine"
	case a.resolved != nil && len(a.resolved) == 0:
		reason += ": the name does not resolve here either"
	}
	return reason, fix
}
