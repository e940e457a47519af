package memory_test

import (
	"testing"

	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/memory"
	"github.com/weirmq/weir/transport/transporttest"
)

func factory(tb testing.TB) (transport.Listener, transport.Dialer) {
	tb.Helper()
	n := memory.New()
	l, err := n.Listen("broker:0")
	if err != nil {
		tb.Fatal(err)
	}
	return l, n
}

func TestMemoryKeepsTheContract(t *testing.T) { transporttest.Run(t, factory) }
