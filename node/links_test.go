package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/link"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/node/config"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/memory"
)

// patience is how long a call may take that must be answered: far longer than it does.
const patience = 20 * time.Second

// calledNode is a node that others call, over TCP and QUIC as well, and the memory network that it is on.
func calledNode(t *testing.T, change func(*config.Config)) (*Node, *memory.Network, effect.Address) {
	t.Helper()
	c := config.Default()
	c.DataDir, c.Listener, c.HTTP, c.NodeID = t.TempDir(), "127.0.0.1:0", "", 2
	c.Storage.JournalFileBytes = 1 << 20
	c.Cluster.Transport = "quic"
	if change != nil {
		change(&c)
	}
	network := memory.New()
	listener, err := network.Listen("node2:0")
	if err != nil {
		t.Fatal(err)
	}
	n, err := Start(Options{Config: c, Log: zap.NewNop(), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	// It is no cluster's, and lets others in all the same.
	if n.config.Cluster.Listener = "127.0.0.1:0"; n.listenNodes() != nil {
		t.Fatal("no listener for nodes")
	}
	n.inner = append(n.inner, listener)
	n.acceptNodes()
	return n, network, addressOf(t, listener.Addr().String(), effect.TransportMemory)
}

// nodesAddress is where other nodes reach a node.
func nodesAddress(t *testing.T, n *Node, kind effect.Transport) effect.Address {
	t.Helper()
	return addressOf(t, n.addresses.nodes.String(), kind)
}

func addressOf(t *testing.T, addr string, kind effect.Transport) effect.Address {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return effect.Address{Host: host, Port: int32(number), Transport: kind}
}

// caller is the links of node 1.
type caller struct {
	*links
	t       *testing.T
	answers chan effect.Answer
	refusal chan string
	nextID  effect.CallID
}

func newCaller(t *testing.T, n *Node, network *memory.Network, change func(*link.Config)) *caller {
	t.Helper()
	c := &caller{t: t, answers: make(chan effect.Answer, 1000), refusal: make(chan string, 100)}
	config := link.DefaultConfig()
	config.Self, config.ClusterID = 1, n.sessions.ClusterID
	if change != nil {
		change(&config)
	}
	given := map[effect.Transport]transport.Dialer{}
	if network != nil {
		given[effect.TransportMemory] = network
	}
	trust := func() (*tls.Config, error) { return certificate.ClientConfig(n.CertificatePath()) }
	c.links = newLinks(config, newClock(), newDialers(given, trust), new(atomic.Int64), func(a effect.Answer) { c.answers <- a },
		func(_ model.NodeID, why string) { c.refusal <- why })
	t.Cleanup(c.close)
	return c
}

func (c *caller) ask(lane effect.Lane, to effect.Address, timeout time.Duration, body effect.CallBody) effect.CallID {
	c.nextID++
	c.call(&effect.Call{To: 2, Address: to, Lane: lane, ID: c.nextID, Timeout: model.Time(timeout), Body: body})
	return c.nextID
}

func (c *caller) answer() effect.Answer {
	c.t.Helper()
	select {
	case a := <-c.answers:
		return a
	case <-time.After(2 * patience):
		c.t.Fatal("no answer came")
		return effect.Answer{}
	}
}

func heartbeat() effect.CallBody { return &effect.HeartbeatBroker{Broker: 1, BrokerEpoch: 5} }

func TestNodesCallEachOtherOverEveryTransport(t *testing.T) {
	n, network, inMemory := calledNode(t, nil)
	c := newCaller(t, n, network, nil)
	for _, to := range []effect.Address{
		nodesAddress(t, n, effect.TransportTCP), nodesAddress(t, n, effect.TransportQUIC), inMemory,
	} {
		t.Run(to.Transport.String(), func(t *testing.T) {
			for i := range 20 {
				id := c.ask(effect.LaneControl, to, patience, heartbeat())
				a := c.answer()
				if h, ok := a.Body.(*effect.BrokerHeartbeatAnswered); a.ID != id || a.From != 2 || !ok || effect.CodeName(h.Code) != "BROKER_ID_NOT_REGISTERED" {
					t.Fatalf("call %d: %v", i, &a)
				}
			}
			// A large message goes out and comes back in one piece: an envelope that may not be opened says so.
			c.ask(effect.LaneForward, to, patience, &effect.Forward{Request: make([]byte, 3<<20)})
			if a := c.answer(); a.Failure != effect.CallOK || a.Body.(*effect.Forwarded).Code == 0 {
				t.Fatalf("%v", &a)
			}
		})
	}
}

func TestANodeOnTLSIsCalled(t *testing.T) {
	_, path, err := certificate.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n, _, _ := calledNode(t, func(c *config.Config) {
		c.Cluster.Transport = "tls"
		c.TLS, c.TLSCertificate, c.TLSKey = true, path, filepath.Join(filepath.Dir(path), "dev-key.pem")
	})
	c := newCaller(t, n, nil, nil)
	c.ask(effect.LaneControl, nodesAddress(t, n, effect.TransportTLS), patience, heartbeat())
	if a := c.answer(); a.Failure != effect.CallOK {
		t.Fatalf("%v", &a)
	}
	// Without TLS nothing is said to it, and the answer says what went wrong.
	c.ask(effect.LaneQuorum, nodesAddress(t, n, effect.TransportTCP), patience, heartbeat())
	if a := c.answer(); a.Failure != effect.CallUnreachable || !strings.Contains(a.Detail, "has not said that it is node 2") {
		t.Fatalf("%v", &a)
	}
}

func TestLanesDoNotWaitForEachOther(t *testing.T) {
	n, network, to := calledNode(t, nil)
	c := newCaller(t, n, network, nil)
	// What is asked of a stopped loop has no answer; what the session answers by itself has.
	release := make(chan struct{})
	stopped := make(chan struct{})
	n.loop.inspect <- func(*broker.Broker) { close(stopped); <-release }
	<-stopped
	slow := c.ask(effect.LaneControl, to, 20*time.Second, heartbeat())
	quick := c.ask(effect.LaneForward, to, 20*time.Second, &effect.Forward{Request: []byte("not a request")})
	if a := c.answer(); a.ID != quick {
		t.Errorf("%v comes first", &a)
	}
	close(release)
	if a := c.answer(); a.ID != slow || a.Failure != effect.CallOK {
		t.Errorf("%v", &a)
	}
}

func TestTheWrongNodeIsRefusedAndTheLogSaysSo(t *testing.T) {
	n, network, to := calledNode(t, func(c *config.Config) { c.NodeID = 3 })
	c := newCaller(t, n, network, nil)
	c.ask(effect.LaneControl, to, patience, heartbeat())
	if a := c.answer(); a.Failure != effect.CallRefused || !strings.Contains(a.Detail, "this is node 3") {
		t.Errorf("%v", &a)
	}
	if why := <-c.refusal; !strings.Contains(why, "this is node 3") {
		t.Error(why)
	}
	other := newCaller(t, n, network, func(config *link.Config) { config.ClusterID = "another" })
	other.ask(effect.LaneControl, to, patience, heartbeat())
	if a := other.answer(); a.Failure != effect.CallRefused || !strings.Contains(a.Detail, "of cluster") {
		t.Errorf("%v", &a)
	}
}

func TestCallsToNobodyAreAnsweredAndPaced(t *testing.T) {
	n, network, _ := calledNode(t, nil)
	c := newCaller(t, n, network, nil)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := addressOf(t, gone.Addr().String(), effect.TransportTCP)
	_ = gone.Close()
	begin := time.Now()
	for range 4 { // waits of 0, 20, 40 and 80 ms
		c.ask(effect.LaneControl, to, patience, heartbeat())
		if a := c.answer(); a.Failure != effect.CallUnreachable || !strings.Contains(a.Detail, "refused") {
			t.Fatalf("%v", &a)
		}
	}
	if took := time.Since(begin); took < 140*time.Millisecond {
		t.Errorf("four calls in a row were answered within %v", took)
	}
	c.ask(effect.LaneControl, effect.Address{Host: "x", Transport: effect.Transport(77)}, patience, heartbeat())
	if a := c.answer(); a.Failure != effect.CallUnreachable || !strings.Contains(a.Detail, "transport 77") {
		t.Errorf("%v", &a)
	}
}

// TestANodeThatNeverAnswersIsGivenUp calls a listener that accepts and says nothing.
func TestANodeThatNeverAnswersIsGivenUp(t *testing.T) {
	n, network, _ := calledNode(t, nil)
	silent, err := network.Listen("silent:1")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := newCaller(t, n, network, func(config *link.Config) { config.ConnectTimeout = 50e6 })
	c.ask(effect.LaneControl, effect.Address{Host: "silent", Port: 1, Transport: effect.TransportMemory}, patience, heartbeat())
	if a := c.answer(); a.Failure != effect.CallUnreachable || !strings.Contains(a.Detail, "in time") {
		t.Errorf("%v", &a)
	}
}

func TestALostNodeIsCalledAgainWhenItIsBack(t *testing.T) {
	n, network, to := calledNode(t, nil)
	c := newCaller(t, n, network, nil)
	c.ask(effect.LaneControl, to, patience, heartbeat())
	if a := c.answer(); a.Failure != effect.CallOK {
		t.Fatalf("%v", &a)
	}
	for _, conn := range n.connections.all() {
		conn.close()
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		c.ask(effect.LaneControl, to, patience, heartbeat())
		a := c.answer()
		if a.Failure == effect.CallOK {
			return
		}
		if a.Failure != effect.CallLost || time.Now().After(deadline) {
			t.Fatalf("%v", &a)
		}
	}
}

func TestAnIdleLinkIsClosedAndForgotten(t *testing.T) {
	n, network, to := calledNode(t, nil)
	c := newCaller(t, n, network, func(config *link.Config) { config.IdleTimeout = 30e6 })
	for range 3 {
		c.ask(effect.LaneControl, to, patience, heartbeat())
		if a := c.answer(); a.Failure != effect.CallOK {
			t.Fatalf("%v", &a)
		}
		for deadline := time.Now().Add(30 * time.Second); c.count() > 0 || len(n.connections.all()) > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d links and %d connections are there", c.count(), len(n.connections.all()))
			}
		}
	}
}

func TestClosedLinksAnswerWhatWasAsked(t *testing.T) {
	n, network, to := calledNode(t, nil)
	c := newCaller(t, n, network, nil)
	release, stopped := make(chan struct{}), make(chan struct{})
	n.loop.inspect <- func(*broker.Broker) { close(stopped); <-release }
	<-stopped
	defer close(release)
	const count = 30
	for i := range count {
		c.ask(effect.LaneFetch(i%3), to, 20*time.Second, heartbeat())
	}
	time.Sleep(20 * time.Millisecond) // some are sent
	c.close()
	seen := map[effect.CallID]bool{}
	for range count {
		a := c.answer()
		if a.Failure == effect.CallOK || seen[a.ID] {
			t.Errorf("%v", &a)
		}
		seen[a.ID] = true
	}
	c.ask(effect.LaneControl, to, time.Second, heartbeat())
	select {
	case a := <-c.answers:
		t.Errorf("%v after the links were closed", &a)
	case <-time.After(20 * time.Millisecond):
	}
}

func TestAResponseBeyondTheLimitEndsTheConnection(t *testing.T) {
	n, network, _ := calledNode(t, nil)
	rogue, err := network.Listen("rogue:1")
	if err != nil {
		t.Fatal(err)
	}
	defer rogue.Close()
	go func() {
		conn, err := rogue.Accept(t.Context())
		if err == nil {
			_, _ = conn.Write([]byte{0x7f, 0xff, 0xff, 0xff, 1, 2, 3})
		}
	}()
	c := newCaller(t, n, network, nil)
	c.ask(effect.LaneControl, effect.Address{Host: "rogue", Port: 1, Transport: effect.TransportMemory}, patience, heartbeat())
	if a := c.answer(); a.Failure != effect.CallUnreachable || !strings.Contains(a.Detail, fmt.Sprint(1<<31-1)) {
		t.Errorf("%v", &a)
	}
}

func TestClientsTakeNoNodesConnection(t *testing.T) {
	n, network, to := calledNode(t, func(c *config.Config) { c.Limits.ConnectionsMax, c.Limits.ConnectionRateMax = 3, 1 })
	for range 3 {
		conn, err := net.Dial("tcp", n.KafkaAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	for deadline := time.Now().Add(30 * time.Second); len(n.connections.all()) < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the clients are not taken in")
		}
	}
	c := newCaller(t, n, network, nil)
	for i := range 20 {
		c.ask(effect.LaneFetch(i), to, patience, heartbeat())
	}
	for range 20 {
		if a := c.answer(); a.Failure != effect.CallOK {
			t.Fatalf("%v", &a)
		}
	}
}

func TestNobodyGreetsAsANodeWhereClientsListen(t *testing.T) {
	n, network, _ := calledNode(t, nil)
	c := newCaller(t, n, network, nil)
	c.ask(effect.LaneControl, addressOf(t, n.KafkaAddr(), effect.TransportTCP), patience, heartbeat())
	if a := c.answer(); a.Failure != effect.CallUnreachable {
		t.Errorf("%v", &a)
	}
}

// TestClientsThatTakeAllDoNotCutNodesOff takes everything that clients may hold, and every turn at costly work.
func TestClientsThatTakeAllDoNotCutNodesOff(t *testing.T) {
	n, network, to := calledNode(t, nil)
	c := newCaller(t, n, network, nil)
	c.ask(effect.LaneControl, to, patience, heartbeat())
	if a := c.answer(); a.Failure != effect.CallOK {
		t.Fatalf("%v", &a)
	}
	hog := newConnection(n, 1<<40, unusedConn{}, "hog", "hog")
	for _, b := range []*budget{n.requests, n.responses} {
		if err := b.acquire(hog, b.limit, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	var turns []*costlyTurn
	for range processors() / 2 {
		turns = append(turns, n.enterCostly(hog))
	}
	for i := range 200 {
		c.ask(effect.LaneControl, to, patience, heartbeat())
		c.ask(effect.LaneControl, to, patience, &effect.QuorumMessages{Messages: [][]byte{make([]byte, 100_000)}})
		for range 2 {
			if a := c.answer(); a.Failure != effect.CallOK {
				t.Fatalf("call %d: %v", i, &a)
			}
		}
	}
	for _, turn := range turns {
		turn.leave()
	}
	n.requests.release(n.requests.limit)
	n.responses.release(n.responses.limit)
	c.close()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		held := []int64{n.clients.requests.held.Load(), n.clients.responses.held.Load(), n.nodes.requests.held.Load(), n.nodes.responses.held.Load()}
		if held[0]|held[1]|held[2]|held[3] == 0 && len(n.connections.all()) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("when all is over, %v bytes are held", held)
		}
	}
}

// TestANodesHeldBytesAreGivenBackWhateverEndsItsConnection ends connections while calls are under way.
func TestANodesHeldBytesAreGivenBackWhateverEndsItsConnection(t *testing.T) {
	n, network, to := calledNode(t, nil)
	for round := range 20 {
		c := newCaller(t, n, network, nil)
		for range 30 {
			c.ask(effect.LaneQuorum, to, patience, &effect.QuorumMessages{Messages: [][]byte{make([]byte, 20_000)}})
		}
		time.Sleep(time.Duration(round) * time.Millisecond / 4)
		if round%2 == 0 {
			for _, conn := range n.connections.all() {
				conn.close()
			}
		}
		c.close()
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		held := []int64{n.clients.requests.held.Load(), n.clients.responses.held.Load(), n.nodes.requests.held.Load(), n.nodes.responses.held.Load()}
		if held[0]|held[1]|held[2]|held[3] == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("when all is over, %v bytes are held", held)
		}
	}
}

// unusedConn is a connection that nobody uses.
type unusedConn struct{ transport.Conn }

func (unusedConn) RemoteAddr() net.Addr { return memory.Addr("hog") }
func (unusedConn) LocalAddr() net.Addr  { return memory.Addr("here") }

// TestTwoNodesCallEachOtherAtOnce lets two nodes, each with listeners of its own, call each other over TCP and QUIC.
func TestTwoNodesCallEachOtherAtOnce(t *testing.T) {
	const cluster = "one-cluster"
	type side struct {
		n *Node
		c *caller
	}
	var sides [2]side
	for i := range sides {
		n, _, _ := calledNode(t, func(c *config.Config) {
			c.NodeID = int32(i + 1)
			// A directory that was made for the cluster, as a weir one is: with its lock.
			identity := newIdentity(model.NodeID(i+1), cluster)
			lock := os.WriteFile(filepath.Join(c.DataDir, ".weir-lock"), nil, 0o600)
			if err := errors.Join(lock, writeIdentity(filepath.Join(c.DataDir, identityName), identity)); err != nil {
				t.Fatal(err)
			}
		})
		sides[i].n = n
	}
	for i := range sides {
		sides[i].c = newCaller(t, sides[1-i].n, nil, func(c *link.Config) { c.Self, c.ClusterID = model.NodeID(i+1), cluster })
	}
	const count = 50
	var group sync.WaitGroup
	for i := range sides {
		group.Go(func() {
			us, them := sides[i], sides[1-i].n
			to := []effect.Address{nodesAddress(t, them, effect.TransportTCP), nodesAddress(t, them, effect.TransportQUIC)}
			body := &effect.HeartbeatBroker{Broker: model.NodeID(i + 1)}
			for k := range count {
				us.c.call(&effect.Call{To: model.NodeID(2 - i), Address: to[k%2], Lane: effect.LaneFetch(k % 2), ID: effect.CallID(k), Timeout: model.Time(patience), Body: body})
			}
			for range count {
				select {
				case a := <-us.c.answers:
					if a.Failure != effect.CallOK || a.From != model.NodeID(2-i) {
						t.Errorf("node %d: %v", i+1, &a)
					}
				case <-time.After(30 * time.Second):
					t.Errorf("node %d: an answer is missing", i+1)
					return
				}
			}
		})
	}
	group.Wait()
}
