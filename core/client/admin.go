package client

import (
	"slices"

	"github.com/weirmq/weir/core/model"
)

// OpID names an admin request of one machine.
type OpID uint64

// AdminConfig is an admin client's configuration. Start from NewAdminConfig.
type AdminConfig struct {
	Config
	// Timeout is how long a request is tried before it fails. Default 60 s.
	Timeout model.Time
}

// NewAdminConfig is the default configuration.
func NewAdminConfig(bootstrap ...string) AdminConfig {
	return AdminConfig{Config: NewConfig(bootstrap...), Timeout: 60 * second}
}

// Validate reports what is wrong with the configuration.
func (c *AdminConfig) Validate() error {
	if c.Timeout <= 0 {
		return errorf("the timeout must be positive")
	}
	return c.Config.Validate()
}

// NewTopic is a topic to create. Start from MakeTopic: 0 partitions are refused by brokers.
type NewTopic struct {
	Name              string
	PartitionCount    int32 // -1: the broker's default (KIP-464)
	ReplicationFactor int16 // -1: the broker's default
	Configs           []TopicConfig
}

// TopicConfig is one setting of a topic.
type TopicConfig struct{ Name, Value string }

// OffsetQuery asks for an offset: by a time, or by LatestTimestamp, EarliestTimestamp or MaxTimestamp.
type OffsetQuery struct {
	Topic     string
	Partition model.Partition
	Timestamp model.Timestamp
}

// Admin is the machine for requests that are not about records. Each request becomes one Answer. Requests
// do not wait for each other, and are tried again for as long as that may help.
type Admin struct {
	cfg    AdminConfig
	cl     cluster
	ops    []*op // under way, oldest first
	lastOp OpID
	closed bool

	coordinators []coordinator // of groups, ordered by group
}

// op is one admin request under way.
type op struct {
	id       OpID
	kind     opKind
	deadline model.Time
	retryAt  model.Time
	waiting  bool // for retryAt
	failures int
	calls    int  // requests under way
	atHead   bool // must go to the controller
	// confirming: it is asked who coordinates, while the coordinator owes an answer. Not again before confirmAt.
	confirming bool
	confirmAt  model.Time
	// exposed: an attempt that changes something ended without an answer.
	exposed  bool
	lastCode int16

	create   []NewTopic // those without a result yet
	validate bool
	names    []string // to delete, without a result yet; to describe
	all      bool
	queries  []OffsetResult // Reason Lost marks those without a result yet
	errand   errand
	answer   Answer
}

type opKind uint8

const (
	createTopics opKind = iota
	deleteTopics
	describeTopics
	describeCluster
	listOffsets
	deleteRecords // its queries' offsets are asked for, not found
	anErrand
)

// NewAdmin makes an admin client. The configuration must be valid.
func NewAdmin(cfg AdminConfig) *Admin {
	a := &Admin{cfg: cfg}
	a.cl.init(cfg.Config, a)
	return a
}

// CreateTopics creates topics; ValidateOnly only checks whether they could be. The answer's Topics are in
// no particular order.
func (a *Admin) CreateTopics(now model.Time, topics []NewTopic, validateOnly bool, out *Out) OpID {
	return a.begin(now, &op{kind: createTopics, create: slices.Clone(topics), validate: validateOnly}, out)
}

// DeleteTopics deletes topics and their records.
func (a *Admin) DeleteTopics(now model.Time, names []string, out *Out) OpID {
	return a.begin(now, &op{kind: deleteTopics, names: slices.Clone(names)}, out)
}

// DescribeTopics asks for topics by name, or for all of them when names is nil. One that is unknown is asked for three times more:
// brokers learn of a new topic at different times.
func (a *Admin) DescribeTopics(now model.Time, names []string, out *Out) OpID {
	return a.begin(now, &op{kind: describeTopics, names: slices.Clone(names), all: names == nil}, out)
}

// DescribeCluster asks who is in the cluster.
func (a *Admin) DescribeCluster(now model.Time, out *Out) OpID {
	return a.begin(now, &op{kind: describeCluster}, out)
}

// ListOffsets asks partitions' leaders for offsets. The answer's Offsets are in the order of the queries.
func (a *Admin) ListOffsets(now model.Time, queries []OffsetQuery, out *Out) OpID {
	o := &op{kind: listOffsets}
	for _, q := range queries {
		o.queries = append(o.queries, OffsetResult{
			OffsetQuery: q, Outcome: Outcome{Reason: Lost}, Offset: model.NoOffset, Time: model.NoTimestamp, LeaderEpoch: model.NoLeaderEpoch,
		})
		if !slices.Contains(o.names, q.Topic) {
			o.names = append(o.names, q.Topic)
		}
	}
	slices.Sort(o.names)
	return a.begin(now, o, out)
}

// DeleteRecords moves the starts of logs: records before Offset are gone then. Offset -1 is the end. The
// answer's Offsets are where the logs start, in the order of the targets.
func (a *Admin) DeleteRecords(now model.Time, targets []RecordTarget, out *Out) OpID {
	o := &op{kind: deleteRecords}
	for _, t := range targets {
		o.queries = append(o.queries, OffsetResult{
			OffsetQuery: OffsetQuery{Topic: t.Topic, Partition: t.Partition}, Outcome: Outcome{Reason: Lost}, before: t.Offset,
			Offset: model.NoOffset, Time: model.NoTimestamp, LeaderEpoch: model.NoLeaderEpoch,
		})
		if !slices.Contains(o.names, t.Topic) {
			o.names = append(o.names, t.Topic)
		}
	}
	slices.Sort(o.names)
	return a.begin(now, o, out)
}

// RecordTarget is up to where a partition's records are to be deleted.
type RecordTarget struct {
	TopicPartition
	Offset model.Offset
}

func (a *Admin) begin(now model.Time, o *op, out *Out) OpID {
	a.lastOp++
	o.id = a.lastOp
	o.answer.Op = o.id
	o.deadline = now + a.cfg.Timeout
	if a.closed {
		out.Answers = append(out.Answers, Answer{Op: o.id, Outcome: Outcome{Reason: Closed, Definite: true}})
		return o.id
	}
	a.ops = append(a.ops, o)
	if o.kind == listOffsets || o.kind == deleteRecords {
		for _, name := range o.names {
			a.cl.topics.want(name) // who leads is asked again when a leader says nothing
		}
	}
	a.try(now, o, out)
	a.settle(now, out)
	return o.id
}

// try sends what the op still needs.
func (a *Admin) try(now model.Time, o *op, out *Out) {
	o.waiting = false
	if o.empty() {
		a.finish(o, Outcome{}, out)
		return
	}
	node := anyNode
	if o.atHead && a.cl.controller >= 0 {
		node = a.cl.controller
	}
	if o.kind == anErrand {
		a.tryErrand(now, o, out)
		return
	}
	o.calls++
	a.cl.submit(now, node, &opCall{a: a, op: o, node: node}, out)
}

// empty reports whether nothing is left to ask.
func (o *op) empty() bool {
	switch o.kind {
	case createTopics:
		return len(o.create) == 0
	case deleteTopics:
		return len(o.names) == 0
	case describeTopics:
		return !o.all && len(o.names) == 0
	case listOffsets, deleteRecords:
		return !slices.ContainsFunc(o.queries, func(q OffsetResult) bool { return q.Reason == Lost })
	default: // describeCluster and errands ask one thing
		return false
	}
}

// again tries the op later, once nothing of it is under way.
func (a *Admin) again(now model.Time, o *op) {
	if o.waiting {
		return
	}
	o.failures++
	o.waiting, o.retryAt = true, now+a.cl.backoff(o.failures)
}

// finish reports the op.
func (a *Admin) finish(o *op, how Outcome, out *Out) {
	i := slices.Index(a.ops, o)
	if i < 0 {
		return
	}
	a.ops = slices.Delete(a.ops, i, i+1)
	if o.kind == listOffsets || o.kind == deleteRecords {
		for _, name := range o.names {
			if !slices.ContainsFunc(a.ops, func(y *op) bool { return y.queries != nil && slices.Contains(y.names, name) }) {
				a.cl.topics.drop(name)
			}
		}
	}
	if !how.OK() {
		// Nothing certain can be said while a request is under way either.
		how.Definite = !o.exposed && o.calls == 0
		if how.Code == 0 {
			how.Code = o.lastCode
		}
		for _, t := range o.create {
			o.answer.Topics = append(o.answer.Topics, TopicResult{Name: t.Name, Outcome: how})
		}
		if o.kind == deleteTopics {
			for _, name := range o.names {
				o.answer.Topics = append(o.answer.Topics, TopicResult{Name: name, Outcome: how})
			}
		}
		for i := range o.queries {
			if o.queries[i].Reason == Lost {
				o.queries[i].Outcome = how
			}
		}
	}
	if o.kind != anErrand {
		o.answer.Offsets = o.queries
	}
	o.answer.Outcome = how
	out.Answers = append(out.Answers, o.answer)
}

// Close fails what is under way and closes all connections.
func (a *Admin) Close(now model.Time, out *Out) {
	if a.closed {
		return
	}
	a.closed = true
	a.cl.close(now, out)
	for len(a.ops) > 0 {
		a.finish(a.ops[0], Outcome{Reason: Closed}, out)
	}
}

// Connected says that a Dial succeeded.
func (a *Admin) Connected(now model.Time, id ConnID, out *Out) { a.cl.connected(now, id, out) }

// Received hands over one response frame, without its length prefix. The machine owns it from then on.
func (a *Admin) Received(now model.Time, id ConnID, frame []byte, out *Out) {
	a.cl.received(now, id, frame, out)
	a.settle(now, out)
}

// Disconnected says that a connection failed or that a Dial did; the driver has stopped writing to it.
func (a *Admin) Disconnected(now model.Time, id ConnID, detail string, out *Out) {
	a.cl.disconnected(now, id, detail, out)
	a.settle(now, out)
}

// Written says that a frame with Send.Report has been written.
func (a *Admin) Written(now model.Time, id ConnID, out *Out) {
	a.cl.written(now, id, out)
	a.settle(now, out)
}

// Tick does what is due.
func (a *Admin) Tick(now model.Time, out *Out) {
	a.cl.tick(now, out)
	for i := 0; i < len(a.ops); {
		o := a.ops[i]
		if now >= o.deadline {
			a.finish(o, Outcome{Reason: TimedOut}, out)
		} else {
			i++
		}
	}
	a.settle(now, out)
}

func (a *Admin) settle(now model.Time, out *Out) {
	if a.closed {
		return
	}
	for i := 0; i < len(a.ops); i++ {
		if o := a.ops[i]; o.waiting && o.calls == 0 && now >= o.retryAt {
			a.try(now, o, out)
			if i < len(a.ops) && a.ops[i] != o {
				i--
			}
		}
	}
	for _, o := range a.ops {
		a.confirm(now, o, out)
	}
	a.cl.tickRefresh(now, out)
	a.cl.sendWaiting(now, out)
}

// Deadline is when Tick has something to do; 0 is never.
func (a *Admin) Deadline() model.Time {
	if a.closed {
		return 0
	}
	d := a.cl.deadline()
	for _, o := range a.ops {
		d = soonest(d, o.deadline)
		if o.waiting && o.calls == 0 {
			d = soonest(d, max(o.retryAt, 1))
		}
	}
	return d
}

// PendingCount is how many requests have no Answer yet.
func (a *Admin) PendingCount() int { return len(a.ops) }

// Check verifies what must hold between inputs.
func (a *Admin) Check() error {
	for i, o := range a.ops {
		if i > 0 && a.ops[i-1].id >= o.id {
			return errorf("admin requests out of order at %d", o.id)
		}
		if o.calls == 0 && !o.waiting {
			return errorf("admin request %d waits for nothing", o.id)
		}
	}
	return a.cl.check()
}

func (a *Admin) metadataUpdated(model.Time, *Out) {}

func (a *Admin) dataReady(model.Time, *conn, *Out) {}
