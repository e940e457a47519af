package quic_test

import (
	"testing"

	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/quic"
	"github.com/weirmq/weir/transport/transporttest"
)

func factory(tb testing.TB) (transport.Listener, transport.Dialer) {
	tb.Helper()
	c, path, err := certificate.LoadOrCreate(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	client, err := certificate.ClientConfig(path)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := quic.Listen("127.0.0.1:0", certificate.ServerConfig(c), quic.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	return l, quic.NewDialer(client, quic.Config{})
}

func TestQUICKeepsTheContract(t *testing.T) { transporttest.Run(t, factory) }
