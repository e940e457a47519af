package metadata

import (
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// batchBytesMax is how large Records lets a batch become: the record that passes it is the batch's last.
const batchBytesMax = 256 << 10

// Records writes the image out as batches of records that Restore makes the same image of: what a node that is far
// behind is given in the place of the log. The batches have offsets from base on without gaps, and an epoch. Each is
// the caller's. Equal images give the same bytes.
//
// Nothing in it says that it is whole: whoever stores batches ends them with something that does.
func (i *Image) Records(base model.Offset, epoch model.LeaderEpoch) func(yield func(record.Batch) bool) {
	return func(yield func(record.Batch) bool) {
		w := &imageWriter{next: base, epoch: epoch, yield: yield}
		w.begin()
		if i.write(w.add) && w.builder.RecordCount() > 0 {
			w.end()
		}
	}
}

// imageWriter puts records into batches.
type imageWriter struct {
	builder record.Builder
	value   []byte
	next    model.Offset
	epoch   model.LeaderEpoch
	yield   func(record.Batch) bool
}

func (w *imageWriter) begin() {
	options := record.NewOptions(record.CodecNone)
	options.BaseOffset, options.LeaderEpoch = w.next, w.epoch
	w.builder.Begin(options)
}

func (w *imageWriter) add(rec protocol.Record, version int16) bool {
	w.value = protocol.AppendMetadataRecord(w.value[:0], rec, version)
	w.builder.Append(record.Record{Value: w.value, Timestamp: model.NoTimestamp})
	if w.builder.SizeBytes() < batchBytesMax {
		return true
	}
	if !w.end() {
		return false
	}
	w.begin()
	return true
}

func (w *imageWriter) end() bool {
	b := append(record.Batch(nil), w.builder.Finish()...)
	w.next = b.NextOffset()
	return w.yield(b)
}

// write hands out all records of the image, in an order in which nothing is named before it is there.
func (i *Image) write(add func(rec protocol.Record, version int16) bool) bool {
	for name, level := range i.Features {
		if !add(&protocol.FeatureLevelRecord{Name: name, FeatureLevel: level}, 0) {
			return false
		}
	}
	for b := range i.Brokers {
		if !add(b.Record()) {
			return false
		}
	}
	for t := range i.Topics {
		if !t.write(add) {
			return false
		}
	}
	going := true
	i.settings.Scan(func(name string, settings []ConfigSetting) bool {
		going = writeSettings(NodeResource, name, settings, add)
		return going
	})
	if !going || i.nextProducerID == 0 {
		return going
	}
	return add(&protocol.ProducerIDsRecord{BrokerID: -1, BrokerEpoch: -1, NextProducerID: int64(i.nextProducerID)}, 0)
}

func (t *Topic) write(add func(rec protocol.Record, version int16) bool) bool {
	if !add(&protocol.TopicRecord{Name: t.Name, TopicID: [16]byte(t.ID)}, 0) {
		return false
	}
	for index, p := range t.Partitions {
		if !add(p.Record(t.ID, index)) {
			return false
		}
	}
	return writeSettings(TopicResource, t.Name, t.Settings, add)
}

func writeSettings(kind int8, name string, settings []ConfigSetting, add func(rec protocol.Record, version int16) bool) bool {
	for _, s := range settings {
		if !add(&protocol.ConfigRecord{ResourceType: kind, ResourceName: name, Name: s.Name, Value: protocol.String(s.Value)}, 0) {
			return false
		}
	}
	return true
}

// Record is what makes the partition as it is, and the lowest version that can say it.
func (p *Partition) Record(topic model.TopicID, index model.Partition) (rec *protocol.PartitionRecord, version int16) {
	rec = new(protocol.PartitionRecord)
	rec.Default()
	rec.PartitionID, rec.TopicID = int32(index), [16]byte(topic)
	rec.Replicas, rec.Isr = numbers(p.Replicas), numbers(p.ISR)
	rec.AddingReplicas, rec.RemovingReplicas = numbers(p.Adding), numbers(p.Removing)
	rec.Leader, rec.LeaderEpoch, rec.PartitionEpoch = int32(p.Leader), int32(p.LeaderEpoch), int32(p.PartitionEpoch)
	if p.Recovering {
		rec.LeaderRecoveryState = leaderRecovering
	}
	if len(p.Directories) > 0 {
		rec.Directories, version = uuids(p.Directories), 1
	}
	if len(p.ELR) > 0 {
		rec.EligibleLeaderReplicas, version = numbers(p.ELR), 2
	}
	if len(p.LastKnownELR) > 0 {
		rec.LastKnownElr, version = numbers(p.LastKnownELR), 2
	}
	return rec, version
}
