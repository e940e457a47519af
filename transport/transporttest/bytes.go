package transporttest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmq/weir/transport"
)

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
