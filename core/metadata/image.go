package metadata

import (
	"fmt"
	"slices"
	"strconv"
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
	names  []string          // ascending
	shapes map[string]string // a topic of each Shape
	// nextProducerID is the first id beyond every block given out.
	nextProducerID model.ProducerID

	nodeID model.NodeID
	static NodeConfig     // what this node was started with
	nodes  []nodeSettings // by ascending name
	node   NodeConfig     // what follows for this node
}

// nodeSettings is what was set for a node, by its id, or for every node, by the empty name.
type nodeSettings struct {
	name     string
	settings []ConfigSetting // by ascending name
}

// Topic is one topic of an Image: immutable once it is there.
type Topic struct {
	Name       string
	ID         model.TopicID
	Partitions []effect.PartitionDescribed // by index
	Settings   []ConfigSetting             // what was set, by ascending name
	Config     TopicConfig                 // what follows from it
}

// Lookalike is the name of a topic that metrics cannot tell from one of this name, empty if there is none.
func (i *Image) Lookalike(name string) string { return i.shapes[Shape(name)] }

// NextProducerID is the first producer id beyond every block given out.
func (i *Image) NextProducerID() model.ProducerID { return i.nextProducerID }

// NewImage is the metadata of a new cluster, as a node sees it that was started with a configuration.
func NewImage(nodeID model.NodeID, static NodeConfig) *Image {
	return &Image{
		byName: make(map[string]*Topic), byID: make(map[model.TopicID]*Topic), shapes: make(map[string]string),
		nodeID: nodeID, static: static, node: static,
	}
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

// TopicsFrom walks the topics from a name on, that one included if it is there.
func (i *Image) TopicsFrom(name string) func(yield func(*Topic) bool) {
	at, _ := slices.BinarySearch(i.names, name)
	return func(yield func(*Topic) bool) {
		for _, name := range i.names[at:] {
			if !yield(i.byName[name]) {
				return
			}
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
	// Reconfigured are topics whose configuration changed because a node's did; they are new, too.
	Reconfigured []*Topic
}

// ApplyBatch applies the records of a metadata log batch in order and calls changed for each. An error means
// that the log holds something this version cannot take in; the image must not be used any further.
func (i *Image) ApplyBatch(b record.Batch, changed func(Change)) error {
	var d record.Decompressor
	r := record.NewReader(b, &d)
	for r.Next() {
		c, err := i.apply(r.Record().Value)
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

func (i *Image) apply(value []byte) (Change, error) {
	rec, _, err := protocol.ReadMetadataRecord(value)
	if err != nil {
		return Change{}, err
	}
	switch rec := rec.(type) {
	case *protocol.TopicRecord:
		return i.applyTopic(rec)
	case *protocol.PartitionRecord:
		return i.applyPartition(rec)
	case *protocol.ConfigRecord:
		return i.applyConfig(rec)
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

func (i *Image) applyTopic(rec *protocol.TopicRecord) (Change, error) {
	id := model.TopicID(rec.TopicID)
	if i.byName[rec.Name] != nil || i.byID[id] != nil {
		return Change{}, fmt.Errorf("topic %q (%v) exists twice", rec.Name, id)
	}
	t := &Topic{Name: rec.Name, ID: id, Config: i.node.Topic}
	at, _ := slices.BinarySearch(i.names, t.Name)
	i.names = slices.Insert(i.names, at, t.Name)
	if shape := Shape(t.Name); shape != "" {
		i.shapes[shape] = t.Name
	}
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

func (i *Image) applyConfig(rec *protocol.ConfigRecord) (Change, error) {
	switch rec.ResourceType {
	case TopicResource:
	case NodeResource:
		return i.applyNodeConfig(rec)
	default:
		return Change{}, fmt.Errorf("configuration of a resource of type %d", rec.ResourceType)
	}
	old := i.byName[rec.ResourceName]
	if old == nil {
		return Change{}, fmt.Errorf("configuration of a topic that does not exist: %q", rec.ResourceName)
	}
	t := *old
	t.Settings = ChangeSetting(t.Settings, rec.Name, rec.Value.Value, rec.Value.Valid)
	config, err := i.node.Topic.With(t.Settings)
	if err != nil {
		return Change{}, err
	}
	t.Config = config
	i.put(&t)
	return Change{Configured: &t}, nil
}

func (i *Image) applyNodeConfig(rec *protocol.ConfigRecord) (Change, error) {
	at, found := slices.BinarySearchFunc(i.nodes, rec.ResourceName, func(n nodeSettings, name string) int {
		return strings.Compare(n.name, name)
	})
	if !found {
		i.nodes = slices.Insert(i.nodes, at, nodeSettings{name: rec.ResourceName})
	}
	i.nodes[at].settings = ChangeSetting(i.nodes[at].settings, rec.Name, rec.Value.Value, rec.Value.Valid)
	if len(i.nodes[at].settings) == 0 {
		i.nodes = slices.Delete(i.nodes, at, at+1)
	}
	node, err := i.static.With(i.NodeSettings(""))
	if err == nil {
		node, err = node.With(i.NodeSettings(strconv.Itoa(int(i.nodeID))))
	}
	if err != nil {
		return Change{}, err
	}
	before := i.node.Topic
	i.node = node
	if node.Topic == before {
		return Change{}, nil
	}
	return i.reconfigure()
}

// reconfigure works out the configuration of every topic from new defaults.
func (i *Image) reconfigure() (ch Change, err error) {
	for _, name := range i.names {
		t := *i.byName[name]
		config, err := i.node.Topic.With(t.Settings)
		if err != nil {
			return Change{}, err
		}
		if config != t.Config {
			t.Config = config
			i.put(&t)
			ch.Reconfigured = append(ch.Reconfigured, &t)
		}
	}
	return ch, nil
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
	if shape := Shape(t.Name); i.shapes[shape] == t.Name {
		delete(i.shapes, shape)
	}
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

// Check verifies that every topic is filed under its names.
func (i *Image) Check() error {
	if len(i.names) != len(i.byName) || len(i.names) != len(i.byID) {
		return fmt.Errorf("image: %d names, %d by name, %d by id", len(i.names), len(i.byName), len(i.byID))
	}
	for k, name := range i.names {
		t := i.byName[name]
		if t == nil || i.byID[t.ID] != t || k > 0 && i.names[k-1] >= name {
			return fmt.Errorf("image: topic %q is filed wrongly", name)
		}
	}
	return nil
}

// Kafka's numbers of the resources that have a configuration, in records and requests.
const (
	TopicResource int8 = 2
	NodeResource  int8 = 4
)
