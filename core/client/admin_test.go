package client_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

func adminFor(c *clienttest.Cluster) *client.Admin {
	cfg := client.NewAdminConfig(c.Addr(c.Brokers[0]))
	cfg.Seed = 3
	return client.NewAdmin(cfg)
}

// ask runs one admin request to its answer.
func (w *world) ask(a *client.Admin, request func(out *client.Out) client.OpID) client.Answer {
	w.t.Helper()
	var id client.OpID
	w.step(a, func(out *client.Out) { id = request(out) })
	n := len(w.answers)
	if !w.run(120_000*ms, func() bool { return len(w.answers) > n || n > 0 && w.answers[n-1].Op == id }, a) {
		w.t.Fatalf("request %d was not answered", id)
	}
	return w.answers[len(w.answers)-1]
}

// Brokers learn of a new topic at different times: one that the asked does not know is asked for again before it is told to be
// unknown, and what else is asked for is told beside it.
func TestAdminAsksAgainForATopicThatIsUnknown(t *testing.T) {
	for _, how := range []struct {
		key      protocol.Key
		describe func(a *client.Admin, w *world, out *client.Out) client.OpID
	}{
		{protocol.KeyMetadata, func(a *client.Admin, w *world, out *client.Out) client.OpID {
			return a.DescribeTopics(w.now, []string{"old", "x"}, out)
		}},
		{protocol.KeyDescribeTopicPartitions, func(a *client.Admin, w *world, out *client.Out) client.OpID {
			return a.DescribePartitions(w.now, []string{"old", "x"}, nil, out)
		}},
	} {
		for _, unknown := range []int{1, 3, 4} {
			c := clienttest.New(3)
			c.Create("old", 1)
			c.Create("x", 2)
			w, a, asked := newWorld(t, c), adminFor(c), 0
			began := w.now
			c.Script = func(_ model.NodeID, key protocol.Key, topic string, _ model.Partition) clienttest.Verdict {
				if key == how.key && topic == "x" {
					if asked++; asked <= unknown {
						return clienttest.Verdict{Code: kerr.UnknownTopicOrPartition.Code}
					}
				}
				return clienttest.Verdict{}
			}
			ans := w.ask(a, func(out *client.Out) client.OpID { return how.describe(a, w, out) })
			if !ans.OK() || len(ans.Described) != 2 || len(ans.Described[0].Partitions) != 1 || w.now-began > 800*ms {
				t.Fatalf("%s: unknown %d times: %+v after %d ms", how.key, unknown, ans, (w.now-began)/ms)
			}
			if x := ans.Described[1]; (x.Code == 0) != (unknown < 4) || (len(x.Partitions) == 2) != (unknown < 4) {
				t.Errorf("%s: unknown %d times: %+v", how.key, unknown, x)
			}
		}
	}
}

func TestAdminManagesTopics(t *testing.T) {
	c := clienttest.New(3)
	w := newWorld(t, c)
	a := adminFor(c)
	ans := w.ask(a, func(out *client.Out) client.OpID {
		return a.CreateTopics(w.now, []client.NewTopic{{Name: "x", PartitionCount: 4, ReplicationFactor: 1}, {Name: "y", PartitionCount: -1, ReplicationFactor: -1}}, false, out)
	})
	if !ans.OK() || len(ans.Topics) != 2 || !ans.Topics[0].OK() || ans.Topics[0].ID.IsZero() {
		t.Fatalf("creation ended as %+v", ans)
	}
	ans = w.ask(a, func(out *client.Out) client.OpID {
		return a.CreateTopics(w.now, []client.NewTopic{{Name: "x", PartitionCount: 4, ReplicationFactor: 1}}, false, out)
	})
	if r := ans.Topics[0]; r.Code != kerr.TopicAlreadyExists.Code || !r.Definite {
		t.Errorf("a second creation ended as %+v", r)
	}
	ans = w.ask(a, func(out *client.Out) client.OpID { return a.DescribeTopics(w.now, nil, out) })
	if len(ans.Described) != 2 || len(ans.Described[0].Partitions) != 4 {
		t.Errorf("all topics: %+v", ans.Described)
	}
	ans = w.ask(a, func(out *client.Out) client.OpID { return a.DescribeTopics(w.now, []string{"nope"}, out) })
	if len(ans.Described) != 1 || ans.Described[0].Code != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("an unknown topic: %+v", ans.Described)
	}
	fill(c.Topic("x").Partitions[1], 2, 5, record.CodecNone)
	ans = w.ask(a, func(out *client.Out) client.OpID {
		return a.ListOffsets(w.now, []client.OffsetQuery{
			{Topic: "x", Partition: 1, Timestamp: client.LatestTimestamp},
			{Topic: "x", Partition: 0, Timestamp: client.LatestTimestamp},
			{Topic: "x", Partition: 1, Timestamp: 1003},
			{Topic: "nope", Partition: 0, Timestamp: client.LatestTimestamp},
			{Topic: "x", Partition: 1, Timestamp: client.MaxTimestamp},
		}, out)
	})
	for i, want := range []model.Offset{10, 0, 3, model.NoOffset, 9} {
		if got := ans.Offsets[i]; got.Offset != want || got.OK() == (i == 3) {
			t.Errorf("query %d: %+v, not offset %d", i, got, want)
		}
	}
	ans = w.ask(a, func(out *client.Out) client.OpID { return a.DescribeCluster(w.now, out) })
	if len(ans.Cluster.Brokers) != 3 || ans.Cluster.Brokers[2].Addr != "b3:9092" || ans.Cluster.ID != "test" {
		t.Errorf("the cluster: %+v", ans.Cluster)
	}
	ans = w.ask(a, func(out *client.Out) client.OpID { return a.DeleteTopics(w.now, []string{"x", "nope"}, out) })
	if len(ans.Topics) != 2 || !ans.Topics[0].OK() || ans.Topics[1].Code != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("deletion: %+v", ans.Topics)
	}
}

func TestAdminDoesNotBlameOthersForItsOwnRetry(t *testing.T) {
	c := clienttest.New(1)
	w := newWorld(t, c)
	lost := false
	w.fault = func(_ client.ConnID, _ model.NodeID, key protocol.Key) fault {
		if key == protocol.KeyCreateTopics && !lost {
			lost = true
			return dropAfter
		}
		return deliver
	}
	a := adminFor(c)
	ans := w.ask(a, func(out *client.Out) client.OpID {
		return a.CreateTopics(w.now, []client.NewTopic{{Name: "x", PartitionCount: 1, ReplicationFactor: 1}}, false, out)
	})
	if r := ans.Topics[0]; r.Code != kerr.TopicAlreadyExists.Code || r.Definite {
		t.Errorf("the retry of a creation whose answer was lost ended as %+v, which must not be definite", r)
	}
}
