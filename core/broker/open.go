package broker

import (
	"fmt"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage"
)

// Open makes a broker from what storage recovered. It takes up the metadata from the newest image that is on this disk;
// what was committed since comes with the quorum, and with it the partitions. out is to be carried out before anything
// else; it also holds notes for the driver to report.
//
// It fails if what this node has promised as a voter is damaged or cannot be read by this version.
func Open(config Config, engine *storage.Engine, rec *storage.Recovery, out *effect.Set) (*Broker, error) {
	b := newBroker(config, metadata.NewView(metadata.NewImage(), config.Controller.NodeID, config.Controller.Node))
	b.recovered = make(map[model.TopicPartition]*storage.Recovered, len(rec.Partitions))
	var found metalog.Found
	for i := range rec.Partitions {
		p := &rec.Partitions[i]
		switch {
		case !metalog.Holds(p.Partition):
			b.recovered[p.Partition] = p
			b.damage.due = b.damage.due || p.Damage != ""
			continue
		case p.Damage != "":
			return nil, fmt.Errorf("%w: the metadata log, %v: %s", storage.ErrDamaged, p.Partition, p.Damage)
		}
		switch p.Partition {
		case metalog.EntriesPartition:
			found.Entries = p.State
		case metalog.HardPartition:
			found.Hard = p.State
		case metalog.ImagesPartition:
			found.Images = p.State
		}
	}
	// Directories that nothing durable knows of were being made or removed when the last life ended.
	_, err := engine.DeleteUnknown(func(tp model.TopicPartition) bool { return metalog.Holds(tp) || b.recovered[tp] != nil })
	if err != nil {
		return nil, fmt.Errorf("remove what was left of deleted partitions: %w", err)
	}
	saved, err := b.openVoter(engine, found)
	if err != nil {
		return nil, err
	}
	if b.voter != nil {
		b.openLog(out)
		if err := b.startVoter(saved, out); err != nil {
			return nil, err
		}
	}
	b.settle(out)
	return b, nil
}

// metadataLog keeps everything until an image stands for it. A segment is gone when all of it is, so it is no larger than what is written
// between two images of a small cluster: the disk has what a voter needs and little more, whatever was written since it began.
func metadataLog() effect.LogConfig {
	c := metadata.DefaultTopicConfig().Log
	c.RetentionMs, c.RetentionBytes = -1, -1
	c.SegmentBytes = metadataSegmentBytes
	return c
}

const metadataSegmentBytes = 16 << 20

// catchUp takes up what had to wait until the metadata was that of this life: partitions, of which those are removed that
// recovery found and this node is no replica of any more, and groups.
//
// What was in between is not acted upon. A partition that was taken from this node and given to it again was removed and
// filled anew then; to remove it once more would remove what is there now.
func (b *Broker) catchUp(out *effect.Set) {
	if b.caughtUp || !b.Active() {
		return
	}
	b.caughtUp = true
	b.metadataReplaced(b.view.Of(metadata.NewImage()), out)
	for _, tp := range sortedPartitions(b.recovered) {
		b.deleteFiles(tp, out)
		out.Notes = append(out.Notes, effect.Note{Kind: effect.NotePartitionLetGo, Partition: tp})
	}
	b.recovered = nil
	b.loadGroups(out)
}
