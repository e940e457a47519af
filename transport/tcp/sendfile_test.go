package tcp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/tcp"
)

// connect returns both ends of a plain connection.
func connect(t *testing.T) (client, server transport.Conn) {
	t.Helper()
	l, d := plain(t)
	t.Cleanup(func() { l.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client, err := d.Dial(ctx, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// segment writes a file of n bytes, each 64 KiB of them a letter, and opens it.
func segment(t *testing.T, n int) (*os.File, []byte) {
	t.Helper()
	content := make([]byte, n)
	for i := range content {
		content[i] = byte('a' + i>>16%26)
	}
	path := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, content
}

func TestOnlyPlainConnectionsSendFiles(t *testing.T) {
	client, _ := connect(t)
	if _, ok := client.(transport.FileSender); !ok {
		t.Error("a plain connection is no FileSender")
	}
	if _, ok := transport.Conn(&tcp.TLSConn{}).(transport.FileSender); ok {
		t.Error("a TLS connection would send the file in the clear")
	}
}

func TestSendFileWaitsForASlowReader(t *testing.T) {
	const size = 24 << 20 // more than the socket's buffers take
	client, server := connect(t)
	f, content := segment(t, size)
	var wg sync.WaitGroup
	wg.Go(func() {
		if n, err := server.(transport.FileSender).SendFile(f, 0, size); n != size || err != nil {
			t.Errorf("sent %d, %v", n, err)
		}
	})
	time.Sleep(50 * time.Millisecond) // the socket is full by then
	got := make([]byte, size)
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, content) {
		t.Errorf("lost or changed on the way: %v", err)
	}
	wg.Wait()
}

func TestSendFileObeysTheWriteDeadline(t *testing.T) {
	const size = 24 << 20
	_, server := connect(t)
	f, _ := segment(t, size)
	_ = server.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	n, err := server.(transport.FileSender).SendFile(f, 0, size)
	if n <= 0 || n >= size || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("sent %d, %v", n, err)
	}
}

func TestCloseUnblocksSendFile(t *testing.T) {
	const size = 24 << 20
	_, server := connect(t)
	f, _ := segment(t, size)
	failed := make(chan error)
	go func() {
		_, err := server.(transport.FileSender).SendFile(f, 0, size)
		failed <- err
	}()
	time.Sleep(50 * time.Millisecond)
	server.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("%v", err)
	}
}

// An engine with a cache of open files closes one while it is being sent, and the next file opened
// gets its number. Its bytes must not reach the client.
func TestFileClosedWhileBeingSentIsStillThatFile(t *testing.T) {
	const size = 24 << 20
	client, server := connect(t)
	f, content := segment(t, size)
	var wg sync.WaitGroup
	wg.Go(func() {
		if n, err := server.(transport.FileSender).SendFile(f, 0, size); n != size || err != nil {
			t.Errorf("sent %d, %v", n, err)
		}
	})
	time.Sleep(50 * time.Millisecond)
	f.Close()
	for range 50 {
		other, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
	}
	got := make([]byte, size)
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, content) {
		t.Errorf("lost or changed on the way: %v", err)
	}
	wg.Wait()
	if _, err := server.(transport.FileSender).SendFile(f, 0, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("sending a closed file: %v", err)
	}
}

func TestWritesDoNotComeBetweenAFilesBytes(t *testing.T) {
	const size = 8 << 20
	client, server := connect(t)
	f, content := segment(t, size)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if n, err := server.(transport.FileSender).SendFile(f, 0, size); n != size || err != nil {
				t.Errorf("sent %d, %v", n, err)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	wg.Go(func() {
		if _, err := server.Write(content); err != nil {
			t.Errorf("write: %v", err)
		}
	})
	got := make([]byte, size)
	for i := range 4 {
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("run %d is not whole: %v", i, err)
		}
	}
	wg.Wait()
}

func TestSendFileRefusesNonsense(t *testing.T) {
	_, server := connect(t)
	f, _ := segment(t, 10)
	for _, run := range [][2]int64{{-1, 5}, {0, -5}} {
		if n, err := server.(transport.FileSender).SendFile(f, run[0], run[1]); n != 0 || err == nil {
			t.Errorf("offset %d, length %d: %d, %v", run[0], run[1], n, err)
		}
	}
}

func TestSendFileHardlyAllocates(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("sendfile is used on Linux")
	}
	client, server := connect(t)
	f, _ := segment(t, 4096)
	sender := server.(transport.FileSender)
	got := make([]byte, 4096)
	allocs := testing.AllocsPerRun(200, func() {
		if _, err := sender.SendFile(f, 0, 4096); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, got); err != nil {
			t.Fatal(err)
		}
	})
	// os.File.SyscallConn makes its handle anew each time.
	if allocs > 1 {
		t.Fatalf("%v allocations", allocs)
	}
}
