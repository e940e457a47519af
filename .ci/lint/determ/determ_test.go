package determ

import (
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"
)

func TestEveryRuleFindsItsPlantedViolations(t *testing.T) {
	found := map[Rule]bool{}
	for _, r := range analysistest.Run(t, analysistest.TestData(), Analyzer, Module+"/core/planted") {
		for _, d := range r.Diagnostics {
			found[Rule(d.Category)] = true
		}
	}
	for rule := range Rules {
		if !found[rule] {
			t.Errorf("no violation of %s is planted", rule)
		}
	}
}

func TestSimObeysItsSubset(t *testing.T) {
	found := map[Rule]bool{}
	for _, r := range analysistest.Run(t, analysistest.TestData(), Analyzer, Module+"/sim/planted") {
		for _, d := range r.Diagnostics {
			found[Rule(d.Category)] = true
		}
	}
	for rule, inSim := range Rules {
		if found[rule] != inSim {
			t.Errorf("%s: found in sim %v, want %v", rule, found[rule], inSim)
		}
	}
}

func TestPermittedFormsPass(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), Analyzer,
		Module+"/core/clean", Module+"/core/generator", Module+"/node/free", Module+"/sim/runner")
}

func TestWholeFileOfCoreCannotBeExcused(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), Analyzer, Module+"/core/badfile")
}
