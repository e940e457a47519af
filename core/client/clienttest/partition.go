package clienttest

import (
	"slices"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Topic is a topic's state.
type Topic struct {
	Name       string
	ID         model.TopicID
	Partitions []*Partition
	// AppendTime makes brokers stamp records.
	AppendTime bool
}

// Partition is a partition's log.
type Partition struct {
	Leader     model.NodeID
	Epoch      model.LeaderEpoch
	Start      model.Offset
	Batches    []record.Batch // as stored
	Aborted    []Aborted
	LastStable model.Offset // -1: the end
	// HighWatermark is what a leader knows that has just come to lead: less than was acknowledged. It lists no end then (KIP-207). -1: the end.
	HighWatermark model.Offset
	producers     map[model.ProducerID]*producerState
	former        struct {
		leader model.NodeID
		epoch  model.LeaderEpoch
		moved  bool
	}
}

// Aborted is an aborted transaction.
type Aborted struct {
	ID          model.ProducerID
	First, Last model.Offset
}

type producerState struct {
	epoch  model.ProducerEpoch
	recent []recent // at most five
}

type recent struct {
	first, last model.Sequence
	base        model.Offset
}

// End is the partition's log end offset.
func (p *Partition) End() model.Offset {
	if n := len(p.Batches); n > 0 {
		return p.Batches[n-1].NextOffset()
	}
	return p.Start
}

// Move makes another broker the leader.
func (p *Partition) Move(to model.NodeID) {
	p.former.leader, p.former.epoch, p.former.moved = p.Leader, p.Epoch, true
	p.Leader = to
	p.Epoch++
}

// Forget drops what is known of producers, as a broker does after a day.
func (p *Partition) Forget() { clear(p.producers) }

// Records is the partition's content.
func (p *Partition) Records() []record.Record {
	var out []record.Record
	var d record.Decompressor
	for _, b := range p.Batches {
		if b.IsControl() {
			continue
		}
		for r, err := range record.Records(b, &d, 0) {
			if err != nil {
				panic(err)
			}
			r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
			out = append(out, r)
		}
	}
	return out
}

// Append writes a batch as it is, at the end of the log.
func (p *Partition) Append(b record.Batch) model.Offset {
	b = slices.Clone(b)
	base := p.End()
	record.Stamp(b, base, p.Epoch)
	p.Batches = append(p.Batches, b)
	return base
}
