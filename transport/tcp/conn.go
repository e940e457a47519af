package tcp

import (
	"net"
	"sync/atomic"
	"syscall"

	"github.com/weirmq/weir/transport"
)

var (
	_ transport.Conn       = (*Conn)(nil)
	_ transport.FileSender = (*Conn)(nil)
)

// Conn is a plain TCP connection.
type Conn struct {
	*net.TCPConn

	raw    syscall.RawConn // of TCPConn, taken once
	send   fileSend
	closed atomic.Bool
}

func newConn(tcp *net.TCPConn) (*Conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		tcp.Close()
		return nil, err
	}
	return &Conn{TCPConn: tcp, raw: raw}, nil
}

// Transport is "tcp".
func (c *Conn) Transport() string { return "tcp" }

// WriteBuffers is one writev for up to 1,024 buffers.
func (c *Conn) WriteBuffers(bufs *net.Buffers) (int64, error) { return bufs.WriteTo(c.TCPConn) }

// Close closes both directions. What was written is still delivered, unless input is left unread.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.TCPConn.Close()
}
