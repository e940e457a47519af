//go:build !linux

package tcp

import (
	"fmt"
	"os"

	"github.com/weirmq/weir/transport"
)

type fileSend struct{}

// SendFile sends n bytes of f from offset, by reading and writing: sendfile differs between
// systems, and weir is run in production on Linux.
func (c *Conn) SendFile(f *os.File, offset, n int64) (int64, error) {
	if offset < 0 || n < 0 {
		return 0, fmt.Errorf("tcp: send file: offset %d, length %d", offset, n)
	}
	return transport.CopyFile(c.TCPConn, f, offset, n)
}
