package sim

import (
	"os"
	"strconv"
	"testing"

	"github.com/weirmq/weir/core/model"
)

// One world may be run by hand: SIM_SEEDS=1:100 SIM_MODE=lite go test -run TestSeeds ./sim -v
func TestSeeds(t *testing.T) {
	from, to := uint64(1), uint64(20)
	mode := Lite
	if m := os.Getenv("SIM_MODE"); m != "" {
		mode = Mode(m)
	}
	if s := os.Getenv("SIM_SEEDS"); s != "" {
		var err error
		if from, err = strconv.ParseUint(s[:indexByte(s, ':')], 10, 64); err != nil {
			t.Fatal(err)
		}
		if to, err = strconv.ParseUint(s[indexByte(s, ':')+1:], 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for seed := from; seed <= to; seed++ {
		o := Options{Seed: seed, Mode: mode}
		if path := os.Getenv("SIM_TRACE"); path != "" {
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			o.Trace = f
		}
		r := Run(o)
		t.Log(r.Line(), r.CoreEvents, r.OpsOK, r.Ops)
		if !r.OK() {
			t.Errorf("%s\n%s", r.Report(), r.Plan)
		}
	}
}

// Three nodes that crash, stand still and cannot hear each other keep what they acknowledged, and agree in the end.
func TestClusterKeepsItsPromises(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, 7, 49, 85, 218, 227, 263} {
		if r := Run(Options{Seed: seed, Mode: Cluster}); !r.OK() {
			t.Errorf("%s\n%s", r.Report(), r.Plan)
		}
	}
}

func indexByte(s string, c byte) int {
	for i := range len(s) {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// The same seed leaves the same trace, in one process and whatever ran before.
func TestSameSeedLeavesTheSameTrace(t *testing.T) {
	for _, mode := range []Mode{Lite, Calm, Cluster} {
		for seed := range uint64(3) {
			a := Run(Options{Seed: seed, Mode: mode})
			b := Run(Options{Seed: seed, Mode: mode})
			if a.Line() != b.Line() {
				t.Errorf("%s\n%s", a.Line(), b.Line())
			}
		}
	}
}

// A plan that was printed and read runs as the seed does; without one of its strikes it runs otherwise.
func TestPlanRunsAsItsSeed(t *testing.T) {
	want := Run(Options{Seed: 7, Mode: Lite})
	p, err := ParsePlan(MakePlan(7, Lite).String())
	if err != nil {
		t.Fatal(err)
	}
	if got := Run(Options{Plan: p}); got.Line() != want.Line() {
		t.Errorf("%s\n%s", got.Line(), want.Line())
	}
	p.Strikes = p.Strikes[1:]
	if got := Run(Options{Plan: p}); got.Trace == want.Trace || !got.OK() {
		t.Errorf("without its first strike: %s", got.Line())
	}
}

func TestClocksDriftAndWaitAgree(t *testing.T) {
	for _, ppm := range []int64{-50_000, -1, 0, 1, 50_000} {
		c := newClock(NodePlan{ClockDriftPPM: ppm})
		for _, now := range []int64{int64(sc), 77_777_777_777} {
			for _, d := range []int64{1, 999, int64(ms), 60 * int64(sc)} {
				from := c.monotonic(model.Time(now))
				after := c.monotonic(model.Time(now) + c.wait(model.Time(d)))
				if after-from < model.Time(d)-2000 || after-from > model.Time(d)+model.Time(d)/100+2000 {
					t.Errorf("ppm %d: waiting %d passes %d", ppm, d, after-from)
				}
			}
		}
	}
}
