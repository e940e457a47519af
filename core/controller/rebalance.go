package controller

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// rebalance moves leaders back to the replicas that are preferred, which are the first of their partitions, where those
// are in sync: after a node has come back, its share of the leaders is elsewhere.
func (c *Controller) rebalance(out *effect.Set) {
	wanted := false
	for t := range c.view.Topics {
		for _, p := range t.Partitions {
			wanted = wanted || c.misled(c.view.Image, p)
		}
	}
	if !wanted {
		return
	}
	c.ask(&request{
		decide: func(t *turn) effect.Body {
			for topic := range t.image().Topics {
				for index, p := range topic.Partitions {
					if t.bytes > turnBytesMax {
						return nil // the rest next time
					}
					if c.misled(t.image(), p) {
						to := *p
						to.Leader = p.Replicas[0]
						t.change(model.TopicPartition{Topic: topic.ID, Partition: index}, p, &to)
					}
				}
			}
			return nil
		},
		refuse: func(int16, string) effect.Body { return nil },
	}, out)
}

// misled reports whether another replica leads than the preferred one, which could.
func (c *Controller) misled(image *metadata.Image, p *metadata.Partition) bool {
	preferred := p.Replicas[0]
	b := image.Broker(preferred)
	return p.Leader != model.NoNode && p.Leader != preferred && p.InSync(preferred) && b != nil && b.Active()
}
