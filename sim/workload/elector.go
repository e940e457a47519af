package workload

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/sim/draw"
)

// elector is an operator who would rather have a leader that lacks something than none: now and then it asks for an unclean
// election in a partition that has no leader (KIP-460), or for the preferred replica to lead one that has.
type elector struct {
	g       *group
	id      int64
	rand    *draw.Stream
	line    Line
	admin   *client.Admin
	at      model.Time
	asked   bool
	settled bool
}

func newElector(g *group) *elector {
	e := &elector{g: g, id: g.process()}
	e.rand = g.Root.Stream("elector", uint64(e.id))
	cfg := client.NewAdminConfig(g.spec.Addrs...)
	g.timeouts(&cfg.Config, e.rand)
	cfg.Timeout = 20 * second
	e.admin = client.NewAdmin(cfg)
	e.line.Machine = e.admin
	e.at = model.Time(e.rand.Between(int64(100*millisecond), int64(second)))
	return e
}

func (e *elector) Name() string       { return fmt.Sprintf("elector%d", e.id) }
func (e *elector) Lines() []*Line     { return []*Line{&e.line} }
func (e *elector) WakeAt() model.Time { return e.at }
func (e *elector) Settle(model.Time)  { e.settled = true }

func (e *elector) Wake(now model.Time) {
	e.at = now + 1 + model.Time(e.rand.Exp(int64(400*millisecond)))
	if e.settled {
		e.at = 0
		return
	}
	if e.asked {
		return
	}
	e.asked = true
	tp := client.TopicPartition{Topic: e.g.topics[e.rand.Intn(len(e.g.topics))], Partition: model.Partition(e.rand.Intn(e.g.spec.Partitions))}
	e.admin.ElectLeaders(now, e.rand.Percent(70), []client.TopicPartition{tp}, &e.line.Out)
}

func (e *elector) After(_ model.Time, line *Line) {
	for i := range line.Out.Answers {
		e.asked = false
		for _, p := range line.Out.Answers[i].Parts {
			switch p.Code {
			case 0, kerr.UnknownTopicOrPartition.Code, kerr.ElectionNotNeeded.Code, kerr.PreferredLeaderNotAvailable.Code,
				kerr.EligibleLeadersNotAvailable.Code, kerr.NotController.Code:
			default:
				e.g.Fail("client", fmt.Sprintf("an election in %s/%d was answered with code %d: %s", p.Topic, p.Partition, p.Code, p.Message))
			}
		}
	}
}

func (e *elector) Waiting() string {
	if e.asked {
		return "a question for an election is not answered"
	}
	return ""
}
