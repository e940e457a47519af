package transporttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmq/weir/transport"
)

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
