package consumer

import (
	"time"

	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// Option configures a Consumer.
type Option func(*config)

type config struct {
	machine.ConsumerConfig
	topics        []string
	start         Start
	assigned      []machine.Assignment
	stopAtEnd     bool
	until         map[key]model.Offset
	pollBytes     int
	group         machine.GroupConfig
	notCommitting bool
	commitEvery   time.Duration
	onRebalance   func(Change, []Partition)
	inflatedMax   int
}

// Start is a place in a partition.
type Start struct{ place machine.Start }

// Places to start at. Latest is after the newest record there is.
var (
	Earliest = Start{machine.Start{Kind: machine.StartEarliest}}
	Latest   = Start{machine.Start{Kind: machine.StartLatest}}
)

// At starts at an offset.
func At(offset int64) Start { return Start{machine.At(model.Offset(offset))} }

// Since starts at the first record whose timestamp is not before t.
func Since(t time.Time) Start {
	return Start{machine.Start{Kind: machine.StartTime, Timestamp: model.Timestamp(t.UnixMilli())}}
}

// WithTopics reads all partitions of topics, from WithStart on; partitions that are added later from their
// beginning.
func WithTopics(topics ...string) Option {
	return func(c *config) { c.topics = append(c.topics, topics...) }
}

// WithStart is where the topics of WithTopics are read from. Default Earliest.
func WithStart(s Start) Option { return func(c *config) { c.start = s } }

// WithPartition reads one partition from s on.
func WithPartition(topic string, partition int32, s Start) Option {
	return func(c *config) {
		c.assigned = append(c.assigned, machine.Assignment{Topic: topic, Partition: model.Partition(partition), Start: s.place})
	}
}

// Reset says what happens when a position is out of range.
type Reset = machine.Reset

// The choices of Reset.
const (
	ResetEarliest = machine.ResetEarliest // go on with the oldest record there is
	ResetLatest   = machine.ResetLatest   // skip to the end, as Kafka does by default
	ResetNone     = machine.ResetNone     // halt the partition
)

// WithGroup makes the consumer a member of a group, which divides the partitions of WithTopics among its
// members. Reading goes on where the group committed last, or begins at WithStart. Default no group.
func WithGroup(name string) Option { return func(c *config) { c.group.Group = name } }

// WithInstanceID makes the member static (KIP-345): it may restart within the session timeout without a
// rebalance. Each running member needs its own. Default none.
func WithInstanceID(id string) Option { return func(c *config) { c.group.InstanceID = id } }

// Strategy is how a group divides partitions among its members.
type Strategy = machine.Strategy

// The strategies.
const (
	Range             = machine.Range             // neighbouring partitions, topic by topic
	RoundRobin        = machine.RoundRobin        // partitions in turn, all topics together
	CooperativeSticky = machine.CooperativeSticky // as few moves as possible
)

// WithStrategies are the strategies that the member can do, the best first; a group uses one that all its
// members can. With CooperativeSticky alone reading goes on during rebalances. Default Range, RoundRobin,
// CooperativeSticky: any other client's group can be joined.
func WithStrategies(s ...Strategy) Option { return func(c *config) { c.group.Strategies = s } }

// WithSession is how long the member may be silent before the group goes on without it, and how often it says
// that it is alive. Defaults 45 s and 3 s.
func WithSession(timeout, heartbeat time.Duration) Option {
	return func(c *config) {
		c.group.SessionTimeout, c.group.HeartbeatInterval = model.Time(timeout), model.Time(heartbeat)
	}
}

// WithRebalanceTimeout is how long a member may take to let go of its partitions and join again, which it does
// in Poll. Default 60 s.
func WithRebalanceTimeout(d time.Duration) Option {
	return func(c *config) { c.group.RebalanceTimeout = model.Time(d) }
}

// WithCommitInterval is how often a member commits, in Poll, what earlier Polls returned, also while Poll waits for records. It does not wait
// for the outcome. Default 5 s.
func WithCommitInterval(d time.Duration) Option { return func(c *config) { c.commitEvery = d } }

// WithoutAutoCommit leaves committing to Commit and CommitRecords. Default off: Poll commits what earlier
// Polls returned, so that a record is committed after it was processed.
func WithoutAutoCommit() Option { return func(c *config) { c.notCommitting = true } }

// WithOnRebalance is told of partitions that come and go, from Poll. On Revoking there is still time to
// commit; on Lost there is not. Default nobody.
func WithOnRebalance(f func(Change, []Partition)) Option {
	return func(c *config) { c.onRebalance = f }
}

// WithReset is what happens when a position is outside the log, because retention was faster. Default
// ResetEarliest: what is still there is read.
func WithReset(r Reset) Option { return func(c *config) { c.Reset = r } }

// WithReadCommitted hides records of aborted transactions, and those that are not decided yet. Default off,
// as Kafka's.
func WithReadCommitted() Option { return func(c *config) { c.ReadCommitted = true } }

// WithStopAtEnd ends after the records that were there when the consumer started, as the partitions' leaders say: then Poll returns io.EOF
// and Records ends. With WithReadCommitted what is not decided is not waited for.
func WithStopAtEnd() Option { return func(c *config) { c.stopAtEnd, c.NotingEnds = true, true } }

// WithUntil ends a partition before an offset. When every assigned partition has come to its end, Poll
// returns io.EOF and Records ends; a partition without one, or whose end does not exist yet, goes on. Default no
// end.
func WithUntil(topic string, partition int32, offset int64) Option {
	return func(c *config) {
		if c.until == nil {
			c.until = make(map[key]model.Offset)
		}
		c.until[key{topic, model.Partition(partition)}] = model.Offset(offset)
	}
}

// WithFetchWait is how long a broker may hold a fetch that finds less than bytesMin. Defaults 500 ms and 1:
// records come as soon as they can. More bytes mean fewer, larger answers, that much later.
func WithFetchWait(wait time.Duration, bytesMin int) Option {
	return func(c *config) { c.FetchWait, c.FetchBytesMin = model.Time(wait), bytesMin }
}

// WithFetchBytes bounds an answer, and the share of one partition in it, softly: a larger batch comes alone.
// Defaults 50 MiB and 1 MiB.
func WithFetchBytes(answer, partition int) Option {
	return func(c *config) { c.FetchBytesMax, c.PartitionBytesMax = answer, partition }
}

// WithBufferBytes bounds what is fetched ahead, as it came from the broker. Default 64 MiB.
func WithBufferBytes(n int) Option { return func(c *config) { c.BufferBytes = n } }

// WithPollBytes is about how much Poll returns at most, as it came from the broker. Default 1 MiB.
func WithPollBytes(n int) Option { return func(c *config) { c.pollBytes = n } }

// WithMaxInflatedBytes bounds what one compressed batch may inflate to. Default 128 MiB.
func WithMaxInflatedBytes(n int) Option { return func(c *config) { c.inflatedMax = n } }

// WithoutCRCs trusts the network and the brokers' disks. Default off: every batch is checked, which costs
// a few percent.
func WithoutCRCs() Option { return func(c *config) { c.NotCheckingCRCs = true } }
