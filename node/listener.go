package node

import (
	"context"
	"errors"
	"fmt"
	"net"

	"go.uber.org/zap"

	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/tcp"
)

// listen binds the addresses of the configuration, and returns the http listener if there is one.
func (n *Node) listen() (net.Listener, error) {
	kafka, err := tcp.Listen(n.config.Listener, nil)
	if err != nil {
		return nil, fmt.Errorf("listeners: %w", err)
	}
	n.addresses.kafka = kafka.Addr()
	n.listeners = append(n.listeners, kafka)
	if n.config.AdvertisesGuess() {
		n.log.Warn("clients are told to connect to localhost: set advertised.listeners to serve other machines",
			zap.String("listener", n.config.Listener))
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

// KafkaAddr is where Kafka's protocol is served on TCP.
func (n *Node) KafkaAddr() string { return text(n.addresses.kafka) }

// QUICAddr is where Kafka's protocol is served on QUIC; empty if it is not.
func (n *Node) QUICAddr() string { return text(n.addresses.quic) }

// HTTPAddr is where health and metrics are served; empty if they are not.
func (n *Node) HTTPAddr() string { return text(n.addresses.http) }

func text(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// accept begins to serve connections.
func (n *Node) accept() {
	ctx, cancel := context.WithCancel(context.Background())
	n.accepting = cancel
	for _, l := range n.listeners {
		n.acceptors.Go(func() { n.acceptFrom(ctx, l) })
	}
}

func (n *Node) acceptFrom(ctx context.Context, l transport.Listener) {
	for {
		conn, err := l.Accept(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			if conn != nil {
				_ = conn.Close()
			}
			return
		case err != nil:
			n.log.Warn("a connection could not be accepted", zap.Error(err))
			continue
		}
		n.metrics.Accepted.Add(1)
		c, ok := n.connections.add(n, conn, int(n.config.Limits.ConnectionsMax))
		if !ok {
			n.metrics.Refused.Add(1)
			n.log.Warn("connection refused: max.connections are open", zap.Stringer("peer", conn.RemoteAddr()))
			n.serving.Go(func() { _ = conn.Close() })
			continue
		}
		n.serving.Go(c.serve)
	}
}

// stopAccepting closes the listeners. Connections live on.
func (n *Node) stopAccepting() {
	n.accepting()
	for _, l := range n.listeners {
		_ = l.Close() // nobody listens to it any more
	}
	n.acceptors.Wait()
}
