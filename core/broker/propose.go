package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/replica"
)

// proposals are changes of who is in sync that leaders here ask the controller for, all that come up together in one
// request.
type proposals struct {
	due     []*partition // to be looked at in this step
	sending []proposed   // under way
	call    effect.CallID
	retryAt model.Time
	next    model.Time // the earliest proposeAt; 0: none
}

// proposed is one partition's part of a request.
type proposed struct {
	p     *partition
	epoch model.LeaderEpoch
}

const proposeTimeout model.Time = 3e9

// propose looks who is in sync at a partition, at the end of this step.
func (b *Broker) propose(p *partition) {
	if !p.proposing && p.replica.Leads() && !p.replica.Followers().Alone() {
		p.proposing = true
		b.proposals.due = append(b.proposals.due, p)
	}
}

// proposeAgain looks again at a partition of which a request was under way: what came up meanwhile, also in another leader epoch, was left to
// the answer.
func (b *Broker) proposeAgain(p *partition) {
	if b.partitions.get(p.replica.Partition()) == p {
		b.propose(p)
	}
}

// sendProposals asks the controller for what leaders want. One request is under way at a time.
func (b *Broker) sendProposals(out *effect.Set) {
	ps := &b.proposals
	if ps.call != 0 || len(ps.due) == 0 || b.now < ps.retryAt || b.self.epoch == model.NoBrokerEpoch {
		return
	}
	body := &effect.AlterPartition{Broker: b.config.Advertised.ID, BrokerEpoch: b.self.epoch}
	for _, p := range ps.due {
		if !p.proposing || !p.replica.Leads() {
			p.proposing = false
			continue
		}
		in, ok := p.replica.Followers().Propose(b.now)
		if !ok {
			p.proposing = false
			b.proposeLater(p)
			continue
		}
		part := effect.AlterPartitionPart{
			Partition: p.replica.Partition(), LeaderEpoch: p.replica.LeaderEpoch(), PartitionEpoch: in.PartitionEpoch,
		}
		for _, s := range in.ISR {
			part.ISR = append(part.ISR, effect.BrokerState{Broker: s.Node, BrokerEpoch: s.BrokerEpoch})
		}
		body.Parts = append(body.Parts, part)
		ps.sending = append(ps.sending, proposed{p, p.replica.LeaderEpoch()})
	}
	ps.due = ps.due[:0]
	if len(body.Parts) > 0 {
		ps.call = b.askController(effect.LaneControl, proposeTimeout, body, out, b.proposalsAnswered)
	}
}

// proposeLater keeps when a partition must be looked at although nothing happens.
func (b *Broker) proposeLater(p *partition) {
	p.proposeAt = 0
	if f := p.replica.Followers(); f != nil {
		p.proposeAt = f.Deadline()
	}
	// Many partitions are looked at together.
	if at := p.proposeAt; at != 0 {
		p.proposeAt = at - at%proposeGrain + proposeGrain
	}
	if at := p.proposeAt; at != 0 && (b.proposals.next == 0 || at < b.proposals.next) {
		b.proposals.next = at
	}
}

// proposalsAnswered takes in what the controller has committed, or will not.
func (b *Broker) proposalsAnswered(a *effect.Answer, out *effect.Set) {
	ps := &b.proposals
	sent := ps.sending
	ps.call, ps.sending = 0, nil
	body, _ := a.Body.(*effect.PartitionsAltered)
	if a.Failure != effect.CallOK || body.Code != 0 || len(body.Parts) != len(sent) {
		// It may have been committed or not: the same is asked again.
		if a.Failure != effect.CallOK || body.Code == kerr.NotController.Code || body.Code == kerr.RequestTimedOut.Code {
			b.controllerUnknown()
		}
		ps.retryAt = b.now + proposeRetry
		for _, s := range sent {
			s.p.proposing = false
			if s.current(b) {
				s.p.replica.Followers().Unanswered()
			}
			b.proposeAgain(s.p)
		}
		return
	}
	for i, s := range sent {
		s.p.proposing = false
		if !s.current(b) {
			b.proposeAgain(s.p)
			continue
		}
		in := &body.Parts[i]
		before := s.p.replica.Bounds().HighWatermark
		advanced := false
		switch {
		case in.Code == 0 && in.LeaderEpoch != s.epoch:
			continue // a replica went with it, and another leader epoch has begun: it is led in that when the metadata has come
		case in.Code == 0:
			advanced = s.p.replica.Assigned(replica.Assignment{
				Replicas: s.p.topic.Partition(s.p.index()).Replicas, ISR: in.ISR, PartitionEpoch: in.PartitionEpoch,
			}, b.now, out)
		default:
			// It rested on what has changed since, or somebody in it may not be in sync: the image tells.
			advanced = s.p.replica.Refused(out)
			ps.retryAt = max(ps.retryAt, b.now+proposeRetry)
		}
		if advanced {
			b.wakeFrom(s.p, before, out)
		}
		b.deletionsAdvance(s.p, out)
		b.propose(s.p)
	}
}

const (
	proposeRetry model.Time = 50e6
	proposeGrain model.Time = 250e6
)

// current reports whether the partition is still led as it was when it was proposed.
func (s *proposed) current(b *Broker) bool {
	return b.partitions.get(s.p.replica.Partition()) == s.p && s.p.replica.Leads() && s.p.replica.LeaderEpoch() == s.epoch
}

// tickProposals looks at the partitions whose followers may have been behind for too long.
func (b *Broker) tickProposals(now model.Time, out *effect.Set) {
	ps := &b.proposals
	if ps.next == 0 || now < ps.next {
		return
	}
	ps.next = 0
	for _, p := range b.partitions.order {
		switch {
		case p.proposeAt == 0:
		case p.proposeAt <= now:
			p.proposeAt = 0
			b.propose(p)
		case ps.next == 0 || p.proposeAt < ps.next:
			ps.next = p.proposeAt
		}
	}
}

// proposalsDeadline is when something is to be done.
func (b *Broker) proposalsDeadline() model.Time {
	ps := &b.proposals
	if len(ps.due) > 0 && ps.call == 0 && b.self.epoch != model.NoBrokerEpoch {
		return max(1, ps.retryAt)
	}
	return ps.next
}
