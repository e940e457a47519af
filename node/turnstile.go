package node

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
)

// unsyncedBytesMax is how much may be on its way to the disk before producers take turns: one group that is
// being made durable and one that gathers. Everything that waits goes with the next sync, so whoever sends
// little would otherwise wait for whatever the others have sent.
const unsyncedBytesMax = 8 << 20

// turnstile holds produce requests while more than enough is on its way to the disk, and lets them out one
// connection after the other: a connection that has sent a hundred waits for its own, and not the others for
// all of them. The order within a connection stays.
//
//	first ──► [conn 3: a b c] ──► [conn 9: d] ──► [conn 4: e f]
//	              pop gives a, and conn 3 goes to the end
type turnstile struct {
	byConn map[effect.ConnID]*produceLine
	first  *produceLine
	last   *produceLine
	count  int
}

// produceLine is what one connection has waiting.
type produceLine struct {
	conn    effect.ConnID
	waiting []input
	next    *produceLine
}

func (t *turnstile) push(in input) {
	conn := in.event.(*broker.Produce).To.Conn
	line := t.byConn[conn]
	if line == nil {
		if t.byConn == nil {
			t.byConn = map[effect.ConnID]*produceLine{}
		}
		line = &produceLine{conn: conn}
		t.byConn[conn] = line
		t.append(line)
	}
	line.waiting = append(line.waiting, in)
	t.count++
}

func (t *turnstile) append(line *produceLine) {
	if t.last == nil {
		t.first = line
	} else {
		t.last.next = line
	}
	t.last = line
}

// pop takes the next. There is one.
func (t *turnstile) pop() input {
	line := t.first
	if t.first = line.next; t.first == nil {
		t.last = nil
	}
	line.next = nil
	in := line.waiting[0]
	line.waiting[0] = input{}
	line.waiting = line.waiting[1:]
	t.count--
	if len(line.waiting) > 0 {
		t.append(line)
	} else {
		delete(t.byConn, line.conn)
	}
	return in
}
