package node_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/node/config"
)

func groupConfig(dir string) config.Config {
	c := testConfig(dir)
	c.Groups.InitialRebalanceDelay, c.Groups.SessionTimeoutMsMin = 50*time.Millisecond, 100
	return c
}

// lifeline is a client's way to the node, which can be cut: as a crash of the client's machine would.
type lifeline struct {
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (l *lifeline) dial(ctx context.Context, network, host string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errors.New("the machine is down")
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, host)
	if err == nil {
		l.conns = append(l.conns, c)
	}
	return c, err
}

func (l *lifeline) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for _, c := range l.conns {
		_ = c.Close() // it is a crash
	}
}

// consumer is one member of a group: it commits what it has seen.
type consumer struct {
	cl       *kgo.Client
	line     *lifeline
	stop     context.CancelFunc
	done     chan struct{}
	assigned atomic.Int64
}

// seen is which records any member has got, by their values.
type seen struct {
	mu     sync.Mutex
	values map[string]int
}

func (s *seen) add(v string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[v]++
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.values)
}

func join(t *testing.T, n *testNode, group, topic string, to *seen, opts ...kgo.Opt) *consumer {
	t.Helper()
	c := &consumer{line: new(lifeline), done: make(chan struct{})}
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(n.KafkaAddr()), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.Dialer(c.line.dial),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100 * time.Millisecond), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(time.Second), kgo.HeartbeatInterval(100 * time.Millisecond), kgo.RebalanceTimeout(5 * time.Second),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) { c.assigned.Add(int64(len(got[topic]))) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
			c.assigned.Add(-int64(len(lost[topic])))
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
			c.assigned.Add(-int64(len(lost[topic])))
		}),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	c.cl = cl
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	go func() {
		defer close(c.done)
		for ctx.Err() == nil {
			fs := cl.PollFetches(ctx)
			fs.EachRecord(func(r *kgo.Record) { to.add(string(r.Value)) })
			// A commit may fail while the group rebalances: what it covered is read again.
			_ = cl.CommitUncommittedOffsets(ctx)
		}
	}()
	return c
}

func (c *consumer) close() {
	c.stop()
	<-c.done
	c.cl.Close()
}

func (c *consumer) crash() {
	c.line.kill()
	c.stop()
	<-c.done
	go c.cl.Close() // it cannot say good-bye, and tries for a while
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func fill(t *testing.T, n *testNode, topic string, from, count int) {
	t.Helper()
	cl := client(t, n, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	defer cl.Close()
	var rs []*kgo.Record
	for i := range count {
		rs = append(rs, &kgo.Record{Topic: topic, Value: fmt.Append(nil, from+i)})
	}
	produce(t, cl, rs)
}

func TestGroupOfThreeSurvivesACrashOfOneMemberAndOfTheNode(t *testing.T) {
	dir := t.TempDir()
	c := groupConfig(dir)
	n := start(t, c)
	createTopic(t, client(t, n), "orders", 6)
	fill(t, n, "orders", 0, 300)
	got := &seen{values: map[string]int{}}
	members := []*consumer{join(t, n, "g", "orders", got), join(t, n, "g", "orders", got), join(t, n, "g", "orders", got)}
	owned := func() (total int64, each []int64) {
		for _, m := range members {
			each = append(each, m.assigned.Load())
			total += m.assigned.Load()
		}
		return total, each
	}
	eventually(t, "six partitions shared by three members", func() bool {
		total, each := owned()
		return total == 6 && min(each[0], each[1], each[2]) == 2
	})
	eventually(t, "300 records", func() bool { return got.count() == 300 })

	members[2].crash()
	members = members[:2]
	eventually(t, "six partitions shared by the two that are left", func() bool { total, _ := owned(); return total == 6 })
	fill(t, n, "orders", 300, 100)
	eventually(t, "400 records", func() bool { return got.count() == 400 })
	adm := kadm.NewClient(client(t, n))
	eventually(t, "everything committed", func() bool {
		lag, err := adm.Lag(testContext(t), "g")
		return err == nil && lag["g"].Lag.Total() == 0
	})
	// A member that was not heard for its second joins again.
	eventually(t, "a group of two that is stable", func() bool {
		groups, err := adm.DescribeGroups(testContext(t), "g")
		return err == nil && groups["g"].State == "Stable" && len(groups["g"].Members) == 2
	})
	for _, m := range members {
		m.close()
	}
	before, err := adm.FetchOffsets(testContext(t), "g")
	if err != nil || len(before.Offsets()["orders"]) != 6 {
		t.Fatalf("%v: %v", err, before)
	}

	n.Kill()
	n = start(t, c)
	adm = kadm.NewClient(client(t, n))
	after, err := adm.FetchOffsets(testContext(t), "g")
	if err != nil {
		t.Fatal(err)
	}
	before.Each(func(o kadm.OffsetResponse) {
		if at, ok := after.Lookup(o.Topic, o.Partition); !ok || at.At != o.At {
			t.Errorf("partition %d was committed at %d, and is at %d after a crash", o.Partition, o.At, at.At)
		}
	})
	again := &seen{values: map[string]int{}}
	member := join(t, n, "g", "orders", again)
	defer member.close()
	eventually(t, "all partitions for the member after the restart", func() bool { return member.assigned.Load() == 6 })
	fill(t, n, "orders", 400, 10)
	eventually(t, "what came after the commits", func() bool { return again.count() == 10 })
}

func TestGroupsAreAdministered(t *testing.T) {
	n := start(t, groupConfig(t.TempDir()))
	cl := client(t, n)
	createTopic(t, cl, "orders", 2)
	createTopic(t, cl, "returns", 1)
	fill(t, n, "orders", 0, 20)
	ctx, adm := testContext(t), kadm.NewClient(cl)

	// Commits without membership, as tools that move a group do.
	at := kadm.Offsets{}
	at.AddOffset("orders", 0, 3, -1)
	at.AddOffset("returns", 0, 0, -1)
	if err := adm.CommitAllOffsets(ctx, "moved", at); err != nil {
		t.Fatal(err)
	}
	got := &seen{values: map[string]int{}}
	m := join(t, n, "live", "orders", got, kgo.InstanceID("one"), kgo.SessionTimeout(30*time.Second))
	defer m.close()
	eventually(t, "the member has everything", func() bool { return got.count() == 20 })

	listed, err := adm.ListGroups(ctx)
	if err != nil || len(listed) != 2 || listed["live"].State != "Stable" || listed["moved"].State != "Empty" {
		t.Fatalf("%v: %+v", err, listed)
	}
	if only, err := adm.ListGroups(ctx, "Stable"); err != nil || len(only) != 1 {
		t.Errorf("%v: %+v", err, only)
	}
	described, err := adm.DescribeGroups(ctx, "live", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	live := described["live"].Members[0]
	if live.InstanceID == nil || *live.InstanceID != "one" || live.ClientHost != "/127.0.0.1" {
		t.Errorf("%+v", live)
	}
	if assigned, ok := live.Assigned.AsConsumer(); !ok || len(assigned.Topics) != 1 || len(assigned.Topics[0].Partitions) != 2 {
		t.Errorf("the assignment cannot be read: %+v", live.Assigned)
	}
	if g := described["nobody"]; !errors.Is(g.Err, kerr.GroupIDNotFound) {
		t.Errorf("a group that is not there: %+v", g)
	}
	if deleted, err := adm.DeleteGroups(ctx, "live", "moved", "nobody"); err != nil || !errors.Is(deleted["live"].Err, kerr.NonEmptyGroup) ||
		deleted["moved"].Err != nil || !errors.Is(deleted["nobody"].Err, kerr.GroupIDNotFound) {
		t.Errorf("%v: %+v", err, deleted)
	}
	set := kadm.TopicsSet{}
	set.Add("orders", 0)
	set.Add("returns", 0)
	offsets, err := adm.DeleteOffsets(ctx, "live", set)
	if err != nil || !errors.Is(offsets["orders"][0], kerr.GroupSubscribedToTopic) || offsets["returns"][0] != nil {
		t.Errorf("%v: %+v", err, offsets)
	}
	if fetched, err := adm.FetchOffsets(ctx, "moved"); err != nil || len(fetched) != 0 {
		t.Errorf("a deleted group has offsets: %v, %+v", err, fetched)
	}
}

func TestAStaticMemberComesBackWithoutARebalance(t *testing.T) {
	n := start(t, groupConfig(t.TempDir()))
	createTopic(t, client(t, n), "orders", 2)
	fill(t, n, "orders", 0, 10)
	got := &seen{values: map[string]int{}}
	slow := []kgo.Opt{kgo.SessionTimeout(20 * time.Second)}
	one := join(t, n, "g", "orders", got, append(slow, kgo.InstanceID("one"))...)
	defer one.close()
	two := join(t, n, "g", "orders", got, append(slow, kgo.InstanceID("two"))...)
	eventually(t, "one partition each", func() bool { return one.assigned.Load() == 1 && two.assigned.Load() == 1 })
	eventually(t, "10 records", func() bool { return got.count() == 10 })
	generation := func() int64 {
		lines := n.logs.FilterMessage("a group is stable").All()
		return lines[len(lines)-1].ContextMap()["generation"].(int64)
	}
	before := generation()
	two.crash()
	two = join(t, n, "g", "orders", got, append(slow, kgo.InstanceID("two"))...)
	defer two.close()
	eventually(t, "its partition again", func() bool { return two.assigned.Load() == 1 })
	if after := generation(); after != before {
		t.Errorf("the group went from generation %d to %d", before, after)
	}
	fill(t, n, "orders", 10, 10)
	eventually(t, "20 records", func() bool { return got.count() == 20 })
}
