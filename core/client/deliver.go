package client

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// nodeQueue lists the lanes that may have something to send to a node, in turn.
type nodeQueue struct {
	node  model.NodeID
	lanes []*lane
	head  int
}

func (q *nodeQueue) empty() bool { return q.head == len(q.lanes) }

func (q *nodeQueue) push(l *lane) {
	if q.head > 64 && q.head*2 > len(q.lanes) {
		n := copy(q.lanes, q.lanes[q.head:])
		clear(q.lanes[n:])
		q.lanes, q.head = q.lanes[:n], 0
	}
	q.lanes = append(q.lanes, l)
}

func (q *nodeQueue) pop() *lane {
	l := q.lanes[q.head]
	q.lanes[q.head] = nil
	if q.head++; q.head == len(q.lanes) {
		q.lanes, q.head = q.lanes[:0], 0
	}
	return l
}

// enqueue lists a lane at its leader's queue, if it may have something to send.
func (p *Producer) enqueue(now model.Time, l *lane) {
	if l.queued || len(l.batches) == 0 && l.open == nil {
		return
	}
	if now < l.retryAt {
		if !l.resting {
			l.resting = true
			p.resting = append(p.resting, l)
		}
		return
	}
	leader, _ := l.topic.info.leaderOf(l.partition)
	if leader == anyNode {
		p.cl.wantRefresh() // metadataUpdated lists it again
		return
	}
	l.queued, p.dirty = true, true
	p.queue(leader).push(l)
}

// unqueue empties the queues: leaders may have changed. Lanes are listed again by enqueue.
func (p *Producer) unqueue() {
	for _, q := range p.queues {
		for !q.empty() {
			q.pop().queued = false
		}
	}
}

func (p *Producer) queue(node model.NodeID) *nodeQueue {
	i, found := slices.BinarySearchFunc(p.queues, node, func(q *nodeQueue, n model.NodeID) int { return int(q.node) - int(n) })
	if !found {
		p.queues = slices.Insert(p.queues, i, &nodeQueue{node: node})
	}
	return p.queues[i]
}

// wake lists the lanes that have rested.
func (p *Producer) wake(now model.Time) {
	if len(p.resting) == 0 {
		return
	}
	kept := p.resting[:0]
	for _, l := range p.resting {
		if now < l.retryAt {
			kept = append(kept, l)
			continue
		}
		l.retryAt, l.resting = 0, false
		p.enqueue(now, l)
	}
	clear(p.resting[len(kept):])
	p.resting = kept
}

// pump sends what can be sent.
func (p *Producer) pump(now model.Time, out *Out) {
	if p.closed {
		return
	}
	defer func() { p.dirty = false }()
	for i := 0; i < len(p.queues); i++ {
		q := p.queues[i]
		for !q.empty() {
			e := p.cl.endpointOf(q.node)
			if e == nil {
				p.cl.wantRefresh()
				break
			}
			k := p.cl.open(now, e, data, out)
			if k == nil || len(k.pending) >= p.cfg.InFlightMax || now < k.mutedUntil || !p.fill(now, k, q, out) {
				break
			}
		}
	}
}

// fill makes one request of one batch from each lane of a queue. It is false when there was none.
func (p *Producer) fill(now model.Time, k *conn, q *nodeQueue, out *Out) bool {
	call := &produceCall{p: p, node: q.node}
	room := p.cfg.RequestBytesMax - requestBytesReserve
	for turn := len(q.lanes) - q.head; turn > 0; turn-- {
		l := q.pop()
		l.queued = false
		leader, _ := l.topic.info.leaderOf(l.partition)
		if leader != q.node {
			p.enqueue(now, l)
			continue
		}
		b := p.next(now, l, q.node, out)
		if b == nil {
			if now < l.retryAt {
				p.enqueue(now, l) // to rest
			}
			continue // whatever makes it sendable lists it again
		}
		const partitionBytes = 64 // around the batch, beside the topic's name
		need := len(b.bytes) + partitionBytes + len(l.topic.info.name)
		if need > room && len(call.batches) > 0 {
			p.enqueue(now, l)
			break
		}
		room -= need
		p.number(b)
		call.batches = append(call.batches, b)
		p.enqueue(now, l) // for its next batch, in a later request
	}
	if len(call.batches) == 0 {
		return false
	}
	slices.SortStableFunc(call.batches, func(a, b *batch) int {
		if c := strings.Compare(a.lane.topic.info.name, b.lane.topic.info.name); c != 0 {
			return c
		}
		return cmp.Compare(a.lane.partition, b.lane.partition)
	})
	for _, b := range call.batches {
		b.inFlight = true
		b.attempts++
		b.lane.inFlight++
		b.lane.sentTo = q.node
	}
	// The broker's own wait for replicas must end before we give up on the connection.
	if p.cl.send(now, k, call, p.cfg.RequestTimeout+p.cfg.RequestTimeout/2, out) && p.cfg.Acks == AcksNone {
		k.pending[len(k.pending)-1].unanswered = true
		out.Sends[len(out.Sends)-1].Report = true
	}
	return true
}

// written ends the batches of a request that gets no answer.
func (q *produceCall) written(now model.Time, out *Out) {
	p := q.p
	for _, b := range q.batches {
		b.lane.inFlight--
		b.inFlight = false
		if !b.done {
			b.lane.remove(b)
			p.ack(b, Outcome{}, model.NoOffset, model.NoTimestamp, out)
		}
		p.enqueue(now, b.lane)
	}
}

// produceCall is one produce request.
type produceCall struct {
	p       *Producer
	node    model.NodeID
	batches []*batch // by topic and partition
}

// misplaced reports whether a batch of it belongs elsewhere by now.
func (q *produceCall) misplaced() bool {
	for _, b := range q.batches {
		if b == nil {
			continue
		}
		if leader, _ := b.lane.topic.info.leaderOf(b.lane.partition); leader != anyNode && leader != q.node {
			return true
		}
	}
	return false
}

func (q *produceCall) key() protocol.Key { return protocol.KeyProduce }

// versions keeps to names when a topic's id is not known: from version 13 on requests use ids only.
func (q *produceCall) versions() (int16, int16) {
	for _, b := range q.batches {
		if b.lane.topic.info.id.IsZero() {
			return 0, 12
		}
	}
	return 0, math.MaxInt16
}

func (q *produceCall) encode(w *protocol.Writer, version int16) {
	p := q.p
	m := &p.request
	m.Default()
	m.Acks = int16(p.cfg.Acks)
	m.TimeoutMs = int32(min(p.cfg.RequestTimeout/millisecond, math.MaxInt32))
	var of *topicInfo
	var t *protocol.ProduceRequestTopicData
	for _, b := range q.batches {
		if info := b.lane.topic.info; info != of {
			of = info
			t = protocol.Add(&m.TopicData)
			if version >= 13 {
				t.TopicID = protocol.UUID(info.id)
			} else {
				t.Name = info.name
			}
		}
		d := protocol.Add(&t.PartitionData)
		d.Index = int32(b.lane.partition)
		d.Records = protocol.Records{Bytes: b.bytes}
	}
	m.Encode(w, version)
}

var errUnanswered = errors.New("a partition of the request is missing from the answer")

func (q *produceCall) answered(now model.Time, version int16, r *protocol.Reader, out *Out) error {
	p := q.p
	if r == nil {
		q.written(now, out)
		return nil
	}
	m := &p.response
	m.Decode(r, version)
	err := r.Finish()
	if err == nil {
		p.cl.mute(now, q.node, m.ThrottleTimeMs)
		for i := range m.NodeEndpoints {
			e := &m.NodeEndpoints[i]
			if e.NodeID >= 0 {
				p.cl.setEndpoint(model.NodeID(e.NodeID), hostPort(e.Host, e.Port))
			}
		}
		for i := range m.Responses {
			t := &m.Responses[i]
			for j := range t.PartitionResponses {
				if b := q.take(t, version, t.PartitionResponses[j].Index); b != nil {
					p.conclude(now, b, &t.PartitionResponses[j], out)
				}
			}
		}
		if slices.ContainsFunc(q.batches, func(b *batch) bool { return b != nil }) {
			err = errUnanswered
		}
	}
	if err != nil {
		q.failed(now, Malformed, true, out)
	}
	return err
}

// take finds the batch that an answer is about; each is answered once.
func (q *produceCall) take(t *protocol.ProduceResponseTopic, version int16, partition int32) *batch {
	for i, b := range q.batches {
		if b == nil || b.lane.partition != model.Partition(partition) {
			continue
		}
		info := b.lane.topic.info
		if version >= 13 && info.id == model.TopicID(t.TopicID) || version < 13 && info.name == t.Name {
			q.batches[i] = nil
			return b
		}
	}
	return nil
}

// failed sees to the batches that will get no answer.
func (q *produceCall) failed(now model.Time, why Reason, sent bool, out *Out) {
	p := q.p
	for _, b := range q.batches {
		if b == nil {
			continue
		}
		l := b.lane
		l.inFlight--
		b.inFlight = false
		if b.done {
			p.enqueue(now, l)
			continue
		}
		b.exposed = b.exposed || sent
		switch {
		case why == Unsupported || why == Closed || p.cfg.Acks == AcksNone:
			p.fail(b, Outcome{Reason: why}, out)
		default:
			b.lastCode = kerr.NetworkException.Code
			p.retry(now, b, out)
		}
	}
	q.batches = nil
}

// conclude deals with the answer for one batch.
func (p *Producer) conclude(now model.Time, b *batch, a *protocol.ProduceResponsePartition, out *Out) {
	l := b.lane
	l.inFlight--
	b.inFlight = false
	defer p.enqueue(now, l)
	if b.done {
		return // its time was up before
	}
	code := a.ErrorCode
	if code == 0 || code == kerr.DuplicateSequenceNumber.Code {
		l.remove(b)
		l.proven, l.failures = true, 0
		base, at := model.Offset(a.BaseOffset), model.Timestamp(a.LogAppendTimeMs)
		if code != 0 || base < 0 {
			base, at = model.NoOffset, model.NoTimestamp
		}
		p.ack(b, Outcome{}, base, at, out)
		return
	}
	b.lastCode = code
	b.exposed = b.exposed || !notWritten(code)
	led := stale(code) && p.cl.redirect(l.topic.info, l.partition, l.sentTo,
		model.NodeID(a.CurrentLeader.LeaderID), model.LeaderEpoch(a.CurrentLeader.LeaderEpoch))
	switch {
	case p.idempotent && sequenceRefused(code):
		p.sequenceRefused(b, code, a.ErrorMessage.Value, out)
	case code == kerr.MessageTooLarge.Code && len(b.handles) > 1 && !b.exposed:
		p.split(b, out)
	case led && Retriable(code):
		l.retryAt = 0 // another leader is known: no reason to wait
	case Retriable(code):
		p.retry(now, b, out)
	default:
		p.fail(b, Outcome{Reason: Refused, Code: code, Message: a.ErrorMessage.Value}, out)
	}
}

// retry lets the lane rest before the batch is sent again.
func (p *Producer) retry(now model.Time, b *batch, out *Out) {
	l := b.lane
	if now >= l.retryAt { // else it rests already, because of a batch of the same burst
		l.failures++
		l.retryAt = now + p.cl.backoff(l.failures)
	}
	out.Notes = append(out.Notes, Note{Kind: NoteBatchRetried, Topic: l.topic.info.name, Code: b.lastCode, Count: int64(len(b.handles))})
	p.enqueue(now, l)
}

// sequenceRefused deals with a leader that does not accept the batch's place. Behind an unresolved batch
// that is to be expected. For the first one it means that leader and producer disagree about what was
// written before: the sequences have a gap.
func (p *Producer) sequenceRefused(b *batch, code int16, message string, out *Out) {
	l := b.lane
	if l.batches[0] != b && !l.gap {
		return // it is sent again when those before it are through
	}
	l.gap = true
	// Another epoch of the same id would be refused again.
	l.fresh = l.fresh || code == kerr.InvalidProducerEpoch.Code
	if b.exposed {
		p.fail(b, Outcome{Reason: Refused, Code: code, Message: message}, out)
	}
}

// split halves a batch that the broker finds too large. Nothing of it was written.
func (p *Producer) split(b *batch, out *Out) {
	l := b.lane
	out.Notes = append(out.Notes, Note{Kind: NoteBatchSplit, Topic: l.topic.info.name, Count: int64(len(b.handles))})
	var r record.Reader
	var d record.Decompressor
	if err := r.Reset(b.bytes, &d, 0); err != nil {
		p.fail(b, Outcome{Reason: Refused, Code: kerr.MessageTooLarge.Code}, out)
		return
	}
	at := slices.Index(l.batches, b)
	wasOpen := l.open
	half := (len(b.handles) + 1) / 2
	costs := b.cost
	var parts [2]*batch
	for i, handles := range [2][]uint64{b.handles[:half], b.handles[half:]} {
		x := p.newBatch(0, l)
		x.deadline, x.lastCode = b.deadline, b.lastCode
		x.cost = costs / (2 - i)
		costs -= x.cost
		for range handles {
			r.Next()
			x.builder.Append(*r.Record())
		}
		x.handles = append(x.handles, handles...)
		l.open = x
		p.seal(l)
		l.batches = l.batches[:len(l.batches)-1]
		p.expiring.pushFront(x)
		parts[i] = x
	}
	l.open = wasOpen
	l.batches = slices.Replace(l.batches, at, at+1, parts[0], parts[1])
	b.done = true
	if b.numbered {
		l.gap = true
	}
}

// expire fails what could not be delivered in time.
func (p *Producer) expire(now model.Time, out *Out) {
	for b := p.expiring.peek(); b != nil && b.deadline <= now; b = p.expiring.peek() {
		p.expiring.pop()
		p.fail(b, Outcome{Reason: TimedOut}, out)
		p.enqueue(now, b.lane)
	}
	for _, t := range p.order {
		n := 0
		for n < len(t.parked) && t.parked[n].deadline <= now {
			p.refuseParked(t, &t.parked[n], Outcome{Reason: TimedOut, Code: t.info.code}, out)
			n++
		}
		if n > 0 {
			t.parked = slices.Delete(t.parked, 0, n)
			t.urgent = max(0, t.urgent-n)
		}
	}
}
