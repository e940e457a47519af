//go:build !unix

package quic

import "net"

// bufferWarning is empty: the size cannot be asked for here.
func bufferWarning(*net.UDPConn) string { return "" }
