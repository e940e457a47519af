package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/weirmq/weir/core/protocol"
)

// direction is one way between two nodes.
type direction struct{ from, to int }

// Network carries what nodes say to each other, and can be cut.
type Network struct {
	mu      sync.Mutex
	cut     map[direction]bool
	healed  chan struct{} // closed by the next Heal
	stopped chan struct{}

	listeners []net.Listener
	group     sync.WaitGroup
	open      map[net.Conn]bool
}

func newNetwork() *Network {
	return &Network{cut: map[direction]bool{}, healed: make(chan struct{}), stopped: make(chan struct{}), open: map[net.Conn]bool{}}
}

// Cut holds back what one node sends another.
func (n *Network) Cut(from, to int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[direction{from, to}] = true
}

// Heal lets everything through again.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	close(n.healed)
	n.healed = make(chan struct{})
}

// pass waits while a direction is cut. It is false if the network has ended.
func (n *Network) pass(from, to int) bool {
	for {
		n.mu.Lock()
		cut, healed := n.cut[direction{from, to}], n.healed
		n.mu.Unlock()
		if !cut {
			return true
		}
		select {
		case <-healed:
		case <-n.stopped:
			return false
		}
	}
}

// expose makes a proxy before a node, which listens at target, and returns the proxy's address.
func (n *Network) expose(node int, target string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	n.listeners = append(n.listeners, l)
	n.group.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				time.Sleep(10 * time.Millisecond) // no descriptors are left, perhaps
				continue
			}
			n.group.Go(func() { n.carry(c, node, target) })
		}
	})
	return l.Addr().String(), nil
}

// close ends all connections.
func (n *Network) close() {
	close(n.stopped)
	for _, l := range n.listeners {
		_ = l.Close() // nobody dials any more
	}
	n.mu.Lock()
	for c := range n.open {
		_ = c.Close() // its pumps end
	}
	n.mu.Unlock()
	n.group.Wait()
}

// keep remembers a connection until it is let go of, so that close finds it.
func (n *Network) keep(c net.Conn) (letGo func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open[c] = true
	select {
	case <-n.stopped:
		_ = c.Close() // close has gone by
	default:
	}
	return func() {
		_ = c.Close() // perhaps again
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.open, c)
	}
}

// carry serves a connection from some node to this one.
func (n *Network) carry(caller net.Conn, to int, target string) {
	defer n.keep(caller)()
	begun, from, err := readHello(caller)
	if err != nil || !n.pass(from, to) {
		return
	}
	called, err := net.Dial("tcp", target)
	if err != nil {
		// Nobody is there: the caller is to hear of it as from the other machine.
		n.pass(to, from)
		if tcp, ok := caller.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // it is closed either way
		}
		return
	}
	defer n.keep(called)()
	if _, err := called.Write(begun); err != nil {
		return
	}
	back := make(chan struct{})
	go func() { defer close(back); n.pump(called, caller, to, from) }()
	n.pump(caller, called, from, to)
	<-back
}

// pump carries one direction until an end is closed. That one is gone the other end hears in its turn: when the network
// lets it through.
func (n *Network) pump(src, dst net.Conn, from, to int) {
	buffer := make([]byte, 64<<10)
	for {
		count, err := src.Read(buffer)
		if !n.pass(from, to) {
			return
		}
		if count > 0 {
			if _, err := dst.Write(buffer[:count]); err != nil {
				n.pass(to, from)
				_ = src.Close() // its reader is told by this
				return
			}
		}
		if err != nil {
			_ = dst.Close() // the same
			return
		}
	}
}

const helloBytesMax = 4 << 10

// readHello reads the requests with which a connection between nodes begins, and says who calls.
func readHello(r io.Reader) (read []byte, from int, err error) {
	for range 2 {
		at := len(read)
		read = append(read, make([]byte, 4)...)
		if _, err := io.ReadFull(r, read[at:]); err != nil {
			return nil, 0, err
		}
		size := int(binary.BigEndian.Uint32(read[at:]))
		if size > helloBytesMax {
			return nil, 0, fmt.Errorf("a greeting of %d bytes", size)
		}
		at = len(read)
		read = append(read, make([]byte, size)...)
		if _, err := io.ReadFull(r, read[at:]); err != nil {
			return nil, 0, err
		}
		var reader protocol.Reader
		reader.Reset(read[at:], protocol.BudgetForStrangers())
		var header protocol.RequestHeader
		protocol.ReadRequestHeader(&reader, &header)
		if header.Key != protocol.KeyNodeHello {
			continue
		}
		var hello protocol.NodeHelloRequest
		hello.Decode(&reader, header.Version)
		return read, int(hello.NodeID), reader.Err()
	}
	return nil, 0, errors.New("nobody says who calls: this is no connection between nodes")
}
