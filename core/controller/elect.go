package controller

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// ElectLeaders asks for elections in some partitions or in all (KIP-460): of the preferred replicas, or uncleanly, of
// any replica where nobody leads. The answer is an effect.LeadersElected.
func (c *Controller) ElectLeaders(to effect.RequestID, unclean, all bool, topics []AskTopic, out *effect.Set) {
	c.ask(&request{
		to: to,
		decide: func(t *turn) effect.Body {
			if all {
				return &effect.LeadersElected{Topics: t.electAll(unclean)}
			}
			answer := &effect.LeadersElected{}
			for _, in := range topics {
				outcome := effect.TopicParts{Name: in.Name}
				for _, index := range in.Partitions {
					topic, p, why := t.findPartition(in.Name, index)
					if why == nil {
						why = t.electOne(topic, index, p, unclean)
					}
					outcome.Parts = append(outcome.Parts, partOutcome(index, why))
				}
				answer.Topics = append(answer.Topics, outcome)
			}
			return answer
		},
		refuse: func(code int16, why string) effect.Body {
			answer := &effect.LeadersElected{Code: code, Message: why}
			for _, in := range topics {
				outcome := effect.TopicParts{Name: in.Name}
				for _, index := range in.Partitions {
					outcome.Parts = append(outcome.Parts, effect.PartOutcome{Partition: index, Code: code, Message: why})
				}
				answer.Topics = append(answer.Topics, outcome)
			}
			return answer
		},
	}, out)
}

func partOutcome(index model.Partition, why *refusal) effect.PartOutcome {
	if why == nil {
		return effect.PartOutcome{Partition: index}
	}
	return effect.PartOutcome{Partition: index, Code: why.error.Code, Message: why.message}
}

// electAll elects wherever it is needed.
func (t *turn) electAll(unclean bool) (all []effect.TopicParts) {
	for topic := range t.image().Topics {
		outcome := effect.TopicParts{Name: topic.Name}
		for index, p := range topic.Partitions {
			why := t.electOne(topic, index, p, unclean)
			if why == nil || why.error != kerr.ElectionNotNeeded {
				outcome.Parts = append(outcome.Parts, partOutcome(index, why))
			}
		}
		if len(outcome.Parts) > 0 {
			all = append(all, outcome)
		}
	}
	return all
}

// electOne elects in one partition.
func (t *turn) electOne(topic *metadata.Topic, index model.Partition, p *metadata.Partition, unclean bool) *refusal {
	tp := model.TopicPartition{Topic: topic.ID, Partition: index}
	if unclean {
		if p.Leader != model.NoNode && !t.c.isDamaged(tp, t.image().Broker(p.Leader)) {
			return &refusal{kerr.ElectionNotNeeded, fmt.Sprintf("node %d leads", p.Leader)}
		}
		if !t.electUncleanly(tp, topic, p) {
			return &refusal{kerr.EligibleLeadersNotAvailable, fmt.Sprintf("none of the replicas %v is running", p.Replicas)}
		}
		return nil
	}
	preferred := p.Replicas[0]
	switch {
	case p.Leader == preferred:
		return &refusal{kerr.ElectionNotNeeded, fmt.Sprintf("node %d, the preferred leader, leads", preferred)}
	case !t.c.misled(t.image(), p):
		return &refusal{kerr.PreferredLeaderNotAvailable, fmt.Sprintf("node %d, the preferred leader, is not running or not in sync", preferred)}
	}
	to := *p
	to.Leader = preferred
	t.change(tp, p, &to)
	return nil
}

// electUncleanly lets any replica lead that runs. It reports whether one does.
func (t *turn) electUncleanly(tp model.TopicPartition, topic *metadata.Topic, p *metadata.Partition) bool {
	e := t.electorateOf(tp, topic, p)
	e.unclean = true
	to := t.settle(topic, p, e)
	if to.Leader == model.NoNode {
		return false
	}
	t.change(tp, p, &to)
	return true
}
