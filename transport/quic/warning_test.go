//go:build unix

package quic

import (
	"net"
	"runtime"
	"strings"
	"testing"
)

func TestSmallReceiveBufferIsAWarningThatNamesTheRemedy(t *testing.T) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := socket.SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	warning := bufferWarning(socket)
	if warning == "" {
		t.Fatal("no warning for 64 KiB")
	}
	if runtime.GOOS == "linux" && !strings.Contains(warning, "net.core.rmem_max") {
		t.Errorf("the warning does not say what to set: %s", warning)
	}
}
