package fleet

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/sim"
)

func TestFleetRunsItsSeedsAndReportsThem(t *testing.T) {
	var progress bytes.Buffer
	r := Run(t.Context(), Options{First: 1, Last: 8, Mode: sim.Lite, Jobs: 2, Pairs: 4, Progress: &progress, NotVacuous: true})
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	if r.Seeds != 8 || r.Paired != 2 || !r.OK() || !strings.HasSuffix(b.String(), "verdict=ok\n") {
		t.Errorf("%+v\n%s", r, b.String())
	}
}

func TestFleetStopsAtTheFirstViolation(t *testing.T) {
	r := Run(t.Context(), Options{First: 1, Last: 1000, Mode: sim.Lite, StopAtFirst: true, Run: func(o sim.Options) sim.Result {
		result := sim.Result{Seed: o.Seed, Mode: o.Mode}
		if o.Seed == 3 {
			result.Violation = &sim.Violation{Oracle: "lost", Detail: "planted"}
		}
		return result
	}})
	var b strings.Builder
	_ = r.Write(&b)
	if r.Seeds != 3 || r.OK() || !strings.Contains(b.String(), "weir sim run --seed 3 --mode lite") || !strings.Contains(b.String(), "verdict=violation") {
		t.Errorf("%s", b.String())
	}
}

func TestFleetThatIsEndedSaysWhereToGoOn(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	r := Run(ctx, Options{First: 1, Last: 1000, Mode: sim.Lite, Jobs: 1, NotVacuous: true, Run: func(o sim.Options) sim.Result {
		if o.Seed == 7 {
			end()
		}
		return sim.Result{Seed: o.Seed, OpsOK: 1}
	}})
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	if r.Seeds != 7 || r.Next != 8 || r.OK() || !strings.Contains(b.String(), "verdict=ended") {
		t.Errorf("%d seeds, next %d\n%s", r.Seeds, r.Next, b.String())
	}
	if r := Run(ctx, Options{First: 1, Last: 1, Mode: sim.Lite}); r.OK() || r.Next != 1 {
		t.Error("nothing was run")
	}
}

func TestFleetFindsThatOneSeedLeftTwoTraces(t *testing.T) {
	n := 0
	r := Run(t.Context(), Options{First: 5, Last: 5, Mode: sim.Lite, Pairs: 1, NotVacuous: true, Run: func(o sim.Options) sim.Result {
		n++
		return sim.Result{Seed: o.Seed, Trace: strconv.Itoa(n)}
	}})
	if r.OK() || r.Violations[0].Violation.Oracle != "replay" {
		t.Errorf("%+v", r)
	}
}

// sound is a result that a fleet has nothing to say against.
func sound(o sim.Options) sim.Result {
	r := sim.Result{Seed: o.Seed, Mode: o.Mode, OpsOK: 1}
	for m := range r.Marks {
		r.Marks[m] = 1
	}
	return r
}

func TestFleetThatProvesNothingFails(t *testing.T) {
	for _, test := range []struct {
		why   string
		spoil func(*sim.Result)
	}{
		{"", func(*sim.Result) {}},
		{"the fault power was enabled in 100 seeds and never took effect", func(r *sim.Result) { r.Enabled[sim.FaultPower] = true }},
		{"the mark fetch.parked was never reached", func(r *sim.Result) { r.Marks[effect.MarkFetchParked] = 0 }},
		{"no operation of any client succeeded", func(r *sim.Result) { r.OpsOK = 0 }},
		{"", func(r *sim.Result) {
			if r.Seed <= 5 {
				r.Excuse = "damage"
			}
		}},
		{"6 of 100 seeds were excused, more than 5 %", func(r *sim.Result) {
			if r.Seed <= 6 {
				r.Excuse = "damage"
			}
		}},
		{"2 checks were not decided in 100 seeds, more than 1 %", func(r *sim.Result) {
			if r.Seed <= 2 {
				r.Undecided = 1
			}
		}},
	} {
		o := Options{First: 1, Last: 100, Mode: sim.Lite, Run: func(o sim.Options) sim.Result {
			r := sound(o)
			test.spoil(&r)
			return r
		}}
		r := Run(t.Context(), o)
		if got := strings.Join(r.Vacuous, "; "); got != test.why || r.OK() != (test.why == "") {
			t.Errorf("ok %v: %q instead of %q", r.OK(), got, test.why)
		}
		var b strings.Builder
		if err := r.Write(&b); err != nil || test.why != "" && !strings.HasSuffix(b.String(), test.why+"\nverdict=vacuous\n") {
			t.Errorf("%v\n%s", err, b.String())
		}
		o.NotVacuous = true
		if r := Run(t.Context(), o); !r.OK() {
			t.Errorf("a few seeds may prove nothing: %+v", r)
		}
	}
	if r := Run(t.Context(), Options{First: 2, Last: 1}); r.OK() {
		t.Error("a fleet without seeds passed")
	}
	if r := Run(t.Context(), Options{First: 1, For: time.Millisecond, Run: sound}); !r.OK() || r.Seeds == 0 {
		t.Errorf("%+v", r)
	}
}

// A longer fleet by hand: FLEET_SEEDS=1:1000 FLEET_MODE=lite go test -run ByHand ./sim/fleet -v
func TestFleetByHand(t *testing.T) {
	seeds := os.Getenv("FLEET_SEEDS")
	if seeds == "" {
		t.Skip("FLEET_SEEDS is not set")
	}
	from, to, _ := strings.Cut(seeds, ":")
	o := Options{Mode: sim.Lite, Jobs: 2, Pairs: 50, Progress: os.Stderr}
	if m := os.Getenv("FLEET_MODE"); m != "" {
		o.Mode = sim.Mode(m)
	}
	var err1, err2 error
	o.First, err1 = strconv.ParseUint(from, 10, 64)
	o.Last, err2 = strconv.ParseUint(to, 10, 64)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	r := Run(t.Context(), o)
	_ = r.Write(os.Stdout)
	if !r.OK() {
		t.Fail()
	}
}
