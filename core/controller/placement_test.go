package controller

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

func sites(racks ...int) (out []site) {
	id := model.NodeID(1)
	for rack, count := range racks {
		for range count {
			out = append(out, site{id, fmt.Sprint("rack", rack)})
			id++
		}
	}
	return out
}

func TestReplicasAreOnDifferentBrokersAndRacks(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		racks := rapid.SliceOfN(rapid.IntRange(1, 5), 1, 6).Draw(r, "racks")
		all := sites(racks...)
		factor := rapid.IntRange(1, min(5, len(all))).Draw(r, "factor")
		ring := ringOf(all)
		if len(ring) != len(all) {
			r.Fatalf("%d brokers on the ring of %d", len(ring), len(all))
		}
		leads, rackOf := map[model.NodeID]int{}, map[model.NodeID]string{}
		for _, s := range all {
			rackOf[s.node] = s.rack
		}
		count := rapid.IntRange(1, 200).Draw(r, "partitions")
		for number := range count {
			replicas := ring.place(number, factor)
			used := map[string]bool{}
			for i, node := range replicas {
				if slices.Contains(replicas[:i], node) {
					r.Fatalf("%v", replicas)
				}
				used[rackOf[node]] = true
			}
			if len(replicas) != factor || len(used) != min(factor, len(racks)) {
				r.Fatalf("partition %d is on %v, in %d racks of %d", number, replicas, len(used), len(racks))
			}
			leads[replicas[0]]++
		}
		for node, n := range leads {
			if n > (count+len(all)-1)/len(all) {
				r.Errorf("node %d leads %d of %d partitions on %d brokers", node, n, count, len(all))
			}
		}
	})
}

// With random placement each of a thousand brokers would follow about 330 others.
func TestABrokerFollowsFew(t *testing.T) {
	ring := ringOf(sites(334, 333, 333))
	follows := map[model.NodeID]map[model.NodeID]bool{}
	holds := map[model.NodeID]int{}
	for number := range 200_000 {
		replicas := ring.place(number, 3)
		for _, node := range replicas {
			holds[node]++
		}
		for _, node := range replicas[1:] {
			if follows[node] == nil {
				follows[node] = map[model.NodeID]bool{}
			}
			follows[node][replicas[0]] = true
		}
	}
	most, pairs := 0, 0
	for node, leaders := range follows {
		pairs += len(leaders)
		if len(leaders) > 16 {
			t.Errorf("node %d follows %d others", node, len(leaders))
		}
		most = max(most, holds[node])
	}
	// Where the ring closes, neighbours are of one rack, and those beside them hold more.
	t.Logf("%d pairs; a broker holds %d replicas at most, and 600 on average", pairs, most)
	if most > 600*13/10 {
		t.Errorf("a broker holds %d replicas, and 600 on average", most)
	}
}

// As in a cluster of three of which one restarts.
func TestWhatIsMadeWhileBrokersAreDownHasReplicasThere(t *testing.T) {
	l := newLife(t, 3)
	l.silence(t, 1, 3)
	l.topic(t, "t", 9, 3)
	for i := range model.Partition(9) {
		p := l.partition("t", i)
		if len(p.Replicas) != 3 || p.Replicas[2] != 2 || p.Leader != p.Replicas[0] || len(p.ISR) != 2 || p.InSync(2) || len(p.ELR) != 0 {
			t.Errorf("partition %d: %+v", i, p)
		}
	}
	// Who runs is preferred while there are enough of them.
	l.topic(t, "u", 9, 2)
	for i := range model.Partition(9) {
		if p := l.partition("u", i); p.IsReplica(2) {
			t.Errorf("partition %d: %+v", i, p)
		}
	}
	l.silence(t, 1)
	l.topic(t, "v", 1, 3)
	if p := l.partition("v", 0); p.Leader != 1 || len(p.ISR) != 1 || len(p.Replicas) != 3 {
		t.Errorf("%+v", p)
	}
	l.silence(t)
	answer := l.ask(t, func(to effect.RequestID, out *effect.Set) {
		l.c.Create(to, []CreateTopic{{Name: "w", PartitionCount: 1, ReplicationFactor: 3}}, false, out)
	}).(*effect.TopicsCreated).Topics[0]
	if answer.Code != kerr.InvalidReplicationFactor.Code {
		t.Errorf("nobody runs, and a topic was made: %+v", answer)
	}
}
