package chaos

import (
	"slices"
	"sync"
	"time"

	"github.com/weirmq/weir/bench/report"
)

// Gap is a time in which a partition acknowledged nothing.
type Gap struct {
	Partition int32   `json:"partition"`
	At        float64 `json:"at_s"` // when it ended
	Ms        float64 `json:"ms"`
	Fault     int     `json:"fault"` // Faults[Fault-1]; 0: before the first
}

// gaps watches the acknowledgements.
type gaps struct {
	zero    time.Time
	latency *report.Histogram

	mu     sync.Mutex
	last   []time.Time // acknowledgement, by partition
	ended  time.Time   // when the last record was sent; zero while records are sent
	fault  int         // that began last
	worst  time.Duration
	byOne  map[int]time.Duration // the worst of each fault
	longer []Gap                 // the longest, of those that a person would notice
}

const (
	gapNoticed  = 200 * time.Millisecond
	gapsKeptMax = 5000
	gapsShown   = 20
)

func newGaps(partitions int) *gaps {
	g := &gaps{zero: time.Now(), latency: report.NewHistogram(), byOne: map[int]time.Duration{}}
	for range partitions {
		g.last = append(g.last, g.zero)
	}
	return g
}

// begin is called when the load begins.
func (g *gaps) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.zero = time.Now()
	for p := range g.last {
		g.last[p] = g.zero
	}
}

// end is called when no more records are sent.
func (g *gaps) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = time.Now()
}

// begun says that a fault begins.
func (g *gaps) begun(fault int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault = fault
}

// lastFault is the fault that began last; 0: none has.
func (g *gaps) lastFault() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fault
}

// acked takes in an acknowledgement of a record that was due at some time.
func (g *gaps) acked(p int32, due time.Time) {
	now := time.Now()
	g.latency.Record(now.Sub(due))
	g.mu.Lock()
	defer g.mu.Unlock()
	gap := now.Sub(g.last[p])
	g.last[p] = now
	g.worst = max(g.worst, gap)
	g.byOne[g.fault] = max(g.byOne[g.fault], gap)
	if gap >= gapNoticed && len(g.longer) < gapsKeptMax {
		g.longer = append(g.longer, Gap{Partition: p, At: now.Sub(g.zero).Seconds(), Ms: ms(gap), Fault: g.fault})
	}
}

// worstNow is the longest gap, those included that last.
func (g *gaps) worstNow() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	worst, now := g.worst, time.Now()
	if !g.ended.IsZero() {
		now = g.ended
	}
	for _, last := range g.last {
		worst = max(worst, now.Sub(last))
	}
	return worst
}

// silent is the partition that has been silent for longest.
func (g *gaps) silent() (p int32, since time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, last := range g.last {
		if d := time.Since(last); d > since {
			p, since = int32(i), d
		}
	}
	return p, since
}

// silentSince is a partition that has acknowledged nothing since then, if there is one.
func (g *gaps) silentSince(then time.Time) (p int32, found bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, last := range g.last {
		if !last.After(then) {
			return int32(i), true
		}
	}
	return 0, false
}

// of is the worst gap of a fault.
func (g *gaps) of(fault int) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byOne[fault]
}

// longest are the longest gaps.
func (g *gaps) longest() []Gap {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := slices.SortedFunc(slices.Values(g.longer), func(a, b Gap) int {
		switch {
		case a.Ms > b.Ms:
			return -1
		case a.Ms < b.Ms:
			return 1
		}
		return 0
	})
	return all[:min(len(all), gapsShown)]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
