package workload

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// elector is an operator who would rather have a leader that lacks something than none: now and then it asks for an unclean
// election in a partition that has no leader (KIP-460), or for the preferred replica to lead one that has.
type elector struct{ operator }

func newElector(g *group) *elector { return &elector{newOperator(g, "elector", 20*second)} }

func (e *elector) Wake(now model.Time) {
	if !e.free(now, 400*millisecond) {
		return
	}
	e.asked = true
	tp := e.partition()
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
