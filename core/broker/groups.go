package broker

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/coord"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// groups are the group coordinators of this broker: one for each partition of the offsets topic.
type groups struct {
	byPartition []*coordinator // of the partitions that are led here, by their numbers
	deadlines   coord.Timers[*coordinator]
	// loading are coordinators whose logs are not read yet, oldest first; one is read at a time.
	loading []*coordinator
	memory  group.Memory
	wall    model.Timestamp // the newest time of day that a Tick brought
}

// coordinator is one group coordinator and the partition that it writes to.
type coordinator struct {
	machine   *group.Coordinator
	partition *partition
	timer     coord.Timer[*coordinator]
	begun     bool // its log is being read, or was
}

// imageTopics shows coordinators the topics that there are.
type imageTopics struct{ b *Broker }

// TopicID is the id of the topic that has a name now.
func (t imageTopics) TopicID(name string) (model.TopicID, bool) {
	if topic := t.b.view.Named(name); topic != nil {
		return topic.ID, true
	}
	return model.TopicID{}, false
}

// groupLog is where a coordinator's records go.
type groupLog struct {
	b *Broker
	p *partition
}

// Append writes a batch of a coordinator's.
func (l groupLog) Append(h record.Header, batch []byte, out *effect.Set) (baseOffset model.Offset, code int16) {
	end := l.p.replica.LogEndOffset()
	if baseOffset, code = l.p.replica.Append(h, batch, l.b.now, out); code == 0 {
		l.b.extended(l.p, end, out)
	}
	return baseOffset, code
}

// coordinate makes the coordinator of a partition of the offsets topic. It loads when the loop gets to it.
func (b *Broker) coordinate(p *partition) {
	c := &coordinator{partition: p, machine: group.New(&b.config.Groups, p.replica.Partition(), groupLog{b, p}, imageTopics{b}, &b.groups.memory)}
	c.timer.Owner = c
	p.coordinator = c
	at, _ := slices.BinarySearchFunc(b.groups.byPartition, p.index(), func(c *coordinator, i model.Partition) int { return int(c.partition.index() - i) })
	b.groups.byPartition = slices.Insert(b.groups.byPartition, at, c)
	b.groups.loading = append(b.groups.loading, c)
}

// relinquish ends the coordination of groups whose partition is led elsewhere from now on, or is gone.
func (b *Broker) relinquish(p *partition, out *effect.Set) {
	c := p.coordinator
	if c == nil {
		return
	}
	c.machine.Resign(b.now, out)
	p.coordinator = nil
	b.groups.deadlines.Stop(&c.timer)
	is := func(o *coordinator) bool { return o == c }
	b.groups.byPartition = slices.DeleteFunc(b.groups.byPartition, is)
	b.groups.loading = slices.DeleteFunc(b.groups.loading, is)
}

// loadGroups lets the next coordinator read its log once the one before it has. Offsets of topics that do not exist are
// forgotten, so it waits until the metadata is that of this life: before, topics are missing that are only not heard of.
// What a new leader has beyond its high watermark may be lost with it, so that nobody may be told of it: a log is read when
// all of it is committed.
func (b *Broker) loadGroups(out *effect.Set) {
	if !b.caughtUp {
		return
	}
	for i := b.loadable(); i >= 0; i = b.loadable() {
		c := b.groups.loading[i]
		if i > 0 {
			copy(b.groups.loading[1:i+1], b.groups.loading[:i])
			b.groups.loading[0] = c
		}
		if !c.begun {
			c.begun = true
			if r := c.partition.replica; r.Offline() != "" {
				c.machine.Broken(b.now, b.groups.wall, r.Offline(), out)
			} else {
				c.machine.Load(b.now, b.groups.wall, r.Bounds().LogStartOffset, r.LogEndOffset(), out)
			}
			b.scheduleGroups(c)
		}
		if c.machine.Loading() {
			return
		}
		b.groups.loading = b.groups.loading[1:]
	}
}

// loadable is which of the coordinators that wait to read their logs is next; -1 if none is.
func (b *Broker) loadable() int {
	loading := b.groups.loading
	if len(loading) > 0 && loading[0].begun {
		return 0
	}
	return slices.IndexFunc(loading, func(c *coordinator) bool {
		return c.partition.replica.Offline() != "" || c.partition.replica.KnowsEnd()
	})
}

// scheduleGroups keeps a coordinator's deadline.
func (b *Broker) scheduleGroups(c *coordinator) {
	switch d := c.machine.Deadline(); {
	case d == 0:
		b.groups.deadlines.Stop(&c.timer)
	case !c.timer.IsSet() || c.timer.At() != d:
		b.groups.deadlines.Set(&c.timer, d)
	}
}

func (b *Broker) tickGroups(now model.Time, wall model.Timestamp, out *effect.Set) {
	b.groups.wall = wall
	for t := b.groups.deadlines.Due(now); t != nil; t = b.groups.deadlines.Due(now) {
		t.Owner.machine.Tick(now, wall, out)
		b.scheduleGroups(t.Owner)
	}
	b.loadGroups(out)
}

// groupsDeadline is when tickGroups has something to do.
func (b *Broker) groupsDeadline() model.Time {
	if i := b.loadable(); b.caughtUp && i >= 0 && !b.groups.loading[i].begun {
		return 1
	}
	return b.groups.deadlines.Deadline()
}

// offsetsPartition is the partition of the offsets topic that a group belongs to; false while there is no such topic.
func (b *Broker) offsetsPartition(id string) (model.TopicPartition, bool) {
	t := b.view.Named(metadata.OffsetsTopic)
	if t == nil || t.PartitionCount() == 0 {
		return model.TopicPartition{}, false
	}
	return model.TopicPartition{Topic: t.ID, Partition: model.Partition(group.PartitionOf(id, t.PartitionCount()))}, true
}

// coordinatorOf is the coordinator of a group; nil if it is not here, or may not be here any more.
func (b *Broker) coordinatorOf(id string) *coordinator {
	tp, ok := b.offsetsPartition(id)
	if !ok || b.cutOff() {
		return nil
	}
	if p := b.partitions.get(tp); p != nil {
		return p.coordinator
	}
	return nil
}

// findCoordinator answers who coordinates groups, after creating the topic of their state.
func (b *Broker) findCoordinator(ev *FindCoordinator, out *effect.Set) {
	if b.view.Named(metadata.OffsetsTopic) == nil {
		b.ensure([]string{metadata.OffsetsTopic}, out, func(out *effect.Set) { b.answerFind(ev, out) })
		return
	}
	b.answerFind(ev, out)
}

func (b *Broker) answerFind(ev *FindCoordinator, out *effect.Set) {
	answer := &effect.CoordinatorsFound{Coordinators: make([]effect.CoordinatorFound, 0, len(ev.Groups))}
	for _, id := range ev.Groups {
		found := effect.CoordinatorFound{Key: id, Node: effect.Broker{ID: -1, Port: -1}}
		tp, ok := b.offsetsPartition(id)
		if ok {
			found.Node, ok = b.shown(b.view.Partition(tp).Leader)
		}
		if !ok {
			found.Code = kerr.CoordinatorNotAvailable.Code
			found.Message = "the topic " + metadata.OffsetsTopic + " does not exist yet, or its partition has no leader at the moment"
		}
		answer.Coordinators = append(answer.Coordinators, found)
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer})
}

func (b *Broker) joinGroup(ev *JoinGroup, out *effect.Set) {
	if c := b.coordinatorOf(ev.Group); c != nil {
		c.machine.Join(b.now, &ev.Join, out)
		b.scheduleGroups(c)
		return
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.GroupJoined{
		Code: kerr.NotCoordinator.Code, Generation: -1, Member: ev.Member,
	}})
}

func (b *Broker) syncGroup(ev *SyncGroup, out *effect.Set) {
	if c := b.coordinatorOf(ev.Group); c != nil {
		c.machine.Sync(b.now, &ev.Sync, out)
		b.scheduleGroups(c)
		return
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.GroupSynced{Code: kerr.NotCoordinator.Code}})
}

func (b *Broker) heartbeat(ev *Heartbeat, out *effect.Set) {
	if c := b.coordinatorOf(ev.Group); c != nil {
		c.machine.Heartbeat(b.now, &ev.Heartbeat, out)
		b.scheduleGroups(c)
		return
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.HeartbeatAnswered{Code: kerr.NotCoordinator.Code}})
}

func (b *Broker) leaveGroup(ev *LeaveGroup, out *effect.Set) {
	if c := b.coordinatorOf(ev.Group); c != nil {
		c.machine.Leave(b.now, &ev.Leave, out)
		b.scheduleGroups(c)
		return
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.GroupLeft{Code: kerr.NotCoordinator.Code}})
}

// commitOffsets finds the topics that a commit names, and passes it on.
func (b *Broker) commitOffsets(ev *CommitOffsets, out *effect.Set) {
	for i := range ev.Parts {
		part := &ev.Parts[i]
		t, code := b.findTopic(TopicRef{Name: part.Topic, ID: part.TopicID}, part.Partition)
		if part.Code = code; code == 0 {
			part.Topic, part.TopicID = t.Name, t.ID
		}
	}
	if c := b.coordinatorOf(ev.Group); c != nil {
		c.machine.Commit(b.now, &ev.Commit, out)
		b.scheduleGroups(c)
		return
	}
	codes := make([]int16, len(ev.Parts))
	for i := range codes {
		if codes[i] = ev.Parts[i].Code; codes[i] == 0 {
			codes[i] = kerr.NotCoordinator.Code
		}
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.OffsetsCommitted{Codes: codes}})
}

func (b *Broker) fetchOffsets(ev *FetchOffsets, out *effect.Set) {
	answer := &effect.OffsetsFetched{Groups: make([]effect.GroupOffsets, 0, len(ev.Groups))}
	for i := range ev.Groups {
		in := &ev.Groups[i]
		c := b.coordinatorOf(in.Group)
		if c == nil {
			answer.Groups = append(answer.Groups, effect.GroupOffsets{Group: in.Group, Code: kerr.NotCoordinator.Code})
			continue
		}
		for k := range in.Topics {
			b.nameTopic(&in.Topics[k], ev.ByID)
		}
		answer.Groups = append(answer.Groups, c.machine.FetchOffsets(in))
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer})
}

// nameTopic gives a topic its other name. Offsets of a topic that is gone are not known to anybody.
func (b *Broker) nameTopic(t *group.FetchTopic, byID bool) {
	if !byID {
		topic := b.view.Named(t.Name)
		if t.Missing = topic == nil; !t.Missing {
			t.ID = topic.ID
		}
		return
	}
	topic := b.view.Identified(t.ID)
	if topic == nil {
		t.Code = kerr.UnknownTopicID.Code
		return
	}
	t.Name = topic.Name
}

func (b *Broker) describeGroups(ev *DescribeGroups, out *effect.Set) {
	answer := &effect.GroupsDescribed{Groups: make([]effect.GroupDescribed, 0, len(ev.Groups))}
	for _, id := range ev.Groups {
		if c := b.coordinatorOf(id); c != nil {
			answer.Groups = append(answer.Groups, c.machine.Describe(id))
			continue
		}
		answer.Groups = append(answer.Groups, effect.GroupDescribed{Group: id, Code: kerr.NotCoordinator.Code})
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer})
}

func (b *Broker) listGroups(ev *ListGroups, out *effect.Set) {
	answer := &effect.GroupsListed{}
	for _, c := range b.groups.byPartition {
		c.machine.List(ev.States, ev.Types, answer)
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer})
}

func (b *Broker) deleteGroups(ev *DeleteGroups, out *effect.Set) {
	// One more than there are results: the answer leaves when all have been asked for.
	d := &group.Deletions{To: ev.To, Answer: &effect.GroupsDeleted{}, Missing: len(ev.Groups) + 1}
	for _, id := range ev.Groups {
		d.Answer.Results = append(d.Answer.Results, effect.GroupDeleted{Group: id})
	}
	for i, id := range ev.Groups {
		if c := b.coordinatorOf(id); c != nil {
			c.machine.Delete(b.now, ev.Wall, id, d, i, out)
			b.scheduleGroups(c)
			continue
		}
		d.Answer.Results[i].Code = kerr.NotCoordinator.Code
		d.Done(out)
	}
	d.Done(out)
}

func (b *Broker) deleteOffsets(ev *DeleteOffsets, out *effect.Set) {
	for i := range ev.Parts {
		if part := &ev.Parts[i]; b.view.Named(part.Topic) == nil {
			part.Code = kerr.UnknownTopicOrPartition.Code
		}
	}
	if c := b.coordinatorOf(ev.Group); c != nil {
		c.machine.DeleteOffsets(b.now, &ev.DeleteOffsets, out)
		b.scheduleGroups(c)
		return
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.OffsetsDeleted{Code: kerr.NotCoordinator.Code}})
}

// groupsCommitted tells a coordinator how far its records are committed.
func (b *Broker) groupsCommitted(p *partition, out *effect.Set) {
	if c := p.coordinator; c != nil {
		c.machine.Durable(b.now, p.replica.Bounds().HighWatermark, out)
		b.scheduleGroups(c)
		b.loadGroups(out)
	}
}

// groupsAppended tells a coordinator what became of its records.
func (b *Broker) groupsAppended(c *coordinator, a effect.Appended, out *effect.Set) {
	r := c.partition.replica
	switch {
	case r.Offline() != "":
		c.machine.Refused(b.now, r.Bounds().HighWatermark, kerr.KafkaStorageError.Code, out)
	case a.Failure != effect.OK:
		c.machine.Refused(b.now, r.LogEndOffset(), kerr.KafkaStorageError.Code, out)
	default:
		c.machine.Durable(b.now, r.Bounds().HighWatermark, out)
	}
	b.scheduleGroups(c)
}

func (b *Broker) groupsScanned(s *effect.Scanned, out *effect.Set) {
	if p := b.partitions.get(s.Partition); p != nil && p.coordinator != nil {
		p.coordinator.machine.Scanned(b.now, s, out)
		b.scheduleGroups(p.coordinator)
		b.loadGroups(out)
	}
}

// GroupCount is how many groups there are.
func (b *Broker) GroupCount() int {
	n := 0
	for _, c := range b.groups.byPartition {
		n += c.machine.GroupCount()
	}
	return n
}

// GroupMemoryBytes is about how much they hold.
func (b *Broker) GroupMemoryBytes() int64 { return b.groups.memory.UsedBytes() }

func (gs *groups) check() error {
	if err := gs.deadlines.Check(); err != nil {
		return err
	}
	for i, c := range gs.byPartition {
		tp := c.partition.replica.Partition()
		if c.partition.coordinator != c || c.machine.Partition() != tp || i > 0 && gs.byPartition[i-1].partition.index() >= tp.Partition {
			return fmt.Errorf("the coordinator of partition %d is filed wrongly", i)
		}
		if d := c.machine.Deadline(); d == 0 == c.timer.IsSet() || d != 0 && c.timer.At() != d {
			return fmt.Errorf("coordinator %d is due at %d, and its timer is set to %d", i, d, c.timer.At())
		}
		if err := c.machine.Check(c.partition.replica.Bounds().HighWatermark, c.partition.replica.LogEndOffset()); err != nil {
			return fmt.Errorf("coordinator %d: %w", i, err)
		}
	}
	return nil
}
