// Package memory carries Kafka connections inside one process: a network of named listeners whose
// connections are pairs of bounded buffers. A broker and its clients can so run in one test with
// no ports, no certificates and no kernel in between.
//
// Whatever waits here waits on channels and on timers only, never on a lock or a condition. Code
// under test may therefore run inside a testing/synctest bubble: goroutines blocked in Accept,
// Dial, Read and Write are durably blocked, deadlines follow the bubble's clock, and the bubble's
// time advances when everybody waits. Make the Network inside the bubble: channels made outside
// do not count as durable.
//
//  1. Names are whatever the caller likes. "host:0" takes a port that is free in this network, for
//     brokers that advertise host and port.
//  2. A connection holds at most BufferBytes per direction; the buffers are made on first use.
//  3. A write after the peer closed fails with syscall.ECONNRESET; dialing a name on which nobody
//     listens fails with syscall.ECONNREFUSED.
//
// Deliberately absent: loss, delay, partitions. Faults are the simulator's (package sim), which
// does not run on goroutines at all.
package memory

import (
	"context"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"

	"github.com/weirmq/weir/transport"
)

const (
	defaultBufferBytes = 64 << 10
	backlogCount       = 128 // connections dialed and not yet accepted, per listener
	firstPort          = 10_000
)

var _ transport.Dialer = (*Network)(nil)

// Network is a set of listeners that can be dialed by name. Networks do not see each other.
type Network struct {
	// BufferBytes is how much a direction holds before the writer blocks; 0 means 64 KiB. It is
	// read when a connection is dialed.
	BufferBytes int

	mu        sync.Mutex // held for map operations only
	listeners map[string]*Listener
	nextPort  int
}

// New returns a network without listeners.
func New() *Network {
	return &Network{listeners: map[string]*Listener{}, nextPort: firstPort}
}

// Addr is a name on a network.
type Addr string

// Network is "memory".
func (Addr) Network() string { return "memory" }

// String is the name.
func (a Addr) String() string { return string(a) }

// Listen takes a name. With "host:0" it takes the next free port of that host.
func (n *Network) Listen(name string) (*Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if host, port, err := net.SplitHostPort(name); err == nil && port == "0" {
		for {
			name = net.JoinHostPort(host, strconv.Itoa(n.nextPort))
			n.nextPort++
			if n.listeners[name] == nil {
				break
			}
		}
	}
	if n.listeners[name] != nil {
		return nil, &net.OpError{Op: "listen", Net: "memory", Addr: Addr(name), Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	}
	l := &Listener{
		network: n,
		addr:    Addr(name),
		backlog: make(chan *Conn, backlogCount),
		closed:  make(chan struct{}),
	}
	n.listeners[name] = l
	return l, nil
}

// Dial connects to the listener of that name. It waits while the listener's backlog is full.
func (n *Network) Dial(ctx context.Context, name string) (transport.Conn, error) {
	failed := func(err error) error {
		return &net.OpError{Op: "dial", Net: "memory", Addr: Addr(name), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return nil, failed(err)
	}
	n.mu.Lock()
	l := n.listeners[name]
	n.mu.Unlock()
	if l == nil {
		return nil, failed(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	bufferBytes := n.BufferBytes
	if bufferBytes <= 0 {
		bufferBytes = defaultBufferBytes
	}
	client, server := newPair(Addr("client of "+name), l.addr, bufferBytes)
	select {
	case l.backlog <- server:
	case <-l.closed:
		return nil, failed(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	case <-ctx.Done():
		return nil, failed(ctx.Err())
	}
	select {
	case <-l.closed:
		l.drain() // Close may have drained before server came in
	default:
	}
	return client, nil
}

var _ transport.Listener = (*Listener)(nil)

// Listener accepts the connections dialed to its name.
type Listener struct {
	network *Network
	addr    Addr
	backlog chan *Conn
	closed  chan struct{}
	close   sync.Once
}

// Accept returns the next connection.
func (l *Listener) Accept(ctx context.Context) (transport.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-l.closed: // before the backlog: select chooses at random
		return nil, l.closedError()
	default:
	}
	select {
	case c := <-l.backlog:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.closed:
		return nil, l.closedError()
	}
}

func (l *Listener) closedError() error {
	return &net.OpError{Op: "accept", Net: "memory", Addr: l.addr, Err: net.ErrClosed}
}

// Addr is the name taken.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close frees the name and closes the connections that were not accepted.
func (l *Listener) Close() error {
	l.close.Do(func() {
		l.network.mu.Lock()
		delete(l.network.listeners, string(l.addr))
		l.network.mu.Unlock()
		close(l.closed)
		l.drain()
	})
	return nil
}

func (l *Listener) drain() {
	for {
		select {
		case c := <-l.backlog:
			c.Close()
		default:
			return
		}
	}
}
