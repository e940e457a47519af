package consumer

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/internal/driver"
	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Record is a record that was read. Its bytes stay valid for as long as they are held; they share memory
// with the other records of the same answer, so keep copies of few instead.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp time.Time
	// Key and Value are nil when null.
	Key, Value []byte
	Headers    []Header
}

// Header is a key and a value beside a record (KIP-82). A nil value is null.
type Header = record.RecordHeader

// Consumer reads records. Poll and Records are for one goroutine at a time, the rest for any.
type Consumer struct {
	d   *driver.Driver
	m   *machine.Consumer
	g   *membership // nil without a group
	cfg config

	// The loop hands over what Poll asked for.
	want chan chan taken

	// The loop's own:
	waiter chan<- taken
	events []machine.Event
	stops  stops

	// Poll's own:
	decoder machine.Decoder
	waiting chan taken // of a Poll whose context ended first
	errs    []error    // not returned yet
	left    []Record   // what Records' caller broke off at
	over    bool

	mu     sync.Mutex
	closed bool
}

// taken is what the loop hands to Poll.
type taken struct {
	chunks []machine.Chunk
	events []machine.Event
	over   bool // every partition is at its end
}

// New starts a consumer. Without WithTopics and WithPartition it reads nothing until Assign.
func New(cl *client.Client, options ...Option) (*Consumer, error) {
	s := cl.Settings()
	cfg := config{
		ConsumerConfig: machine.NewConsumerConfig(), start: Earliest, pollBytes: 1 << 20,
		group: machine.NewGroupConfig(""), commitEvery: 5 * time.Second,
	}
	cfg.Config = s.Config
	for _, o := range options {
		o(&cfg)
	}
	if err := cfg.ConsumerConfig.Validate(); err != nil {
		return nil, err
	}
	if cfg.pollBytes <= 0 {
		return nil, errors.New("the size of a poll must be positive")
	}
	c := &Consumer{cfg: cfg, stops: newStops(&cfg), want: make(chan chan taken, 1)}
	var runs machine.Machine
	if cfg.group.Group == "" {
		c.m = machine.NewConsumer(cfg.ConsumerConfig)
		runs = c.m
	} else {
		if len(cfg.assigned) > 0 || cfg.stopAtEnd {
			return nil, errors.New("a group assigns the partitions: WithPartition and WithStopAtEnd are for consumers without one")
		}
		cfg.group.ConsumerConfig = cfg.ConsumerConfig
		cfg.group.Start = cfg.start.place
		if err := cfg.group.Validate(); err != nil {
			return nil, err
		}
		c.g = &membership{m: machine.NewGroupConsumer(cfg.group), notCommitting: cfg.notCommitting, every: cfg.commitEvery, onRebalance: cfg.onRebalance}
		c.m = c.g.m.Consumer()
		runs = c.g.m
	}
	c.decoder.BytesMax = cfg.inflatedMax
	first := true
	c.d = driver.Start(runs, s, func(now model.Time, out *machine.Out) model.Time {
		if first {
			first = false
			if c.g != nil {
				c.g.m.Subscribe(now, cfg.topics, out)
			} else {
				c.m.Follow(now, cfg.topics, cfg.start.place, out)
				c.m.Assign(now, cfg.assigned, out)
			}
		}
		return c.turn(now, out)
	}, c.report)
	c.d.Wake()
	return c, nil
}

// turn takes up what Poll wants.
func (c *Consumer) turn(now model.Time, out *machine.Out) model.Time {
	select {
	case c.waiter = <-c.want:
	default:
	}
	if c.waiter != nil && c.m.Available() {
		c.m.Poll(now, c.cfg.pollBytes, out)
	}
	return 0
}

// report hands over what came, if somebody waits for it. Without chunks in hand events wait for the next turn.
func (c *Consumer) report(out *machine.Out) {
	c.events = append(c.events, out.Events...)
	if c.g != nil {
		c.g.report(out)
	}
	over := c.stops.reached(c.m) && (c.g == nil || c.g.m.Settled())
	if c.waiter == nil {
		return
	}
	if len(out.Chunks) == 0 && !c.telling() && !over {
		if c.m.Available() {
			c.d.Wake() // it came in this turn: the next one takes it
		}
		return
	}
	t := taken{events: c.events, over: over}
	t.chunks = append(t.chunks, out.Chunks...)
	c.events = nil
	c.waiter <- t
	c.waiter = nil
}

// telling reports whether an event is one that Poll deals with.
func (c *Consumer) telling() bool {
	for i := range c.events {
		switch c.events[i].Kind {
		case machine.EventHalted, machine.EventAssigned, machine.EventRevoking, machine.EventLost, machine.EventGroupFailed:
			return true
		case machine.EventReset, machine.EventRemade, machine.EventEnd, machine.EventLeft:
		}
	}
	return false
}

// Poll waits for records and returns those that are there, about WithPollBytes of them at most. The
// slice is the caller's.
//
// An error other than the context's, client.ErrClosed and io.EOF (see WithStopAtEnd) is about one partition,
// which is halted; records of others may come with it, and Poll can be called again.
func (c *Consumer) Poll(ctx context.Context) ([]Record, error) {
	return c.PollInto(ctx, nil)
}

// PollInto is Poll that appends to dst, to reuse its memory.
func (c *Consumer) PollInto(ctx context.Context, dst []Record) ([]Record, error) {
	if len(c.left) > 0 {
		dst = append(dst, c.left...)
		c.g.returned(c.left)
		c.left = nil
		return dst, nil
	}
	for {
		if err := c.pendingError(); err != nil {
			return dst, err
		}
		if c.over {
			return dst, io.EOF
		}
		if err := c.beforePoll(ctx); err != nil {
			return dst, err
		}
		t, err := c.take(ctx)
		if err != nil {
			return dst, err
		}
		c.over = t.over
		before := len(dst)
		c.hear(t.events) // first: they came before the chunks, and what was known of a partition that is assigned is forgotten
		dst = c.decode(dst, &t)
		if len(dst) > before {
			return dst, c.pendingError()
		}
	}
}

// hear deals with events, in Poll's goroutine.
func (c *Consumer) hear(events []machine.Event) {
	for i := range events {
		switch e := &events[i]; e.Kind {
		case machine.EventHalted:
			c.errs = append(c.errs, client.NewError("consume", e.Topic, int32(e.Partition), machine.Outcome{
				Reason: machine.Refused, Code: e.Code, Definite: true,
			}))
		case machine.EventGroupFailed:
			c.errs = append(c.errs, client.NewError("join group "+c.cfg.group.Group, "", -1, machine.Outcome{
				Reason: machine.Refused, Code: e.Code, Definite: true,
			}))
		case machine.EventAssigned, machine.EventRevoking, machine.EventLost:
			c.g.moved(e)
		case machine.EventRemade:
			if c.g != nil {
				c.g.forget(Partition{e.Topic, int32(e.Partition)})
			}
		case machine.EventReset, machine.EventEnd, machine.EventLeft:
		}
	}
	if c.g != nil {
		c.g.tell()
	}
}

func (c *Consumer) pendingError() error {
	if len(c.errs) == 0 {
		return nil
	}
	err := c.errs[0]
	c.errs = c.errs[1:]
	return err
}

// take asks the loop for what there is and waits for it.
func (c *Consumer) take(ctx context.Context) (taken, error) {
	if c.waiting == nil {
		c.waiting = make(chan taken, 1)
		select {
		case c.want <- c.waiting:
			c.d.Wake()
		case <-c.d.Done():
			return taken{}, client.ErrClosed
		}
	}
	for {
		due, stop := c.g.commitDue()
		select {
		case t := <-c.waiting:
			stop()
			c.waiting = nil
			return t, nil
		case <-due:
			if err := c.commitWaiting(ctx); err != nil && ctx.Err() != nil {
				return taken{}, context.Cause(ctx)
			}
		case <-ctx.Done():
			stop()
			return taken{}, context.Cause(ctx)
		case <-c.d.Done():
			stop()
			return taken{}, client.ErrClosed
		}
	}
}

// decode appends the chunks' records. A batch that cannot be read halts its partition: what comes after it is not returned, and nothing
// from there on is committed.
func (c *Consumer) decode(dst []Record, t *taken) []Record {
	var halted []Partition
	for i := range t.chunks {
		k := &t.chunks[i]
		p := Partition{k.Topic, int32(k.Partition)}
		if slices.Contains(halted, p) {
			continue
		}
		stop := c.stops.of(k.Topic, k.Partition)
		next := k.Next
		err := c.decoder.Each(k, func(r *record.Record) {
			if r.Offset >= stop {
				return
			}
			dst = append(dst, Record{
				Topic: k.Topic, Partition: int32(k.Partition), Offset: int64(r.Offset), Timestamp: time.UnixMilli(int64(r.Timestamp)),
				Key: r.Key, Value: r.Value, Headers: r.Headers,
			})
		})
		if err != nil {
			c.errs = append(c.errs, err)
			if bad, ok := errors.AsType[*machine.DecodeError](err); ok {
				next, halted = bad.Offset, append(halted, p)
				c.d.Do(context.Background(), func(model.Time, *machine.Out) { c.m.Halt(bad.Topic, bad.Partition, bad.Offset) })
			}
		}
		c.g.returnedTo(k.Topic, p.Partition, int64(min(next, stop)))
	}
	return dst
}

// Records iterates over records as they come. It ends when the caller breaks off, at the end with
// WithStopAtEnd, and after an error that is not about one partition: the context's, or client.ErrClosed.
// Whoever breaks off can go on with another Records or with Poll: no record is skipped.
func (c *Consumer) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var batch []Record
		for {
			var err error
			clear(batch)
			batch, err = c.PollInto(ctx, batch[:0])
			for i := range batch {
				if !yield(batch[i], nil) {
					c.Unread(batch[i+1:])
					if err != nil && !errors.Is(err, io.EOF) {
						c.errs = append([]error{err}, c.errs...)
					}
					return
				}
			}
			switch {
			case err == nil:
			case errors.Is(err, io.EOF):
				return
			case !yield(Record{}, err) || ctx.Err() != nil || errors.Is(err, client.ErrClosed):
				return
			}
		}
	}
}

// Unread gives records back that Poll returned last: the next Poll returns them again, and a member of a
// group does not commit them before.
func (c *Consumer) Unread(records []Record) {
	if len(records) == 0 {
		return
	}
	c.left = append(append([]Record(nil), records...), c.left...)
	c.g.unread(records)
}

// Assign adds a partition, or moves it if it is assigned already.
func (c *Consumer) Assign(topic string, partition int32, s Start) error {
	return c.do(func(now model.Time, out *machine.Out) {
		c.m.Assign(now, []machine.Assignment{{Topic: topic, Partition: model.Partition(partition), Start: s.place}}, out)
	})
}

// Unassign removes a partition. Records of it that were fetched are dropped.
func (c *Consumer) Unassign(topic string, partition int32) error {
	return c.do(func(now model.Time, out *machine.Out) { c.m.Unassign(now, topic, model.Partition(partition), out) })
}

// Seek moves a partition and revives it if it was halted.
func (c *Consumer) Seek(topic string, partition int32, s Start) error {
	return c.about(topic, partition, func(now model.Time, out *machine.Out) bool {
		return c.m.Seek(now, topic, model.Partition(partition), s.place, out)
	})
}

// Pause stops a partition; what was fetched of it is kept for Resume.
func (c *Consumer) Pause(topic string, partition int32) error {
	return c.about(topic, partition, func(model.Time, *machine.Out) bool {
		return c.m.Pause(topic, model.Partition(partition), true)
	})
}

// Resume lets a paused partition go on.
func (c *Consumer) Resume(topic string, partition int32) error {
	return c.about(topic, partition, func(model.Time, *machine.Out) bool {
		return c.m.Pause(topic, model.Partition(partition), false)
	})
}

// Until ends a partition before an offset, as WithUntil does.
func (c *Consumer) Until(topic string, partition int32, offset int64) error {
	c.stops.set(topic, model.Partition(partition), model.Offset(offset))
	return c.do(func(model.Time, *machine.Out) {}) // a turn, which sees whether that was the last
}

// Position is where a partition stands. Offsets are -1 while they are unknown.
type Position struct {
	Topic          string
	Partition      int32
	Offset         int64 // of the next record that Poll returns
	HighWatermark  int64 // the end, as of the last fetch
	LogStartOffset int64
	Lag            int64 // offsets between the two, -1 if unknown
	Paused, Halted bool
}

// Positions are those of all assigned partitions, ordered by topic and partition.
func (c *Consumer) Positions() ([]Position, error) {
	var all []machine.Position
	if err := c.do(func(model.Time, *machine.Out) { all = c.m.Positions(nil) }); err != nil {
		return nil, err
	}
	positions := make([]Position, len(all))
	for i := range all {
		p := &all[i]
		positions[i] = Position{
			Topic: p.Topic, Partition: int32(p.Partition), Offset: int64(p.Offset), HighWatermark: int64(p.HighWatermark),
			LogStartOffset: int64(p.LogStartOffset), Lag: p.Lag(), Paused: p.Paused, Halted: p.Halted,
		}
	}
	return positions, nil
}

// Close ends the consumer. Records that were fetched and not returned are dropped. A member of a group commits
// what Poll returned, unless WithoutAutoCommit, and leaves the group.
func (c *Consumer) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	if !again {
		if c.g != nil {
			c.leave()
		}
		c.d.Close()
	}
	<-c.d.Done()
	return nil
}

func (c *Consumer) do(f func(now model.Time, out *machine.Out)) error {
	if !c.d.Do(context.Background(), f) {
		return client.ErrClosed
	}
	return nil
}

func (c *Consumer) about(topic string, partition int32, f func(now model.Time, out *machine.Out) bool) error {
	found := false
	if err := c.do(func(now model.Time, out *machine.Out) { found = f(now, out) }); err != nil {
		return err
	}
	if !found {
		return client.NewError("consume", topic, partition, machine.Outcome{
			Reason: machine.Refused, Code: kerr.UnknownTopicOrPartition.Code, Definite: true, Message: "the partition is not assigned",
		})
	}
	return nil
}
