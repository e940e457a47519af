package coord

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/model"
)

// TestTimersAreDueInOrder holds the heap against a list: what is due is the earliest, and of equals the first set.
func TestTimersAreDueInOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		type want struct {
			at  model.Time
			set int
		}
		var ts Timers[int]
		timers := make([]Timer[int], 8)
		for i := range timers {
			timers[i].Owner = i
		}
		model8 := map[int]want{}
		first := func() (best int) {
			best = -1
			for i := range timers {
				w, ok := model8[i]
				if b := model8[best]; ok && (best < 0 || w.at < b.at || w.at == b.at && w.set < b.set) {
					best = i
				}
			}
			return best
		}
		for step := range rapid.IntRange(1, 60).Draw(r, "steps") {
			i := rapid.IntRange(0, len(timers)-1).Draw(r, "timer")
			switch rapid.IntRange(0, 3).Draw(r, "verb") {
			case 0, 1:
				at := model.Time(rapid.IntRange(1, 10).Draw(r, "at"))
				ts.Set(&timers[i], at)
				model8[i] = want{at, step}
			case 2:
				ts.Stop(&timers[i])
				delete(model8, i)
			case 3:
				now := model.Time(rapid.IntRange(1, 10).Draw(r, "now"))
				best := first()
				got := ts.Due(now)
				if best < 0 || model8[best].at > now {
					if got != nil {
						r.Fatalf("timer %d is due at %d, and was set for %d", got.Owner, now, got.At())
					}
					continue
				}
				if got == nil || got.Owner != best || got.IsSet() {
					r.Fatalf("at %d %+v is due, want timer %d", now, got, best)
				}
				delete(model8, best)
			}
			if err := ts.Check(); err != nil {
				r.Fatal(err)
			}
			if ts.Len() != len(model8) || timers[i].IsSet() != (model8[i] != want{}) {
				r.Fatalf("%d timers run, want %d", ts.Len(), len(model8))
			}
			if best := first(); best < 0 && ts.Deadline() != 0 || best >= 0 && ts.Deadline() != model8[best].at {
				r.Fatalf("the deadline is %d", ts.Deadline())
			}
		}
	})
}

func TestStoppingATimerThatDoesNotRunIsNothing(t *testing.T) {
	var ts Timers[string]
	var one Timer[string]
	ts.Stop(&one)
	ts.Set(&one, 5)
	ts.Stop(&one)
	ts.Stop(&one)
	if ts.Len() != 0 || ts.Deadline() != 0 || ts.Due(100) != nil {
		t.Error("something is left")
	}
}
