package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// configured goes by what a topic's settings come to now. Storage is shown it, unless nothing in it is for storage
// to know.
func (b *Broker) configured(of *metadata.Topic, out *effect.Set) {
	config := b.configOf(of)
	b.recode(of, config)
	t := b.topics[of.ID]
	if t == nil || *t.Config == *config {
		return
	}
	before := t.Config
	t.Config = config
	for index, state := range t.Partitions {
		p := b.partitions.get(model.TopicPartition{Topic: t.ID, Partition: index})
		if p == nil {
			continue
		}
		if before.Log != config.Log {
			out.Opens = append(out.Opens, effect.Open{Partition: p.replica.Partition(), Config: logConfig(t)})
		}
		if before.MinInSyncReplicas != config.MinInSyncReplicas && p.replica.Leads() {
			b.assign(p, state, out)
		}
	}
}

// configOf is what a topic's settings come to. Those that have none of their own share it.
func (b *Broker) configOf(t *metadata.Topic) *metadata.TopicConfig {
	c := b.view.TopicConfig(t)
	if b.commonConfig != nil && *b.commonConfig == c {
		return b.commonConfig
	}
	own := c
	if len(t.Settings) == 0 {
		b.commonConfig = &own
	}
	return &own
}

// topicDeleted lets go of what is here of a topic.
func (b *Broker) topicDeleted(t *metadata.Topic, out *effect.Set) {
	b.recode(t, nil)
	for index := range t.Partitions {
		if p := b.partitions.get(model.TopicPartition{Topic: t.ID, Partition: index}); p != nil {
			b.removePartition(p, kerr.UnknownTopicOrPartition.Code, out)
		}
	}
	for _, c := range b.groups.byPartition {
		c.machine.TopicsDeleted(b.now, out)
		b.scheduleGroups(c)
	}
	out.Notes = append(out.Notes, effect.Note{
		Kind: effect.NoteTopicDeleted, Topic: t.Name, Count: int64(t.PartitionCount()),
	})
}

// logConfig is how a topic's logs are kept. A topic of the cluster's own is kept whatever the node's defaults
// are: nothing of it goes by age or size, and nothing is acknowledged before it is synced.
func logConfig(t *topic) effect.LogConfig {
	c := t.Config.Log
	if metadata.Internal(t.Name) {
		c.RetentionMs, c.RetentionBytes, c.FlushMessages, c.FlushMs = -1, -1, 0, 0
	}
	return c
}
