package node

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/node/metrics"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/memory"
)

// pieces gives what it has in reads of arbitrary sizes.
type pieces struct {
	transport.Conn
	rest   []byte
	random *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 1+p.random.IntN(40_000))], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// However the bytes come and however they are taken, they come out whole and in order.
func TestInletGivesWhatArrived(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		sent := make([]byte, random.IntN(200_000))
		for i := range sent {
			sent[i] = byte(random.Uint32())
		}
		var pool bufferPool
		var in inlet
		in.init(&pieces{rest: sent, random: random}, &pool)
		var got []byte
		for err := error(nil); err == nil; {
			switch random.IntN(4) {
			case 0:
				var b []byte
				n := 1 + random.IntN(8)
				if b, err = in.peek(n); err == nil {
					got = append(got, b...)
					in.skip(n)
				} else {
					rest := make([]byte, in.buffered())
					_, _ = in.read(rest)
					got = append(got, rest...)
				}
			case 1, 2:
				b := make([]byte, 1+random.IntN([]int{10, 1000, 50_000}[random.IntN(3)]))
				var n int
				n, err = in.read(b)
				got = append(got, b[:n]...)
			case 3:
				if in.buffered() == 0 {
					in.quiet()
				}
			}
		}
		if !bytes.Equal(got, sent) {
			t.Fatalf("seed %d: %d bytes came out of %d", seed, len(got), len(sent))
		}
		in.drop()
		if in.busy() || in.buffered() != 0 {
			t.Fatal("it keeps its buffer")
		}
	}
}

func TestAPanicClosesItsConnectionOnly(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	network := memory.New()
	if _, err := network.Listen("node:1"); err != nil {
		t.Fatal(err)
	}
	conn, err := network.Dial(t.Context(), "node:1")
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{metrics: metrics.New("test", nil), complaints: newComplaints(zap.New(core))}
	c := &connection{node: n, peer: "192.0.2.7:1", conn: conn}
	if err := c.guard(func() error { panic("a request that nobody thought of") }); err != errPanicked || !c.panicked.Load() {
		t.Errorf("%v, panicked: %v", err, c.panicked.Load())
	}
	line := logs.All()[0]
	if line.ContextMap()["code"] != string(explain.ConnectionDefect) || line.ContextMap()["reason"] != "a request that nobody thought of" || n.Panics() != 1 {
		t.Errorf("%v, %d panics", line, n.Panics())
	}
	if err := c.guard(func() error { return io.EOF }); err != io.EOF {
		t.Errorf("no panic: %v", err)
	}
}

func TestOnlyWhatIsSmallGoesFirst(t *testing.T) {
	for _, c := range []struct {
		event broker.Event
		other bool
	}{
		{&broker.Produce{}, false},
		{&broker.Completed{}, false},
		{&broker.Heartbeat{}, false},
		{&broker.CommitOffsets{}, false},
		{&broker.Fetch{Parts: make([]broker.FetchPart, fetchPartsMax)}, false},
		{&broker.Fetch{Parts: make([]broker.FetchPart, fetchPartsMax+1)}, true},
		{&broker.EnsureTopics{}, true},
		{&broker.Disconnected{}, true},
	} {
		if isOther(c.event) != c.other {
			t.Errorf("%T: %v", c.event, !c.other)
		}
	}
}
