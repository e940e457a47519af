package client

import (
	"math"
	"slices"
	"strconv"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// cluster is what the producer, consumer and admin machines share: endpoints, connections, and the view
// of topics. It decides where a request can go and what became of it; the machine decides what to ask.
type cluster struct {
	cfg   Config
	owner owner
	draws uint64

	endpoints []*endpoint // ordered by node; bootstrap addresses have negative nodes and come first
	conns     []*conn     // ordered by id, which is by age
	lastConn  ConnID
	rotation  int // where the search for a control connection begins

	clusterID  string
	controller model.NodeID
	topics     topicTable
	refresh    refresh

	waiting []waitingCall // control calls without a ready connection, oldest first
	dialAt  model.Time    // when another connection may be dialled for them; 0 is not before something happens

	writers []*protocol.Writer // not in use
	closed  bool
	// patience is how late the answer to a request that any broker can answer may be before another is
	// asked. It doubles each time, so that a cluster that is slow as a whole is waited for.
	patience model.Time
	// quick is what patience begins with when a broker is in doubt: four times what the last answer took.
	quick   model.Time
	hurried bool // it is, since the last answer
}

// slowAfter is when an answer is late: a broker that froze or was cut off says nothing, and its
// partitions have other leaders long before the request times out. From then on we ask every slowAgain whether it is so.
const (
	slowAfter = second / 2
	slowAgain = second / 4
	// patienceFirst is when another broker is asked what any of them can answer.
	patienceFirst = second
)

// owner is the machine around a cluster.
type owner interface {
	// metadataUpdated says that topics or leaders may have changed.
	metadataUpdated(now model.Time, out *Out)
	// dataReady says that a data connection has room for a request.
	dataReady(now model.Time, c *conn, out *Out)
}

// call is one request on its way. Exactly one of answered and failed is called, once.
type call interface {
	key() protocol.Key
	// versions limits the version further than the codec and the broker do.
	versions() (versionMin, versionMax int16)
	encode(w *protocol.Writer, version int16)
	// answered decodes and handles the response's body. An error closes the connection, and then the
	// call has dealt with its own failure. r is nil for a request that gets no answer, once written.
	answered(now model.Time, version int16, r *protocol.Reader, out *Out) error
	// failed says that no answer will come. Unless sent, no broker has seen the request.
	failed(now model.Time, why Reason, sent bool, out *Out)
	// misplaced reports whether another broker should be asked, as far as we know now.
	misplaced() bool
}

// endpoint is an address that may be dialled.
type endpoint struct {
	node  model.NodeID
	addr  string
	conns [trafficCount]*conn
	// apiVersions is one more than the version of ApiVersions to begin with, 0 if that is not known.
	apiVersions int16
	failures    int        // in a row
	retryAt     model.Time // not dialled before
}

// waitingCall is a control call that waits for a connection.
type waitingCall struct {
	node     model.NodeID // anyNode, or the only one that will do
	call     call
	deadline model.Time
}

// anyNode is a target: whichever broker can be reached.
const anyNode model.NodeID = -1

// firstBootstrap is the node number of the first bootstrap address; the others follow downwards.
const firstBootstrap model.NodeID = -2

func (c *cluster) init(cfg Config, o owner) {
	invariant.Checkf(cfg.Validate() == nil, "a machine is made with a valid configuration: %v", cfg.Validate())
	c.cfg, c.owner = cfg, o
	c.controller = anyNode
	c.patience, c.quick = patienceFirst, slowAgain
	for i, addr := range cfg.Bootstrap {
		c.setEndpoint(firstBootstrap-model.NodeID(i), addr)
	}
}

// setEndpoint records a node's address and returns its endpoint. A changed address begins afresh; the
// connections to the old one are left to fail by themselves, since the broker may well be there.
func (c *cluster) setEndpoint(node model.NodeID, addr string) *endpoint {
	i, found := slices.BinarySearchFunc(c.endpoints, node, func(e *endpoint, n model.NodeID) int { return int(e.node) - int(n) })
	if !found {
		e := &endpoint{node: node, addr: addr}
		c.endpoints = slices.Insert(c.endpoints, i, e)
		return e
	}
	if e := c.endpoints[i]; e.addr != addr {
		e.addr, e.failures, e.retryAt, e.apiVersions = addr, 0, 0, 0
	}
	return c.endpoints[i]
}

func (c *cluster) endpointOf(node model.NodeID) *endpoint {
	i, found := slices.BinarySearchFunc(c.endpoints, node, func(e *endpoint, n model.NodeID) int { return int(e.node) - int(n) })
	if !found {
		return nil
	}
	return c.endpoints[i]
}

func (c *cluster) connOf(id ConnID) *conn {
	i, found := slices.BinarySearchFunc(c.conns, id, func(k *conn, id ConnID) int {
		switch {
		case k.id < id:
			return -1
		case k.id > id:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return c.conns[i]
}

// open returns the endpoint's connection for some traffic if it is ready, and otherwise sees to it that there will
// be one, unless the endpoint failed a moment ago.
func (c *cluster) open(now model.Time, e *endpoint, t traffic, out *Out) *conn {
	if k := e.conns[t]; k != nil {
		if k.state == ready {
			return k
		}
		return nil
	}
	if c.closed || now < e.retryAt {
		if t == data {
			c.wantRefresh() // somebody else may lead by now, and that is not to wait until this one is dialled again
		}
		return nil
	}
	c.lastConn++
	k := &conn{id: c.lastConn, endpoint: e, traffic: t, since: now, deadline: now + c.cfg.DialTimeout, doubtAt: now + slowAfter}
	e.conns[t] = k
	c.conns = append(c.conns, k)
	out.Dials = append(out.Dials, Dial{Conn: k.id, Addr: e.addr})
	return nil
}

// connected begins version negotiation.
func (c *cluster) connected(now model.Time, id ConnID, out *Out) {
	k := c.connOf(id)
	if k == nil || k.state != dialing {
		return
	}
	k.state = negotiating
	version := min(protocol.MaxVersion(protocol.KeyAPIVersions), apiVersionsFirst)
	if known := k.endpoint.apiVersions; known > 0 {
		version = min(version, known-1)
	}
	c.transmit(now, k, &versionsCall{cluster: c, conn: k}, version, c.cfg.DialTimeout, out)
}

// transmit writes a request on a connection.
func (c *cluster) transmit(now model.Time, k *conn, q call, version int16, timeout model.Time, out *Out) {
	w := c.writer()
	k.correlation++
	if k.correlation < 0 {
		k.correlation = 0
	}
	var h protocol.RequestHeader
	h.Key, h.Version, h.CorrelationID = q.key(), version, k.correlation
	h.ClientID = protocol.String(c.cfg.ClientID)
	w.BeginRequest(&h)
	q.encode(w, version)
	w.EndFrame()
	if err := w.Err(); err != nil {
		invariant.Checkf(false, "a request of ours encodes: %v", err)
	}
	pieces := make([][]byte, 0, 8)
	for _, p := range w.Pieces() {
		pieces = append(pieces, p.Bytes)
	}
	out.Sends = append(out.Sends, Send{Conn: k.id, Pieces: pieces})
	late := slowAfter
	if k.traffic == control {
		late = c.patience
	} else if h.Key == protocol.KeyFetch || k.traffic == coordination {
		late += max(0, timeout-c.cfg.RequestTimeout) // the broker may hold it
	}
	k.pending = append(k.pending, pending{
		correlation: k.correlation, key: h.Key, version: version, at: now, deadline: now + timeout, slowAt: now + late, call: q, writer: w,
	})
}

// written ends the oldest request, which gets no answer, as if it had been answered.
func (c *cluster) written(now model.Time, id ConnID, out *Out) {
	k := c.connOf(id)
	if k == nil || len(k.pending) == 0 || !k.pending[0].unanswered {
		return
	}
	p := k.shift()
	if err := p.call.answered(now, p.version, nil, out); err != nil {
		c.lose(now, k, err.Error(), Malformed, true, out)
		return
	}
	c.recycle(p.writer)
}

// send writes a request on a ready connection, in the newest common version.
func (c *cluster) send(now model.Time, k *conn, q call, timeout model.Time, out *Out) bool {
	invariant.Check(k.state == ready, "requests go to ready connections")
	v, ok := k.version(q)
	if !ok {
		q.failed(now, Unsupported, false, out)
		return false
	}
	if _, ok := q.(*refreshCall); ok {
		c.refresh.asked = k.endpoint.addr
	}
	c.transmit(now, k, q, v, timeout, out)
	return true
}

// submit sends a control request to a node (or anyNode) as soon as there is a connection, and fails it
// when there is none in time. One to a node fails when that cannot be reached: whoever asks it finds out whether another should be asked.
func (c *cluster) submit(now model.Time, node model.NodeID, q call, out *Out) {
	if c.closed {
		q.failed(now, Closed, false, out)
		return
	}
	if k := c.route(now, node, out); k != nil {
		c.send(now, k, q, c.cfg.RequestTimeout, out)
		return
	}
	c.waiting = append(c.waiting, waitingCall{node: node, call: q, deadline: now + c.cfg.RequestTimeout})
}

// route finds a ready control connection, or arranges for one.
func (c *cluster) route(now model.Time, node model.NodeID, out *Out) *conn {
	if node != anyNode {
		e := c.endpointOf(node)
		if e == nil {
			c.wantRefresh()
			return nil
		}
		if e.conns[control] == nil && now < e.retryAt {
			c.dialAt = soonest(c.dialAt, e.retryAt)
		}
		return c.open(now, e, control, out)
	}
	underway := false
	var silent *conn // better than nothing
	for _, k := range c.conns {
		if k.traffic != control {
			continue
		}
		if k.state == ready && !c.silent(now, k.endpoint.addr) {
			return k
		}
		if k.state == ready {
			silent = k
			continue
		}
		// One that takes long is no reason to wait for it alone.
		if at := k.since + c.patience; now < at {
			underway = true
			c.dialAt = soonest(c.dialAt, at)
		}
	}
	if silent != nil {
		return silent
	}
	if underway {
		return nil
	}
	// Nothing is under way: dial the next endpoint in turn. Bootstrap addresses take part for ever, so
	// that a client finds a cluster whose every broker has moved.
	for range c.endpoints {
		c.rotation = (c.rotation + 1) % len(c.endpoints)
		switch e := c.endpoints[c.rotation]; {
		case e.conns[control] != nil:
		case now >= e.retryAt:
			c.dialAt = soonest(c.dialAt, now+c.patience)
			return c.open(now, e, control, out)
		default:
			c.dialAt = soonest(c.dialAt, e.retryAt)
		}
	}
	return nil
}

// received takes one response frame, without its length prefix, into the machine's possession.
func (c *cluster) received(now model.Time, id ConnID, frame []byte, out *Out) {
	k := c.connOf(id)
	if k == nil || k.state == gone {
		return // closed by us; what still arrives means nothing
	}
	if len(k.pending) == 0 || k.pending[0].unanswered {
		c.lose(now, k, "an answer to no request", Malformed, true, out)
		return
	}
	p := k.shift()
	r := protocol.NewReader(frame, protocol.BudgetForClients())
	correlation := protocol.ReadResponseHeader(&r, p.key, p.version)
	if r.Err() != nil || correlation != p.correlation {
		p.call.failed(now, Malformed, true, out)
		c.lose(now, k, "an answer out of order", Malformed, true, out)
		return
	}
	if err := p.call.answered(now, p.version, &r, out); err != nil {
		c.lose(now, k, p.key.String()+": "+err.Error(), Malformed, true, out)
		return
	}
	k.endpoint.failures = 0
	if k.traffic == control && p.key != protocol.KeyAPIVersions {
		c.patience, c.hurried = patienceFirst, false
		c.quick = min(max(4*(now-p.at), slowAgain), patienceFirst)
	}
	// The request was answered, so its bytes have left; nobody looks at them any more.
	c.recycle(p.writer)
	if k.state == ready && k.traffic == data {
		c.owner.dataReady(now, k, out)
	}
}

// lose ends a connection and fails what was under way on it.
func (c *cluster) lose(now model.Time, k *conn, detail string, why Reason, hangUp bool, out *Out) {
	if k.state == gone {
		return
	}
	k.state = gone
	if i := slices.Index(c.conns, k); i >= 0 {
		c.conns = slices.Delete(c.conns, i, i+1)
	}
	e := k.endpoint
	if e.conns[k.traffic] == k {
		e.conns[k.traffic] = nil
	}
	e.failures++
	e.retryAt = now + c.backoff(e.failures)
	for _, same := range c.endpoints {
		if same.addr == e.addr { // a bootstrap address and the broker behind it
			same.retryAt = max(same.retryAt, e.retryAt)
		}
	}
	if hangUp {
		out.Closes = append(out.Closes, k.id)
	}
	if why != Closed {
		out.Notes = append(out.Notes, Note{Kind: NoteConnectionLost, Conn: k.id, Node: e.node, Detail: detail})
	}
	failed := k.pending
	k.pending = nil
	for i := range failed {
		failed[i].call.failed(now, why, true, out)
	}
	if k.traffic == control {
		c.disappoint(now, e.node, why, out)
	}
	// Whoever led here may lead no more.
	if e.node >= 0 {
		c.wantRefresh()
	}
}

// disappoint fails the calls that wait for a connection to a node.
func (c *cluster) disappoint(now model.Time, node model.NodeID, why Reason, out *Out) {
	var failed []waitingCall
	c.waiting = slices.DeleteFunc(c.waiting, func(w waitingCall) bool {
		if w.node == node {
			failed = append(failed, w)
		}
		return w.node == node
	})
	for _, w := range failed {
		w.call.failed(now, why, false, out)
	}
}

// disconnected is the driver's word that a connection is gone, or could not be made.
func (c *cluster) disconnected(now model.Time, id ConnID, detail string, out *Out) {
	if k := c.connOf(id); k != nil {
		c.lose(now, k, detail, Lost, false, out)
	}
}

// desert gives up connections whose answers are late and asked for elsewhere by now.
func (c *cluster) desert(now model.Time, out *Out) {
	for i := 0; i < len(c.conns); {
		if k := c.conns[i]; k.slow && k.misplaced() {
			c.lose(now, k, "no answer so far, and others lead", Lost, true, out)
			i = 0
			continue
		}
		i++
	}
}

// silent reports whether the broker at an address owes an answer for so long that another should be asked.
func (c *cluster) silent(now model.Time, addr string) bool {
	return slices.ContainsFunc(c.conns, func(k *conn) bool {
		return k.endpoint.addr == addr && (k.slow && len(k.pending) > 0 || k.state != ready && now >= k.since+slowAfter)
	})
}

// mute keeps requests from a connection for as long as its broker asked (KIP-219).
func (c *cluster) mute(now model.Time, node model.NodeID, throttleMs int32) {
	if e := c.endpointOf(node); throttleMs > 0 && e != nil && e.conns[data] != nil {
		e.conns[data].mutedUntil = now + min(model.Time(throttleMs)*millisecond, c.cfg.RequestTimeout)
	}
}

// negotiated makes a connection ready.
func (c *cluster) negotiated(now model.Time, k *conn, versions []versionRange, out *Out) {
	k.versions = versions
	k.state = ready
	k.deadline = 0
	out.Notes = append(out.Notes, Note{Kind: NoteConnected, Conn: k.id, Node: k.endpoint.node, Detail: k.endpoint.addr})
}

// tick does what time asks for: give up on silent connections, send what waits, refresh metadata.
func (c *cluster) tick(now model.Time, out *Out) {
	for i := 0; i < len(c.conns); {
		k := c.conns[i]
		if d := k.expiry(); d != 0 && now >= d {
			c.lose(now, k, "no answer in time", Lost, true, out)
			i = 0 // failing its calls may have ended others
			continue
		}
		if k.isDoubtful() && now >= k.doubtAt {
			k.doubtAt = now + slowAgain
			if k.traffic == data {
				c.doubt(k.endpoint.addr)
			} else {
				c.disappoint(now, k.endpoint.node, Lost, out)
			}
		}
		if k.traffic == control && k.state == ready {
			if c.tickControl(now, k, out) {
				i = 0
				continue
			}
		} else if len(k.pending) > 0 && now >= k.pending[0].slowAt && k.state == ready {
			p := &k.pending[0]
			k.slow = true
			p.slowAt = now + slowAgain
			if p.call.misplaced() {
				c.lose(now, k, "no answer so far, and others lead", Lost, true, out)
				i = 0
				continue
			}
			c.doubt(k.endpoint.addr)
		}
		i++
	}
	c.tickRefresh(now, out)
	c.sendWaiting(now, out)
}

// tickControl gives up what others can answer when that is late, and the connection with it if nothing else waits there. It reports whether
// the connection is lost.
func (c *cluster) tickControl(now model.Time, k *conn, out *Out) bool {
	given := false
	for i := 0; i < len(k.pending); i++ {
		p := &k.pending[i]
		if p.slowAt == 0 || now < p.slowAt {
			continue
		}
		p.slowAt = now + slowAgain
		k.slow = k.slow || i == 0
		if !p.call.misplaced() {
			if i == 0 {
				c.doubt(k.endpoint.addr)
			}
			continue
		}
		if !given {
			given = true
			c.patience = min(2*c.patience, c.cfg.RequestTimeout)
		}
		if !slices.ContainsFunc(k.pending, func(p pending) bool { return !p.call.misplaced() }) {
			c.lose(now, k, "no answer so far, others may", Lost, true, out)
			return true
		}
		q := p.call
		p.call, p.slowAt = abandoned{q.key()}, 0
		q.failed(now, Lost, true, out)
		c.doubt(k.endpoint.addr)
	}
	return false
}

// abandoned is a call that is asked for elsewhere, while others wait for this very broker.
type abandoned struct{ which protocol.Key }

func (q abandoned) key() protocol.Key                                        { return q.which }
func (q abandoned) versions() (int16, int16)                                 { return 0, math.MaxInt16 }
func (q abandoned) encode(*protocol.Writer, int16)                           {}
func (q abandoned) answered(model.Time, int16, *protocol.Reader, *Out) error { return nil }
func (q abandoned) failed(model.Time, Reason, bool, *Out)                    {}
func (q abandoned) misplaced() bool                                          { return true }

// sendWaiting sends the control calls that can be sent, and fails those whose time is up.
func (c *cluster) sendWaiting(now model.Time, out *Out) {
	if len(c.waiting) == 0 {
		return
	}
	calls := c.waiting
	c.waiting, c.dialAt = nil, 0 // calls may submit more
	for _, w := range calls {
		if now >= w.deadline {
			w.call.failed(now, TimedOut, false, out)
		} else if w.node != anyNode && w.call.misplaced() {
			w.call.failed(now, Lost, false, out) // while it waited another took over
		} else if k := c.route(now, w.node, out); k != nil {
			c.send(now, k, w.call, c.cfg.RequestTimeout, out)
		} else {
			c.waiting = append(c.waiting, w)
		}
	}
}

// deadline is when tick has something to do; 0 is never.
func (c *cluster) deadline() model.Time {
	if c.closed {
		return 0
	}
	var d model.Time
	for _, k := range c.conns {
		d = soonest(d, k.expiry())
		if k.isDoubtful() {
			d = soonest(d, k.doubtAt)
		}
		for i := range k.pending {
			if k.state == ready && (i == 0 || k.traffic == control) {
				d = soonest(d, k.pending[i].slowAt)
			}
		}
	}
	for i := range c.waiting {
		d = soonest(d, c.waiting[i].deadline)
	}
	if len(c.waiting) > 0 {
		d = soonest(d, c.dialAt)
	}
	return soonest(d, c.refreshDeadline())
}

// close ends everything; calls under way fail with Closed.
func (c *cluster) close(now model.Time, out *Out) {
	c.closed = true
	for len(c.conns) > 0 {
		c.lose(now, c.conns[0], "the client was closed", Closed, true, out)
	}
	calls := c.waiting
	c.waiting = nil
	for _, w := range calls {
		w.call.failed(now, Closed, false, out)
	}
}

func (c *cluster) writer() *protocol.Writer {
	if n := len(c.writers); n > 0 {
		w := c.writers[n-1]
		c.writers = c.writers[:n-1]
		w.Reset()
		return w
	}
	return new(protocol.Writer)
}

func (c *cluster) recycle(w *protocol.Writer) {
	const keepMax = 16
	if w != nil && len(c.writers) < keepMax {
		c.writers = append(c.writers, w)
	}
}

// soonest is the earlier of two deadlines, 0 being none.
func soonest(a, b model.Time) model.Time {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func hostPort(host string, port int32) string {
	for i := range len(host) {
		if host[i] == ':' {
			return "[" + host + "]:" + strconv.Itoa(int(port)) // IPv6
		}
	}
	return host + ":" + strconv.Itoa(int(port))
}

// check verifies what must hold between steps.
func (c *cluster) check() error {
	for i, k := range c.conns {
		switch {
		case i > 0 && c.conns[i-1].id >= k.id:
			return errorf("connections out of order at %d", k.id)
		case k.endpoint.conns[k.traffic] != k:
			return errorf("connection %d is not its endpoint's", k.id)
		case k.state == gone:
			return errorf("connection %d is gone and listed", k.id)
		}
	}
	return c.topics.check()
}
