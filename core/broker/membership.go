package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
)

// membership is this broker's standing in the cluster, from its own side.
//
//	unknown ──registered──► fenced ──caught up──► active ──Leave──► leaving ──nothing led──► relieved ──► left
//	   ▲                       ▲                    │                                           │
//	   │                       └──── not heard ─────┘                  another leads the quorum ┘
//	   └──── the controller knows another life of it, or none
//
// It serves what it leads while it is active; being fenced takes nothing from it by itself: what it does not lead any
// more the image says. While it hears nothing of the controller, it serves for as long as its lease lasts.
type membership struct {
	epoch   model.BrokerEpoch // NoBrokerEpoch: not registered
	call    effect.CallID     // a registration or a heartbeat under way; 0: none
	nextAt  model.Time        // of the next
	leaving bool
	left    bool // the controller lets it go: nothing is led here but the quorum, perhaps
	// handOverBy is until when another voter has to take over the quorum's leadership.
	handOverBy model.Time
	refused    string
	lease      lease
}

// MembershipConfig is how a broker keeps in touch.
type MembershipConfig struct {
	Incarnation model.IncarnationID
	Directory   model.DirectoryID
	Rack        string
	Listeners   []effect.BrokerListener
	// HeartbeatInterval is broker.heartbeat.interval.ms.
	HeartbeatInterval model.Time
}

// tickMembership registers, or says that this broker lives.
func (b *Broker) tickMembership(now model.Time, out *effect.Set) {
	m := &b.self
	if m.left && now >= m.nextAt {
		b.handOver(out)
	}
	if m.call != 0 || now < m.nextAt || m.left || b.members.HeartbeatInterval == 0 {
		return
	}
	if m.epoch == model.NoBrokerEpoch {
		m.call = b.askController(effect.LaneControl, registerTimeout, &effect.RegisterBroker{
			Broker: b.config.Advertised.ID, ClusterID: b.config.ClusterID, Incarnation: b.members.Incarnation,
			Listeners: b.members.Listeners, Rack: b.members.Rack, Directories: []model.DirectoryID{b.members.Directory},
			PreviousBrokerEpoch: model.NoBrokerEpoch,
		}, out, b.registered)
	} else {
		m.call = b.askController(effect.LaneControl, heartbeatTimeout, &effect.HeartbeatBroker{
			Broker: b.config.Advertised.ID, BrokerEpoch: m.epoch, MetadataOffset: b.view.Version() - 1, WantShutdown: m.leaving, WantFence: b.untold(),
		}, out, b.heartbeatAnswered)
	}
	m.lease.askedAt, m.nextAt = now, now+b.members.HeartbeatInterval
	if m.leaving {
		m.nextAt = now + min(b.members.HeartbeatInterval, leavingInterval)
	}
}

const (
	leavingInterval  model.Time = 20e6 // of heartbeats of a broker that waits to go
	registerTimeout  model.Time = 5e9
	heartbeatTimeout model.Time = 1e9
)

func (b *Broker) registered(a *effect.Answer, out *effect.Set) {
	m := &b.self
	m.call = 0
	body, _ := a.Body.(*effect.BrokerRegistered)
	switch {
	case a.Failure != effect.CallOK || body.Code == kerr.NotController.Code || body.Code == kerr.RequestTimedOut.Code:
		m.again(b)
	case body.Code != 0:
		m.nextAt = b.now + 10*b.members.HeartbeatInterval
		if why := effect.CodeName(body.Code); why != m.refused {
			m.refused = why
			out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteRegistrationRefused, Detail: why})
		}
	default:
		m.epoch, m.refused, m.nextAt = body.BrokerEpoch, "", b.now
		// Nobody has relieved this life of it before. That it is counted on it may hear without an answer to a heartbeat that counts.
		m.lease.answeredAt = m.lease.askedAt
		out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteRegistered, Offset: model.Offset(m.epoch)})
		b.stirFetchers() // fetches carry the epoch
	}
}

// again asks soon: the controller is another, or none, or was not reached.
func (m *membership) again(b *Broker) {
	m.nextAt = b.now + min(b.members.HeartbeatInterval, controllerRetry)
	b.controllerUnknown()
}

const controllerRetry model.Time = 50e6

func (b *Broker) heartbeatAnswered(a *effect.Answer, out *effect.Set) {
	m := &b.self
	m.call = 0
	body, _ := a.Body.(*effect.BrokerHeartbeatAnswered)
	switch {
	case a.Failure != effect.CallOK || body.Code == kerr.NotController.Code:
		m.again(b)
	case body.Code == kerr.StaleBrokerEpoch.Code || body.Code == kerr.BrokerIDNotRegistered.Code:
		m.epoch, m.nextAt = model.NoBrokerEpoch, b.now // another life of it is known, or none: it registers again
	case body.Code == 0:
		if body.IsCaughtUp {
			b.heard(body.IsFenced, out)
		}
		if m.leaving && body.ShouldShutdown {
			m.left, m.handOverBy = true, b.now+handOverPatience
			b.handOver(out)
		}
	}
}

// leave asks the controller to lead elsewhere what this broker leads.
func (b *Broker) leave(out *effect.Set) {
	m := &b.self
	if m.leaving = true; m.epoch == model.NoBrokerEpoch {
		m.left = true // nobody counts on it
		return
	}
	m.nextAt = b.now
	b.tickMembership(b.now, out)
}

const (
	handOverRetry    model.Time = 50e6
	handOverPatience model.Time = 1e9
)

// handOver has another voter lead the quorum, so that nobody has to find out by silence that its leader is gone.
func (b *Broker) handOver(out *effect.Set) {
	if b.Left() {
		return
	}
	v := b.voter
	best, match := quorum.VoterID(0), quorum.Index(0)
	for _, p := range v.log.Progress() {
		if p.Voter != v.id && p.Active && !p.Learner && p.Match > match {
			best, match = p.Voter, p.Match
		}
	}
	if b.self.nextAt = b.now + handOverRetry; best != 0 {
		v.log.HandOver(best, out, &v.out)
		b.voted(out)
	}
}

// Controls reports whether the active controller is here.
func (b *Broker) Controls() bool { return b.controller.Active() }

// Left reports whether nothing is led here any more, and the broker may stop. It waits no longer than some time for
// another voter to lead the quorum: there may be none.
func (b *Broker) Left() bool {
	m := &b.self
	return m.left && (b.now >= m.handOverBy || b.voter == nil || b.voter.log == nil || !b.voter.log.State().Leads)
}

// isRegistered reports whether the image knows this life of the broker.
func (b *Broker) isRegistered() bool {
	r := b.view.Broker(b.config.Advertised.ID)
	return r != nil && r.Epoch == b.self.epoch
}

// Active reports whether the controller counts on this broker: it is registered, has caught up with the metadata and is
// not fenced.
func (b *Broker) Active() bool {
	r := b.view.Broker(b.config.Advertised.ID)
	return r != nil && r.Epoch == b.self.epoch && !r.Fenced
}

// Standing is how far this broker has come on its way to be counted on, for people who wait for it.
type Standing struct {
	// Unfounded says that this voter knows of no cluster yet: the first of the voters founds it.
	Unfounded bool
	// Controller is who the controller is, as far as this broker knows.
	Controller    model.NodeID
	HasController bool
	Registered    bool
	// Refused is why the controller does not register it; empty if it was not refused.
	Refused string
}

// Standing reports how far this broker has come.
func (b *Broker) Standing() Standing {
	s := Standing{
		Unfounded:  b.voter != nil && (b.voter.log == nil || b.voter.log.Next() == 0),
		Registered: b.self.epoch != model.NoBrokerEpoch, Refused: b.self.refused,
	}
	s.Controller, s.HasController = b.controllerNode()
	return s
}

// membershipDeadline is when tickMembership has something to do.
func (b *Broker) membershipDeadline() model.Time {
	m := &b.self
	if m.left && !b.Left() {
		return min(max(1, m.nextAt), m.handOverBy)
	}
	if m.call != 0 || m.left || b.members.HeartbeatInterval == 0 {
		return 0
	}
	return max(1, m.nextAt)
}

// brokersChanged takes in what became of brokers: who is fenced is proposed by no leader, and who came back may be.
func (b *Broker) brokersChanged(changes []metadata.BrokerChange, out *effect.Set) {
	alive := make(map[model.NodeID]bool, len(changes)) // of those that changed
	for _, ch := range changes {
		if ch.After == nil {
			continue
		}
		alive[ch.After.ID] = !ch.After.Fenced
		if ch.After.ID == b.config.Advertised.ID && b.Active() {
			b.renew(out)
		}
		if f := b.fetchers[ch.After.ID]; f != nil {
			f.stir() // it may have another address
		}
	}
	if len(alive) == 0 {
		return
	}
	for _, p := range b.partitions.order {
		if !p.replica.Leads() {
			continue
		}
		for _, node := range p.topic.Partition(p.index()).Replicas {
			if is, changed := alive[node]; changed {
				p.replica.Alive(node, is)
				b.propose(p)
			}
		}
	}
}

// ClientListener is the name of the listener that clients are told of.
const ClientListener = "CLIENTS"

// shown is a broker as clients are told of it; false if it cannot be reached.
func (b *Broker) shown(node model.NodeID) (effect.Broker, bool) {
	if node == b.config.Advertised.ID {
		return b.config.Advertised, true
	}
	r := b.view.Broker(node)
	if r == nil || r.Fenced {
		return effect.Broker{}, false
	}
	l, ok := r.Listener(ClientListener)
	return effect.Broker{ID: node, Host: l.Host, Port: l.Port, Rack: r.Rack}, ok
}
