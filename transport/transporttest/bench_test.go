//go:build unix

package transporttest_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/memory"
	"github.com/weirmq/weir/transport/quic"
	"github.com/weirmq/weir/transport/tcp"
	"github.com/weirmq/weir/transport/transporttest"
)

var factories = []struct {
	name string
	make transporttest.Factory
}{
	{"memory", func(tb testing.TB) (transport.Listener, transport.Dialer) {
		n := memory.New()
		l, err := n.Listen("broker:0")
		return must(tb, l, err), n
	}},
	{"tcp", func(tb testing.TB) (transport.Listener, transport.Dialer) {
		l, err := tcp.Listen("127.0.0.1:0", tcp.Config{})
		return must(tb, l, err), tcp.NewDialer(nil)
	}},
	{"tls", func(tb testing.TB) (transport.Listener, transport.Dialer) {
		c, path, err := certificate.LoadOrCreate(tb.TempDir())
		c = must(tb, c, err)
		client, err := certificate.ClientConfig(path)
		client = must(tb, client, err)
		l, err := tcp.Listen("127.0.0.1:0", tcp.Config{TLS: certificate.ServerConfig(c)})
		return must(tb, l, err), tcp.NewDialer(client)
	}},
	{"quic", func(tb testing.TB) (transport.Listener, transport.Dialer) {
		c, path, err := certificate.LoadOrCreate(tb.TempDir())
		c = must(tb, c, err)
		client, err := certificate.ClientConfig(path)
		client = must(tb, client, err)
		l, err := quic.Listen("127.0.0.1:0", certificate.ServerConfig(c), quic.Config{})
		return must(tb, l, err), quic.NewDialer(client, quic.Config{})
	}},
}

func must[T any](tb testing.TB, v T, err error) T {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// connected returns both ends of a new connection and closes everything with the benchmark.
func connected(b *testing.B, factory transporttest.Factory) (client, server transport.Conn) {
	b.Helper()
	l, d := factory(b)
	accepted := make(chan transport.Conn, 1)
	go func() {
		defer close(accepted)
		c, err := l.Accept(b.Context())
		if err != nil {
			b.Error(err)
			return
		}
		if _, err := io.ReadFull(c, []byte{0}); err != nil {
			b.Error(err)
		}
		accepted <- c
	}()
	client, err := d.Dial(b.Context(), l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := client.Write([]byte{0}); err != nil {
		b.Fatal(err)
	}
	server = <-accepted
	if server == nil {
		b.FailNow()
	}
	b.Cleanup(func() {
		client.Close()
		server.Close()
		l.Close()
		if c, ok := d.(io.Closer); ok {
			c.Close()
		}
	})
	return client, server
}

// meter adds what both ends together cost to a benchmark's figures.
type meter struct {
	b     *testing.B
	began time.Duration
}

func start(b *testing.B) meter {
	b.ReportAllocs()
	m := meter{b, cpuTime(b)}
	b.ResetTimer()
	return m
}

// bytes reports CPU seconds per GB, n being the bytes of one operation.
func (m meter) bytes(n int) {
	m.b.StopTimer()
	m.b.ReportMetric((cpuTime(m.b)-m.began).Seconds()/(float64(n)*float64(m.b.N)/1e9), "cpu-s/GB")
}

// operations reports CPU microseconds per operation.
func (m meter) operations() {
	m.b.StopTimer()
	m.b.ReportMetric(float64((cpuTime(m.b)-m.began).Microseconds())/float64(m.b.N), "cpu-us/op")
}

func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// drain reads n bytes through a buffer as large as a session's.
func drain(b *testing.B, c transport.Conn, n int64) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 256<<10)
		for n > 0 {
			m, err := c.Read(buf)
			n -= int64(m)
			if err != nil {
				b.Error(err)
				return
			}
		}
	}()
	return done
}

// BenchmarkThroughput writes in one direction while the other end reads.
func BenchmarkThroughput(b *testing.B) {
	for _, size := range []int{64 << 10, 1 << 20} {
		for _, f := range factories {
			b.Run(fmt.Sprintf("%s/%dKiB", f.name, size>>10), func(b *testing.B) {
				client, server := connected(b, f.make)
				block := make([]byte, size)
				b.SetBytes(int64(size))
				m := start(b)
				done := drain(b, server, int64(b.N)*int64(size))
				for range b.N {
					if _, err := client.Write(block); err != nil {
						b.Fatal(err)
					}
				}
				<-done
				m.bytes(size)
			})
		}
	}
}

// BenchmarkWriteBuffers writes what a Fetch response of eight partitions looks like: small headers
// between runs of records.
func BenchmarkWriteBuffers(b *testing.B) {
	const header, records, partitions = 60, 16 << 10, 8
	for _, f := range factories {
		b.Run(f.name, func(b *testing.B) {
			client, server := connected(b, f.make)
			var pieces [2 * partitions][]byte
			for i := range partitions {
				pieces[2*i], pieces[2*i+1] = make([]byte, header), make([]byte, records)
			}
			const size = partitions * (header + records)
			b.SetBytes(size)
			m := start(b)
			done := drain(b, server, int64(b.N)*size)
			var frame [2 * partitions][]byte
			var bufs net.Buffers
			for range b.N {
				frame = pieces
				bufs = frame[:]
				if _, err := client.WriteBuffers(&bufs); err != nil {
					b.Fatal(err)
				}
			}
			<-done
			m.bytes(size)
		})
	}
}

// BenchmarkRoundTrip sends 200 bytes there and back.
func BenchmarkRoundTrip(b *testing.B) {
	const size = 200
	for _, f := range factories {
		b.Run(f.name, func(b *testing.B) {
			client, server := connected(b, f.make)
			go func() {
				buf := make([]byte, size)
				for {
					if _, err := io.ReadFull(server, buf); err != nil {
						return
					}
					if _, err := server.Write(buf); err != nil {
						return
					}
				}
			}()
			buf := make([]byte, size)
			m := start(b)
			for range b.N {
				if _, err := client.Write(buf); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(client, buf); err != nil {
					b.Fatal(err)
				}
			}
			m.operations()
		})
	}
}

// BenchmarkSendFile sends 1 MiB of a file from the page cache: sendfile on tcp, read and write
// elsewhere.
func BenchmarkSendFile(b *testing.B) {
	const size = 1 << 20
	for _, f := range factories {
		b.Run(f.name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "segment")
			if err := os.WriteFile(path, make([]byte, 16*size), 0o600); err != nil {
				b.Fatal(err)
			}
			file, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			defer file.Close()
			client, server := connected(b, f.make)
			b.SetBytes(size)
			m := start(b)
			done := drain(b, client, int64(b.N)*size)
			for i := range b.N {
				if _, err := transport.SendFile(server, file, int64(i%16)*size, size); err != nil {
					b.Fatal(err)
				}
			}
			<-done
			m.bytes(size)
		})
	}
}
