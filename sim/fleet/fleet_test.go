package fleet

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirmq/weir/sim"
)

func TestFleetRunsItsSeedsAndReportsThem(t *testing.T) {
	var progress bytes.Buffer
	r := Run(Options{First: 1, Last: 8, Mode: sim.Lite, Jobs: 2, Pairs: 4, Progress: &progress, NotVacuous: true})
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	if r.Seeds != 8 || r.Paired != 2 || !r.OK() || !strings.HasSuffix(b.String(), "verdict=ok\n") {
		t.Errorf("%+v\n%s", r, b.String())
	}
}

func TestFleetStopsAtTheFirstViolation(t *testing.T) {
	r := Run(Options{First: 1, Last: 1000, Mode: sim.Lite, StopAtFirst: true, Run: func(o sim.Options) sim.Result {
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

func TestFleetFindsThatOneSeedLeftTwoTraces(t *testing.T) {
	n := 0
	r := Run(Options{First: 5, Last: 5, Mode: sim.Lite, Pairs: 1, NotVacuous: true, Run: func(o sim.Options) sim.Result {
		n++
		return sim.Result{Seed: o.Seed, Trace: strconv.Itoa(n)}
	}})
	if r.OK() || r.Violations[0].Violation.Oracle != "replay" {
		t.Errorf("%+v", r)
	}
}

func TestFleetInWhichAnEnabledFaultNeverFiredProvesNothing(t *testing.T) {
	run := func(o sim.Options) sim.Result {
		result := sim.Result{Seed: o.Seed}
		result.Enabled[sim.FaultPower] = true
		return result
	}
	r := Run(Options{First: 1, Last: 2, Run: run})
	if r.OK() || len(r.Silent) != 1 || r.Silent[0] != sim.FaultPower {
		t.Errorf("%+v", r)
	}
	if r := Run(Options{First: 2, Last: 1}); r.OK() {
		t.Error("a fleet without seeds passed")
	}
	if r := Run(Options{First: 1, For: time.Millisecond, Run: run, NotVacuous: true}); !r.OK() || r.Seeds == 0 {
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
	r := Run(o)
	_ = r.Write(os.Stdout)
	if !r.OK() {
		t.Fail()
	}
}
