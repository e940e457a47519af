package transporttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmq/weir/transport"
)

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
