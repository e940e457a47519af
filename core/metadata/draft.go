package metadata

import (
	"fmt"
	"slices"

	"github.com/tidwall/btree"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// Draft is an image that is being made of another one: it is opened by Edit, takes in any number of batches or
// records, and ends as an Image when it is sealed. What it changes it copies once, however often it changes it. After
// an error it is of no use any more.
//
//	Image.Edit() ──► Draft ──Apply, Record──► Seal(version) ──► Image, Changes
type Draft struct {
	image   *Image // the draft's own maps over shared nodes
	before  *Image
	reader  record.Reader
	inflate record.Decompressor

	topics  map[model.TopicID]*topicDraft
	edited  []*topicDraft // of topics, in the order in which they were first touched
	brokers []model.NodeID
	nodes   []string
	levels  []string // features
}

// Edit begins another image with what is in this one.
func (i *Image) Edit() *Draft {
	image := *i
	image.byName, image.byID, image.lookalikes = copyOf(i.byName), copyOf(i.byID), copyOf(i.lookalikes)
	image.brokers, image.settings, image.features = copyOf(i.brokers), copyOf(i.settings), copyOf(i.features)
	return &Draft{image: &image, before: i, topics: make(map[model.TopicID]*topicDraft)}
}

func copyOf[K ~string | ~int32, V any](m *btree.Map[K, V]) *btree.Map[K, V] { return m.Copy() }

// Image is the draft as far as it has come, to be read until the draft goes on.
func (d *Draft) Image() *Image { return d.image }

// Apply takes in the records of a batch of the metadata log in order.
func (d *Draft) Apply(b record.Batch) error {
	if b.IsControl() {
		return nil
	}
	if err := d.reader.Reset(b, &d.inflate, 0); err != nil {
		return fmt.Errorf("metadata batch at offset %d: %w", b.BaseOffset(), err)
	}
	for d.reader.Next() {
		r := d.reader.Record()
		if err := d.value(r.Value); err != nil {
			return fmt.Errorf("metadata record at offset %d: %w", r.Offset, err)
		}
	}
	if err := d.reader.Err(); err != nil {
		return fmt.Errorf("metadata batch at offset %d: %w", b.BaseOffset(), err)
	}
	return nil
}

// CheckBatch refuses a batch that no image could take in: its records cannot be read, or are of a kind that this version
// does not know. What contradicts an image only Apply finds.
func CheckBatch(b record.Batch) error {
	if b.IsControl() {
		return nil
	}
	var inflate record.Decompressor
	r := record.NewReader(b, &inflate)
	for r.Next() {
		rec, _, err := protocol.ReadMetadataRecord(r.Record().Value)
		if err == nil && !isKnown(rec) {
			err = fmt.Errorf("a record of a kind that this version does not know: %T", rec)
		}
		if err != nil {
			return fmt.Errorf("metadata record %d of a batch: %w", r.Record().Offset-b.BaseOffset(), err)
		}
	}
	return r.Err()
}

// isKnown reports whether drafts take in a kind of record.
func isKnown(rec protocol.Record) bool {
	switch rec.(type) {
	case *protocol.TopicRecord, *protocol.PartitionRecord, *protocol.PartitionChangeRecord, *protocol.RemoveTopicRecord,
		*protocol.ConfigRecord, *protocol.RegisterBrokerRecord, *protocol.BrokerRegistrationChangeRecord,
		*protocol.UnregisterBrokerRecord, *protocol.ProducerIDsRecord, *protocol.FeatureLevelRecord, *protocol.NoOpRecord:
		return true
	}
	return false
}

func (d *Draft) value(value []byte) error {
	rec, _, err := protocol.ReadMetadataRecord(value)
	if err != nil {
		return err
	}
	return d.Record(rec)
}

// Record takes in one record of the metadata log. It keeps nothing of it.
func (d *Draft) Record(rec protocol.Record) error {
	switch rec := rec.(type) {
	case *protocol.TopicRecord:
		return d.createTopic(rec)
	case *protocol.PartitionRecord:
		return d.addPartition(rec)
	case *protocol.PartitionChangeRecord:
		return d.changePartition(rec)
	case *protocol.RemoveTopicRecord:
		return d.removeTopic(rec)
	case *protocol.ConfigRecord:
		return d.configure(rec)
	case *protocol.RegisterBrokerRecord:
		return d.registerBroker(rec)
	case *protocol.BrokerRegistrationChangeRecord:
		return d.changeBroker(rec)
	case *protocol.UnregisterBrokerRecord:
		return d.unregisterBroker(rec)
	case *protocol.ProducerIDsRecord:
		next := model.ProducerID(rec.NextProducerID)
		if next < d.image.nextProducerID {
			return fmt.Errorf("producer ids go back from %d to %d", d.image.nextProducerID, next)
		}
		d.image.nextProducerID = next
		return nil
	case *protocol.FeatureLevelRecord:
		return d.finalize(rec)
	case *protocol.NoOpRecord:
		return nil
	}
	return fmt.Errorf("a record of a kind that this version does not know: %T", rec)
}

func (d *Draft) finalize(rec *protocol.FeatureLevelRecord) error {
	switch {
	case rec.Name == "" || rec.FeatureLevel < 0:
		return fmt.Errorf("feature %q at level %d", rec.Name, rec.FeatureLevel)
	case rec.FeatureLevel == 0:
		d.image.features.Delete(rec.Name)
	default:
		d.image.features.Set(rec.Name, rec.FeatureLevel)
	}
	d.levels = once(d.levels, rec.Name)
	return nil
}

// Seal ends the draft: everything below version is in the image now.
func (d *Draft) Seal(version model.Offset) (*Image, *Changes) {
	image, out := d.image, &Changes{}
	image.version = version
	for _, t := range d.edited {
		if t.After == nil {
			t.Partitions, t.Configured = nil, false
		}
		if t.Before != nil || t.After != nil {
			out.Topics = append(out.Topics, t.TopicChange)
		}
	}
	for _, id := range d.brokers {
		if before, after := d.before.Broker(id), image.Broker(id); before != after {
			out.Brokers = append(out.Brokers, BrokerChange{Before: before, After: after})
		}
	}
	for _, name := range d.nodes {
		if !sameSettings(d.before.NodeSettings(name), image.NodeSettings(name)) {
			out.Nodes = append(out.Nodes, name)
		}
	}
	for _, name := range d.levels {
		if d.before.FeatureLevel(name) != image.FeatureLevel(name) {
			out.Features = append(out.Features, name)
		}
	}
	*d = Draft{} // what it owned is the image's now
	return image, out
}

// once is a list with a name that may be in it already. Lists of one draft are short.
func once(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}
