package quic

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/certificate"
)

// patience is far longer than anything here takes.
const patience = 30 * time.Second

// world is a certificate, and listeners and dialers that use it.
type world struct {
	t      *testing.T
	server *tls.Config
	client *tls.Config
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c, path, err := certificate.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	client, err := certificate.ClientConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, certificate.ServerConfig(c), client}
}

func (w *world) listen(addr string, config Config) *Listener {
	w.t.Helper()
	var l *Listener
	var err error
	for range 100 { // the port of a dead listener may take a moment
		if l, err = Listen(addr, w.server, config); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	return l
}

func (w *world) dialer(config Config) *Dialer {
	d := NewDialer(w.client, config)
	w.t.Cleanup(func() { d.Close() })
	return d
}

func (w *world) dial(d *Dialer, addr string) transport.Conn {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	c, err := d.Dial(ctx, addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	if _, err := c.Write([]byte{'!'}); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) accept(l *Listener) transport.Conn {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	c, err := l.Accept(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	if _, err := io.ReadFull(c, []byte{0}); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// kill ends a listener as kill -9 would: its socket is gone and nobody is told.
func kill(l *Listener) { l.socket.Close() }

// eventually waits for what needs no more than a round trip.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// readError returns what a read that must fail fails with.
func readError(t *testing.T, c transport.Conn) error {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		failed <- err
	}()
	select {
	case err := <-failed:
		return err
	case <-time.After(patience):
		t.Fatal("a dead peer was not noticed")
		return nil
	}
}

func TestStreamsShareOneConnection(t *testing.T) {
	w := newWorld(t)
	l, d := w.listen("127.0.0.1:0", Config{}), w.dialer(Config{})
	var dialing sync.WaitGroup
	for range 20 { // at once: the handshake is run once
		dialing.Go(func() { w.dial(d, l.Addr().String()) })
	}
	dialing.Wait()
	for range 20 {
		w.accept(l)
	}
	if n := l.connectionCount.Load(); n != 1 {
		t.Fatalf("%d QUIC connections for 20 streams of one dialer", n)
	}
	if n := l.handshakeCount.Load(); n != 0 {
		t.Fatalf("%d handshakes under way", n)
	}
}

func TestKilledListenerIsNoticedWithoutWaitingForTheIdleTimeout(t *testing.T) {
	w := newWorld(t)
	l := w.listen("127.0.0.1:0", Config{IdleTimeout: time.Hour})
	d := w.dialer(Config{IdleTimeout: time.Hour, KeepAlivePeriod: 100 * time.Millisecond})
	c := w.dial(d, l.Addr().String())
	w.accept(l)
	kill(l)
	if err := readError(t, c); !transport.IsClosed(err) || errors.Is(err, net.ErrClosed) {
		t.Fatalf("read: %v", err)
	}
	_, err := d.Dial(t.Context(), l.Addr().String())
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dial to a closed port: %v", err)
	}
}

func TestListenerThatCameBackDisownsItsFormerConnections(t *testing.T) {
	w := newWorld(t)
	l := w.listen("127.0.0.1:0", Config{IdleTimeout: time.Hour})
	// Behind the proxy the dialer's host never says that the port is closed.
	p := newProxy(t, l.Addr(), 1)
	d := w.dialer(Config{IdleTimeout: time.Hour, KeepAlivePeriod: 100 * time.Millisecond})
	c := w.dial(d, p.addr())
	w.accept(l)
	time.Sleep(500 * time.Millisecond) // from here on nothing is sent but keep-alives
	p.set(false, true)
	kill(l)
	again := w.listen(l.Addr().String(), Config{})
	p.set(false, false)
	if err := readError(t, c); !transport.IsClosed(err) {
		t.Fatalf("read: %v", err)
	}
	w.dial(d, p.addr()) // the same dialer connects anew
	w.accept(again)
}

func TestSilenceIsTakenForDeathAfterTheIdleTimeoutAndIsNoDeadline(t *testing.T) {
	w := newWorld(t)
	// Long enough that a machine with other things to do does not look dead.
	config := Config{IdleTimeout: 3 * time.Second, KeepAlivePeriod: 100 * time.Millisecond}
	l := w.listen("127.0.0.1:0", config)
	p := newProxy(t, l.Addr(), 1)
	c := w.dial(w.dialer(config), p.addr())
	s := w.accept(l)
	time.Sleep(config.IdleTimeout * 4 / 3) // quiet, but kept alive
	if _, err := c.Write([]byte{'!'}); err != nil {
		t.Fatalf("write after quiet: %v", err)
	}
	if _, err := io.ReadFull(s, []byte{0}); err != nil {
		t.Fatalf("read after quiet: %v", err)
	}
	p.set(false, true)
	for _, end := range []transport.Conn{c, s} {
		err := readError(t, end)
		var timeout net.Error
		if !transport.IsClosed(err) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) ||
			errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("read: %v, which a caller would mistake for its own deadline or Close", err)
		}
	}
	eventually(t, "the listener forgets the connection", func() bool { return l.connectionCount.Load() == 0 })
}

func TestBytesSurviveABadNetwork(t *testing.T) {
	w := newWorld(t)
	l := w.listen("127.0.0.1:0", Config{})
	p := newProxy(t, l.Addr(), 7)
	p.set(true, false)
	d := w.dialer(Config{})
	var running sync.WaitGroup
	for i := range 4 {
		c := w.dial(d, p.addr())
		s := w.accept(l)
		running.Go(func() {
			_, _ = io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s})
			s.Close()
		})
		sent := make([]byte, 300_000)
		rand.NewChaCha8([32]byte{byte(i)}).Read(sent)
		running.Go(func() {
			if _, err := c.Write(sent); err != nil {
				t.Errorf("write: %v", err)
			}
		})
		running.Go(func() {
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(sent, got) {
				t.Errorf("lost or changed: %v", err)
			}
			c.Close()
		})
	}
	running.Wait()
}

func TestLastBytesArriveThoughEverythingClosesAtOnce(t *testing.T) {
	w := newWorld(t)
	l := w.listen("127.0.0.1:0", Config{})
	p := newProxy(t, l.Addr(), 3)
	p.set(true, false)
	for range 3 {
		d := w.dialer(Config{})
		c := w.dial(d, p.addr())
		s := w.accept(l)
		sent := bytes.Repeat([]byte("last words"), 10_000)
		got := make(chan []byte)
		go func() {
			b, err := io.ReadAll(s)
			if err != nil {
				t.Errorf("read: %v", err)
			}
			got <- b
		}()
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
		c.Close()
		d.Close()
		if b := <-got; !bytes.Equal(b, sent) {
			t.Fatalf("%d of %d bytes arrived", len(b), len(sent))
		}
	}
}

func TestConnectionWithoutStreamsIsClosedByEitherSide(t *testing.T) {
	w := newWorld(t)
	for name, timeouts := range map[string][2]time.Duration{
		"listener": {200 * time.Millisecond, time.Hour},
		"dialer":   {time.Hour, 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t, w.server, w.client}
			l := w.listen("127.0.0.1:0", Config{UnusedTimeout: timeouts[0]})
			d := w.dialer(Config{UnusedTimeout: timeouts[1]})
			c := w.dial(d, l.Addr().String())
			s := w.accept(l)
			time.Sleep(500 * time.Millisecond) // a stream is open: not unused
			if n := l.connectionCount.Load(); n != 1 {
				t.Fatalf("%d connections", n)
			}
			c.Close()
			s.Close()
			eventually(t, "connection closed", func() bool { return l.connectionCount.Load() == 0 })
			eventually(t, "dialer forgets it", func() bool {
				d.mu.Lock()
				defer d.mu.Unlock()
				return len(d.peers) == 0
			})
			w.dial(d, l.Addr().String()) // and connects anew
			w.accept(l)
		})
	}
}

func TestStreamsThatNobodyReadsDoNotStopTheOthers(t *testing.T) {
	w := newWorld(t)
	l, d := w.listen("127.0.0.1:0", Config{}), w.dialer(Config{})
	var filling sync.WaitGroup
	var stuck []transport.Conn
	for range 8 {
		c := w.dial(d, l.Addr().String())
		w.accept(l)
		stuck = append(stuck, c)
		filling.Go(func() {
			for {
				if _, err := c.Write(make([]byte, 64<<10)); err != nil {
					return // closed at the end
				}
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	c := w.dial(d, l.Addr().String())
	s := w.accept(l)
	_ = c.SetDeadline(time.Now().Add(patience))
	for range 20 {
		if _, err := c.Write(make([]byte, 10_000)); err != nil {
			t.Fatalf("write beside stuck streams: %v", err)
		}
		if _, err := io.ReadFull(s, make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write([]byte("reply")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range stuck {
		c.Close()
	}
	filling.Wait()
}

func TestWriteCutShortIsAResetForThePeerAndNoEnd(t *testing.T) {
	w := newWorld(t)
	l, d := w.listen("127.0.0.1:0", Config{}), w.dialer(Config{})
	c := w.dial(d, l.Addr().String())
	s := w.accept(l)
	_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	n, err := c.Write(make([]byte, 64<<20))
	if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("write: %d, %v", n, err)
	}
	c.Close()
	if _, err := io.ReadAll(s); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the peer read to %v", err)
	}
}

func TestDialWaitsWhileThePeerAllowsNoMoreStreams(t *testing.T) {
	w := newWorld(t)
	l, d := w.listen("127.0.0.1:0", Config{StreamCountMax: 3}), w.dialer(Config{})
	var clients, servers []transport.Conn
	for range 3 {
		clients = append(clients, w.dial(d, l.Addr().String()))
		servers = append(servers, w.accept(l))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := d.Dial(ctx, l.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("fourth stream: %v", err)
	}
	clients[0].Close()
	servers[0].Close()
	w.dial(d, l.Addr().String())
	w.accept(l)
}

func TestUnacceptedStreamsAreBoundedAndLoseNothing(t *testing.T) {
	const streams = 40
	w := newWorld(t)
	l, d := w.listen("127.0.0.1:0", Config{AcceptCountMax: 4}), w.dialer(Config{})
	for i := range streams {
		c := w.dial(d, l.Addr().String())
		if _, err := c.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "queue full", func() bool { return len(l.accepted) == 4 })
	seen := map[byte]bool{}
	for range streams {
		var b [1]byte
		if _, err := io.ReadFull(w.accept(l), b[:]); err != nil {
			t.Fatal(err)
		}
		seen[b[0]] = true
	}
	if len(seen) != streams {
		t.Fatalf("%d of %d streams arrived", len(seen), streams)
	}
}

func TestConnectionsBeyondTheBoundAreRefused(t *testing.T) {
	w := newWorld(t)
	l := w.listen("127.0.0.1:0", Config{ConnectionCountMax: 2})
	for range 2 {
		w.dial(w.dialer(Config{}), l.Addr().String())
		w.accept(l)
	}
	if _, err := w.dialer(Config{}).Dial(t.Context(), l.Addr().String()); err == nil {
		t.Fatal("third connection accepted")
	}
	if n := l.connectionCount.Load(); n != 2 {
		t.Fatalf("%d connections counted", n)
	}
}

func TestWindowsGrowWithinTheListenersBudget(t *testing.T) {
	for name, budget := range map[string]int64{"none": 1, "some": 256 << 20} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l, d := w.listen("127.0.0.1:0", Config{WindowBytesMax: budget}), w.dialer(Config{})
			c := w.dial(d, l.Addr().String())
			s := w.accept(l)
			const size = 64 << 20
			go func() { _, _ = c.Write(make([]byte, size)) }()
			if _, err := io.CopyN(io.Discard, s, size); err != nil {
				t.Fatal(err)
			}
			l.mu.Lock()
			total := l.windowTotal
			l.mu.Unlock()
			if total > budget {
				t.Fatalf("%d bytes granted of %d", total, budget)
			}
			c.Close()
			s.Close()
			d.Close()
			eventually(t, "budget returned", func() bool {
				l.mu.Lock()
				defer l.mu.Unlock()
				return l.windowTotal == 0 && len(l.windowBytes) == 0
			})
		})
	}
}

func TestListenerClosedWithOpenStreamsRefusesNewOnes(t *testing.T) {
	w := newWorld(t)
	l, d := w.listen("127.0.0.1:0", Config{}), w.dialer(Config{})
	w.dial(d, l.Addr().String())
	w.accept(l)
	l.Close()
	c, err := d.Dial(t.Context(), l.Addr().String()) // on the connection that is still there
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte{'!'})
	if err := readError(t, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read: %v", err)
	}
}

func TestPortIsFreeOnceEverythingIsClosed(t *testing.T) {
	w := newWorld(t)
	for _, listenerFirst := range []bool{true, false} {
		l, d := w.listen("127.0.0.1:0", Config{}), w.dialer(Config{})
		w.dial(d, l.Addr().String())
		s := w.accept(l)
		if listenerFirst {
			l.Close()
			s.Close()
		} else {
			s.Close()
			l.Close()
		}
		again, err := Listen(l.Addr().String(), w.server, Config{})
		if err != nil {
			t.Fatalf("listener first: %v: %v", listenerFirst, err)
		}
		again.Close()
	}
}

func TestDialerClosedWhileDialing(t *testing.T) {
	w := newWorld(t)
	mute, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	d := w.dialer(Config{HandshakeTimeout: time.Hour})
	failed := make(chan error)
	go func() {
		_, err := d.Dial(t.Context(), mute.LocalAddr().String())
		failed <- err
	}()
	eventually(t, "dialing", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.peers) == 1
	})
	d.Close()
	if err := <-failed; err == nil {
		t.Fatal("dialed")
	}
	if _, err := d.Dial(t.Context(), mute.LocalAddr().String()); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("dial after Close: %v", err)
	}
}

func TestDialToAPortThatNeverAnswersSaysSo(t *testing.T) {
	w := newWorld(t)
	mute, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	_, err = w.dialer(Config{HandshakeTimeout: 200 * time.Millisecond}).Dial(t.Context(), mute.LocalAddr().String())
	if err == nil || !strings.Contains(err.Error(), "UDP") {
		t.Fatalf("dial: %v", err)
	}
}

func TestCancelledDialDoesNotFailTheOneBesideIt(t *testing.T) {
	w := newWorld(t)
	l := w.listen("127.0.0.1:0", Config{})
	p := newProxy(t, l.Addr(), 1)
	p.set(false, true)
	d := w.dialer(Config{HandshakeTimeout: patience})
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := d.Dial(ctx, p.addr())
		first <- err
	}()
	waiting := func(n int) func() bool {
		return func() bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			q := d.peers[p.addr()]
			return q != nil && q.waiterCount == n
		}
	}
	eventually(t, "first dial", waiting(1))
	go func() {
		c, err := d.Dial(t.Context(), p.addr())
		if err == nil {
			c.Close()
		}
		second <- err
	}()
	eventually(t, "second dial", waiting(2))
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatalf("first: %v", err)
	}
	p.set(false, false)
	if err := <-second; err != nil {
		t.Fatalf("second: %v", err)
	}
}

func TestOtherProtocolsAndStrangersFailInTheHandshake(t *testing.T) {
	w := newWorld(t)
	l := w.listen("127.0.0.1:0", Config{})
	other := newWorld(t)
	if _, err := other.dialer(Config{}).Dial(t.Context(), l.Addr().String()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("dial with another certificate: %v", err)
	}
	d := w.dialer(Config{})
	d.tls.NextProtos = []string{"h3"}
	if _, err := d.Dial(t.Context(), l.Addr().String()); err == nil || !strings.Contains(err.Error(), "application protocol") {
		t.Errorf("dial with another protocol: %v", err)
	}
	eventually(t, "no connection left", func() bool {
		return l.connectionCount.Load() == 0 && l.handshakeCount.Load() == 0
	})
	w.dial(w.dialer(Config{}), l.Addr().String())
	w.accept(l)
}

func TestFloodOfHandshakesIsAskedToProveItsAddress(t *testing.T) {
	w := newWorld(t)
	l := w.listen("127.0.0.1:0", Config{})
	l.handshakeCount.Add(handshakeCountMax + 1)
	w.dial(w.dialer(Config{}), l.Addr().String()) // which a real client does
	w.accept(l)
	l.handshakeCount.Add(-handshakeCountMax - 1)
}

func TestLocalhostIsTriedOnAllItsAddresses(t *testing.T) {
	w := newWorld(t)
	l := w.listen("127.0.0.1:0", Config{})
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := w.dial(w.dialer(Config{}), net.JoinHostPort("localhost", port))
	w.accept(l)
	if state, err := c.(*Conn).ConnectionState(); err != nil || state.NegotiatedProtocol != ALPN {
		t.Fatalf("%q, %v", state.NegotiatedProtocol, err)
	}
}

func TestListenWithoutACertificateIsRefused(t *testing.T) {
	if l, err := Listen("127.0.0.1:0", nil, Config{}); err == nil {
		l.Close()
		t.Fatal("listening in the clear")
	}
	if l, err := Listen("127.0.0.1:0", &tls.Config{}, Config{}); err == nil {
		l.Close()
		t.Fatal("listening without a certificate")
	}
}
