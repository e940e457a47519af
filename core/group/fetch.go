package group

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// FetchOffsets answers for one group of an OffsetFetch. What it says is durable.
func (c *Coordinator) FetchOffsets(in *Fetch) effect.GroupOffsets {
	out := effect.GroupOffsets{Group: in.Group, Code: c.refusal()}
	if !validID(in.Group, true) {
		out.Code = kerr.InvalidGroupID.Code
	}
	if out.Code != 0 {
		return out
	}
	g := c.groups[in.Group]
	if in.All {
		if g != nil {
			out.Topics = c.allOffsets(g)
		}
		return out
	}
	asked := make(map[offsetKey]bool)
	for i := range in.Topics {
		t := &in.Topics[i]
		to := effect.TopicOffsets{Name: t.Name, ID: t.ID, Partitions: make([]effect.PartitionOffset, 0, len(t.Partitions))}
		for _, p := range t.Partitions {
			// A partition is answered for once, however often it is named: a few bytes of a request must not ask
			// for a commit's metadata each.
			k := offsetKey{t.Name, p}
			if t.Code == 0 && asked[k] {
				continue
			}
			asked[k] = true
			to.Partitions = append(to.Partitions, c.offsetOf(g, t, k))
		}
		out.Topics = append(out.Topics, to)
	}
	return out
}

func (c *Coordinator) offsetOf(g *group, t *FetchTopic, k offsetKey) effect.PartitionOffset {
	none := effect.PartitionOffset{Partition: k.partition, Code: t.Code, Offset: model.NoOffset, LeaderEpoch: model.NoLeaderEpoch}
	if t.Code != 0 || t.Missing || g == nil {
		return none
	}
	e := g.offsets.get(k)
	if e == nil || e.at == model.NoOffset || !e.committed.isOf(t.ID) {
		return none
	}
	return e.committed.answer(k.partition)
}

// isOf reports whether a commit is of the topic that has its name now: one of a topic that was deleted and created
// again would make its group skip what is new.
func (v *committed) isOf(id model.TopicID) bool {
	return v.topicID.IsZero() || id.IsZero() || v.topicID == id
}

func (v *committed) answer(p model.Partition) effect.PartitionOffset {
	return effect.PartitionOffset{Partition: p, Offset: v.offset, LeaderEpoch: v.leaderEpoch, Metadata: v.metadata}
}

// allOffsets is everything that a group has committed of topics that exist.
func (c *Coordinator) allOffsets(g *group) []effect.TopicOffsets {
	var out []effect.TopicOffsets
	places := make(map[string]int)
	for _, e := range g.offsets.ordered {
		id, exists := c.topics.TopicID(e.key.topic)
		if e.at == model.NoOffset || !exists || !e.committed.isOf(id) {
			continue
		}
		at, known := places[e.key.topic]
		if !known {
			at = len(out)
			places[e.key.topic] = at
			out = append(out, effect.TopicOffsets{Name: e.key.topic, ID: id})
		}
		out[at].Partitions = append(out[at].Partitions, e.committed.answer(e.key.partition))
	}
	return out
}
