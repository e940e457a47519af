package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/session"
	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/tcp"
)

// connection is one client connection: a transport, the session's machine, and two goroutines, of which the
// writer is only there while there is something to write now and then.
//
//	reader: frame ─► session.Receive ─► events to the loop
//	writer: answers of loop and storage ─► session ─► response frames ─► transport
//
// The session is under mu; both goroutines use it, each for the work of one frame or one round of answers.
type connection struct {
	node *Node
	id   effect.ConnID
	conn transport.Conn
	peer string
	host string // of peer: what max.connections.per.ip counts by
	// isSuspect says that it came to another address than the advertised one, see advice. The reader's.
	isSuspect bool

	in reading

	mu      sync.Mutex
	session *session.Session
	out     session.Out
	frames  []session.Frame // to be written, in order
	// requests are those that were received and whose responses are not written, oldest first; the first
	// readyCount have their response. heldBytes is what they hold together.
	requests []inFlight
	// purse is what they are held by. It changes once, when the other end says that it is a node: see promote.
	purse      *purse
	readyCount int
	heldBytes  int64
	room       sync.Cond // of mu: a response was written, or the connection is closing
	closing    bool      // the writer sends what is there and closes

	answersMu sync.Mutex
	answers   []answer
	gone      bool // answers are dropped
	isWriting bool // there is a writer
	rests     bool // the writer is to leave if there is nothing to write
	writers   sync.WaitGroup

	wake     chan struct{} // the writer has something to look at
	closed   chan struct{} // closed when the connection is being torn down
	once     sync.Once
	panicked atomic.Bool  // the session is not to be used any more
	moved    atomic.Int64 // when bytes last arrived or left, in model.Time
	isNode   atomic.Bool  // another node is at the other end
}

// inFlight is one request without its response.
type inFlight struct {
	key      protocol.Key
	bytes    int64 // of queued.max.request.bytes
	reserved int64 // of queued.max.response.bytes
	received model.Time
}

type answerKind uint8

const (
	answerProduced answerKind = iota
	answerReply
	answerFetch
	answerClose
)

// answer is what the loop or storage has for a connection.
type answer struct {
	kind     answerKind
	produced effect.Produced
	reply    effect.Reply
	to       effect.RequestID
	fetch    *effect.FetchReply
	cause    string // of answerClose
}

func newConnection(n *Node, id effect.ConnID, conn transport.Conn, peer, host string) *connection {
	c := &connection{
		node: n, id: id, conn: conn, peer: peer, host: host,
		session: session.New(&n.sessions, id), purse: &n.clients,
		wake:   make(chan struct{}, 1),
		closed: make(chan struct{}),
	}
	c.session.ClientHost = clientHost(conn.RemoteAddr())
	c.session.ClientAddress = clientAddress(conn.RemoteAddr())
	c.room.L = &c.mu
	c.in.init(c)
	c.isSuspect = n.advice.suspects(conn.LocalAddr())
	c.touch()
	return c
}

// complain writes a line about the client, if the log has room for it.
func (c *connection) complain(why explain.Code, reason, fix string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.complainLocked(why, reason, fix)
}

// complainLocked is complain with mu held.
func (c *connection) complainLocked(why explain.Code, reason, fix string) {
	c.node.complaints.about(why, c.peer, reason, fix, zap.String("transport", c.conn.Transport()),
		zap.String("client_id", c.session.ClientID), zap.String("software", c.software()))
}

// software is what the client calls itself. mu is held.
func (c *connection) software() string {
	if c.session.SoftwareName == "" {
		return ""
	}
	return c.session.SoftwareName + " " + c.session.SoftwareVersion
}

// clientHost is a peer's address without its port, in the form that Kafka shows.
func clientHost(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		host = a.String()
	}
	return "/" + host
}

// clientAddress is a peer's address as 4 or 16 bytes, nil if it has none.
func clientAddress(a net.Addr) []byte {
	peer, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return nil
	}
	return peer.Addr().Unmap().AsSlice()
}

// serve runs the connection until it is over.
func (c *connection) serve() {
	c.finish(c.guard(c.read))
	<-c.closed
	c.answersMu.Lock()
	c.gone = true
	c.answersMu.Unlock()
	c.writers.Wait()
	c.teardown()
}

// guard runs a goroutine's work. Should what a client sent make the node panic on it, the connection is closed
// and the others live on: whatever else such a request would have done, it has not done, because only the
// session was at work on it. A panic while mu is held leaves the session as it is, so it is not used again.
func (c *connection) guard(work func() error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			c.node.metrics.Panics.Add(1)
			c.node.complaints.about(explain.ConnectionDefect, c.peer, fmt.Sprint(fault), "", zap.String("transport", c.conn.Transport()),
				zap.ByteString("stack", debug.Stack()))
			c.panicked.Store(true)
			err = errPanicked
		}
	}()
	return work()
}

var errPanicked = errors.New("the session panicked")

// finish ends reading. What was received before is still answered if the connection ends in an orderly way,
// which is when the node asked for it.
func (c *connection) finish(err error) {
	switch {
	case err == errStopping:
		// The node closes the connection when everything is answered.
		<-c.closed
	case err == errSession:
		// The writer sends what is there and closes.
	default:
		c.lost(err)
		c.close()
	}
}

// lost says why the connection ended, if that is worth saying.
func (c *connection) lost(err error) {
	var record tls.RecordHeaderError
	switch {
	case err == nil, errors.Is(err, errPanicked), transport.IsClosed(err):
	case errors.As(err, &record):
		c.complain(explain.WrongProtocolPlain, fmt.Sprintf("this listener serves TLS, and the client began with the bytes % x", record.RecordHeader), "")
	case errors.Is(err, tcp.ErrHandshake):
		c.complain(explain.TLSHandshakeFailed, err.Error(), "")
	default:
		c.node.log.Info("connection lost", zap.String("peer", c.peer), zap.Error(err))
	}
}

// close tears the transport down, which ends both goroutines.
func (c *connection) close() {
	c.once.Do(func() {
		close(c.closed)
		_ = c.conn.Close() // nobody is left to be told
		c.mu.Lock()
		c.closing = true
		c.room.Broadcast()
		c.mu.Unlock()
	})
}

// teardown runs when both goroutines are done: the session lets go of everything, and the broker hears.
func (c *connection) teardown() {
	c.node.connections.remove(c)
	c.answersMu.Lock()
	answers := c.answers
	c.answers = nil
	c.answersMu.Unlock()

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.panicked.Load() {
		c.out.Events = append(c.out.Events[:0], &broker.Disconnected{Conn: c.id})
		for i := range answers {
			answers[i].release()
		}
	} else {
		c.session.Disconnect(&c.out)
		c.take(answers)
	}
	for _, f := range c.frames {
		c.session.Recycle(f)
	}
	held, reserved := int64(0), int64(0)
	for i := range c.requests {
		held += c.requests[i].bytes
		reserved += c.requests[i].reserved
	}
	c.purse.responses.release(reserved)
	if c.isNode.Load() {
		c.purse.requests.release(held)
		held = 0
	}
	// Batches of unanswered requests may still wait to be written: what they hold is given back behind them.
	for i, ev := range c.out.Events {
		in := input{event: ev}
		if i == len(c.out.Events)-1 {
			in.unanswered = held
		}
		c.node.loop.push(in)
	}
	c.node.work.Add(-int64(len(answers)))
	c.frames, c.requests = nil, nil
	c.in.drop()
}

// post hands an answer to the writer. It may be called from any goroutine.
func (c *connection) post(a answer) {
	c.answersMu.Lock()
	if c.gone {
		c.answersMu.Unlock()
		a.release()
		return
	}
	c.node.work.Add(1)
	c.answers = append(c.answers, a)
	first := len(c.answers) == 1
	if first && !c.isWriting {
		c.startWriter()
	}
	c.answersMu.Unlock()
	if first {
		c.wakeWriter()
	}
}

// startWriter starts a writer. answersMu is held, and there is none.
func (c *connection) startWriter() {
	c.isWriting, c.rests = true, false
	c.writers.Go(func() {
		if c.guard(c.write) != nil {
			c.close()
		}
	})
}

// release lets go of an answer that nobody takes.
func (a *answer) release() {
	if a.kind != answerFetch {
		return
	}
	for i := range a.fetch.Parts {
		for _, r := range a.fetch.Parts[i].Records.Regions {
			r.Release()
		}
	}
}

// wakeWriter makes the writer look, and makes one if there is none.
func (c *connection) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// callWriter is wakeWriter for one who has not just seen that there is a writer.
func (c *connection) callWriter() {
	c.answersMu.Lock()
	c.rests = false
	if !c.isWriting && !c.gone {
		c.startWriter()
	}
	c.answersMu.Unlock()
	c.wakeWriter()
}

// take feeds answers to the session. mu is held.
func (c *connection) take(answers []answer) {
	c.session.See(c.node.published.Load())
	for i := range answers {
		a := &answers[i]
		switch a.kind {
		case answerProduced:
			c.session.Produced(a.produced, &c.out)
		case answerReply:
			c.session.Replied(a.reply, &c.out)
		case answerFetch:
			c.session.Fetched(a.to, a.fetch, &c.out)
		case answerClose:
			c.session.HangUp(a.cause, &c.out)
		}
	}
}

// drain carries out what the session wants. mu is held, so that a connection's events reach the loop in
// the order of its requests.
func (c *connection) drain() {
	for _, ev := range c.out.Events {
		in := input{event: ev}
		if p, ok := ev.(*broker.Produce); ok && p.Acks == 0 {
			in.unanswered = batchBytes(p)
		}
		c.node.loop.push(in)
	}
	if len(c.out.Frames) > 0 {
		c.ready(c.out.Frames)
		c.frames = append(c.frames, c.out.Frames...)
	}
	for _, b := range c.out.Free {
		c.node.buffers.put(b)
	}
	if c.out.Close != "" {
		c.closing = true
		switch c.out.CloseKind {
		case session.CloseUndecided: // the client has done nothing wrong
			c.node.log.Debug("a connection is closed", zap.String("client", c.peer), zap.String("reason", c.out.Close))
		case session.CloseMalformed:
			c.blame(explain.MalformedRequest)
		case session.CloseUnserved:
			c.blame(explain.UnknownRequest)
		case session.CloseRefused:
			c.blame(explain.RefusedUnanswered)
		}
	}
	c.out.Reset()
}

// blame says what the client did that its connection is closed for. mu is held.
func (c *connection) blame(why explain.Code) {
	c.node.metrics.Malformed.Add(1)
	c.complainLocked(why, c.out.Close, "")
}

// ready accounts for responses that were made: from now on a request holds what its response does. mu is held.
func (c *connection) ready(frames []session.Frame) {
	released, reserved, held := int64(0), int64(0), int64(0)
	for i := range frames {
		r := &c.requests[c.readyCount]
		c.readyCount++
		bytes := int64(frames[i].HeldBytes)
		c.node.costs.observe(r.key, bytes)
		released, reserved, held = released+r.bytes, reserved+r.reserved, held+bytes
		r.bytes, r.reserved = 0, bytes
	}
	c.heldBytes += held - released - reserved
	c.room.Signal()
	c.purse.requests.release(released)
	c.purse.responses.exchange(held, reserved)
}

// promote makes the connection another node's: what it holds is no client's any more. mu is held, and nothing is being
// read.
func (c *connection) promote() {
	held, reserved := int64(0), int64(0)
	for i := range c.requests {
		held += c.requests[i].bytes
		reserved += c.requests[i].reserved
	}
	from := c.purse
	c.purse = &c.node.nodes
	c.isNode.Store(true)
	c.purse.requests.exchange(held, 0)
	c.purse.responses.exchange(reserved, 0)
	from.requests.release(held)
	from.responses.release(reserved)
}

// nodeRequestBytesMax bounds what another node sends at a time: the largest is an image of the metadata.
const nodeRequestBytesMax = 1 << 30

// requestBytesMax is how large a request may be. socket.request.max.bytes is for clients.
func (c *connection) requestBytesMax() int {
	limit := int(c.node.config.Limits.RequestBytesMax)
	if c.isNode.Load() {
		return max(limit, nodeRequestBytesMax)
	}
	return limit
}

// touch says that the connection is alive.
func (c *connection) touch() { c.moved.Store(int64(c.node.clock.now())) }

// still is how long nothing has moved on the connection.
func (c *connection) still(now model.Time) model.Time { return now - model.Time(c.moved.Load()) }

// connections is every open connection by id.
type connections struct {
	mu     sync.RWMutex
	byID   map[effect.ConnID]*connection
	byHost map[string]int // clients
	// forNodes is how many came to where nodes listen.
	forNodes int
	last     effect.ConnID
}

// nodeConnectionsMax is what a thousand nodes need.
const nodeConnectionsMax = 4096

// add takes a connection in, unless there are too many or the node is stopping: why then says so.
// Who stops the node says so first and looks at the connections then: it sees all that were taken in.
func (cs *connections) add(n *Node, conn transport.Conn, peer, host string, forNodes bool) (c *connection, why string) {
	limits := &n.config.Limits
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch {
	case n.stopping():
		return nil, ""
	case forNodes: // clients must not take their places
		if cs.forNodes >= nodeConnectionsMax {
			return nil, fmt.Sprintf("%d are open at nodes.listener", cs.forNodes)
		}
	case len(cs.byID)-cs.forNodes >= int(limits.ConnectionsMax):
		return nil, fmt.Sprintf("max.connections=%d are open", limits.ConnectionsMax)
	case cs.byHost[host] >= int(limits.ConnectionsPerAddressMax):
		return nil, fmt.Sprintf("max.connections.per.ip=%d are open from %s", limits.ConnectionsPerAddressMax, host)
	}
	cs.last++
	c = newConnection(n, cs.last, conn, peer, host)
	c.session.ForNodes = forNodes
	cs.byID[c.id] = c
	if forNodes {
		cs.forNodes++
	} else {
		cs.byHost[host]++
	}
	n.metrics.Connections.Store(int64(len(cs.byID)))
	return c, ""
}

func (cs *connections) find(id effect.ConnID) *connection {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	return cs.byID[id]
}

func (cs *connections) remove(c *connection) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.byID, c.id)
	if c.session.ForNodes {
		cs.forNodes--
	} else if cs.byHost[c.host]--; cs.byHost[c.host] == 0 {
		delete(cs.byHost, c.host)
	}
	c.node.metrics.Connections.Store(int64(len(cs.byID)))
}

func (cs *connections) all() []*connection {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	out := make([]*connection, 0, len(cs.byID))
	for _, c := range cs.byID {
		out = append(out, c)
	}
	return out
}
