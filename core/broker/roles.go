package broker

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/replica"
	"github.com/weirmq/weir/core/storage"
)

// metadataChanged goes on from one image to the next: partitions come and go, are led here or followed.
func (b *Broker) metadataChanged(before *metadata.View, changes *metadata.Changes, out *effect.Set) {
	for i := range changes.Topics {
		b.topicChanged(&changes.Topics[i], out)
	}
	b.topicsChanged(before, changes.Brokers, out)
}

// topicsChanged goes on with what is not about one topic.
func (b *Broker) topicsChanged(before *metadata.View, brokers []metadata.BrokerChange, out *effect.Set) {
	if before.Node().ReplicationRateMax != b.view.Node().ReplicationRateMax {
		b.stirFetchers()
	}
	if before.Node().Topic != b.view.Node().Topic {
		for t := range b.view.Topics {
			b.configured(t, out)
		}
	}
	b.brokersChanged(brokers, out)
	b.expected(out)
}

// metadataReplaced goes on from an image to another that was made without it. What is different is never there as a whole: it may be
// everything that the cluster has.
func (b *Broker) metadataReplaced(before *metadata.View, out *effect.Set) {
	for t := range before.Topics {
		if b.view.Identified(t.ID) == nil {
			b.topicChanged(&metadata.TopicChange{Before: t}, out)
		}
	}
	var parts []metadata.PartitionChange
	for t := range b.view.Topics {
		ch := metadata.TopicChange{Before: before.Identified(t.ID), After: t, Configured: true, Partitions: parts[:0]}
		for index, p := range t.Partitions {
			pc := metadata.PartitionChange{Partition: index, After: p}
			if ch.Before != nil {
				pc.Before = ch.Before.Partition(index)
			}
			ch.Partitions = append(ch.Partitions, pc)
		}
		b.topicChanged(&ch, out)
		parts = ch.Partitions
	}
	var brokers []metadata.BrokerChange
	for r := range b.view.Brokers {
		brokers = append(brokers, metadata.BrokerChange{Before: before.Broker(r.ID), After: r})
	}
	b.topicsChanged(before, brokers, out)
}

// refileTopics has the topics that are kept be those of the image, which is an equal one that was made by another way.
func (b *Broker) refileTopics() {
	for id, t := range b.topics { //determ:allow each is looked up for itself
		if of := b.view.Identified(id); of != nil {
			t.Topic = of
		}
	}
}

func (b *Broker) topicChanged(ch *metadata.TopicChange, out *effect.Set) {
	if ch.After == nil {
		b.topicDeleted(ch.Before, out)
		return
	}
	of := ch.After
	if t := b.topics[of.ID]; t != nil {
		t.Topic = of
	}
	if ch.Configured || ch.Before == nil {
		b.configured(of, out)
	}
	if ch.Configured && ch.Before != nil {
		out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteConfigured, Topic: of.Name})
	}
	added := false
	for i := range ch.Partitions {
		added = added || ch.Partitions[i].Before == nil
		b.partitionChanged(of, &ch.Partitions[i], out)
	}
	kind := effect.NotePartitionsAdded
	if ch.Before == nil {
		kind = effect.NoteTopicCreated
	}
	if (added || ch.Before == nil) && b.recovered == nil { // else the node has started, and takes up what there is
		out.Notes = append(out.Notes, effect.Note{Kind: kind, Topic: of.Name, Count: int64(of.PartitionCount())})
	}
}

// partitionChanged takes up or lays down what is this node's part in a partition.
func (b *Broker) partitionChanged(t *metadata.Topic, ch *metadata.PartitionChange, out *effect.Set) {
	self := b.config.Advertised.ID
	if ch.Before != nil && !ch.Before.IsReplica(self) && !ch.After.IsReplica(self) {
		return // in a large cluster nearly all of them
	}
	tp := model.TopicPartition{Topic: t.ID, Partition: ch.Partition}
	p := b.partitions.get(tp)
	switch mine := ch.After.IsReplica(b.config.Advertised.ID); {
	case !mine && p != nil:
		b.removePartition(p, kerr.NotLeaderForPartition.Code, out)
		return
	case !mine, p == nil && b.deleting[tp]:
		return // it is taken up when what was here is gone
	case p == nil && b.recoveredDamaged(tp) != "" && b.mayDrop(ch.After, model.NoLeaderEpoch):
		noteDropped(t, tp, b.recoveredDamaged(tp), out)
		delete(b.recovered, tp)
		b.deleteFiles(tp, out)
		return
	case p == nil:
		p = b.addPartition(t, b.newReplica(tp, b.recovered[tp], out))
		delete(b.recovered, tp)
		out.Opens = append(out.Opens, effect.Open{Partition: tp, Config: logConfig(p.topic)})
	}
	b.assign(p, ch.After, out)
	if ch.Before != nil && !slices.Equal(ch.Before.Replicas, ch.After.Replicas) {
		b.wake(p, out) // who waits here as a replica may be none any more
	}
}

// assign lets a replica lead or follow, as the image says. What an earlier life of this broker led it does not lead any more,
// but an image from the disk does not know that: who was in sync then may not be all who are now. Only what nobody else has
// a replica of is led on.
func (b *Broker) assign(p *partition, state *metadata.Partition, out *effect.Set) {
	led, epoch := p.replica.Leads(), p.replica.LeaderEpoch()
	if why := p.replica.Offline(); why != "" {
		if b.mayDrop(state, epoch) {
			noteDropped(p.topic.Topic, p.replica.Partition(), why, out)
			b.removePartition(p, kerr.NotLeaderForPartition.Code, out)
			return
		}
		b.damaged(p)
	}
	before := p.replica.Bounds().HighWatermark
	if state.Leader == b.config.Advertised.ID && (len(state.Replicas) == 1 || b.isRegistered()) {
		b.unfollow(p)
		p.toldAt = b.now
		advanced := p.replica.Lead(b.leadership(p.topic, state), b.now, out)
		for _, node := range state.Replicas {
			if r := b.view.Broker(node); r != nil {
				p.replica.Alive(node, !r.Fenced)
			}
		}
		if p.replica.LeaderEpoch() != epoch {
			b.wake(p, out) // who waits here goes by an epoch that is over
			b.groupsCommitted(p, out)
		} else if advanced {
			b.wakeFrom(p, before, out)
		}
		if !led && p.topic.Name == metadata.OffsetsTopic && p.coordinator == nil {
			b.coordinate(p)
			b.loadGroups(out)
		}
		b.deletionsAdvance(p, out)
		b.propose(p)
		return
	}
	failed := len(out.Produced)
	leader := state.Leader
	if leader == b.config.Advertised.ID {
		leader = model.NoNode
	}
	p.replica.Follow(leader, state.LeaderEpoch, out)
	b.hintLeader(p, failed, out)
	p.proposing, p.proposeAt = false, 0
	if p.readAway = false; led {
		b.relinquish(p, out)
		b.deletedBelow(p, 0, kerr.NotLeaderForPartition.Code, out)
	}
	if led || p.replica.LeaderEpoch() != epoch {
		b.wake(p, out) // who waits here goes by an epoch that is over
	}
	b.followNode(p, leader)
}

// silentTimeMax is four times what a follower's fetch waits when there is nothing for it.
const silentTimeMax = 4 * fetchWait

// leadership is what the image says of a partition that this node leads.
func (b *Broker) leadership(t *topic, state *metadata.Partition) replica.Leadership {
	return replica.Leadership{
		Epoch:      state.LeaderEpoch,
		Assignment: replica.Assignment{Replicas: state.Replicas, ISR: state.ISR, PartitionEpoch: state.PartitionEpoch},
		Config: replica.FollowersConfig{
			Self: b.config.Advertised.ID, InSyncMin: t.Config.InSyncMin(len(state.Replicas) - len(state.Adding)), LagTimeMax: b.config.LagTimeMax, SilentTimeMax: silentTimeMax,
		},
	}
}

// newReplica makes a replica of what recovery found, or of nothing.
func (b *Broker) newReplica(tp model.TopicPartition, rec *storage.Recovered, out *effect.Set) *replica.Replica {
	state, watermark := log.New(0), model.Offset(0)
	if rec != nil && rec.State != nil {
		state, watermark = rec.State, rec.HighWatermark
	}
	r := replica.New(tp, state, watermark)
	if rec != nil && rec.Damage != "" {
		r.GoOffline(rec.Damage, out)
	}
	return r
}

// recoveredDamaged is what is wrong with a partition that recovery found; empty if nothing is, or it found none.
func (b *Broker) recoveredDamaged(tp model.TopicPartition) string {
	if rec := b.recovered[tp]; rec != nil {
		return rec.Damage
	}
	return ""
}

// addPartition files a partition that is new here, and its topic, if it is the first of it.
func (b *Broker) addPartition(of *metadata.Topic, r *replica.Replica) *partition {
	t := b.topics[of.ID]
	if t == nil {
		t = &topic{Topic: of, Config: b.configOf(of)}
		b.topics[of.ID] = t
	}
	t.held++
	p := &partition{topic: t, replica: r}
	b.partitions.add(p)
	if r.Offline() != "" {
		b.setOffline(r.Partition())
	}
	return p
}

// removePartition lets go of a partition and of its files.
func (b *Broker) removePartition(p *partition, code int16, out *effect.Set) {
	b.unfollow(p)
	b.relinquish(p, out)
	p.replica.Delete(out)
	b.partitions.remove(p)
	if p.topic.held--; p.topic.held == 0 {
		delete(b.topics, p.topic.ID)
	}
	b.forgetOffline(p.replica.Partition())
	b.wake(p, out)
	b.deletedBelow(p, 0, code, out)
	p.proposing, p.proposeAt = false, 0
	b.deleteFiles(p.replica.Partition(), out)
}

// deleteFiles has a partition's files removed. Until that is done it is not taken up again: what is under way in storage
// is of the log that goes.
func (b *Broker) deleteFiles(tp model.TopicPartition, out *effect.Set) {
	b.deleting[tp] = true
	out.Deletes = append(out.Deletes, effect.Delete{Partition: tp})
}

// filesDeleted takes a partition up again that was given back to this node while its files were removed.
func (b *Broker) filesDeleted(tp model.TopicPartition, out *effect.Set) {
	delete(b.deleting, tp)
	t := b.view.Identified(tp.Topic)
	if t == nil || !b.caughtUp {
		return
	}
	if state := t.Partition(tp.Partition); state != nil && state.IsReplica(b.config.Advertised.ID) {
		b.partitionChanged(t, &metadata.PartitionChange{Partition: tp.Partition, After: state}, out)
	}
}

// checkPartitions verifies that what is here is what the image gives this node.
func (b *Broker) checkPartitions() error {
	ps := &b.partitions
	if !b.caughtUp {
		if len(ps.order) != 0 || len(b.topics) != 0 {
			return fmt.Errorf("%d partitions are taken up before the metadata is that of this life", len(ps.order))
		}
		return nil
	}
	if len(ps.byID) != len(ps.order) {
		return fmt.Errorf("%d partitions by id, %d in order", len(ps.byID), len(ps.order))
	}
	for i, p := range ps.order {
		tp := p.replica.Partition()
		if p.place != i || ps.byID[tp] != p {
			return fmt.Errorf("partition %v is filed wrongly", tp)
		}
		state := p.topic.Partition(tp.Partition)
		if b.topics[tp.Topic] != p.topic || state == nil {
			return fmt.Errorf("partition %v has another topic than the image", tp)
		}
		if err := p.replica.Check(); err != nil {
			return err
		}
		if offline := p.replica.Offline() != ""; offline != b.offline[tp] || offline != b.published.Offline(tp) {
			return fmt.Errorf("partition %v is offline: %t, counted as such: %t, published as such: %t", tp, offline, b.offline[tp], b.published.Offline(tp))
		}
		if leads := state.Leader == b.config.Advertised.ID; p.replica.Leads() && !leads {
			return fmt.Errorf("partition %v is led here, and by node %d", tp, state.Leader)
		}
		if p.following != nil && p.following.fetcher.node != state.Leader {
			return fmt.Errorf("partition %v follows node %d, and node %d leads", tp, p.following.fetcher.node, state.Leader)
		}
	}
	if len(b.offline) != b.published.OfflineCount() || b.published.View != b.view {
		return fmt.Errorf("what is published is not what is so: %d partitions offline, %d published", len(b.offline), b.published.OfflineCount())
	}
	count, topics := 0, 0
	for t := range b.view.Topics {
		held := 0
		for i := range t.Partitions {
			if ps.get(model.TopicPartition{Topic: t.ID, Partition: i}) != nil {
				held++
			}
		}
		own := b.topics[t.ID]
		if own != nil {
			topics++
		}
		if (own == nil) != (held == 0) || own != nil && (own.held != held || own.Topic != t || *own.Config != b.view.TopicConfig(t)) {
			return fmt.Errorf("topic %q, of which %d partitions are here, is not as it is in the image", t.Name, held)
		}
		for i, p := range t.Partitions {
			if p.IsReplica(b.config.Advertised.ID) && !b.deleting[model.TopicPartition{Topic: t.ID, Partition: i}] {
				count++
			}
		}
	}
	if topics != len(b.topics) {
		return fmt.Errorf("%d topics are kept, of which the image has %d", len(b.topics), topics)
	}
	if count != len(ps.order) {
		return fmt.Errorf("the image gives this node %d partitions, and it has %d", count, len(ps.order))
	}
	return nil
}

func sortedPartitions[V any](of map[model.TopicPartition]V) []model.TopicPartition {
	all := make([]model.TopicPartition, 0, len(of))
	for tp := range of {
		all = append(all, tp)
	}
	slices.SortFunc(all, model.TopicPartition.Compare)
	return all
}
