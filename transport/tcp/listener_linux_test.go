package tcp_test

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirmq/weir/transport/tcp"
)

func TestSendBufferIsTheOneConfigured(t *testing.T) {
	const size = 96 << 10
	if got := sendBuffer(t, tcp.Config{SendBufferBytes: size}); got != 2*size { // socket(7): the kernel doubles it
		t.Errorf("the send buffer has %d bytes, want twice %d", got, size)
	}
	if got := sendBuffer(t, tcp.Config{}); got == 2*size {
		t.Errorf("the system's own send buffer is the one configured: %d bytes", got)
	}
}

// sendBuffer is the size of an accepted connection's send buffer.
func sendBuffer(t *testing.T, c tcp.Config) int {
	t.Helper()
	l, err := tcp.Listen("127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	server, err := l.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	raw, err := server.(*tcp.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	if cerr := raw.Control(func(fd uintptr) { size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return size
}
