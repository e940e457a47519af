package node

import "github.com/weirmq/weir/core/broker"

// unsyncedBytesMax is how much may be on its way to the disk before producers take turns: one group that is
// being made durable and one that gathers. Everything that waits goes with the next sync, so whoever sends
// little would otherwise wait for whatever the others have sent.
const unsyncedBytesMax = 8 << 20

// turnBytesMin is what a request counts at least: an empty one is work, too.
const turnBytesMin = 512

// turnstile holds produce requests while more than enough is on its way to the disk, and lets them out so that
// each connection gets as many bytes through as any other.
type turnstile struct{ turns turns[input] }

func (t *turnstile) count() int { return t.turns.count }

func (t *turnstile) push(in input) { t.turns.push(in.event.(*broker.Produce).To.Conn, in) }

// pop takes the next. There is one.
func (t *turnstile) pop() input {
	in := t.turns.pop()
	p := in.event.(*broker.Produce)
	t.turns.charge(p.To.Conn, max(turnBytesMin, batchBytes(p)))
	return in
}
