package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// world is the replicas of one partition, their disks, a controller that never fails, and one seed. Batches hold one
// record each; what a record is called is its timestamp.
type world struct {
	t      testing.TB
	random *rand.Rand
	seed   uint64
	now    model.Time
	nodes  []*machine

	leader    model.NodeID
	epoch     model.LeaderEpoch
	partition model.PartitionEpoch
	isr       []model.NodeID
	lives     model.BrokerEpoch

	next    uint32                  // the number of the next record
	acked   map[uint32]model.Offset // with acks=all
	asked   map[uint64]uint32       // requests under way
	request uint64
	calm    bool // no disk is full any more
	ended   map[string]int
}

// machine is one node: a disk that loses what was not synced, and the replica while it runs.
type machine struct {
	w       *world
	id      model.NodeID
	life    model.BrokerEpoch
	r       *Replica // nil: it is down
	disk    []stored
	durable int // of disk
	queue   []func(out *effect.Set)
	heard   model.PartitionEpoch
}

type stored struct {
	h record.Header
}

var replicas = []model.NodeID{1, 2, 3}

func newReplicaWorld(t testing.TB, seed uint64) *world {
	w := &world{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 3)), now: 1, leader: 1, isr: replicas, partition: 1,
		acked: map[uint32]model.Offset{}, asked: map[uint64]uint32{}, ended: map[string]int{},
	}
	for _, id := range replicas {
		m := &machine{w: w, id: id}
		w.nodes = append(w.nodes, m)
		m.start()
	}
	return w
}

func (w *world) node(id model.NodeID) *machine { return w.nodes[id-1] }

func (m *machine) start() {
	m.w.lives++
	m.life = m.w.lives
	m.r = New(model.TopicPartition{}, m.holds(), 0)
	m.queue, m.heard = nil, 0
	m.durable = len(m.disk)
}

// crash keeps a piece of what was not synced.
func (m *machine) crash() {
	keep := m.durable + m.w.random.IntN(len(m.disk)-m.durable+1)
	m.disk, m.r, m.queue = m.disk[:keep], nil, nil
	m.w.ended["crash"]++
}

// hear tells a node what the controller has committed.
func (m *machine) hear() {
	w := m.w
	if m.r == nil || m.heard == w.partition {
		return
	}
	m.heard = w.partition
	m.do(func(out *effect.Set) {
		if w.leader == m.id {
			m.r.Lead(Leadership{
				Epoch: w.epoch, Assignment: Assignment{Replicas: replicas, ISR: slices.Clone(w.isr), PartitionEpoch: w.partition},
				Config: FollowersConfig{Self: m.id, LagTimeMax: 100, SilentTimeMax: 40, InSyncMin: 2},
			}, w.now, out)
			for _, id := range replicas {
				m.r.Alive(id, w.node(id).r != nil)
			}
			return
		}
		m.r.Follow(w.leader, w.epoch, out)
	})
}

// do steps the replica and carries out what it asks for.
func (m *machine) do(step func(out *effect.Set)) {
	var out effect.Set
	step(&out)
	if err := m.r.Check(); err != nil {
		m.w.t.Fatalf("seed %d: node %d: %v", m.w.seed, m.id, err)
	}
	appends := slices.Clone(out.Appends)
	for _, t := range out.Truncates {
		m.queue = append(m.queue, func(out *effect.Set) {
			if m.full(8) {
				state := m.holds()
				m.r.Truncated(effect.Truncated{Failure: effect.DiskFull, State: state, NextOffset: state.EndOffset()}, m.w.now, out)
				m.w.ended["not truncated"]++
				return
			}
			for len(m.disk) > 0 && m.disk[len(m.disk)-1].h.NextOffset() > t.To {
				m.disk = m.disk[:len(m.disk)-1]
			}
			m.durable = len(m.disk)
			state := m.holds()
			m.r.Truncated(effect.Truncated{State: state, NextOffset: state.EndOffset()}, m.w.now, out)
		})
		m.w.ended["truncated"]++
	}
	if len(out.Appends) > 0 {
		m.queue = append(m.queue, func(out *effect.Set) { m.stage(appends, out) })
	}
	for _, p := range out.Produced {
		n := m.w.asked[p.To.Request]
		delete(m.w.asked, p.To.Request)
		if p.Code == 0 {
			m.w.acked[n] = p.BaseOffset
			m.w.ended["acked"]++
		} else {
			m.w.ended[fmt.Sprint("refused ", p.Code)]++
		}
	}
}

// holds is the log that is on the disk.
func (m *machine) holds() *log.State {
	state := log.New(0)
	for _, s := range m.disk {
		state.Apply(s.h)
	}
	return state
}

// full reports whether the disk is full this time, of so many.
func (m *machine) full(times int) bool { return !m.w.calm && m.w.random.IntN(times) == 0 }

// stage writes appends, or refuses them because the disk is full. What is written is durable later.
func (m *machine) stage(appends []effect.Append, out *effect.Set) {
	full, staged := m.full(8), false
	for _, a := range appends {
		h, err := record.ReadHeader(a.Batch)
		if err != nil {
			m.w.t.Fatal(err)
		}
		h.BaseOffset, h.LeaderEpoch = a.BaseOffset, a.LeaderEpoch
		state := m.holds()
		if full || state.EndOffset() != h.BaseOffset { // behind one that was refused
			m.r.Appended(effect.Appended{Failure: effect.DiskFull, Attempt: a.Attempt, State: state}, m.w.now, out)
			m.w.ended["disk full"]++
			continue
		}
		m.disk, staged = append(m.disk, stored{h}), true
	}
	if staged {
		m.queue = append(m.queue, func(out *effect.Set) {
			m.durable = len(m.disk)
			m.r.Appended(effect.Appended{NextOffset: m.holds().EndOffset()}, m.w.now, out)
		})
	}
}

// produce asks whoever takes itself for the leader.
func (w *world) produce() {
	for _, m := range w.nodes {
		if m.r == nil || !m.r.Leads() || w.random.IntN(2) == 0 {
			continue
		}
		w.next++
		w.request++
		w.asked[w.request] = w.next
		var b record.Builder
		b.Begin(record.NewOptions(record.CodecNone))
		b.Append(record.Record{Value: []byte("x"), Timestamp: model.Timestamp(w.next)})
		h, err := record.ReadHeader(b.Finish())
		if err != nil {
			w.t.Fatal(err)
		}
		batch := slices.Clone(b.Finish())
		m.do(func(out *effect.Set) {
			m.r.Produce(Produce{To: effect.RequestID{Request: w.request}, Acks: -1, AppendTime: model.NoTimestamp, Header: h, Batch: batch}, w.now, out)
		})
	}
}

// fetch lets one node fetch from whom it takes for the leader, who answers at once or later.
func (m *machine) fetch() {
	w := m.w
	if m.r == nil {
		return
	}
	at, ok := m.r.Position(w.now)
	if !ok || w.node(m.r.Leader()).r == nil {
		return
	}
	l, life := w.node(m.r.Leader()), m.life
	if !l.r.Leads() || l.r.CheckEpoch(at.LeaderEpoch) != 0 {
		return
	}
	answer := Fetched{From: at}
	l.do(func(out *effect.Set) {
		switch {
		case l.r.Diverges(at.LastFetchedEpoch, at.Offset):
			epoch, end := l.r.EpochEnd(at.LastFetchedEpoch)
			answer.Diverging = &effect.EpochEnd{LeaderEpoch: epoch, EndOffset: end}
			return
		default:
			if _, code := l.r.FetchedBy(m.id, life, at.Offset, w.now, out); code != 0 {
				answer.OffsetOutOfRange = true
				return
			}
		}
		answer.HighWatermark = l.r.Bounds().HighWatermark
		for _, s := range l.disk { // what is staged is given out before it is durable
			if s.h.BaseOffset >= at.Offset && len(answer.Batches) < 3 {
				answer.Batches = append(answer.Batches, Batch{Header: s.h, Bytes: batchFor(s.h)})
			}
		}
	})
	if w.random.IntN(10) == 0 {
		return // lost
	}
	deliver := func(out *effect.Set) { m.r.Fetched(answer, w.now, out) }
	if w.random.IntN(4) == 0 {
		m.queue = append(m.queue, deliver)
		return
	}
	m.do(deliver)
}

// batchFor is the batch that a header is of.
func batchFor(h record.Header) []byte {
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecNone))
	b.Append(record.Record{Value: []byte("x"), Timestamp: h.BaseTimestamp})
	return append([]byte(nil), b.Finish()...)
}

// propose lets the leader say who is in sync; the controller agrees if the epochs are right.
func (m *machine) propose() {
	w := m.w
	if m.r == nil || !m.r.Leads() {
		return
	}
	p, ok := m.r.Followers().Propose(w.now)
	if !ok {
		return
	}
	good := w.leader == m.id && m.r.LeaderEpoch() == w.epoch && p.PartitionEpoch == w.partition
	for _, in := range p.ISR {
		if n := w.node(in.Node); in.Node != m.id && (n.r == nil || n.life != in.BrokerEpoch) {
			good = false
		}
	}
	if !good {
		w.ended["proposal refused"]++
		m.do(func(out *effect.Set) { m.r.Refused(out) })
		return
	}
	w.isr = nil
	for _, in := range p.ISR {
		w.isr = append(w.isr, in.Node)
	}
	w.partition++
	w.ended["isr changed"]++
	if w.random.IntN(3) == 0 {
		m.r.Followers().Unanswered()
	} else {
		m.hear()
	}
}

// elect gives the partition another leader out of those in sync; who is down leaves, but the last.
func (w *world) elect() {
	var up []model.NodeID
	for _, id := range w.isr {
		if w.node(id).r != nil {
			up = append(up, id)
		}
	}
	if len(up) == 0 {
		w.leader = -1
	} else {
		w.leader, w.isr = up[w.random.IntN(len(up))], up
	}
	w.epoch++
	w.partition++
	w.ended["elected"]++
}

func (w *world) step() {
	w.now += model.Time(w.random.IntN(20))
	m := w.nodes[w.random.IntN(len(w.nodes))]
	switch k := w.random.IntN(1000); {
	case k < 150:
		w.produce()
	case k < 500:
		m.fetch()
	case k < 700:
		if len(m.queue) > 0 && m.r != nil {
			next := m.queue[0]
			m.queue = m.queue[1:]
			m.do(next)
		}
	case k < 800:
		m.hear()
	case k < 900:
		m.propose()
	case k < 910:
		w.elect()
		if w.random.IntN(2) == 0 { // they hear of it while what they fetched before is on its way to the disk
			for _, m := range w.nodes {
				m.hear()
			}
			for _, m := range w.nodes {
				m.fetch()
			}
		}
	case k < 913:
		w.now += fullPause // whose disk was full goes on
	case k < 925:
		if m.r != nil {
			// A crashed process is a new one before it counts as in sync again, as its registration makes sure.
			m.crash()
			if w.leader == m.id || slices.Contains(w.isr, m.id) && len(w.isr) > 1 {
				w.isr = slices.DeleteFunc(slices.Clone(w.isr), func(id model.NodeID) bool { return id == m.id && len(w.isr) > 1 })
				w.partition++
				if w.leader == m.id {
					w.elect()
				}
			}
		}
	default:
		if m.r == nil {
			m.start()
		}
	}
}

// settle heals everything and lets the replicas become one.
func (w *world) settle() {
	w.calm = true
	for _, m := range w.nodes {
		if m.r == nil {
			m.start()
		}
	}
	w.elect()
	w.now += fullPause
	for range 400 {
		w.now += 10
		for _, m := range w.nodes {
			m.hear()
			m.propose()
			m.fetch()
			for len(m.queue) > 0 {
				next := m.queue[0]
				m.queue = m.queue[1:]
				m.do(next)
			}
		}
	}
}

func (w *world) check() {
	if w.leader < 0 {
		w.t.Fatalf("seed %d: nobody leads in the end", w.seed)
	}
	if len(w.isr) != len(replicas) {
		w.t.Fatalf("seed %d: in sync in the end: %v", w.seed, w.isr)
	}
	first := w.nodes[0].disk
	for _, m := range w.nodes {
		if !slices.Equal(m.disk, first) {
			w.t.Fatalf("seed %d: nodes 1 and %d hold different logs", w.seed, m.id)
		}
	}
	if hw := w.node(w.leader).r.Bounds().HighWatermark; len(first) > 0 && hw != first[len(first)-1].h.NextOffset() {
		w.t.Fatalf("seed %d: the high watermark is %d in the end, and the log ends at %d", w.seed, hw, len(first))
	}
	for n, offset := range w.acked {
		if int(offset) >= len(first) || first[offset].h.BaseTimestamp != model.Timestamp(n) {
			w.t.Fatalf("seed %d: record %d was acknowledged at offset %d and is lost", w.seed, n, offset)
		}
	}
}

// TestNothingAcknowledgedIsLost lets replicas crash, lead in turn, hear of it late and lose answers.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	ended := map[string]int{}
	for seed := range uint64(300) {
		w := newReplicaWorld(t, seed)
		for range 1500 {
			w.step()
		}
		w.settle()
		w.check()
		for k, n := range w.ended {
			ended[k] += n
		}
	}
	for _, k := range []string{"acked", "crash", "truncated", "isr changed", "proposal refused", "elected", "disk full", "not truncated"} {
		if ended[k] == 0 {
			t.Errorf("%s: never, of %v", k, ended)
		}
	}
}
