package session

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// Config is what all sessions of a node share.
type Config struct {
	ClusterID string
	NodeID    model.NodeID
	// Incarnation is of this process, for other nodes.
	Incarnation model.IncarnationID
	// Advertised is how clients reach this node, and Listener the name under which other nodes say where clients that
	// come to this listener reach them.
	Advertised effect.Broker
	Listener   string
	// Fixed is the node's configuration that only a restart changes, for DescribeConfigs.
	Fixed []effect.ConfigEntry
	// RecordBytesMax bounds what the batches of one request may decompress to, together.
	RecordBytesMax int
	Budget         protocol.Budget
	// LendsInflaters says that the driver lends what inflates: Out.Inflate asks for it and Inflate takes it.
	// Otherwise every session that gets compressed batches has its own.
	LendsInflaters bool
}

// DefaultConfig is what a node starts from.
func DefaultConfig() Config {
	return Config{RecordBytesMax: record.DecompressedBytesMax, Budget: protocol.BudgetForClients()}
}

// Session is one connection's machine. It must be used by one goroutine at a time.
type Session struct {
	config *Config
	conn   effect.ConnID

	reader       protocol.Reader
	header       protocol.RequestHeader
	decompressor *record.Decompressor    // of its own, if none are lent
	checking     checking                // the produce request whose batches are being checked
	produce      protocol.ProduceRequest // reused by every produce request
	fetch        protocol.FetchRequest
	heartbeat    protocol.HeartbeatRequest

	peer      model.NodeID      // the node at the other end, once it has said NodeHello
	published *broker.Published // as of the newest frame or answer
	slots     []*slot           // requests in flight, oldest first
	received  uint64            // requests received: the next one's number
	free      []*slot
	// freeParts and writerBytes are what is kept for the next requests and responses: see Idle.
	freeParts   int
	writers     []*protocol.Writer
	writerBytes int
	closed      bool
	// ClientID, SoftwareName and SoftwareVersion are what the client says of itself, for people.
	ClientID, SoftwareName, SoftwareVersion string
	// ClientHost is where the client connects from, as groups show their members: "/" and an address. The driver
	// sets it before the first frame.
	ClientHost string
	// ClientAddress is the same as 4 or 16 bytes; nil if the transport has no such addresses.
	ClientAddress []byte
	// ForNodes says that the connection came to where nodes listen: only there may a node greet. The driver sets it before
	// the first frame.
	ForNodes bool
}

// slot is one request in flight.
type slot struct {
	request     uint64
	key         protocol.Key
	version     int16
	correlation int32
	envelope    envelope
	ready       bool
	body        protocol.Message // the response, once it is ready
	// A produce or fetch request keeps the response that it fills part by part.
	produced produceSlot
	fetched  fetchSlot
	// asked is what a handler wants to remember of the request until the answer comes.
	asked any
	frame []byte // of a produce request
	parts int    // that it keeps room for, while it is free
}

// Out collects what a session wants done. The driver carries it out and resets it.
type Out struct {
	Events []broker.Event
	Frames []Frame
	// Free are request frames that nothing refers to any more.
	Free [][]byte
	// Inflate, unless InflateNothing, asks the driver to call Session.Inflate: the request just received
	// waits for it.
	Inflate Inflation
	// Unanswered says that the request just received gets no response.
	Unanswered bool
	// Close, unless empty, says why the connection must be closed once Frames are sent, and CloseKind what kind
	// of reason that is.
	Close     string
	CloseKind CloseKind
}

// CloseKind is why a connection is closed.
type CloseKind uint8

// The kinds of reasons.
const (
	CloseMalformed CloseKind = iota // it sent what cannot be understood
	CloseUnserved                   // it asked for a key or version that is not served
	CloseRefused                    // it was refused something and wants no answers: it is told like this
	CloseUndecided                  // nobody knows whether the controller has decided its request: it is to ask again
)

// Reset empties the Out and keeps its memory.
func (o *Out) Reset() {
	clear(o.Events)
	clear(o.Frames)
	clear(o.Free)
	o.Events, o.Frames, o.Free, o.Close = o.Events[:0], o.Frames[:0], o.Free[:0], ""
	o.Inflate, o.Unanswered, o.CloseKind = InflateNothing, false, CloseMalformed
}

// Frame is one response, length prefix included. The driver sends its pieces in order and then calls
// Recycle.
type Frame struct {
	Pieces []protocol.Piece
	Key    protocol.Key
	// LenBytes is the size of all pieces, HeldBytes of those that are bytes in memory.
	LenBytes, HeldBytes int
	writer              *protocol.Writer
}

// New makes the machine of a connection.
func New(config *Config, conn effect.ConnID) *Session {
	return &Session{config: config, conn: conn, peer: model.NoNode, published: new(broker.Published)}
}

// Peer is the node at the other end, NoNode if it is a client.
func (s *Session) Peer() model.NodeID { return s.peer }

// Parked is how many requests are in flight.
func (s *Session) Parked() int { return len(s.slots) }

// Receive takes in one request frame, without its length prefix. The frame belongs to the session until it
// comes back in Out.Free, or for good. It reports which request it was, for metrics.
func (s *Session) Receive(wall model.Timestamp, frame []byte, out *Out) (key protocol.Key, version int16) {
	if s.closed {
		return -1, 0
	}
	s.reader.Reset(frame, s.config.Budget)
	protocol.ReadRequestHeader(&s.reader, &s.header)
	key, version = s.header.Key, s.header.Version
	if err := s.reader.Err(); err != nil {
		s.close(out, "the request header cannot be read: %v", err)
		return key, version
	}
	if s.header.ClientID.Valid {
		s.ClientID = s.header.ClientID.Value
		if len(s.ClientID) > nameBytesMax {
			s.ClientID = strings.Clone(s.ClientID[:nameBytesMax])
			s.header.ClientID = protocol.NullString{}
		}
	}
	a, served := lookup(key)
	if !served {
		s.closeFor(CloseUnserved, out, "request of key %v, which is not served", key)
		return key, version
	}
	if a.Peers == Nodes && !s.ForNodes {
		s.closeFor(CloseUnserved, out, "request of key %v, which is served to nodes of the cluster only, at their own listener", key)
		return key, version
	}
	if a.Peers == Nodes && s.peer == model.NoNode && key != protocol.KeyNodeHello {
		s.closeFor(CloseUnserved, out, "request of key %v, which is served to nodes of the cluster that said %v", key, protocol.KeyNodeHello)
		return key, version
	}
	if s.peer != model.NoNode && !a.asksNode() {
		s.closeFor(CloseUnserved, out, "request of key %v by node %d: nodes have no use for it", key, s.peer)
		return key, version
	}
	sl := s.open(key, version)
	switch {
	case version >= a.ServedMin && version <= a.VersionMax:
		rq := request{slot: sl, version: version, wall: wall, frame: frame, id: effect.RequestID{Conn: s.conn, Request: sl.request}}
		s.handle(&rq, out)
	case key == protocol.KeyAPIVersions:
		s.answer(sl, unsupportedAPIVersions(sl), out)
	default:
		s.closeFor(CloseUnserved, out, "%v version %d, which is not served: versions %d to %d are", key, version, a.ServedMin, a.VersionMax)
	}
	return key, version
}

// nameBytesMax bounds what is kept of a client's name for itself for as long as its connection lives.
const nameBytesMax = 249

// request is what a handler gets.
type request struct {
	slot    *slot
	version int16
	wall    model.Timestamp
	frame   []byte
	id      effect.RequestID
	origin  broker.Origin // of what came in an envelope
}

// decode reads the body of a request and closes the connection if it cannot. Bytes after the body are ignored, as
// Kafka does: librdkafka 2.12 to 2.16 sends some when it asks for the metadata of all topics.
func (s *Session) decode(rq *request, body protocol.Message, out *Out) bool {
	body.Decode(&s.reader, rq.version)
	if err := s.reader.Err(); err != nil {
		if rq.slot.envelope.is {
			rq.slot.leaveEnvelope()
			s.answer(rq.slot, envelopeRefusal(kerr.InvalidRequest.Code), out)
			return false
		}
		s.close(out, "%v version %d cannot be read: %v", rq.slot.key, rq.version, err)
		return false
	}
	return true
}

// decodeWhole is decode for requests whose bodies alias nothing of the frame: it can be reused at once.
func (s *Session) decodeWhole(rq *request, body protocol.Message, out *Out) bool {
	ok := s.decode(rq, body, out)
	out.Free = append(out.Free, rq.frame)
	return ok
}

func (s *Session) open(key protocol.Key, version int16) *slot {
	var sl *slot
	if n := len(s.free); n > 0 {
		sl, s.free = s.free[n-1], s.free[:n-1]
		s.freeParts -= sl.parts
	} else {
		sl = new(slot)
	}
	sl.request, sl.key, sl.version, sl.correlation = s.received, key, version, s.header.CorrelationID
	s.received++
	s.slots = append(s.slots, sl)
	return sl
}

// find is the slot of a request in flight, nil if it is not.
func (s *Session) find(to effect.RequestID) *slot {
	invariant.Check(to.Conn == s.conn, "an answer goes to the connection that asked")
	// Slots are in ascending order with few gaps (acks=0), so the place is near.
	for _, sl := range s.slots {
		if sl.request == to.Request {
			return sl
		}
	}
	return nil
}

// answer gives a request its response and sends what can be sent in order.
func (s *Session) answer(sl *slot, body protocol.Message, out *Out) {
	sl.body, sl.ready = body, true
	s.flush(out)
}

func (s *Session) flush(out *Out) {
	n := 0
	for n < len(s.slots) && s.slots[n].ready && !s.closed {
		s.send(s.slots[n], out)
		n++
	}
	if n > 0 {
		s.drop(n)
	}
}

// drop forgets the first n slots.
func (s *Session) drop(n int) {
	for _, sl := range s.slots[:n] {
		s.recycleSlot(sl)
	}
	kept := copy(s.slots, s.slots[n:])
	clear(s.slots[kept:])
	s.slots = s.slots[:kept]
}

func (s *Session) recycleSlot(sl *slot) {
	sl.ready, sl.body, sl.asked, sl.frame, sl.envelope = false, nil, nil, nil, envelope{}
	sl.parts = sl.produced.reset() + sl.fetched.reset()
	if len(s.free) < slotsKeptMax && s.freeParts+sl.parts <= partsKeptMax {
		s.free = append(s.free, sl)
		s.freeParts += sl.parts
	}
}

// What a session at work keeps for its next requests: it bounds what a connection costs that has once sent
// something large. One part is some 200 bytes.
const (
	slotsKeptMax       = 16
	partsKeptMax       = 1024     // of all free slots together, and of the decoded requests
	writersKeptMax     = 64       // response buffers
	writerBytesKeptMax = 64 << 10 // of all of them together
)

// Idle lets go of what is kept for the next requests. The driver calls it when none has come for some time:
// an idle connection then costs next to nothing, whatever it did before.
func (s *Session) Idle() {
	invariant.Check(s.checking.event == nil, "no request is being received")
	s.free, s.freeParts, s.writers, s.writerBytes = nil, 0, nil, 0
	s.produce, s.fetch, s.decompressor = protocol.ProduceRequest{}, protocol.FetchRequest{}, nil
	if len(s.slots) == 0 {
		s.slots = nil
	}
}

func (s *Session) send(sl *slot, out *Out) {
	if sl.envelope.is {
		sl.seal()
	}
	var w *protocol.Writer
	if n := len(s.writers); n > 0 {
		w, s.writers = s.writers[n-1], s.writers[:n-1]
		s.writerBytes -= w.CapBytes()
		w.Reset()
	} else {
		w = new(protocol.Writer)
	}
	w.BeginResponse(sl.correlation, sl.key, sl.version)
	sl.body.Encode(w, sl.version)
	w.EndFrame()
	if err := w.Err(); err != nil {
		invariant.Checkf(false, "a response of ours cannot be encoded: %v", err)
	}
	f := Frame{Pieces: w.Pieces(), Key: sl.key, LenBytes: w.Len(), writer: w}
	for i := range f.Pieces {
		f.HeldBytes += len(f.Pieces[i].Bytes)
	}
	out.Frames = append(out.Frames, f)
}

// Recycle takes a frame back that was sent, or never will be, and releases the regions in it.
func (s *Session) Recycle(f Frame) {
	for _, p := range f.Pieces {
		if r, ok := p.Region.(effect.Region); ok {
			r.Release()
		}
	}
	if f.writer == nil {
		return
	}
	if size := f.writer.CapBytes(); len(s.writers) < writersKeptMax && s.writerBytes+size <= writerBytesKeptMax {
		f.writer.Reset()
		s.writers = append(s.writers, f.writer)
		s.writerBytes += size
	}
}

// Disconnect says that the connection is gone. Nothing is sent any more; answers that are still on their
// way are taken in and dropped.
func (s *Session) Disconnect(out *Out) {
	s.closed = true
	for _, sl := range s.slots {
		if sl.ready {
			sl.fetched.release() // it waited behind a request that has no answer yet
		}
	}
	out.Events = append(out.Events, &broker.Disconnected{Conn: s.conn})
}

func (s *Session) close(out *Out, format string, args ...any) {
	s.closeFor(CloseMalformed, out, format, args...)
}

func (s *Session) closeFor(kind CloseKind, out *Out, format string, args ...any) {
	if s.closed {
		return
	}
	s.closed = true
	out.Close, out.CloseKind = fmt.Sprintf(format, args...), kind
}

// HangUp takes in that the broker wants the connection closed, and why. What was answered before is sent.
func (s *Session) HangUp(cause string, out *Out) { s.closeFor(CloseRefused, out, "%s", cause) }

// Replied takes in the answer to a request that has one answer.
func (s *Session) Replied(r effect.Reply, out *Out) {
	sl := s.find(r.To)
	if sl == nil || s.closed {
		return
	}
	if f, ok := r.Body.(*effect.Forwarded); ok {
		s.forwarded(sl, f, out)
		return
	}
	s.answer(sl, s.respond(sl, r.Body), out)
}
