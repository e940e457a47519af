package driver

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/transport"
)

const (
	// queueCount is how many frames may wait to be written; machines have fewer in flight.
	queueCount = 64
	// creditCount is how many frames a connection may have waiting in the inbox.
	creditCount = 8
	readBytes   = 64 << 10
	// trustBytes is how much is allocated for a frame on the word of its length alone.
	trustBytes = 1 << 20
)

// conn is one connection: a goroutine that dials and then reads, and one that writes.
type conn struct {
	d      *Driver
	id     machine.ConnID
	addr   string
	queue  chan machine.Send
	credit chan struct{}

	mu     sync.Mutex // held to set and read the fields below only
	conn   transport.Conn
	closed bool
	cancel context.CancelFunc
	gone   chan struct{} // closed with the connection
}

func newConn(d *Driver, id machine.ConnID, addr string) *conn {
	c := &conn{
		d: d, id: id, addr: addr,
		queue: make(chan machine.Send, queueCount), credit: make(chan struct{}, creditCount), gone: make(chan struct{}),
	}
	for range creditCount {
		c.credit <- struct{}{}
	}
	return c
}

// dial connects.
func (c *conn) dial() {
	defer c.d.group.Done()
	ctx, cancel := context.WithTimeout(c.d.life, time.Duration(c.d.settings.Config.DialTimeout))
	defer cancel()
	c.mu.Lock()
	c.cancel = cancel
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return
	}
	k, err := c.d.settings.Dialer.Dial(ctx, c.addr)
	if err != nil {
		c.d.post(event{kind: disconnected, conn: c, detail: err.Error()})
		return
	}
	c.mu.Lock()
	c.conn = k
	closed = c.closed
	c.mu.Unlock()
	if closed {
		_ = k.Close() // nobody wants it any more
		return
	}
	c.d.post(event{kind: connected, conn: c})
}

// serve begins to read and write; the loop calls it before anything is sent.
func (c *conn) serve() {
	stopped := make(chan struct{})
	c.d.group.Add(2)
	go func() {
		defer c.d.group.Done()
		defer close(stopped)
		c.write()
	}()
	go func() {
		defer c.d.group.Done()
		err := c.read()
		c.close()
		<-stopped
		c.d.post(event{kind: disconnected, conn: c, detail: err.Error()})
	}()
}

// send queues a frame. The queue is longer than what machines have in flight.
func (c *conn) send(s *machine.Send) {
	select {
	case c.queue <- *s:
	case <-c.gone:
	}
}

func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	close(c.gone)
	if c.cancel != nil {
		c.cancel()
	}
	if c.conn != nil {
		_ = c.conn.Close() // whoever reads or writes hears of it
	}
}

// write writes frames until the connection ends.
func (c *conn) write() {
	for {
		select {
		case s := <-c.queue:
			buffers := net.Buffers(s.Pieces)
			if _, err := c.conn.WriteBuffers(&buffers); err != nil {
				c.close()
				return
			}
			if s.Report {
				c.d.post(event{kind: written, conn: c})
			}
		case <-c.gone:
			return
		}
	}
}

// read reads frames until the connection ends, and says why it did.
func (c *conn) read() error {
	r := bufio.NewReaderSize(c.conn, readBytes)
	for {
		frame, err := readFrame(r, c.d.settings.Config.FrameBytesMax)
		if err != nil {
			return err
		}
		select {
		case <-c.credit:
		case <-c.gone:
			return net.ErrClosed
		}
		c.d.post(event{kind: received, conn: c, frame: frame})
	}
}

// readFrame reads one frame and returns it without its length prefix. Memory grows with the bytes that
// come, not with those that are announced.
func readFrame(r io.Reader, bytesMax int) ([]byte, error) {
	var prefix [4]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, err
	}
	n := int(int32(binary.BigEndian.Uint32(prefix[:])))
	if n < 4 || n > bytesMax {
		return nil, fmt.Errorf("a response of %d bytes: this is no Kafka broker, or it answers more than the limit of %d", n, bytesMax)
	}
	frame := make([]byte, min(n, trustBytes))
	for at := 0; ; {
		if _, err := io.ReadFull(r, frame[at:]); err != nil {
			return nil, err
		}
		if at = len(frame); at == n {
			return frame, nil
		}
		frame = append(frame, make([]byte, min(n-at, at))...)
	}
}
