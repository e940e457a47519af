// Package quorumtest is the network between voters in tests. By what a seed draws it loses, repeats and holds up messages, and
// it can be cut, one way at a time.
package quorumtest

import "github.com/weirmq/weir/core/model"

// Network carries the messages of voters.
type Network struct {
	Random interface{ IntN(n int) int }
	// Calm ends all trouble but the cuts.
	Calm bool
	// Flying are the messages on their way.
	Flying []Message

	cut map[direction]bool
}

type direction struct{ from, to model.VoterID }

// Message is one message.
type Message struct {
	From, To model.VoterID
	Bytes    []byte
	IsOffer  bool

	at model.Time // when it arrives
}

// Send takes a message. It reports whether that is lost: who sent it may be told.
func (n *Network) Send(now model.Time, m Message) (lost bool) {
	m.at = now + model.Time(100e3+n.Random.IntN(5e6))
	if !n.Calm {
		if n.Random.IntN(20) == 0 {
			return true
		}
		if n.Random.IntN(30) == 0 {
			m.at += model.Time(n.Random.IntN(500e6))
		}
		if n.Random.IntN(40) == 0 {
			again := m
			again.at += model.Time(n.Random.IntN(50e6))
			again.IsOffer = false // nobody is told twice what became of it
			n.Flying = append(n.Flying, again)
		}
	}
	n.Flying = append(n.Flying, m)
	return false
}

// Arrived takes out the messages that have arrived.
func (n *Network) Arrived(now model.Time) (arrived []Message) {
	flying := n.Flying
	n.Flying = nil
	for _, m := range flying {
		if m.at > now {
			n.Flying = append(n.Flying, m)
		} else {
			arrived = append(arrived, m)
		}
	}
	return arrived
}

// Cut loses what one voter sends another from now on.
func (n *Network) Cut(from, to model.VoterID) {
	if n.cut == nil {
		n.cut = make(map[direction]bool)
	}
	n.cut[direction{from, to}] = true
}

// IsCut reports whether what a message's sender sends its receiver is lost.
func (n *Network) IsCut(m *Message) bool { return n.cut[direction{m.From, m.To}] }

// Asks reports whether what one voter asks of another is heard and answered.
func (n *Network) Asks(from, of model.VoterID) bool {
	return !n.cut[direction{from, of}] && !n.cut[direction{of, from}] && (n.Calm || n.Random.IntN(8) > 0)
}

// Heal mends all cuts.
func (n *Network) Heal() { clear(n.cut) }
