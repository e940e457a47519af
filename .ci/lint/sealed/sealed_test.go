package sealed

import (
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"
)

func TestSwitchesOverSealedSumsAreComplete(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), Analyzer, Module+"/core/broker", Module+"/node")
}
