package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// See shows the session what the broker published last. The driver does it before every frame and every answer that
// it hands over, see broker.Published.
func (s *Session) See(p *broker.Published) { s.published = p }

// brokers are the nodes as clients reach them: those that have registered and are not fenced. A node that no cluster
// knows of shows itself.
func (s *Session) brokers() []effect.Broker {
	view := s.published.View
	if view.BrokerCount() == 0 {
		return []effect.Broker{s.config.Advertised}
	}
	out := make([]effect.Broker, 0, view.BrokerCount())
	for b := range view.Brokers {
		if shown, ok := s.reached(b); ok && !b.Fenced {
			out = append(out, shown)
		}
	}
	return out
}

// reached is a broker as clients of this session's listener reach it; false if it has no such listener.
func (s *Session) reached(b *metadata.Broker) (effect.Broker, bool) {
	if b.ID == s.config.NodeID {
		return s.config.Advertised, true // it may be another address than the others are told
	}
	l, ok := b.Listener(s.config.Listener)
	return effect.Broker{ID: b.ID, Host: l.Host, Port: l.Port, Rack: b.Rack}, ok
}

// controllerID is the node that clients are told decides: any forwards to it, so this one will do while another cannot be
// reached or is not known.
func (s *Session) controllerID() model.NodeID {
	if c := s.published.Controller; c != model.NoNode {
		if b := s.published.View.Broker(c); b != nil && !b.Fenced {
			if _, ok := s.reached(b); ok {
				return c
			}
		}
	}
	return s.config.NodeID
}

// isAlive reports whether a node can be expected to answer.
func (s *Session) isAlive(node model.NodeID) bool {
	view := s.published.View
	if view.BrokerCount() == 0 {
		return node == s.config.NodeID
	}
	b := view.Broker(node)
	return b != nil && !b.Fenced
}

// partitionSeen is what clients are told of a partition besides what the image says.
type partitionSeen struct {
	code    int16
	leader  model.NodeID
	offline []model.NodeID // replicas that cannot be used
}

// look sees to it that no client is sent to a leader that cannot answer: one on a node that is fenced, or the one on
// this node when the partition cannot be used here.
func (s *Session) look(t *metadata.Topic, index model.Partition, p *metadata.Partition) partitionSeen {
	seen := partitionSeen{leader: p.Leader}
	damaged := s.published.Offline(model.TopicPartition{Topic: t.ID, Partition: index})
	for _, node := range p.Replicas {
		if !s.isAlive(node) || damaged && node == s.config.NodeID {
			seen.offline = append(seen.offline, node)
			if node == seen.leader {
				seen.leader = model.NoNode
			}
		}
	}
	if seen.leader == model.NoNode {
		seen.code = kerr.LeaderNotAvailable.Code
	}
	return seen
}

// missing is the code for a topic that there is none of, by how it was asked for.
func missing(ref broker.TopicRef) int16 {
	switch {
	case ref.ByID:
		return kerr.UnknownTopicID.Code
	case ref.Name != "" && metadata.NameProblem(ref.Name) != "":
		return kerr.InvalidTopicException.Code
	}
	return kerr.UnknownTopicOrPartition.Code
}

// topic is the topic that a request means, nil if there is none.
func (s *Session) topic(ref broker.TopicRef) *metadata.Topic {
	if ref.ByID {
		return s.published.View.Identified(ref.ID)
	}
	return s.published.View.Named(ref.Name)
}
