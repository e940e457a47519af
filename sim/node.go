package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
	"github.com/weirmq/weir/core/session"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/sim/draw"
	"github.com/weirmq/weir/sim/workload"
)

// node is one machine: a disk and clocks that outlive its process, and the process, which is the core driven as
// the production node drives it.
//
//	          boot                  crash, power loss, a failed sync
//	down ─────────────► up ────────────────────────────────────────► down
//	  └── the disk is full or damaged: try again later, or stay refused
//
// The process is three actors that hand each other work through queues, each taking its turns at times of
// its own: connections (framing, session), the loop (broker) and input/output (storage engine). A sync is a
// fourth: it ends some time after it began, and a crash in between loses it.
type node struct {
	w     *world
	id    int
	rand  *draw.Stream
	disk  *Disk
	clock clock
	ghost *ghost

	rack        string
	disks       byte   // that it has had before this one
	life        uint64 // counts boots: what an earlier life scheduled is void
	process     *process
	pausedUntil model.Time
	slowMean    model.Time // of disk operations, on top
	slowTimes   int64      // how many times as long everything takes; 0: once
	slowUntil   model.Time
	downUntil   model.Time
	harms       []Fault // what happens to its disk when it is down next
	again       int64   // kill the next start inside its so manyth disk operation
	// refused is why the node does not start any more. Only damage excuses it.
	refused string
	boots   int
}

// process is what dies in a crash.
type process struct {
	n         *node
	life      uint64
	since     model.Time // when it was started
	engine    *storage.Engine
	broker    *broker.Broker
	config    session.Config
	published *broker.Published // what sessions answer from
	conns     map[effect.ConnID]*nodeConn
	links     map[laneKey]*nodeLink
	lanes     []*nodeLink         // the same, in the order of their first calls
	listen    func(effect.Answer) // unless nil, takes answers to calls in the loop's place
	free      []*effect.Set
	out       session.Out
	serving   bool

	events []broker.Event // for the loop
	loopAt bool           // a turn of the loop is scheduled
	tickAt model.Time     // the broker's deadline that is scheduled; 0: none
	sets   []*effect.Set  // for input/output
	// unwritten are fetches that wait for a sync to write what they ask for.
	unwritten []effect.Read
	ioAt      bool
	ioFreeAt  model.Time

	steps                  uint64 // of the broker since its last deep check
	syncing, checkpointing bool
	reports                int             // scheduled
	parked                 []*broker.Fetch // asked and not answered
	proposed               map[effect.RequestID]*effect.AlterPartition
	term                   quorum.Term     // of the quorum's elections, as its voter knew it last
	voters                 []model.VoterID // as it knew them last, and since when
	votersSince            model.Time
	stopping               func() // called once nothing is under way, for a clean shutdown
}

// nodeConn is a connection as the node sees it.
type nodeConn struct {
	p       *process
	c       *conn
	session *session.Session
	buf     []byte // received and not yet a whole frame
	outbox  []session.Frame
	outAt   bool
	closed  bool
	order   responseOrder
}

func newNode(w *world, plan NodePlan) *node {
	n := &node{w: w, id: int(plan.ID), rack: workload.RackName(plan.Rack), rand: w.root.Stream("node", uint64(plan.ID)), clock: newClock(plan)}
	n.disk = NewDisk(w.root.Stream("disk", uint64(plan.ID)), w.fire)
	n.ghost = newGhost(w.fail)
	n.ghost.producers, n.ghost.heals = w.producers, w.plan.clustered()
	if plan.ClockDriftPPM != 0 || plan.WallDriftPPM != 0 {
		w.fire(FaultClockRate)
	}
	return n
}

func (n *node) note(what string, a, b, c uint64, text string) {
	n.w.trace.add(n.w.now, n.id, what, a, b, c, text)
}

func (n *node) serves() bool { return n.process != nil && n.process.serving }

// listener is who accepts connections now, of clients or of nodes; nil if nobody does.
func (n *node) listener(ofNode bool) peer {
	switch p := n.process; {
	case p == nil || p.stopping != nil, !ofNode && !p.serving:
		return nil
	default:
		return p
	}
}

// boot starts a process on what the disk holds.
func (n *node) boot() {
	if n.process != nil || n.refused != "" {
		return
	}
	n.life++
	n.boots++
	n.note("boot", n.life, 0, 0, "")
	p := &process{n: n, life: n.life, since: n.w.now, conns: map[effect.ConnID]*nodeConn{}, links: map[laneKey]*nodeLink{}, proposed: map[effect.RequestID]*effect.AlterPartition{}}
	n.process = p
	if n.again > 0 {
		n.disk.CrashAfter(n.again, n.rand.Percent(50))
		n.again = 0
	}
	p.guard(func() { p.open() })
	n.disk.CrashAfter(0, false)
	if n.process == p && p.broker == nil {
		n.process = nil
	}
}

// guard runs code of the process. A planned crash inside a disk operation ends it.
func (p *process) guard(do func()) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case crashSignal:
			if p.broker == nil {
				p.n.w.fire(FaultCrashAgain)
			} else {
				p.n.w.fire(FaultCrashInOp)
			}
			p.n.crash(r.power)
		default:
			panic(r)
		}
	}()
	do()
}

// alive reports whether the process still runs, for what it scheduled earlier.
func (p *process) alive() bool { return p.n.process == p }

// later schedules work of this process. A pause postpones it; a crash cancels it.
func (p *process) later(at model.Time, do func()) {
	p.n.w.at(at, func() { p.run(do) })
}

func (p *process) run(do func()) {
	if !p.alive() {
		return
	}
	if p.n.w.now < p.n.pausedUntil {
		p.later(p.n.pausedUntil, do)
		return
	}
	p.guard(do)
}

func (p *process) open() {
	n, k := p.n, &p.n.w.plan.Knobs
	cfg := storage.Config{
		Identity:         storage.Identity{ClusterID: clusterID, NodeID: model.NodeID(n.id), DirectoryID: model.TopicID(n.directory())},
		JournalFileBytes: k.JournalFileBytes, JournalBlockBytes: int(k.JournalBlockBytes), CheckpointBytes: k.CheckpointBytes,
		InPlaceBytesMin: int(k.InPlaceBytesMin), OpenFilesMax: int(k.OpenFilesMax), Regions: k.Regions,
	}
	engine, rec, err := storage.Open(n.disk, cfg)
	if err != nil {
		n.bootFailed(err)
		return
	}
	for _, note := range rec.Notes {
		p.note(note)
	}
	n.ghost.lazy = n.lazy()
	if n.ghost.recovered(engine, rec); n.w.violation != nil {
		return
	}
	p.config = session.DefaultConfig()
	p.config.ClusterID, p.config.NodeID = clusterID, model.NodeID(n.id)
	n.w.root.Stream("node.incarnation", uint64(n.id)<<32|n.life).Fill(p.config.Incarnation[:])
	p.config.Advertised, p.config.Listener = n.advertised(), broker.ClientListener
	p.config.RecordBytesMax = workload.BombBytes / 2
	set := p.set()
	b, err := broker.Open(p.brokerConfig(), engine, rec, set)
	if err != nil {
		p.notes(set)
		set.Reset()
		p.free = append(p.free, set)
		n.bootFailed(err)
		return
	}
	if n.w.plan.clustered() {
		n.ghost.everythingDamaged = "" // what is damaged is known, and heals
	}
	p.engine, p.broker = engine, b
	p.dispatch(set)
	p.schedule()
	p.scheduleTick()
}

// lazy draws whether a start leaves it to the process to find what is damaged.
func (n *node) lazy() bool {
	return !n.w.settled && n.w.root.Stream("rot.lazy", uint64(n.id)<<32|n.life).Percent(60)
}

// serve opens the doors to clients once the broker is counted on: it has caught up with the metadata.
func (p *process) serve() {
	if p.serving || p.stopping != nil || !p.broker.Active() {
		return
	}
	p.serving = true
	p.n.ghost.opened(func(tp model.TopicPartition) bool {
		_, ok := p.broker.Bounds(tp)
		return ok || metalog.Holds(tp)
	})
}

const (
	clusterID = "simulated-cluster-0001"
	nodePort  = 9092
	// sessionTimeout is broker.session.timeout.ms. An election takes a second at most.
	sessionTimeout = sc
)

func (n *node) directory() model.DirectoryID { return n.directoryOf(n.disks) }

// directoryOf is the id of one of the disks that a node has had.
func (n *node) directoryOf(disk byte) model.DirectoryID {
	return model.DirectoryID{14: disk, 15: byte(n.id)}
}

func (n *node) advertised() effect.Broker {
	return effect.Broker{ID: model.NodeID(n.id), Host: fmt.Sprintf("node%d", n.id), Port: nodePort}
}

func (p *process) brokerConfig() broker.Config {
	n, k := p.n, &p.n.w.plan.Knobs
	topic := metadata.DefaultTopicConfig()
	topic.Log.SegmentBytes, topic.Log.IndexIntervalBytes = int32(k.SegmentBytes), int32(k.IndexIntervalBytes)
	topic.Log.RetentionMs = -1 // what is kept is for a workload's topics to say
	c := broker.Config{
		ClusterID:              clusterID,
		Advertised:             n.advertised(),
		LagTimeMax:             n.lagTimeMax(),
		RetentionCheckInterval: k.RetentionCheck, FetchSessionsMax: 1000,
		Controller: controller.Config{
			NodeID: model.NodeID(n.id), PartitionCountMax: 10_000,
			Node: metadata.NodeConfig{
				ReplicationRateMax: metadata.NoRate, LeaderRateMax: metadata.NoRate,
				Topic: topic, AutoCreateTopics: k.AutoCreate, PartitionCountDefault: int32(k.DefaultPartitions),
				ProducerExpirationMs: k.ProducerExpiryMs,
			},
			OffsetsPartitionCount: 4, OffsetsSegmentBytes: int32(k.SegmentBytes),
			ClusterID: clusterID, SessionTimeout: sessionTimeout,
		},
		Groups: group.DefaultConfig(),
		Quorum: broker.QuorumConfig{
			Voters: n.voters(), Directory: n.directory(),
			Log: metalog.DefaultConfig(0, n.w.root.Stream("node.quorum", uint64(n.id)<<32|n.life).Uint64()),
		},
		Membership: broker.MembershipConfig{
			Incarnation: p.config.Incarnation, Directory: n.directory(), HeartbeatInterval: 100 * ms, Rack: n.rack,
			Listeners: []effect.BrokerListener{{Name: broker.ClientListener, Host: n.advertised().Host, Port: nodePort}},
		},
	}
	c.Quorum.Log.ImageBytesMin, c.Quorum.ImagePieceBytes = k.SegmentBytes, int32(k.ImagePieceBytes)
	if count := len(n.w.plan.Nodes); count > 1 {
		c.Controller.ReplicationFactorDefault = int16(count)
		c.Membership.Listeners = append(c.Membership.Listeners, effect.BrokerListener{
			Name: broker.InterNodeListener, Host: n.advertised().Host, Port: nodePort, Security: int16(effect.TransportMemory),
		})
	}
	c.Groups.InitialRebalanceDelay, c.Groups.LogBytesMin = k.GroupDelay, k.GroupLogBytes
	c.Groups.SessionTimeoutMsMin, c.Groups.MembersMax = int32(workload.GroupSessionMin/ms), workload.GroupMembersMax
	c.Groups.MemoryBytesMax = workload.GroupMemoryBytesMax
	if n.w.forgets() {
		c.Groups.OffsetsRetentionMs, c.Groups.ExpiryInterval = k.ProducerExpiryMs, k.RetentionCheck
	}
	n.w.root.Stream("node.members", uint64(n.id)<<32|n.life).Fill(c.Groups.IDSeed[:])
	n.w.root.Stream("node.ids", uint64(n.id)<<32|n.life).Fill(c.Controller.IDSeed[:])
	return c
}

// voters are the nodes of the plan. A node that a test adds to a world is a cluster of its own.
func (n *node) voters() []broker.VoterAddress {
	if !n.w.plan.clustered() {
		return []broker.VoterAddress{{Node: model.NodeID(n.id), Address: n.address()}}
	}
	var all []broker.VoterAddress
	for i := range n.w.plan.Nodes {
		if n.w.plan.Nodes[i].Observer != 0 {
			continue
		}
		id := int(n.w.plan.Nodes[i].ID)
		all = append(all, broker.VoterAddress{Node: model.NodeID(id), Address: addressOf(id)})
	}
	return all
}

// lagTimeMax is short where there is a follower that can lag.
func (n *node) lagTimeMax() model.Time {
	if n.w.plan.clustered() {
		return 2 * sc
	}
	return 10 * sc
}

// bootFailed decides whether a start may fail. It may for lack of space, then it is tried again, and when
// what every partition needs is damaged, then the node stays down and says why.
func (n *node) bootFailed(err error) {
	n.note("boot.failed", n.life, 0, 0, err.Error())
	n.process = nil
	n.disk.Crash(false)
	switch {
	case n.w.plan.clustered() && n.ghost.needsReplacement():
		// An operator gives it another disk, unless it holds what nobody else has.
		if !n.spare() {
			n.w.after(100*ms, n.boot)
			return
		}
		n.note("boot.replaced", n.life, 0, 0, err.Error())
		n.replaceDisk()
		n.w.after(100*ms, n.boot)
	case n.ghost.everythingDamaged != "":
		n.refused = err.Error()
	case errors.Is(err, storage.ErrFull) && n.disk.capacityBytes > 0:
		n.w.after(100*ms, n.boot)
	case errors.Is(err, errIO):
		n.w.after(10*ms, n.boot)
	default:
		n.w.fail("boot", fmt.Sprintf("the node does not start on a sound disk: %v", err))
	}
}

// crash ends the process, and the power of its machine with it or not, and starts another later.
func (n *node) crash(power bool) {
	if n.process == nil {
		return
	}
	p := n.process
	n.note("crash", boolBit(power), n.life, 0, "")
	n.process = nil
	n.disk.Crash(power)
	silent := model.Time(0)
	if power {
		silent = model.Time(n.rand.Between(0, int64(2*sc)))
		n.w.fire(FaultPower)
	} else {
		n.w.fire(FaultCrash)
	}
	n.w.net.kill(p, silent)
	if len(n.harms) > 0 && n.w.plan.clustered() && !n.spare() {
		n.note("harm.mitigated", uint64(len(n.harms)), 0, 0, "something is on this disk only")
		n.harms = nil
	}
	for _, kind := range n.harms {
		if h, ok := n.disk.Harm(kind, n.rots()); ok {
			n.note(kind.String(), uint64(h.Offset), uint64(h.Bit), uint64(h.Size), h.String())
			n.ghost.hit(h)
		}
	}
	n.harms = nil
	n.w.at(max(n.downUntil, n.w.now+ms), n.boot)
}

// rots chooses what is damaged. In clusters it is mostly in what other nodes have, too: with what a voter has alone, which is in
// the metadata log as a rule, the whole disk is replaced.
func (n *node) rots() func(path string) bool {
	const anywhere, inMetadata, percent = 20, 15, 100
	at := n.rand.Intn(percent)
	if !n.w.plan.clustered() || at < anywhere {
		return nil
	}
	metadata := "/" + model.MetadataTopicID.String() + "-"
	return func(path string) bool {
		return strings.HasSuffix(path, ".log") && strings.Contains("/"+path, metadata) == (at < anywhere+inMetadata)
	}
}

// wipe takes the node's disk away, and gives it an empty one.
func (n *node) wipe() {
	n.crash(true)
	n.w.fire(FaultWipe)
	n.replaceDisk()
}

// replaceDisk gives the node an empty disk.
func (n *node) replaceDisk() {
	n.disks++
	n.disk = NewDisk(n.w.root.Stream("disk", uint64(n.id)|uint64(n.disks)<<32), n.w.fire)
	n.ghost = newGhost(n.w.fail)
	n.ghost.producers, n.ghost.heals = n.w.producers, n.w.plan.clustered()
}

// spare reports whether the node's disk may be lost without anything being lost with it: of every partition somebody else
// may lead.
func (n *node) spare() bool {
	view := n.w.newest()
	if view == nil {
		return false
	}
	for _, load := range n.w.loads {
		for _, topic := range load.Topics() {
			if view.Named(topic) == nil {
				return false // it may be placed here alone before anybody knows
			}
		}
	}
	for t := range view.Topics {
		for _, p := range t.Partitions {
			// A move may be completed by what is already under way: those who are to go do not count.
			others := slices.DeleteFunc(slices.Concat(p.ISR, p.ELR), func(id model.NodeID) bool {
				return id == model.NodeID(n.id) || slices.Contains(p.Removing, id)
			})
			if p.IsReplica(model.NodeID(n.id)) && len(others) == 0 {
				return false
			}
		}
	}
	return true
}

// rotten reports whether a bit flipped on another node's disk that may not have been found yet: what is on this one may be needed.
func (w *world) rotten(but *node) bool {
	for _, n := range w.nodes {
		if n != but && slices.ContainsFunc(n.ghost.order, func(l *ghostLog) bool { return l.damaged != "" }) {
			return true
		}
	}
	return false
}

// stop is a process that ends itself because its storage said so.
func (n *node) stop(err error) {
	if n.w.fired[FaultSyncError] == 0 {
		n.w.fail("stopped", fmt.Sprintf("the storage engine stopped on a sound disk: %v", err))
		return
	}
	n.note("stop", n.life, 0, 0, err.Error())
	n.crash(false)
}

// shutdown closes the process cleanly: what is under way ends, then the engine closes.
func (n *node) shutdown(then func()) {
	p := n.process
	p.serving = false
	p.stopLinks()
	n.w.net.each(p, func(c *conn) {
		if nc := p.conns[effect.ConnID(c.id)]; nc != nil {
			nc.hangUp()
		}
	})
	p.stopping = func() {
		var done effect.Completions
		p.broker.Watermarks(p.engine.Committed)
		if err := p.engine.Close(&done); err != nil {
			n.w.fail("shutdown", err.Error())
			return
		}
		n.ghost.syncBegins()
		n.ghost.syncEnds()
		n.ghost.completed(&done, true)
		if n.disk.handles != 0 {
			n.w.fail("leak", fmt.Sprintf("%d files are open after a clean shutdown", n.disk.handles))
		}
		if n.disk.regions != 0 {
			n.w.fail("leak", fmt.Sprintf("%d file regions were not released", n.disk.regions))
		}
		n.process = nil
		n.w.net.kill(p, 0)
		then()
	}
	p.schedule()
}

func (p *process) set() *effect.Set {
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free = p.free[:n-1]
		return s
	}
	return new(effect.Set)
}

func (p *process) notes(set *effect.Set) {
	for i := range set.Notes {
		p.note(set.Notes[i])
	}
	for m := range effect.MarkCount {
		if set.Marks.Has(m) {
			p.n.w.marks[m]++
			if m == effect.MarkTruncatedBelowWatermark && len(p.n.w.leaders.unclean) == 0 {
				p.n.w.fail("truncated-committed", fmt.Sprintf("node %d cut off what had been committed, and nobody asked for an unclean election", p.n.id))
			}
		}
	}
}

func (p *process) note(n effect.Note) {
	p.n.note("note", uint64(n.Kind), uint64(n.Offset), uint64(n.Count), n.Kind.String()+" "+n.Topic+n.Group+" "+n.Detail)
}
