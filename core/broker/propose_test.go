package broker

import (
	"testing"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// As when a follower found its data damaged, which begins a leader epoch, and is filled anew before the answer to a request of the epoch before.
func TestWhoCaughtUpWhileAProposalOfTheFormerEpochWasUnderWayIsProposed(t *testing.T) {
	for _, failure := range []effect.CallFailure{effect.CallOK, effect.CallTimedOut} {
		l := begin(t, storagetest.New(), 1)
		tp := model.TopicPartition{Topic: l.create("orders")}
		l.other()
		l.step(&ReassignPartitions{FactorMayChange: true, Topics: []controller.ReassignTopic{
			{Name: "orders", Parts: []controller.ReassignPart{{Replicas: []model.NodeID{1, 2}}}},
		}})
		p, ps := l.b.partitions.get(tp), &l.b.proposals
		if !p.replica.Leads() || p.replica.Followers().Alone() {
			t.Fatalf("%+v", p.topic.Partition(0))
		}
		// A request of the epoch before is under way, and what comes up waits for its answer.
		p.proposing, ps.due = true, nil
		ps.sending, ps.call = []proposed{{p, p.replica.LeaderEpoch() - 1}}, 77
		l.b.propose(p)
		answer := &effect.Answer{ID: 77, Failure: failure, Body: &effect.PartitionsAltered{Parts: []effect.PartitionAltered{{Partition: tp}}}}
		l.b.proposalsAnswered(answer, &effect.Set{})
		if !p.proposing || len(ps.due) != 1 || ps.due[0] != p {
			t.Errorf("%v: nobody looks who is in sync: %v, %d", failure, p.proposing, len(ps.due))
		}
	}
}
