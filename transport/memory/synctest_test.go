package memory_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/memory"
)

// These tests run on a bubble's clock, which moves only when every goroutine is durably blocked: if
// any wait in the package were of another kind, hours would have to pass, and the tests would hang.

func connect(t *testing.T, n *memory.Network, name string) (client, server transport.Conn, l *memory.Listener) {
	t.Helper()
	l, err := n.Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	if client, err = n.Dial(t.Context(), l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	return client, server, l
}

func TestBlockedReadWriteAndAcceptLetTheBubblesTimePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory.New()
		client, server, l := connect(t, n, "broker")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		began := time.Now()
		results := make(chan error, 3)
		go func() {
			_, err := l.Accept(ctx)
			results <- err
		}()
		go func() {
			_ = client.SetReadDeadline(time.Now().Add(time.Hour))
			_, err := client.Read(make([]byte, 1))
			results <- err
		}()
		go func() {
			_ = server.SetWriteDeadline(time.Now().Add(2 * time.Hour))
			var err error
			for err == nil {
				_, err = server.Write(make([]byte, 10_000))
			}
			results <- err
		}()
		synctest.Wait()
		// The client's read saw the server's bytes at once.
		if err := <-results; err != nil {
			t.Errorf("read: %v", err)
		}
		if err := <-results; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 2*time.Hour {
			t.Errorf("write: %v after %v", err, time.Since(began))
		}
		if err := <-results; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Hour {
			t.Errorf("accept: %v after %v", err, time.Since(began))
		}
	})
}

func TestDeadlineFollowsTheBubblesClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, _ := connect(t, memory.New(), "broker")
		began := time.Now()
		_ = client.SetReadDeadline(began.Add(90 * time.Minute))
		go func() {
			time.Sleep(time.Hour)
			_ = client.SetReadDeadline(began.Add(4 * time.Hour)) // moved under the blocked read
		}()
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read: %v", err)
		}
		if waited := time.Since(began); waited != 4*time.Hour {
			t.Fatalf("waited %v, want the moved deadline", waited)
		}
		_ = client.SetReadDeadline(time.Time{})
		go func() {
			time.Sleep(24 * time.Hour)
			_, _ = server.Write([]byte("late"))
		}()
		if n, err := client.Read(make([]byte, 10)); n != 4 || err != nil {
			t.Fatalf("read after reset: %d, %v", n, err)
		}
	})
}

func TestRequestsAndResponsesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, l := connect(t, memory.New(), "broker")
		go func() {
			defer server.Close()
			for {
				request := make([]byte, 100_000) // larger than the buffer
				if _, err := io.ReadFull(server, request); err != nil {
					return
				}
				time.Sleep(time.Minute) // work
				_, _ = server.Write(request)
			}
		}()
		began := time.Now()
		for range 60 {
			if _, err := client.Write(make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(client, make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != time.Hour {
			t.Fatalf("60 requests of a minute took %v", took)
		}
		client.Close()
		l.Close()
		// The bubble ends only when the server's goroutine has.
	})
}

func TestDialWaitsForRoomInTheBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory.New()
		l, err := n.Listen("broker")
		if err != nil {
			t.Fatal(err)
		}
		var dialed int
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err = n.Dial(ctx, "broker")
			cancel()
			if err != nil {
				break
			}
			dialed++
		}
		if !errors.Is(err, context.DeadlineExceeded) || dialed == 0 || dialed > 10_000 {
			t.Fatalf("%d dialed, then %v", dialed, err)
		}
		go func() {
			time.Sleep(time.Minute)
			_, _ = l.Accept(t.Context())
		}()
		if _, err := n.Dial(t.Context(), "broker"); err != nil {
			t.Fatalf("dial once there is room: %v", err)
		}

		// Close tells those who wait to dial, and those who were never accepted.
		refused := make(chan error)
		go func() {
			_, err := n.Dial(t.Context(), "broker")
			refused <- err
		}()
		synctest.Wait()
		l.Close()
		if err := <-refused; !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("dial under Close: %v", err)
		}
	})
}

func TestClosingWhileManyWaitStrandsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, _ := connect(t, memory.New(), "broker")
		results := make(chan error, 20)
		for range 10 {
			go func() {
				_, err := server.Read(make([]byte, 1))
				results <- err
			}()
			go func() {
				_, err := server.Write(make([]byte, 1<<20))
				results <- err
			}()
		}
		synctest.Wait()
		client.Close()
		var eofs, resets int
		for range 20 {
			switch err := <-results; {
			case err == io.EOF:
				eofs++
			case errors.Is(err, syscall.ECONNRESET):
				resets++
			default:
				t.Errorf("%v", err)
			}
		}
		if eofs != 10 || resets != 10 {
			t.Fatalf("%d readers saw the end, %d writers the reset", eofs, resets)
		}
	})
}

func TestSeveralReadersShareWhatArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, _ := connect(t, memory.New(), "broker")
		got := make(chan int)
		for range 5 {
			go func() {
				n, _ := server.Read(make([]byte, 10))
				got <- n
			}()
		}
		synctest.Wait()
		if _, err := client.Write(make([]byte, 50)); err != nil {
			t.Fatal(err)
		}
		for range 5 { // one token wakes one reader, who wakes the next
			if n := <-got; n != 10 {
				t.Fatalf("a reader got %d", n)
			}
		}
	})
}

func TestNamesAreTakenAndFreed(t *testing.T) {
	n := memory.New()
	l, err := n.Listen("broker")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Listen("broker"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("second listener: %v", err)
	}
	l.Close()
	l.Close()
	if _, err = n.Listen("broker"); err != nil {
		t.Fatalf("after Close: %v", err)
	}
	if _, err := memory.New().Dial(t.Context(), "broker"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("another network: %v", err)
	}
	a, err := n.Listen("host:0")
	if err != nil {
		t.Fatal(err)
	}
	b, err := n.Listen("host:0")
	if err != nil {
		t.Fatal(err)
	}
	if a.Addr().String() == b.Addr().String() {
		t.Fatalf("both are %v", a.Addr())
	}
	for _, l := range []*memory.Listener{a, b} {
		if _, port, err := net.SplitHostPort(l.Addr().String()); err != nil || port == "0" {
			t.Fatalf("%v: %v", l.Addr(), err)
		}
	}
}

func TestBufferBoundsWhatAWriterGetsAheadOfItsReader(t *testing.T) {
	n := memory.New()
	n.BufferBytes = 1_000
	client, _, _ := connect(t, n, "broker")
	_ = client.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if written, err := client.Write(make([]byte, 5_000)); written != 1_000 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d written, %v", written, err)
	}
}

func TestConnectionDoesNotAllocatePerOperation(t *testing.T) {
	client, server, _ := connect(t, memory.New(), "broker")
	message, got := make([]byte, 200), make([]byte, 200)
	header, records := make([]byte, 60), make([]byte, 140)
	var pieces [2][]byte
	var bufs net.Buffers
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := client.Write(message); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(server, got); err != nil {
			t.Fatal(err)
		}
		pieces = [2][]byte{header, records}
		bufs = pieces[:]
		if _, err := server.WriteBuffers(&bufs); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, got); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}
