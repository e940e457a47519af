package bare

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	quicgo "github.com/quic-go/quic-go"
	"golang.org/x/sys/unix"

	"github.com/weirmq/weir/transport/certificate"
)

const (
	alpn          = "bare"
	chunkBytes    = 1 << 20
	sendFileBytes = 256 << 20
	echoBytes     = 200
)

// quicConfig has windows that never hold a sender on loopback back.
func quicConfig() *quicgo.Config {
	return &quicgo.Config{
		InitialStreamReceiveWindow: 8 << 20, MaxStreamReceiveWindow: 32 << 20,
		InitialConnectionReceiveWindow: 16 << 20, MaxConnectionReceiveWindow: 64 << 20,
	}
}

// Serve serves one kind (tcp, tls, quic, sendfile, rtt) until the context ends, with files in dir.
func Serve(ctx context.Context, kind, listen, dir string) error {
	cert, _, err := certificate.LoadOrCreate(filepath.Join(dir, "tls"))
	if err != nil {
		return err
	}
	secure := certificate.ServerConfig(cert)
	secure.NextProtos = []string{alpn}
	if kind == "quic" {
		return serveQUIC(ctx, listen, secure)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	handle := map[string]func(net.Conn) error{"tcp": sink, "tls": sink, "rtt": echo}[kind]
	if kind == "sendfile" {
		f, err := sendable(dir)
		if err != nil {
			return err
		}
		handle = func(c net.Conn) error { return send(c, f) }
	}
	if handle == nil {
		return fmt.Errorf("there is no server %q", kind)
	}
	if kind == "tls" {
		l = tls.NewListener(l, secure)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go func() {
			if err := handle(c); err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
				fmt.Fprintln(os.Stderr, "bare server:", err)
			}
			_ = c.Close() // the client sees the end
		}()
	}
}

func serveQUIC(ctx context.Context, listen string, secure *tls.Config) error {
	l, err := quicgo.ListenAddr(listen, secure, quicConfig())
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }() // ends with the process
	for {
		c, err := l.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go func() {
			s, err := c.AcceptStream(ctx)
			if err != nil {
				return
			}
			b := make([]byte, chunkBytes)
			for {
				if _, err := s.Read(b); err != nil {
					return
				}
			}
		}()
	}
}

func sink(c net.Conn) error {
	b := make([]byte, chunkBytes)
	for {
		if _, err := c.Read(b); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

func echo(c net.Conn) error {
	b := make([]byte, echoBytes)
	for {
		if _, err := io.ReadFull(c, b); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

// sendable is a file in the page cache.
func sendable(dir string) (*os.File, error) {
	f, err := os.Create(filepath.Join(dir, "sendfile"))
	if err != nil {
		return nil, err
	}
	b := make([]byte, chunkBytes)
	for i := range b {
		b[i] = byte(i * 31)
	}
	for range sendFileBytes / chunkBytes {
		if _, err := f.Write(b); err != nil {
			return nil, err
		}
	}
	return f, f.Sync()
}

func send(c net.Conn, f *os.File) error {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	at := int64(0)
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		for {
			if at >= sendFileBytes {
				at = 0
			}
			_, err := unix.Sendfile(int(fd), int(f.Fd()), &at, int(min(chunkBytes, sendFileBytes-at)))
			switch {
			case errors.Is(err, unix.EAGAIN):
				return false
			case err != nil && !errors.Is(err, unix.EINTR):
				failed = err
				return true
			}
		}
	})
	return errors.Join(err, failed)
}
