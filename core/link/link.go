package link

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// Config is what a link is made with.
type Config struct {
	Self        model.NodeID
	Incarnation model.IncarnationID
	ClusterID   string
	To          model.NodeID
	// Version is this program's, as the other node's log shows it: letters, digits, dots and hyphens.
	Version string

	// ConnectTimeout bounds dialling and greeting together.
	ConnectTimeout model.Time
	// BackoffMin is how long the link waits after the first failure; the wait doubles up to BackoffMax.
	BackoffMin, BackoffMax model.Time
	// IdleTimeout closes a connection on which nothing was asked for so long.
	IdleTimeout model.Time

	// What was sent and is not answered, and what waits. A single call may be larger than either.
	InFlightMax, InFlightBytesMax int
	WaitingMax, WaitingBytesMax   int
	// FrameBytesMax bounds a response.
	FrameBytesMax int
	Budget        protocol.Budget
}

// DefaultConfig is what a node starts from.
func DefaultConfig() Config {
	const ms, second = model.Time(1e6), model.Time(1e9)
	return Config{
		Version: "0", ConnectTimeout: 2 * second, BackoffMin: 20 * ms, BackoffMax: second, IdleTimeout: 300 * second,
		InFlightMax: 64, InFlightBytesMax: 16 << 20, WaitingMax: 1024, WaitingBytesMax: 64 << 20,
		FrameBytesMax: 128 << 20, Budget: protocol.BudgetForClients(),
	}
}

// Link is one lane to one node. It must be used by one goroutine at a time.
type Link struct {
	config  Config
	address effect.Address
	state   state

	waiting      []*call // to be sent, oldest first
	waitingBytes int
	sent         []*call // not answered by the other node, oldest first; some were answered for it
	sentBytes    int
	expires      model.Time // no call's time is up before; 0: there is none

	connectBy  model.Time // while dialling and greeting
	readySince model.Time
	receivedAt model.Time // when something came last
	usedAt     model.Time // when a call was made or answered last, while there is a connection
	retryAt    model.Time // while backing off
	failures   int        // in a row
	trouble    string     // why the last connection failed

	correlation int32 // of the next request of this connection
	greeted     int   // answers to greetings so far
	versions    [protocol.KeyPlaceCount]versionRange

	reader  protocol.Reader
	fetch   protocol.FetchRequest
	fetched protocol.FetchResponse
	parts   map[model.TopicPartition]int // of the answer that is read, to find those that it has twice
	writers []*protocol.Writer
	free    []*call
}

type versionRange struct {
	known    bool
	min, max int16
}

type state uint8

const (
	idle state = iota
	dialling
	greeting
	ready
	backingOff
)

func (s state) String() string {
	return [...]string{"idle", "dialling", "greeting", "ready", "backing off"}[s]
}

// Out collects what a link wants done, in this order: Close, Dial, Frames. Answers go to the loop. The driver carries
// it out and resets it.
type Out struct {
	// Close, unless empty, says why the connection must be closed, or dialling given up. Nothing is heard of it any more.
	Close string
	// Refused says that Close is for another node or cluster at the other end, which an operator must see to.
	Refused bool
	// Dial asks for a connection to Address: Connected or Lost is the answer.
	Dial    bool
	Address effect.Address
	// Frames are requests to be sent in this order; each is given back by Recycle.
	Frames  []Frame
	Answers []effect.Answer
	// Free are response frames that nothing refers to any more. The others belong to their answers.
	Free [][]byte
}

// Reset empties the Out and keeps its memory.
func (o *Out) Reset() {
	clear(o.Frames)
	clear(o.Answers)
	clear(o.Free)
	*o = Out{Frames: o.Frames[:0], Answers: o.Answers[:0], Free: o.Free[:0]}
}

// Frame is one request, length prefix included.
type Frame struct {
	Pieces      []protocol.Piece
	Key         protocol.Key
	Version     int16
	Correlation int32
	LenBytes    int
	writer      *protocol.Writer
}

// call is one call that has no answer from the other node.
type call struct {
	id       effect.CallID
	body     effect.CallBody
	bytes    int
	deadline model.Time
	// Of one that was sent:
	key         protocol.Key
	version     int16
	correlation int32
	sentAt      model.Time
	answered    bool // its time was up
}

// New makes a link that has no connection.
func New(config Config) *Link {
	return &Link{config: config, parts: make(map[model.TopicPartition]int)}
}

// Call takes a call in.
func (l *Link) Call(now model.Time, c *effect.Call, out *Out) {
	invariant.Check(c.To == l.config.To, "a link calls its own node")
	if c.Address != l.address {
		if l.state == dialling || l.state == greeting || l.state == ready {
			l.drop(now, "the node has another address: "+c.Address.String(), out)
		}
		l.address, l.state, l.failures = c.Address, idle, 0 // what failed was another address
	}
	size := sizeOf(c.Body)
	if n := len(l.waiting); n > 0 && (n >= l.config.WaitingMax || l.waitingBytes+size > l.config.WaitingBytesMax) {
		l.answer(c.ID, effect.CallUnreachable, "too many calls wait", nil, out)
		l.advance(now, out) // the others may have another address now
		return
	}
	k := l.newCall()
	*k = call{id: c.ID, body: c.Body, bytes: size, deadline: now + max(0, c.Timeout)}
	l.waiting = append(l.waiting, k)
	l.waitingBytes += size
	if l.expires == 0 || k.deadline < l.expires {
		l.expires = max(1, k.deadline)
	}
	l.usedAt = now
	l.advance(now, out)
}

// Pending is how many calls have no answer.
func (l *Link) Pending() int {
	n := len(l.waiting)
	for _, k := range l.sent {
		if !k.answered {
			n++
		}
	}
	return n
}

// Resting reports that the link has no connection, wants none, and remembers no failure: a new one would be the same.
func (l *Link) Resting() bool { return l.state == idle && l.Pending() == 0 }

// FrameBytesMax is how large a response may be now. A larger one is to be taken for a lost connection.
func (l *Link) FrameBytesMax() int {
	if l.state == ready {
		return l.config.FrameBytesMax
	}
	return greetingBytesMax
}

// greetingBytesMax bounds the answers of a stranger.
const greetingBytesMax = 64 << 10

// advance does what can be done at once.
func (l *Link) advance(now model.Time, out *Out) {
	if l.state == backingOff && now >= l.retryAt {
		l.state = idle
	}
	switch l.state {
	case idle:
		if len(l.waiting) > 0 {
			l.dial(now, out)
		}
	case ready:
		l.sendWaiting(now, out)
	case dialling, greeting, backingOff:
	}
}

// Tick does what was due by now.
func (l *Link) Tick(now model.Time, out *Out) {
	if l.expires != 0 && l.expires <= now {
		l.expire(now, out)
	}
	switch {
	case (l.state == dialling || l.state == greeting) && l.connectBy <= now:
		what := "no connection"
		if l.state == greeting {
			what = "no answer to the greeting"
		}
		l.drop(now, what+" in time", out)
	case l.state == ready && l.Pending() == 0 && l.usedAt+l.config.IdleTimeout <= now:
		l.drop(now, "nothing was asked for a long time", out)
		l.state, l.failures = idle, 0
	}
	l.advance(now, out)
}

// Deadline is when Tick must be called next; 0 means never.
func (l *Link) Deadline() model.Time {
	d := l.expires
	pending := l.Pending()
	if pending == 0 {
		d = 0 // it was of calls that are answered
	}
	sooner := func(t model.Time) {
		if t = max(1, t); d == 0 || t < d {
			d = t
		}
	}
	switch l.state {
	case dialling, greeting:
		sooner(l.connectBy)
	case ready:
		if pending == 0 {
			sooner(l.usedAt + l.config.IdleTimeout)
		}
	case backingOff:
		if len(l.waiting) > 0 {
			sooner(l.retryAt)
		}
	case idle:
	}
	return d
}

// Stop answers every call and closes the connection. The link may be used again.
func (l *Link) Stop(now model.Time, why string, out *Out) {
	if l.state != idle && l.state != backingOff {
		l.drop(now, why, out)
	}
	l.refuseWaiting(effect.CallUnreachable, why, out)
	l.state, l.failures, l.expires = idle, 0, 0
}

// answer reports what became of a call.
func (l *Link) answer(id effect.CallID, failure effect.CallFailure, detail string, body effect.AnswerBody, out *Out) {
	out.Answers = append(out.Answers, effect.Answer{From: l.config.To, ID: id, Failure: failure, Detail: detail, Body: body})
}

// close asks for the connection to be closed. What was to be sent on it is not.
func (o *Out) close(why string) {
	o.Close, o.Dial, o.Refused = why, false, false
}

func (l *Link) newCall() *call {
	if n := len(l.free); n > 0 {
		k := l.free[n-1]
		l.free = l.free[:n-1]
		return k
	}
	return new(call)
}

// forget lets go of a call that is answered.
func (l *Link) forget(k *call) {
	*k = call{}
	if len(l.free) < 64 {
		l.free = append(l.free, k)
	}
}

// Check verifies the link's invariants, for tests.
func (l *Link) Check() error { return l.check() }
