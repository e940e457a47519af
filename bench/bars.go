package main

import (
	"fmt"
	"strings"

	"github.com/weirmq/weir/bench/report"
)

// bar is something that the figures must come to: one row of the table of bars.
type bar struct {
	id, what string
	must     float64
	atMost   bool // rather than at least
	unit     string
	stretch  float64 // where we would be proud; 0: not said
	value    func(r *results) (float64, error)
	note     string
}

// results is every sample of a run, by cell.
type results struct {
	header
	order   []string // workloads, as first seen
	systems map[string][]string
	samples map[string][]sample
}

func gather(h header, samples []sample) *results {
	r := &results{header: h, systems: map[string][]string{}, samples: map[string][]sample{}}
	for _, x := range samples {
		key := x.Workload + "\x00" + x.System
		if r.systems[x.Workload] == nil {
			r.order = append(r.order, x.Workload)
		}
		if r.samples[key] == nil {
			r.systems[x.Workload] = append(r.systems[x.Workload], x.System)
		}
		r.samples[key] = append(r.samples[key], x)
	}
	return r
}

// of is a cell's samples that did not fail.
func (r *results) of(workload, system string) []sample {
	var out []sample
	for _, x := range r.samples[workload+"\x00"+system] {
		if x.Failed == "" {
			out = append(out, x)
		}
	}
	return out
}

// median is a figure's median over a cell's samples.
func (r *results) median(workload, system, figure string) (float64, error) {
	var vs []float64
	for _, x := range r.of(workload, system) {
		if v, ok := x.Figures[figure]; ok {
			vs = append(vs, v)
		}
	}
	if len(vs) == 0 {
		return 0, fmt.Errorf("%s · %s was not measured", workload, system)
	}
	return middle(vs), nil
}

// find is the workload whose name begins so: sizes differ in quick runs.
func (r *results) find(prefix string) string {
	for _, w := range r.order {
		if strings.HasPrefix(w, prefix) {
			return w
		}
	}
	return prefix
}

// ref names a figure of a cell.
type ref struct{ workload, system, figure string }

func (r *results) at(f ref) (float64, error) { return r.median(r.find(f.workload), f.system, f.figure) }

// ratio divides one figure by another, or by several added up.
func ratio(above ref, below ...ref) func(*results) (float64, error) {
	return func(r *results) (float64, error) {
		a, err := r.at(above)
		if err != nil {
			return 0, err
		}
		sum := 0.0
		for _, f := range below {
			b, err := r.at(f)
			if err != nil {
				return 0, err
			}
			sum += b
		}
		if sum == 0 {
			return 0, fmt.Errorf("%s · %s: %s is 0", below[0].workload, below[0].system, below[0].figure)
		}
		return a / sum, nil
	}
}

func plain(f ref, times float64) func(*results) (float64, error) {
	return func(r *results) (float64, error) {
		v, err := r.at(f)
		return v * times, err
	}
}

// bars are the single-node bars of the design and the goals it refers to.
func bars() []bar {
	var bs []bar
	for _, value := range []int{100, 1024} {
		for _, batch := range []int{kib16, mib} {
			w := "produce raw " + sizes(value, batch)
			bs = append(bs,
				bar{
					id: "design", what: w + ": MB per broker CPU second, of Kafka's", must: 2, unit: "×",
					value: ratio(ref{w, "kafka", cpuPerByte}, ref{w, "weir", cpuPerByte}),
				},
				bar{
					id: "design", what: w + ": throughput, of Kafka's (which does not sync)", must: 2, unit: "×",
					value: ratio(ref{w, "weir", byteRate}, ref{w, "kafka", byteRate}),
				},
				bar{
					id: "design", what: w + ": throughput, of Kafka's with flush.messages=1", must: 10, unit: "×",
					value: ratio(ref{w, "weir", byteRate}, ref{w, "kafka, sync", byteRate}),
				},
				bar{
					id: "design", what: w + ": MB per broker CPU second, of Kafka's with flush.messages=1", must: 10, unit: "×",
					value: ratio(ref{w, "kafka, sync", cpuPerByte}, ref{w, "weir", cpuPerByte}),
				})
		}
	}
	for _, w := range []string{"consume raw " + sizes(1024, kib16), "consume raw " + sizes(1024, mib)} {
		bs = append(bs, bar{
			id: "design", what: w + ": MB per broker CPU second, of Kafka's", must: 2, unit: "×",
			value: ratio(ref{w, "kafka", cpuPerByte}, ref{w, "weir", cpuPerByte}),
		})
	}
	many := "0 idle partitions" // 10,000, or fewer in a quick run
	partitions := func(f string, times float64) func(*results) (float64, error) {
		return func(r *results) (float64, error) {
			for _, w := range r.order {
				if strings.HasSuffix(w, many) && !strings.HasPrefix(w, "poll") {
					return plain(ref{w, "weir", f}, times)(r)
				}
			}
			return 0, fmt.Errorf("idle partitions were not measured")
		}
	}
	one, thousand, tenThousand := "partitions 1, raw", "partitions 1000, raw", "partitions 10000, raw"
	small, large := "produce raw "+sizes(1024, kib16), "produce raw "+sizes(1024, mib)
	hundred := "produce franz-go " + sizes(100, mib)
	rd := "produce librdkafka " + sizes(100, mib)
	lat := "latency 100 B"
	sync4 := "bare 4 KiB overwrite"
	return append(bs, []bar{
		{id: "design", what: "idle node, RSS", must: 60, atMost: true, unit: "MB", value: plain(ref{"start empty", "weir", idleRSS}, 1)},
		{
			id: "design, G15", what: "an idle partition, RSS", must: 4, stretch: 1, atMost: true, unit: "KiB", value: partitions(perItem, 1),
			note: "growth of the node that created them",
		},
		{id: "design", what: "a node that starts with 10,000 partitions, RSS", must: 200, atMost: true, unit: "MB", value: partitions(idleRSS, 1)},
		{
			id: "design", what: "start to first acked record, empty", must: 0.1, atMost: true, unit: "s", value: plain(ref{"start empty", "weir", firstAck}, 1),
			note: "includes creating the topic",
		},
		{
			id: "design", what: "start to first acked record after kill -9", must: 2, atMost: true, unit: "s",
			value: plain(ref{"start after kill -9", "weir", firstAck}, 1), note: "the log's size is in the workload's name; the bar is for 100 GB",
		},
		{
			id: "design, G19", what: "broker CPU per record, 10,000 partitions, of 1 partition's", must: 1.2, atMost: true, unit: "×",
			value: ratio(ref{tenThousand, "weir", cpuPerRecord}, ref{one, "weir", cpuPerRecord}),
		},
		{
			id: "G1", what: "produce 1 MiB batches without sync, of loopback TCP", must: 0.33, stretch: 0.5, unit: "×",
			value: ratio(ref{large, "weir, no sync", byteRate}, ref{"bare TCP", "bare", byteRate}),
		},
		{
			id: "G2", what: "produce 16 KiB batches without sync, of loopback TCP", must: 0.13, stretch: 0.22, unit: "×",
			value: ratio(ref{small, "weir, no sync", byteRate}, ref{"bare TCP", "bare", byteRate}),
		},
		{
			id: "G3", what: "broker CPU per GB, 1 MiB batches without sync, of TCP's both ends", must: 2.5, stretch: 1.8, atMost: true, unit: "×",
			value: perTCP(ref{large, "weir, no sync", cpuPerByte}),
		},
		{
			id: "G3", what: "broker CPU per GB, 16 KiB batches without sync, of TCP's both ends", must: 5.5, stretch: 4, atMost: true, unit: "×",
			value: perTCP(ref{small, "weir, no sync", cpuPerByte}),
		},
		{
			id: "G4", what: "franz-go, 100 B: records/s, of the floor program's", must: 0.9, stretch: 0.97, unit: "×",
			value: ratio(ref{hundred, "weir", recordRate}, ref{hundred, "floor", recordRate}),
		},
		{
			id: "G4", what: "franz-go, 100 B: broker CPU, of the client's", must: 0.2, stretch: 0.12, atMost: true, unit: "×",
			value: ratio(ref{hundred, "weir", brokerCores}, ref{hundred, "weir", clientCores}),
		},
		{
			id: "G4", what: "librdkafka, 100 B: records/s, of the floor program's", must: 0.9, stretch: 0.97, unit: "×",
			value: ratio(ref{rd, "weir", recordRate}, ref{rd, "floor", recordRate}),
		},
		{
			id: "G4", what: "librdkafka, 100 B: broker CPU, of the client's", must: 0.2, stretch: 0.12, atMost: true, unit: "×",
			value: ratio(ref{rd, "weir", brokerCores}, ref{rd, "weir", clientCores}),
		},
		{
			id: "G5", what: "16 KiB batches with sync, of the same without", must: 0.55, stretch: 0.7, unit: "×",
			value: ratio(ref{small, "weir", byteRate}, ref{small, "weir, no sync", byteRate}),
		},
		{
			id: "G5", what: "16 KiB batches with sync, of bare 1 MiB appends with sync", must: 0.4, stretch: 0.6, unit: "×",
			value: ratio(ref{small, "weir", byteRate}, ref{"bare 1 MiB append + fdatasync", "bare", byteRate}),
		},
		{
			id: "G6", what: "1 KiB requests with sync, of the floor program with a sync for each", must: 5, stretch: 8, unit: "×",
			value: ratio(ref{"produce raw one", "weir", requestRate}, ref{"produce raw one", "floor, sync each", requestRate}),
		},
		{
			id: "G7", what: "consume, 8 MiB a fetch, of bare sendfile", must: 0.75, stretch: 0.9, unit: "×",
			value: ratio(ref{"consume raw " + sizes(1024, mib), "weir", byteRate}, ref{"bare sendfile", "bare", byteRate}),
		},
		{
			id: "G8", what: "consume, broker CPU per GB, of bare sendfile's", must: 2, stretch: 1.3, atMost: true, unit: "×",
			value: ratio(ref{"consume raw " + sizes(1024, mib), "weir", cpuPerByte}, ref{"bare sendfile", "bare", cpuPerByte}),
		},
		{
			id: "G9", what: "ack p50 at 10,000/s, of a bare sync's p50", must: 8, stretch: 4, atMost: true, unit: "×",
			value: ratio(ref{lat, "weir", ackP50}, ref{sync4, "bare", ackP50}),
		},
		{
			id: "G9", what: "ack p99 at 10,000/s, of a bare sync's p50", must: 40, stretch: 15, atMost: true, unit: "×",
			value: ratio(ref{lat, "weir", ackP99}, ref{sync4, "bare", ackP50}),
		},
		{
			id: "G9", what: "ack p99.9 at 10,000/s, of a bare sync's p50", must: 120, stretch: 50, atMost: true, unit: "×",
			value: ratio(ref{lat, "weir", ackP999}, ref{sync4, "bare", ackP50}),
		},
		{
			id: "G10", what: "ack p50 at 10,000/s without sync, of a round trip's", must: 12, stretch: 8, atMost: true, unit: "×",
			value: ratio(ref{lat, "weir, no sync", ackP50}, ref{"bare round trip", "bare", ackP50}),
		},
		{
			id: "G11", what: "end to end p50, of the ack's", must: 1.3, stretch: 1.1, atMost: true, unit: "×",
			value: ratio(ref{lat, "weir", endP50}, ref{lat, "weir", ackP50}),
		},
		{
			id: "G11", what: "end to end p99, of the ack's", must: 1.6, stretch: 1.3, atMost: true, unit: "×",
			value: ratio(ref{lat, "weir", endP99}, ref{lat, "weir", ackP99}),
		},
		{
			id: "G14", what: "produce over QUIC, of a bare QUIC stream", must: 0.75, stretch: 0.9, unit: "×",
			value: ratio(ref{"produce raw QUIC", "weir", byteRate}, ref{"bare QUIC", "bare", byteRate}),
		},
		{
			id: "G14", what: "broker CPU per GB over QUIC, of a bare QUIC receiver's", must: 1.3, stretch: 1.15, atMost: true, unit: "×",
			value: ratio(ref{"produce raw QUIC", "weir", cpuPerByte}, ref{"bare QUIC", "bare", cpuPerByte}),
		},
		{id: "G16", what: "an idle connection, RSS", must: 32, stretch: 16, atMost: true, unit: "KiB", value: connections},
		{
			id: "G17", what: "start after kill -9, of reading the log cold at the disk's speed", must: 1.5, stretch: 1.2, atMost: true, unit: "×",
			value: coldReads, note: "only the tail since the last checkpoint should be read",
		},
		{id: "G18", what: "start after a clean stop, 10,000 partitions", must: 3, stretch: 1, atMost: true, unit: "s", value: partitions(restart, 1)},
		{
			id: "G19", what: "throughput, 1000 partitions, of 1 partition's", must: 0.7, stretch: 1, unit: "×",
			value: ratio(ref{thousand, "weir", byteRate}, ref{one, "weir", byteRate}),
		},
		{
			id: "G19", what: "broker CPU per request, 1000 partitions, of 1 partition's", must: 1.8, stretch: 1.4, atMost: true, unit: "×",
			value: ratio(ref{thousand, "weir", cpuPerRequest}, ref{one, "weir", cpuPerRequest}),
		},
		{
			id: "G19", what: "broker CPU per request, 10,000 partitions, of 1 partition's", must: 3, stretch: 2, atMost: true, unit: "×",
			value: ratio(ref{tenThousand, "weir", cpuPerRequest}, ref{one, "weir", cpuPerRequest}),
		},
		{
			id: "G20", what: "broker CPU per request, 1000 connections, of 10", must: 2.5, stretch: 1.8, atMost: true, unit: "×",
			value: ratio(ref{"connections 1000, raw", "weir", cpuPerRequest}, ref{"connections 10, raw", "weir", cpuPerRequest}),
		},
		{
			id: "G20", what: "broker CPU per request, 10 connections beside 10,000 idle, of 10 alone", must: 1.2, stretch: 1.05, atMost: true, unit: "×",
			value: ratio(ref{"connections 10 beside", "weir", cpuPerRequest}, ref{"connections 10, raw", "weir", cpuPerRequest}),
		},
		{
			id: "G21", what: "a poll over 1000 unchanged partitions, broker CPU", must: 50, stretch: 10, atMost: true, unit: "µs",
			value: plain(ref{"poll a fetch session", "weir", cpuPerRequest}, 1), note: "includes the request's way through the sockets",
		},
		{
			id: "P1", what: "records/s at each one's own client, of NATS with sync always, 100 B", must: 50, unit: "×",
			value: ratio(ref{hundred, "weir", recordRate}, ref{"produce own client 100 B", "nats, sync always", recordRate}),
		},
		{
			id: "P1", what: "records/s at each one's own client, of NATS with sync always, 1 KiB", must: 25, unit: "×",
			value: ratio(ref{"produce franz-go " + sizes(1024, mib), "weir", recordRate}, ref{"produce own client 1024 B", "nats, sync always", recordRate}),
		},
		{
			id: "P2", what: "records/s, ours synced, of NATS at its default (not synced), 100 B", must: 6, unit: "×",
			value: ratio(ref{hundred, "weir", recordRate}, ref{"produce own client 100 B", "nats", recordRate}),
		},
		{
			id: "P2", what: "records/s, ours synced, of NATS at its default (not synced), 1 KiB", must: 4, unit: "×",
			value: ratio(ref{"produce franz-go " + sizes(1024, mib), "weir", recordRate}, ref{"produce own client 1024 B", "nats", recordRate}),
		},
		{
			id: "P2", what: "ack p50 at 10,000/s, ours synced, of NATS at its default", must: 2.5, stretch: 1.5, atMost: true, unit: "×",
			value: ratio(ref{lat, "weir", ackP50}, ref{lat, "nats", ackP50}),
		},
	}...)
}

// perTCP is a broker's CPU for each GB over what both ends of a bare TCP connection take.
func perTCP(f ref) func(*results) (float64, error) {
	return func(r *results) (float64, error) {
		v, err := r.at(f)
		if err != nil {
			return 0, err
		}
		server, err := r.at(ref{"bare TCP", "bare", cpuPerByte})
		if err != nil {
			return 0, err
		}
		client, err := r.at(ref{"bare TCP", "bare", clientCores})
		if err != nil {
			return 0, err
		}
		rate, err := r.at(ref{"bare TCP", "bare", byteRate})
		if err != nil {
			return 0, err
		}
		return v / (server + client/rate*1e3), nil
	}
}

func connections(r *results) (float64, error) {
	for _, w := range r.order {
		if strings.HasSuffix(w, "idle connections") {
			return plain(ref{w, "weir", perItem}, 1)(r)
		}
	}
	return 0, fmt.Errorf("idle connections were not measured")
}

// coldReads is how long a start took over what reading the whole log from the disk would.
func coldReads(r *results) (float64, error) {
	took, err := r.at(ref{"start after kill -9", "weir", ready})
	if err != nil {
		return 0, err
	}
	rate, err := r.at(ref{"bare cold read", "bare", byteRate})
	if err != nil {
		return 0, err
	}
	return took / (float64(r.LogBytes) / (rate * 1e6)), nil
}

// barTable goes through every bar.
func barTable(r *results) (*report.Table, int, int) {
	t := &report.Table{Head: []string{"bar", "what", "must", "stretch", "measured", "", "note"}}
	met, all := 0, 0
	for _, b := range bars() {
		sign := "≥ "
		if b.atMost {
			sign = "≤ "
		}
		stretch := ""
		if b.stretch != 0 {
			stretch = sign + report.Number(b.stretch) + " " + b.unit
		}
		must := sign + report.Number(b.must) + " " + b.unit
		v, err := b.value(r)
		if err != nil {
			t.Add(b.id, b.what, must, stretch, "", "not measured", err.Error())
			continue
		}
		all++
		verdict := "not met"
		if ok := v >= b.must; ok != b.atMost || v == b.must {
			verdict = "met"
			met++
		}
		t.Add(b.id, b.what, must, stretch, report.Number(v)+" "+b.unit, verdict, b.note)
	}
	return t, met, all
}
