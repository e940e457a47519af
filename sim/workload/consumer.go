package workload

import (
	"fmt"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/sim/check"
	"github.com/weirmq/weir/sim/draw"
)

// consumer reads every partition of one topic, again and again from anywhere, and holds what it reads
// against what it read before.
type consumer struct {
	g       *group
	process int64
	rand    *draw.Stream
	line    Line
	machine *client.Consumer
	topic   string
	at      model.Time

	assigned bool
	settled  bool
	next     []model.Offset // by partition: where reading goes on; NoOffset when that is open
	decoder  client.Decoder
	records  []record.Record
	halts    int
	polled   int64
}

func newConsumer(g *group) *consumer {
	c := &consumer{g: g, process: g.process()}
	c.rand = g.Root.Stream("consumer", uint64(c.process))
	r := c.rand
	cfg := client.NewConsumerConfig(g.spec.Addrs...)
	g.timeouts(&cfg.Config, r)
	cfg.FetchWait = model.Time(r.LogUniform(int64(10*millisecond), int64(500*millisecond)))
	if r.Percent(25) {
		cfg.FetchWait = 3 * second // whoever is not woken waits long
	}
	cfg.FetchBytesMax = int(r.LogUniform(1, 1<<20))
	cfg.PartitionBytesMax = int(r.LogUniform(1, 1<<20))
	if r.Percent(20) {
		cfg.BufferBytes = int(r.LogUniform(1, 1<<16))
	}
	c.machine = client.NewConsumer(cfg)
	c.line.Machine = c.machine
	c.topic = g.topics[r.Intn(len(g.topics))]
	c.next = make([]model.Offset, g.spec.Partitions)
	for i := range c.next {
		c.next[i] = model.NoOffset
	}
	c.at = model.Time(r.Between(1, int64(50*millisecond)))
	return c
}

func (c *consumer) Name() string   { return fmt.Sprintf("consumer%d", c.process) }
func (c *consumer) Lines() []*Line { return []*Line{&c.line} }

func (c *consumer) Wake(now model.Time) {
	c.at = now + 1 + model.Time(c.rand.Exp(int64(200*millisecond)))
	switch {
	case c.g.created < len(c.g.topics):
	case !c.assigned:
		c.assigned = true
		var all []client.Assignment
		for p := range c.next {
			all = append(all, client.Assignment{Topic: c.topic, Partition: model.Partition(p)})
		}
		c.machine.Assign(now, all, &c.line.Out)
	case c.settled:
		c.at = 0
	default:
		c.rewind(now)
	}
	c.machine.Tick(now, &c.line.Out)
}

// rewind reads a partition again from some earlier offset.
func (c *consumer) rewind(now model.Time) {
	p := c.rand.Intn(len(c.next))
	pos, ok := c.machine.Position(c.topic, model.Partition(p))
	if !ok || pos.Halted || pos.Offset < 0 || c.next[p] < 0 {
		return
	}
	start := client.Start{}
	c.next[p] = model.NoOffset
	if c.rand.Percent(70) {
		c.next[p] = model.Offset(c.rand.Between(max(0, int64(pos.LogStartOffset)), int64(pos.Offset)))
		start = client.At(c.next[p])
	}
	c.machine.Seek(now, c.topic, model.Partition(p), start, &c.line.Out)
}

func (c *consumer) After(now model.Time, line *Line) {
	c.events(now, line)
	for c.machine.Available() {
		n := len(line.Out.Chunks)
		if !c.machine.Poll(now, 1<<20, &line.Out) {
			break
		}
		for i := n; i < len(line.Out.Chunks); i++ {
			c.take(now, &line.Out.Chunks[i])
		}
		c.events(now, line)
	}
}

func (c *consumer) events(now model.Time, line *Line) {
	for _, e := range line.Out.Events {
		p := int(e.Partition)
		switch e.Kind {
		case client.EventReset:
			if c.g.keep && !c.g.Excused(c.topic, int32(p)) {
				c.g.Fail("out-of-range", fmt.Sprintf("%s/%d: offset %d, which was served before, is out of range; going on at %d", c.topic, p, c.next[p], e.Offset))
			}
			c.next[p] = e.Offset
		case client.EventHalted:
			if !c.g.Excused(c.topic, int32(p)) {
				c.g.Fail("halted", fmt.Sprintf("%s/%d: code %d at %d", c.topic, p, e.Code, e.Offset))
			}
			if c.halts++; c.halts < 100 {
				c.next[p] = model.NoOffset
				c.machine.Seek(now, c.topic, e.Partition, client.Start{}, &line.Out)
			}
		case client.EventEnd: // the end moves all the time
		case client.EventRemade: // EventReset says the rest
		case client.EventAssigned, client.EventRevoking, client.EventLost, client.EventGroupFailed, client.EventLeft: // groups'
		}
	}
	line.Out.Events = line.Out.Events[:0]
}

// take records one chunk as a poll.
func (c *consumer) take(now model.Time, k *client.Chunk) {
	p := int(k.Partition)
	if c.next[p] != model.NoOffset && k.From != c.next[p] {
		c.g.Fail("poll-skip", fmt.Sprintf("%s/%d: reading goes on at %d instead of %d", c.topic, p, k.From, c.next[p]))
		return
	}
	c.next[p] = k.Next
	records, err := c.decoder.Decode(c.records[:0], k)
	c.records = records
	if err != nil {
		c.g.Fail("undecodable", fmt.Sprintf("%s/%d from %d: %v", c.topic, p, k.From, err))
		return
	}
	op := check.Op{
		Process: c.process, F: check.Poll, Outcome: check.OK, Topic: c.topic, Partition: int32(p), From: int64(k.From),
		Tail: int64(k.HighWatermark), Return: int64(now), Offset: -1,
		Offsets: make([]int64, 0, len(records)), Values: make([]int64, 0, len(records)),
	}
	for i := range records {
		number, ok := readValue(records[i].Value)
		if !ok {
			c.g.Fail("content", fmt.Sprintf("%s/%d: the record at %d is not what anybody wrote", c.topic, p, records[i].Offset))
			return
		}
		op.Offsets, op.Values = append(op.Offsets, int64(records[i].Offset)), append(op.Values, number)
	}
	c.polled += int64(len(records))
	if n := len(records); n > 0 && records[n-1].Offset+1 != k.Next {
		c.g.Fail("poll-skip", fmt.Sprintf("%s/%d: the position moves to %d after a record at %d", c.topic, p, k.Next, records[n-1].Offset))
	}
	c.g.History.Ops = append(c.g.History.Ops, op)
}

func (c *consumer) WakeAt() model.Time { return c.at }

func (c *consumer) Settle(now model.Time) { c.settled, c.at = true, now }

func (c *consumer) Waiting() string {
	if !c.settled || !c.assigned {
		return "not assigned"
	}
	for _, p := range c.g.producers {
		if why := p.Waiting(); why != "" {
			return p.Name() + ": " + why
		}
	}
	for p := range c.next {
		if c.g.Excused(c.topic, int32(p)) {
			continue
		}
		pos, _ := c.machine.Position(c.topic, model.Partition(p))
		if end := c.g.ends[check.Key{Topic: c.topic, Partition: int32(p)}]; int64(pos.Offset) < end {
			return fmt.Sprintf("%s/%d: at %d, acknowledged to %d", c.topic, p, pos.Offset, end)
		}
	}
	return ""
}
