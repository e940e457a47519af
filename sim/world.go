package sim

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
	"github.com/weirmq/weir/sim/check"
	"github.com/weirmq/weir/sim/draw"
	"github.com/weirmq/weir/sim/workload"
)

// world is one run: the time, what will happen, and everything it happens to. It shares nothing with
// other worlds, so many can run side by side.
type world struct {
	plan  *Plan
	root  draw.Seed
	now   model.Time
	heap  eventHeap
	seq   uint64
	trace *trace

	events     int64  // of the heap
	carried    int64  // bytes, by connections
	coreEvents uint64 // inputs of the core's machines: sessions, brokers, engines, clients
	checkEvery uint64 // so many steps of a broker between deep checks
	fired      [faultCount]int64
	marks      [effect.MarkCount]int64
	violation  *Violation

	net   *network
	nodes []*node
	hosts []*host
	loads []*workload.Load

	// producers are the ids given out so far: none is ever given to a second one.
	producers map[model.ProducerID]bool

	history check.History
	leaders leaders
	term    quorum.Term // the greatest that any voter has known
	settled bool
	final   *final

	beganAnew map[model.TopicPartition]model.Offset // where replicas began with an empty log, the greatest
}

// Violation is a broken promise.
type Violation struct {
	Oracle string // which check found it: invariant, panic, log.lost, ...
	Detail string
	At     model.Time
	Event  int64
	Stack  []string // for panics: the frames in the core, innermost first
	Trace  []string // the last lines before it
}

// epoch is when simulated time begins, so that no time is the 0 that deadlines use for none.
const epoch = sc

func newWorld(plan *Plan, t *trace) *world {
	w := &world{plan: plan, root: draw.Seed(plan.Seed), now: epoch, trace: t, checkEvery: 64, producers: map[model.ProducerID]bool{}, beganAnew: map[model.TopicPartition]model.Offset{}}
	w.net = newNetwork(w, plan.Net)
	return w
}

// at schedules something; a time that has passed means now, after what is scheduled for now already.
func (w *world) at(t model.Time, do func()) {
	w.seq++
	w.heap.push(event{at: max(t, w.now), seq: w.seq, do: do})
}

func (w *world) after(d model.Time, do func()) { w.at(w.now+d, do) }

// fire counts a fault that took effect.
func (w *world) fire(f Fault) { w.fired[f]++ }

// step lets the next thing happen. It reports false when nothing is left or the run is over.
func (w *world) step() bool {
	if len(w.heap) == 0 || w.violation != nil {
		return false
	}
	e := w.heap.pop()
	w.now = e.at
	w.events++
	if w.events > w.plan.EventsMax {
		w.fail("events", fmt.Sprintf("more than %d events: something goes round in circles", w.plan.EventsMax))
		return false
	}
	w.guard(e.do)
	return w.violation == nil
}

// eventBytesMax is how many bytes connections may carry for each of the events that a plan allows. Seeds that pass carry a tenth of what
// theirs allow at most: it ends worlds that send the same megabyte to and fro before they have come to their last event, hours later.
const eventBytesMax = 400

// carry counts bytes that arrive.
func (w *world) carry(bytes int) {
	w.carried += int64(bytes)
	if w.carried > w.plan.EventsMax*eventBytesMax {
		w.fail("events", fmt.Sprintf("connections carried more than %d bytes: something goes round in circles", w.plan.EventsMax*eventBytesMax))
	}
}

// guard runs code of the core and turns its panics into violations.
func (w *world) guard(do func()) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case invariant.Violation:
			w.fail("invariant", r.Message)
			w.violation.Stack = coreFrames(string(debug.Stack()))
		default:
			w.fail("panic", fmt.Sprint(r))
			w.violation.Stack = coreFrames(string(debug.Stack()))
		}
	}()
	do()
}

// fail records the first violation; what follows from it is noise.
func (w *world) fail(oracle, detail string) {
	if w.violation != nil {
		return
	}
	w.trace.add(w.now, 0, "violation", 0, 0, 0, oracle+": "+detail)
	w.violation = &Violation{Oracle: oracle, Detail: detail, At: w.now, Event: w.events, Trace: w.trace.tail(60)}
}

// coreFrames picks the functions of a stack that belong to weir, without addresses.
func coreFrames(stack string) []string {
	var frames []string
	panicked := false
	for line := range strings.SplitSeq(stack, "\n") {
		if strings.HasPrefix(line, "panic(") {
			panicked = true
			continue
		}
		if !panicked || strings.HasPrefix(line, "\t") || !strings.Contains(line, "weirmq/weir/") {
			continue
		}
		name, _, _ := strings.Cut(line[strings.LastIndex(line, "weirmq/weir/")+len("weirmq/weir/"):], "(0x")
		name = strings.TrimSuffix(strings.TrimSuffix(name, "(...)"), "({...})")
		if strings.HasPrefix(name, "core/invariant.") {
			continue
		}
		frames = append(frames, name)
		if len(frames) == 12 {
			break
		}
	}
	return frames
}
