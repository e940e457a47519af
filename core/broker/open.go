package broker

import (
	"fmt"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/replica"
	"github.com/weirmq/weir/core/storage"
)

// Open makes a broker from what storage recovered: it loads the metadata log, opens the partitions of
// every topic in it, and removes the files of partitions that no topic has. out receives notes for the
// driver to report; it holds nothing to carry out.
//
// It fails if the metadata log is damaged or cannot be read by this version: nothing is known of any
// topic then, and nothing may be deleted for not being known.
func Open(config Config, engine *storage.Engine, rec *storage.Recovery, out *effect.Set) (*Broker, error) {
	recovered := make(map[model.TopicPartition]*storage.Recovered, len(rec.Partitions))
	for i := range rec.Partitions {
		recovered[rec.Partitions[i].Partition] = &rec.Partitions[i]
	}
	image, err := loadMetadata(engine, recovered[metadata.LogPartition])
	if err != nil {
		return nil, err
	}
	b := newBroker(config, metadata.NewView(image, config.Controller.NodeID, config.Controller.Node))
	var opens effect.Set
	opens.Opens = append(opens.Opens, effect.Open{Partition: metadata.LogPartition, Config: metadataLog()})
	for of := range image.Topics {
		t := b.addTopic(of)
		for index, state := range of.Partitions {
			tp := model.TopicPartition{Topic: t.ID, Partition: index}
			b.addPartition(t, b.openReplica(tp, t, state, recovered[tp], out))
			opens.Opens = append(opens.Opens, effect.Open{Partition: tp, Config: logConfig(t)})
		}
	}
	b.publish()
	var done effect.Completions
	engine.Perform(&opens, &done)
	out.Notes = append(out.Notes, done.Notes...)
	_, err = engine.DeleteUnknown(func(tp model.TopicPartition) bool {
		return tp == metadata.LogPartition || b.partitions.get(tp) != nil
	})
	if err != nil {
		return nil, fmt.Errorf("remove the files of deleted topics: %w", err)
	}
	return b, nil
}

// metadataLog keeps everything: metadata has no retention until it has snapshots.
func metadataLog() effect.LogConfig {
	c := metadata.DefaultTopicConfig().Log
	c.RetentionMs, c.RetentionBytes = -1, -1
	return c
}

func loadMetadata(engine *storage.Engine, rec *storage.Recovered) (*metadata.Image, error) {
	image := metadata.NewImage()
	if rec == nil {
		return image, nil
	}
	if rec.Damage != "" {
		return nil, fmt.Errorf("the metadata log is damaged: %s", rec.Damage)
	}
	draft, next := image.Edit(), model.Offset(0)
	err := engine.ReadAll(metadata.LogPartition, func(batch record.Batch) error {
		if batch.BaseOffset() != next {
			return fmt.Errorf("a batch at offset %d follows what ends at %d", batch.BaseOffset(), next)
		}
		next = batch.NextOffset()
		return draft.Apply(batch)
	})
	if err == nil && next != rec.State.EndOffset() {
		err = fmt.Errorf("it was read up to offset %d and ends at %d", next, rec.State.EndOffset())
	}
	if err != nil {
		return nil, fmt.Errorf("load the metadata log: %w", err)
	}
	image, _ = draft.Seal(next)
	return image, nil
}

func (b *Broker) openReplica(tp model.TopicPartition, t *topic, d *metadata.Partition, rec *storage.Recovered, out *effect.Set) *replica.Replica {
	state := log.New(0)
	if rec != nil && rec.State != nil {
		state = rec.State
	}
	r := replica.New(tp, state, 0)
	r.Lead(b.leadership(t, d), b.now, out)
	if rec != nil && rec.Damage != "" {
		r.GoOffline(rec.Damage, out)
	}
	return r
}

// leadership is what the image says of a partition that this node leads.
func (b *Broker) leadership(t *topic, d *metadata.Partition) replica.Leadership {
	return replica.Leadership{
		Epoch:      d.LeaderEpoch,
		Assignment: replica.Assignment{Replicas: d.Replicas, ISR: d.ISR},
		Config:     replica.FollowersConfig{Self: b.config.Advertised.ID, InSyncMin: min(int(t.Config.MinInSyncReplicas), len(d.Replicas))},
	}
}
