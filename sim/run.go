package sim

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/sim/check"
	"github.com/weirmq/weir/sim/workload"
)

// Options say what to run.
type Options struct {
	Seed uint64
	Mode Mode
	// Plan, if set, is run instead of the seed's own.
	Plan *Plan
	// Trace, if set, gets every line.
	Trace io.Writer
	// History, if set, gets what the clients did as JSON lines.
	History io.Writer
}

// Result is how a run ended.
type Result struct {
	Seed       uint64
	Mode       Mode
	Events     int64
	CoreEvents uint64
	SimTime    model.Time
	Trace      string // hash
	Violation  *Violation
	// Excuse says why the node could not be asked for everything: planned damage to its disk.
	Excuse string
	// OpsOK and Ops count the clients' operations.
	OpsOK, Ops int
	Undecided  int
	Enabled    [faultCount]bool // by Fault: the plan could make it happen
	Fired      [faultCount]int64
	Marks      [effect.MarkCount]int64
	Plan       *Plan
}

// OK reports whether every promise was kept.
func (r *Result) OK() bool { return r.Violation == nil }

// Line is the result in one line.
func (r *Result) Line() string {
	s := fmt.Sprintf("seed=%d mode=%s events=%d sim_time=%s trace=%s verdict=", r.Seed, r.Mode, r.Events,
		time.Duration(r.SimTime), r.Trace)
	if r.Violation == nil {
		return s + "ok"
	}
	return s + "violation oracle=" + r.Violation.Oracle
}

// Report is everything there is to say about a violation; empty without one.
func (r *Result) Report() string {
	v := r.Violation
	if v == nil {
		return ""
	}
	var b strings.Builder
	for _, line := range v.Trace {
		b.WriteString(line + "\n")
	}
	fmt.Fprintf(&b, "\noracle   %s\nwhat     %s\nwhen     %s, event %d\n", v.Oracle, v.Detail, timeText(v.At), v.Event)
	for _, f := range v.Stack {
		b.WriteString("in       " + f + "\n")
	}
	fmt.Fprintf(&b, "again    weir sim run --seed %d --mode %s\n", r.Seed, r.Mode)
	return b.String()
}

// Run runs one seed, or one plan. It depends on nothing but its options.
func Run(o Options) Result {
	plan := o.Plan
	if plan == nil {
		plan = MakePlan(o.Seed, o.Mode)
	}
	result := Result{Seed: plan.Seed, Mode: plan.Mode, Plan: plan}
	if err := plan.validate(); err != nil {
		result.Violation = &Violation{Oracle: "plan", Detail: err.Error()}
		return result
	}
	own := *plan // healing changes it
	w := newWorld(&own, newTrace(o.Trace))
	if err := w.populate(); err != nil {
		result.Violation = &Violation{Oracle: "plan", Detail: err.Error()}
		return result
	}
	w.play()
	if w.violation == nil {
		w.judge(&result)
	}
	if o.History != nil {
		if err := w.history.Write(o.History); err != nil {
			w.fail("output", err.Error())
		}
	}
	result.Events, result.CoreEvents, result.SimTime = w.events, w.coreEvents, w.now-epoch
	result.Trace, result.Violation = w.trace.sum(), w.violation
	result.Fired, result.Marks = w.fired, w.marks
	for _, f := range Faults() {
		result.Enabled[f] = plan.Has(f)
	}
	for i := range w.history.Ops {
		result.Ops++
		if w.history.Ops[i].Outcome == check.OK {
			result.OpsOK++
		}
	}
	result.Excuse = w.leaders.lost
	for _, n := range w.nodes {
		if n.refused != "" {
			result.Excuse = n.refused
		}
	}
	if w.trace.err != nil && result.Violation == nil {
		result.Violation = &Violation{Oracle: "output", Detail: w.trace.err.Error()}
	}
	return result
}

// populate makes nodes and clients and schedules the plan.
func (w *world) populate() error {
	if w.plan.Mode != Lite {
		w.checkEvery = 250
	}
	for _, p := range w.plan.Nodes {
		n := newNode(w, p)
		w.nodes = append(w.nodes, n)
		w.at(epoch, n.boot)
	}
	env := &workload.World{
		Root: w.root, History: &w.history, Fail: w.fail,
		Excused: func(topic string, partition int32) bool {
			return w.damaged() || w.leaders.unclean[check.Key{Topic: topic, Partition: partition}]
		},
		Forget: w.forgets(), AutoCreate: w.plan.Knobs.AutoCreate,
		Hostile: func() { w.fire(FaultHostile) },
		Voted:   func() { w.fire(FaultVoters) },
		Surged:  func() { w.fire(FaultSurge) },
		Near:    func() { w.fire(FaultNear) },
		Wall:    func(now model.Time) model.Timestamp { return wallBase + model.Timestamp(now/ms) },
	}
	for _, l := range w.plan.Loads {
		surge := [2]model.Time{}
		if l.SurgeFor > 0 {
			surge = [2]model.Time{epoch + l.Surge, epoch + l.Surge + l.SurgeFor}
		}
		load, err := workload.New(env, workload.Spec{
			ID: l.ID, Kind: l.Kind, Clients: int(l.Clients), Topics: int(l.Topics), Partitions: int(l.Partitions),
			ValueBytes: int(l.ValueBytes), Gap: l.Gap, Records: int(l.Records), Codec: int(l.Codec), Linger: l.Linger,
			Replicas: int(l.Replicas), InSyncMin: int(l.InSyncMin), Addrs: w.addrs(), Calm: w.plan.Mode == Calm, Silent: w.silentAt(),
			SurgeFrom: surge[0], SurgeUntil: surge[1],
		})
		if err != nil {
			return err
		}
		w.loads = append(w.loads, load)
		for _, p := range load.Programs {
			w.hosts = append(w.hosts, newHost(w, p, len(w.hosts)))
		}
	}
	for i := range w.plan.Strikes {
		s := &w.plan.Strikes[i]
		w.at(epoch+s.At, func() { w.strike(s) })
	}
	w.at(epoch+w.plan.Until, w.heal)
	return nil
}

// silentAt is when producers stop writing; 0: not before they are done.
func (w *world) silentAt() model.Time {
	if w.plan.Silent == 0 {
		return 0
	}
	return epoch + w.plan.Silent
}

// addrs are where the nodes are found.
func (w *world) addrs() (all []string) {
	for _, n := range w.nodes {
		all = append(all, n.addr())
	}
	return all
}

// forgets reports whether producers may be forgotten while they live, and offsets while they are needed.
func (w *world) forgets() bool { return w.plan.Knobs.ProducerExpiryMs < longExpiryMs }

// damaged reports whether a planned fault may have made something unavailable for good.
func (w *world) damaged() bool {
	if w.leaders.lost != "" {
		return true
	}
	for _, n := range w.nodes {
		if n.refused != "" {
			return true
		}
		if w.plan.clustered() {
			continue // what is damaged is held by others, and heals
		}
		if n.ghost.everythingDamaged != "" {
			return true
		}
		for _, l := range n.ghost.order {
			if l.damaged != "" {
				return true
			}
		}
	}
	return false
}

// pollEvery is how often the settled world is asked whether it is done.
const pollEvery = 20 * ms

// play runs the fault phase, the liveness phase, and the last restart.
func (w *world) play() {
	limit := epoch + w.plan.Until + w.plan.Settle
	done := false
	var poll func()
	poll = func() {
		why := w.waiting()
		switch {
		case why == "":
			done = true
		case w.now >= limit || w.damaged() && w.now >= epoch+w.plan.Until+5*sc:
			if !w.damaged() {
				w.fail("liveness", fmt.Sprintf("%s after all faults were healed: %s", time.Duration(w.now-epoch-w.plan.Until), why+w.standing()))
			}
			done = true
		default:
			w.after(pollEvery, poll)
		}
	}
	w.at(epoch+w.plan.Until+pollEvery, poll)
	for !done && w.step() {
	}
	if w.violation != nil {
		return
	}
	if !done {
		w.fail("liveness", "nothing is left to happen, but not everything is done: "+w.waiting())
		return
	}
	for _, n := range w.nodes {
		if n.serves() {
			n.process.checkAnswered()
		}
	}
	w.rest()
	for _, h := range w.hosts {
		h.stop()
	}
	w.finish()
}

// waiting says what is not done yet.
func (w *world) waiting() string {
	for _, n := range w.nodes {
		if !n.serves() && n.refused == "" {
			return fmt.Sprintf("node %d is not up", n.id)
		}
	}
	for _, h := range w.hosts {
		if why := h.program.Waiting(); why != "" {
			return h.program.Name() + ": " + why
		}
	}
	return w.apart()
}

// final is what the last restart found.
type final struct {
	topics map[string]model.TopicID
}

// finish stops every node, cleanly or by a power loss, starts it again from its disk, and reads everything.
func (w *world) finish() {
	r := w.root.Stream("finish", 0)
	for _, n := range w.nodes {
		if n.process == nil {
			continue
		}
		if r.Percent(50) {
			w.guard(n.process.check)
			n.shutdown(func() { n.disk.Crash(true) })
		} else {
			n.crash(true)
		}
	}
	w.drain(func() bool {
		return !slices.ContainsFunc(w.nodes, func(n *node) bool { return n.process != nil && n.process.stopping != nil })
	})
	for _, n := range w.nodes {
		if w.violation == nil {
			w.guard(n.boot)
		}
	}
	w.drain(func() bool {
		return !slices.ContainsFunc(w.nodes, func(n *node) bool { return !n.serves() && n.refused == "" })
	})
	w.drain(func() bool { return w.damaged() || w.apart() == "" })
	for _, n := range w.nodes {
		if n.serves() && w.violation == nil {
			w.guard(func() { n.readAll() })
		}
	}
	w.drain(func() bool {
		return w.final != nil || !slices.ContainsFunc(w.nodes, (*node).serves)
	})
	w.guard(w.compare)
}

// drain lets events happen until something is true.
func (w *world) drain(until func() bool) {
	limit := w.now + 60*sc
	for !until() && w.violation == nil {
		if w.now > limit || len(w.heap) == 0 {
			w.fail("finish", "the last restart does not come to an end: "+w.apart()+w.standing())
			return
		}
		w.step()
	}
}

// readAll reads every record of the loads' topics.
func (n *node) readAll() {
	w := n.w
	w.final = &final{topics: map[string]model.TopicID{}}
	for t := range n.process.published.View.Topics {
		w.final.topics[t.Name] = t.ID
	}
	var d client.Decoder
	for _, load := range w.loads {
		for _, topic := range load.Topics() {
			for p := range load.Partitions() {
				n.readFinal(check.Key{Topic: topic, Partition: int32(p)}, &d, load)
			}
		}
	}
}

func (n *node) readFinal(k check.Key, d *client.Decoder, load *workload.Load) {
	w := n.w
	id, ok := w.final.topics[k.Topic]
	if !ok {
		w.fail("lost-topic", fmt.Sprintf("topic %s was created and is gone", k.Topic))
		return
	}
	tp := model.TopicPartition{Topic: id, Partition: model.Partition(k.Partition)}
	if len(w.nodes) > 1 && !n.leads(tp) {
		return // what its leader has is what counts, and compare sees to the others
	}
	f := check.Final{Key: k, BeganAnew: int64(w.beganAnew[tp]), Damaged: n.ghost.broken(n.ghost.log(tp)) != "" || w.leaders.lost != ""}
	bounds, ok := n.process.broker.Bounds(tp)
	if !ok {
		w.fail("lost-partition", fmt.Sprintf("%s is not here", k))
		return
	}
	f.Start, f.End = int64(bounds.LogStartOffset), int64(bounds.HighWatermark)
	var stamps []model.Timestamp
	err := n.process.engine.ReadAll(tp, func(b record.Batch) error {
		records, err := d.Decode(nil, &client.Chunk{Topic: k.Topic, Batches: b, From: bounds.LogStartOffset})
		for _, r := range records {
			number, whole := workload.ReadValue(r.Value)
			if !whole {
				return fmt.Errorf("the record at %d is not what anybody wrote", r.Offset)
			}
			f.Offsets, f.Values = append(f.Offsets, int64(r.Offset)), append(f.Values, number)
			stamps = append(stamps, r.Timestamp)
		}
		return err
	})
	if err != nil && !f.Damaged {
		w.fail("final-read", fmt.Sprintf("%s: %v", k, err))
		return
	}
	first := f.End
	if len(f.Offsets) > 0 {
		first = f.Offsets[0]
	}
	if first > f.Start && first <= int64(n.ghost.log(tp).limit) {
		f.Start = first // retention has moved it since the start, and the broker does not know yet
	}
	w.history.Finals = append(w.history.Finals, f)
	if !f.Damaged {
		w.checkLookups(load, &f, stamps)
	}
}

// checkLookups compares answers about times with the records that there are. Where the partition's end
// moved while the questions were asked, somebody still wrote, and nothing can be said.
func (w *world) checkLookups(load *workload.Load, f *check.Final, stamps []model.Timestamp) {
	const latest = -1
	end, moved := int64(-1), false
	for _, l := range load.Lookups() {
		if l.Key == f.Key && l.Timestamp == latest {
			moved = moved || end >= 0 && int64(l.Offset) != end
			end = int64(l.Offset)
		}
	}
	if moved {
		return
	}
	for _, l := range load.Lookups() {
		if l.Key != f.Key || l.Timestamp == latest {
			continue
		}
		want, newest := int64(model.NoOffset), model.NoTimestamp
		for i, t := range stamps {
			switch {
			case f.Offsets[i] >= end:
			case l.Timestamp == effect.MaxTimestamp:
				if t > newest {
					newest, want = t, f.Offsets[i]
				}
			case want < 0 && t >= l.Timestamp:
				want = f.Offsets[i]
			}
		}
		if int64(l.Offset) == want {
			continue
		}
		if i := int64(l.Offset) - f.Start; l.Timestamp == effect.MaxTimestamp && i >= 0 && i < int64(len(stamps)) && int64(l.Offset) < end && stamps[i] == newest {
			continue // another record of the same time
		}
		w.fail("time-lookup", fmt.Sprintf("%s: time %d was looked up at %d (time %d), it is at %d; the log ended at %d",
			f.Key, l.Timestamp, l.Offset, l.Found, want, end))
		return
	}
}

// judge runs the checkers over the history.
func (w *world) judge(result *Result) {
	w.history.Leaderships, w.history.StaleMax, w.history.Lags = w.leaders.over, int64(w.staleMax()), len(w.nodes) > 1
	w.history.Unclean = w.leaders.unclean
	found := slices.Concat(check.Log(&w.history), check.Places(&w.history))
	found = append(found, check.Topics(&w.history, 5*time.Second)...)
	if !w.forgets() {
		found = append(found, check.Offsets(&w.history, 5*time.Second)...)
	}
	if w.plan.Seed%16 == 0 {
		found = append(found, check.Window(&w.history, 200*time.Millisecond)...)
	}
	for _, a := range found {
		if a.Kind == check.Undecided {
			result.Undecided++
			continue
		}
		w.fail(a.Kind, a.Detail)
	}
	if w.violation != nil || w.damaged() {
		return
	}
	if !slices.ContainsFunc(w.history.Ops, func(o check.Op) bool { return o.Outcome == check.OK }) {
		w.fail("vacuous", "no operation of any client succeeded")
	}
}
