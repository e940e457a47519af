// Package fleet runs many seeds and says what they came to.
//
// Each seed is a world of its own that shares nothing with the others, so they run side by side, and the
// order in which they finish changes nothing in any of them. Besides violations, a fleet fails when it
// proves nothing: when a kind of fault that plans asked for never took effect anywhere, when no operation
// succeeded, when a rare path that the mode must take was never taken, and when too many seeds were excused
// or left undecided.
//
//determ:allow worlds are deterministic inside; running several at once needs goroutines and a clock around them
package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/sim"
)

// Options say which seeds to run.
type Options struct {
	// First and Last are the seeds, both included. With For, seeds go on from First until time is up,
	// and Last is ignored.
	First, Last uint64
	For         time.Duration
	Mode        sim.Mode
	Jobs        int // worlds at a time; 0 is 1
	// Pairs runs every so manyth seed twice and compares the traces; 0 is never.
	Pairs uint64
	// Progress, if set, gets a line about every violation at once, and one now and then.
	Progress io.Writer
	// StopAtFirst ends the fleet at the first violation.
	StopAtFirst bool
	// NotVacuous lets a fleet pass that proves nothing. For a handful of seeds.
	NotVacuous bool
	// Run runs one world; sim.Run unless a test says otherwise.
	Run func(sim.Options) sim.Result
}

// Report is what a fleet came to.
type Report struct {
	Mode       sim.Mode
	Seeds      int
	Events     int64
	CoreEvents uint64
	Ops, OpsOK int
	Elapsed    time.Duration
	Excused    int
	Undecided  int
	Paired     int
	Violations []sim.Result // by seed
	Enabled    map[sim.Fault]int
	Fired      map[sim.Fault]int64
	FiredSeeds map[sim.Fault]int
	Marks      [effect.MarkCount]int64
	// Vacuous says why the fleet proves nothing; empty if it does prove something.
	Vacuous []string
	// Next is the seed to go on with, if the fleet was ended before its last one; else 0.
	Next uint64
	// Interrupted says why the fleet could not run: nothing was proved.
	Interrupted error

	vacuous bool // allowed to be
}

// OK reports whether every seed was run, every promise was kept and every fault was tried.
func (r *Report) OK() bool {
	return r.Interrupted == nil && r.Next == 0 && len(r.Violations) == 0 && (len(r.Vacuous) == 0 || r.vacuous)
}

// gcPercent is GOGC during a fleet, and jobBytes how much memory each job may take before the collector works harder: nine times
// what a large world of swarm has in use is more than most machines have.
const (
	gcPercent       = 800
	jobBytes  int64 = 2 << 30
)

// progressEvery is how often a fleet says that it is alive.
const progressEvery = 10 * time.Second

// runner is a fleet at work. mu guards everything below it.
type runner struct {
	o     Options
	ctx   context.Context
	start time.Time

	mu     sync.Mutex
	next   uint64
	stop   bool
	report *Report
	told   time.Time
}

// Run runs the fleet and returns when it is over. When ctx ends, no more seeds are begun.
func Run(ctx context.Context, o Options) Report {
	r := &runner{o: o, ctx: ctx, start: time.Now(), next: o.First, report: &Report{
		Mode: o.Mode, Enabled: map[sim.Fault]int{}, Fired: map[sim.Fault]int64{}, FiredSeeds: map[sim.Fault]int{}, vacuous: o.NotVacuous,
	}}
	if r.o.Run == nil {
		r.o.Run = sim.Run
	}
	if o.For == 0 && o.Last < o.First {
		r.report.Interrupted = errors.New("there are no seeds between the first and the last")
		return *r.report
	}
	r.told = r.start
	// Most worlds are small and short-lived: memory is cheaper here than collecting it, up to some for each job.
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(int64(max(1, o.Jobs)) * jobBytes))
	var workers sync.WaitGroup
	for range max(1, o.Jobs) {
		workers.Go(r.work)
	}
	workers.Wait()
	return r.finish()
}

func (r *runner) work() {
	for {
		seed, ok := r.take()
		if !ok {
			return
		}
		result := r.o.Run(sim.Options{Seed: seed, Mode: r.o.Mode})
		if r.o.Pairs > 0 && seed%r.o.Pairs == 0 {
			if again := r.o.Run(sim.Options{Seed: seed, Mode: r.o.Mode}); again.Trace != result.Trace {
				result.Violation = &sim.Violation{
					Oracle: "replay", Detail: fmt.Sprintf("the same seed ran twice and left two traces: %s and %s", result.Trace, again.Trace),
				}
			}
		}
		r.took(result)
	}
}

func (r *runner) take() (uint64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.stop, r.o.For > 0 && time.Since(r.start) >= r.o.For, r.o.For == 0 && r.next > r.o.Last:
		return 0, false
	case r.ctx.Err() != nil:
		r.report.Next = r.next
		return 0, false
	}
	r.next++
	return r.next - 1, true
}

func (r *runner) took(result sim.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.report
	p.Seeds++
	p.Events += result.Events
	p.CoreEvents += result.CoreEvents
	p.Ops += result.Ops
	p.OpsOK += result.OpsOK
	p.Undecided += result.Undecided
	if result.Excuse != "" {
		p.Excused++
	}
	if r.o.Pairs > 0 && result.Seed%r.o.Pairs == 0 {
		p.Paired++
	}
	for _, f := range sim.Faults() {
		if result.Enabled[f] {
			p.Enabled[f]++
		}
		if n := result.Fired[f]; n > 0 {
			p.Fired[f] += n
			p.FiredSeeds[f]++
		}
	}
	for m, n := range result.Marks {
		p.Marks[m] += n
	}
	if !result.OK() {
		p.Violations = append(p.Violations, result)
		r.stop = r.stop || r.o.StopAtFirst
		r.say("%s: %s", result.Line(), result.Violation.Detail)
	} else if now := time.Now(); now.Sub(r.told) >= progressEvery {
		r.told = now
		r.say("%d seeds, %d violations, %s", p.Seeds, len(p.Violations), now.Sub(r.start).Round(time.Second))
	}
}

func (r *runner) say(format string, args ...any) {
	if r.o.Progress != nil {
		// Who cannot be told loses nothing: it is all in the report.
		_, _ = fmt.Fprintf(r.o.Progress, format+"\n", args...)
	}
}

func (r *runner) finish() Report {
	p := r.report
	p.Elapsed = time.Since(r.start)
	slices.SortFunc(p.Violations, func(a, b sim.Result) int {
		switch {
		case a.Seed < b.Seed:
			return -1
		case a.Seed > b.Seed:
			return 1
		}
		return 0
	})
	if p.Next == 0 { // what was ended early need not have tried everything
		p.Vacuous = p.vacuities()
	}
	return *p
}

// What a fleet may excuse and leave undecided, of a hundred seeds. An excuse is the easiest way to make a
// simulator blind.
const (
	excusedPercentMax   = 5
	undecidedPercentMax = 1
)

func (r *Report) vacuities() []string {
	var why []string
	say := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	for _, f := range sim.Faults() {
		if r.Enabled[f] > 0 && r.Fired[f] == 0 {
			say("the fault %s was enabled in %d seeds and never took effect", f, r.Enabled[f])
		}
	}
	for _, m := range sim.MarksOf(r.Mode, r.Seeds) {
		if r.Marks[m] == 0 {
			say("the mark %s was never reached", m)
		}
	}
	if r.OpsOK == 0 {
		say("no operation of any client succeeded")
	}
	if 100*r.Excused > excusedPercentMax*r.Seeds {
		say("%d of %d seeds were excused, more than %d %%", r.Excused, r.Seeds, excusedPercentMax)
	}
	if 100*r.Undecided > undecidedPercentMax*r.Seeds {
		say("%d checks were not decided in %d seeds, more than %d %%", r.Undecided, r.Seeds, undecidedPercentMax)
	}
	return why
}

// Write prints the closing summary.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	if r.Interrupted != nil {
		fmt.Fprintf(&b, "nothing was run: %v\n", r.Interrupted)
	}
	b.WriteString("fault            enabled   fired in   times\n")
	for _, f := range sim.Faults() {
		if r.Enabled[f] > 0 || r.Fired[f] > 0 {
			fmt.Fprintf(&b, "%-16s %7d %10d %7d\n", f, r.Enabled[f], r.FiredSeeds[f], r.Fired[f])
		}
	}
	b.WriteString("\nmark                            times\n")
	for m := range effect.MarkCount {
		fmt.Fprintf(&b, "%-28s %8d\n", m, r.Marks[m])
	}
	seconds := max(r.Elapsed.Seconds(), 0.001)
	fmt.Fprintf(&b, "\nseeds=%d mode=%s events=%d core_events=%d events_per_s=%.0f seeds_per_min=%.0f ops=%d ok=%d excused=%d undecided=%d paired=%d elapsed=%s\n",
		r.Seeds, r.Mode, r.Events, r.CoreEvents, float64(r.Events)/seconds, 60*float64(r.Seeds)/seconds,
		r.Ops, r.OpsOK, r.Excused, r.Undecided, r.Paired, r.Elapsed.Round(time.Millisecond))
	for i := range r.Violations {
		v := &r.Violations[i]
		fmt.Fprintf(&b, "%s: %s\n    again: weir sim run --seed %d --mode %s\n", v.Line(), v.Violation.Detail, v.Seed, v.Mode)
	}
	for _, why := range r.Vacuous {
		b.WriteString(why + "\n")
	}
	verdict := "ok"
	switch {
	case len(r.Violations) > 0:
		verdict = "violation"
	case r.Next != 0:
		verdict = "ended"
	case !r.OK():
		verdict = "vacuous"
	}
	fmt.Fprintf(&b, "verdict=%s\n", verdict)
	_, err := io.WriteString(w, b.String())
	return err
}
