package sim

import (
	"slices"
	"time"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/sim/draw"
	"github.com/weirmq/weir/sim/workload"
)

// longExpiryMs is Kafka's default for producer.id.expiration.ms, a day: no simulated producer is silent so long.
const longExpiryMs = 86_400_000

const (
	us = model.Time(time.Microsecond)
	ms = model.Time(time.Millisecond)
	sc = model.Time(time.Second)
)

// MakePlan draws the plan of a seed. Every class of fault is left out of half the seeds: a fault that is
// always on hides what only happens without it. Intensities are log-uniform.
func MakePlan(seed uint64, mode Mode) *Plan {
	m := planner{root: draw.Seed(seed), p: &Plan{Seed: seed, Mode: mode}}
	p := m.p
	p.Until, p.Settle, p.EventsMax = 2*sc, 60*sc, 2_000_000
	if mode == Swarm {
		r, least, most := m.stream("length", 0), 5*sc, 30*sc
		if m.several() {
			least, most = 10*sc, 20*sc
		}
		p.Until, p.EventsMax = model.Time(r.LogUniform(int64(least), int64(most))), 50_000_000
		p.Settle = 180 * sc // for a consumer that fetches a batch at a time to read everything
	}
	if mode == Cluster {
		p.Until, p.EventsMax = model.Time(m.stream("length", 0).LogUniform(int64(3*sc), int64(10*sc))), 10_000_000
		p.Settle = 180 * sc // the same, after a surge
	}
	m.knobs()
	m.environment()
	m.loads()
	if mode != Calm {
		m.strikes()
	}
	if r := m.stream("silence", 0); p.clustered() && r.Percent(silentPercent) {
		p.Silent = model.Time(r.Between(int64(p.Until/4), int64(p.Until*3/4)))
	}
	return p
}

// silentPercent is of clusters' plans: those in which producers fall silent.
const silentPercent = 33

type planner struct {
	root draw.Seed
	p    *Plan
}

// several reports whether a seed of swarm is of several nodes: half of them are.
func (m *planner) several() bool {
	return m.p.Mode == Swarm && m.stream("clustered", 0).Percent(50)
}

func (m *planner) stream(site string, entity uint64) *draw.Stream {
	return m.root.Stream("plan."+site, entity)
}

func (m *planner) knobs() {
	r, k := m.stream("knobs", 0), &m.p.Knobs
	k.JournalFileBytes = 4096 * r.LogUniform(4, 64)
	k.JournalBlockBytes = 512 << r.Intn(4)
	k.OpenFilesMax = r.LogUniform(2, 256)
	k.RetentionCheck = model.Time(r.LogUniform(int64(10*ms), int64(500*ms)))
	k.ProducerExpiryMs = longExpiryMs
	if m.p.Mode != Calm && m.stream("forget", 0).Percent(10) {
		k.ProducerExpiryMs = m.stream("forget", 1).LogUniform(50, 2000)
	}
	k.CheckpointBytes = r.LogUniform(k.JournalFileBytes/2, k.JournalFileBytes*4)
	if r.Percent(50) {
		k.InPlaceBytesMin = r.LogUniform(256, 16384)
	}
	k.Regions = r.Percent(50)
	k.SegmentBytes = r.LogUniform(1024, 1<<18)
	k.IndexIntervalBytes = r.LogUniform(1, 8192)
	k.DefaultPartitions = r.Between(1, 3)
	k.GroupDelay = model.Time(m.stream("groups", 0).LogUniform(int64(ms), int64(300*ms)))
	k.GroupLogBytes = m.stream("groups", 1).LogUniform(1000, 100_000)
	if s := m.stream("pieces", 0); s.Percent(75) {
		k.ImagePieceBytes = s.LogUniform(64, 64<<10)
	}
	k.AutoCreate = r.Percent(50)
	if r.Percent(50) {
		k.LoopDelay = model.Time(r.LogUniform(int64(us), int64(ms)))
	}
	if r.Percent(50) {
		k.IODelay = model.Time(r.LogUniform(int64(us), int64(5*ms)))
	}
}

func (m *planner) environment() {
	p, r := m.p, m.stream("environment", 0)
	p.Net.DelayMin = 50 * us
	p.Net.DelayMean = model.Time(r.LogUniform(int64(50*us), int64(3*ms)))
	p.Disk.OpMean = model.Time(r.LogUniform(int64(us), int64(20*us)))
	p.Disk.SyncMin = 50 * us
	p.Disk.SyncMean = model.Time(r.LogUniform(int64(100*us), int64(20*ms)))
	if p.Mode != Calm {
		if r.Percent(50) {
			p.Net.SegmentPercent = r.LogUniform(1, 50)
		}
		if r.Percent(25) {
			p.Net.BytesPerSecond = r.LogUniform(200_000, 100_000_000)
		}
	}
	n := NodePlan{ID: 1}
	if p.Mode != Calm && r.Percent(50) {
		n.WallOffset = model.Time(r.Between(-int64(300*sc), int64(300*sc)))
		n.WallDriftPPM = r.Between(-200, 200)
		n.ClockDriftPPM = r.Between(-50_000, 50_000)
	}
	p.Nodes = []NodePlan{n}
	if p.Mode != Cluster && !m.several() {
		return
	}
	count := m.nodeCount()
	if p.Mode == Swarm {
		count = max(2, count)
	}
	for id := int64(2); id <= count; id++ {
		n, r := NodePlan{ID: id}, m.stream("node", uint64(id))
		if r.Percent(50) {
			n.WallOffset = model.Time(r.Between(-int64(300*sc), int64(300*sc)))
			n.WallDriftPPM = r.Between(-200, 200)
			n.ClockDriftPPM = r.Between(-50_000, 50_000)
		}
		p.Nodes = append(p.Nodes, n)
	}
	m.distances()
	for i := m.voterCount(len(p.Nodes)); i < len(p.Nodes); i++ {
		p.Nodes[i].Observer = 1
	}
}

// distances draws in which racks nodes are, how far they are from each other, and how much the lines between them carry: in most
// plans there are no racks, all are near, and lines are good.
func (m *planner) distances() {
	p, r := m.p, m.stream("racks", 0)
	if r.Percent(50) {
		for i := range p.Nodes {
			p.Nodes[i].Rack = r.Between(1, workload.Racks)
		}
	}
	if r = m.stream("distance", 0); r.Percent(20) {
		p.Net.NodeDelay = model.Time(r.LogUniform(int64(500*us), int64(3*ms))) // another zone of a region
		if r.Percent(30) {
			p.Net.NodeDelay = model.Time(r.LogUniform(int64(20*ms), int64(120*ms))) // another region
		}
	}
	if r = m.stream("lines", 0); r.Percent(15) {
		p.Net.NodeBytesPerSecond = r.LogUniform(100_000, 20_000_000)
	}
}

// voterCount draws how many of a cluster's nodes vote: all of most.
func (m *planner) voterCount(nodes int) int {
	r := m.stream("voters", 0)
	if !r.Percent(35) {
		return nodes
	}
	return min(nodes, 1+2*r.Intn((nodes+1)/2))
}

// nodeCount draws how many nodes a cluster has: three in most.
func (m *planner) nodeCount() int64 {
	const percent = 100
	n := m.stream("nodes", 0).Intn(percent)
	for _, c := range []struct{ count, below int }{{1, 5}, {2, 15}, {3, 65}, {4, 75}, {5, 90}} {
		if n < c.below {
			return int64(c.count)
		}
	}
	return nodesMax
}

// loadKinds are the workloads; a load's place in the list is its number. Those from ofClusters on need several nodes.
var loadKinds = [...]string{"log", "admin", "retention", "hostile", "odd", "group", "keep", "near", "voters", "unclean"}

const ofClusters = 7

// loads draws which workloads there are. Each is left out of half the seeds, but that lite and calm seeds
// always write a log, and that somebody must be there who can succeed.
func (m *planner) loads() {
	p := m.p
	if p.Mode == Cluster {
		p.Loads = append(p.Loads, m.load(0, "log"))
		for i, kind := range loadKinds {
			if kind != "log" && m.possible(i, kind) && m.stream("load.chosen", uint64(i)).Percent(25) {
				p.Loads = append(p.Loads, m.load(i, kind))
			}
		}
		return
	}
	able := false
	for i, kind := range loadKinds {
		switch {
		case !m.possible(i, kind):
			continue
		case kind == "log" && p.Mode != Swarm:
		case kind == "hostile" && p.Mode == Calm, !m.stream("load.chosen", uint64(i)).Percent(50):
			continue
		}
		p.Loads = append(p.Loads, m.load(i, kind))
		able = able || kind != "hostile" && kind != "voters"
	}
	if !able {
		p.Loads = append(p.Loads, m.load(0, "log"))
	}
}

// possible reports whether a workload makes sense for the nodes that there are.
func (m *planner) possible(i int, kind string) bool {
	switch {
	case i < ofClusters:
		return true
	case kind == "near":
		return slices.ContainsFunc(m.p.Nodes, func(n NodePlan) bool { return n.Rack != 0 })
	}
	return m.p.clustered()
}

func (m *planner) load(i int, kind string) Load {
	r := m.stream("load."+kind, 0)
	l := Load{
		ID: int64(i + 1), Kind: kind,
		Clients: r.Between(2, 4), Topics: 1, Partitions: r.Between(1, 3),
		ValueBytes: r.LogUniform(16, 4096), Gap: model.Time(r.LogUniform(int64(2*ms), int64(20*ms))),
		Records: r.LogUniform(1, 20), Codec: r.Between(-1, 4),
	}
	if r.Percent(50) {
		l.Linger = model.Time(r.LogUniform(int64(100*us), int64(10*ms)))
	}
	if kind == "near" || kind == "unclean" {
		l.Clients = r.Between(1, 2)
	} else if kind == "group" {
		l.Clients, l.Gap = r.Between(1, 4), model.Time(r.LogUniform(int64(5*ms), int64(60*ms)))
	} else if kind != "log" {
		l.Clients, l.Gap = r.Between(1, 2), model.Time(r.LogUniform(int64(10*ms), int64(60*ms)))
	}
	if m.p.Mode == Swarm {
		l.Clients, l.Topics, l.Partitions = l.Clients*r.Between(1, 3), r.Between(1, 3), r.Between(1, 6)
	}
	if m.p.clustered() {
		m.spread(&l)
		if m.p.Mode == Swarm { // what is written is written several times: fewer bytes do
			l.Clients, l.ValueBytes = min(l.Clients, 6), (l.ValueBytes+3)/4
			if kind != "group" { // whose members must be heard within their sessions
				l.Gap *= 3
			}
		}
	}
	return l
}

// spread draws how a load's topics are replicated: as on three nodes people have it in half of the plans.
func (m *planner) spread(l *Load) {
	r, nodes := m.stream("spread", uint64(l.ID)), int64(len(m.p.Nodes))
	const replicasMax = 5
	l.Replicas = min(3, nodes)
	if r.Percent(50) {
		l.Replicas = r.Between(1, min(nodes, replicasMax))
	}
	if l.Kind == "near" || l.Kind == "unclean" {
		l.Replicas = max(2, l.Replicas)
	}
	if r.Percent(50) {
		l.InSyncMin = r.Between(1, l.Replicas)
	}
	if surge := m.stream("surge", uint64(l.ID)); l.Kind == "log" && surge.Percent(20) {
		l.Surge = model.Time(surge.Between(0, int64(m.p.Until/2)))
		l.SurgeFor = model.Time(surge.LogUniform(int64(200*ms), int64(2*sc)))
	}
	if l.Kind == "unclean" {
		l.InSyncMin = 1 // else whoever was in sync last is eligible for long
	}
	l.Topics = r.LogUniform(1, 3)
	if r.Percent(30) {
		l.Partitions = r.Between(1, 8)
	}
}

// strikes draws every class on its own, then keeps a quarter of the timeline free of new faults, so that
// what a fault set off can run its course.
func (m *planner) strikes() {
	p := m.p
	quiet := model.Time(m.stream("quiet", 0).Between(0, int64(p.Until*3/4)))
	seconds := max(1, int64(p.Until/sc))
	for kind := FaultCrash; kind <= FaultWallStep; kind++ {
		r := m.stream("strike", uint64(kind))
		if r.Percent(50) {
			continue
		}
		most := seconds
		if kind == FaultCrash || kind == FaultPower {
			most = 1 + seconds
		}
		for range r.LogUniform(1, max(2, most)) {
			s := Strike{Kind: kind, Node: m.struck(r), At: model.Time(r.Between(int64(20*ms), int64(p.Until)))}
			if s.At >= quiet && s.At < quiet+p.Until/4 {
				s.At = model.Time(r.Between(0, int64(p.Until*3/4)))
				if s.At >= quiet {
					s.At += p.Until / 4
				}
			}
			m.details(&s, r)
			p.Strikes = append(p.Strikes, s)
		}
	}
	m.partitions(seconds)
	m.slowNodes(seconds)
	m.stairs()
	m.deaf()
	m.wipes()
	m.rots()
	slices.SortStableFunc(p.Strikes, func(a, b Strike) int { return int(a.At - b.At) })
	for i := range p.Strikes {
		p.Strikes[i].ID = int64(i + 1)
	}
}

// wipes draws whose disk is lost, of one node, and then of others, when everything is in sync again. Of fewer than three voters none may be lost.
// Where an operator changes who votes, each waits until enough do.
func (m *planner) wipes() {
	p, r := m.p, m.stream("strike", uint64(FaultWipe))
	if len(p.Nodes) < 3 || !r.Percent(40) {
		return
	}
	voters := 0
	for i := range p.Nodes {
		if p.Nodes[i].Observer == 0 {
			voters++
		}
	}
	n := &p.Nodes[r.Intn(len(p.Nodes))]
	const votersMin = 3
	if n.Observer == 0 && voters < votersMin {
		return
	}
	first := model.Time(r.Between(int64(500*ms), int64(p.Until)))
	p.Strikes = append(p.Strikes, Strike{
		Kind: FaultWipe, Node: n.ID, At: first,
		For: model.Time(r.LogUniform(int64(ms), int64(5*sc))), Whole: p.has("voters"),
	})
	more := m.stream("strike.more", uint64(FaultWipe))
	if more.Percent(40) || n.Observer == 0 && voters < votersMin {
		return
	}
	for i := range p.Loads { // what only one node has keeps its disk from being lost
		p.Loads[i].Replicas = max(2, p.Loads[i].Replicas)
	}
	for range more.Between(1, 3) {
		if n = &p.Nodes[more.Intn(len(p.Nodes))]; n.Observer != 0 || voters >= votersMin {
			p.Strikes = append(p.Strikes, Strike{
				Kind: FaultWipe, Node: n.ID, At: model.Time(more.Between(int64(first), int64(p.Until))), Whole: true,
				For: model.Time(more.LogUniform(int64(ms), int64(sc))),
			})
		}
	}
}

// rots draws what becomes of a disk while its node is down: of one node, as what is damaged is held by others. It is the one
// whose disk is lost, if one is. Where one replica in sync is enough, a broker that stops while others restart may be the last that
// is, and nobody else is eligible: then a majority must be.
func (m *planner) rots() {
	p, r := m.p, m.stream("rot", 0)
	if !p.clustered() || len(p.Nodes) < 3 || p.has("unclean") || !r.Percent(60) {
		return
	}
	voters := 0
	for i := range p.Nodes {
		if p.Nodes[i].Observer == 0 {
			voters++
		}
	}
	n := &p.Nodes[r.Intn(len(p.Nodes))]
	for _, s := range p.Strikes {
		if i := slices.IndexFunc(p.Nodes, func(n NodePlan) bool { return n.ID == s.Node }); s.Kind == FaultWipe && !s.Whole && i >= 0 {
			n = &p.Nodes[i]
		}
	}
	const votersMin = 3 // its disk is replaced if it votes and what it voted is damaged
	if n.Observer == 0 && voters < votersMin {
		return
	}
	for i := range p.Loads {
		l := &p.Loads[i]
		if l.Replicas = max(2, l.Replicas); l.InSyncMin == 1 {
			l.InSyncMin = 0
		}
	}
	for range r.Between(1, 3) {
		s := Strike{Kind: FaultCrash, Node: n.ID, At: model.Time(r.Between(int64(500*ms), int64(p.Until))), For: model.Time(r.LogUniform(int64(ms), int64(5*sc)))}
		if r.Percent(50) {
			s.Kind = FaultPower
		}
		for _, count := range []*int64{&s.Flips, &s.Zeroed, &s.Short, &s.Removed} {
			if r.Percent(40) {
				*count = r.Between(1, 4)
			}
		}
		if len(s.harms()) == 0 {
			s.Flips = r.Between(1, 8)
		}
		p.Strikes = append(p.Strikes, s)
	}
}

// stairs draws replicas that are lost one after another, with time between them to be taken for dead, and the first comes back
// as the last goes: it has least of all, and must not lead. There are enough nodes for most of the voters to stay.
func (m *planner) stairs() {
	p, r := m.p, m.stream("stairs", 0)
	if len(p.Nodes) < 4 || r.Percent(50) {
		return
	}
	var nodes []int64
	for _, n := range p.Nodes {
		nodes = append(nodes, n.ID)
	}
	r.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	gap := model.Time(r.Between(int64(1200*ms), int64(2*sc)))
	at := model.Time(r.Between(int64(500*ms), int64(max(600*ms, p.Until-3*gap))))
	for i, n := range nodes[:3] {
		s := Strike{Kind: FaultCrash, Node: n, At: at + model.Time(i)*gap, For: model.Time(3-i) * gap}
		if r.Percent(50) {
			s.Kind = FaultPower
		}
		if i == 0 {
			s.For = 2*gap + model.Time(r.Between(-int64(200*ms), int64(300*ms)))
		}
		p.Strikes = append(p.Strikes, s)
	}
}

// deaf draws machines that are heard and hear nothing of each other, one after another, each for long enough that the controller
// gives itself up: what it has decided by then the others have, and commit, and it does not know.
func (m *planner) deaf() {
	p, r := m.p, m.stream("deaf", 0)
	if len(p.Nodes) < 3 || !r.Percent(25) {
		return
	}
	var nodes []int
	for _, n := range p.Nodes {
		nodes = append(nodes, int(n.ID))
	}
	r.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	at := model.Time(r.Between(int64(500*ms), int64(p.Until/2)))
	for i := range nodes {
		s := Strike{Kind: FaultPartition, At: at, For: model.Time(r.LogUniform(int64(700*ms), int64(6*sc)))}
		s.Cuts = directionsText(oneSided(isolated(nodes, nodes[i]), nodes[i:i+1], false))
		s.Percent = r.Between(0, 100)
		if at += s.For + model.Time(r.Between(0, int64(300*ms))); at > p.Until {
			return
		}
		p.Strikes = append(p.Strikes, s)
	}
}

// slowNodes draws who is slow, and when: in clusters only, where others need not be.
func (m *planner) slowNodes(seconds int64) {
	p, r := m.p, m.stream("strike", uint64(FaultSlowNode))
	if !p.clustered() || r.Percent(50) {
		return
	}
	for range r.LogUniform(1, max(2, seconds/2)) {
		p.Strikes = append(p.Strikes, Strike{
			Kind: FaultSlowNode, Node: r.Between(1, int64(len(p.Nodes))), At: model.Time(r.Between(0, int64(p.Until))),
			For: model.Time(r.LogUniform(int64(100*ms), int64(10*sc))), Times: r.LogUniform(5, 300),
		})
	}
}

// struck draws a node. Now and then it is all of them.
func (m *planner) struck(r *draw.Stream) int64 {
	switch n := int64(len(m.p.Nodes)); {
	case n == 1:
		return 1
	case r.Percent(15):
		return 0
	default:
		return r.Between(1, n)
	}
}

// partitions draws who cannot reach whom, and when. The shapes are those of the fault catalogue: one machine alone, two
// groups, two groups with a bridge, a ring, one pair; half of them in one direction only.
func (m *planner) partitions(seconds int64) {
	p, r := m.p, m.stream("strike", uint64(FaultPartition))
	if !p.clustered() || r.Percent(50) {
		return
	}
	all := []int{0} // the clients
	for _, n := range p.Nodes {
		all = append(all, int(n.ID))
	}
	for range r.LogUniform(1, max(2, seconds)) {
		nodes := slices.Clone(all[1:])
		r.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		group := nodes[:1+r.Intn(len(nodes)-1)]
		var ds []direction
		switch r.Intn(6) {
		case 0:
			group = nodes[:1]
			ds = isolated(all[1:], group[0]) // clients still reach it
		case 1:
			group = nodes[:1]
			ds = isolated(all, group[0])
		case 2:
			ds = split(all, group)
		case 3:
			ds = split(all[1:], group)
		case 4:
			ds = bridged(all[1:], group, group[0])
		case 5:
			ds = ring(nodes)
		}
		if len(ds) == 0 { // too few nodes for the shape
			group = nodes[:1]
			ds = []direction{{nodes[0], nodes[1]}, {nodes[1], nodes[0]}}
		}
		if r.Percent(50) {
			if half := oneSided(ds, group, r.Percent(50)); len(half) > 0 {
				ds = half
			}
		}
		p.Strikes = append(p.Strikes, Strike{
			Kind: FaultPartition, At: model.Time(r.Between(0, int64(p.Until))), Cuts: directionsText(ds),
			For: model.Time(r.LogUniform(int64(50*ms), int64(10*sc))), Percent: r.Between(0, 100),
		})
	}
}

func (m *planner) details(s *Strike, r *draw.Stream) {
	switch s.Kind {
	case FaultCrash, FaultPower:
		s.For = model.Time(r.LogUniform(int64(ms), int64(500*ms)))
		if m.p.clustered() && r.Percent(50) {
			s.For = model.Time(r.LogUniform(int64(500*ms), int64(8*sc))) // long enough to be taken for dead
		}
		if r.Percent(60) {
			s.Ops = r.LogUniform(1, 60)
		}
		if r.Percent(30) {
			s.Again = r.LogUniform(1, 40)
		}
		if m.p.Mode != Cluster && !m.p.clustered() && m.stream("flips", 0).Percent(8) {
			s.Flips = r.Between(1, 2)
		}
	case FaultSyncError:
		s.For = model.Time(r.LogUniform(int64(ms), int64(500*ms)))
		s.Evict = r.Percent(50)
	case FaultDiskFull:
		s.For = model.Time(r.LogUniform(int64(10*ms), int64(600*ms)))
		s.Room = r.LogUniform(1, 1<<17) - 1
	case FaultDiskSlow:
		s.For = model.Time(r.LogUniform(int64(10*ms), int64(500*ms)))
		s.Mean = model.Time(r.LogUniform(int64(ms), int64(100*ms)))
	case FaultPause:
		s.For = model.Time(r.LogUniform(int64(10*ms), int64(2*sc)))
	case FaultReset:
		s.Percent = r.Between(10, 100)
		if r.Percent(50) {
			s.Late = model.Time(r.LogUniform(int64(ms), int64(2*sc)))
		}
	case FaultBlackhole, FaultClog:
		s.For = model.Time(r.LogUniform(int64(10*ms), int64(sc)))
		s.Percent = r.Between(10, 100)
	case FaultRefuse, FaultSilence:
		s.For = model.Time(r.LogUniform(int64(10*ms), int64(sc)))
	case FaultWallStep:
		s.By = model.Time(r.LogUniform(int64(ms), int64(300*sc)))
		if r.Percent(50) {
			s.By = -s.By
		}
	default: // no strike of its own
	}
}
