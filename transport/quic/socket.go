package quic

import (
	"net"
	"os"
	"sync"
)

// bufferBytesWanted is the size of the kernel's receive buffer that the QUIC library asks for.
const bufferBytesWanted = 7 << 20

// quietLibrary turns off the library's warning about UDP buffers, which goes to the standard logger
// and so around the node's. The environment is the only switch it offers; who set it keeps it.
var quietLibrary = sync.OnceFunc(func() {
	const name = "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING"
	if _, set := os.LookupEnv(name); !set {
		_ = os.Setenv(name, "true")
	}
})

// connectedSocket is a UDP socket connected to one peer, dressed as the unconnected one that the
// library expects: it names the destination of every packet, which the kernel refuses on a
// connected socket. Connected, the kernel reports what the peer's host answers: a port on which
// nobody listens fails the next read or write with ECONNREFUSED.
type connectedSocket struct{ *net.UDPConn }

func (s connectedSocket) WriteMsgUDP(b, oob []byte, _ *net.UDPAddr) (n, oobn int, err error) {
	return s.UDPConn.WriteMsgUDP(b, oob, nil)
}

func (s connectedSocket) WriteTo(b []byte, _ net.Addr) (int, error) { return s.UDPConn.Write(b) }
