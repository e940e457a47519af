package scale

import (
	"fmt"
	"runtime"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// Report is what a run came to.
type Report struct {
	Options Options
	Phases  []Phase
	// Pairs is how many pairs of nodes follow each other's partitions: each costs fetches.
	Pairs      int
	ImageBytes int64
	HeapBytes  uint64
}

// Phase is one thing that happened to the cluster.
type Phase struct {
	Name string
	// Took is the simulated time until all is well: every partition is led and, unless some are gone, every replica in sync.
	Took model.Time
	// Led is the simulated time until every partition was led.
	Led                                      model.Time
	Steps, Calls, Fetches, Heartbeats        int64
	ImagePieces, Proposals, MetadataLogBytes int64
}

const patience model.Time = 300e9

// Run runs a cluster through its phases.
func Run(o Options) (*Report, error) {
	w := newWorld(o)
	r := &Report{Options: o}
	w.startAll(func(*node) bool { return true })
	err := w.phase(r, "register", func(s state) bool { return s.active == o.Brokers })
	if err == nil {
		err = w.create(r)
	}
	if err == nil {
		r.Pairs = w.pairs()
		w.say("power fails everywhere")
		for _, n := range w.nodes {
			n.kill()
		}
		w.memo = metadata.NewMemo()
		w.now += 10e9
		w.startAll(func(*node) bool { return true })
		err = w.phase(r, "cold start", state.well)
	}
	if err == nil {
		err = w.phase(r, "a quiet minute", after(w.now+60e9, w))
	}
	inRack := func(n *node) bool { return int(n.id)%o.Racks == 1 }
	if err == nil {
		w.say("a rack is lost")
		lost := 0
		for _, n := range w.nodes {
			if inRack(n) {
				n.kill()
				lost++
			}
		}
		err = w.phase(r, "loss of a rack", func(s state) bool { return s.active == o.Brokers-lost && s.led == s.partitions && s.stray == 0 })
	}
	if err == nil {
		w.startAll(inRack)
		err = w.phase(r, "the rack comes back", func(s state) bool { return s.well() && s.preferred == s.partitions })
	}
	for batch := range w.image().Records(0, 0) {
		r.ImageBytes += int64(len(batch))
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	r.HeapBytes = m.HeapAlloc
	runtime.KeepAlive(w)
	return r, err
}

func after(at model.Time, w *world) func(state) bool {
	return func(state) bool { return w.now >= at }
}

// startAll starts nodes within some seconds.
func (w *world) startAll(which func(*node) bool) {
	k := 0
	for _, n := range w.nodes {
		if which(n) {
			n.start(w.now + startTime*model.Time(k%997)/997)
			k++
		}
	}
}

// create makes the topics, some at a time.
func (w *world) create(r *Report) error {
	o := w.o
	names := 0
	var waiting []uint64
	more := func() {
		c := w.controller()
		for c != nil && len(waiting) < 4 && names*o.PartitionsPerTopic < o.Partitions {
			in := controller.CreateTopic{
				Name:           fmt.Sprintf("topic-%06d", names),
				PartitionCount: int32(min(o.PartitionsPerTopic, o.Partitions-names*o.PartitionsPerTopic)), ReplicationFactor: int16(o.ReplicationFactor),
			}
			names++
			waiting = append(waiting, w.ask(c, func(to effect.RequestID) broker.Event {
				return &broker.CreateTopics{To: to, Topics: []controller.CreateTopic{in}}
			}))
		}
	}
	var failed error
	more()
	err := w.phaseEvery(r, "create", 5e6, func() bool {
		left := waiting[:0]
		for _, id := range waiting {
			body, done := w.done[id]
			if !done {
				left = append(left, id)
				continue
			}
			delete(w.done, id)
			if created, is := body.(*effect.TopicsCreated); !is || created.Topics[0].Code != 0 {
				failed = fmt.Errorf("a topic was not created: %+v", body)
				return true
			}
		}
		waiting = left
		if more(); len(waiting) > 0 {
			return false
		}
		return w.look().well()
	})
	if failed != nil {
		return failed
	}
	return err
}

// phase waits until the cluster is in a state, and reports what it took.
func (w *world) phase(r *Report, name string, holds func(state) bool) error {
	return w.phaseEvery(r, name, 50e6, func() bool { return holds(w.look()) })
}

func (w *world) phaseEvery(r *Report, name string, every model.Time, holds func() bool) error {
	begin, before := w.now, w.counts
	p := Phase{Name: name}
	said := w.now
	ok := w.run(begin+patience, every, func() bool {
		s := w.look()
		w.forget()
		switch {
		case s.led < s.partitions:
			p.Led = 0
		case p.Led == 0:
			p.Led = w.now - begin
		}
		if w.now-said >= 1e9 {
			said = w.now
			w.say("%s: %v", name, s)
		}
		return holds()
	})
	p.Took = w.now - begin
	c := w.counts
	p.Steps, p.Calls, p.Fetches, p.Heartbeats = c.steps-before.steps, c.calls-before.calls, c.fetches-before.fetches, c.heartbeats-before.heartbeats
	p.ImagePieces, p.Proposals, p.MetadataLogBytes = c.images-before.images, c.proposals-before.proposals, (c.logBytes-before.logBytes)/int64(w.o.Voters)
	r.Phases = append(r.Phases, p)
	w.say("%s: done: %v", name, w.look())
	if !ok {
		return fmt.Errorf("%s: not done after %d s: %v", name, patience/1e9, w.look())
	}
	return nil
}
