package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// connection is one client. Responses to Produce may overtake others: clients that keep one connection for
// everything match them by number.
type connection struct {
	s    *server
	conn *net.TCPConn
	raw  syscall.RawConn

	writing sync.Mutex // a frame is being written

	mu     sync.Mutex
	out    net.Buffers
	wake   chan struct{}
	closed chan struct{}
}

func (s *server) serve(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	c := &connection{s: s, conn: conn, raw: raw, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	defer func() {
		close(c.closed)
		_ = conn.Close() // the client sees it
	}()
	if !s.inline {
		go c.gather()
	}
	in := bufio.NewReaderSize(conn, 64<<10)
	var head [4]byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		size := int(binary.BigEndian.Uint32(head[:]))
		if size < 10 || size > 100<<20 {
			return
		}
		var frame []byte
		if s.pool {
			frame = s.buffers.get(size)
		} else {
			frame = make([]byte, size)
		}
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		if err := c.request(frame); err != nil {
			return
		}
	}
}

// respond hands over a whole response frame.
func (c *connection) respond(frame []byte) {
	if c.s.inline {
		c.writing.Lock()
		_, _ = c.conn.Write(frame) // a broken connection ends its reader
		c.writing.Unlock()
		return
	}
	c.mu.Lock()
	c.out = append(c.out, frame)
	first := len(c.out) == 1
	c.mu.Unlock()
	if first {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// gather writes all responses that wait with one call.
func (c *connection) gather() {
	var bufs net.Buffers
	for {
		select {
		case <-c.wake:
		case <-c.closed:
			return
		}
		c.mu.Lock()
		bufs, c.out = c.out, nil
		c.mu.Unlock()
		c.writing.Lock()
		_, err := bufs.WriteTo(c.conn)
		c.writing.Unlock()
		if err != nil {
			return
		}
	}
}

var errProtocol = errors.New("not understood")

// request serves one frame, which it owns.
func (c *connection) request(frame []byte) error {
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	id := binary.BigEndian.Uint32(frame[4:])
	req := kmsg.RequestForKey(key)
	if req == nil {
		return errProtocol
	}
	req.SetVersion(version)
	at := 8
	client := int(int16(binary.BigEndian.Uint16(frame[at:])))
	at += 2 + max(0, client)
	if req.IsFlexible() {
		at++ // no tags
	}
	if at > len(frame) {
		return errProtocol
	}
	if key == 0 {
		p := &produce{conn: c, id: id, version: version, buf: frame}
		if err := c.decode(p, frame[at:]); err != nil {
			return err
		}
		c.s.check(p)
		if c.s.path == "loop" {
			c.s.queue <- p
		} else {
			c.s.append(p)
		}
		return nil
	}
	if err := req.ReadFrom(frame[at:]); err != nil {
		return err
	}
	if f, ok := req.(*kmsg.FetchRequest); ok {
		return c.fetch(f, id)
	}
	resp, err := c.s.answer(req)
	if err != nil {
		return err
	}
	resp.SetVersion(version)
	out := binary.BigEndian.AppendUint32(make([]byte, 4, 512), id)
	if req.IsFlexible() && key != 18 {
		out = append(out, 0)
	}
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	c.respond(out)
	return nil
}

// fetch answers when there is something to read, or the time is up.
func (c *connection) fetch(f *kmsg.FetchRequest, id uint32) error {
	type found struct {
		p    *partition
		at   int64
		size int
	}
	deadline := time.NewTimer(time.Duration(f.MaxWaitMillis) * time.Millisecond)
	defer deadline.Stop()
	wake := make(chan struct{}, 1)
	for waited := false; ; waited = true {
		out := binary.BigEndian.AppendUint32(make([]byte, 4, 512), id)
		out = binary.BigEndian.AppendUint32(out, 0) // throttle
		if f.Version >= 7 {
			out = append(out, 0, 0, 0, 0, 0, 0) // no error, no session
		}
		out = binary.BigEndian.AppendUint32(out, uint32(len(f.Topics)))
		total, left := 0, int(f.MaxBytes)
		var pieces []found
		var cuts []int
		for _, t := range f.Topics {
			out = appendString(out, t.Topic)
			out = binary.BigEndian.AppendUint32(out, uint32(len(t.Partitions)))
			for _, p := range t.Partitions {
				at, size, end, code := int64(0), 0, int64(-1), int16(codeUnknown)
				part := c.s.partition(t.Topic, p.Partition)
				if part != nil {
					if left > 0 || total == 0 {
						at, size, end, code = part.run(p.FetchOffset, min(left, int(p.PartitionMaxBytes)))
					} else {
						code, end = 0, p.FetchOffset
					}
					if size == 0 && code == 0 && !waited {
						part.wait(wake)
					}
				}
				left -= size
				total += size
				out = binary.BigEndian.AppendUint32(out, uint32(p.Partition))
				out = binary.BigEndian.AppendUint16(out, uint16(code))
				out = binary.BigEndian.AppendUint64(out, uint64(end)) // high watermark
				out = binary.BigEndian.AppendUint64(out, uint64(end)) // last stable offset
				if f.Version >= 5 {
					out = binary.BigEndian.AppendUint64(out, 0) // log start
				}
				out = binary.BigEndian.AppendUint32(out, 0xffffffff) // no aborted transactions
				if f.Version >= 11 {
					out = binary.BigEndian.AppendUint32(out, 0xffffffff) // no preferred replica
				}
				out = binary.BigEndian.AppendUint32(out, uint32(size))
				if size > 0 {
					pieces, cuts = append(pieces, found{part, at, size}), append(cuts, len(out))
				}
			}
		}
		if total == 0 && !waited && f.MaxWaitMillis > 0 {
			select {
			case <-wake:
				continue
			case <-deadline.C:
			case <-c.closed:
				return net.ErrClosed
			}
		}
		binary.BigEndian.PutUint32(out, uint32(len(out)-4+total))
		c.writing.Lock()
		defer c.writing.Unlock()
		from := 0
		for i, p := range pieces {
			if _, err := c.conn.Write(out[from:cuts[i]]); err != nil {
				return err
			}
			from = cuts[i]
			if err := c.send(p.p.file, p.at, p.size); err != nil {
				return err
			}
		}
		if from < len(out) {
			_, err := c.conn.Write(out[from:])
			return err
		}
		return nil
	}
}

// send sends a piece of a file.
func (c *connection) send(f *file, at int64, size int) error {
	if !c.s.sendfile {
		b := c.s.buffers.get(min(size, 1<<20))
		defer c.s.buffers.put(b)
		for size > 0 {
			n, err := f.f.ReadAt(b[:min(size, len(b))], at)
			if n == 0 {
				return err
			}
			if _, err := c.conn.Write(b[:n]); err != nil {
				return err
			}
			at, size = at+int64(n), size-n
		}
		return nil
	}
	var failed error
	err := c.raw.Write(func(fd uintptr) bool {
		for size > 0 {
			n, err := unix.Sendfile(int(fd), f.fd, &at, size)
			if n > 0 {
				size -= n
			}
			switch {
			case errors.Is(err, unix.EAGAIN):
				return false
			case errors.Is(err, unix.EINTR):
			case err != nil:
				failed = err
				return true
			case n == 0:
				failed = io.ErrUnexpectedEOF
				return true
			}
		}
		return true
	})
	return errors.Join(err, failed)
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}
