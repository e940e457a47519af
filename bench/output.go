package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weirmq/weir/bench/report"
)

// header is how a run was made: the first line of its file.
type header struct {
	Environment report.Facts `json:"environment"`
	Rounds      int          `json:"rounds"`
	Seconds     float64      `json:"seconds"`
	LogBytes    int64        `json:"log_bytes"`
	Quick       bool         `json:"quick"`
}

// environment is what the figures depend on: the machine, and the version of everything.
func environment(ctx context.Context, s *settings) report.Facts {
	line := func(args ...string) string {
		out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		if err != nil {
			return "unknown"
		}
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return first
	}
	facts := report.Environment(strings.TrimPrefix(line(s.peers.Weir, "--version"), "weir "), s.data)
	facts = append(facts, report.Fact{Name: "commit", Value: line("git", "describe", "--always", "--dirty", "--abbrev=12")})
	if slices.Contains(s.systems, "kafka") {
		version, _ := os.ReadFile(filepath.Join(s.peers.Dir, "kafka", "version")) // ready has looked
		facts = append(facts,
			report.Fact{Name: "kafka", Value: strings.TrimSpace(string(version))},
			report.Fact{Name: "java", Value: line("java", "-version") + ", heap " + s.peers.Heap},
			report.Fact{Name: "librdkafka", Value: line(s.peers.Librdkafka(), "version")})
	}
	if slices.Contains(s.systems, "nats") {
		facts = append(facts, report.Fact{Name: "nats", Value: line(s.peers.NATS(), "version")})
	}
	return append(facts, report.Fact{Name: "flags", Value: s.flags})
}

func middle(vs []float64) float64 {
	vs = slices.Sorted(slices.Values(vs))
	n := len(vs)
	if n%2 == 1 {
		return vs[n/2]
	}
	return (vs[n/2-1] + vs[n/2]) / 2
}

// columns of the table of figures.
var columns = []string{
	recordRate, byteRate, cpuPerByte, cpuPerRecord, cpuPerRequest, brokerCores, clientCores, ackP50, ackP99, ackP999, endP50, endP99,
	rss, ready, firstAck, restart, idleRSS, perItem, foreignCores,
}

// titles of figures where the name is not enough.
var titles = map[string]string{
	recordRate: "k records/s", requestRate: "k requests/s", cpuPerByte: "broker CPU, s/GB", cpuPerRecord: "broker CPU, µs/record (s/M records)",
	cpuPerRequest: "broker CPU, µs/request", ackP50: "ack p50, ms", ackP99: "ack p99, ms", ackP999: "ack p99.9, ms", endP50: "end to end p50, ms",
	endP99: "end to end p99, ms", rss: "RSS, MB", ready: "ready, s", firstAck: "first ack, s", restart: "restart, s", idleRSS: "idle RSS, MB",
	perItem: "each, KiB",
}

func title(figure string) string {
	if t := titles[figure]; t != "" {
		return t
	}
	return figure
}

// write makes the table and the page.
func write(out string, h header, samples []sample) error {
	p := page(gather(h, samples))
	return errors.Join(os.WriteFile(out+".md", []byte(p.Markdown()), 0o644), os.WriteFile(out+".html", []byte(p.HTML()), 0o644))
}

// writeAgain makes them from a run's lines.
func writeAgain(s *settings) error {
	b, err := os.ReadFile(s.out + ".jsonl")
	if err != nil {
		return err
	}
	var h header
	var samples []sample
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 16<<20)
	for n := 0; lines.Scan(); n++ {
		if n == 0 {
			err = json.Unmarshal(lines.Bytes(), &h)
		} else {
			var x sample
			err = json.Unmarshal(lines.Bytes(), &x)
			samples = append(samples, x)
		}
		if err != nil {
			return fmt.Errorf("%s.jsonl, line %d: %w", s.out, n+1, err)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return write(s.out, h, samples)
}

func page(r *results) *report.Page {
	p := &report.Page{Title: "weir, measured"}
	facts := &report.Table{Head: []string{"what", "value"}}
	for _, f := range r.Environment {
		facts.Add(f.Name, f.Value)
	}
	bars, met, all := barTable(r)
	about := fmt.Sprintf("%d interleaved rounds of %g s for each cell; medians, the smallest and largest value in brackets. "+
		"Clients run on the same processors as the broker. Broker CPU is the broker process's own time; the kernel's threads are in foreign cores.",
		r.Rounds, r.Seconds)
	if r.Quick {
		about = "A QUICK RUN: it shows that everything works, and its figures mean nothing. " + about
	}
	p.Add(report.Part{Text: []string{about}, Table: facts},
		report.Part{Heading: "The bars", Text: []string{fmt.Sprintf("%d of %d that were measured are met.", met, all)}, Table: bars},
		report.Part{Heading: "In pictures", Bars: plots(r), Lines: curves(r)},
		report.Part{Heading: "Ratios", Text: []string{
			"Each system's figure divided by weir's (synced) on the same workload. For throughput less than 1 means that weir is faster; " +
				"for CPU, latency and memory more than 1 means that weir needs less.",
		}, Table: ratioTable(r)},
		report.Part{Heading: "All figures", Table: figureTable(r)})
	return p
}

// ratioColumns are those that a ratio says something about.
var ratioColumns = []string{recordRate, cpuPerByte, cpuPerRecord, cpuPerRequest, ackP50, ackP99, endP50, endP99, ready, firstAck, idleRSS, perItem}

func ratioTable(r *results) *report.Table {
	t := &report.Table{Head: []string{"workload", "system"}}
	for _, c := range ratioColumns {
		t.Head = append(t.Head, strings.TrimSuffix(strings.TrimSuffix(title(c), ", ms"), ", s"))
	}
	for _, w := range r.order {
		for _, name := range r.systems[w] {
			if name == "weir" || len(r.of(w, "weir")) == 0 {
				continue
			}
			row := []string{w, name}
			for _, c := range ratioColumns {
				cell := ""
				theirs, err := r.median(w, name, c)
				ours, err2 := r.median(w, "weir", c)
				if err == nil && err2 == nil && ours > 0 {
					cell = report.Number(theirs/ours) + "×"
				}
				row = append(row, cell)
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

func figureTable(r *results) *report.Table {
	t := &report.Table{Head: []string{"workload", "system"}}
	for _, c := range columns {
		t.Head = append(t.Head, title(c))
	}
	for _, w := range r.order {
		for _, name := range r.systems[w] {
			row := []string{w, name}
			good := r.of(w, name)
			if bad := r.samples[w+"\x00"+name]; len(good) < len(bad) {
				for _, x := range bad {
					if x.Failed != "" {
						row = append(row, fmt.Sprintf("failed %d of %d times: %s", len(bad)-len(good), len(bad), firstLine(x.Failed)))
						break
					}
				}
				if len(good) == 0 {
					t.Rows = append(t.Rows, row)
					continue
				}
				t.Rows = append(t.Rows, append(row, make([]string, len(t.Head)-len(row))...))
				row = []string{w, name}
			}
			for _, c := range columns {
				row = append(row, spread(good, c))
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// spread is a figure's median and its range.
func spread(samples []sample, figure string) string {
	var vs []float64
	for _, x := range samples {
		if v, ok := x.Figures[figure]; ok {
			vs = append(vs, v)
		}
	}
	switch len(vs) {
	case 0:
		return ""
	case 1:
		return report.Number(vs[0])
	}
	return fmt.Sprintf("%s [%s–%s]", report.Number(middle(vs)), report.Number(slices.Min(vs)), report.Number(slices.Max(vs)))
}

// plots compares systems: for each kind of workload a figure that matters.
func plots(r *results) []*report.Bars {
	var out []*report.Bars
	for _, k := range []struct{ prefix, figure, title string }{
		{"produce raw", cpuPerByte, "Produce, prepared batches: broker CPU for each GB (less is better)"},
		{"produce raw", byteRate, "Produce, prepared batches: throughput"},
		{"produce raw one", cpuPerRequest, "Produce, one record a request: broker CPU for each (less is better)"},
		{"produce franz-go", recordRate, "Produce, franz-go: throughput"},
		{"produce franz-go", cpuPerRecord, "Produce, franz-go: broker CPU for each record (less is better)"},
		{"produce librdkafka", recordRate, "Produce, librdkafka: throughput"},
		{"consume raw", cpuPerByte, "Consume, light client: broker CPU for each GB (less is better)"},
		{"consume raw", byteRate, "Consume, light client: throughput"},
		{"consume", recordRate, "Consume: throughput"},
		{"latency", ackP50, "Latency at 10,000 records a second: ack p50 (less is better)"},
		{"latency", ackP99, "Latency at 10,000 records a second: ack p99 (less is better)"},
		{"start empty", idleRSS, "Memory when idle (less is better)"},
		{"start", firstAck, "From start to the first acknowledged record (less is better)"},
	} {
		b := &report.Bars{Title: k.title, Unit: strings.TrimPrefix(title(k.figure), "broker CPU, ")}
		for _, w := range r.order {
			switch {
			case !strings.HasPrefix(w, k.prefix), k.prefix == "consume" && strings.HasPrefix(w, "consume raw"):
				continue
			case k.prefix == "produce raw" && (strings.HasPrefix(w, "produce raw one") || strings.HasPrefix(w, "produce raw QUIC")):
				continue // of another size: the others could not be told apart
			}
			g := report.Group{Name: w}
			for _, name := range r.systems[w] {
				v, err := r.median(w, name, k.figure)
				if err != nil {
					continue
				}
				x := report.Bar{Series: name, Value: v, Low: math.Inf(1), High: math.Inf(-1)}
				for _, s := range r.of(w, name) {
					x.Low, x.High = min(x.Low, s.Figures[k.figure]), max(x.High, s.Figures[k.figure])
				}
				g.Bars = append(g.Bars, x)
			}
			if len(g.Bars) > 0 {
				b.Groups = append(b.Groups, g)
			}
		}
		if len(b.Groups) > 0 {
			out = append(out, b)
		}
	}
	return out
}

// curves shows whole distributions of latency, and cost over partitions.
func curves(r *results) []*report.Lines {
	var out []*report.Lines
	lat := r.find("latency 100 B")
	for _, k := range []struct {
		title string
		of    func(*sample) *report.Latency
	}{
		{"Ack latency at 10,000 records a second", func(x *sample) *report.Latency { return x.Ack }},
		{"End to end latency at 10,000 records a second", func(x *sample) *report.Latency { return x.EndToEnd }},
	} {
		l := &report.Lines{Title: k.title, X: "percentile", Y: "ms", LogX: true, LogY: true, Quantiles: true}
		for _, name := range r.systems[lat] {
			good := r.of(lat, name)
			// The round whose p99 is the median stands for all.
			slices.SortFunc(good, func(a, b sample) int {
				switch {
				case a.Figures[ackP99] < b.Figures[ackP99]:
					return -1
				case a.Figures[ackP99] > b.Figures[ackP99]:
					return 1
				}
				return 0
			})
			if len(good) == 0 {
				continue
			}
			if d := k.of(&good[len(good)/2]); d != nil {
				l.Series = append(l.Series, report.Series{Name: name, Points: d.Curve})
			}
		}
		if len(l.Series) > 0 {
			out = append(out, l)
		}
	}
	cost := &report.Lines{Title: "Broker CPU for each record by partitions", X: "partitions", Y: "µs", LogX: true}
	for _, name := range []string{"weir", "kafka"} {
		s := report.Series{Name: name}
		for _, w := range r.order {
			var n float64
			if _, err := fmt.Sscanf(w, "partitions %g,", &n); err != nil {
				continue
			}
			if v, err := r.median(w, name, cpuPerRecord); err == nil {
				s.Points = append(s.Points, report.Point{X: n, Y: v})
			}
		}
		if len(s.Points) > 1 {
			cost.Series = append(cost.Series, s)
		}
	}
	if len(cost.Series) > 0 {
		out = append(out, cost)
	}
	return out
}
