package client

import (
	"encoding/binary"
	"slices"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// lane is the way to one partition: its batches in order, and the sequence numbers that they get.
//
//	batches: [ numbered, in flight or to be sent again | sealed, not numbered ]   open
//
// A batch that was numbered and sent keeps its producer id, epoch and sequence for as long as it may have
// been written: sent again, the leader recognises it. It is exposed when an attempt ended without
// proof that nothing was written. What is exposed is never renumbered, because the first attempt may
// still arrive, even after the leader has refused the second: then the record would be there twice.
//
// When a numbered batch fails for good, or the leader refuses the sequence of the first one, the
// sequences have a gap. The lane then waits until nothing is in flight, finds out what became of
// exposed batches at its head by sending them unchanged, one by one (written after all, or refused and
// failed as indefinite), and begins a new epoch at sequence 0 with the rest (KIP-360). Epochs are a
// lane's own: brokers fence producers per partition, so other lanes are not disturbed.
//
// A new leader is sent nothing while the one before has not answered, or its connection is given up: batches are in flight
// to one node at a time.
//
// Until the first batch of an epoch is acknowledged only one is in flight. Leaders without state for
// a producer may accept any sequence, so a second batch could otherwise pass a first that was refused.
type lane struct {
	topic     *producerTopic
	partition model.Partition
	open      *batch
	batches   []*batch
	inFlight  int // batches sent and unanswered, abandoned ones included

	id           model.ProducerID // NoProducerID until the first batch is numbered
	epoch        model.ProducerEpoch
	nextSequence model.Sequence
	proven       bool // a batch of this id and epoch was acknowledged
	gap          bool // nothing new is sent until a new epoch begins
	fresh        bool // the next epoch needs a new producer id

	retryAt  model.Time   // nothing is sent before; 0 is no wait
	resting  bool         // listed in Producer.resting
	queued   bool         // listed in a node's queue
	sentTo   model.NodeID // of the last request
	failures int          // refusals in a row, for the backoff
}

// batch is a run of records for one partition.
type batch struct {
	lane    *lane
	builder record.Builder // while open; then its buffer holds bytes, unless packed does
	bytes   record.Batch   // once sealed
	packed  []byte
	handles []uint64
	cost    int
	serial  uint64 // a new one for each use of the memory

	lingerUntil model.Time
	deadline    model.Time

	sealed, numbered, inFlight bool
	exposed                    bool // may have been written by an attempt that failed
	done                       bool // has its outcome; an answer may still come
	attempts                   int
	sequence                   model.Sequence
	lastCode                   int16
}

// place appends a record to its lane's open batch.
func (p *Producer) place(now model.Time, l *lane, r *record.Record, handle uint64, cost int) *batch {
	b := l.open
	if b != nil && b.builder.SizeBytes()+cost > p.batchBytes {
		p.seal(l)
		p.enqueue(now, l)
		b = nil
	}
	if b == nil {
		b = p.newBatch(now, l)
		l.open = b
		p.lingering.push(b)
		p.expiring.push(b)
	}
	b.builder.Append(*r)
	b.handles = append(b.handles, handle)
	b.cost += cost
	return b
}

func (p *Producer) newBatch(now model.Time, l *lane) *batch {
	var b *batch
	if n := len(p.free); n > 0 {
		b = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		b = new(batch)
	}
	p.serials++
	*b = batch{
		lane: l, builder: b.builder, packed: b.packed[:0], handles: b.handles[:0], serial: p.serials,
		lingerUntil: now + p.cfg.Linger, deadline: now + p.cfg.DeliveryTimeout,
	}
	// Compression is done when the batch is sealed, by one compressor for all lanes.
	b.builder.Begin(record.NewOptions(record.CodecNone))
	return b
}

// seal closes the lane's open batch and makes it the last of its batches.
func (p *Producer) seal(l *lane) *batch {
	b := l.open
	l.open = nil
	b.sealed = true
	b.bytes = b.builder.Finish()
	if p.cfg.Codec != record.CodecNone {
		p.compress(b)
	}
	l.batches = append(l.batches, b)
	return b
}

// compress packs a sealed batch, unless that would not make it smaller.
func (p *Producer) compress(b *batch) {
	const posLength, posAttributes = 8, 21
	b.packed = append(b.packed[:0], b.bytes[:record.HeaderBytes]...)
	b.packed = p.packer.Compress(b.packed, b.bytes.Payload(), p.cfg.Codec, p.cfg.Level)
	if len(b.packed) >= len(b.bytes) {
		return
	}
	binary.BigEndian.PutUint32(b.packed[posLength:], uint32(len(b.packed)-record.FrameBytes))
	binary.BigEndian.PutUint16(b.packed[posAttributes:], uint16(b.bytes.Attributes())|uint16(p.cfg.Codec))
	b.bytes = record.Batch(b.packed)
	record.PatchProducer(b.bytes, model.NoProducerID, model.NoProducerEpoch, model.NoSequence) // and the CRC
}

// next is the batch that the lane would send to a node now, or nil.
func (p *Producer) next(now model.Time, l *lane, node model.NodeID, out *Out) *batch {
	if now < l.retryAt {
		return nil
	}
	if l.inFlight > 0 && l.sentTo != node {
		// The leader of before may never answer, and the new one have what it was sent. Behind InFlightMax others it would
		// not recognise that when it is sent again.
		return nil
	}
	if l.gap {
		if b, blocked := p.closeGap(l, out); b != nil || blocked {
			return b
		}
	}
	var b *batch
	for _, x := range l.batches {
		if !x.inFlight {
			b = x
			break
		}
	}
	if b != nil && b.numbered {
		// Sent again alone: those behind it would only be refused.
		if l.inFlight > 0 {
			return nil
		}
		return b
	}
	if l.inFlight >= p.cfg.InFlightMax || p.idempotent && l.inFlight > 0 && !l.proven {
		return nil
	}
	if b == nil {
		if l.open == nil || l.open.lingerUntil > now {
			return nil
		}
		if p.idempotent && !p.adopt(l) {
			return nil // let it fill meanwhile
		}
		return p.seal(l)
	}
	if p.idempotent && !p.adopt(l) {
		return nil
	}
	return b
}

// adopt gives the lane a producer id if it has none. It is false while there is none to give.
func (p *Producer) adopt(l *lane) bool {
	if l.id != model.NoProducerID {
		return true
	}
	if !p.identity.known {
		p.identity.wanted = true
		return false
	}
	l.id, l.epoch, l.nextSequence, l.proven = p.identity.id, p.identity.epoch, 0, false
	return true
}

// closeGap works towards a new epoch. It returns an exposed batch whose fate must be found out first;
// blocked means that nothing can be sent now. Otherwise the gap is closed.
func (p *Producer) closeGap(l *lane, out *Out) (b *batch, blocked bool) {
	if l.inFlight > 0 {
		return nil, true
	}
	if len(l.batches) > 0 && l.batches[0].numbered && l.batches[0].exposed {
		return l.batches[0], false
	}
	// An exposed batch behind one that certainly was not written cannot be tried without risking order.
	for i := 0; i < len(l.batches); {
		if x := l.batches[i]; x.numbered && x.exposed {
			p.fail(x, Outcome{Reason: Refused, Code: x.lastCode}, out)
		} else {
			i++
		}
	}
	const epochMax = 1<<15 - 1
	if l.id != model.NoProducerID && (l.fresh || l.epoch == epochMax) {
		if p.identity.known && p.identity.id == l.id {
			p.identity.known, p.identity.wanted = false, true
		}
		if !p.identity.known {
			p.identity.wanted = true
			return nil, true
		}
		l.id, l.epoch = p.identity.id, p.identity.epoch
	} else if l.id != model.NoProducerID {
		l.epoch++
	}
	l.gap, l.fresh, l.proven, l.nextSequence = false, false, false, 0
	for _, x := range l.batches {
		x.numbered = false
	}
	out.Notes = append(out.Notes, Note{Kind: NoteEpochBumped, Topic: l.topic.info.name, Count: int64(l.epoch)})
	return nil, false
}

// number stamps the lane's next sequence on a batch that is sent for the first time in this epoch.
func (p *Producer) number(b *batch) {
	l := b.lane
	if !p.idempotent || b.numbered {
		return
	}
	invariant.Check(!b.exposed, "what may have been written keeps its sequence")
	b.sequence, b.numbered = l.nextSequence, true
	l.nextSequence = l.nextSequence.Add(int32(len(b.handles)))
	record.PatchProducer(b.bytes, l.id, l.epoch, b.sequence)
}

// remove takes a batch out of its lane.
func (l *lane) remove(b *batch) {
	if l.open == b {
		l.open = nil
		return
	}
	if i := slices.Index(l.batches, b); i >= 0 {
		l.batches = slices.Delete(l.batches, i, i+1)
	}
}

// fail gives a batch its outcome. Whether that is definite follows from what happened to it.
func (p *Producer) fail(b *batch, why Outcome, out *Out) {
	why.Definite = !b.exposed && !b.inFlight
	if why.Code == 0 {
		why.Code = b.lastCode
	}
	if why.Code == 0 && b.attempts == 0 {
		why.Code = b.lane.topic.info.code
	}
	b.lane.remove(b)
	if b.numbered {
		b.lane.gap = true
	}
	out.Notes = append(out.Notes, Note{Kind: NoteBatchFailed, Topic: b.lane.topic.info.name, Code: why.Code, Count: int64(len(b.handles))})
	p.ack(b, why, model.NoOffset, model.NoTimestamp, out)
}

// ack reports a batch's outcome and lets go of it.
func (p *Producer) ack(b *batch, how Outcome, base model.Offset, appendTime model.Timestamp, out *Out) {
	invariant.Check(!b.done, "a batch has one outcome")
	b.done = true
	p.bufferedBytes -= b.cost
	p.unacked -= len(b.handles)
	out.Acks = append(out.Acks, Ack{
		Outcome: how, Topic: b.lane.topic.info.name, Partition: b.lane.partition,
		BaseOffset: base, AppendTime: appendTime, Handles: out.keep(b.handles...), Bytes: b.cost,
	})
	// Memory that a lost connection may still be writing from is left to the collector.
	const freeMax = 256
	if b.attempts <= 1 && !b.exposed && !b.inFlight && len(p.free) < freeMax {
		p.free = append(p.free, b)
	}
}

// batchQueue holds batches in the order of a time that never decreases. Entries whose batch has moved on
// are passed over.
type batchQueue struct {
	entries []batchEntry
	head    int
	live    func(*batch) bool
}

type batchEntry struct {
	b      *batch
	serial uint64
}

func (q *batchQueue) push(b *batch) {
	if q.head > 64 && q.head*2 > len(q.entries) {
		n := copy(q.entries, q.entries[q.head:])
		clear(q.entries[n:])
		q.entries, q.head = q.entries[:n], 0
	}
	q.entries = append(q.entries, batchEntry{b, b.serial})
}

// peek is the first batch still to be dealt with, or nil.
func (q *batchQueue) peek() *batch {
	for q.head < len(q.entries) {
		if e := q.entries[q.head]; e.b.serial == e.serial && q.live(e.b) {
			return e.b
		}
		q.entries[q.head] = batchEntry{}
		q.head++
	}
	q.entries, q.head = q.entries[:0], 0
	return nil
}

func (q *batchQueue) pop() *batch {
	b := q.peek()
	if b != nil {
		q.entries[q.head] = batchEntry{}
		q.head++
	}
	return b
}

// pushFront adds a batch whose time is that of the one before it.
func (q *batchQueue) pushFront(b *batch) {
	if q.head > 0 {
		q.head--
		q.entries[q.head] = batchEntry{b, b.serial}
		return
	}
	q.entries = slices.Insert(q.entries, 0, batchEntry{b, b.serial})
}

// keep copies handles into memory of the Out.
func (o *Out) keep(handles ...uint64) []uint64 {
	at := len(o.handles)
	o.handles = append(o.handles, handles...)
	return o.handles[at:len(o.handles):len(o.handles)]
}
