package link

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

const (
	self    = model.NodeID(1)
	other   = model.NodeID(2)
	cluster = "cluster"
	ms      = model.Time(1e6)
)

func testConfig() Config {
	c := DefaultConfig()
	c.Self, c.To, c.ClusterID, c.Version = self, other, cluster, "1.2.3"
	c.ConnectTimeout, c.BackoffMin, c.BackoffMax, c.IdleTimeout = 1000*ms, 20*ms, 100*ms, 5000*ms
	c.InFlightMax, c.WaitingMax = 3, 4
	c.InFlightBytesMax, c.WaitingBytesMax = 4096, 8192
	return c
}

// bench is a link with a hand that answers for the other node.
type bench struct {
	l     *Link
	now   model.Time
	out   Out
	asked []Frame // not answered, oldest first
}

func newBench(c Config) *bench { return &bench{l: New(c), now: 1} }

func (b *bench) take() string {
	var s strings.Builder
	if b.out.Close != "" {
		b.asked = nil
		fmt.Fprintf(&s, "close: %s\n", b.out.Close)
		if b.out.Refused {
			s.WriteString("  an operator must see to it\n")
		}
	}
	if b.out.Dial {
		fmt.Fprintf(&s, "dial %v\n", b.out.Address)
	}
	for _, f := range b.out.Frames {
		fmt.Fprintf(&s, "send %v %d, request %d\n", f.Key, f.Version, f.Correlation)
		b.asked = append(b.asked, f)
		b.l.Recycle(f)
	}
	for i := range b.out.Answers {
		fmt.Fprintln(&s, b.out.Answers[i].String())
	}
	b.out.Reset()
	return s.String()
}

// next is the oldest request that is not answered.
func (b *bench) next() Frame {
	f := b.asked[0]
	b.asked = b.asked[1:]
	return f
}

// responseFrame is a response as another node sends it, without the length prefix.
func responseFrame(f Frame, m protocol.Message) []byte {
	var w protocol.Writer
	w.BeginResponse(f.Correlation, f.Key, f.Version)
	m.Encode(&w, f.Version)
	w.EndFrame()
	b, err := w.AppendTo(nil)
	if err != nil {
		panic(err)
	}
	return b[4:]
}

func helloAnswer(clusterID string, node model.NodeID, code int16, message string) *protocol.NodeHelloResponse {
	r := protocol.NewResponse(protocol.KeyNodeHello).(*protocol.NodeHelloResponse)
	r.ClusterID, r.NodeID, r.ErrorCode, r.ErrorMessage = clusterID, int32(node), code, protocol.String(message)
	for _, s := range speaks {
		k := protocol.Add(&r.APIKeys)
		k.APIKey, k.MinVersion, k.MaxVersion = s.key, s.min, s.max
	}
	return r
}

// greet answers both greetings.
func (b *bench) greet(hello *protocol.NodeHelloResponse) {
	b.l.Receive(b.now, responseFrame(b.next(), protocol.NewResponse(protocol.KeyAPIVersions)), &b.out)
	b.l.Receive(b.now, responseFrame(b.next(), hello), &b.out)
}

func testCall(id int, kind string, port int, timeout model.Time) *effect.Call {
	c := &effect.Call{To: other, Address: effect.Address{Host: "b", Port: int32(port)}, ID: effect.CallID(id), Timeout: timeout}
	switch kind {
	case "heartbeat":
		c.Body = &effect.HeartbeatBroker{Broker: self, BrokerEpoch: 5}
	case "registration":
		c.Body = &effect.RegisterBroker{Broker: self, ClusterID: cluster}
	case "messages":
		c.Body = &effect.QuorumMessages{From: 1, To: 2, Messages: [][]byte{make([]byte, 3000)}}
	}
	return c
}

// TestScenarios runs testdata: each file is one link's life. Every command takes after=MS, which lets so much time pass
// first without a tick.
//
//	call id=N [kind=heartbeat|registration|messages] [timeout=MS] [port=N]
//	connected
//	greet [cluster=NAME] [node=N] [code=N] [without=KEY]     the other end answers both greetings
//	unversioned                                              it refuses ApiVersions
//	answer [code=N] [correlation=N] [cut=N]                  the other node answers the oldest request
//	lost
//	tick
//	stop
//	state
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if strings.Contains(path, "fuzz") || strings.Contains(path, "rapid") {
			return
		}
		b := newBench(testConfig())
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			id, timeout, port, code, node, after := 0, 1000, 9092, 0, int(other), 0
			kind, clusterID, without := "heartbeat", cluster, ""
			d.MaybeScanArgs(t, "after", &after)
			d.MaybeScanArgs(t, "code", &code)
			b.now += model.Time(after) * ms
			switch d.Cmd {
			case "call":
				d.ScanArgs(t, "id", &id)
				d.MaybeScanArgs(t, "kind", &kind)
				d.MaybeScanArgs(t, "timeout", &timeout)
				d.MaybeScanArgs(t, "port", &port)
				b.l.Call(b.now, testCall(id, kind, port, model.Time(timeout)*ms), &b.out)
			case "connected":
				b.l.Connected(b.now, &b.out)
			case "greet":
				d.MaybeScanArgs(t, "cluster", &clusterID)
				d.MaybeScanArgs(t, "node", &node)
				d.MaybeScanArgs(t, "without", &without)
				hello := helloAnswer(clusterID, model.NodeID(node), int16(code), "another")
				hello.APIKeys = slices.DeleteFunc(hello.APIKeys, func(k protocol.NodeHelloResponseAPIVersion) bool { return k.APIKey.String() == without })
				b.greet(hello)
			case "unversioned":
				r := protocol.NewResponse(protocol.KeyAPIVersions).(*protocol.APIVersionsResponse)
				r.ErrorCode = 35
				b.l.Receive(b.now, responseFrame(b.next(), r), &b.out)
			case "answer":
				f := b.next()
				correlation, cut := int(f.Correlation), 0
				d.MaybeScanArgs(t, "correlation", &correlation)
				d.MaybeScanArgs(t, "cut", &cut)
				f.Correlation = int32(correlation)
				frame := responseFrame(f, protocol.NewResponse(f.Key))
				b.l.Receive(b.now, frame[:len(frame)-cut], &b.out)
			case "lost":
				b.asked = nil
				b.l.Lost(b.now, "reset by peer", &b.out)
			case "tick":
				b.l.Tick(b.now, &b.out)
			case "stop":
				b.l.Stop(b.now, "this node stops", &b.out)
			case "state":
				s := fmt.Sprintf("%v, %d wait, %d sent", b.l.state, len(b.l.waiting), len(b.l.sent))
				if at := b.l.Deadline(); at != 0 {
					s += fmt.Sprintf(", tick in %d ms", (at-b.now)/ms)
				}
				return s
			default:
				d.Fatalf(t, "no such command")
			}
			s := b.take()
			if err := b.l.Check(); err != nil {
				t.Errorf("%s: %v", d.Pos, err)
			}
			if s == "" {
				return "nothing"
			}
			return s
		})
	})
}

func TestNothingButTheGreetingIsSentToAStranger(t *testing.T) {
	b := newBench(testConfig())
	b.l.Call(b.now, testCall(1, "heartbeat", 1, 1000*ms), &b.out)
	b.l.Connected(b.now, &b.out)
	b.take()
	b.greet(helloAnswer(cluster, 3, 0, ""))
	for _, f := range b.out.Frames {
		t.Errorf("%v was sent to another node", f.Key)
	}
	if len(b.out.Answers) != 1 || b.out.Answers[0].Failure != effect.CallRefused {
		t.Errorf("%v", b.out.Answers)
	}
}

func TestAGreetingSaysWhoAsksAndWhoIsMeant(t *testing.T) {
	c := testConfig()
	c.Incarnation = model.IncarnationID{7}
	b := newBench(c)
	b.l.Call(b.now, testCall(1, "heartbeat", 1, 1000*ms), &b.out)
	b.l.Connected(b.now, &b.out)
	var w []byte
	for _, p := range b.out.Frames[1].Pieces {
		w = append(w, p.Bytes...)
	}
	if n := binary.BigEndian.Uint32(w); int(n) != len(w)-4 || b.out.Frames[1].LenBytes != len(w) {
		t.Fatalf("a frame of %d bytes says %d", len(w), n)
	}
	var h protocol.RequestHeader
	var r protocol.NodeHelloRequest
	in := protocol.NewReader(w[4:], protocol.BudgetForStrangers())
	protocol.ReadRequestHeader(&in, &h)
	if r.Decode(&in, 0); in.Finish() != nil || r.NodeID != 1 || r.ToNodeID != 2 || r.ClusterID != cluster || r.IncarnationID != [16]byte{7} {
		t.Errorf("%+v", r)
	}
}
