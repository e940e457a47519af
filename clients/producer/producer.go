package producer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/internal/driver"
	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Record is a record to write.
type Record struct {
	Topic string
	// Partition is where it goes: Any, which is the zero value, or On(n).
	Partition Placement
	// Key and Value may be nil, which is null; a null value is a tombstone in compacted topics.
	Key, Value []byte
	Headers    []Header
	// Timestamp is now when zero.
	Timestamp time.Time
}

// Placement says to which partition a record goes.
type Placement struct{ plusOne int32 }

// Any lets the producer choose the partition: by the key, as Java's clients do, so that equal keys meet;
// records without key go to one partition at a time, a batch to each.
var Any Placement

// On places a record on partition n.
func On(n int32) Placement { return Placement{n + 1} }

// Header is a key and a value beside a record (KIP-82).
type Header struct {
	Key   string
	Value []byte
}

// Result is where a record was written.
type Result struct {
	Topic     string
	Partition int32
	// Offset is -1 when it is not known: with AcksNone, and rarely after a retry.
	Offset int64
	// AppendTime is when the broker wrote the record, if the topic has the broker stamp records; else zero.
	AppendTime time.Time
}

// Producer writes records. It is safe for concurrent use.
type Producer struct {
	d      *driver.Driver
	m      *machine.Producer
	linger model.Time

	mu            sync.Mutex // held for moments only
	staged        []staged
	arena         []byte // what staged records' bytes are slices of
	stagedBytes   int
	bufferedBytes int // taken and without outcome
	bufferMax     int
	room          chan struct{} // closed when there is room again; nil if nobody waits
	closed        bool
	// rounds count the records without outcome, one entry for each span between two flushes.
	rounds    []round
	lastRound uint32
	flushing  bool // a flush began since the last turn

	// The loop's own:
	taken      []staged
	takenArena []byte
	waitUntil  model.Time // for more records before the next turn takes them
	calls      []call
	free       []uint32
	out        delivery

	deliveries deliveries
}

// staged is a record on its way to the loop.
type staged struct {
	topic     string
	partition int32
	round     uint32
	cost      int
	record    record.Record
	done      func(Result, error)
}

// call is whom to tell about a record.
type call struct {
	done func(Result, error)
}

type round struct {
	number  uint32
	count   int
	waiters []chan struct{}
}

// New starts a producer. It connects when the first record comes.
func New(c *client.Client, options ...Option) (*Producer, error) {
	s := c.Settings()
	cfg := newConfig(s.Config, options)
	if err := cfg.ProducerConfig.Validate(); err != nil {
		return nil, err
	}
	if cfg.bufferBytes <= 0 {
		return nil, errors.New("the buffer must be positive")
	}
	p := &Producer{
		m: machine.NewProducer(cfg.ProducerConfig), linger: cfg.Linger, bufferMax: cfg.bufferBytes,
		rounds: []round{{}}, calls: make([]call, 1), // index 0 is nobody
	}
	p.deliveries.start(p)
	p.d = driver.Start(p.m, s, p.turn, p.report)
	return p, nil
}

// Produce writes a record and waits for its outcome. When ctx ends first the record may be written all the
// same.
func (p *Producer) Produce(ctx context.Context, r Record) (Result, error) {
	type outcome struct {
		res Result
		err error
	}
	came := make(chan outcome, 1)
	if err := p.ProduceAsync(ctx, r, func(res Result, err error) { came <- outcome{res, err} }); err != nil {
		return Result{}, err
	}
	select {
	case o := <-came:
		return o.res, o.err
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

// ProduceAsync takes a record, waiting for room in the buffer if there is none. Unless it returns an error,
// done is called with the outcome, exactly once; done may be nil. The record's bytes are copied.
//
// Calls of done come from one goroutine, in the order of the outcomes, which for each partition is that of
// the records. A slow done holds up the others and in time the buffer, so it must not wait for this
// producer.
func (p *Producer) ProduceAsync(ctx context.Context, r Record, done func(Result, error)) error {
	for {
		room, err := p.stage(&r, done, true)
		if room == nil {
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.d.Done():
			return client.ErrClosed
		}
	}
}

// TryProduce is ProduceAsync without waiting: client.ErrBufferFull says that there is no room.
func (p *Producer) TryProduce(r Record, done func(Result, error)) error {
	_, err := p.stage(&r, done, false)
	return err
}

// stage hands a record to the loop. A channel is returned if there is no room and waiting is wanted.
func (p *Producer) stage(r *Record, done func(Result, error), wait bool) (<-chan struct{}, error) {
	s := staged{topic: r.Topic, partition: r.Partition.plusOne - 1, done: done}
	if s.partition < int32(machine.AnyPartition) {
		return nil, client.ErrNoPartition
	}
	s.record = record.Record{Key: r.Key, Value: r.Value, Timestamp: model.NoTimestamp}
	if len(r.Headers) > 0 {
		s.record.Headers = copyHeaders(r.Headers)
	}
	if !r.Timestamp.IsZero() {
		s.record.Timestamp = model.Timestamp(r.Timestamp.UnixMilli())
	}
	s.cost = record.RecordBytesMax(&s.record)

	p.mu.Lock()
	// A record that is larger than the buffer has it to itself.
	if p.bufferedBytes+s.cost > p.bufferMax && p.bufferedBytes > 0 && !p.closed {
		defer p.mu.Unlock()
		if !wait {
			return nil, client.ErrBufferFull
		}
		if p.room == nil {
			p.room = make(chan struct{})
		}
		return p.room, nil
	}
	if p.closed {
		p.mu.Unlock()
		return nil, client.ErrClosed
	}
	p.bufferedBytes += s.cost
	p.stagedBytes += s.cost
	now := &p.rounds[len(p.rounds)-1]
	now.count++
	s.round = now.number
	s.record.Key, s.record.Value = p.keep(r.Key), p.keep(r.Value)
	p.staged = append(p.staged, s)
	// The loop is told of the first record, and again when there are enough to be worth a turn.
	tell := len(p.staged) == 1 || p.stagedBytes >= gatherBytes && p.stagedBytes-s.cost < gatherBytes
	p.mu.Unlock()
	if tell {
		p.d.Wake()
	}
	return nil, nil
}

func copyHeaders(headers []Header) []record.RecordHeader {
	copied := make([]record.RecordHeader, len(headers))
	for i := range headers {
		copied[i].Key = []byte(headers[i].Key)
		if headers[i].Value != nil {
			copied[i].Value = append([]byte{}, headers[i].Value...)
		}
	}
	return copied
}

// gatherBytes is how much is worth a turn of the loop while batches linger anyway.
const gatherBytes = 64 << 10

const arenaBytes = 256 << 10

// keep copies bytes into the arena. Null stays null, and empty stays empty.
func (p *Producer) keep(b []byte) []byte {
	if len(b) == 0 {
		return b[:0:0]
	}
	p.reserve(len(b))
	at := len(p.arena)
	p.arena = append(p.arena, b...)
	return p.arena[at:len(p.arena):len(p.arena)]
}

// reserve sees to room in the arena; what earlier records point at stays where it is.
func (p *Producer) reserve(n int) {
	if cap(p.arena)-len(p.arena) < n {
		p.arena = make([]byte, 0, max(arenaBytes, n, min(2*cap(p.arena), 4<<20)))
	}
}

// Flush sends what was taken before without further lingering, and waits for the outcomes.
func (p *Producer) Flush(ctx context.Context) error {
	done := p.beginFlush()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *Producer) beginFlush() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := &p.rounds[len(p.rounds)-1]
	if len(p.rounds) == 1 && last.count == 0 {
		return nil
	}
	done := make(chan struct{})
	last.waiters = append(last.waiters, done)
	p.lastRound++
	p.rounds = append(p.rounds, round{number: p.lastRound})
	p.settleRounds()
	p.flushing = true
	p.d.Wake()
	return done
}

// settleRounds tells those who wait for rounds that are over. Rounds end in order.
func (p *Producer) settleRounds() {
	for len(p.rounds) > 1 && p.rounds[0].count == 0 {
		for _, w := range p.rounds[0].waiters {
			close(w)
		}
		p.rounds = p.rounds[1:]
	}
}

// Close flushes, until ctx ends at the latest, and closes all connections. Records without outcome by then
// fail with client.ErrClosed, which may not be definite. The error is ctx's.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	p.mu.Unlock()
	if again {
		<-p.d.Done()
		return nil
	}
	err := p.Flush(ctx)
	p.d.Close()
	p.deliveries.stop()
	return err
}

// BufferedBytes is what counts against WithBufferBytes now.
func (p *Producer) BufferedBytes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bufferedBytes
}
