package transporttest

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/weirmq/weir/transport"
)

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
