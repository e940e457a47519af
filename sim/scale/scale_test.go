package scale

import (
	"reflect"
	"testing"
)

// TestAClusterComesThroughPowerLossAndTheLossOfARack runs a small cluster twice: every phase ends, and both runs are the same.
func TestAClusterComesThroughPowerLossAndTheLossOfARack(t *testing.T) {
	o := Options{Brokers: 12, Voters: 3, Racks: 3, Partitions: 120, PartitionsPerTopic: 20, ReplicationFactor: 3}
	var first *Report
	for range 2 {
		r, err := Run(o)
		if err != nil {
			t.Fatal(err)
		}
		r.HeapBytes = 0
		if first == nil {
			first = r
		}
		if !reflect.DeepEqual(r, first) {
			t.Errorf("the same run twice gives\n%+v\n%+v", first, r)
		}
	}
	if first.Pairs == 0 || len(first.Phases) != 6 {
		t.Errorf("%+v", first)
	}
}
