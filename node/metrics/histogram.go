package metrics

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// bucketCount is one bucket per power of two, and one for zero.
const bucketCount = 42

// secondsScale turns nanoseconds into seconds.
const secondsScale = 1e-9

// Histogram counts values by powers of two. The zero value is ready.
type Histogram struct {
	buckets [bucketCount]atomic.Int64 // buckets[i] counts values of i significant bits
	sum     atomic.Int64
}

// Observe adds a value; negative ones count as zero.
func (h *Histogram) Observe(n int64) {
	n = max(n, 0)
	h.buckets[min(bits.Len64(uint64(n)), bucketCount-1)].Add(1)
	h.sum.Add(n)
}

// ObserveTime adds a duration, in nanoseconds.
func (h *Histogram) ObserveTime(d time.Duration) { h.Observe(int64(d)) }

// Count is how many values were observed.
func (h *Histogram) Count() int64 {
	n := int64(0)
	for i := range h.buckets {
		n += h.buckets[i].Load()
	}
	return n
}

// metric is the histogram as Prometheus takes it, its values multiplied by scale. Buckets of times start
// at 16 us: nothing that is measured is faster.
func (h *Histogram) metric(d *prometheus.Desc, scale float64, labels ...string) prometheus.Metric {
	first := 0
	if scale == secondsScale {
		first = 14
	}
	buckets := make(map[float64]uint64, bucketCount)
	total := uint64(0)
	for i := range h.buckets {
		total += uint64(h.buckets[i].Load())
		if i >= first && i < bucketCount-1 {
			buckets[float64(uint64(1)<<i-1)*scale] = total
		}
	}
	return prometheus.MustNewConstHistogram(d, total, float64(h.sum.Load())*scale, buckets, labels...)
}
