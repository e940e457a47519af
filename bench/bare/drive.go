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
	"time"

	quicgo "github.com/quic-go/quic-go"
	"golang.org/x/sys/unix"

	"github.com/weirmq/weir/bench/drive"
	"github.com/weirmq/weir/bench/report"
	"github.com/weirmq/weir/transport/certificate"
)

// Options is what a loop is told.
type Options struct {
	Kind string
	Addr string // of the server
	CA   string // its certificate
	Dir  string // for files
	Warm time.Duration
	For  time.Duration
	// BytesMax bounds files and what is sent.
	BytesMax int64
}

// Drive runs one loop.
func Drive(ctx context.Context, o Options, say func(string)) (drive.Result, error) {
	l := &loop{o: o, say: say, histogram: report.NewHistogram()}
	switch o.Kind {
	case "sync", "sync-grow":
		return l.sync(ctx)
	case "append", "write":
		return l.append(ctx)
	case "read":
		return l.read(ctx)
	case "rtt":
		return l.rtt(ctx)
	case "tcp", "tls", "quic", "sendfile":
		return l.bulk(ctx)
	}
	return drive.Result{}, fmt.Errorf("there is no loop %q", o.Kind)
}

// loop is one thing done again and again.
type loop struct {
	o         Options
	say       func(string)
	histogram *report.Histogram
}

// again calls once, which says how many bytes it moved, through the warm-up and the window.
func (l *loop) again(ctx context.Context, once func() (int, error)) (drive.Result, error) {
	var r drive.Result
	open := false
	from, all := time.Now(), int64(0)
	for ctx.Err() == nil {
		begin := time.Now()
		if !open && begin.Sub(from) >= l.o.Warm {
			open, from, all = true, begin, 0
			l.histogram.Reset()
			l.say("begin")
		}
		if open && (begin.Sub(from) >= l.o.For || all >= l.o.BytesMax) {
			r.Seconds = begin.Sub(from).Seconds()
			l.say("end")
			r.Records, r.Ack = r.Requests, l.histogram.Latency()
			return r, nil
		}
		n, err := once()
		if err != nil {
			return r, err
		}
		all += int64(n)
		if open {
			r.Requests++
			r.Bytes += int64(n)
			l.histogram.Record(time.Since(begin))
		}
	}
	return r, ctx.Err()
}

func (l *loop) file() (*os.File, error) { return os.Create(filepath.Join(l.o.Dir, "loop")) }

func (l *loop) sync(ctx context.Context) (drive.Result, error) {
	f, err := l.file()
	if err != nil {
		return drive.Result{}, err
	}
	defer func() { _ = f.Close() }() // removed with its directory
	const fileBytes, blockBytes = 32 << 20, 4 << 10
	if l.o.Kind == "sync" {
		if _, err := f.Write(make([]byte, fileBytes)); err != nil {
			return drive.Result{}, err
		}
		if err := f.Sync(); err != nil {
			return drive.Result{}, err
		}
	}
	block, at := make([]byte, blockBytes), int64(0)
	return l.again(ctx, func() (int, error) {
		if l.o.Kind == "sync" {
			at %= fileBytes
		}
		if _, err := f.WriteAt(block, at); err != nil {
			return 0, err
		}
		at += blockBytes
		return blockBytes, datasync(f)
	})
}

func (l *loop) append(ctx context.Context) (drive.Result, error) {
	f, err := l.file()
	if err != nil {
		return drive.Result{}, err
	}
	defer func() { _ = f.Close() }() // removed with its directory
	b := make([]byte, chunkBytes)
	return l.again(ctx, func() (int, error) {
		if _, err := f.Write(b); err != nil {
			return 0, err
		}
		if l.o.Kind == "write" {
			return len(b), nil
		}
		return len(b), datasync(f)
	})
}

// read is a sequential read from the disk, of a file that the page cache was told to forget.
func (l *loop) read(ctx context.Context) (drive.Result, error) {
	f, err := l.file()
	if err != nil {
		return drive.Result{}, err
	}
	defer func() { _ = f.Close() }() // removed with its directory
	size := min(l.o.BytesMax, 1<<30)
	b := make([]byte, chunkBytes)
	for at := int64(0); at < size; at += chunkBytes {
		if _, err := f.Write(b); err != nil {
			return drive.Result{}, err
		}
	}
	if err := f.Sync(); err != nil {
		return drive.Result{}, err
	}
	if err := forget(f, size); err != nil {
		return drive.Result{}, err
	}
	at := int64(0)
	l.o.Warm, l.o.BytesMax = 0, size
	return l.again(ctx, func() (int, error) {
		n, err := f.ReadAt(b, at)
		at += int64(n)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return n, err
	})
}

func (l *loop) rtt(ctx context.Context) (drive.Result, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.o.Addr)
	if err != nil {
		return drive.Result{}, err
	}
	defer func() { _ = c.Close() }() // everything was answered
	b := make([]byte, echoBytes)
	return l.again(ctx, func() (int, error) {
		if _, err := c.Write(b); err != nil {
			return 0, err
		}
		return io.ReadFull(c, b)
	})
}

func (l *loop) bulk(ctx context.Context) (drive.Result, error) {
	var w io.Writer
	var r io.Reader
	switch l.o.Kind {
	case "quic":
		secure, err := certificate.ClientConfig(l.o.CA)
		if err != nil {
			return drive.Result{}, err
		}
		secure.NextProtos = []string{alpn}
		c, err := quicgo.DialAddr(ctx, l.o.Addr, secure, quicConfig())
		if err != nil {
			return drive.Result{}, err
		}
		defer func() { _ = c.CloseWithError(0, "") }() // the figures are taken
		s, err := c.OpenStreamSync(ctx)
		if err != nil {
			return drive.Result{}, err
		}
		w = s
	default:
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.o.Addr)
		if err != nil {
			return drive.Result{}, err
		}
		defer func() { _ = c.Close() }() // the figures are taken
		w, r = c, c
		if l.o.Kind == "tls" {
			secure, err := certificate.ClientConfig(l.o.CA)
			if err != nil {
				return drive.Result{}, err
			}
			secure.NextProtos = []string{alpn}
			secure.ServerName = "localhost"
			w = tls.Client(c, secure)
		}
	}
	b := make([]byte, chunkBytes)
	return l.again(ctx, func() (int, error) {
		if l.o.Kind == "sendfile" {
			return r.Read(b)
		}
		return w.Write(b)
	})
}

// forget makes the page cache forget a file.
func forget(f *os.File, size int64) error {
	return unix.Fadvise(int(f.Fd()), 0, size, unix.FADV_DONTNEED)
}

func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
