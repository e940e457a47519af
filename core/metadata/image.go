package metadata

import (
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/tidwall/btree"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Image is the cluster's metadata as of an offset of the metadata log. It never changes: what comes after it is
// another Image, made by Apply, that shares with it what did not change. Any number of goroutines may read images
// while one makes the next of them; two must not make images of the same one at the same time.
type Image struct {
	version model.Offset

	// The maps are copied on write: a copy shares all nodes with its origin, and whoever writes copies the few
	// nodes on the way to what it writes.
	byName     *btree.Map[string, *Topic]
	byID       *btree.Map[string, *Topic] // by the bytes of the id
	lookalikes *btree.Map[string, string] // names by Shape and name
	brokers    *btree.Map[model.NodeID, *Broker]
	// settings are what was set for a node, by its id, and for all nodes together, by the empty name.
	settings *btree.Map[string, []ConfigSetting]
	features *btree.Map[string, int16] // levels, KIP-584

	partitionCount int
	nextProducerID model.ProducerID
}

// NewImage is the metadata of a cluster about which nothing is written yet.
func NewImage() *Image {
	return &Image{
		byName: new(btree.Map[string, *Topic]), byID: new(btree.Map[string, *Topic]), lookalikes: new(btree.Map[string, string]),
		brokers: new(btree.Map[model.NodeID, *Broker]), settings: new(btree.Map[string, []ConfigSetting]),
		features: new(btree.Map[string, int16]),
	}
}

// Version is the offset of the metadata log below which everything is in the image.
func (i *Image) Version() model.Offset { return i.version }

// Apply takes in a batch of the metadata log, which begins where the image's Version ends, and says what it changed.
// A control batch changes nothing but the version. On an error, which says that the log holds what this version of
// weir cannot take in or what contradicts the image, there is no new image.
func (i *Image) Apply(b record.Batch) (*Image, *Changes, error) {
	if at := b.BaseOffset(); at != i.version {
		return nil, nil, fmt.Errorf("a metadata batch at offset %d follows an image of what is below %d", at, i.version)
	}
	d := i.Edit()
	if err := d.Apply(b); err != nil {
		return nil, nil, err
	}
	image, changes := d.Seal(b.NextOffset())
	return image, changes, nil
}

// Named is the topic of a name, nil if there is none.
func (i *Image) Named(name string) *Topic {
	t, _ := i.byName.Get(name)
	return t
}

// Identified is the topic of an id, nil if there is none.
func (i *Image) Identified(id model.TopicID) *Topic {
	t, _ := i.byID.Get(string(id[:]))
	return t
}

// Lookalike is the name of a topic that metrics cannot tell from one of this name, empty if there is none.
func (i *Image) Lookalike(name string) string {
	shape := Shape(name)
	if shape == "" {
		return ""
	}
	other := ""
	i.lookalikes.Ascend(shape, func(key, name string) bool {
		if strings.HasPrefix(key, shape+"\x00") {
			other = name
		}
		return false
	})
	return other
}

// Topics walks all topics by ascending name.
func (i *Image) Topics(yield func(*Topic) bool) {
	i.byName.Scan(func(_ string, t *Topic) bool { return yield(t) })
}

// TopicsFrom walks the topics from a name on, that one included if it is there.
func (i *Image) TopicsFrom(name string) func(yield func(*Topic) bool) {
	return func(yield func(*Topic) bool) {
		i.byName.Ascend(name, func(_ string, t *Topic) bool { return yield(t) })
	}
}

// TopicCount is how many topics there are.
func (i *Image) TopicCount() int { return i.byName.Len() }

// PartitionCount is how many partitions they have together.
func (i *Image) PartitionCount() int { return i.partitionCount }

// Partition is one partition, nil if it does not exist.
func (i *Image) Partition(tp model.TopicPartition) *Partition {
	t := i.Identified(tp.Topic)
	if t == nil {
		return nil
	}
	return t.Partition(tp.Partition)
}

// Broker is the broker of an id, nil if none is registered.
func (i *Image) Broker(id model.NodeID) *Broker {
	b, _ := i.brokers.Get(id)
	return b
}

// Brokers walks all registered brokers by ascending id.
func (i *Image) Brokers(yield func(*Broker) bool) {
	i.brokers.Scan(func(_ model.NodeID, b *Broker) bool { return yield(b) })
}

// BrokerCount is how many are registered.
func (i *Image) BrokerCount() int { return i.brokers.Len() }

// NodeSettings is what was set for a node, by its id, or for all nodes together, by the empty name.
func (i *Image) NodeSettings(name string) []ConfigSetting {
	s, _ := i.settings.Get(name)
	return s
}

// FeatureLevel is the level that a feature is finalized at (KIP-584), 0 if it is not.
func (i *Image) FeatureLevel(name string) int16 {
	level, _ := i.features.Get(name)
	return level
}

// Features walks the finalized features by name, with their levels.
func (i *Image) Features(yield func(string, int16) bool) { i.features.Scan(yield) }

// NextProducerID is the first producer id beyond every block given out.
func (i *Image) NextProducerID() model.ProducerID { return i.nextProducerID }

// Equal reports whether two images say the same, their versions included.
func (i *Image) Equal(o *Image) bool {
	return i.version == o.version && i.nextProducerID == o.nextProducerID && i.partitionCount == o.partitionCount &&
		sameMap(i.byName, o.byName, (*Topic).equal) && sameMap(i.byID, o.byID, (*Topic).equal) &&
		sameMap(i.lookalikes, o.lookalikes, func(a, b string) bool { return a == b }) &&
		sameMap(i.brokers, o.brokers, (*Broker).equal) &&
		sameMap(i.settings, o.settings, sameSettings) &&
		sameMap(i.features, o.features, func(a, b int16) bool { return a == b })
}

func sameMap[K ~string | ~int32, V any](a, b *btree.Map[K, V], same func(V, V) bool) bool {
	if a.Len() != b.Len() {
		return false
	}
	equal := true
	a.Scan(func(k K, v V) bool {
		w, there := b.Get(k)
		equal = there && same(v, w)
		return equal
	})
	return equal
}

// Hash is a number that equal images have in common, and others hardly ever.
func (i *Image) Hash() uint64 {
	h := xxhash.New()
	_, _ = fmt.Fprintln(h, i.version)
	for b := range i.Records(0, 0) {
		_, _ = h.Write(b)
	}
	return h.Sum64()
}

// Check verifies that everything is filed where it is looked for, and that nothing in the image contradicts the rest.
func (i *Image) Check() error {
	if i.byName.Len() != i.byID.Len() {
		return fmt.Errorf("image: %d topics by name, %d by id", i.byName.Len(), i.byID.Len())
	}
	partitionCount := 0
	for t := range i.Topics {
		if i.Named(t.Name) != t || i.Identified(t.ID) != t {
			return fmt.Errorf("image: topic %q is filed wrongly", t.Name)
		}
		if shape := Shape(t.Name); shape != "" && i.Lookalike(t.Name) == "" {
			return fmt.Errorf("image: topic %q is not among those that look alike", t.Name)
		}
		count := 0
		for index, p := range t.Partitions {
			if why := p.fault(); int(index) != count || why != "" {
				return fmt.Errorf("image: partition %d, which is number %d, of topic %q: %s", index, count, t.Name, why)
			}
			count++
		}
		if count != t.count {
			return fmt.Errorf("image: topic %q has %d partitions and counts %d", t.Name, count, t.count)
		}
		partitionCount += count
	}
	if partitionCount != i.partitionCount {
		return fmt.Errorf("image: %d partitions counted, %d there", i.partitionCount, partitionCount)
	}
	for b := range i.Brokers {
		if i.Broker(b.ID) != b {
			return fmt.Errorf("image: broker %d is filed wrongly", b.ID)
		}
	}
	return nil
}

// Kafka's numbers of the resources that have a configuration, in records and requests.
const (
	TopicResource int8 = 2
	NodeResource  int8 = 4
)
