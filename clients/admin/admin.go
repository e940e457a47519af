// Package admin manages topics and asks about them.
//
//	a, err := admin.New(c)                                          // c is a *client.Client
//	err = a.CreateTopic(ctx, admin.Topic{Name: "orders", Partitions: 12})
//	topics, err := a.DescribeTopics(ctx, "orders")
//	ends, err := a.EndOffsets(ctx, "orders")
//	err = a.Close()
//
// Requests are tried again while that may help, until WithTimeout or their context ends. A request that
// changes something and was tried again may meet its own success: CreateTopic then fails with
// kerr.TopicAlreadyExists, and client.Definite is false.
package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/internal/driver"
	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// Admin manages a cluster. It is safe for concurrent use; requests do not wait for each other.
type Admin struct {
	d *driver.Driver
	m *machine.Admin

	waiting map[machine.OpID]chan machine.Answer // the loop's

	mu     sync.Mutex
	closed bool
}

// Option configures an Admin.
type Option func(*machine.AdminConfig)

// WithTimeout is how long a request is tried. Default 60 s. A context that ends earlier ends it earlier.
func WithTimeout(d time.Duration) Option {
	return func(c *machine.AdminConfig) { c.Timeout = model.Time(d) }
}

// New starts an admin client. It connects with the first request.
func New(c *client.Client, options ...Option) (*Admin, error) {
	s := c.Settings()
	cfg := machine.NewAdminConfig()
	cfg.Config = s.Config
	for _, o := range options {
		o(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	a := &Admin{m: machine.NewAdmin(cfg), waiting: make(map[machine.OpID]chan machine.Answer)}
	a.d = driver.Start(a.m, s, func(model.Time, *machine.Out) model.Time { return 0 }, a.report)
	return a, nil
}

func (a *Admin) report(out *machine.Out) {
	for i := range out.Answers {
		if w := a.waiting[out.Answers[i].Op]; w != nil {
			w <- out.Answers[i]
			delete(a.waiting, out.Answers[i].Op)
		}
	}
}

// ask begins a request on the loop and waits for its answer.
func (a *Admin) ask(ctx context.Context, begin func(now model.Time, out *machine.Out) machine.OpID) (machine.Answer, error) {
	came := make(chan machine.Answer, 1)
	if !a.d.Do(ctx, func(now model.Time, out *machine.Out) {
		a.waiting[begin(now, out)] = came
	}) {
		if ctx.Err() != nil {
			return machine.Answer{}, context.Cause(ctx)
		}
		return machine.Answer{}, client.ErrClosed
	}
	select {
	case ans := <-came:
		return ans, nil
	case <-ctx.Done():
		return machine.Answer{}, context.Cause(ctx)
	}
}

// Topic is a topic to create.
type Topic struct {
	Name string
	// Partitions and ReplicationFactor are the broker's defaults when 0.
	Partitions        int32
	ReplicationFactor int16
	// Configs are Kafka's topic settings, "retention.ms" for one.
	Configs map[string]string
}

// CreateTopic creates a topic.
func (a *Admin) CreateTopic(ctx context.Context, t Topic) error {
	return a.CreateTopics(ctx, []Topic{t})
}

// CreateTopics creates topics. The error joins those of the topics that were not created.
func (a *Admin) CreateTopics(ctx context.Context, topics []Topic) error {
	return a.create(ctx, topics, false)
}

// ValidateTopics checks whether topics could be created, and creates nothing.
func (a *Admin) ValidateTopics(ctx context.Context, topics []Topic) error {
	return a.create(ctx, topics, true)
}

func (a *Admin) create(ctx context.Context, topics []Topic, validateOnly bool) error {
	asked := make([]machine.NewTopic, len(topics))
	for i, t := range topics {
		n := machine.NewTopic{Name: t.Name, PartitionCount: t.Partitions, ReplicationFactor: t.ReplicationFactor}
		if n.PartitionCount == 0 {
			n.PartitionCount = -1
		}
		if n.ReplicationFactor == 0 {
			n.ReplicationFactor = -1
		}
		for name, value := range t.Configs {
			n.Configs = append(n.Configs, machine.TopicConfig{Name: name, Value: value})
		}
		slices.SortFunc(n.Configs, func(x, y machine.TopicConfig) int {
			if x.Name < y.Name {
				return -1
			}
			return 1
		})
		asked[i] = n
	}
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID {
		return a.m.CreateTopics(now, asked, validateOnly, out)
	})
	if err != nil {
		return err
	}
	return join("create topic", &ans)
}

// DeleteTopics deletes topics and all their records. The error joins those of the topics that were not
// deleted.
func (a *Admin) DeleteTopics(ctx context.Context, names ...string) error {
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID {
		return a.m.DeleteTopics(now, names, out)
	})
	if err != nil {
		return err
	}
	return join("delete topic", &ans)
}

// join makes one error of the topics' outcomes.
func join(op string, ans *machine.Answer) error {
	if !ans.OK() && len(ans.Topics) == 0 {
		return client.NewError(op, "", -1, ans.Outcome)
	}
	var errs []error
	for i := range ans.Topics {
		if err := client.NewError(op, ans.Topics[i].Name, -1, ans.Topics[i].Outcome); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// TopicDescription is a topic as a broker sees it.
type TopicDescription struct {
	Name       string
	ID         string // 22 characters, empty from brokers older than Kafka 2.8
	Internal   bool
	Partitions []PartitionDescription // ordered
	// Err is why the topic could not be described; the other fields are then empty.
	Err error
}

// PartitionDescription is a partition as a broker sees it.
type PartitionDescription struct {
	Partition   int32
	Leader      int32 // -1 if there is none
	LeaderEpoch int32
	Replicas    []int32
	ISR         []int32
	Offline     []int32
	// ELR are replicas out of sync that have everything that was acknowledged; LastKnownELR those of which that was last
	// known (KIP-966). DescribePartitions tells them.
	ELR, LastKnownELR []int32
	Err               error // kerr.LeaderNotAvailable and the like
}

// DescribeTopics describes topics by name, or all when none is named, ordered by name.
func (a *Admin) DescribeTopics(ctx context.Context, names ...string) ([]TopicDescription, error) {
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID {
		return a.m.DescribeTopics(now, names, out)
	})
	if err != nil {
		return nil, err
	}
	if err := client.NewError("describe topics", "", -1, ans.Outcome); err != nil {
		return nil, err
	}
	topics := make([]TopicDescription, len(ans.Described))
	for i := range ans.Described {
		topics[i] = topicDescription(&ans.Described[i])
	}
	return topics, nil
}

func topicDescription(d *machine.TopicDescription) TopicDescription {
	t := TopicDescription{Name: d.Name, Internal: d.Internal, Err: codeError("describe topic", d.Name, -1, d.Code)}
	if !d.ID.IsZero() {
		t.ID = d.ID.String()
	}
	for j := range d.Partitions {
		p := &d.Partitions[j]
		t.Partitions = append(t.Partitions, PartitionDescription{
			Partition: int32(p.Partition), Leader: int32(p.Leader), LeaderEpoch: int32(p.LeaderEpoch),
			Replicas: nodes(p.Replicas), ISR: nodes(p.ISR), Offline: nodes(p.Offline), ELR: nodes(p.ELR), LastKnownELR: nodes(p.LastKnownELR),
			Err: codeError("describe topic", d.Name, int32(p.Partition), p.Code),
		})
	}
	return t
}

func nodes(ids []model.NodeID) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out
}

func codeError(op, topic string, partition int32, code int16) error {
	if code == 0 {
		return nil
	}
	return client.NewError(op, topic, partition, machine.Outcome{Reason: machine.Refused, Code: code, Definite: true})
}

// Cluster is who is in a cluster.
type Cluster struct {
	ID         string
	Controller int32 // -1 if unknown
	Brokers    []Broker
}

// Broker is a broker as clients reach it.
type Broker struct {
	ID   int32
	Addr string
	Rack string
	// Fenced says that the cluster does not count on it: it was not heard, or has just registered. DescribeBrokers tells.
	Fenced bool
}

// DescribeCluster asks who is in the cluster.
func (a *Admin) DescribeCluster(ctx context.Context) (Cluster, error) {
	ans, err := a.ask(ctx, a.m.DescribeCluster)
	if err != nil {
		return Cluster{}, err
	}
	if err := client.NewError("describe cluster", "", -1, ans.Outcome); err != nil {
		return Cluster{}, err
	}
	c := Cluster{ID: ans.Cluster.ID, Controller: int32(ans.Cluster.Controller)}
	for _, b := range ans.Cluster.Brokers {
		c.Brokers = append(c.Brokers, Broker{ID: int32(b.ID), Addr: b.Addr, Rack: b.Rack})
	}
	return c, nil
}

// Offset is a partition's answer about an offset.
type Offset struct {
	Topic       string
	Partition   int32
	Offset      int64 // -1 if no record qualifies
	Timestamp   time.Time
	LeaderEpoch int32
	Err         error
}

// StartOffsets are where all partitions of topics begin.
func (a *Admin) StartOffsets(ctx context.Context, topics ...string) ([]Offset, error) {
	return a.offsets(ctx, topics, machine.EarliestTimestamp)
}

// EndOffsets are where all partitions of topics end: the offset of the next record.
func (a *Admin) EndOffsets(ctx context.Context, topics ...string) ([]Offset, error) {
	return a.offsets(ctx, topics, machine.LatestTimestamp)
}

// OffsetsAfter are those of the first records that are not older than t, in all partitions of topics.
func (a *Admin) OffsetsAfter(ctx context.Context, t time.Time, topics ...string) ([]Offset, error) {
	return a.offsets(ctx, topics, model.Timestamp(t.UnixMilli()))
}

// MaxTimestampOffsets are those of the records with the greatest timestamps (KIP-734), in all partitions
// of topics. Brokers know them since Kafka 3.0.
func (a *Admin) MaxTimestampOffsets(ctx context.Context, topics ...string) ([]Offset, error) {
	return a.offsets(ctx, topics, machine.MaxTimestamp)
}

// offsets asks partitions' leaders. A partition that has none is answered with an error at once: it may be offline for
// good, and who asks for many wants the others.
func (a *Admin) offsets(ctx context.Context, topics []string, at model.Timestamp) ([]Offset, error) {
	if len(topics) == 0 {
		return nil, errors.New("list offsets: no topic named")
	}
	described, err := a.DescribeTopics(ctx, topics...)
	if err != nil {
		return nil, err
	}
	var queries []machine.OffsetQuery
	var leaderless []Offset
	for i := range described {
		if described[i].Err != nil {
			return nil, fmt.Errorf("list offsets: %w", described[i].Err)
		}
		for _, p := range described[i].Partitions {
			if p.Leader < 0 {
				leaderless = append(leaderless, Offset{
					Topic: described[i].Name, Partition: p.Partition, Offset: -1, LeaderEpoch: -1,
					Err: codeError("list offsets", described[i].Name, p.Partition, kerr.LeaderNotAvailable.Code),
				})
				continue
			}
			queries = append(queries, machine.OffsetQuery{Topic: described[i].Name, Partition: model.Partition(p.Partition), Timestamp: at})
		}
	}
	if len(queries) == 0 {
		return leaderless, nil
	}
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID { return a.m.ListOffsets(now, queries, out) })
	if err != nil {
		return nil, err
	}
	return append(offsetsOf("list offsets", &ans), leaderless...), nil
}

// Exists reports whether a topic exists.
func (a *Admin) Exists(ctx context.Context, topic string) (bool, error) {
	d, err := a.DescribeTopics(ctx, topic)
	switch {
	case err != nil:
		return false, err
	case len(d) == 1 && d[0].Err == nil:
		return true, nil
	case len(d) == 1 && !errors.Is(d[0].Err, kerr.UnknownTopicOrPartition):
		return false, d[0].Err
	}
	return false, nil
}

// Close ends the client. Requests under way fail with client.ErrClosed.
func (a *Admin) Close() error {
	a.mu.Lock()
	again := a.closed
	a.closed = true
	a.mu.Unlock()
	if !again {
		a.d.Close()
	}
	<-a.d.Done()
	return nil
}
