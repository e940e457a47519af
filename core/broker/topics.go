package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/replica"
)

// controllerDone carries out what the controller made durable.
func (b *Broker) controllerDone(done controller.Done, out *effect.Set) {
	if done.Changes != nil {
		b.follow(done.Changes, out)
	}
	for _, to := range done.Ensured {
		if ev := b.groups.finding[to]; ev != nil {
			delete(b.groups.finding, to)
			b.answerFind(ev, out)
			continue
		}
		out.Replies = append(out.Replies, effect.Reply{To: to, Body: &effect.TopicsEnsured{}})
	}
	b.blockAllocated(done, out)
}

// follow goes from one image to the controller's next.
func (b *Broker) follow(changes *metadata.Changes, out *effect.Set) {
	defaults := b.view.Node().Topic
	b.view = b.controller.View()
	for i := range changes.Topics {
		b.followTopic(&changes.Topics[i], out)
	}
	if defaults == b.view.Node().Topic {
		return
	}
	for t := range b.view.Topics {
		b.configured(b.topics[t.ID], out)
	}
}

func (b *Broker) followTopic(ch *metadata.TopicChange, out *effect.Set) {
	if ch.After == nil {
		b.topicDeleted(b.topics[ch.Before.ID], out)
		return
	}
	t := b.topics[ch.After.ID]
	if t == nil {
		t = b.addTopic(ch.After)
	}
	t.Topic = ch.After
	if ch.Configured {
		b.configured(t, out)
		if ch.Before != nil {
			out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteConfigured, Topic: t.Name})
		}
	}
	added := false
	for i := range ch.Partitions {
		if p := &ch.Partitions[i]; p.Before == nil {
			b.partitionAdded(t, p, out)
			added = true
		}
	}
	kind := effect.NotePartitionsAdded
	if ch.Before == nil {
		kind = effect.NoteTopicCreated
	}
	if added || ch.Before == nil {
		out.Notes = append(out.Notes, effect.Note{Kind: kind, Topic: t.Name, Count: int64(t.PartitionCount())})
	}
}

// addTopic files a topic that is new here.
func (b *Broker) addTopic(of *metadata.Topic) *topic {
	t := &topic{Topic: of, Config: b.view.TopicConfig(of)}
	b.topics[t.ID] = t
	b.recode(t, false)
	return t
}

// addPartition files a partition that is new here.
func (b *Broker) addPartition(t *topic, r *replica.Replica) {
	p := &partition{topic: t, replica: r}
	b.partitions.add(p)
	if r.Offline() != "" {
		b.setOffline(r.Partition())
	}
	if t.Name == metadata.OffsetsTopic {
		b.coordinate(p)
	}
}

// partitionAdded opens a new partition of a topic.
func (b *Broker) partitionAdded(t *topic, ch *metadata.PartitionChange, out *effect.Set) {
	tp := model.TopicPartition{Topic: t.ID, Partition: ch.Partition}
	b.addPartition(t, b.openReplica(tp, t, ch.After, nil, out))
	if t.Name == metadata.OffsetsTopic {
		b.loadGroups(out)
	}
	out.Opens = append(out.Opens, effect.Open{Partition: tp, Config: logConfig(t)})
}

// configured goes by what a topic's settings come to now. Storage is shown it, unless nothing in it is for storage
// to know.
func (b *Broker) configured(t *topic, out *effect.Set) {
	before := t.Config
	t.Config = b.view.TopicConfig(t.Topic)
	b.recode(t, false)
	if before.Log == t.Config.Log {
		return
	}
	for index := range t.Partitions {
		out.Opens = append(out.Opens, effect.Open{Partition: model.TopicPartition{Topic: t.ID, Partition: index}, Config: logConfig(t)})
	}
}

func (b *Broker) topicDeleted(t *topic, out *effect.Set) {
	b.recode(t, true)
	delete(b.topics, t.ID)
	for index := range t.Partitions {
		tp := model.TopicPartition{Topic: t.ID, Partition: index}
		p := b.partitions.get(tp)
		p.replica.Delete(out)
		b.partitions.remove(p)
		b.forgetOffline(tp)
		b.wake(p, out)
		b.deletedBelow(p, 0, kerr.UnknownTopicOrPartition.Code, out)
		out.Deletes = append(out.Deletes, effect.Delete{Partition: tp})
	}
	for _, c := range b.groups.byPartition {
		c.machine.TopicsDeleted(b.now, out)
		b.scheduleGroups(c)
	}
	out.Notes = append(out.Notes, effect.Note{
		Kind: effect.NoteTopicDeleted, Topic: t.Name, Count: int64(t.PartitionCount()),
	})
}

// producerIDs gives out ids of a durable block.
type producerIDs struct {
	next, last model.ProducerID // last is exclusive
	asked      bool             // a block is on its way
	waiting    []effect.RequestID
}

// initProducerID gives an id that nobody has had. A producer without transactional id that asks again
// gets a new one, too: nothing is known of the old one here (KIP-360 applies to transactions).
func (b *Broker) initProducerID(ev *InitProducerID, out *effect.Set) {
	b.ids.waiting = append(b.ids.waiting, ev.To)
	b.giveOut(out)
}

func (b *Broker) giveOut(out *effect.Set) {
	for len(b.ids.waiting) > 0 && b.ids.next < b.ids.last {
		out.Replies = append(out.Replies, effect.Reply{
			To: b.ids.waiting[0], Body: &effect.ProducerIDAssigned{ID: b.ids.next},
		})
		b.ids.next++
		b.ids.waiting = b.ids.waiting[1:]
	}
	if len(b.ids.waiting) > 0 && !b.ids.asked {
		b.ids.asked = true
		b.controller.Allocate(out)
	}
}

func (b *Broker) blockAllocated(done controller.Done, out *effect.Set) {
	switch {
	case done.BlockFrom < done.BlockTo:
		b.ids.next, b.ids.last, b.ids.asked = done.BlockFrom, done.BlockTo, false
		out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteProducerIDBlock, Count: int64(done.BlockFrom)})
		b.giveOut(out)
	case done.BlockFailed:
		// As Kafka, not COORDINATOR_NOT_AVAILABLE: on that, Java's producer asks for the coordinator of its
		// transactional id, which an idempotent producer does not have.
		b.ids.asked = false
		for _, to := range b.ids.waiting {
			out.Replies = append(out.Replies, effect.Reply{To: to, Body: &effect.ProducerIDAssigned{
				Code: kerr.CoordinatorLoadInProgress.Code, ID: model.NoProducerID, Epoch: model.NoProducerEpoch,
			}})
		}
		b.ids.waiting = nil
	}
}

// logConfig is how a topic's logs are kept. A topic of the cluster's own is kept whatever the node's defaults
// are: nothing of it goes by age or size, and nothing is acknowledged before it is synced.
func logConfig(t *topic) effect.LogConfig {
	c := t.Config.Log
	if metadata.Internal(t.Name) {
		c.RetentionMs, c.RetentionBytes, c.FlushMessages, c.FlushMs = -1, -1, 0, 0
	}
	return c
}
