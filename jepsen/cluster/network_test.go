package cluster

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/weirmq/weir/core/protocol"
)

// greeting is how a node begins a connection.
func greeting(from, to int32) []byte {
	hello := protocol.NewRequest(protocol.KeyNodeHello).(*protocol.NodeHelloRequest)
	hello.NodeID, hello.ToNodeID, hello.ClusterID = from, to, "c"
	var all []byte
	for _, m := range []struct {
		key     protocol.Key
		version int16
		body    protocol.Message
	}{{protocol.KeyAPIVersions, 3, protocol.NewRequest(protocol.KeyAPIVersions)}, {protocol.KeyNodeHello, 0, hello}} {
		var w protocol.Writer
		w.BeginRequest(&protocol.RequestHeader{Key: m.key, Version: m.version})
		m.body.Encode(&w, m.version)
		w.EndFrame()
		var err error
		if all, err = w.AppendTo(all); err != nil {
			panic(err)
		}
	}
	return all
}

// wired is a connection from node 1 to node 2 through a network.
type wired struct {
	network      *Network
	one, two     net.Conn
	listener     net.Listener
	outerAddress string
}

func wire(t *testing.T) *wired {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wired{network: newNetwork(), listener: l}
	t.Cleanup(func() { _ = l.Close() })
	t.Cleanup(w.network.close)
	if w.outerAddress, err = w.network.expose(2, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	w.one = w.dial(t)
	if w.two, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.two.Close() })
	expect(t, w.two, string(greeting(1, 2)))
	return w
}

func (w *wired) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", w.outerAddress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Write(greeting(1, 2)); err != nil {
		t.Fatal(err)
	}
	return c
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second)) // a socket's never fails
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Fatalf("%q, %v; want %q", b, err, text)
	}
}

func expectNothing(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	b := make([]byte, 10)
	if n, err := c.Read(b); err == nil || n > 0 || !err.(net.Error).Timeout() {
		t.Fatalf("%q, %v came through", b[:n], err)
	}
}

func TestACutHoldsBackOneWayOnly(t *testing.T) {
	t.Parallel()
	w := wire(t)
	say(t, w.one, "before")
	expect(t, w.two, "before")
	w.network.Cut(2, 1)
	say(t, w.one, "heard")
	expect(t, w.two, "heard")
	say(t, w.two, "held back")
	expectNothing(t, w.one)
	w.network.Heal()
	expect(t, w.one, "held back")

	w.network.Cut(1, 2)
	say(t, w.one, "too")
	expectNothing(t, w.two)
	say(t, w.two, "back")
	expect(t, w.one, "back")
	w.network.Heal()
	expect(t, w.two, "too")
	w.network.Cut(1, 3) // somebody else's
	say(t, w.one, "after")
	expect(t, w.two, "after")
}

// That one end is gone the other hears when the network lets it through.
func TestTheEndIsHeardWhenTheCutIsMended(t *testing.T) {
	t.Parallel()
	w := wire(t)
	w.network.Cut(1, 2)
	_ = w.one.Close() // it is what is tested
	expectNothing(t, w.two)
	w.network.Heal()
	_ = w.two.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := w.two.Read(make([]byte, 1)); err == nil {
		t.Error("it does not hear of it")
	} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Error("it does not hear of it in time")
	}
}

func TestADialAcrossACutHearsNothing(t *testing.T) {
	t.Parallel()
	w := wire(t)
	w.network.Cut(1, 2)
	c := w.dial(t)
	expectNothing(t, c)
	w.network.Heal()
	two, err := w.listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	expect(t, two, string(greeting(1, 2)))
}

func TestWhereNobodyListensTheConnectionEnds(t *testing.T) {
	t.Parallel()
	w := wire(t)
	if err := w.listener.Close(); err != nil {
		t.Fatal(err)
	}
	c := w.dial(t)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := c.Read(make([]byte, 1))
	if timeout, ok := err.(net.Error); err == nil || ok && timeout.Timeout() {
		t.Errorf("%v", err)
	}
}

func TestAStrangerIsNotLetThrough(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"something else": "GET / HTTP/1.1\r\n\r\n", "no hello": string(greeting(1, 2)[:20]) + string(make([]byte, 40)), "nothing": "",
	} {
		w := wire(t)
		c, err := net.Dial("tcp", w.outerAddress)
		if err != nil {
			t.Fatal(err)
		}
		say(t, c, says)
		if says == "" {
			_ = c.Close() // it says nothing, ever
		} else {
			_ = c.(*net.TCPConn).CloseWrite() // perhaps it has been hung up on already
		}
		accepted := make(chan bool, 1)
		go func() { _, err := w.listener.Accept(); accepted <- err == nil }()
		select {
		case <-accepted:
			t.Errorf("%s: it was let through", name)
		case <-time.After(100 * time.Millisecond):
		}
		_ = c.Close() // perhaps again
	}
}
