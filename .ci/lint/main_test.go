package main

import (
	"testing"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/weirmq/weir/lint/determ"
)

// The analyzers of others are theirs to test; here it is that they run, and are excused only as agreed.
func TestForeignAnalyzersRunAndAreExcusable(t *testing.T) {
	configure()
	want := map[string]bool{"errcheck": true, "exhaustive": true, "nilness": true, "U1000": true, "SA4006": true, "ST1005": true}
	var chosen []*analysis.Analyzer
	for _, a := range foreign() {
		if want[a.Name] {
			chosen = append(chosen, excusable(a))
		}
	}
	if len(chosen) != len(want) {
		t.Fatalf("%d of %d analyzers are there", len(chosen), len(want))
	}
	analysistest.Run(t, analysistest.TestData(), together(chosen), determ.Module+"/foreign")
}

// together is one analyzer that runs all, because analysistest compares one analyzer's findings.
func together(all []*analysis.Analyzer) *analysis.Analyzer {
	one := &analysis.Analyzer{Name: "together", Doc: "several analyzers as one"}
	for _, a := range all {
		one.Requires = append(one.Requires, a.Requires...)
		one.FactTypes = append(one.FactTypes, a.FactTypes...)
	}
	one.Run = func(pass *analysis.Pass) (any, error) {
		for _, a := range all {
			if _, err := a.Run(pass); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	return one
}
