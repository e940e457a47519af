package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weirmq/weir/core/protocol"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestScrapeShowsWhatWasCounted(t *testing.T) {
	m := New("1.2.3", func() Holdings { return Holdings{Partitions: 7, OfflinePartitions: 1} })
	m.Requests[protocol.KeyProduce].Add(3)
	m.RequestSeconds[protocol.KeyProduce].ObserveTime(time.Millisecond)
	m.CountProduceError(56)
	m.CountFetchError(-1)
	m.CountFetchError(32000) // no such code: not counted, and no panic
	m.BytesIn.Add(1000)
	m.Notes[1].Add(1)
	m.Marks[0].Add(2)
	m.SyncSeconds.ObserveTime(100 * time.Microsecond)
	m.SyncSeconds.ObserveTime(3 * time.Hour)

	text := scrape(t, m)
	for _, want := range []string{
		`kafka_network_requestmetrics_requests_total{request="Produce"} 3`,
		`kafka_network_requestmetrics_errors_total{error="56",request="Produce"} 1`,
		`kafka_network_requestmetrics_errors_total{error="-1",request="Fetch"} 1`,
		`kafka_server_brokertopicmetrics_bytesin_total 1000`,
		`kafka_server_replicamanager_partitioncount 7`,
		`kafka_server_replicamanager_offlinereplicacount 1`,
		`weir_notes_total{note="topic_created"} 1`,
		`weir_notes_total{note="disk_full"} 0`, // its first time must be a rise
		`weir_rare_paths_total{path="produce.duplicate"} 2`,
		`weir_journal_sync_seconds_count 2`,
		`weir_journal_sync_seconds_bucket{le="+Inf"} 2`,
		`weir_build_info{version="1.2.3"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestHistogramBucketsHoldWhatTheySay(t *testing.T) {
	var h Histogram
	for _, n := range []int64{-5, 0, 1, 2, 3, 4, 1 << 60} {
		h.Observe(n)
	}
	d := prometheus.NewDesc("x", "x", nil, nil)
	text := scrapeOne(t, h.metric(d, 1))
	for _, want := range []string{`x_bucket{le="0"} 2`, `x_bucket{le="1"} 3`, `x_bucket{le="3"} 5`, `x_bucket{le="7"} 6`, `x_count 7`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

type one struct{ prometheus.Metric }

func (o one) Describe(chan<- *prometheus.Desc)     {}
func (o one) Collect(out chan<- prometheus.Metric) { out <- o.Metric }
func scrapeOne(t *testing.T, m prometheus.Metric) string {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(one{m})
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func TestCountingAllocatesNothing(t *testing.T) {
	m := New("", func() Holdings { return Holdings{} })
	n := testing.AllocsPerRun(100, func() {
		m.Requests[0].Add(1)
		m.RequestSeconds[0].Observe(12345)
		m.CountProduceError(3)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
