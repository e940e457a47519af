package report

import (
	"math"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is a distribution of times, in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	P9999 float64 `json:"p9999_ms"`
	Max   float64 `json:"max_ms"`
	Mean  float64 `json:"mean_ms"`
	// Curve is the whole distribution: X is 1/(1-q) of the quantile q (so 10, 100 and 1000 are p90, p99
	// and p99.9), Y milliseconds.
	Curve []Point `json:"curve,omitempty"`
}

// Histogram counts durations from a microsecond up to two minutes, to three digits. It may be used from
// any goroutine.
type Histogram struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

// latencyMax is what longer times are counted as: a run that shows it has failed.
const latencyMax = 2 * time.Minute

// NewHistogram is an empty histogram.
func NewHistogram() *Histogram {
	return &Histogram{h: hdrhistogram.New(1, latencyMax.Microseconds(), 3)}
}

// Record counts one duration.
func (h *Histogram) Record(d time.Duration) {
	us := min(max(1, d.Microseconds()), latencyMax.Microseconds())
	h.mu.Lock()
	_ = h.h.RecordValue(us) // in range
	h.mu.Unlock()
}

// Merge adds another histogram's counts.
func (h *Histogram) Merge(other *Histogram) {
	other.mu.Lock()
	defer other.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Merge(other.h)
}

// Count is how many durations were recorded.
func (h *Histogram) Count() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.h.TotalCount()
}

// Reset forgets everything.
func (h *Histogram) Reset() {
	h.mu.Lock()
	h.h.Reset()
	h.mu.Unlock()
}

// Latency is the distribution so far, nil if nothing was recorded.
func (h *Histogram) Latency() *Latency {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.h.TotalCount()
	if n == 0 {
		return nil
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	at := func(q float64) float64 { return ms(h.h.ValueAtQuantile(q)) }
	l := &Latency{
		Count: n, P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), P9999: at(99.99),
		Max: ms(h.h.Max()), Mean: h.h.Mean() / 1000,
	}
	// Four points for each factor of two, up to the last quantile that the count can tell.
	for x := 1.0; x <= float64(n); x *= math.Pow(2, 0.25) {
		l.Curve = append(l.Curve, Point{X: x, Y: at(100 * (1 - 1/x))})
	}
	l.Curve = append(l.Curve, Point{X: float64(n), Y: l.Max})
	return l
}
