package client

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// StartKind says where consuming a partition begins.
type StartKind uint8

// The places to begin at.
const (
	StartEarliest StartKind = iota // the oldest record there is
	StartLatest                    // after the newest record there is
	StartOffset                    // at Start.Offset
	StartTime                      // at the first record that is not older than Start.Timestamp
)

// Start is a place in a partition. The zero value is the earliest.
type Start struct {
	Kind      StartKind
	Offset    model.Offset
	Timestamp model.Timestamp
}

// At starts at an offset.
func At(offset model.Offset) Start { return Start{Kind: StartOffset, Offset: offset} }

// Assignment is a partition to consume.
type Assignment struct {
	Topic     string
	Partition model.Partition
	Start     Start
}

// Reset says what happens when a position is outside the log: retention overtook the consumer, or the
// topic was created anew.
type Reset uint8

// The choices of Reset.
const (
	ResetEarliest Reset = iota // go on with the oldest record there is: nothing that exists is missed
	ResetLatest                // skip to the end: Kafka's default
	ResetNone                  // halt the partition and say so
)

// ConsumerConfig is a consumer's configuration. Start from NewConsumerConfig.
type ConsumerConfig struct {
	Config
	// Reset is what happens when a position is out of range. Default ResetEarliest, unlike Kafka's: a
	// consumer that was too slow should not lose what is still there.
	Reset Reset
	// ReadCommitted hides records of aborted and undecided transactions. Default false, as Kafka's.
	ReadCommitted bool
	// FetchWait is how long a broker may hold a fetch that finds less than FetchBytesMin. Defaults 500 ms
	// and 1 byte: records are handed over as they come.
	FetchWait     model.Time
	FetchBytesMin int
	// FetchBytesMax and PartitionBytesMax bound one answer and one partition's share. Both are soft: a
	// batch that is larger comes alone. Defaults 50 MiB and 1 MiB.
	FetchBytesMax     int
	PartitionBytesMax int
	// BufferBytes bounds what is fetched ahead of Poll, softly. Default 64 MiB. Of one partition, two answers
	// are fetched ahead at most.
	BufferBytes int
	// NotingEnds asks the leader of each partition where it ends, before anything else: Position.EndNoted. What is fetched does not tell:
	// a leader that has just come to lead may let less be read yet than the one before, and lists no end until it knows (KIP-207).
	// Default false.
	NotingEnds bool
	// NotCheckingCRCs trusts the network and the brokers' disks. Default false.
	NotCheckingCRCs bool
}

// NewConsumerConfig is the default configuration.
func NewConsumerConfig(bootstrap ...string) ConsumerConfig {
	return ConsumerConfig{
		Config:            NewConfig(bootstrap...),
		FetchWait:         500 * millisecond,
		FetchBytesMin:     1,
		FetchBytesMax:     50 << 20,
		PartitionBytesMax: 1 << 20,
		BufferBytes:       64 << 20,
	}
}

// Validate reports what is wrong with the configuration.
func (c *ConsumerConfig) Validate() error {
	switch {
	case c.FetchWait < 0 || c.FetchWait/millisecond > math.MaxInt32 || c.FetchBytesMin < 0 || c.FetchBytesMin > math.MaxInt32:
		return errors.New("the fetch wait and least bytes must not be negative")
	case c.FetchBytesMax <= 0 || c.FetchBytesMax > math.MaxInt32 || c.PartitionBytesMax <= 0 || c.PartitionBytesMax > math.MaxInt32 || c.BufferBytes <= 0:
		return errors.New("fetch sizes and the buffer must be positive")
	case c.Reset > ResetNone:
		return fmt.Errorf("unknown reset policy %d", c.Reset)
	}
	return c.Config.Validate()
}

// Event is something that happened to a partition of a consumer.
type Event struct {
	Kind      EventKind
	Topic     string
	Partition model.Partition
	Offset    model.Offset
	Code      int16
}

// EventKind says what happened.
type EventKind uint8

// The kinds of events.
const (
	// EventHalted: the partition is not fetched any more, because of Code, at Offset. Seek revives it.
	// Partition AnyPartition stands for a followed topic none of whose partitions can be seen.
	EventHalted EventKind = iota + 1
	// EventReset: the position was out of range; consuming goes on at Offset.
	EventReset
	// EventRemade: the topic was deleted and made anew. Poll gives no more of the former one, in which the position was Offset. Where it goes
	// on says EventReset, or EventHalted if it does not.
	EventRemade
	// EventEnd: all records up to Offset, the end of the partition, were taken by Poll. It is said again
	// when more records have come and were taken.
	EventEnd
	// EventAssigned: the group gave this member the partition; reading begins at Offset, or where the
	// configuration says if that is NoOffset. Only a GroupConsumer says this and the following.
	EventAssigned
	// EventRevoking: the group wants the partition back. Poll gives nothing of it any more; after Release it
	// is another's.
	EventRevoking
	// EventLost: the partition is another's already, or may be: this member was silent for too long.
	EventLost
	// EventGroupFailed: the coordinator does not let this member in, because of Code. Nothing more comes.
	EventGroupFailed
	// EventLeft: the member has left its group, as Leave asked.
	EventLeft
)

var eventNames = [...]string{
	EventHalted: "halted", EventReset: "reset", EventRemade: "remade", EventEnd: "end", EventAssigned: "assigned", EventRevoking: "revoking", EventLost: "lost",
	EventGroupFailed: "group failed", EventLeft: "left",
}

// String names the kind.
func (k EventKind) String() string { return eventNames[k] }

// Position is what is known of an assigned partition.
type Position struct {
	Topic     string
	Partition model.Partition
	// Offset is the next record that Poll will give, NoOffset while it is being found out.
	Offset model.Offset
	// HighWatermark and LogStartOffset are as of the last answer, NoOffset before the first. With
	// ReadCommitted the high watermark is the last stable offset.
	HighWatermark  model.Offset
	LogStartOffset model.Offset
	// EndNoted is what HighWatermark was when the partition was assigned, NoOffset until it is known and without NotingEnds.
	EndNoted       model.Offset
	Paused, Halted bool
}

// Lag is how many offsets are left to the end, -1 if that is not known.
func (p *Position) Lag() int64 {
	if p.Offset < 0 || p.HighWatermark < 0 {
		return -1
	}
	return max(0, int64(p.HighWatermark-p.Offset))
}

// AtEnd reports whether all that was known to exist has been taken.
func (p *Position) AtEnd() bool {
	return p.Offset >= 0 && p.HighWatermark >= 0 && p.Offset >= p.HighWatermark
}

// Consumer is the machine that fetches assigned partitions ahead of its user. It knows nothing of groups.
//
//	         ┌─────────────── Seek, reset ───────────────┐
//	         ▼                                           │
//	locating ──ListOffsets──► fetching ──refused──► halted
//	(position unknown)        └ one fetch per leader in flight, for all its partitions
type Consumer struct {
	cfg ConsumerConfig
	cl  cluster

	parts    []*part // ordered by topic and partition
	followed []follow
	// ready are chunks that Poll has not taken, in the order of arrival.
	ready         []*fetched
	bufferedBytes int
	rotation      int
	dirty         bool       // something changed since the last pump
	wakeAt        model.Time // when pump has something to do if nothing changes; 0 is never

	request  protocol.FetchRequest
	response protocol.FetchResponse
	closed   bool
}

// partState is how far a partition is.
type partState uint8

const (
	locating partState = iota
	fetching
	halted
)

// part is one assigned partition.
type part struct {
	topic       *topicInfo
	partition   model.Partition
	incarnation int
	state       partState
	start       Start // where to begin, while locating
	resetting   bool  // locating because the position was out of range
	asking      bool  // a ListOffsets is under way
	inFlight    bool  // a fetch is under way
	paused      bool
	// generation tells answers to questions of before a Seek.
	generation uint32

	fetchOffset model.Offset // the next to ask for
	position    model.Offset // the next for Poll to give
	queued      int          // chunks in ready
	queuedBytes int
	end         model.Offset // high watermark or last stable offset
	endNoted    model.Offset // what that was at first, with NotingEnds
	logStart    model.Offset
	endSaid     bool
	retryAt     model.Time
	failures    int
}

// NewConsumer makes a consumer of nothing yet. The configuration must be valid.
func NewConsumer(cfg ConsumerConfig) *Consumer {
	c := &Consumer{cfg: cfg}
	c.cl.init(cfg.Config, c)
	return c
}

// Assign adds partitions, and moves those that are assigned already.
func (c *Consumer) Assign(now model.Time, assignments []Assignment, out *Out) {
	for i := range assignments {
		a := &assignments[i]
		x := c.find(a.Topic, a.Partition)
		if x == nil {
			topic, added := c.cl.topics.want(a.Topic)
			if added {
				c.cl.wantRefresh()
			}
			x = c.add(topic, a.Partition)
		}
		c.seek(x, a.Start)
	}
	c.settle(now, out)
}

// Follow assigns all partitions of topics, those that are added later from their beginning. Partitions
// that are assigned already are left as they are.
func (c *Consumer) Follow(now model.Time, topics []string, start Start, out *Out) {
	for _, name := range topics {
		topic, added := c.cl.topics.want(name)
		if added {
			c.cl.wantRefresh()
		}
		if i := slices.IndexFunc(c.followed, func(f follow) bool { return f.topic == topic }); i < 0 {
			c.followed = append(c.followed, follow{topic: topic, start: start})
		}
	}
	c.extend(out)
	c.settle(now, out)
}

// follow is a topic whose partitions are all assigned.
type follow struct {
	topic   *topicInfo
	start   Start
	count   int  // partitions looked at so far
	refused bool // that was said
}

// extend assigns the partitions of followed topics that have become known.
func (c *Consumer) extend(out *Out) {
	for i := range c.followed {
		f := &c.followed[i]
		for n := len(f.topic.partitions); f.count < n; f.count++ {
			if c.find(f.topic.name, model.Partition(f.count)) == nil {
				c.seek(c.add(f.topic, model.Partition(f.count)), f.start)
			}
		}
		if f.count > 0 {
			f.start = Start{Kind: StartEarliest} // what comes later is new
		}
		if code := f.topic.code; f.count == 0 && code != 0 && !Retriable(code) && !f.refused {
			f.refused = true
			out.Events = append(out.Events, Event{Kind: EventHalted, Topic: f.topic.name, Partition: AnyPartition, Offset: model.NoOffset, Code: code})
		}
	}
}

func (c *Consumer) add(topic *topicInfo, partition model.Partition) *part {
	x := &part{topic: topic, partition: partition, incarnation: topic.incarnation, endNoted: model.NoOffset}
	at, _ := slices.BinarySearchFunc(c.parts, x, comparePart)
	c.parts = slices.Insert(c.parts, at, x)
	return x
}

// Unassign removes partitions and drops what was fetched of them.
func (c *Consumer) Unassign(now model.Time, topic string, partition model.Partition, out *Out) {
	x := c.find(topic, partition)
	if x == nil {
		return
	}
	c.discard(x)
	c.parts = slices.Delete(c.parts, slices.Index(c.parts, x), slices.Index(c.parts, x)+1)
	if !slices.ContainsFunc(c.parts, func(y *part) bool { return y.topic == x.topic }) &&
		!slices.ContainsFunc(c.followed, func(f follow) bool { return f.topic == x.topic }) {
		c.cl.topics.drop(topic)
	}
	c.settle(now, out)
}

// Seek moves a partition's position and revives it if it was halted.
func (c *Consumer) Seek(now model.Time, topic string, partition model.Partition, start Start, out *Out) bool {
	x := c.find(topic, partition)
	if x == nil {
		return false
	}
	c.seek(x, start)
	c.settle(now, out)
	return true
}

func (c *Consumer) seek(x *part, start Start) {
	c.forget(x)
	x.state, x.start, x.resetting = locating, start, false
	x.retryAt, x.failures = 0, 0
	if start.Kind == StartOffset && !c.notes(x) {
		c.locate(x, start.Offset)
	}
	c.dirty = true
}

// notes reports whether a partition's end is to be found out first.
func (c *Consumer) notes(x *part) bool { return c.cfg.NotingEnds && x.endNoted == model.NoOffset }

// locate sets the position and lets fetching begin.
func (c *Consumer) locate(x *part, offset model.Offset) {
	x.state, x.resetting = fetching, false
	x.fetchOffset = max(offset, 0)
	// What was fetched before a reset is still good; the position moves when it has been taken.
	c.queue(x, Chunk{Topic: x.topic.name, Partition: x.partition, From: x.fetchOffset, Next: x.fetchOffset})
}

// forget leaves a place for another: of the same topic, or of one that was made anew under its name. The former's offsets mean nothing in that
// one, so its records are not given any more: who was given them would go on, commit and end by them.
func (c *Consumer) forget(x *part) {
	c.discard(x)
	x.fetchOffset, x.position, x.end, x.logStart = model.NoOffset, model.NoOffset, model.NoOffset, model.NoOffset
	x.endSaid = false
}

// discard drops what was fetched, and makes answers under way worthless.
func (c *Consumer) discard(x *part) {
	x.generation++
	x.asking, x.inFlight = false, false
	if x.queued > 0 {
		c.ready = slices.DeleteFunc(c.ready, func(f *fetched) bool { return f.part == x })
		c.bufferedBytes -= x.queuedBytes
		x.queued, x.queuedBytes = 0, 0
	}
}

// Pause keeps a partition from being fetched and given by Poll. What was fetched is kept.
func (c *Consumer) Pause(topic string, partition model.Partition, paused bool) bool {
	x := c.find(topic, partition)
	if x == nil {
		return false
	}
	x.paused = paused
	c.dirty = true
	return true
}

// Halt stops a partition at an offset: its user found a record there that cannot be read. Seek revives it.
func (c *Consumer) Halt(topic string, partition model.Partition, offset model.Offset) {
	if x := c.find(topic, partition); x != nil {
		c.discard(x)
		x.state, x.fetchOffset, x.position = halted, offset, offset
	}
}

// Poll takes fetched records, some bytesMax of them or a little more, into Out.Chunks. Positions move
// past what was taken. It is false when there was nothing.
func (c *Consumer) Poll(now model.Time, bytesMax int, out *Out) bool {
	took := 0
	kept := c.ready[:0]
	for i, f := range c.ready {
		if took > 0 && took+f.chunk.Bytes > bytesMax {
			kept = append(kept, c.ready[i:]...)
			break
		}
		x := f.part
		if x.paused {
			kept = append(kept, f)
			continue
		}
		x.queued--
		x.queuedBytes -= f.chunk.Bytes
		c.bufferedBytes -= f.chunk.Bytes
		took += f.chunk.Bytes
		x.position = f.chunk.Next
		if len(f.chunk.Batches) > 0 {
			out.Chunks = append(out.Chunks, f.chunk)
		}
		c.sayEnd(x, out)
	}
	clear(c.ready[len(kept):])
	c.ready = kept
	if took > 0 {
		c.dirty = true
		c.settle(now, out)
	}
	return took > 0
}

// sayEnd reports that a partition's end was reached, once for each time.
func (c *Consumer) sayEnd(x *part, out *Out) {
	if x.queued == 0 && x.end >= 0 && x.position >= x.end && !x.endSaid {
		x.endSaid = true
		out.Events = append(out.Events, Event{Kind: EventEnd, Topic: x.topic.name, Partition: x.partition, Offset: x.position})
	}
}

// Available reports whether Poll would give something.
func (c *Consumer) Available() bool {
	return slices.ContainsFunc(c.ready, func(f *fetched) bool { return !f.part.paused })
}

// BufferedBytes is what was fetched and not taken.
func (c *Consumer) BufferedBytes() int { return c.bufferedBytes }

// Positions appends what is known of every assigned partition, ordered by topic and partition.
func (c *Consumer) Positions(dst []Position) []Position {
	for _, x := range c.parts {
		dst = append(dst, x.describe())
	}
	return dst
}

// Position is what is known of one partition; ok is false if it is not assigned.
func (c *Consumer) Position(topic string, partition model.Partition) (p Position, ok bool) {
	x := c.find(topic, partition)
	if x == nil {
		return Position{}, false
	}
	return x.describe(), true
}

func (x *part) describe() Position {
	return Position{
		Topic: x.topic.name, Partition: x.partition, Offset: x.position, HighWatermark: x.end,
		LogStartOffset: x.logStart, EndNoted: x.endNoted, Paused: x.paused, Halted: x.state == halted,
	}
}

// AwaitsPartitions reports whether the partitions of a followed topic are yet to be learnt.
func (c *Consumer) AwaitsPartitions() bool {
	return slices.ContainsFunc(c.followed, func(f follow) bool { return f.count == 0 && !f.refused })
}

// PartitionCount is how many partitions an assigned topic has, 0 if that is not known yet.
func (c *Consumer) PartitionCount(topic string) int {
	if t := c.cl.topics.find(topic); t != nil {
		return len(t.partitions)
	}
	return 0
}

// Close closes all connections.
func (c *Consumer) Close(now model.Time, out *Out) {
	if !c.closed {
		c.closed = true
		c.cl.close(now, out)
	}
}

// Connected says that a Dial succeeded.
func (c *Consumer) Connected(now model.Time, id ConnID, out *Out) { c.cl.connected(now, id, out) }

// Received hands over one response frame, without its length prefix. The machine owns it from then on:
// chunks are slices of it.
func (c *Consumer) Received(now model.Time, id ConnID, frame []byte, out *Out) {
	c.cl.received(now, id, frame, out)
	c.dirty = true
	c.settle(now, out)
}

// Disconnected says that a connection failed or that a Dial did; the driver has stopped writing to it.
func (c *Consumer) Disconnected(now model.Time, id ConnID, detail string, out *Out) {
	c.cl.disconnected(now, id, detail, out)
	c.dirty = true
	c.settle(now, out)
}

// Written says that a frame with Send.Report has been written.
func (c *Consumer) Written(now model.Time, id ConnID, out *Out) {
	c.cl.written(now, id, out)
	c.settle(now, out)
}

// Tick does what is due.
func (c *Consumer) Tick(now model.Time, out *Out) {
	c.cl.tick(now, out)
	c.dirty = c.dirty || c.wakeAt != 0 && now >= c.wakeAt
	c.settle(now, out)
}

func (c *Consumer) settle(now model.Time, out *Out) {
	if c.closed {
		return
	}
	c.cl.tickRefresh(now, out)
	c.cl.sendWaiting(now, out)
	if c.dirty {
		c.dirty = false
		c.pump(now, out)
	}
}

// Deadline is when Tick has something to do; 0 is never.
func (c *Consumer) Deadline() model.Time {
	if c.closed {
		return 0
	}
	if c.dirty {
		return 1
	}
	return soonest(c.cl.deadline(), c.wakeAt)
}

func (c *Consumer) metadataUpdated(now model.Time, out *Out) {
	c.dirty = true
	c.extend(out)
	for _, x := range c.parts {
		if code := x.topic.code; code != 0 && !Retriable(code) && x.state != halted {
			c.halt(x, code, out)
		}
		if x.incarnation != x.topic.incarnation {
			x.incarnation, x.endNoted = x.topic.incarnation, model.NoOffset
			out.Events = append(out.Events, Event{Kind: EventRemade, Topic: x.topic.name, Partition: x.partition, Offset: x.position})
			if x.state == fetching {
				c.outOfRange(x, out)
			}
			c.forget(x)
		}
	}
}

func (c *Consumer) dataReady(model.Time, *conn, *Out) { c.dirty = true }

// halt stops fetching a partition. What was fetched before can still be taken.
func (c *Consumer) halt(x *part, code int16, out *Out) {
	x.state = halted
	x.generation++
	x.asking, x.inFlight = false, false
	out.Events = append(out.Events, Event{Kind: EventHalted, Topic: x.topic.name, Partition: x.partition, Offset: x.fetchOffset, Code: code})
}

// outOfRange applies the reset policy.
func (c *Consumer) outOfRange(x *part, out *Out) {
	if c.cfg.Reset == ResetNone {
		c.halt(x, kerr.OffsetOutOfRange.Code, out)
		return
	}
	x.generation++
	x.asking, x.inFlight = false, false
	x.state, x.resetting = locating, true
	x.start = Start{Kind: StartEarliest}
	if c.cfg.Reset == ResetLatest {
		x.start.Kind = StartLatest
	}
}

func (c *Consumer) find(topic string, partition model.Partition) *part {
	i, found := slices.BinarySearchFunc(c.parts, partition, func(x *part, p model.Partition) int {
		if d := strings.Compare(x.topic.name, topic); d != 0 {
			return d
		}
		return cmp.Compare(x.partition, p)
	})
	if !found {
		return nil
	}
	return c.parts[i]
}

func comparePart(x, y *part) int {
	if d := strings.Compare(x.topic.name, y.topic.name); d != 0 {
		return d
	}
	return cmp.Compare(x.partition, y.partition)
}

// Check verifies what must hold between inputs; it walks everything.
func (c *Consumer) Check() error {
	bytes := 0
	for _, f := range c.ready {
		bytes += f.chunk.Bytes
	}
	if bytes != c.bufferedBytes {
		return errorf("%d bytes buffered, %d counted", bytes, c.bufferedBytes)
	}
	for _, x := range c.parts {
		if x.state == fetching && x.queued == 0 && x.position != x.fetchOffset {
			return errorf("%s/%d: position %d, fetch offset %d", x.topic.name, x.partition, x.position, x.fetchOffset)
		}
	}
	return c.cl.check()
}
