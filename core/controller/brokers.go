package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/coord"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// contact is what the active controller has heard of a registered broker. It is of this leadership only: a new
// controller gives everybody the time of a session to be heard.
//
//	             heartbeat, caught up                    silence for SessionTimeout
//	registered ────────────────────────► unfenced ────────────────────────────────► fenced
//	 (fenced) ◄─────────────────────────────┴──────── heartbeat, caught up ◄──────────┘
type contact struct {
	node   model.NodeID
	epoch  model.BrokerEpoch
	timer  coord.Timer[*contact]
	at     model.Time   // when it was last heard; 0: not by this controller
	offset model.Offset // the metadata that it has applied
	// since is the metadata that it must have to have caught up: in which it was fenced, or relieved of something that it led.
	// Before, it may take itself for the leader of what others lead by now.
	since model.Offset
	leave bool // it wants to stop
	asked bool // a change of its standing is queued
	// damaged are its replicas that it cannot serve, and that nobody else could lead instead of when it said so.
	damaged map[model.TopicPartition]bool
}

// formerShare divides the time of a session that a deposed controller's broker has to show that it lives.
const formerShare = 4

// hear is the contact of a broker's registration, made when it is first asked for.
func (c *Controller) hear(b *metadata.Broker) *contact {
	k := c.contacts[b.ID]
	if k == nil || k.epoch != b.Epoch {
		if k != nil {
			c.silences.Stop(&k.timer)
		}
		k = &contact{node: b.ID, epoch: b.Epoch}
		k.timer.Owner = k
		c.contacts[b.ID] = k
		c.silences.Set(&k.timer, c.now+c.config.SessionTimeout)
	}
	return k
}

// Register asks for a broker to be known; the answer is an effect.BrokerRegistered.
func (c *Controller) Register(to effect.RequestID, in *effect.RegisterBroker, out *effect.Set) {
	c.ask(&request{
		to:     to,
		decide: func(t *turn) effect.Body { return t.register(in) },
		refuse: func(code int16, _ string) effect.Body {
			return &effect.BrokerRegistered{Code: code, BrokerEpoch: model.NoBrokerEpoch}
		},
	}, out)
}

// Heartbeat takes in that a broker lives; the answer is an effect.BrokerHeartbeatAnswered, at once. What it leads to is
// in the metadata. vouched says that nobody else can have become the controller and relieved the broker of something: else
// nobody is told that it has caught up.
func (c *Controller) Heartbeat(to effect.RequestID, in *effect.HeartbeatBroker, vouched bool, out *effect.Set) {
	answer := &effect.BrokerHeartbeatAnswered{IsFenced: true}
	defer reply(to, answer, out)
	if !c.active {
		answer.Code = kerr.NotController.Code
		return
	}
	b := c.view.Broker(in.Broker)
	switch {
	case b == nil:
		answer.Code = kerr.BrokerIDNotRegistered.Code
		return
	case b.Epoch != in.BrokerEpoch:
		answer.Code = kerr.StaleBrokerEpoch.Code
		return
	}
	k := c.hear(b)
	c.silences.Set(&k.timer, c.now+c.config.SessionTimeout)
	k.at, k.offset, k.leave = c.now, in.MetadataOffset, in.WantShutdown
	caughtUp := int64(in.MetadataOffset) >= int64(b.Epoch) && in.MetadataOffset >= k.since
	answer.IsFenced, answer.IsCaughtUp = b.Fenced, caughtUp && vouched
	// It may go once nothing is led by it that somebody else could lead, as far as it knows itself.
	answer.ShouldShutdown = in.WantShutdown && (b.Fenced || b.InControlledShutdown && in.MetadataOffset >= c.leavingSince[b.ID])
	wants := in.WantFence && !b.Fenced || b.Fenced && caughtUp && !in.WantFence && !in.WantShutdown ||
		in.WantShutdown && !b.InControlledShutdown && !b.Fenced || answer.ShouldShutdown && !b.Fenced
	if wants && !k.asked {
		c.stand(k, standing{fence: in.WantFence || answer.ShouldShutdown, leave: in.WantShutdown}, out)
	}
}

// Heard is which metadata a broker said that it has, and when; false if this controller has not heard it.
func (c *Controller) Heard(node model.NodeID) (offset model.Offset, at model.Time, ok bool) {
	if k := c.contacts[node]; c.active && k != nil && k.at != 0 {
		return k.offset, k.at, true
	}
	return 0, 0, false
}

// standing is what is to become of a broker.
type standing struct{ fence, leave bool }

// stand asks for a broker's standing to change. Nobody waits for an answer: it is in the metadata.
func (c *Controller) stand(k *contact, to standing, out *effect.Set) {
	k.asked = true
	c.ask(&request{
		decide: func(t *turn) effect.Body {
			k.asked = false
			t.stand(k, to)
			return nil
		},
		refuse: func(int16, string) effect.Body {
			k.asked = false
			return nil
		},
	}, out)
}

// tickBrokers fences who was not heard for the time of a session.
//
// A controller that stood still itself cannot know who was silent: what was said waits to be taken in.
func (c *Controller) tickBrokers(out *effect.Set) {
	if c.stood {
		c.stood = false
		for b := range c.view.Brokers {
			c.silences.Set(&c.hear(b).timer, c.now+c.config.SessionTimeout)
		}
	}
	for t := c.silences.Due(c.now); t != nil; t = c.silences.Due(c.now) {
		k := t.Owner
		if b := c.view.Broker(k.node); b != nil && b.Epoch == k.epoch && !b.Fenced && !k.asked {
			out.Marks.Set(effect.MarkBrokerFenced)
			out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteBrokerSilent, Count: int64(k.node)})
			c.stand(k, standing{fence: true}, out)
		}
	}
}

// register registers a broker. Its process is a new one, so whatever it led is led by others from now on, until it
// is heard again.
//
// Two processes with one id are told apart by their directories: a process that comes back with the same directory has
// its lock, so the one before is gone. With another directory it is another disk, or another machine that was given
// the same id: while the one that is known is heard, the other is refused.
func (t *turn) register(in *effect.RegisterBroker) effect.Body {
	c := t.c
	answer := &effect.BrokerRegistered{BrokerEpoch: model.NoBrokerEpoch}
	old := t.image().Broker(in.Broker)
	sameDisk := old != nil && slices.Equal(old.Directories, in.Directories)
	switch {
	case in.Broker < 0 || len(in.Directories) == 0 || len(in.Listeners) == 0:
		answer.Code = kerr.InvalidRequest.Code
		return answer
	case in.ClusterID != c.config.ClusterID:
		answer.Code = kerr.InconsistentClusterID.Code
		return answer
	case old != nil && !old.Fenced && !sameDisk && c.heard(old):
		answer.Code = kerr.DuplicateBrokerRegistration.Code
		return answer
	case old != nil && old.Incarnation == in.Incarnation && sameDisk:
		answer.BrokerEpoch = old.Epoch // it did not hear the answer
		return answer
	}
	b := &metadata.Broker{
		ID: in.Broker, Epoch: t.brokerEpoch(old), Incarnation: in.Incarnation, Listeners: in.Listeners, Features: in.Features,
		Rack: in.Rack, Fenced: true, Directories: in.Directories,
	}
	rec, version := b.Record()
	t.record(rec, version)
	answer.BrokerEpoch = b.Epoch
	lost := model.NoNode
	if old != nil && !sameDisk {
		lost = in.Broker
		t.marks.Set(effect.MarkDiskReplaced)
	}
	t.resettle(in.Broker, lost)
	return answer
}

// heard reports whether a broker was heard within the time of a session.
func (c *Controller) heard(b *metadata.Broker) bool {
	k := c.contacts[b.ID]
	return k != nil && k.epoch == b.Epoch && k.timer.IsSet()
}

// stand fences a broker, or takes it in again, or begins to let it go.
func (t *turn) stand(k *contact, to standing) {
	b := t.image().Broker(k.node)
	if b == nil || b.Epoch != k.epoch {
		return
	}
	rec := new(protocol.BrokerRegistrationChangeRecord)
	rec.Default()
	rec.BrokerID, rec.BrokerEpoch = int32(b.ID), int64(b.Epoch)
	switch {
	case to.fence && !b.Fenced:
		rec.Fenced = 1
	case to.leave && !b.InControlledShutdown && !b.Fenced:
		rec.InControlledShutdown = 1
		t.leaving = append(t.leaving, b.ID)
		t.marks.Set(effect.MarkControlledShutdown)
	case !to.fence && !to.leave && b.Fenced && !b.InControlledShutdown:
		rec.Fenced = -1
	default:
		return
	}
	t.record(rec, 1)
	t.resettle(b.ID, model.NoNode)
}

// resettle works out again every partition that a broker holds.
func (t *turn) resettle(node, lost model.NodeID) {
	for _, tp := range t.heldBy(node) {
		topic := t.image().Identified(tp.Topic)
		p := topic.Partition(tp.Partition)
		e := t.electorateOf(tp, topic, p)
		e.lost = lost
		to := t.settle(topic, p, e)
		t.change(tp, p, &to)
	}
}

// heldBy is the partitions that a broker holds, or is to, in order.
func (t *turn) heldBy(node model.NodeID) []model.TopicPartition {
	all := append(t.c.index.of(node), t.fresh...)
	slices.SortFunc(all, model.TopicPartition.Compare)
	return slices.DeleteFunc(slices.Compact(all), func(tp model.TopicPartition) bool {
		p := t.image().Partition(tp)
		return p == nil || !p.IsReplica(node)
	})
}

// electorateOf is what an election in a partition goes by, with what brokers have said of their replicas.
func (t *turn) electorateOf(tp model.TopicPartition, topic *metadata.Topic, p *metadata.Partition) *electorate {
	e := t.electorate(topic, p)
	for _, node := range p.Replicas {
		if t.c.isDamaged(tp, t.image().Broker(node)) {
			e.damaged = append(e.damaged, node)
		}
	}
	return e
}

// isDamaged reports whether a broker has said that it cannot serve its replica.
func (c *Controller) isDamaged(tp model.TopicPartition, b *metadata.Broker) bool {
	if b == nil {
		return false
	}
	k := c.contacts[b.ID]
	return k != nil && k.epoch == b.Epoch && k.damaged[tp]
}

// electorate is what an election in a partition goes by.
func (t *turn) electorate(topic *metadata.Topic, p *metadata.Partition) *electorate {
	config := t.view.TopicConfig(topic)
	return &electorate{
		image: t.image(), inSyncMin: config.InSyncMin(len(p.Replicas) - len(p.Adding)), unclean: config.UncleanElection,
		lost: model.NoNode, marks: &t.marks,
	}
}
