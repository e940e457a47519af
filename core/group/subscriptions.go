package group

import "github.com/weirmq/weir/core/protocol"

// consumerType is the protocol type of consumers: what its members say to their leader can be understood.
const consumerType = "consumer"

// subscriptions is which topics the members of a group want. The zero value stands for what is not known, and
// then any topic may be wanted.
type subscriptions struct {
	known  bool
	topics map[string]bool
}

// to reports whether a topic may be wanted.
func (s *subscriptions) to(topic string) bool { return !s.known || s.topics[topic] }

// subscriptions reads what the members said in the group's protocol. If one of them cannot be understood, nothing
// is known.
func (g *group) subscriptions() subscriptions {
	if g.protocolType != consumerType {
		return subscriptions{}
	}
	topics := make(map[string]bool)
	var s protocol.ConsumerProtocolSubscription
	for _, m := range g.ordered {
		s.Default()
		if !readSubscription(g.metadata(m), &s) {
			return subscriptions{}
		}
		for _, t := range s.Topics {
			topics[t] = true
		}
	}
	return subscriptions{known: true, topics: topics}
}

// readSubscription reads a subscription of any version: later ones only add fields, so what is newer is read as the
// newest that is known.
func readSubscription(b []byte, s *protocol.ConsumerProtocolSubscription) bool {
	_, err := protocol.ReadVersioned(b, s)
	return err == nil
}
