//go:build unix

package quic

import (
	"fmt"
	"net"
	"runtime"

	"golang.org/x/sys/unix"
)

// bufferWarning says what to do when the kernel gave the socket a small receive buffer.
func bufferWarning(socket *net.UDPConn) string {
	raw, err := socket.SyscallConn()
	if err != nil {
		return ""
	}
	size := bufferBytesWanted
	err = raw.Control(func(fd uintptr) {
		if n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
			size = n
		}
	})
	if err != nil || size >= bufferBytesWanted {
		return ""
	}
	advice := "raise the system's limit for socket buffers"
	if runtime.GOOS == "linux" {
		advice = "sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000"
	}
	return fmt.Sprintf("the UDP receive buffer is %d KiB, %d KiB are wanted: QUIC will lose packets under load; %s",
		size>>10, bufferBytesWanted>>10, advice)
}
