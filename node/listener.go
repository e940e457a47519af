package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/quic"
	"github.com/weirmq/weir/transport/tcp"
)

// listen binds the addresses of the configuration, and returns the http listener if there is one.
func (n *Node) listen() (net.Listener, error) {
	if n.config.Listener != "" {
		if err := n.listenKafka(); err != nil {
			return nil, err
		}
	} else if len(n.listeners) > 0 {
		n.addresses.kafka = n.listeners[0].Addr()
	} else {
		return nil, errors.New("listeners is empty: say where to listen")
	}
	if err := n.listenNodes(); err != nil {
		return nil, err
	}
	if n.config.AdvertisesGuess() {
		n.log.Warn("clients are told to connect to localhost: set advertised.listeners to serve other machines",
			zap.String("code", string(explain.AdvertisedLoopback)), zap.String("listener", n.config.Listener),
			zap.String("fix", explain.Of(explain.AdvertisedLoopback).Fix))
	}
	if n.config.HTTP == "" {
		return nil, nil
	}
	http, err := net.Listen("tcp", n.config.HTTP)
	if err != nil {
		return nil, fmt.Errorf("http.listener: %w", err)
	}
	n.addresses.http = http.Addr()
	return http, nil
}

// listenKafka binds TCP and, at the same port number, QUIC. When any port will do, one that is free on
// both is looked for.
func (n *Node) listenKafka() error {
	var tlsConfig, tcpConfig *tls.Config
	if n.config.TLS {
		pair, err := n.loadPair("ssl.certificate.file", n.config.TLSCertificate, "ssl.key.file", n.config.TLSKey)
		if err != nil {
			return err
		}
		tcpConfig = certificate.ServerConfig(pair)
	}
	if n.config.QUIC {
		var err error
		if tlsConfig, err = n.certificate(); err != nil {
			return fmt.Errorf("QUIC certificate: %w", err)
		}
	}
	for attempt := 1; ; attempt++ {
		plain, err := tcp.Listen(n.config.Listener, n.tcpConfig(tcpConfig))
		if err != nil {
			return fmt.Errorf("listeners: %w", err)
		}
		n.addresses.kafka = plain.Addr()
		if !n.config.QUIC {
			n.listeners = append(n.listeners, plain)
			return nil
		}
		encrypted, err := quic.Listen(plain.Addr().String(), tlsConfig, n.quicConfig())
		if err == nil {
			n.addresses.quic = encrypted.Addr()
			n.listeners = append(n.listeners, plain, encrypted)
			if w := encrypted.Warning(); w != "" {
				n.log.Info("QUIC will be slower under load", zap.String("code", string(explain.QUICBuffers)),
					zap.String("detail", w), zap.String("fix", explain.Of(explain.QUICBuffers).Fix))
			}
			return nil
		}
		_ = plain.Close() // the error to tell is QUIC's
		const attemptsMax = 32
		_, port, _ := net.SplitHostPort(n.config.Listener)
		if port != "0" || !errors.Is(err, syscall.EADDRINUSE) || attempt == attemptsMax {
			return fmt.Errorf("listeners, QUIC on UDP: %w", err)
		}
	}
}

func (n *Node) quicConfig() quic.Config {
	limits := &n.config.Limits
	return quic.Config{
		ConnectionCountMax:       int(limits.ConnectionsMax),
		ConnectionsPerAddressMax: int(limits.ConnectionsPerAddressMax),
		HandshakesPerSecondMax:   min(int(limits.ConnectionRateMax), handshakesPerProcessorMax*processors()),
		HandshakesPerAddressMax:  handshakesPerAddressMax,
		Refused: func(client net.Addr, tooFast bool, why string) {
			n.metrics.Refused.Add(1)
			code := explain.TooManyConnections
			if tooFast {
				code = explain.ConnectionRate
			}
			n.complaints.about(code, client.String(), why, "", zap.String("transport", "quic"))
		},
	}
}

// How many QUIC handshakes are begun in a second: what takes an eighth of the processors, and from one address what
// a large client needs when it starts anew. Many streams go through one connection.
const (
	handshakesPerProcessorMax = 250
	handshakesPerAddressMax   = 100
)

// loadPair loads a certificate and its key, and says what is wrong with them in the words of the configuration.
func (n *Node) loadPair(certificateName, certificateFile, keyName, keyFile string) (tls.Certificate, error) {
	for name, file := range map[string]string{certificateName: certificateFile, keyName: keyFile} {
		if _, err := os.ReadFile(file); err != nil {
			return tls.Certificate{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	pair, err := tls.LoadX509KeyPair(certificateFile, keyFile)
	if err != nil {
		return pair, fmt.Errorf("%s and %s: %w: they must be PEM files, the first with the certificate and its chain, the second with its private key",
			certificateName, keyName, err)
	}
	if now := time.Now(); pair.Leaf != nil && (now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore)) {
		n.log.Warn("the certificate is not valid now: clients that verify it will not connect", zap.String("code", string(explain.CertificateExpired)),
			zap.String("file", certificateFile), zap.Time("from", pair.Leaf.NotBefore), zap.Time("to", pair.Leaf.NotAfter),
			zap.String("fix", "renew it, or mend this machine's clock"))
	}
	return pair, nil
}

// certificate is what QUIC shows: the configured one, or one of the node's own making, for development.
func (n *Node) certificate() (*tls.Config, error) {
	names := [4]string{"quic.certificate.file", n.config.QUICCertificate, "quic.key.file", n.config.QUICKey}
	if n.config.QUICCertificate == "" {
		names = [4]string{"ssl.certificate.file", n.config.TLSCertificate, "ssl.key.file", n.config.TLSKey}
	}
	if names[1] != "" {
		pair, err := n.loadPair(names[0], names[1], names[2], names[3])
		if err != nil {
			return nil, err
		}
		n.addresses.certificate = names[1]
		return certificate.ServerConfig(pair), nil
	}
	var hosts []string
	for _, addr := range []string{n.config.Listener, n.config.Advertised} {
		if host, _, err := net.SplitHostPort(addr); err == nil && host != "" {
			if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
				hosts = append(hosts, host)
			}
		}
	}
	pair, path, err := certificate.LoadOrCreate(filepath.Join(n.disk.Path(), "tls"), hosts...)
	n.addresses.certificate = path
	return certificate.ServerConfig(pair), err
}

// KafkaAddr is where Kafka's protocol is served on TCP.
func (n *Node) KafkaAddr() string { return text(n.addresses.kafka) }

// QUICAddr is where Kafka's protocol is served on QUIC; empty if it is not.
func (n *Node) QUICAddr() string { return text(n.addresses.quic) }

// HTTPAddr is where health and metrics are served; empty if they are not.
func (n *Node) HTTPAddr() string { return text(n.addresses.http) }

// CertificatePath is the PEM file that QUIC clients must trust; empty if QUIC is not served.
func (n *Node) CertificatePath() string { return n.addresses.certificate }

func text(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// accept begins to serve connections.
func (n *Node) accept() {
	for _, l := range n.listeners {
		n.acceptors.Go(func() { n.acceptFrom(n.accepting, l, false) })
	}
}

// acceptNodes begins to serve other nodes, which is before clients are: a node cannot become part of its cluster without.
func (n *Node) acceptNodes() {
	for _, l := range n.inner {
		n.acceptors.Go(func() { n.acceptFrom(n.accepting, l, true) })
	}
}

// listenNodes binds the address for other nodes.
func (n *Node) listenNodes() error {
	address := n.config.Cluster.Listener
	if address == "" || len(n.inner) > 0 {
		return nil // there are none, or they have a listener already
	}
	config, err := n.certificate()
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	var tcpConfig *tls.Config
	if n.config.Cluster.Transport == "tls" {
		tcpConfig = config
	}
	plain, err := tcp.Listen(address, n.tcpConfig(tcpConfig))
	if err != nil {
		return fmt.Errorf("nodes.listener: %w", err)
	}
	n.inner = append(n.inner, plain)
	n.addresses.nodes = plain.Addr()
	if n.config.Cluster.Transport != "quic" {
		return nil
	}
	encrypted, err := quic.Listen(plain.Addr().String(), config, n.quicConfig())
	if err != nil {
		return fmt.Errorf("nodes.listener, QUIC on UDP: %w", err)
	}
	n.inner = append(n.inner, encrypted)
	return nil
}

func (n *Node) tcpConfig(config *tls.Config) tcp.Config {
	return tcp.Config{TLS: config, SendBufferBytes: max(0, int(n.config.Limits.SendBufferBytes))}
}

// stopAccepting closes the listeners. Connections live on. It may be called again.
func (n *Node) stopAccepting() {
	n.stopAccept()
	for _, l := range slices.Concat(n.listeners, n.inner) {
		_ = l.Close() // nobody listens to it any more
	}
	n.acceptors.Wait()
}
