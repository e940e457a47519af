package tcp_test

import (
	"testing"

	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/tcp"
	"github.com/weirmq/weir/transport/transporttest"
)

func plain(tb testing.TB) (transport.Listener, transport.Dialer) {
	tb.Helper()
	l, err := tcp.Listen("127.0.0.1:0", tcp.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	return l, tcp.NewDialer(nil)
}

func encrypted(tb testing.TB) (transport.Listener, transport.Dialer) {
	tb.Helper()
	c, path, err := certificate.LoadOrCreate(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	client, err := certificate.ClientConfig(path)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := tcp.Listen("127.0.0.1:0", tcp.Config{TLS: certificate.ServerConfig(c)})
	if err != nil {
		tb.Fatal(err)
	}
	return l, tcp.NewDialer(client)
}

func TestTCPKeepsTheContract(t *testing.T) { transporttest.Run(t, plain) }

func TestTLSKeepsTheContract(t *testing.T) { transporttest.Run(t, encrypted) }
