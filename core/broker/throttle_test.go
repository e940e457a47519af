package broker

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/model"
)

// However much comes at a time, what has come by the time that more may be asked for is no more than the rate allows; and
// it is not much less.
func TestAThrottleKeepsItsRate(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var throttle throttle
		rate := int64(rapid.IntRange(1, 1<<40).Draw(r, "rate"))
		begin := model.Time(rapid.Int64Range(0, 1<<60).Draw(r, "begin"))
		now, taken := begin, int64(0)
		for range rapid.IntRange(1, 30).Draw(r, "turns") {
			n := rapid.IntRange(1, 10<<20).Draw(r, "bytes")
			throttle.take(n, rate, now)
			taken += int64(n)
			if until := throttle.until(rate, now); until != 0 {
				if until <= now {
					r.Fatalf("%d bytes at %d a second may be asked for at %d, and it is %d", n, rate, until, now)
				}
				now = until
			}
			if owed := throttle.owed(rate, now); owed > rate/1e6+1 {
				r.Fatalf("it is time, and %d bytes are owed at %d a second", owed, rate)
			}
			now += model.Time(rapid.IntRange(0, 1_000_000).Draw(r, "pause"))
		}
		seconds := float64(now-begin) / 1e9
		if allowed := seconds*float64(rate) + float64(rate)*1e-4 + 100; float64(taken) > allowed {
			r.Fatalf("%d bytes in %f s at %d a second", taken, seconds, rate)
		}
	})
}

func TestThrottledReplicasAreNamed(t *testing.T) {
	for list, want := range map[string]bool{
		"": false, "*": true, "3:7": true, "1:1,3:7": true, "1:1, 3:7": true, "3:70": false, "13:7": false, "7:3": false,
	} {
		if got := throttledBy(list, 3, 7); got != want {
			t.Errorf("%q names partition 3 on node 7: %t", list, got)
		}
	}
}
