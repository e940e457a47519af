// Package tcp carries Kafka connections over TCP, plain or inside TLS: what every Kafka client
// there is can speak.
//
// Input: an address and, for TLS, a *tls.Config. Output: transport.Listener and transport.Dialer.
//
//  1. Accept never waits for a TLS handshake: it runs inside the connection's first Read or Write,
//     on the goroutine that serves it, and fails the connection after HandshakeTimeout. One slow or
//     hostile client delays nobody else.
//  2. TLS is 1.2 or newer, whatever the configuration says below that.
//  3. A plain connection is a transport.FileSender; a TLS connection is not.
//  4. Nagle's algorithm is off (responses are written whole), keep-alive probes find a dead peer in
//     about two minutes.
//
// Deliberately absent: SO_REUSEPORT (weir has one acceptor per address and shards later, by
// partition), TCP_USER_TIMEOUT (the session's write deadline does that work and can be seen).
package tcp

import (
	"crypto/tls"
	"net"
	"time"
)

// HandshakeTimeout bounds the TLS handshake of an accepted connection.
const HandshakeTimeout = 10 * time.Second

var keepAlive = net.KeepAliveConfig{
	Enable:   true,
	Idle:     60 * time.Second,
	Interval: 15 * time.Second,
	Count:    4,
}

// secure returns config as weir runs it: no version below 1.2, and records of full size from the
// first byte, since a broker sends frames and not pages to be painted early.
func secure(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	config.DynamicRecordSizingDisabled = true
	return config
}
