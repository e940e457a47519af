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
// driver to report and the Codecs that sessions begin with; it holds nothing to carry out.
//
// It fails if the metadata log is damaged or cannot be read by this version: nothing is known of any
// topic then, and nothing may be deleted for not being known.
func Open(config Config, engine *storage.Engine, rec *storage.Recovery, out *effect.Set) (*Broker, error) {
	recovered := make(map[model.TopicPartition]*storage.Recovered, len(rec.Partitions))
	for i := range rec.Partitions {
		recovered[rec.Partitions[i].Partition] = &rec.Partitions[i]
	}
	image, end, err := loadMetadata(config, engine, recovered[metadata.LogPartition])
	if err != nil {
		return nil, err
	}
	b := newBroker(config, image, end)
	var opens effect.Set
	opens.Opens = append(opens.Opens, effect.Open{Partition: metadata.LogPartition, Config: metadataLog()})
	for t := range image.Topics {
		b.recode(t, false)
		for _, d := range t.Partitions {
			tp := model.TopicPartition{Topic: t.ID, Partition: d.Partition}
			p := &partition{topic: t, replica: openReplica(tp, d.LeaderEpoch, recovered[tp], out)}
			b.partitions.add(p)
			if t.Name == metadata.OffsetsTopic {
				b.coordinate(p)
			}
			opens.Opens = append(opens.Opens, effect.Open{Partition: tp, Config: logConfig(t)})
		}
	}
	b.publish(out)
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

func loadMetadata(config Config, engine *storage.Engine, rec *storage.Recovered) (*metadata.Image, model.Offset, error) {
	image := metadata.NewImage(config.Controller.NodeID, config.Controller.Node)
	if rec == nil {
		return image, 0, nil
	}
	if rec.Damage != "" {
		return nil, 0, fmt.Errorf("the metadata log is damaged: %s", rec.Damage)
	}
	err := engine.ReadAll(metadata.LogPartition, func(batch record.Batch) error {
		return image.ApplyBatch(batch, func(metadata.Change) {})
	})
	if err != nil {
		return nil, 0, fmt.Errorf("load the metadata log: %w", err)
	}
	return image, rec.State.EndOffset(), nil
}

func openReplica(tp model.TopicPartition, epoch model.LeaderEpoch, rec *storage.Recovered, out *effect.Set) *replica.Replica {
	if rec == nil {
		return replica.New(tp, epoch, log.New(0))
	}
	state := rec.State
	if state == nil {
		state = log.New(0)
	}
	r := replica.New(tp, epoch, state)
	if rec.Damage != "" {
		r.GoOffline(rec.Damage, out)
	}
	return r
}
