package workload

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// mover is an operator who moves replicas of a load's partitions from node to node while they are written and read,
// cancels moves, begins others in their place, and has preferred replicas lead. The number of replicas stays. What
// follows from it the others' histories show, and that every replica is in sync in the end.
type mover struct{ operator }

func newMover(g *group) *mover { return &mover{newOperator(g, "mover", 30*second)} }

func (m *mover) Wake(now model.Time) {
	if !m.free(now, 300*millisecond) {
		return
	}
	m.asked = true
	tp := m.partition()
	out := &m.line.Out
	switch m.rand.Intn(8) {
	case 0:
		m.admin.Reassign(now, []client.Reassignment{{TopicPartition: tp}}, out)
	case 1:
		m.admin.ElectLeaders(now, false, []client.TopicPartition{tp}, out)
	case 2:
		m.admin.ListReassignments(now, out)
	default:
		m.admin.Reassign(now, []client.Reassignment{{TopicPartition: tp, Replicas: m.nodes()}}, out)
	}
}

// nodes draws which nodes are to have a partition.
func (m *mover) nodes() []model.NodeID {
	all := make([]model.NodeID, len(m.g.spec.Addrs))
	for i := range all {
		all[i] = model.NodeID(i + 1)
	}
	m.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(len(all), int(m.g.replicas()))]
}

func (m *mover) After(_ model.Time, line *Line) {
	for i := range line.Out.Answers {
		m.asked = false
		for _, p := range line.Out.Answers[i].Parts {
			switch p.Code {
			case 0, kerr.NoReassignmentInProgress.Code, kerr.InvalidReplicaAssignment.Code, kerr.UnknownTopicOrPartition.Code,
				kerr.ElectionNotNeeded.Code, kerr.PreferredLeaderNotAvailable.Code, kerr.NotController.Code:
			default:
				m.g.Fail("client", fmt.Sprintf("a move of %s/%d was answered with code %d: %s", p.Topic, p.Partition, p.Code, p.Message))
			}
		}
	}
}
