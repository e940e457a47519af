package quic

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// proxy is a UDP network between dialers and one listener that loses, repeats and reorders
// packets, as a seed says, or swallows all of them.
type proxy struct {
	socket *net.UDPConn // faces the dialers
	server *net.UDPAddr

	mu        sync.Mutex
	random    *rand.Rand
	faulty    bool
	swallow   bool
	upstreams map[string]*net.UDPConn // by the dialer's address
	readers   sync.WaitGroup
}

func newProxy(t *testing.T, server net.Addr, seed uint64) *proxy {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{
		socket:    socket,
		server:    server.(*net.UDPAddr),
		random:    rand.New(rand.NewPCG(seed, 0)),
		upstreams: map[string]*net.UDPConn{},
	}
	p.readers.Go(p.forwardUp)
	t.Cleanup(func() {
		p.socket.Close()
		p.mu.Lock()
		for _, u := range p.upstreams {
			u.Close()
		}
		p.mu.Unlock()
		p.readers.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.socket.LocalAddr().String() }

func (p *proxy) set(faulty, swallow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faulty, p.swallow = faulty, swallow
}

func (p *proxy) forwardUp() {
	buf := make([]byte, 65_536)
	for {
		n, from, err := p.socket.ReadFromUDP(buf)
		if err != nil {
			return
		}
		up := p.upstream(from)
		if up == nil {
			return
		}
		p.pass(buf[:n], func(b []byte) { _, _ = up.Write(b) })
	}
}

// upstream returns the socket that stands for a dialer before the server.
func (p *proxy) upstream(from *net.UDPAddr) *net.UDPConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	up := p.upstreams[from.String()]
	if up == nil {
		var err error
		if up, err = net.DialUDP("udp", nil, p.server); err != nil {
			return nil
		}
		p.upstreams[from.String()] = up
		p.readers.Go(func() {
			buf := make([]byte, 65_536)
			for {
				n, err := up.Read(buf)
				if err != nil {
					return
				}
				p.pass(buf[:n], func(b []byte) { _, _ = p.socket.WriteToUDP(b, from) })
			}
		})
	}
	return up
}

// pass sends a packet on, or does to it what a bad network does.
func (p *proxy) pass(b []byte, send func([]byte)) {
	p.mu.Lock()
	faulty, swallow, dice := p.faulty, p.swallow, p.random.IntN(100)
	p.mu.Unlock()
	switch {
	case swallow, faulty && dice < 3:
	case faulty && dice < 5:
		send(b)
		send(b)
	case faulty && dice < 8:
		late := append([]byte(nil), b...)
		time.AfterFunc(3*time.Millisecond, func() { send(late) })
	default:
		send(b)
	}
}
