package openloop_test

import (
	"testing"
	"time"

	"github.com/weirmq/weir/bench/openloop"
)

// A sender that stalls is behind afterwards, and what was due meanwhile keeps its due times: nothing is omitted.
func TestAStallOmitsNothing(t *testing.T) {
	const interval = 100 * time.Microsecond
	begin := time.Now()
	var dues []time.Duration
	err := openloop.Pace(begin, interval, func(due time.Time) bool {
		if len(dues) == 10 {
			time.Sleep(20 * time.Millisecond)
		}
		if late := time.Since(due); late < 0 {
			t.Errorf("sent %v early", -late)
		}
		dues = append(dues, due.Sub(begin))
		return len(dues) < 400
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, due := range dues {
		if due != time.Duration(i)*interval {
			t.Fatalf("thing %d was due at %v", i, due)
		}
	}
	if took := time.Since(begin); took < 399*interval {
		t.Errorf("400 things took %v", took)
	}
}
