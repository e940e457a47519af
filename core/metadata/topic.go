package metadata

import (
	"slices"

	"github.com/weirmq/weir/core/model"
)

// Topic is one topic of an Image: immutable, shared by all images between two changes of it.
type Topic struct {
	Name     string
	ID       model.TopicID
	Settings []ConfigSetting // what was set, by ascending name; what follows from it is for a View to say

	// chunks are the partitions by index, chunkPartitions in each but the last: a change of one partition copies
	// its chunk and the list of them, and not thousands of others.
	chunks [][]*Partition
	count  int
}

const chunkPartitions = 64

// PartitionCount is how many partitions the topic has. They are numbered from 0.
func (t *Topic) PartitionCount() int { return t.count }

// Partition is one partition, nil if the topic has none of that number.
func (t *Topic) Partition(index model.Partition) *Partition {
	if index < 0 || int(index) >= t.count {
		return nil
	}
	return t.chunks[index/chunkPartitions][index%chunkPartitions]
}

// Partitions walks all partitions by index.
func (t *Topic) Partitions(yield func(model.Partition, *Partition) bool) {
	for c, chunk := range t.chunks {
		for i, p := range chunk {
			if !yield(model.Partition(c*chunkPartitions+i), p) {
				return
			}
		}
	}
}

// equal reports whether two topics are the same in everything.
func (t *Topic) equal(o *Topic) bool {
	if t == o {
		return true
	}
	if t.Name != o.Name || t.ID != o.ID || t.count != o.count || !slices.Equal(t.Settings, o.Settings) {
		return false
	}
	for i, p := range t.Partitions {
		if q := o.Partition(i); p != q && !p.equal(q) {
			return false
		}
	}
	return true
}

// topicDraft is a topic that is being changed. What it owns it may change in place.
type topicDraft struct {
	TopicChange
	ownsList bool
	owns     []bool // by chunk
	at       map[model.Partition]int
}

// edit makes a topic of the draft's own from one of an image, or from a new one.
func editTopic(before, topic *Topic) *topicDraft {
	after := *topic
	return &topicDraft{TopicChange: TopicChange{Before: before, After: &after}}
}

// own makes the chunk of a partition the draft's own.
func (d *topicDraft) own(chunk int) {
	t := d.After
	if !d.ownsList {
		t.chunks, d.owns, d.ownsList = slices.Clone(t.chunks), make([]bool, len(t.chunks)), true
	}
	if !d.owns[chunk] {
		t.chunks[chunk], d.owns[chunk] = slices.Clone(t.chunks[chunk]), true
	}
}

// add appends a partition.
func (d *topicDraft) add(p *Partition) {
	t := d.After
	index := model.Partition(t.count)
	if t.count%chunkPartitions == 0 {
		if !d.ownsList {
			t.chunks, d.owns, d.ownsList = slices.Clone(t.chunks), make([]bool, len(t.chunks)), true
		}
		t.chunks, d.owns = append(t.chunks, nil), append(d.owns, true)
	} else {
		d.own(t.count / chunkPartitions)
	}
	last := len(t.chunks) - 1
	t.chunks[last] = append(t.chunks[last], p)
	t.count++
	d.changed(index, nil, p)
}

// replace puts another partition in one's place.
func (d *topicDraft) replace(index model.Partition, p *Partition) {
	before := d.After.Partition(index)
	d.own(int(index / chunkPartitions))
	d.After.chunks[index/chunkPartitions][index%chunkPartitions] = p
	d.changed(index, before, p)
}

// changed notes what became of a partition. Of several changes the first before and the last after count.
func (d *topicDraft) changed(index model.Partition, before, after *Partition) {
	if at, again := d.at[index]; again {
		d.TopicChange.Partitions[at].After = after
		return
	}
	if d.at == nil {
		d.at = make(map[model.Partition]int)
	}
	d.at[index] = len(d.TopicChange.Partitions)
	d.TopicChange.Partitions = append(d.TopicChange.Partitions, PartitionChange{Partition: index, Before: before, After: after})
}
