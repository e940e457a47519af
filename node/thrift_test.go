package node

import "testing"

func TestMemoryIsGivenBackOnceInTheQuietAfterABurst(t *testing.T) {
	for _, c := range []struct {
		name      string
		allocated uint64  // MiB, in the first period
		events    []int64 // in each period
		want      int     // the period in which memory is given back, from 1; 0: never
	}{
		{"little was used", 31, []int64{9000, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0},
		{"a burst", 50, []int64{20000, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 6},
		{"a recovery", 50, []int64{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 5},
		{"clients that poll", 50, []int64{20000, 30, 90, 10, 30, 99, 30, 0, 10, 0}, 6},
		{"a load that goes on", 50, []int64{20000, 200, 200, 200, 200, 200, 200, 200, 200, 200}, 0},
		{"a pause that is short", 50, []int64{20000, 0, 0, 0, 200, 0, 0, 0, 0, 200}, 0},
	} {
		var th thrift
		events, got := int64(0), 0
		for period, n := range c.events {
			events += n
			if th.look(events, c.allocated<<20) {
				if got != 0 {
					t.Errorf("%s: given back in periods %d and %d", c.name, got, period+1)
				}
				got = period + 1
			}
		}
		if got != c.want {
			t.Errorf("%s: given back in period %d, want %d", c.name, got, c.want)
		}
	}
}
