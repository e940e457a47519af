package main

import (
	"fmt"
	"strings"

	"github.com/weirmq/weir/bench/drive"
	"github.com/weirmq/weir/bench/report"
)

// Names of figures, and their units.
const (
	recordRate    = "records"   // thousands a second
	requestRate   = "requests"  // thousands a second
	byteRate      = "MB/s"      // of record values, 1e6 bytes
	cpuPerByte    = "s/GB"      // broker CPU for each 1e9 bytes of record values
	cpuPerRecord  = "µs/record" // broker CPU, which is also seconds for a million records
	cpuPerRequest = "µs/request"
	brokerCores   = "broker cores"
	clientCores   = "client cores"
	foreignCores  = "foreign cores"
	rss           = "RSS" // MB, of the broker when the window closes
	ackP50        = "ack p50"
	ackP99        = "ack p99"
	ackP999       = "ack p99.9"
	endP50        = "e2e p50"
	endP99        = "e2e p99"
	endP999       = "e2e p99.9"
	slipP99       = "slip p99"  // ms, how late the driver was itself
	ready         = "ready"     // s, from starting the process until it says it serves
	firstAck      = "first ack" // s, from starting the process until a record is acknowledged
	idleRSS       = "idle RSS"  // MB
	perItem       = "KiB each"  // of RSS, for each partition or connection
	restart       = "restart"   // s, ready after a clean stop
	perItemAnon   = "KiB anon each"
)

// add turns a driver's counts into figures.
func (x *sample) add(r drive.Result, from, to usage, broker bool) {
	took := to.at.Sub(from.at).Seconds()
	brokerCPU, clientCPU := (to.broker - from.broker).Seconds(), (to.client - from.client).Seconds()
	f := x.Figures
	f[clientCores] = clientCPU / took
	f[foreignCores] = max(0, ((to.busy-from.busy).Seconds()-brokerCPU-clientCPU)/took)
	if r.Bytes > 0 {
		f[byteRate] = float64(r.Bytes) / r.Seconds / 1e6
	}
	if r.Records > 0 {
		f[recordRate] = float64(r.Records) / r.Seconds / 1e3
	}
	if r.Requests > 0 {
		f[requestRate] = float64(r.Requests) / r.Seconds / 1e3
	}
	if broker {
		f[brokerCores] = brokerCPU / took
		if r.Bytes > 0 {
			f[cpuPerByte] = brokerCPU / float64(r.Bytes) * 1e9
		}
		if r.Records > 0 {
			f[cpuPerRecord] = brokerCPU / float64(r.Records) * 1e6
		}
		if r.Requests > 0 {
			f[cpuPerRequest] = brokerCPU / float64(r.Requests) * 1e6
		}
	}
	latency := func(l *report.Latency, p50, p99, p999 string) {
		if l != nil {
			f[p50], f[p99], f[p999] = l.P50, l.P99, l.P999
		}
	}
	latency(r.Ack, ackP50, ackP99, ackP999)
	latency(r.EndToEnd, endP50, endP99, endP999)
	if r.Slip != nil {
		f[slipP99] = r.Slip.P99
	}
	x.Ack, x.EndToEnd = r.Ack, r.EndToEnd
}

// line is a sample for people who watch.
func (x *sample) line() string {
	if x.Failed != "" {
		return fmt.Sprintf("%s · %s: failed: %s", x.Workload, x.System, x.Failed)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s · %s:", x.Workload, x.System)
	for _, name := range []string{
		recordRate, byteRate, cpuPerByte, cpuPerRecord, cpuPerRequest, ackP50, ackP99, endP50, endP99, ready, firstAck, restart, idleRSS, perItem, foreignCores,
	} {
		if v, ok := x.Figures[name]; ok {
			fmt.Fprintf(&b, " %s %s,", report.Number(v), name)
		}
	}
	return strings.TrimSuffix(b.String(), ",")
}
