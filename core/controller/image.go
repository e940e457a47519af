package controller

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// Image is the cluster's metadata as of a point in the metadata log. Topics in it are never changed,
// only replaced, so they may be handed out.
type Image struct {
	byName map[string]*Topic
	byID   map[model.TopicID]*Topic
	names  []string // ascending
	// nextProducerID is the first id beyond every block given out.
	nextProducerID model.ProducerID
}

// Topic is one topic of an Image: immutable once it is there.
type Topic struct {
	Name       string
	ID         model.TopicID
	Partitions []effect.PartitionDescribed // by index
	Settings   []ConfigSetting             // what was set, by ascending name
	Config     TopicConfig                 // what follows from it
}

// NewImage is the metadata of a new cluster.
func NewImage() *Image {
	return &Image{byName: make(map[string]*Topic), byID: make(map[model.TopicID]*Topic)}
}

// Named is the topic of a name, nil if there is none.
func (i *Image) Named(name string) *Topic { return i.byName[name] }

// Identified is the topic of an id, nil if there is none.
func (i *Image) Identified(id model.TopicID) *Topic { return i.byID[id] }

// Topics walks all topics by ascending name.
func (i *Image) Topics(yield func(*Topic) bool) {
	for _, name := range i.names {
		if !yield(i.byName[name]) {
			return
		}
	}
}

// TopicCount is how many topics there are.
func (i *Image) TopicCount() int { return len(i.names) }

// Change is what one metadata record did to the image.
type Change struct {
	Created    *Topic // a topic is there, without partitions yet
	Partition  *Topic // a partition was added to it: the topic as it is now
	Configured *Topic // its configuration changed
	Deleted    *Topic
}

// ApplyBatch applies the records of a metadata log batch in order and calls changed for each. An error means
// that the log holds something this version cannot take in; the image must not be used any further.
func (i *Image) ApplyBatch(b record.Batch, defaults *TopicConfig, changed func(Change)) error {
	var d record.Decompressor
	r := record.NewReader(b, &d)
	for r.Next() {
		c, err := i.apply(r.Record().Value, defaults)
		if err != nil {
			return fmt.Errorf("metadata record at offset %d: %w", r.Record().Offset, err)
		}
		changed(c)
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("metadata batch at offset %d: %w", b.BaseOffset(), err)
	}
	return nil
}

func (i *Image) apply(value []byte, defaults *TopicConfig) (Change, error) {
	rec, _, err := protocol.ReadMetadataRecord(value)
	if err != nil {
		return Change{}, err
	}
	switch rec := rec.(type) {
	case *protocol.TopicRecord:
		return i.applyTopic(rec, defaults)
	case *protocol.PartitionRecord:
		return i.applyPartition(rec)
	case *protocol.ConfigRecord:
		return i.applyConfig(rec, defaults)
	case *protocol.RemoveTopicRecord:
		return i.applyRemoveTopic(rec)
	case *protocol.ProducerIDsRecord:
		next := model.ProducerID(rec.NextProducerID)
		if next < i.nextProducerID {
			return Change{}, fmt.Errorf("producer ids go back from %d to %d", i.nextProducerID, next)
		}
		i.nextProducerID = next
		return Change{}, nil
	}
	return Change{}, fmt.Errorf("a record of a kind that this version does not know: %T", rec)
}

func (i *Image) applyTopic(rec *protocol.TopicRecord, defaults *TopicConfig) (Change, error) {
	id := model.TopicID(rec.TopicID)
	if i.byName[rec.Name] != nil || i.byID[id] != nil {
		return Change{}, fmt.Errorf("topic %q (%v) exists twice", rec.Name, id)
	}
	t := &Topic{Name: rec.Name, ID: id, Config: *defaults}
	at, _ := slices.BinarySearch(i.names, t.Name)
	i.names = slices.Insert(i.names, at, t.Name)
	i.put(t)
	return Change{Created: t}, nil
}

func (i *Image) applyPartition(rec *protocol.PartitionRecord) (Change, error) {
	old := i.byID[model.TopicID(rec.TopicID)]
	if old == nil {
		return Change{}, fmt.Errorf("partition %d of a topic that does not exist: %v", rec.PartitionID, model.TopicID(rec.TopicID))
	}
	if int(rec.PartitionID) != len(old.Partitions) {
		return Change{}, fmt.Errorf("topic %q has %d partitions and gets one numbered %d", old.Name, len(old.Partitions), rec.PartitionID)
	}
	t := *old
	t.Partitions = append(t.Partitions, effect.PartitionDescribed{
		Partition: model.Partition(rec.PartitionID), Leader: model.NodeID(rec.Leader),
		LeaderEpoch: model.LeaderEpoch(rec.LeaderEpoch), Replicas: nodes(rec.Replicas), ISR: nodes(rec.Isr),
	})
	i.put(&t)
	return Change{Partition: &t}, nil
}

func (i *Image) applyConfig(rec *protocol.ConfigRecord, defaults *TopicConfig) (Change, error) {
	if rec.ResourceType != topicResource {
		return Change{}, fmt.Errorf("configuration of a resource of type %d", rec.ResourceType)
	}
	old := i.byName[rec.ResourceName]
	if old == nil {
		return Change{}, fmt.Errorf("configuration of a topic that does not exist: %q", rec.ResourceName)
	}
	t := *old
	t.Settings = slices.DeleteFunc(slices.Clone(t.Settings), func(s ConfigSetting) bool { return s.Name == rec.Name })
	if rec.Value.Valid {
		t.Settings = append(t.Settings, ConfigSetting{Name: rec.Name, Value: rec.Value.Value})
		slices.SortFunc(t.Settings, func(a, b ConfigSetting) int { return strings.Compare(a.Name, b.Name) })
	}
	config, err := defaults.With(t.Settings)
	if err != nil {
		return Change{}, err
	}
	t.Config = config
	i.put(&t)
	return Change{Configured: &t}, nil
}

func (i *Image) applyRemoveTopic(rec *protocol.RemoveTopicRecord) (Change, error) {
	t := i.byID[model.TopicID(rec.TopicID)]
	if t == nil {
		return Change{}, fmt.Errorf("a topic is removed that does not exist: %v", model.TopicID(rec.TopicID))
	}
	delete(i.byName, t.Name)
	delete(i.byID, t.ID)
	at, _ := slices.BinarySearch(i.names, t.Name)
	i.names = slices.Delete(i.names, at, at+1)
	return Change{Deleted: t}, nil
}

func (i *Image) put(t *Topic) { i.byName[t.Name], i.byID[t.ID] = t, t }

func nodes(ids []int32) []model.NodeID {
	out := make([]model.NodeID, len(ids))
	for i, id := range ids {
		out[i] = model.NodeID(id)
	}
	return out
}

// topicResource is Kafka's number for topics in configuration records and requests.
const topicResource = 2
