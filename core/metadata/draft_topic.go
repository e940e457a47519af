package metadata

import (
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// edit is the draft of a topic that is in the image.
func (d *Draft) edit(t *Topic) *topicDraft {
	e := d.topics[t.ID]
	if e == nil {
		e = editTopic(t, t)
		d.file(e)
	}
	return e
}

// file puts a topic of the draft's own where its names lead.
func (d *Draft) file(e *topicDraft) {
	t := e.After
	d.topics[t.ID] = e
	d.edited = append(d.edited, e)
	d.image.byName.Set(t.Name, t)
	d.image.byID.Set(string(t.ID[:]), t)
}

func (d *Draft) createTopic(rec *protocol.TopicRecord) error {
	id := model.TopicID(rec.TopicID)
	if d.image.Named(rec.Name) != nil || d.image.Identified(id) != nil || d.topics[id] != nil {
		return fmt.Errorf("topic %q (%v) exists twice", rec.Name, id)
	}
	if why := NameProblem(rec.Name); why != "" || id.IsZero() || id == model.MetadataTopicID {
		return fmt.Errorf("topic %q (%v): a name or id that no topic can have", rec.Name, id)
	}
	d.file(editTopic(nil, &Topic{Name: rec.Name, ID: id}))
	if shape := Shape(rec.Name); shape != "" {
		d.image.lookalikes.Set(shape+"\x00"+rec.Name, rec.Name)
	}
	return nil
}

func (d *Draft) addPartition(rec *protocol.PartitionRecord) error {
	t := d.image.Identified(model.TopicID(rec.TopicID))
	if t == nil {
		return fmt.Errorf("partition %d of a topic that does not exist: %v", rec.PartitionID, model.TopicID(rec.TopicID))
	}
	if int(rec.PartitionID) != t.count {
		return fmt.Errorf("topic %q has %d partitions and gets one numbered %d", t.Name, t.count, rec.PartitionID)
	}
	p := &Partition{
		Leader: model.NodeID(rec.Leader), LeaderEpoch: model.LeaderEpoch(rec.LeaderEpoch), PartitionEpoch: model.PartitionEpoch(rec.PartitionEpoch),
		Replicas: nodes(rec.Replicas), ISR: nodes(rec.Isr), ELR: nodes(rec.EligibleLeaderReplicas), LastKnownELR: nodes(rec.LastKnownElr),
		Adding: nodes(rec.AddingReplicas), Removing: nodes(rec.RemovingReplicas), Directories: directories(rec.Directories),
		Recovering: rec.LeaderRecoveryState == leaderRecovering,
	}
	if slices.Equal(p.ISR, p.Replicas) {
		p.ISR = p.Replicas // most partitions are like that
	}
	why := p.fault()
	if why == "" {
		why = recoveryFault(rec.LeaderRecoveryState, leaderRecovered)
	}
	if why != "" {
		return fmt.Errorf("partition %d of topic %q: %s", rec.PartitionID, t.Name, why)
	}
	d.edit(t).add(p)
	d.image.partitionCount++
	return nil
}

// Kafka's numbers in partition records: what a change leaves as it is, and how a leader came to lead (KIP-704).
const (
	leaderUnchanged   int32 = -2
	recoveryUnchanged int8  = -1
	leaderRecovered   int8  = 0
	leaderRecovering  int8  = 1
)

func recoveryFault(state, from int8) string {
	if state < from || state > leaderRecovering {
		return fmt.Sprintf("its leader's recovery has the unknown state %d", state)
	}
	return ""
}

// changePartition replaces a partition by what a change makes of it. Lists that the record does not have stay as they
// are, and so does the leader, unless the record names one: then its epoch goes up, even if it is the same.
func (d *Draft) changePartition(rec *protocol.PartitionChangeRecord) error {
	t := d.image.Identified(model.TopicID(rec.TopicID))
	if t == nil {
		return fmt.Errorf("a change of partition %d of a topic that does not exist: %v", rec.PartitionID, model.TopicID(rec.TopicID))
	}
	index := model.Partition(rec.PartitionID)
	old := t.Partition(index)
	if old == nil {
		return fmt.Errorf("a change of partition %d of topic %q, which has %d", index, t.Name, t.count)
	}
	p := *old
	p.PartitionEpoch++
	if rec.Leader != leaderUnchanged {
		p.Leader = model.NodeID(rec.Leader)
		p.LeaderEpoch++
	}
	if rec.Replicas != nil {
		p.Replicas, p.Directories = nodes(rec.Replicas), nil
	}
	if rec.Directories != nil {
		p.Directories = directories(rec.Directories)
	}
	if rec.Isr != nil {
		p.ISR = nodes(rec.Isr)
	}
	if rec.EligibleLeaderReplicas != nil {
		p.ELR = nodes(rec.EligibleLeaderReplicas)
	}
	if rec.LastKnownElr != nil {
		p.LastKnownELR = nodes(rec.LastKnownElr)
	}
	if rec.AddingReplicas != nil {
		p.Adding = nodes(rec.AddingReplicas)
	}
	if rec.RemovingReplicas != nil {
		p.Removing = nodes(rec.RemovingReplicas)
	}
	if rec.LeaderRecoveryState != recoveryUnchanged {
		p.Recovering = rec.LeaderRecoveryState == leaderRecovering
	}
	why := p.fault()
	if why == "" {
		why = recoveryFault(rec.LeaderRecoveryState, recoveryUnchanged)
	}
	if why != "" {
		return fmt.Errorf("a change of partition %d of topic %q: %s", index, t.Name, why)
	}
	d.edit(t).replace(index, &p)
	return nil
}

func (d *Draft) removeTopic(rec *protocol.RemoveTopicRecord) error {
	t := d.image.Identified(model.TopicID(rec.TopicID))
	if t == nil {
		return fmt.Errorf("a topic is removed that does not exist: %v", model.TopicID(rec.TopicID))
	}
	e := d.topics[t.ID]
	if e == nil {
		e = &topicDraft{TopicChange: TopicChange{Before: t}}
		d.topics[t.ID] = e
		d.edited = append(d.edited, e)
	}
	e.After = nil
	d.image.partitionCount -= t.count
	d.image.byName.Delete(t.Name)
	d.image.byID.Delete(string(t.ID[:]))
	if shape := Shape(t.Name); shape != "" {
		d.image.lookalikes.Delete(shape + "\x00" + t.Name)
	}
	return nil
}
