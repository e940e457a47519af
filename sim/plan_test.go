package sim

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPlanSurvivesItsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mode := rapid.SampledFrom(Modes()).Draw(t, "mode")
		p := MakePlan(rapid.Uint64().Draw(t, "seed"), mode)
		text := p.String()
		q, err := ParsePlan(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if q.String() != text {
			t.Fatalf("read back as\n%s\nwas\n%s", q, text)
		}
	})
}

func TestPlanThatMakesNoSenseIsRefused(t *testing.T) {
	good := MakePlan(1, Lite).String()
	for _, edit := range [][2]string{
		{planHeader, "another header"},
		{"mode=lite", "mode=nonsense"},
		{"run ", "walk "},
		{"seed=", "sead="},
		{"until=2s", "until=-2s"},
		{"until=2s", "until=1000h"},
		{"until=2s", "until=soon"},
		{"node id=1", "node id=1\nnode id=2"},
	} {
		bad := strings.Replace(good, edit[0], edit[1], 1)
		if bad == good {
			t.Fatalf("%q is not in the plan", edit[0])
		}
		if _, err := ParsePlan(bad); err == nil {
			t.Errorf("%q was taken for a plan", edit[1])
		}
	}
	for _, line := range []string{"strike id=1 kind=torn-page at=1s", "strike id=1 kind=earthquake", "strike id=1 kind=reset percent=101", "load id=9 kind=log"} {
		if _, err := ParsePlan(good + line + "\n"); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
	if _, err := ParsePlan("# a comment\n\n" + good); err != nil {
		t.Error(err)
	}
}

// Every kind of fault is in some plans and absent from others.
func TestPlansMixTheirFaults(t *testing.T) {
	if MakePlan(5, Calm).Strikes != nil {
		t.Error("a calm plan has faults")
	}
	for _, mode := range []Mode{Lite, Cluster} {
		struck := map[Fault]int{}
		for seed := range uint64(200) {
			p := MakePlan(seed, mode)
			if err := p.validate(); err != nil {
				t.Fatal(err)
			}
			for f := FaultNone + 1; f < faultCount; f++ {
				if p.Has(f) {
					struck[f]++
				}
			}
		}
		for f := FaultNone + 1; f < faultCount; f++ {
			n := struck[f]
			if slices.Contains(ofSeveral, f) && mode != Cluster {
				if n > 0 {
					t.Errorf("%s is in %d plans of mode %s", f, n, mode)
				}
				continue
			}
			if n < 10 || n > 190 && f != FaultClockRate {
				t.Errorf("%s is in %d of 200 plans of mode %s", f, n, mode)
			}
		}
	}
}

// ofSeveral are the faults that one node alone does not have.
var ofSeveral = []Fault{FaultPartition, FaultOneWay, FaultSlowNode, FaultWipe, FaultWipeMore, FaultFar, FaultVoters, FaultNear, FaultUnclean, FaultSurge, FaultZeroed, FaultShortened, FaultRemoved}

func TestDisksAreLostWhereVotersChangeOnlyWhenEverythingIsInSync(t *testing.T) {
	lost := 0
	for seed := range uint64(400) {
		p := MakePlan(seed, Cluster)
		for _, s := range p.Strikes {
			if s.Kind != FaultWipe || !p.has("voters") {
				continue
			}
			if lost++; !s.Whole {
				t.Errorf("seed %d: node %d loses its disk, whoever votes then", seed, s.Node)
			}
		}
	}
	if lost == 0 {
		t.Error("no plan has it")
	}
}

func TestDisksAreDamagedWhereVotersChange(t *testing.T) {
	for seed := range uint64(400) {
		p := MakePlan(seed, Cluster)
		if p.has("voters") && slices.ContainsFunc(p.Strikes, func(s Strike) bool { return len(s.harms()) > 0 }) {
			return
		}
	}
	t.Error("no plan has it")
}
