package sim

import (
	"fmt"
	"slices"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/sim/draw"
)

// crowd is a world of nodes without clients. What each hears of its calls goes to the test.
type crowd struct {
	*world
	t        *testing.T
	nextID   effect.CallID
	pending  map[effect.CallID]asked
	counts   map[effect.CallFailure]int
	failures []string
}

type asked struct {
	life     uint64
	deadline model.Time // on the asker's clock
}

func newCrowd(t *testing.T, seed uint64, count int) *crowd {
	plan := MakePlan(seed, Lite)
	plan.Loads, plan.Strikes = nil, nil
	w := newWorld(plan, newTrace(nil))
	c := &crowd{world: w, t: t, pending: map[effect.CallID]asked{}, counts: map[effect.CallFailure]int{}}
	for i := range count {
		n := newNode(w, NodePlan{ID: int64(i + 1), ClockDriftPPM: int64(i) * 10_000})
		w.nodes = append(w.nodes, n)
		w.at(epoch, n.boot)
	}
	c.settle(epoch + sc)
	return c
}

// ask lets one node call another, and holds the answer to its promises.
func (c *crowd) ask(from, to *node, lane effect.Lane, timeout model.Time, body effect.CallBody) {
	p := from.process
	if p == nil || !p.serving {
		return
	}
	p.listen = func(a effect.Answer) { c.heard(p, a) }
	p.run(func() {
		c.nextID++
		c.pending[c.nextID] = asked{p.life<<8 | uint64(from.id), p.monotonic() + timeout}
		p.call([]effect.Call{{To: model.NodeID(to.id), Address: to.address(), Lane: lane, ID: c.nextID, Timeout: timeout, Body: body}})
	})
}

func (c *crowd) heard(p *process, a effect.Answer) {
	q, ok := c.pending[a.ID]
	if !ok || q.life != p.life<<8|uint64(p.n.id) {
		c.failures = append(c.failures, fmt.Sprintf("node %d hears %v, which it did not ask or has heard", p.n.id, &a))
	}
	delete(c.pending, a.ID)
	c.counts[a.Failure]++
}

func beat(from *node) effect.CallBody {
	return &effect.HeartbeatBroker{Broker: model.NodeID(from.id), BrokerEpoch: 1}
}

// check looks for calls that have no answer although their time is up in a process that is awake.
func (c *crowd) check() {
	c.t.Helper()
	for _, f := range c.failures {
		c.t.Error(f)
	}
	if c.violation != nil {
		c.t.Fatalf("%s: %s", c.violation.Oracle, c.violation.Detail)
	}
	for id, q := range c.pending {
		n := c.nodes[q.life&0xff-1]
		if n.process != nil && n.life == q.life>>8 && c.now > n.pausedUntil+ms && n.process.monotonic() > q.deadline+ms {
			c.t.Errorf("call %d of node %d has no answer", id, n.id)
		}
	}
}

func TestNodesCallEachOtherInTheSimulatedNetwork(t *testing.T) {
	c := newCrowd(t, 1, 2)
	one, two := c.nodes[0], c.nodes[1]
	for i := range 100 {
		c.ask(one, two, effect.LaneFetch(i%3), sc, beat(one))
		c.ask(two, one, effect.LaneControl, sc, beat(two))
		c.settle(c.now + 5*ms)
	}
	c.ask(one, two, effect.LaneForward, 10*sc, &effect.Forward{Request: make([]byte, 1<<20)})
	c.settle(c.now + 20*sc)
	c.check()
	if c.counts[effect.CallOK] != 201 {
		t.Errorf("%v", c.counts)
	}
}

func TestAOneWayCutLeavesTheFateOfCallsUnknown(t *testing.T) {
	c := newCrowd(t, 2, 3)
	one, two, three := c.nodes[0], c.nodes[1], c.nodes[2]
	for _, n := range []*node{two, three} {
		c.ask(one, n, effect.LaneControl, sc, beat(one))
	}
	c.settle(c.now + sc)
	if c.counts[effect.CallOK] != 2 {
		t.Fatalf("%v", c.counts)
	}
	before := two.process.broker
	c.net.partition([]direction{{2, 1}}, c.now+5*sc, 100, c.root.Stream("test", 1))
	steps := two.process.steps
	c.ask(one, two, effect.LaneControl, 300*ms, beat(one))   // arrives, and is not answered
	c.ask(one, three, effect.LaneControl, 300*ms, beat(one)) // is not concerned
	c.ask(one, two, effect.LaneQuorum, 300*ms, beat(one))    // has no connection, and gets none
	c.ask(two, one, effect.LaneControl, 300*ms, beat(two))   // so does this
	c.settle(c.now + sc)
	c.check()
	if c.counts[effect.CallOK] != 3 || c.counts[effect.CallTimedOut] != 1 || c.counts[effect.CallUnreachable] != 2 {
		t.Errorf("%v", c.counts)
	}
	if two.process.broker != before || two.process.steps == steps {
		t.Error("what was sent in the open direction did not arrive")
	}
	if c.fired[FaultOneWay] == 0 || c.fired[FaultPartition] == 0 {
		t.Error("the cut was not counted")
	}
	c.settle(c.now + 10*sc)
	c.ask(one, two, effect.LaneControl, sc, beat(one))
	c.ask(two, one, effect.LaneControl, sc, beat(two))
	c.settle(c.now + 5*sc)
	c.check()
	if c.counts[effect.CallOK] != 5 {
		t.Errorf("the cut is over: %v", c.counts)
	}
}

// TestEveryCallHasOneAnswerWhateverHappens lets nodes call each other while they crash, stand still, and lose each other.
func TestEveryCallHasOneAnswerWhateverHappens(t *testing.T) {
	counts, fired := map[effect.CallFailure]int{}, [faultCount]int64{}
	for seed := range uint64(15) {
		c := newCrowd(t, seed, 3)
		r := c.root.Stream("test", seed)
		all := []int{0, 1, 2, 3}
		for range 400 {
			i := r.Intn(3)
			from, to := c.nodes[i], c.nodes[(i+1+r.Intn(2))%3]
			body := beat(from)
			if r.Percent(30) {
				body = &effect.QuorumMessages{Messages: [][]byte{make([]byte, 1+r.Intn(20_000))}}
			}
			c.ask(from, to, effect.Lane(r.Intn(4)), model.Time(r.LogUniform(int64(ms), int64(2*sc))), body)
			switch r.Intn(60) {
			case 0:
				from.downUntil = c.now + 200*ms
				from.crash(r.Percent(50))
			case 1:
				to.pausedUntil = max(to.pausedUntil, c.now+model.Time(r.LogUniform(int64(ms), int64(sc))))
			case 2:
				c.net.pick(r, 50, func(k *conn) { k.reset(model.Time(r.Intn(int(sc)))) })
			case 3:
				shapes := [][]direction{isolated(all, to.id), split(all, all[:2]), {{from.id, to.id}}, oneSided(isolated(all, to.id), []int{to.id}, r.Percent(50))}
				c.net.partition(shapes[r.Intn(len(shapes))], c.now+model.Time(r.LogUniform(int64(10*ms), int64(2*sc))), r.Between(0, 100), r)
			case 4:
				c.net.pick(r, 30, func(k *conn) { k.blackhole(c.now + 300*ms) })
			}
			c.settle(c.now + model.Time(r.Exp(int64(10*ms))))
			c.check()
		}
		c.net.heal()
		c.settle(c.now + 10*sc)
		c.check()
		for f, n := range c.counts {
			counts[f] += n
		}
		for f, n := range c.fired {
			fired[f] += n
		}
		// Healed, everybody reaches everybody.
		ok := c.counts[effect.CallOK]
		for _, from := range c.nodes {
			for _, to := range c.nodes {
				if from != to {
					c.ask(from, to, effect.LaneControl, 10*sc, beat(from))
				}
			}
		}
		c.settle(c.now + 10*sc)
		c.check()
		if c.counts[effect.CallOK] != ok+6 {
			t.Errorf("seed %d: of six calls in a healed world %d were answered", seed, c.counts[effect.CallOK]-ok)
		}
	}
	for _, f := range []effect.CallFailure{effect.CallOK, effect.CallUnreachable, effect.CallLost, effect.CallTimedOut} {
		if counts[f] == 0 {
			t.Errorf("no call was answered with %v: %v", f, counts)
		}
	}
	for _, f := range []Fault{FaultPartition, FaultOneWay, FaultReset, FaultLateDelivery} {
		if fired[f] == 0 {
			t.Errorf("%v never struck", f)
		}
	}
}

func TestShapesOfPartitions(t *testing.T) {
	all := []int{0, 1, 2, 3, 4}
	for name, c := range map[string]struct {
		ds   []direction
		want string
	}{
		"isolated":         {isolated(all[:4], 2), "2>0,0>2,2>1,1>2,2>3,3>2"},
		"split":            {split(all[1:], []int{1, 2}), "1>3,1>4,2>3,2>4,3>1,3>2,4>1,4>2"},
		"bridged":          {bridged(all[1:], []int{1, 2}, 2), "1>3,1>4,3>1,4>1"},
		"a ring of five":   {ring(all), "0>2,0>3,1>3,1>4,2>0,2>4,3>0,3>1,4>1,4>2"},
		"a ring of three":  {ring(all[:3]), ""},
		"nothing gets out": {oneSided(isolated(all[:3], 1), []int{1}, true), "1>0,1>2"},
		"nothing gets in":  {oneSided(isolated(all[:3], 1), []int{1}, false), "0>1,2>1"},
	} {
		if got := directionsText(c.ds); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if back, err := parseDirections(directionsText(c.ds)); len(c.ds) > 0 && (err != nil || !slices.Equal(back, c.ds)) {
			t.Errorf("%s: comes back as %v: %v", name, back, err)
		}
	}
	for _, text := range []string{"", "1", "1>1", "1>-2", "a>b", "1>2,", "1>2;2>1"} {
		if _, err := parseDirections(text); err == nil {
			t.Errorf("%q passes for directions", text)
		}
	}
}

func TestPlansOfSeveralNodesCutThemOff(t *testing.T) {
	one, two := 0, 0
	for seed := range uint64(200) {
		m := planner{root: draw.Seed(seed), p: &Plan{Seed: seed, Mode: Lite, Until: 2 * sc, Nodes: []NodePlan{{ID: 1}, {ID: 2}, {ID: 3}}}}
		m.partitions(2)
		for i := range m.p.Strikes {
			s := &m.p.Strikes[i]
			if _, err := parseDirections(s.Cuts); err != nil || s.For <= 0 {
				t.Fatalf("seed %d: %+v: %v", seed, s, err)
			}
		}
		if m.p.Has(FaultOneWay) {
			one++
		}
		if m.p.Has(FaultPartition) {
			two++
		}
	}
	if two < 60 || two > 140 || one < two/3 || one == two {
		t.Errorf("%d plans of 200 have partitions, %d in one direction", two, one)
	}
}
