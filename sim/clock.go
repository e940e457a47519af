package sim

import "github.com/weirmq/weir/core/model"

// clock is one machine's idea of time: a monotonic clock that runs fast or slow, and a wall clock that
// besides is off and jumps.
type clock struct {
	driftPPM, wallDriftPPM int64
	wallOffset             model.Time
}

// wallBase is the time of day when the simulation begins: 1 January 2026.
const wallBase model.Timestamp = 1_767_225_600_000

func newClock(p NodePlan) clock {
	return clock{driftPPM: p.ClockDriftPPM, wallDriftPPM: p.WallDriftPPM, wallOffset: p.WallOffset}
}

// monotonic is the node's clock at a simulated time. It never stands still or goes back.
func (c *clock) monotonic(now model.Time) model.Time {
	return now + drift(now, c.driftPPM)
}

// wait is how much simulated time passes until the node's clock has moved by d, rounded up.
func (c *clock) wait(d model.Time) model.Time {
	d = min(max(d, 0), 3600*sc)
	return d - drift(d, c.driftPPM)*1_000_000/model.Time(1_000_000+c.driftPPM) + 1
}

// wall is the node's time of day.
func (c *clock) wall(now model.Time) model.Timestamp {
	return wallBase + model.Timestamp((now+drift(now, c.wallDriftPPM)+c.wallOffset)/ms)
}

func drift(d model.Time, ppm int64) model.Time {
	return d/1_000_000*model.Time(ppm) + d%1_000_000*model.Time(ppm)/1_000_000
}
