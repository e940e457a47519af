package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// configured goes by what a topic's settings come to now. Storage is shown it, unless nothing in it is for storage
// to know.
func (b *Broker) configured(t *topic, out *effect.Set) {
	before := t.Config
	t.Config = b.view.TopicConfig(t.Topic)
	b.recode(t, false)
	for index, state := range t.Partitions {
		p := b.partitions.get(model.TopicPartition{Topic: t.ID, Partition: index})
		if p == nil {
			continue
		}
		if before.Log != t.Config.Log {
			out.Opens = append(out.Opens, effect.Open{Partition: p.replica.Partition(), Config: logConfig(t)})
		}
		if before.MinInSyncReplicas != t.Config.MinInSyncReplicas && p.replica.Leads() {
			b.assign(p, state, out)
		}
	}
}

func (b *Broker) topicDeleted(t *topic, out *effect.Set) {
	b.recode(t, true)
	delete(b.topics, t.ID)
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
