package broker

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// damage is what this broker does about replicas that it cannot serve.
//
//	         told the controller            neither in sync nor eligible,             its files are gone
//	offline ─────────────────────► told ──────────────────────────────────► dropped ────────────────────► an empty follower
//	                                │  ▲     in an epoch of which nobody
//	                                ▼  │     knows how far it was
//	                          nobody else could lead
//
// What is damaged is dropped only when the committed metadata does without it: until then a crash finds it as it was.
type damage struct {
	due    bool          // there may be something to tell
	call   effect.CallID // 0: none is under way
	nextAt model.Time
	after  model.TopicPartition // the last that was told of: there may be more than one request takes
	alone  map[model.TopicPartition]bool
	// told is the controller that knows of what was found so far, NoNode before any does.
	told model.NodeID
}

const (
	reportTimeout  model.Time = 3e9
	reportInterval model.Time = 1e9
	// reportPartsMax bounds how many replicas one request tells of.
	reportPartsMax = 1000
)

// damaged goes on with a replica that cannot be used: the controller is told at once, unless there is no other replica.
func (b *Broker) damaged(p *partition) {
	if len(p.topic.Partition(p.index()).Replicas) > 1 {
		b.damage.due, b.damage.nextAt = true, b.now
	}
}

// untold reports whether this broker has damaged replicas of which the controller does not know, and is not counted on yet. It
// is not to be before: it could be elected for what it cannot serve.
func (b *Broker) untold() bool {
	node, ok := b.controllerNode()
	return !b.caughtUp && b.damage.due && (!ok || b.damage.told != node)
}

// reportable is the damaged replicas that somebody else may have, in order, those first that come after the last that was told
// of.
func (b *Broker) reportable() []effect.DamagedPart {
	var all []effect.DamagedPart
	add := func(tp model.TopicPartition, epoch model.LeaderEpoch) {
		if state := b.view.Partition(tp); state != nil && len(state.Replicas) > 1 && state.IsReplica(b.config.Advertised.ID) {
			all = append(all, effect.DamagedPart{Partition: tp, LeaderEpoch: epoch})
		}
	}
	for _, tp := range sortedPartitions(b.offline) {
		if p := b.partitions.get(tp); p != nil {
			add(tp, p.replica.LeaderEpoch())
		}
	}
	for _, tp := range sortedPartitions(b.recovered) {
		if b.recovered[tp].Damage != "" {
			add(tp, model.NoLeaderEpoch)
		}
	}
	slices.SortFunc(all, compareDamaged)
	first, found := slices.BinarySearchFunc(all, effect.DamagedPart{Partition: b.damage.after}, compareDamaged)
	if found {
		first++
	}
	return append(all[first:], all[:first]...)
}

func compareDamaged(a, b effect.DamagedPart) int { return a.Partition.Compare(b.Partition) }

// tickDamage tells the controller which replicas cannot be served here.
func (b *Broker) tickDamage(out *effect.Set) {
	d := &b.damage
	if b.damageDeadline() == 0 || b.now < d.nextAt {
		return
	}
	d.nextAt = b.now + reportInterval
	all := b.reportable()
	if len(all) == 0 {
		d.due = !b.caughtUp && d.due // an image of before may not name them
		d.told, _ = b.controllerNode()
		return
	}
	body := &effect.ReportDamaged{Broker: b.config.Advertised.ID, BrokerEpoch: b.self.epoch, Parts: all[:min(len(all), reportPartsMax)]}
	d.after = body.Parts[len(body.Parts)-1].Partition
	slices.SortFunc(body.Parts, compareDamaged)
	d.call = b.askController(effect.LaneControl, reportTimeout, body, out, b.damageReported)
}

// damageReported takes in what the controller does about it. What it has changed comes with the metadata.
func (b *Broker) damageReported(a *effect.Answer, out *effect.Set) {
	d := &b.damage
	d.call = 0
	body, _ := a.Body.(*effect.DamagedReported)
	switch {
	case a.Failure == effect.CallRefused:
		d.told, _ = b.controllerNode() // it is of an earlier version
		return
	case a.Failure != effect.CallOK || body.Code != 0:
		if !b.caughtUp {
			d.nextAt = b.now + controllerRetry
		}
		return
	}
	d.told = a.From
	for i := range body.Parts {
		in := &body.Parts[i]
		p := b.partitions.get(in.Partition)
		if p == nil || p.replica.Offline() == "" || in.Code != kerr.EligibleLeadersNotAvailable.Code || d.alone[in.Partition] {
			continue
		}
		if d.alone == nil {
			d.alone = make(map[model.TopicPartition]bool)
		}
		d.alone[in.Partition] = true
		out.Notes = append(out.Notes, effect.Note{
			Kind: effect.NoteReplicaAlone, Topic: p.topic.Name, Partition: in.Partition, Offset: p.replica.LogEndOffset(),
			Detail: fmt.Sprintf("%s; of its replicas %v no other that has everything is running: start those, or, to go on without what they lack, stop this node and elect a leader uncleanly",
				p.replica.Offline(), p.topic.Partition(in.Partition.Partition).Replicas),
		})
	}
}

// damageDeadline is when tickDamage has something to do.
func (b *Broker) damageDeadline() model.Time {
	if !b.damage.due || b.damage.call != 0 || !b.isRegistered() {
		return 0 // whose replica it is says the image that has this life's registration
	}
	return max(1, b.damage.nextAt)
}

// mayDrop reports whether a damaged replica is of no use to anybody: another leads, nobody counts on what this one has, and
// nobody can take it in for what it had, for that was in an earlier leader epoch. epoch is the last in which it led or
// followed.
func (b *Broker) mayDrop(state *metadata.Partition, epoch model.LeaderEpoch) bool {
	self := b.config.Advertised.ID
	return state.LeaderEpoch > epoch && state.Leader != model.NoNode && !state.InSync(self) && !slices.Contains(state.ELR, self) && b.isRegistered()
}

// noteDropped says that a damaged replica is to be filled anew.
func noteDropped(t *metadata.Topic, tp model.TopicPartition, why string, out *effect.Set) {
	out.Marks.Set(effect.MarkReplicaDropped)
	out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteReplicaDropped, Topic: t.Name, Partition: tp, Detail: why})
}
