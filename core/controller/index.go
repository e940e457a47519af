package controller

import (
	"slices"

	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// index finds the partitions that a broker holds, so that a failure costs what it touches and not what there is, and
// those that are being moved.
type index struct {
	byNode map[model.NodeID]map[model.TopicPartition]struct{}
	moved  map[model.TopicPartition]struct{} // a reassignment is under way
}

// indexOf makes the index of an image.
func indexOf(image *metadata.Image) index {
	x := index{byNode: make(map[model.NodeID]map[model.TopicPartition]struct{}), moved: make(map[model.TopicPartition]struct{})}
	for t := range image.Topics {
		for i, p := range t.Partitions {
			x.add(model.TopicPartition{Topic: t.ID, Partition: i}, p)
		}
	}
	return x
}

func (x *index) add(tp model.TopicPartition, p *metadata.Partition) {
	for _, node := range p.Replicas {
		of := x.byNode[node]
		if of == nil {
			of = make(map[model.TopicPartition]struct{})
			x.byNode[node] = of
		}
		of[tp] = struct{}{}
	}
	if moves(p) {
		x.moved[tp] = struct{}{}
	}
}

func (x *index) remove(tp model.TopicPartition, p *metadata.Partition) {
	for _, node := range p.Replicas {
		delete(x.byNode[node], tp)
	}
	delete(x.moved, tp)
}

// update takes in what changed.
func (x *index) update(changes *metadata.Changes) {
	for i := range changes.Topics {
		ch := &changes.Topics[i]
		if ch.After == nil {
			for index, p := range ch.Before.Partitions {
				x.remove(model.TopicPartition{Topic: ch.Before.ID, Partition: index}, p)
			}
			continue
		}
		for _, pc := range ch.Partitions {
			tp := model.TopicPartition{Topic: ch.After.ID, Partition: pc.Partition}
			if pc.Before != nil && slices.Equal(pc.Before.Replicas, pc.After.Replicas) && moves(pc.Before) == moves(pc.After) {
				continue
			}
			if pc.Before != nil {
				x.remove(tp, pc.Before)
			}
			x.add(tp, pc.After)
		}
	}
}

// of is the partitions of a broker, in order.
func (x *index) of(node model.NodeID) []model.TopicPartition { return sorted(x.byNode[node]) }

// moving is the partitions that are being moved, in order.
func (x *index) moving() []model.TopicPartition { return sorted(x.moved) }

func sorted(set map[model.TopicPartition]struct{}) []model.TopicPartition {
	out := make([]model.TopicPartition, 0, len(set))
	for tp := range set {
		out = append(out, tp)
	}
	slices.SortFunc(out, model.TopicPartition.Compare)
	return out
}
