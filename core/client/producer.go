package client

import (
	"errors"
	"fmt"
	"math"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// What a record can be refused with before the producer takes it. Such a record was certainly not
// written and has no Ack.
var (
	// ErrBufferFull is back-pressure: offer the record again when records have been acknowledged.
	ErrBufferFull = errors.New("the producer's buffer is full")
	// ErrRecordTooLarge: the record cannot fit a request of the configured size.
	ErrRecordTooLarge = errors.New("the record is larger than a request may be")
	// ErrPartition: the partition is neither AnyPartition nor a plausible number.
	ErrPartition = errors.New("no such partition")
	// ErrClosed: the producer was closed.
	ErrClosed = errors.New("the client is closed")
)

// AnyPartition lets the partitioner choose: by key, and for records without one, one partition at a time.
const AnyPartition model.Partition = -1

// Acks is how much of the cluster must have a record before it counts as written.
type Acks int16

// The choices of Acks.
const (
	AcksAll    Acks = -1 // on every in-sync replica, durably: the default
	AcksNone   Acks = 0  // the producer does not wait and never learns
	AcksLeader Acks = 1  // on the leader, durably; lost if the leader is lost before its followers fetch
)

// ProducerConfig is a producer's configuration. Start from NewProducerConfig.
type ProducerConfig struct {
	Config
	// Acks is when a record counts as written. Default AcksAll. Anything less turns idempotence off.
	Acks Acks
	// NotIdempotent lets retries write a record twice, and out of order when InFlightMax is above 1. The
	// default is idempotent (KIP-98).
	NotIdempotent bool
	// BatchBytes is how much of a partition is collected before it is sent, counted before compression.
	// Default 256 KiB. Larger batches cost brokers less per record; memory is taken as batches fill.
	BatchBytes int
	// Linger is how long a batch waits to fill. Default 5 ms; 0 sends as soon as a request may go.
	Linger model.Time
	// Codec compresses batches; a batch that would not shrink is sent plain. Default none. Level 0 is the
	// codec's own default.
	Codec record.Codec
	Level int
	// InFlightMax is how many requests a connection may have unanswered. Default 5, which is also the most
	// that idempotence allows: brokers remember five batches.
	InFlightMax int
	// DeliveryTimeout is how long after Produce a record may still be written. When it is over the record
	// fails. Default 2 min.
	DeliveryTimeout model.Time
	// RequestBytesMax bounds a request, and with it a record. Default 1 MiB, what brokers accept by default.
	RequestBytesMax int
	// BufferBytes bounds what has been taken and not acknowledged. Default 64 MiB.
	BufferBytes int
}

// NewProducerConfig is the default configuration.
func NewProducerConfig(bootstrap ...string) ProducerConfig {
	return ProducerConfig{
		Config:          NewConfig(bootstrap...),
		Acks:            AcksAll,
		BatchBytes:      256 << 10,
		Linger:          5 * millisecond,
		InFlightMax:     inFlightMax,
		DeliveryTimeout: 120 * second,
		RequestBytesMax: 1 << 20,
		BufferBytes:     64 << 20,
	}
}

// inFlightMax is how many batches of a producer a broker recognises when they come again (KIP-98).
const inFlightMax = 5

// requestBytesReserve is room for what a request holds beside its batches.
const requestBytesReserve = 1 << 10

// Validate reports what is wrong with the configuration.
func (c *ProducerConfig) Validate() error {
	switch {
	case c.Acks < AcksAll || c.Acks > AcksLeader:
		return fmt.Errorf("acks must be -1 (all), 0 or 1, not %d", c.Acks)
	case c.BatchBytes <= 0 || c.BufferBytes <= 0 || c.Linger < 0 || c.DeliveryTimeout <= 0:
		return errors.New("the batch size, buffer and delivery timeout must be positive, linger not negative")
	case c.RequestBytesMax < 2*requestBytesReserve || c.RequestBytesMax > math.MaxInt32:
		return fmt.Errorf("the largest request must be between %d bytes and 2 GiB, not %d", 2*requestBytesReserve, c.RequestBytesMax)
	case !c.Codec.Known():
		return fmt.Errorf("unknown compression %s", c.Codec)
	case c.InFlightMax < 1 || c.idempotent() && c.InFlightMax > inFlightMax:
		return fmt.Errorf("in-flight requests must be 1 to %d with idempotence, not %d", inFlightMax, c.InFlightMax)
	}
	return c.Config.Validate()
}

func (c *ProducerConfig) idempotent() bool { return c.Acks == AcksAll && !c.NotIdempotent }

// Ack is the outcome of records that were produced next to each other: exactly one Ack names each
// record's handle. The record of Handles[i] has offset BaseOffset+i.
type Ack struct {
	Outcome
	Topic     string
	Partition model.Partition
	// BaseOffset is NoOffset when it is not known: on failure, with AcksNone, and for a retry of a batch
	// that the broker had forgotten the offset of.
	BaseOffset model.Offset
	// AppendTime is the broker's timestamp of the records, NoTimestamp if they keep their own.
	AppendTime model.Timestamp
	Handles    []uint64 // valid until Out is reset
	Bytes      int      // what the records were charged for in the buffer
}

// Producer is the machine that turns records into acknowledged batches. One lane per partition collects,
// numbers and retries batches; requests take one batch from each lane that has one for a broker.
//
// It is driven by inputs that carry the time; each may ask for things in Out. See the package comment.
type Producer struct {
	cfg        ProducerConfig
	cl         cluster
	idempotent bool
	batchBytes int  // when a batch is full
	dirty      bool // something was listed in queues since the last pump

	topics  map[string]*producerTopic
	order   []*producerTopic // as they were first used
	last    *producerTopic   // of the record before
	queues  []*nodeQueue     // ordered by node
	resting []*lane          // lanes that wait for their retryAt

	identity identity

	lingering batchQueue // open batches by the time at which they must go
	expiring  batchQueue // all batches by their delivery deadline

	bufferedBytes int
	unacked       int // records taken and not acknowledged
	serials       uint64
	free          []*batch

	request  protocol.ProduceRequest
	response protocol.ProduceResponse
	packer   record.Compressor
	closed   bool
}

// producerTopic is a topic that records were produced to.
type producerTopic struct {
	info        *topicInfo
	incarnation int
	lanes       []*lane // by partition; nil where nothing was produced
	sticky      model.Partition
	stickyBytes int
	// parked are records that wait for the number of partitions to be known, oldest first.
	parked []parkedRecord
	urgent int // so many of them do not linger when they are placed: a flush came
}

type parkedRecord struct {
	record   record.Record
	handle   uint64
	cost     int
	deadline model.Time
}

// NewProducer makes a producer. The configuration must be valid.
func NewProducer(cfg ProducerConfig) *Producer {
	p := &Producer{cfg: cfg, idempotent: cfg.idempotent(), topics: make(map[string]*producerTopic)}
	p.cl.init(cfg.Config, p)
	p.batchBytes = min(cfg.BatchBytes, cfg.RequestBytesMax-requestBytesReserve)
	p.lingering.live = func(b *batch) bool { return !b.sealed && !b.done }
	p.expiring.live = func(b *batch) bool { return !b.done }
	return p
}

// Produce takes one record for a partition, or for the partitioner to place. The record's bytes are
// copied. handle comes back in exactly one Ack, unless an error is returned: then the record was not
// taken. Timestamps are the caller's business.
//
// It sends nothing by itself when a burst is being taken: call Tick after the last one.
func (p *Producer) Produce(now model.Time, topic string, partition model.Partition, r *record.Record, handle uint64, out *Out) error {
	if p.closed {
		return ErrClosed
	}
	cost := record.RecordBytesMax(r)
	switch {
	case cost+record.HeaderBytes > p.cfg.RequestBytesMax-requestBytesReserve:
		return ErrRecordTooLarge
	case p.bufferedBytes+cost > p.cfg.BufferBytes:
		return ErrBufferFull
	}
	t := p.last
	if t == nil || t.info.name != topic {
		t = p.topic(topic)
		p.last = t
	}
	const partitionMax = 1 << 20
	if partition < AnyPartition || partition >= partitionMax && int(partition) >= len(t.info.partitions) {
		return ErrPartition
	}
	p.bufferedBytes += cost
	p.unacked++
	if partition == AnyPartition {
		if len(t.info.partitions) == 0 {
			t.parked = append(t.parked, parkedRecord{record: clone(r), handle: handle, cost: cost, deadline: now + p.cfg.DeliveryTimeout})
			return nil
		}
		partition = p.choose(t, r.Key, cost)
	}
	p.place(now, p.lane(t, partition), r, handle, cost)
	return nil
}

func (p *Producer) topic(name string) *producerTopic {
	t := p.topics[name]
	if t == nil {
		info, added := p.cl.topics.want(name)
		if added {
			p.cl.wantRefresh()
		}
		t = &producerTopic{info: info, incarnation: info.incarnation, sticky: AnyPartition}
		p.topics[name] = t
		p.order = append(p.order, t)
		p.identity.wanted = p.idempotent && !p.identity.known
	}
	return t
}

func (p *Producer) lane(t *producerTopic, partition model.Partition) *lane {
	for len(t.lanes) <= int(partition) {
		t.lanes = append(t.lanes, nil)
	}
	l := t.lanes[partition]
	if l == nil {
		l = &lane{topic: t, partition: partition, id: model.NoProducerID, sentTo: anyNode}
		t.lanes[partition] = l
	}
	return l
}

// choose places a record: by its key as Java's clients do, or, without one, where the records before it
// went until they make up a batch (KIP-480, KIP-794).
func (p *Producer) choose(t *producerTopic, key []byte, cost int) model.Partition {
	n := len(t.info.partitions)
	if key != nil {
		return model.Partition(PartitionForKey(key, n))
	}
	if t.sticky == AnyPartition || int(t.sticky) >= n || t.stickyBytes >= p.batchBytes {
		t.stickyBytes = 0
		next := model.Partition(p.cl.draw(uint64(n)))
		// A partition without a leader would only collect what cannot be sent.
		for range n {
			if leader, _ := t.info.leaderOf(next); leader != anyNode && (next != t.sticky || n == 1) {
				break
			}
			next = (next + 1) % model.Partition(n)
		}
		t.sticky = next
	}
	t.stickyBytes += cost
	return t.sticky
}

// Flush lets every batch go without lingering further.
func (p *Producer) Flush(now model.Time, out *Out) {
	for b := p.lingering.pop(); b != nil; b = p.lingering.pop() {
		b.lingerUntil = now
		p.enqueue(now, b.lane)
	}
	for _, t := range p.order {
		t.urgent = len(t.parked)
	}
	p.pump(now, out)
}

// Close fails what has not been acknowledged and closes all connections. Flush first, and wait for the
// acks, to lose nothing.
func (p *Producer) Close(now model.Time, out *Out) {
	if p.closed {
		return
	}
	p.closed = true
	p.cl.close(now, out)
	p.failAll(now, Outcome{Reason: Closed}, out)
}

// Connected says that a Dial succeeded.
func (p *Producer) Connected(now model.Time, id ConnID, out *Out) {
	p.cl.connected(now, id, out)
}

// Received hands over one response frame, without its length prefix. The machine owns it from then on.
func (p *Producer) Received(now model.Time, id ConnID, frame []byte, out *Out) {
	p.cl.received(now, id, frame, out)
	p.settle(now, out)
}

// Disconnected says that a connection failed or that a Dial did; the driver has stopped writing to it.
func (p *Producer) Disconnected(now model.Time, id ConnID, detail string, out *Out) {
	p.cl.disconnected(now, id, detail, out)
	p.settle(now, out)
}

// Written says that a frame with Send.Report has been written.
func (p *Producer) Written(now model.Time, id ConnID, out *Out) {
	p.cl.written(now, id, out)
	p.settle(now, out)
}

// Tick does what is due: batches that have lingered, requests and records whose time is up, retries.
func (p *Producer) Tick(now model.Time, out *Out) {
	p.cl.tick(now, out)
	p.expire(now, out)
	for b := p.lingering.peek(); b != nil && b.lingerUntil <= now; b = p.lingering.peek() {
		p.lingering.pop()
		p.enqueue(now, b.lane)
	}
	p.settle(now, out)
}

// settle does what the input before it made possible.
func (p *Producer) settle(now model.Time, out *Out) {
	if p.closed {
		return
	}
	p.wake(now)
	p.identify(now, out)
	p.cl.tickRefresh(now, out)
	p.cl.sendWaiting(now, out)
	p.pump(now, out)
}

// Deadline is when Tick has something to do; 0 is never.
func (p *Producer) Deadline() model.Time {
	if p.closed {
		return 0
	}
	if p.dirty {
		return 1
	}
	d := p.cl.deadline()
	if b := p.lingering.peek(); b != nil {
		d = soonest(d, max(b.lingerUntil, 1))
	}
	if b := p.expiring.peek(); b != nil {
		d = soonest(d, b.deadline)
	}
	for _, t := range p.order {
		if len(t.parked) > 0 {
			d = soonest(d, t.parked[0].deadline)
		}
	}
	for _, l := range p.resting {
		d = soonest(d, l.retryAt)
	}
	for _, q := range p.queues {
		if q.empty() {
			continue
		}
		e := p.cl.endpointOf(q.node)
		switch {
		case e == nil:
		case e.conns[data] == nil:
			d = soonest(d, max(e.retryAt, 1))
		case len(e.conns[data].pending) < p.cfg.InFlightMax:
			d = soonest(d, e.conns[data].mutedUntil)
		}
	}
	if p.identity.wanted && !p.identity.underway {
		d = soonest(d, max(p.identity.retryAt, 1))
	}
	return d
}

// UnackedCount is how many records were taken and have no Ack yet.
func (p *Producer) UnackedCount() int { return p.unacked }

// BufferedBytes is what counts against BufferBytes now.
func (p *Producer) BufferedBytes() int { return p.bufferedBytes }

// PartitionCount is how many partitions a topic has, 0 if that is not known yet.
func (p *Producer) PartitionCount(topic string) int {
	if t := p.topics[topic]; t != nil {
		return len(t.info.partitions)
	}
	return 0
}

// metadataUpdated places what waited for metadata and moves lanes to their leaders.
func (p *Producer) metadataUpdated(now model.Time, out *Out) {
	p.unqueue()
	for _, t := range p.order {
		if t.incarnation != t.info.incarnation {
			t.incarnation = t.info.incarnation
			for _, l := range t.lanes {
				if l != nil && p.idempotent {
					l.gap = true // the new log knows nothing of our sequences
				}
			}
		}
		if code := t.info.code; code != 0 && !Retriable(code) {
			p.failTopic(now, t, Outcome{Reason: Refused, Code: code}, out)
			continue
		}
		if n := len(t.info.partitions); n > 0 && len(t.parked) > 0 {
			parked := t.parked
			t.parked = nil
			for i := range parked {
				r := &parked[i]
				b := p.place(now, p.lane(t, p.choose(t, r.record.Key, r.cost)), &r.record, r.handle, r.cost)
				b.deadline = min(b.deadline, r.deadline)
				if i < t.urgent {
					b.lingerUntil = now
				}
			}
			t.urgent = 0
		}
		for _, l := range t.lanes {
			if l == nil {
				continue
			}
			if leader, _ := t.info.leaderOf(l.partition); leader != anyNode && leader != l.sentTo {
				l.retryAt = 0 // it rests because of another leader
			}
			p.enqueue(now, l)
		}
	}
}

// dataReady is called after each answer; settle pumps right after it.
func (p *Producer) dataReady(model.Time, *conn, *Out) {}

// failTopic fails all that is not on its way for a topic.
func (p *Producer) failTopic(now model.Time, t *producerTopic, why Outcome, out *Out) {
	parked := t.parked
	t.parked = nil
	for i := range parked {
		p.refuseParked(t, &parked[i], why, out)
	}
	for _, l := range t.lanes {
		if l == nil {
			continue
		}
		for i := 0; i < len(l.batches); {
			if b := l.batches[i]; b.inFlight {
				i++
			} else {
				p.fail(b, why, out)
			}
		}
		if l.open != nil {
			p.fail(l.open, why, out)
		}
	}
}

// failAll fails all that is left, wherever it is.
func (p *Producer) failAll(now model.Time, why Outcome, out *Out) {
	for _, t := range p.order {
		p.failTopic(now, t, why, out)
	}
}

func (p *Producer) refuseParked(t *producerTopic, r *parkedRecord, why Outcome, out *Out) {
	why.Definite = true
	p.bufferedBytes -= r.cost
	p.unacked--
	out.Acks = append(out.Acks, Ack{
		Outcome: why, Topic: t.info.name, Partition: AnyPartition, BaseOffset: model.NoOffset,
		AppendTime: model.NoTimestamp, Handles: out.keep(r.handle), Bytes: r.cost,
	})
}

// clone copies a record with everything that it points at.
func clone(r *record.Record) record.Record {
	c := *r
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	bytes := make([]byte, 0, n)
	keep := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		at := len(bytes)
		bytes = append(bytes, b...)
		return bytes[at:len(bytes):len(bytes)]
	}
	c.Key, c.Value = keep(r.Key), keep(r.Value)
	c.Headers = make([]record.RecordHeader, len(r.Headers))
	for i := range r.Headers {
		c.Headers[i] = record.RecordHeader{Key: keep(r.Headers[i].Key), Value: keep(r.Headers[i].Value)}
	}
	return c
}

// Check verifies what must hold between inputs; it walks everything.
func (p *Producer) Check() error {
	bytes, records := 0, 0
	for _, t := range p.order {
		for i := range t.parked {
			bytes += t.parked[i].cost
			records++
		}
		for _, l := range t.lanes {
			if l == nil {
				continue
			}
			if err := p.checkLane(l); err != nil {
				return err
			}
			for _, b := range l.batches {
				bytes, records = bytes+b.cost, records+len(b.handles)
			}
			if l.open != nil {
				bytes, records = bytes+l.open.cost, records+len(l.open.handles)
			}
		}
	}
	if bytes != p.bufferedBytes || records != p.unacked {
		return errorf("%d records of %d bytes held, %d of %d counted", records, bytes, p.unacked, p.bufferedBytes)
	}
	return p.cl.check()
}

func (p *Producer) checkLane(l *lane) error {
	name, plain, inFlight := l.topic.info.name, true, 0
	next := l.nextSequence
	for i := len(l.batches) - 1; i >= 0; i-- {
		b := l.batches[i]
		if b.done || !b.sealed || b.lane != l {
			return errorf("%s/%d: batch %d is not one of those to deliver", name, l.partition, i)
		}
		if b.inFlight {
			inFlight++
		}
		// Numbered ones come first, and without a gap their sequences ascend to the next. They need not
		// touch: one in the middle may have been acknowledged before the others.
		if plain = plain && !b.numbered; !plain {
			if !b.numbered && !l.gap {
				return errorf("%s/%d: batch %d is not numbered, the one behind it is", name, l.partition, i)
			}
			if end := b.sequence.Add(int32(len(b.handles))); !l.gap && int32(next-end)&0x7fffffff >= 1<<30 {
				return errorf("%s/%d: batch %d ends at sequence %d, above %d", name, l.partition, i, end, next)
			}
			next = b.sequence
		}
	}
	if inFlight > l.inFlight || l.inFlight > p.cfg.InFlightMax {
		return errorf("%s/%d: %d batches in flight, %d counted", name, l.partition, inFlight, l.inFlight)
	}
	return nil
}
