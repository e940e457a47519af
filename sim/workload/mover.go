package workload

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/sim/draw"
)

// mover is an operator who moves replicas of a load's partitions from node to node while they are written and read,
// cancels moves, begins others in their place, and has preferred replicas lead. The number of replicas stays. What
// follows from it the others' histories show, and that every replica is in sync in the end.
type mover struct {
	g       *group
	id      int64
	rand    *draw.Stream
	line    Line
	admin   *client.Admin
	at      model.Time
	asked   bool
	settled bool
}

func newMover(g *group) *mover {
	m := &mover{g: g, id: g.process()}
	m.rand = g.Root.Stream("mover", uint64(m.id))
	cfg := client.NewAdminConfig(g.spec.Addrs...)
	g.timeouts(&cfg.Config, m.rand)
	cfg.Timeout = 30 * second
	m.admin = client.NewAdmin(cfg)
	m.line.Machine = m.admin
	m.at = model.Time(m.rand.Between(int64(100*millisecond), int64(second)))
	return m
}

func (m *mover) Name() string       { return fmt.Sprintf("mover%d", m.id) }
func (m *mover) Lines() []*Line     { return []*Line{&m.line} }
func (m *mover) WakeAt() model.Time { return m.at }
func (m *mover) Settle(model.Time)  { m.settled = true }

func (m *mover) Wake(now model.Time) {
	m.at = now + 1 + model.Time(m.rand.Exp(int64(300*millisecond)))
	if m.settled {
		m.at = 0
		return
	}
	if m.asked {
		return
	}
	m.asked = true
	tp := client.TopicPartition{Topic: m.g.topics[m.rand.Intn(len(m.g.topics))], Partition: model.Partition(m.rand.Intn(m.g.spec.Partitions))}
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

func (m *mover) Waiting() string {
	if m.asked {
		return "a request about replicas is not answered"
	}
	return ""
}
