package client_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func TestErrandsFollowTheCoordinator(t *testing.T) {
	c := clienttest.New(3)
	c.Controller = 2
	w := newWorld(t, c)
	a := adminFor(c)
	commit := func(offset model.Offset) client.Answer {
		return w.ask(a, func(out *client.Out) client.OpID {
			return a.CommitGroupOffsets(w.now, "g", []client.CommitOffset{
				{TopicPartition: client.TopicPartition{Topic: "t", Partition: 1}, Offset: offset, LeaderEpoch: -1, Metadata: "m"},
				{TopicPartition: client.TopicPartition{Topic: "s", Partition: 0}, Offset: offset + 1, LeaderEpoch: -1},
			}, out)
		})
	}
	if ans := commit(7); !ans.OK() || len(ans.Committed) != 2 {
		t.Fatalf("a commit ended as %+v", ans)
	}
	c.Controller = 3 // what was known of the coordinator is wrong now
	if ans := commit(8); !ans.OK() {
		t.Fatalf("a commit after a move ended as %+v", ans)
	}
	w.down[3] = true
	c.Controller = 1
	ans := w.ask(a, func(out *client.Out) client.OpID { return a.GroupOffsets(w.now, "g", out) })
	if !ans.OK() || len(ans.Committed) != 2 || ans.Committed[0].Topic != "s" || ans.Committed[0].Offset != 9 || ans.Committed[1].Metadata != "m" {
		t.Errorf("after the coordinator died: %+v", ans)
	}
}

func TestErrandsSayWhatMayHaveHappened(t *testing.T) {
	c := clienttest.New(1)
	w := newWorld(t, c)
	cfg := client.NewAdminConfig(c.Addr(1))
	cfg.Timeout = 3000 * ms
	a := client.NewAdmin(cfg)
	offsets := []client.CommitOffset{{TopicPartition: client.TopicPartition{Topic: "t"}, Offset: 1, LeaderEpoch: -1}}
	commit := func() client.Answer {
		return w.ask(a, func(out *client.Out) client.OpID { return a.CommitGroupOffsets(w.now, "g", offsets, out) })
	}
	w.fault = func(_ client.ConnID, _ model.NodeID, key protocol.Key) fault {
		if key == protocol.KeyFindCoordinator {
			return dropBefore
		}
		return deliver
	}
	if ans := commit(); ans.OK() || ans.Reason != client.TimedOut || !ans.Definite {
		t.Errorf("nothing was sent, and it ended as %+v", ans)
	}
	w.fault = func(_ client.ConnID, _ model.NodeID, key protocol.Key) fault {
		if key == protocol.KeyOffsetCommit {
			return dropAfter
		}
		return deliver
	}
	if ans := commit(); ans.OK() || ans.Definite {
		t.Errorf("it may have happened, and ended as %+v", ans)
	}
	if c.Group("g").Commits == 0 {
		t.Error("and it did not happen")
	}
	w.fault = nil
	c.Script = func(_ model.NodeID, key protocol.Key, _ string, _ model.Partition) clienttest.Verdict {
		return clienttest.Verdict{Code: map[protocol.Key]int16{protocol.KeyOffsetCommit: kerr.GroupAuthorizationFailed.Code}[key]}
	}
	if ans := commit(); ans.OK() || ans.Reason != client.Refused || ans.Code != kerr.GroupAuthorizationFailed.Code || !ans.Definite {
		t.Errorf("a refusal ended as %+v", ans)
	}
}
