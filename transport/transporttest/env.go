package transporttest

import (
	"context"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/weirmq/weir/transport"
)

// patience is how long the suite waits for what must happen.
const patience = 30 * time.Second

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
