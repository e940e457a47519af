package scale

import (
	"container/heap"
	"fmt"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// Options say how large the cluster is.
type Options struct {
	Brokers, Voters, Racks int
	Partitions             int
	PartitionsPerTopic     int
	ReplicationFactor      int
	// Progress, if set, is told what happens.
	Progress func(line string)
}

const (
	latency  model.Time = 250e3 // one way
	syncTime model.Time = 1e6
	// stepTime is what an event takes on a node's loop.
	stepTime model.Time = 3e3
	// startTime spreads the starts of nodes.
	startTime model.Time = 2e9
)

// world is the cluster and everything under way in it.
type world struct {
	o      Options
	now    model.Time
	queue  queue
	seq    uint64
	nodes  []*node // by id, from 0
	memo   *metadata.Memo
	counts counts
	client uint64 // requests made from outside
	done   map[uint64]effect.Body

	seen    *metadata.Image // that counted is of
	counted state
}

// counts is what happened so far.
type counts struct {
	steps, calls, fetches, heartbeats, images, proposals, logBytes int64
}

// item is something that happens at a time.
type item struct {
	at   model.Time
	seq  uint64
	node *node
	life int // of the node that it is for
	what any // a broker.Event, a tick, a start
}

type (
	tick  struct{}
	start struct{}
)

type queue []item

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (q queue) Len() int { return len(q) }

// Less orders by time, and then as things were put in.
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}

// Swap exchanges two.
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push adds one.
func (q *queue) Push(x any) { *q = append(*q, x.(item)) }

// Pop takes the last.
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = item{}
	*q = old[:len(old)-1]
	return last
}

func newWorld(o Options) *world {
	w := &world{o: o, now: 1, memo: metadata.NewMemo(), done: map[uint64]effect.Body{}}
	for id := range o.Brokers {
		w.nodes = append(w.nodes, newNode(w, model.NodeID(id)))
	}
	return w
}

// put has something happen to a node, in its present life.
func (w *world) put(at model.Time, n *node, what any) {
	w.seq++
	heap.Push(&w.queue, item{at, w.seq, n, n.life, what})
}

// run lets time pass until something holds, which is looked at every so often; false if it does not by a time.
func (w *world) run(until model.Time, every model.Time, holds func() bool) bool {
	for next := w.now + every; ; {
		if len(w.queue) == 0 || w.queue[0].at > next {
			w.now = next
			if holds() {
				return true
			}
			if next += every; w.now >= until {
				return false
			}
			continue
		}
		it := heap.Pop(&w.queue).(item)
		if it.life != it.node.life {
			continue
		}
		w.now = max(w.now, it.at)
		it.node.take(it.what)
	}
}

// ask has a node decide something, as a client would, and returns the number by which done has the answer.
func (w *world) ask(n *node, event func(to effect.RequestID) broker.Event) uint64 {
	w.client++
	w.put(w.now, n, event(effect.RequestID{Conn: clientConn, Request: w.client}))
	return w.client
}

// clientConn is the connection of requests from outside.
const clientConn effect.ConnID = 1 << 40

// controller is the node that leads the quorum and acts; nil if there is none.
func (w *world) controller() *node {
	for _, n := range w.nodes[:w.o.Voters] {
		if n.up() && n.b != nil && n.b.Controls() {
			return n
		}
	}
	return nil
}

// memoWindow is how far behind the newest metadata what led to it is kept. A change is some hundred bytes in the image that it makes:
// in a cold start, when brokers wait for an image while others go through a million changes, all of them would be gigabytes.
const memoWindow model.Offset = 100_000

// forget has the memo let go of what every broker is past, and of what is too long ago for those who are not: they go by images of
// their own until they come to where the others are.
func (w *world) forget() {
	var oldest, newest model.Offset
	for _, n := range w.nodes {
		if n.up() && n.b != nil {
			if v := n.b.Published().View.Version(); v > 0 {
				newest = max(newest, v)
				if oldest == 0 || v < oldest {
					oldest = v
				}
			}
		}
	}
	w.memo.ForgetBefore(max(oldest, newest-memoWindow))
}

// image is the newest metadata of any voter.
func (w *world) image() *metadata.Image {
	image := w.imageOrNil()
	invariant.Check(image != nil, "one voter is up")
	return image
}

func (w *world) imageOrNil() *metadata.Image {
	var newest *metadata.Image
	for _, n := range w.nodes[:w.o.Voters] {
		if n.up() && n.b != nil && (newest == nil || n.b.Published().View.Version() > newest.Version()) {
			newest = n.b.Published().View.Image
		}
	}
	return newest
}

func (w *world) say(format string, args ...any) {
	if w.o.Progress != nil {
		w.o.Progress(fmt.Sprintf("%8.3f s  ", float64(w.now)/1e9) + fmt.Sprintf(format, args...))
	}
}
