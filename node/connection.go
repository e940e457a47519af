package node

import (
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/session"
	"github.com/weirmq/weir/transport"
)

// connection is one client connection: a transport, the session's machine, and two goroutines.
//
//	reader: frame ─► session.Receive ─► events to the loop
//	writer: answers of loop and storage ─► session ─► response frames ─► transport
//
// The session is under mu; both goroutines use it, each for the work of one frame or one round of answers.
type connection struct {
	node *Node
	id   effect.ConnID
	conn transport.Conn
	log  *zap.Logger

	in reading

	mu      sync.Mutex
	session *session.Session
	out     session.Out
	frames  []session.Frame // to be written, in order
	// requests are those that were received and whose responses are not written, oldest first.
	requests     []inFlight
	requestBytes int64
	room         sync.Cond // of mu: a response was written, or the connection is closing
	closing      bool      // the writer sends what is there and closes

	answersMu sync.Mutex
	answers   []answer
	gone      bool // answers are dropped

	wake   chan struct{} // the writer has something to look at
	closed chan struct{} // closed when the connection is being torn down
	once   sync.Once
	active atomic.Int64 // when something last arrived or left, in model.Time
}

// inFlight is one request without its response.
type inFlight struct {
	key      protocol.Key
	bytes    int64
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

func newConnection(n *Node, id effect.ConnID, conn transport.Conn) *connection {
	c := &connection{
		node: n, id: id, conn: conn,
		log:     n.log.With(zap.String("peer", conn.RemoteAddr().String()), zap.String("transport", conn.Transport())),
		session: session.New(&n.sessions, id),
		wake:    make(chan struct{}, 1),
		closed:  make(chan struct{}),
	}
	c.room.L = &c.mu
	c.in.init(c)
	c.touch()
	return c
}

// serve runs the connection until it is over.
func (c *connection) serve() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	err := c.read()
	c.finish(err)
	<-written
	c.teardown()
}

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
		if err != nil && !transport.IsClosed(err) {
			c.log.Info("connection lost", zap.Error(err))
		}
		c.close()
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
	c.gone = true
	answers := c.answers
	c.answers = nil
	c.answersMu.Unlock()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.session.Disconnect(&c.out)
	c.take(answers)
	for _, f := range c.frames {
		c.session.Recycle(f)
	}
	// Batches of unanswered requests may still wait to be written: what they hold is given back behind them.
	for i, ev := range c.out.Events {
		in := input{event: ev}
		if i == len(c.out.Events)-1 {
			in.unanswered = c.requestBytes
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
	c.answersMu.Unlock()
	if first {
		c.wakeWriter()
	}
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

func (c *connection) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take feeds answers to the session. mu is held.
func (c *connection) take(answers []answer) {
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
	c.frames = append(c.frames, c.out.Frames...)
	for _, b := range c.out.Free {
		c.node.buffers.put(b)
	}
	if c.out.Close != "" {
		c.closing = true
		c.node.metrics.Malformed.Add(1)
		c.log.Warn("connection closed because of what the client sent", zap.String("reason", c.out.Close),
			zap.String("client_id", c.session.ClientID), zap.String("software", c.session.SoftwareName+" "+c.session.SoftwareVersion))
	}
	c.out.Reset()
}

func (c *connection) touch() { c.active.Store(int64(c.node.clock.now())) }

// connections is every open connection by id.
type connections struct {
	mu   sync.RWMutex
	byID map[effect.ConnID]*connection
	last effect.ConnID
}

// add takes a connection in, unless there are too many or the node is stopping. Who stops the node says so
// first and looks at the connections then: it sees all that were taken in.
func (cs *connections) add(n *Node, conn transport.Conn, limit int) *connection {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.byID) >= limit || n.stopping() {
		return nil
	}
	cs.last++
	c := newConnection(n, cs.last, conn)
	cs.byID[c.id] = c
	n.metrics.Connections.Store(int64(len(cs.byID)))
	return c
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
