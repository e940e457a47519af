package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/session"
	"github.com/weirmq/weir/node/explain"
)

const (
	// firstBytes is what a request may claim before any of it has arrived: more is taken as bytes come in,
	// unless the connection has proved itself with a frame of half that size.
	firstBytes = 4 << 10
	// provenBytesMax is the largest size that a connection can prove itself for.
	provenBytesMax = 1 << 20
	// connectionShare is the part of a budget that one connection may hold.
	connectionShare = 4
	// quietAfter is when a connection on which no request comes gives back its buffers.
	quietAfter = 3 * time.Second
)

var errSession = errors.New("the session closed the connection")

// reading is the reader's own state.
type reading struct {
	c       *connection
	r       inlet
	frame   []byte       // being read
	charged int64        // what the frame holds of the budget
	holds   atomic.Int64 // charged, for others to see
	awaits  atomic.Bool  // the frame waits for the budget, and not for the client
	proven  int          // the largest frame that arrived whole
	first   bool         // nothing has arrived yet
	until   time.Time    // the read deadline that is set
}

func (in *reading) init(c *connection) {
	in.c, in.first = c, true
	in.r.init(c.conn, &c.node.buffers)
}

// drop gives back what a frame that will never be whole held.
func (in *reading) drop() {
	in.c.purse.requests.whole(in.c)
	in.c.purse.requests.release(in.charged)
	in.frame, in.charged = nil, 0
	in.holds.Store(0)
	in.r.drop()
}

// read takes in requests until the connection or the node ends.
func (c *connection) read() error {
	for {
		if !c.waitRoom() {
			return errSession
		}
		if err := c.in.next(); err != nil {
			return err
		}
		c.touch()
		if err := c.receive(); err != nil {
			return err
		}
	}
}

// waitRoom waits while the connection has too much in flight. It is false when the connection is closing.
func (c *connection) waitRoom() bool {
	limits := &c.node.config.Limits
	share := min(limits.QueuedBytesMax, limits.QueuedResponseBytesMax) / connectionShare
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closing && len(c.requests) > 0 && (len(c.requests) >= int(limits.InFlightMax) || c.heldBytes >= share || c.alone()) {
		c.room.Wait()
	}
	return !c.closing
}

// waitAnswered waits until all that was received before has its answer. It is false when the connection is
// closing.
func (c *connection) waitAnswered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closing && c.readyCount < len(c.requests) {
		c.room.Wait()
	}
	return !c.closing
}

// alone reports that the request received last must be answered before the next is read. mu is held.
func (c *connection) alone() bool {
	last := &c.requests[len(c.requests)-1]
	return len(c.requests) > c.readyCount && !pipelined(last.key)
}

// pipelined are the requests that a connection may have many of in flight: those that wait for the disk or for
// data, and cost the loop little. All others are one at a time, as every request is in Kafka: a client that
// sends a thousand of them keeps itself waiting, and they see the effects of what was sent before.
//
// So may what other nodes send: one of their connections carries the work of many.
func pipelined(key protocol.Key) bool {
	switch key {
	case protocol.KeyProduce, protocol.KeyFetch, protocol.KeyAlterPartition, protocol.KeyBrokerRegistration, protocol.KeyBrokerHeartbeat,
		protocol.KeyAllocateProducerIDs, protocol.KeyEnvelope, protocol.KeyQuorumMessages, protocol.KeyDamagedReplicas:
		return true
	default:
		return false
	}
}

// receive gives the frame to the session.
func (c *connection) receive() error {
	n := c.node
	in := &c.in
	size := int64(len(in.frame)) + 4
	key := requestKey(in.frame)
	if !pipelined(key) && !c.waitAnswered() {
		return errSession
	}
	reserved := int64(0)
	if key != protocol.KeyProduce {
		// What a request is decoded to, and what it is answered with, may be much larger than what was sent.
		reserved = decodedFactor*size + n.costs.estimate(key)
		if err := c.purse.responses.acquire(c, reserved, true, c.closed); err != nil {
			return err
		}
		c.purse.responses.whole(c)
	}
	if c.isSuspect {
		n.advice.saw(c, key, n.clock.now())
		c.isSuspect = !proves(key)
	}
	n.metrics.NetworkIn.Add(size)
	if place := key.Place(); place >= 0 {
		n.metrics.Requests[place].Add(1)
	}
	var turn *costlyTurn
	if key != protocol.KeyProduce && !c.isNode.Load() && (size > costlyFrameBytes || describes(key)) {
		if turn = n.enterCostly(c); turn == nil {
			c.purse.responses.release(reserved)
			return errSession
		}
	}
	wants := c.receiveFrame(key, reserved, turn)
	for wants != session.InflateNothing {
		with, ok := n.inflaters.borrow(wants, c.id, c.closed)
		if !ok {
			return errSession
		}
		wants = c.inflate(with)
	}
	return nil
}

// decodedFactor is how much larger than its frame a request may be once it is decoded, with the answer's
// skeleton: a fetch of many partitions is the worst that an honest client sends.
const decodedFactor = 16

// costlyFrameBytes is from which size on the decoding of a request that brings no records is work to wait for.
const costlyFrameBytes = 16 << 10

// describes are the requests that the session answers itself, from what is published. What they cost depends on what
// there is: a few bytes may ask for a description of everything.
func describes(key protocol.Key) bool {
	switch key {
	case protocol.KeyMetadata, protocol.KeyDescribeTopicPartitions, protocol.KeyDescribeConfigs, protocol.KeyDescribeCluster, protocol.KeyListConfigResources:
		return true
	default:
		return false
	}
}

// requestKey is the key at the beginning of a frame, -1 if there is none.
func requestKey(frame []byte) protocol.Key {
	if len(frame) < 2 {
		return -1
	}
	return protocol.Key(binary.BigEndian.Uint16(frame))
}

// receiveFrame hands the frame to the session. It returns what the session needs to go on with it.
func (c *connection) receiveFrame(key protocol.Key, reserved int64, turn *costlyTurn) session.Inflation {
	defer turn.leave()
	in := &c.in
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, inFlight{key: key, bytes: in.charged, reserved: reserved, received: c.node.clock.now()})
	c.heldBytes += in.charged + reserved
	frame := in.frame
	in.frame, in.charged = nil, 0
	in.holds.Store(0)
	if c.closing {
		return session.InflateNothing
	}
	c.session.See(c.node.published.Load())
	c.session.Receive(wallNow(), frame, &c.out)
	wants := c.received()
	if key == protocol.KeyNodeHello && !c.isNode.Load() && c.session.Peer() != model.NoNode {
		c.promote()
	}
	return wants
}

// inflate lets the session go on with a request that has compressed batches.
func (c *connection) inflate(with loan) session.Inflation {
	defer c.node.inflaters.giveBack(with)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session.Inflate(with.kind, with.Decompressor, &c.out)
	return c.received()
}

// received carries out what the session wants after it took a request in. mu is held.
func (c *connection) received() session.Inflation {
	wants := c.out.Inflate
	if c.out.Unanswered {
		// What its batches hold is given back when they were written.
		last := len(c.requests) - 1
		r := c.requests[last]
		c.requests = c.requests[:last]
		c.heldBytes -= r.bytes + r.reserved
		unanswered := unansweredBytes(c.out.Events)
		c.purse.requests.release(r.bytes - unanswered)
		if c.isNode.Load() { // storage gives back what producers held, and they are clients
			c.purse.requests.release(unanswered)
			c.node.requests.exchange(unanswered, 0)
		}
	}
	c.drain()
	if len(c.frames) > 0 || c.closing {
		c.callWriter()
	}
	return wants
}

// unansweredBytes is the size of batches whose producers want no answer.
func unansweredBytes(events []broker.Event) int64 {
	size := int64(0)
	for _, ev := range events {
		if p, ok := ev.(*broker.Produce); ok && p.Acks == 0 {
			size += batchBytes(p)
		}
	}
	return size
}

// next reads one whole frame into in.frame.
func (in *reading) next() error {
	size, err := in.length()
	if err != nil {
		return err
	}
	have := min(size, max(firstBytes, in.r.buffered(), 2*in.proven))
	begun := time.Now()
	for read := 0; read < size; {
		if err := in.grow(read, have); err != nil {
			return err
		}
		// The time spent waiting for memory is not the client's.
		if in.r.buffered() < have-read {
			in.bound(in.c.node.config.Limits.FrameTimeout)
		}
		if n, err := in.r.read(in.frame[read:have]); err != nil {
			return in.late(err, read+n, size, begun)
		}
		in.c.touch()
		read, have = have, min(size, 4*have)
	}
	in.c.purse.requests.whole(in.c)
	in.proven = min(max(in.proven, size), provenBytesMax)
	return nil
}

// late says what a failed read in the middle of a request means.
func (in *reading) late(err error, read, size int, begun time.Time) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if in.c.node.stopping() {
		return errStopping
	}
	in.c.complain(explain.UnfinishedRequest, fmt.Sprintf("%d of %d bytes had arrived after %v", read, size, time.Since(begun).Round(time.Millisecond)), "")
	return io.EOF
}

// grow makes room for a frame's first bytes, or for more of them. The budget is asked before memory is taken.
func (in *reading) grow(read, bytes int) error {
	n := in.c.node
	in.awaits.Store(true)
	err := in.c.purse.requests.acquire(in.c, int64(bytes)-in.charged, read > 0, in.c.closed)
	in.awaits.Store(false)
	if err != nil {
		return err
	}
	in.c.touch() // the wait was not the client's
	in.charged = int64(bytes)
	in.holds.Store(in.charged)
	frame := n.buffers.get(bytes)
	copy(frame, in.frame[:read])
	if in.frame != nil {
		n.buffers.put(in.frame)
	}
	in.frame = frame
	return nil
}

// length reads a frame's length, waiting for it as long as the connection may be idle.
func (in *reading) length() (int, error) {
	limits := &in.c.node.config.Limits
	for {
		if in.r.buffered() < 4 {
			wait := limits.ConnectionIdleMax
			switch {
			case in.r.buffered() > 0:
				wait = limits.FrameTimeout
			case in.r.busy():
				wait = min(wait, quietAfter)
			}
			in.bound(wait)
		}
		prefix, err := in.r.peek(4)
		if err == nil {
			size := int(int32(binary.BigEndian.Uint32(prefix)))
			if size <= 0 || size > in.c.requestBytesMax() {
				return 0, in.refuse(prefix, size)
			}
			in.first = false
			in.r.skip(4)
			return size, nil
		}
		if err := in.interrupted(err); err != nil {
			return 0, err
		}
	}
}

// interrupted says what a failed read between requests means: the node is stopping, the connection has been
// quiet or idle, or it is gone. nil says to go on.
func (in *reading) interrupted(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	c := in.c
	in.until = time.Time{}
	if c.node.stopping() {
		return errStopping
	}
	if n := in.r.buffered(); n > 0 {
		c.complain(explain.UnfinishedRequest, fmt.Sprintf("%d of a request's first 4 bytes had arrived", n), "")
		return io.EOF
	}
	c.quiet()
	c.mu.Lock()
	waits := len(c.requests) > 0 // for an answer: that is not idle
	c.mu.Unlock()
	idle := time.Duration(c.still(c.node.clock.now()))
	if !waits && idle >= c.node.config.Limits.ConnectionIdleMax {
		c.node.metrics.IdleClosed.Add(1)
		entry := explain.Of(explain.IdleConnection)
		c.node.log.Debug(entry.Title, zap.String("code", string(entry.Code)), zap.String("peer", c.peer),
			zap.String("reason", fmt.Sprintf("nothing happened on it for %v", idle.Round(time.Millisecond))), zap.String("fix", entry.Fix))
		return io.EOF
	}
	return nil
}

// quiet gives back what the connection keeps for its next requests.
func (c *connection) quiet() {
	c.in.r.quiet()
	c.mu.Lock()
	c.session.Idle()
	if len(c.requests) == 0 {
		c.requests, c.frames, c.out = nil, nil, session.Out{}
	}
	c.mu.Unlock()
	c.answersMu.Lock()
	c.rests = true
	c.answersMu.Unlock()
	c.wakeWriter()
}

// bound sets the deadline of the reads that follow, give or take an eighth, so that it need not be set for
// every frame. A stopping node sets deadlines of its own, in the past, to interrupt every reader; these must
// not be overwritten.
func (in *reading) bound(d time.Duration) {
	c := in.c
	until := time.Now().Add(d)
	if off := until.Sub(in.until); -d/8 < off && off < d/8 {
		return
	}
	in.until = until
	_ = c.conn.SetReadDeadline(until) // a closed connection fails the read that follows
	if c.node.stopping() {
		_ = c.conn.SetReadDeadline(longAgo)
	}
}

// longAgo is a deadline that interrupts.
var longAgo = time.Unix(1, 0)

// refuse closes a connection whose next bytes cannot be a request, and says in the log what they are.
func (in *reading) refuse(prefix []byte, size int) error {
	c := in.c
	c.node.metrics.Malformed.Add(1)
	if in.first {
		if says := c.node.sniff(prefix); says.reason != "" {
			if says.answer != "" {
				// What is unread of its request may turn it into a reset.
				_ = c.conn.SetWriteDeadline(time.Now().Add(time.Second))
				_, _ = io.WriteString(c.conn, says.answer)
			}
			c.complain(says.code, says.reason, says.fix)
			return io.EOF
		}
	}
	allowed := fmt.Sprintf("a request claims %d bytes; socket.request.max.bytes allows %d", size, c.requestBytesMax())
	if c.isNode.Load() {
		allowed = fmt.Sprintf("a request of another node claims %d bytes; %d is the most", size, c.requestBytesMax())
	}
	if size > 0 && !in.first {
		c.complain(explain.RequestTooLarge, allowed, "")
		return io.EOF
	}
	c.complain(explain.MalformedRequest, allowed, "")
	return io.EOF
}
