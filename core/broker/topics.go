package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/replica"
)

// describeTopics answers from the image, after creating what is missing if that is wanted and allowed.
func (b *Broker) describeTopics(ev *DescribeTopics, out *effect.Set) {
	if missing := b.creatable(ev); len(missing) > 0 {
		b.describes[ev.To] = ev
		b.controller.Ensure(ev.To, missing, out)
		return
	}
	b.answerDescribe(ev, out)
}

func (b *Broker) creatable(ev *DescribeTopics) []string {
	if !ev.AutoCreate || !b.controller.Image().Node().AutoCreateTopics || ev.All {
		return nil
	}
	var names []string
	for _, ref := range ev.Topics {
		if ref.Name != "" && b.controller.Image().Named(ref.Name) == nil && metadata.NameProblem(ref.Name) == "" {
			names = append(names, ref.Name)
		}
	}
	return names
}

func (b *Broker) answerDescribe(ev *DescribeTopics, out *effect.Set) {
	answer := &effect.TopicsDescribed{
		ClusterID: b.config.ClusterID, Controller: b.config.Advertised.ID, Brokers: []effect.Broker{b.config.Advertised},
	}
	if ev.All {
		for t := range b.controller.Image().Topics {
			answer.Topics = append(answer.Topics, b.describe(t))
		}
	}
	for _, ref := range ev.Topics {
		t, code := b.topic(ref)
		switch {
		case code == 0:
			answer.Topics = append(answer.Topics, b.describe(t))
		case ref.Name != "" && metadata.NameProblem(ref.Name) != "":
			answer.Topics = append(answer.Topics, effect.TopicDescribed{Code: kerr.InvalidTopicException.Code, Name: ref.Name})
		default:
			answer.Topics = append(answer.Topics, effect.TopicDescribed{Code: code, Name: ref.Name, ID: ref.ID})
		}
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer})
}

// describe is all of a topic as clients see it.
func (b *Broker) describe(t *metadata.Topic) effect.TopicDescribed {
	return b.describePart(t, 0, len(t.Partitions))
}

// describePart is a topic with its partitions from one to another. It says of an offline partition that it has no
// leader; everything else is the image's.
func (b *Broker) describePart(t *metadata.Topic, from, to int) effect.TopicDescribed {
	d := effect.TopicDescribed{Name: t.Name, ID: t.ID, Internal: metadata.Internal(t.Name), Partitions: t.Partitions[from:to:to]}
	copied := false
	for i := range d.Partitions {
		p := b.partitions.get(model.TopicPartition{Topic: t.ID, Partition: d.Partitions[i].Partition})
		if p == nil || p.replica.Offline() == "" {
			continue
		}
		if !copied {
			d.Partitions = append([]effect.PartitionDescribed(nil), d.Partitions...)
			copied = true
		}
		at := &d.Partitions[i]
		at.Code, at.Leader, at.Offline = kerr.LeaderNotAvailable.Code, -1, at.Replicas
	}
	return d
}

// controllerDone carries out what the controller made durable.
func (b *Broker) controllerDone(done controller.Done, out *effect.Set) {
	fresh := model.TopicID{} // the topic that is being created
	for i, ch := range done.Changes {
		switch {
		case ch.Created != nil:
			fresh = ch.Created.ID
		case ch.Partition != nil:
			b.partitionAdded(ch.Partition, out)
			// A topic gets its partitions one after the other; only the last has the whole topic.
			if i+1 < len(done.Changes) && done.Changes[i+1].Partition != nil && done.Changes[i+1].Partition.ID == ch.Partition.ID {
				continue
			}
			b.refresh(ch.Partition)
			b.recode(ch.Partition, false)
			kind := effect.NotePartitionsAdded
			if ch.Partition.ID == fresh {
				kind = effect.NoteTopicCreated
			}
			out.Notes = append(out.Notes, effect.Note{
				Kind: kind, Topic: ch.Partition.Name, Count: int64(len(ch.Partition.Partitions)),
			})
		case ch.Configured != nil:
			b.configured(ch.Configured, out)
			if ch.Configured.ID != fresh {
				out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteConfigured, Topic: ch.Configured.Name})
			}
		case ch.Deleted != nil:
			b.topicDeleted(ch.Deleted, out)
		}
		for _, t := range ch.Reconfigured {
			b.configured(t, out)
		}
	}
	b.publish(out)
	for _, to := range done.Ensured {
		if ev := b.describes[to]; ev != nil {
			delete(b.describes, to)
			b.answerDescribe(ev, out)
		}
		if ev := b.groups.finding[to]; ev != nil {
			delete(b.groups.finding, to)
			b.answerFind(ev, out)
		}
	}
	b.blockAllocated(done, out)
}

// partitionAdded opens the newest partition of a topic.
func (b *Broker) partitionAdded(t *metadata.Topic, out *effect.Set) {
	newest := t.Partitions[len(t.Partitions)-1]
	tp := model.TopicPartition{Topic: t.ID, Partition: newest.Partition}
	p := &partition{topic: t, replica: replica.New(tp, newest.LeaderEpoch, log.New(0))}
	b.partitions.add(p)
	if t.Name == metadata.OffsetsTopic {
		b.coordinate(p)
		b.loadGroups(out)
	}
	out.Opens = append(out.Opens, effect.Open{Partition: tp, Config: logConfig(t)})
}

// configured shows storage a topic's configuration, unless nothing in it is for storage to know.
func (b *Broker) configured(t *metadata.Topic, out *effect.Set) {
	b.recode(t, false)
	first := b.partitions.get(model.TopicPartition{Topic: t.ID, Partition: t.Partitions[0].Partition})
	before := first.topic.Config.Log
	b.refresh(t)
	if before == t.Config.Log {
		return
	}
	for _, d := range t.Partitions {
		out.Opens = append(out.Opens, effect.Open{
			Partition: model.TopicPartition{Topic: t.ID, Partition: d.Partition}, Config: logConfig(t),
		})
	}
}

// refresh shows every partition of a topic the topic as it is now.
func (b *Broker) refresh(t *metadata.Topic) {
	for _, d := range t.Partitions {
		b.partitions.get(model.TopicPartition{Topic: t.ID, Partition: d.Partition}).topic = t
	}
}

// recode notes in which codec a topic keeps its records, for publish.
func (b *Broker) recode(t *metadata.Topic, gone bool) {
	c := &t.Config
	b.recoded = append(b.recoded, effect.CodecChange{
		Name: t.Name, ID: t.ID, Keeps: gone || !c.Recompress, TopicCodec: effect.TopicCodec{Codec: c.Codec, BytesMax: c.MessageBytesMax},
	})
}

// publish tells sessions about the codecs of topics, if something is new.
func (b *Broker) publish(out *effect.Set) {
	if codecs := b.codecs.With(b.recoded); codecs != b.codecs {
		b.codecs, out.Codecs = codecs, codecs
	}
	clear(b.recoded)
	b.recoded = b.recoded[:0]
}

func (b *Broker) topicDeleted(t *metadata.Topic, out *effect.Set) {
	b.recode(t, true)
	for _, d := range t.Partitions {
		tp := model.TopicPartition{Topic: t.ID, Partition: d.Partition}
		p := b.partitions.get(tp)
		p.replica.Delete(out)
		b.partitions.remove(p)
		b.wake(p, out)
		b.deletedBelow(p, 0, kerr.UnknownTopicOrPartition.Code, out)
		out.Deletes = append(out.Deletes, effect.Delete{Partition: tp})
	}
	for _, c := range b.groups.byPartition {
		c.machine.TopicsDeleted(b.now, out)
		b.scheduleGroups(c)
	}
	out.Notes = append(out.Notes, effect.Note{
		Kind: effect.NoteTopicDeleted, Topic: t.Name, Count: int64(len(t.Partitions)),
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
func logConfig(t *metadata.Topic) effect.LogConfig {
	c := t.Config.Log
	if metadata.Internal(t.Name) {
		c.RetentionMs, c.RetentionBytes, c.FlushMessages, c.FlushMs = -1, -1, 0, 0
	}
	return c
}
