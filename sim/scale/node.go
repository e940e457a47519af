package scale

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// node is one broker, and what it has across its lives.
type node struct {
	w    *world
	id   model.NodeID
	life int // counts starts and ends: odd while it is up

	disk *storagetest.MemoryDisk // of a voter
	held map[model.TopicPartition]bool

	// Of this life:
	b       *broker.Broker
	engine  *storage.Engine // of a voter
	entries []record.Batch  // of a voter's metadata log, for those who fetch it
	free    model.Time      // when its loop has done what it has taken
	inbox   []any           // what waits for the loop; one wake is in the queue if there is anything
	tickAt  model.Time      // the tick that is in the queue
	asked   map[effect.RequestID]origin
	request uint64
	out     effect.Set
}

// origin is where an answer goes.
type origin struct {
	from *node
	life int
	id   effect.CallID
}

func newNode(w *world, id model.NodeID) *node {
	n := &node{w: w, id: id, held: map[model.TopicPartition]bool{}}
	if int(id) < w.o.Voters {
		n.disk = storagetest.New()
	}
	return n
}

func (n *node) up() bool { return n.life%2 == 1 }

// start begins a life, at a time.
func (n *node) start(at model.Time) {
	invariant.Check(!n.up(), "a node that is down is started")
	n.life++
	n.w.put(at, n, start{})
}

// kill ends a life: the power fails.
func (n *node) kill() {
	invariant.Check(n.up(), "a node that is up is killed")
	n.life++
	n.b, n.engine, n.entries, n.asked, n.inbox, n.out = nil, nil, nil, nil, nil, effect.Set{}
	if n.disk != nil {
		n.disk.Crash(storagetest.LoseUnsynced, uint64(n.life))
	}
}

func (n *node) rack() string { return fmt.Sprintf("rack%d", int(n.id)%n.w.o.Racks) }

func address(id model.NodeID) effect.Address {
	return effect.Address{Host: fmt.Sprintf("node%d", id), Port: 1, Transport: effect.TransportMemory}
}

func (n *node) config() broker.Config {
	seed := uint64(n.id)<<32 | uint64(n.life)
	a := address(n.id)
	c := broker.Config{
		ClusterID: "scale", Advertised: effect.Broker{ID: n.id, Host: a.Host, Port: a.Port, Rack: n.rack()},
		RetentionCheckInterval: 300e9, FetchSessionsMax: 10_000, LagTimeMax: 10e9, Memo: n.w.memo,
		Controller: controller.Config{
			NodeID: n.id, ClusterID: "scale", PartitionCountMax: 1 << 20, Node: metadata.DefaultNodeConfig(), SessionTimeout: 500e6,
			RebalanceInterval: 10e9, OffsetsPartitionCount: 50, OffsetsSegmentBytes: 100 << 20,
		},
		Groups: group.DefaultConfig(),
		Membership: broker.MembershipConfig{
			Incarnation: model.IncarnationID{byte(n.life), byte(n.life >> 8), byte(n.id), byte(n.id >> 8)}, Directory: model.DirectoryID{byte(n.id), byte(n.id >> 8), 1},
			Rack: n.rack(), HeartbeatInterval: 100e6,
			Listeners: []effect.BrokerListener{
				{Name: broker.ClientListener, Host: a.Host, Port: a.Port}, {Name: broker.InterNodeListener, Host: a.Host, Port: a.Port, Security: int16(a.Transport)},
			},
		},
	}
	c.Controller.IDSeed[0], c.Controller.IDSeed[1], c.Controller.IDSeed[2] = byte(seed), byte(seed>>8), byte(seed>>32)
	c.Quorum = broker.QuorumConfig{Directory: c.Membership.Directory, Log: metalog.DefaultConfig(0, seed)}
	for id := range n.w.o.Voters {
		c.Quorum.Voters = append(c.Quorum.Voters, broker.VoterAddress{Node: model.NodeID(id), Address: address(model.NodeID(id))})
	}
	return c
}

// boot makes the machine from what the disk has.
func (n *node) boot() error {
	disk := n.disk
	if disk == nil {
		disk = storagetest.New()
	}
	engine, rec, err := storage.Open(disk, storage.Config{Identity: storage.Identity{ClusterID: "scale", NodeID: n.id}, JournalFileBytes: 256 << 10})
	if err != nil {
		return err
	}
	held := slices.SortedFunc(maps.Keys(n.held), model.TopicPartition.Compare)
	for _, tp := range held {
		rec.Partitions = append(rec.Partitions, storage.Recovered{Partition: tp, State: log.New(0)})
	}
	n.asked, n.free, n.tickAt = map[effect.RequestID]origin{}, n.w.now, 0
	if n.disk != nil {
		n.engine = engine
		if err := engine.ReadAll(metalog.EntriesPartition, func(b record.Batch) error {
			n.keepEntry(slices.Clone(b))
			return nil
		}); err != nil {
			n.entries = nil // it is empty
		}
	}
	n.out.Reset()
	n.b, err = broker.Open(n.config(), engine, rec, &n.out)
	if err != nil {
		return err
	}
	n.carryOut()
	return nil
}

// wake lets a loop go on with what waits for it.
type wake struct{}

// take has the loop do something, at once if it is free.
func (n *node) take(what any) {
	if _, is := what.(wake); is {
		what = n.inbox[0]
		if n.inbox = n.inbox[1:]; len(n.inbox) > 0 {
			n.w.put(n.w.now+stepTime, n, wake{})
		}
	} else if n.free > n.w.now || len(n.inbox) > 0 {
		if n.inbox = append(n.inbox, what); len(n.inbox) == 1 {
			n.w.put(n.free, n, wake{})
		}
		return
	}
	n.free = n.w.now + stepTime
	n.w.counts.steps++
	n.step(what)
}

// step is one step of the machine.
func (n *node) step(what any) {
	n.out.Reset()
	switch what := what.(type) {
	case start:
		if err := n.boot(); err != nil {
			invariant.Checkf(false, "node %d does not start: %v", n.id, err)
		}
		return
	case tick:
		if n.tickAt > n.w.now {
			return // another was put in for earlier, and is over
		}
		n.tickAt = 0
		n.b.Tick(n.w.now, 0, &n.out)
	case delivery:
		n.asked[what.to] = what.origin
		n.b.Step(n.w.now, what.event, &n.out)
	case broker.Event:
		n.b.Step(n.w.now, what, &n.out)
	}
	n.carryOut()
}

// delivery is a request of another node.
type delivery struct {
	to     effect.RequestID
	origin origin
	event  broker.Event
}

// carryOut does what the machine wants.
func (n *node) carryOut() {
	w := n.w
	n.store()
	for i := range n.out.Calls {
		w.counts.calls++
		n.call(&n.out.Calls[i])
	}
	for _, r := range n.out.Replies {
		n.answer(r.To, r.Body)
	}
	for _, r := range n.out.Reads {
		n.answer(r.To, n.fetched(r.Fetch))
	}
	if d := n.b.Deadline(); d != 0 && (n.tickAt == 0 || d < n.tickAt) {
		n.tickAt = max(d, w.now)
		w.put(n.tickAt, n, tick{})
	}
}

// call carries a call to its node, or tells in time that it is not there.
func (n *node) call(c *effect.Call) {
	w := n.w
	to := w.nodes[c.To]
	if !to.up() || to.b == nil {
		w.put(w.now+c.Timeout, n, &broker.Answered{Answer: effect.Answer{From: c.To, ID: c.ID, Failure: effect.CallUnreachable}})
		return
	}
	to.request++
	id := effect.RequestID{Conn: effect.ConnID(n.id)<<8 | effect.ConnID(c.Lane) + 1, Request: to.request}
	w.put(w.now+latency, to, delivery{id, origin{n, n.life, c.ID}, n.eventOf(c, id)})
	// If the other node is lost meanwhile nothing comes of it: the caller finds out when its time is up.
	w.put(w.now+c.Timeout+latency, n, &broker.Answered{Answer: effect.Answer{From: c.To, ID: c.ID, Failure: effect.CallTimedOut}})
}

// answer carries an answer to who asked.
func (n *node) answer(to effect.RequestID, body any) {
	if to.Conn == clientConn {
		n.w.done[to.Request] = body.(effect.Body)
		return
	}
	o, known := n.asked[to]
	if !known {
		return
	}
	delete(n.asked, to)
	if o.life == o.from.life {
		n.w.put(n.w.now+latency, o.from, &broker.Answered{Answer: effect.Answer{From: n.id, ID: o.id, Body: body.(effect.AnswerBody)}})
	}
}
