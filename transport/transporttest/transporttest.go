// Package transporttest checks that an implementation of transport keeps what the interface
// promises, and measures it. One suite, one set of benchmarks, run over all of them.
//
// It is public so that a transport of somebody else's can be held to the same contract:
//
//	func TestTransport(t *testing.T) {
//		transporttest.Run(t, func(tb testing.TB) (transport.Listener, transport.Dialer) { ... })
//	}
//
// Nothing here asserts on time in units smaller than seconds: a test fails because something did
// not happen at all.
package transporttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmq/weir/transport"
)

// Factory makes a listener on a free address and a dialer that can reach it. The suite closes the
// listener, and the dialer if it is an io.Closer.
type Factory func(tb testing.TB) (transport.Listener, transport.Dialer)

// patience is how long the suite waits for what must happen.
const patience = 30 * time.Second

// Run runs the suite.
func Run(t *testing.T, make Factory) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, e *env)
	}{
		{"EchoOfRandomSizes", testEcho},
		{"BothDirectionsStreamAtOnce", testBothDirections},
		{"HalfMessagesArriveAsTheyAreWritten", testHalfMessages},
		{"ManyConnectionsAtOnce", testManyConnections},
		{"PeerReadsEverythingThenEOF", testGracefulClose},
		{"WriterLearnsThatThePeerClosed", testWriteAfterPeerClosed},
		{"CloseUnblocksRead", testCloseUnblocksRead},
		{"CloseUnblocksWrite", testCloseUnblocksWrite},
		{"CloseTwiceAndConcurrently", testCloseTwice},
		{"CloseUnblocksAccept", testCloseUnblocksAccept},
		{"AcceptHonoursItsContext", testAcceptContext},
		{"DialHonoursItsContext", testDialContext},
		{"DialToNobodyFails", testDialToNobody},
		{"ConnectionsOutliveTheListener", testConnectionsOutliveListener},
		{"UnacceptedConnectionsAreDropped", testUnacceptedDropped},
		{"ReadDeadlineFiresAndCanBeReset", testReadDeadline},
		{"DeadlineMovesUnderABlockedRead", testMovingDeadline},
		{"WriteDeadlineFires", testWriteDeadline},
		{"WriteBuffersKeepsOrder", testWriteBuffers},
		{"WriteBuffersToAClosedPeerFails", testWriteBuffersClosed},
		{"ConcurrentWritesDoNotInterleave", testConcurrentWrites},
		{"ReaderThatNeverReadsBlocksTheWriter", testBackPressure},
		{"SendFileSendsTheRunAsked", testSendFile},
		{"NamesAndAddresses", testNames},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			// Checked last: cleanups run in reverse order.
			t.Cleanup(func() { goroutinesGone(t, before) })
			l, d := make(t)
			e := &env{t: t, listener: l, dialer: d}
			t.Cleanup(e.close)
			test.run(t, e)
		})
	}
}

// env is a listener, its dialer and the connections between them.
type env struct {
	t        testing.TB
	listener transport.Listener
	dialer   transport.Dialer

	mu    sync.Mutex
	conns []transport.Conn
}

// close closes everything, in the order in which a careful program does.
func (e *env) close() {
	for _, c := range e.conns {
		if err := c.Close(); err != nil {
			e.t.Errorf("close connection: %v", err)
		}
	}
	if err := e.listener.Close(); err != nil {
		e.t.Errorf("close listener: %v", err)
	}
	if c, ok := e.dialer.(io.Closer); ok {
		if err := c.Close(); err != nil {
			e.t.Errorf("close dialer: %v", err)
		}
	}
}

func (e *env) keep(c transport.Conn) transport.Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conns = append(e.conns, c)
	return c
}

// dial connects and, since only bytes make a connection known to its listener everywhere, sends
// one byte that accept takes off again.
func (e *env) dial() transport.Conn {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := e.dialer.Dial(ctx, e.listener.Addr().String())
	if err != nil {
		e.t.Fatalf("dial: %v", err)
	}
	e.keep(c)
	if _, err := c.Write([]byte{'!'}); err != nil {
		e.t.Fatalf("first write: %v", err)
	}
	return c
}

func (e *env) accept() transport.Conn {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := e.listener.Accept(ctx)
	if err != nil {
		e.t.Fatalf("accept: %v", err)
	}
	e.keep(c)
	var first [1]byte
	if _, err := io.ReadFull(c, first[:]); err != nil || first[0] != '!' {
		e.t.Fatalf("first byte: %q, %v", first, err)
	}
	return c
}

// pair returns both ends of a new connection. Dialing completes a TLS handshake, which takes both
// ends, so the ends work at the same time.
func (e *env) pair() (client, server transport.Conn) {
	e.t.Helper()
	accepted := make(chan transport.Conn, 1)
	go func() {
		defer close(accepted)
		accepted <- e.accept()
	}()
	client = e.dial()
	select {
	case server = <-accepted:
	case <-time.After(patience):
	}
	if server == nil {
		e.t.Fatal("no connection accepted")
	}
	return client, server
}

// within fails the test if f does not return.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		stacks := make([]byte, 1<<20)
		t.Fatalf("%s: not after %v\n%s", what, patience, stacks[:runtime.Stack(stacks, true)])
	}
}

func goroutinesGone(t testing.TB, before int) {
	for start := time.Now(); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > patience {
			stacks := make([]byte, 1<<20)
			t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
			return
		}
	}
}

// random returns n bytes that depend on seed.
func random(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func testEcho(t *testing.T, e *env) {
	client, server := e.pair()
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := io.Copy(struct{ io.Writer }{server}, struct{ io.Reader }{server}); err != nil {
			t.Errorf("echo: %v", err)
		}
		server.Close()
	})
	sizes := []int{1, 2, 200, 1_200, 4_096, 65_535, 65_536, 1 << 20, 1<<20 + 13, 3 << 20}
	for range 10 {
		sizes = append(sizes, 1+rand.IntN(200_000))
	}
	for i, size := range sizes {
		sent, got := random(uint64(i), size), make([]byte, size)
		wg.Go(func() {
			if n, err := client.Write(sent); n != size || err != nil {
				t.Errorf("write of %d: %d, %v", size, n, err)
			}
		})
		within(t, "echo", func() {
			if _, err := io.ReadFull(client, got); err != nil {
				t.Errorf("read of %d: %v", size, err)
			}
		})
		if !bytes.Equal(sent, got) {
			t.Fatalf("%d bytes came back changed", size)
		}
	}
	client.Close()
	within(t, "echo ends", wg.Wait)
}

func testBothDirections(t *testing.T, e *env) {
	const size = 8 << 20
	client, server := e.pair()
	var wg sync.WaitGroup
	for i, ends := range [][2]transport.Conn{{client, server}, {server, client}} {
		from, to, sent := ends[0], ends[1], random(uint64(i), size)
		wg.Go(func() {
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 1+rand.IntN(300_000))
				if _, err := from.Write(rest[:n]); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				rest = rest[n:]
			}
		})
		wg.Go(func() {
			got := make([]byte, size)
			if _, err := io.ReadFull(to, got); err != nil {
				t.Errorf("read: %v", err)
			}
			if !bytes.Equal(sent, got) {
				t.Error("bytes came through changed")
			}
		})
	}
	within(t, "both directions", wg.Wait)
}

func testHalfMessages(t *testing.T, e *env) {
	client, server := e.pair()
	message := random(1, 4_000)
	within(t, "half messages", func() {
		got := make([]byte, len(message))
		for at := 0; at < len(message); {
			part := min(len(message)-at, 1+rand.IntN(700))
			if _, err := client.Write(message[at : at+part]); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			// The part must come through before the next one is written.
			if _, err := io.ReadFull(server, got[at:at+part]); err != nil {
				t.Errorf("read: %v", err)
				return
			}
			at += part
		}
		if !bytes.Equal(message, got) {
			t.Error("bytes came through changed")
		}
	})
}

func testManyConnections(t *testing.T, e *env) {
	const connections, rounds = 100, 20
	var servers, clients sync.WaitGroup
	servers.Go(func() {
		for range connections {
			server := e.accept()
			servers.Go(func() {
				_, _ = io.Copy(struct{ io.Writer }{server}, struct{ io.Reader }{server})
				server.Close()
			})
		}
	})
	for i := range connections {
		clients.Go(func() {
			client := e.dial()
			defer client.Close()
			for round := range rounds {
				sent := random(uint64(i*rounds+round), 1+rand.IntN(3_000))
				if _, err := client.Write(sent); err != nil {
					t.Errorf("connection %d: write: %v", i, err)
					return
				}
				got := make([]byte, len(sent))
				if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(sent, got) {
					t.Errorf("connection %d: %d bytes changed or lost: %v", i, len(sent), err)
					return
				}
			}
		})
	}
	within(t, "many connections", clients.Wait)
	within(t, "servers end", servers.Wait)
}

func testGracefulClose(t *testing.T, e *env) {
	for _, clientCloses := range []bool{true, false} {
		client, server := e.pair()
		from, to := client, server
		if !clientCloses {
			from, to = server, client
		}
		sent := random(2, 1<<20)
		go func() {
			if _, err := from.Write(sent); err != nil {
				t.Errorf("write: %v", err)
			}
			from.Close()
		}()
		within(t, "drain", func() {
			got, err := io.ReadAll(to)
			if err != nil {
				t.Errorf("read to the end: %v", err)
			}
			if !bytes.Equal(sent, got) {
				t.Errorf("client closes: %v: %d of %d bytes, or changed", clientCloses, len(got), len(sent))
			}
			if n, err := to.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("after the end: %d, %v, want EOF again", n, err)
			}
		})
	}
}

func testWriteAfterPeerClosed(t *testing.T, e *env) {
	for _, clientCloses := range []bool{true, false} {
		client, server := e.pair()
		closer, writer := client, server
		if !clientCloses {
			closer, writer = server, client
		}
		closer.Close()
		within(t, "write fails", func() {
			for {
				// The first writes may find room: the news takes a round trip.
				if _, err := writer.Write(make([]byte, 1_000)); err != nil {
					if !transport.IsClosed(err) || errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("write to a closed peer: %v, which IsClosed does not know", err)
					}
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

func testCloseUnblocksRead(t *testing.T, e *env) {
	client, server := e.pair()
	for _, c := range []transport.Conn{client, server} {
		failed := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			failed <- err
		}()
		time.Sleep(20 * time.Millisecond) // usually long enough to block
		c.Close()
		within(t, "read returns", func() {
			err := <-failed
			// The second to close may have read the first one's end before.
			if !errors.Is(err, net.ErrClosed) && !(c == server && err == io.EOF) {
				t.Errorf("read under Close: %v", err)
			}
		})
	}
}

func testCloseUnblocksWrite(t *testing.T, e *env) {
	client, _ := e.pair()
	failed := make(chan error, 1)
	var written atomic.Int64
	go func() {
		for {
			n, err := client.Write(make([]byte, 16<<10))
			written.Add(int64(n))
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	stalled(t, &written)
	client.Close()
	within(t, "write returns", func() {
		if err := <-failed; !errors.Is(err, net.ErrClosed) {
			t.Errorf("write under Close: %v", err)
		}
	})
}

// stalled returns when the counter has stopped moving.
func stalled(t testing.TB, counter *atomic.Int64) int64 {
	t.Helper()
	start := time.Now()
	for last, since := counter.Load(), time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if now := counter.Load(); now != last {
			last, since = now, time.Now()
		} else if time.Since(since) > 500*time.Millisecond && last > 0 {
			return last
		}
		if time.Since(start) > patience {
			t.Fatalf("still moving, at %d", last)
		}
	}
}

func testCloseTwice(t *testing.T, e *env) {
	client, server := e.pair()
	within(t, "close", func() {
		var wg sync.WaitGroup
		for range 8 {
			for _, c := range []transport.Conn{client, server} {
				wg.Go(func() {
					if err := c.Close(); err != nil {
						t.Errorf("close: %v", err)
					}
				})
			}
		}
		wg.Wait()
	})
	for _, c := range []transport.Conn{client, server} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after Close: %v", err)
		}
		if _, err := c.Write(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after Close: %v", err)
		}
		if _, err := c.WriteBuffers(&net.Buffers{{1}, {2}}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write buffers after Close: %v", err)
		}
	}
}

func testCloseUnblocksAccept(t *testing.T, e *env) {
	failed := make(chan error, 1)
	go func() {
		_, err := e.listener.Accept(context.Background())
		failed <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := e.listener.Close(); err != nil {
		t.Fatal(err)
	}
	within(t, "accept returns", func() {
		if err := <-failed; !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept under Close: %v", err)
		}
	})
	if _, err := e.listener.Accept(context.Background()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after Close: %v", err)
	}
	if err := e.listener.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func testAcceptContext(t *testing.T, e *env) {
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := e.listener.Accept(ctx)
		failed <- err
	}()
	time.Sleep(20 * time.Millisecond)
	cancel()
	within(t, "accept returns", func() {
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("accept under cancel: %v", err)
		}
	})
	if _, err := e.listener.Accept(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("accept with an ended context: %v", err)
	}
	e.pair() // the listener still works
}

func testDialContext(t *testing.T, e *env) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	within(t, "dial returns", func() {
		if c, err := e.dialer.Dial(ctx, e.listener.Addr().String()); !errors.Is(err, context.Canceled) || c != nil {
			t.Errorf("dial with an ended context: %v, %v", c, err)
		}
	})
	e.pair() // the dialer still works, to the same address
}

func testDialToNobody(t *testing.T, e *env) {
	addr := e.listener.Addr().String()
	if err := e.listener.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := e.dialer.Dial(ctx, addr)
	if err == nil || c != nil {
		t.Fatalf("dialed nobody: %v, %v", c, err)
	}
	if ctx.Err() != nil {
		t.Errorf("dial took all the time it was given: %v", err)
	}
	if !strings.Contains(err.Error(), addr) {
		t.Errorf("error does not say where: %v", err)
	}
}

func testConnectionsOutliveListener(t *testing.T, e *env) {
	client, server := e.pair()
	if err := e.listener.Close(); err != nil {
		t.Fatal(err)
	}
	within(t, "round trip", func() {
		for _, ends := range [][2]transport.Conn{{client, server}, {server, client}} {
			if _, err := ends[0].Write([]byte("still")); err != nil {
				t.Errorf("write: %v", err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(ends[1], got); err != nil || string(got) != "still" {
				t.Errorf("read: %q, %v", got, err)
			}
		}
	})
}

func testUnacceptedDropped(t *testing.T, e *env) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	within(t, "dial, close, read", func() {
		// A TLS dialer waits for a server that accepts, here for the listener's end.
		dialed := make(chan transport.Conn, 1)
		go func() {
			defer close(dialed)
			if c, err := e.dialer.Dial(ctx, e.listener.Addr().String()); err == nil {
				_, _ = c.Write([]byte{'!'})
				dialed <- e.keep(c)
			}
		}()
		time.Sleep(100 * time.Millisecond)
		if err := e.listener.Close(); err != nil {
			t.Error(err)
		}
		c, ok := <-dialed
		if !ok {
			return
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || !transport.IsClosed(err) {
			t.Errorf("read on a connection nobody accepted: %d, %v", n, err)
		}
	})
}

func testReadDeadline(t *testing.T, e *env) {
	client, server := e.pair()
	expired := func(err error) bool {
		var timeout net.Error
		return errors.Is(err, os.ErrDeadlineExceeded) && errors.As(err, &timeout) && timeout.Timeout()
	}
	within(t, "deadlines", func() {
		for _, c := range []transport.Conn{client, server} {
			if err := c.SetReadDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // it stays passed
				if n, err := c.Read(make([]byte, 1)); n != 0 || !expired(err) {
					t.Errorf("read: %d, %v", n, err)
				}
			}
			if err := c.SetDeadline(time.Now().Add(-time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(make([]byte, 1)); !expired(err) {
				t.Errorf("read after a deadline in the past: %v", err)
			}
			if err := c.SetDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, ends := range [][2]transport.Conn{{client, server}, {server, client}} {
			if _, err := ends[0].Write([]byte("again")); err != nil {
				t.Errorf("write after reset: %v", err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(ends[1], got); err != nil || string(got) != "again" {
				t.Errorf("read after reset: %q, %v", got, err)
			}
		}
	})
}

func testMovingDeadline(t *testing.T, e *env) {
	client, _ := e.pair()
	within(t, "deadline set under a blocked read", func() {
		failed := make(chan error, 1)
		go func() {
			_, err := client.Read(make([]byte, 1))
			failed <- err
		}()
		time.Sleep(20 * time.Millisecond)
		for _, at := range []time.Duration{time.Hour, 20 * time.Millisecond} {
			if err := client.SetReadDeadline(time.Now().Add(at)); err != nil {
				t.Error(err)
			}
		}
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
	})
}

func testWriteDeadline(t *testing.T, e *env) {
	client, _ := e.pair()
	if err := client.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	within(t, "write deadline", func() {
		for {
			if _, err := client.Write(make([]byte, 256<<10)); err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("write: %v", err)
				}
				return
			}
		}
	})
}

func testWriteBuffers(t *testing.T, e *env) {
	client, server := e.pair()
	shapes := map[string][]int{
		"none":            {},
		"one":             {5},
		"empties":         {0, 3, 0, 0, 4, 0},
		"frame":           {4, 60, 1 << 20, 61, 300_000, 2},
		"2,500 of 3":      slices.Repeat([]int{3}, 2_500), // more than one writev takes
		"100 of 20 KiB":   slices.Repeat([]int{20 << 10}, 100),
		"1,500 of 1 KiB":  slices.Repeat([]int{1 << 10}, 1_500),
		"large, then end": {200_000, 1},
	}
	for name, sizes := range shapes {
		var bufs net.Buffers
		var sent []byte
		for i, size := range sizes {
			b := random(uint64(i), size)
			bufs = append(bufs, b)
			sent = append(sent, b...)
		}
		pieces := slices.Clone(bufs)
		var wg sync.WaitGroup
		wg.Go(func() {
			if n, err := client.WriteBuffers(&bufs); n != int64(len(sent)) || err != nil {
				t.Errorf("%s: %d of %d, %v", name, n, len(sent), err)
			}
		})
		got := make([]byte, len(sent))
		within(t, name, func() {
			if _, err := io.ReadFull(server, got); err != nil {
				t.Errorf("%s: read: %v", name, err)
			}
			wg.Wait()
		})
		if !bytes.Equal(sent, got) {
			t.Errorf("%s: bytes came through changed", name)
		}
		if len(bufs) != 0 {
			t.Errorf("%s: %d buffers left", name, len(bufs))
		}
		if !bytes.Equal(sent, bytes.Join(pieces, nil)) {
			t.Errorf("%s: the caller's bytes were changed", name)
		}
	}
}

func testWriteBuffersClosed(t *testing.T, e *env) {
	client, server := e.pair()
	server.Close()
	within(t, "write fails", func() {
		for {
			bufs := net.Buffers{make([]byte, 100), make([]byte, 50_000), make([]byte, 100)}
			n, err := client.WriteBuffers(&bufs)
			left := int64(0)
			for _, b := range bufs {
				left += int64(len(b))
			}
			if n+left != 50_200 {
				t.Errorf("%d written, %d left of 50,200", n, left)
			}
			if err != nil {
				if !transport.IsClosed(err) {
					t.Errorf("write to a closed peer: %v", err)
				}
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
}

func testConcurrentWrites(t *testing.T, e *env) {
	const writers, records, size = 4, 100, 5_000
	client, server := e.pair()
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for range records {
				if _, err := client.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	within(t, "read", func() {
		record := make([]byte, size)
		for range writers * records {
			if _, err := io.ReadFull(server, record); err != nil {
				t.Errorf("read: %v", err)
				return
			}
			if bytes.Count(record, record[:1]) != size {
				t.Error("two writes came through each other")
				return
			}
		}
		wg.Wait()
	})
}

func testBackPressure(t *testing.T, e *env) {
	const total, bound = 48 << 20, 32 << 20
	client, server := e.pair()
	sent := random(3, 16<<10)
	var written atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for range total / len(sent) {
			n, err := client.Write(sent)
			written.Add(int64(n))
			if err != nil {
				t.Errorf("write: %v", err)
				return
			}
		}
	})
	if n := stalled(t, &written); n >= bound {
		t.Errorf("%d bytes were taken from a writer whose peer does not read", n)
	}
	within(t, "drain", func() {
		got := make([]byte, len(sent))
		for i := range total / len(sent) {
			if _, err := io.ReadFull(server, got); err != nil {
				t.Errorf("read: %v", err)
				return
			}
			if !bytes.Equal(sent, got) {
				t.Errorf("block %d came through changed", i)
				return
			}
		}
		wg.Wait()
	})
}

func testSendFile(t *testing.T, e *env) {
	client, server := e.pair()
	content := random(4, 5<<20+17)
	path := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int64(len(content))
	for _, run := range [][2]int64{{0, size}, {0, 0}, {0, 1}, {1, 4096}, {4095, 1 << 20}, {size - 1, 1}, {1<<20 + 3, 3 << 20}, {size, 0}} {
		offset, n := run[0], run[1]
		var wg sync.WaitGroup
		wg.Go(func() {
			if sent, err := transport.SendFile(server, f, offset, n); sent != n || err != nil {
				t.Errorf("send %d from %d: %d, %v", n, offset, sent, err)
			}
		})
		got := make([]byte, n)
		within(t, "send file", func() {
			if _, err := io.ReadFull(client, got); err != nil {
				t.Errorf("read %d from %d: %v", n, offset, err)
			}
			wg.Wait()
		})
		if !bytes.Equal(got, content[offset:offset+n]) {
			t.Errorf("%d bytes from %d came through changed", n, offset)
		}
	}
	if at, err := f.Seek(0, io.SeekCurrent); at != 0 || err != nil {
		t.Errorf("the file's own offset moved to %d, %v", at, err)
	}

	// A file that ends early: what is there is sent, and the caller is told.
	var wg sync.WaitGroup
	wg.Go(func() {
		if sent, err := transport.SendFile(server, f, size-10, 20); sent != 10 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("send past the end: %d, %v", sent, err)
		}
	})
	within(t, "send past the end", func() {
		if _, err := io.ReadFull(client, make([]byte, 10)); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

func testNames(t *testing.T, e *env) {
	client, server := e.pair()
	if client.Transport() == "" || client.Transport() != server.Transport() {
		t.Errorf("transport %q here, %q there", client.Transport(), server.Transport())
	}
	addr := e.listener.Addr().String()
	if got := client.RemoteAddr().String(); got != addr {
		t.Errorf("the client's remote address is %s, want %s", got, addr)
	}
	if got := server.LocalAddr().String(); got != addr {
		t.Errorf("the server's local address is %s, want %s", got, addr)
	}
	if c, s := client.LocalAddr().String(), server.RemoteAddr().String(); c == "" || c != s {
		t.Errorf("the client is %q to itself and %q to the server", c, s)
	}
}
