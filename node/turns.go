package node

import (
	"container/heap"

	"github.com/weirmq/weir/core/effect"
)

// turns says who is next, so that each connection gets as much as any other. What counts is what it was charged
// for, in bytes or in time, and not how often it came: whoever asks for little is let through at once, and whoever
// has asked for much a hundred times waits for its own, and not the others for all of it. The order within a
// connection stays.
//
// Each connection has a time of its own, counted in what it was charged, and the one whose next begins first in
// that time is next (start-time fair queueing). One that comes after a pause begins at the present of all: nobody
// saves up for later.
//
//	now ──────────┬──────────────────►  charged to each
//	conn 3        │[a      ][b      ][c      ]
//	conn 9        │[d]
//	conn 4   [e  ]│[f  ]                next: a, then d, f, b ...
type turns[T any] struct {
	byConn map[effect.ConnID]*line[T]
	lines  lines[T] // that have somebody waiting
	now    int64    // when what was let out last began
	pushes uint64
	count  int // waiting
	out    int // let out and not charged yet
}

// line is what one connection has waiting, and where it stands.
type line[T any] struct {
	waiting []T
	begins  int64  // when the first that waits begins; with nobody waiting: when what was let out ends
	turn    uint64 // of those that begin together, who came first
	index   int    // in lines
}

// turnLinesKept is how many connections are kept with nothing waiting before it is looked whether they are needed.
const turnLinesKept = 64

func (t *turns[T]) push(conn effect.ConnID, one T) {
	l := t.byConn[conn]
	if l == nil {
		if t.byConn == nil {
			t.byConn = map[effect.ConnID]*line[T]{}
		} else if len(t.byConn) >= turnLinesKept && len(t.byConn) >= 4*len(t.lines) {
			t.forget()
		}
		l = &line[T]{}
		t.byConn[conn] = l
	}
	l.waiting = append(l.waiting, one)
	t.count++
	if len(l.waiting) == 1 {
		t.pushes++
		l.begins, l.turn = max(l.begins, t.now), t.pushes
		heap.Push(&t.lines, l)
	}
}

// pop lets the next one out. There is one. It is to be charged.
func (t *turns[T]) pop() T {
	l := t.lines[0]
	one := l.waiting[0]
	var none T
	l.waiting[0] = none
	l.waiting = l.waiting[1:]
	t.count--
	t.out++
	t.pushes++
	t.now, l.turn = l.begins, t.pushes
	if len(l.waiting) > 0 {
		heap.Fix(&t.lines, 0)
	} else {
		heap.Pop(&t.lines)
		l.waiting = nil
	}
	return one
}

// charge says what something that was let out has cost its connection.
func (t *turns[T]) charge(conn effect.ConnID, cost int64) {
	t.out--
	// A connection that is not there was forgotten: others had got as much since it began.
	if l := t.byConn[conn]; l != nil {
		l.begins += cost
		if len(l.waiting) > 0 {
			heap.Fix(&t.lines, l.index)
		}
	}
	t.rest()
}

// rest forgets everybody when nobody competes.
func (t *turns[T]) rest() {
	if t.count == 0 && t.out == 0 {
		clear(t.byConn)
		t.now = 0
	}
}

// forget drops the connections that have nothing waiting and are not ahead of the others.
func (t *turns[T]) forget() {
	for conn, l := range t.byConn {
		if len(l.waiting) == 0 && l.begins <= t.now {
			delete(t.byConn, conn)
		}
	}
}

// remove takes one out of its line that no longer wants its turn. It is false if it is not there.
func (t *turns[T]) remove(conn effect.ConnID, is func(T) bool) bool {
	l := t.byConn[conn]
	if l == nil {
		return false
	}
	for i := range l.waiting {
		if !is(l.waiting[i]) {
			continue
		}
		l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
		t.count--
		if len(l.waiting) == 0 {
			heap.Remove(&t.lines, l.index)
		}
		t.rest()
		return true
	}
	return false
}

// lines is a heap, with who is next on top.
type lines[T any] []*line[T]

func (ls lines[T]) Len() int { return len(ls) }
func (ls lines[T]) Less(i, j int) bool {
	if ls[i].begins != ls[j].begins {
		return ls[i].begins < ls[j].begins
	}
	return ls[i].turn < ls[j].turn
}

func (ls lines[T]) Swap(i, j int) {
	ls[i], ls[j] = ls[j], ls[i]
	ls[i].index, ls[j].index = i, j
}

func (ls *lines[T]) Push(x any) {
	l := x.(*line[T])
	l.index = len(*ls)
	*ls = append(*ls, l)
}

func (ls *lines[T]) Pop() any {
	last := len(*ls) - 1
	l := (*ls)[last]
	(*ls)[last] = nil
	*ls = (*ls)[:last]
	return l
}
