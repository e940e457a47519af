package workload

import (
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/sim/draw"
)

// caller speaks the protocol itself, where a program wants to say what the client machines would not: it has
// one connection, asks the broker what it serves, and sends each request in some version that both know.
//
//	          ask               connected, ApiVersions answered
//	closed ───────► connecting ────────────────────────────────► open
//	   ▲                 lost, out of patience                     │
//	   └───────────────────────────────────────────────────────────┘
//
// Where there are several nodes it asks another when it loses one, or is told to.
//
// Whatever was asked and not answered when the connection goes has an unknown outcome: its answer is nil.
type caller struct {
	g    *group
	name string
	rand *draw.Stream
	line *Line

	conn, last  client.ConnID // conn is 0 when closed
	addr        string        // whom it asks; "" is not decided yet
	found       bool          // that is the coordinator that was looked for
	open        bool
	ranges      map[protocol.Key]versions
	correlation int32
	queue       []*call // asked before the connection was open
	waiting     []*call // sent, oldest first
	since       model.Time
	writer      protocol.Writer
}

type versions struct{ min, max int16 }

// call is one request.
type call struct {
	request     protocol.Message
	version     int16
	wish        versions
	correlation int32
	deadline    model.Time
	answer      func(now model.Time, m protocol.Message)
}

func newCaller(g *group, name string, r *draw.Stream, line *Line) *caller {
	c := &caller{g: g, name: name, rand: r, line: line}
	line.Machine = (*callerMachine)(c)
	return c
}

// dialPatience bounds connecting and the first question.
const dialPatience = 500 * millisecond

// knows reports whether the broker has said what it serves. If not, it is asked.
func (c *caller) knows(now model.Time) bool {
	if c.ranges == nil {
		c.connect(now)
	}
	return c.ranges != nil
}

// serves reports whether the broker serves a key in a version of a range.
func (c *caller) serves(k protocol.Key, wish versions) bool {
	v, ok := c.ranges[k]
	return ok && min(v.max, wish.max) >= max(v.min, wish.min)
}

// ask sends a request, in a version of a range, and hands its answer on; nil if none came in time.
func (c *caller) ask(now model.Time, m protocol.Message, wish versions, patience model.Time, answer func(model.Time, protocol.Message)) {
	k := &call{request: m, wish: wish, deadline: now + patience, answer: answer}
	if c.open {
		c.send(k)
		return
	}
	c.queue = append(c.queue, k)
	c.connect(now)
}

// asked reports whether something is under way.
func (c *caller) asked() bool { return len(c.queue)+len(c.waiting) > 0 }

func (c *caller) connect(now model.Time) {
	if c.conn != 0 {
		return
	}
	c.last++
	c.conn, c.open, c.since = c.last, false, now
	if c.addr == "" {
		c.addr = c.g.spec.Addrs[0]
		if n := len(c.g.spec.Addrs); n > 1 {
			c.addr = c.g.spec.Addrs[c.rand.Intn(n)]
		}
	}
	c.line.Out.Dials = append(c.line.Out.Dials, client.Dial{Conn: c.conn, Addr: c.addr})
}

// node is the number of the node that is asked, counted from 1; 0 if that is not decided.
func (c *caller) node() int { return slices.Index(c.g.spec.Addrs, c.addr) + 1 }

// turn asks somebody from now on.
func (c *caller) turn(now model.Time, addr string) {
	if c.addr != addr {
		c.hangUp(now)
		c.addr = addr
	}
}

// roam asks anybody from now on, where there are several: whoever was asked does not lead.
func (c *caller) roam(now model.Time) {
	if n := len(c.g.spec.Addrs); n > 1 {
		c.turn(now, c.g.spec.Addrs[c.rand.Intn(n)])
	}
}

func (c *caller) send(k *call) {
	key := k.request.Key()
	v := c.ranges[key]
	if key == protocol.KeyAPIVersions {
		v = k.wish
	}
	k.version = int16(c.rand.Between(int64(max(v.min, k.wish.min, protocol.MinVersion(key))), int64(min(v.max, k.wish.max))))
	c.correlation++
	k.correlation = c.correlation
	w := &c.writer
	w.Reset()
	w.BeginRequest(&protocol.RequestHeader{Key: key, Version: k.version, CorrelationID: k.correlation, ClientID: protocol.String(c.name)})
	k.request.Encode(w, k.version)
	w.EndFrame()
	frame, err := w.AppendTo(nil)
	if err != nil {
		c.g.Fail("client", fmt.Sprintf("%s: %v v%d: %v", c.name, key, k.version, err))
		return
	}
	c.waiting = append(c.waiting, k)
	c.line.Out.Sends = append(c.line.Out.Sends, client.Send{Conn: c.conn, Pieces: [][]byte{frame}})
}

// hangUp gives the connection up, and with it the hope for answers.
func (c *caller) hangUp(now model.Time) {
	if c.conn != 0 {
		c.line.Out.Closes = append(c.line.Out.Closes, c.conn)
	}
	c.lost(now)
}

func (c *caller) lost(now model.Time) {
	c.conn, c.open = 0, false
	if len(c.g.spec.Addrs) > 1 {
		c.addr, c.found = "", false
	}
	gone := slices.Concat(c.waiting, c.queue)
	c.waiting, c.queue = nil, nil
	for _, k := range gone {
		k.answer(now, nil)
	}
}

// callerMachine is a caller as its driver sees it.
type callerMachine caller

func (m *callerMachine) Connected(now model.Time, id client.ConnID, _ *client.Out) {
	c := (*caller)(m)
	if id != c.conn {
		return
	}
	hello := &protocol.APIVersionsRequest{ClientSoftwareName: "sim", ClientSoftwareVersion: "1"}
	c.send(&call{request: hello, wish: versions{0, 3}, deadline: now + dialPatience, answer: c.told})
}

// told takes what the broker serves, and sends what has been waiting for that.
func (c *caller) told(_ model.Time, m protocol.Message) {
	in, ok := m.(*protocol.APIVersionsResponse)
	if !ok {
		return
	}
	c.ranges = map[protocol.Key]versions{}
	for _, k := range in.APIKeys {
		c.ranges[protocol.Key(k.APIKey)] = versions{k.MinVersion, k.MaxVersion}
	}
	c.open = true
	queue := c.queue
	c.queue = nil
	for _, k := range queue {
		c.send(k)
	}
}

func (m *callerMachine) Received(now model.Time, id client.ConnID, frame []byte, _ *client.Out) {
	c := (*caller)(m)
	if id != c.conn {
		return
	}
	if len(c.waiting) == 0 {
		c.g.Fail("client", c.name+": a response that nobody asked for")
		return
	}
	k := c.waiting[0]
	c.waiting = c.waiting[1:]
	key := k.request.Key()
	r := protocol.NewReader(frame, protocol.BudgetForClients())
	correlation := protocol.ReadResponseHeader(&r, key, k.version)
	body := protocol.NewResponse(key)
	body.Decode(&r, k.version)
	if err := r.Finish(); err != nil || correlation != k.correlation {
		c.g.Fail("client", fmt.Sprintf("%s: the response to %v v%d: correlation id %d instead of %d, %v", c.name, key, k.version, correlation, k.correlation, err))
		return
	}
	k.answer(now, body)
}

func (m *callerMachine) Disconnected(now model.Time, id client.ConnID, _ string, _ *client.Out) {
	if c := (*caller)(m); id == c.conn {
		c.lost(now)
	}
}

func (m *callerMachine) Tick(now model.Time, _ *client.Out) {
	if d := m.Deadline(); d != 0 && d <= now {
		(*caller)(m).hangUp(now)
	}
}

func (m *callerMachine) Deadline() model.Time {
	c := (*caller)(m)
	d := model.Time(0)
	if c.conn != 0 && !c.open {
		d = c.since + dialPatience
	}
	for _, list := range [][]*call{c.waiting, c.queue} {
		for _, k := range list {
			if d == 0 || k.deadline < d {
				d = k.deadline
			}
		}
	}
	return d
}

func (m *callerMachine) Written(model.Time, client.ConnID, *client.Out) {}
func (m *callerMachine) Close(now model.Time, _ *client.Out)            { (*caller)(m).hangUp(now) }
func (m *callerMachine) Check() error                                   { return nil }
