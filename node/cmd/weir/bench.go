package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sys/unix"

	"github.com/weirmq/weir/bench/report"
	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
)

const benchTopic = "weir-bench"

func (a *app) benchCommand() *cobra.Command {
	k := &connection{}
	c := &cobra.Command{
		Use: "bench", Short: "Measure how fast a cluster is from here",
		Long: `Measure a cluster of any brokers that speak Kafka's protocol, with a full client. On one machine the client takes
most of the processor: compare runs with each other, and say with every figure how it was made, as the output does.

A line a second goes to stderr; --html writes a page with plots and everything that the figures depend on.`,
	}
	k.flags(c)
	c.AddCommand(a.benchProduceCommand(k), a.benchConsumeCommand(k), a.benchEndToEndCommand(k))
	return c
}

// measuring is what the commands that measure share.
type measuring struct {
	html  string
	quiet bool
}

func (m *measuring) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&m.html, "html", "", "write a page with plots to this `FILE`")
	f.BoolVar(&m.quiet, "quiet", false, "no line a second on stderr")
}

// tick is one second of a run.
type tick struct {
	Second           float64 `json:"second"`
	RecordsPerSecond float64 `json:"records_per_second"`
	MBPerSecond      float64 `json:"mb_per_second"`
	P50Ms            float64 `json:"p50_ms,omitempty"`
	P99Ms            float64 `json:"p99_ms,omitempty"`
}

// meter counts what is done, in total and by the second.
type meter struct {
	records, bytes atomic.Int64
	latency        *report.Histogram
	second         *report.Histogram // since the last tick

	begin time.Time
	cpu   time.Duration
	ticks []tick
	quit  chan struct{}
	all   sync.WaitGroup
}

// newMeter starts counting, and says a line a second unless it is told to be quiet.
func (a *app) newMeter(quiet bool) *meter {
	m := &meter{
		latency: report.NewHistogram(), second: report.NewHistogram(), begin: time.Now(), cpu: processCPU(), quit: make(chan struct{}),
	}
	m.all.Go(func() {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		last, records, bytes := m.begin, int64(0), int64(0)
		for {
			select {
			case <-t.C:
			case <-m.quit:
				return
			}
			now, r, b := time.Now(), m.records.Load(), m.bytes.Load()
			d := now.Sub(last).Seconds()
			x := tick{
				Second: now.Sub(m.begin).Seconds(), RecordsPerSecond: float64(r-records) / d, MBPerSecond: float64(b-bytes) / 1e6 / d,
			}
			line := fmt.Sprintf("%3.0f s  %10.0f records/s  %8.2f MB/s", x.Second, x.RecordsPerSecond, x.MBPerSecond)
			if l := m.second.Latency(); l != nil {
				x.P50Ms, x.P99Ms = l.P50, l.P99
				line += fmt.Sprintf("  p50 %.2f ms  p99 %.2f ms", l.P50, l.P99)
			}
			m.second.Reset()
			m.ticks = append(m.ticks, x)
			last, records, bytes = now, r, b
			if !quiet {
				a.say("%s", line)
			}
		}
	})
	return m
}

// count adds a record and the time that it took, if that is of interest.
func (m *meter) count(bytes int, took time.Duration) {
	m.latency.Record(took)
	m.second.Record(took)
	m.records.Add(1)
	m.bytes.Add(int64(bytes))
}

// figures is the outcome of a run, and how it was made.
type figures struct {
	Work             string            `json:"work"`
	Records          int64             `json:"records"`
	Failed           int64             `json:"failed"`
	Bytes            int64             `json:"bytes"`
	Seconds          float64           `json:"seconds"`
	RecordsPerSecond float64           `json:"records_per_second"`
	MBPerSecond      float64           `json:"mb_per_second"`
	ClientCPUSeconds float64           `json:"client_cpu_seconds"`
	Latency          *report.Latency   `json:"latency,omitempty"`
	EndToEnd         *report.Latency   `json:"end_to_end,omitempty"`
	Ticks            []tick            `json:"ticks,omitempty"`
	Setting          map[string]any    `json:"setting"`
	Environment      map[string]string `json:"environment"`

	facts report.Facts
}

// stop ends counting and says what it came to.
func (m *meter) stop(work string, setting map[string]any) *figures {
	took, cpu := time.Since(m.begin), processCPU()-m.cpu
	close(m.quit)
	m.all.Wait()
	facts := report.Environment(version, "")
	f := &figures{
		Work: work, Records: m.records.Load(), Bytes: m.bytes.Load(), Seconds: took.Seconds(), ClientCPUSeconds: cpu.Seconds(),
		Latency: m.latency.Latency(), Ticks: m.ticks, Setting: setting, Environment: facts.Map(), facts: facts,
	}
	f.RecordsPerSecond = float64(f.Records) / f.Seconds
	f.MBPerSecond = float64(f.Bytes) / 1e6 / f.Seconds
	return f
}

// show prints the figures and writes the page.
func (a *app) show(f *figures, html string) error {
	if html != "" {
		if err := os.WriteFile(html, []byte(f.page().HTML()), 0o644); err != nil {
			return errors.Join(a.printFigures(f), fmt.Errorf("--html: %w", err))
		}
	}
	return a.printFigures(f)
}

func (a *app) printFigures(f *figures) error {
	if a.json() {
		return a.printJSON(f)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s, %s in %.2f s\n", f.Work, amount(f.Records, "record"), size(f.Bytes), f.Seconds)
	fmt.Fprintf(&b, "throughput  %.0f records/s, %.1f MB/s\n", f.RecordsPerSecond, f.MBPerSecond)
	line := func(name string, l *report.Latency) {
		if l != nil {
			fmt.Fprintf(&b, "%-11s p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms\n", name, l.P50, l.P99, l.P999, l.Max)
		}
	}
	if f.EndToEnd == nil {
		line("latency", f.Latency)
	} else {
		line("ack", f.Latency)
		line("end to end", f.EndToEnd)
	}
	fmt.Fprintf(&b, "client      %.2f CPU-s, %.2f us per record\n", f.ClientCPUSeconds, f.ClientCPUSeconds*1e6/float64(max(1, f.Records)))
	fmt.Fprintf(&b, "setting     %s\n", pairs(f.Setting))
	fmt.Fprintf(&b, "machine     %s\n", f.facts)
	if f.Failed > 0 {
		fmt.Fprintf(&b, "failed      %s\n", amount(f.Failed, "record"))
	}
	_, err := fmt.Fprint(a.stdout, b.String())
	return err
}

// page is the figures with plots.
func (f *figures) page() *report.Page {
	p := &report.Page{Title: "weir bench: " + f.Work}
	numbers := &report.Table{Head: []string{"what", "value"}}
	numbers.Add("records", fmt.Sprint(f.Records))
	numbers.Add("failed", fmt.Sprint(f.Failed))
	numbers.Add("bytes", size(f.Bytes))
	numbers.Add("seconds", report.Number(f.Seconds))
	numbers.Add("records/s", report.Number(f.RecordsPerSecond))
	numbers.Add("MB/s", report.Number(f.MBPerSecond))
	numbers.Add("client's CPU, s", report.Number(f.ClientCPUSeconds))
	p.Add(report.Part{Table: numbers})

	var plots []*report.Lines
	rate := report.Series{Name: "records/s"}
	p50, p99 := report.Series{Name: "p50"}, report.Series{Name: "p99"}
	for _, t := range f.Ticks {
		rate.Points = append(rate.Points, report.Point{X: t.Second, Y: t.RecordsPerSecond})
		if t.P99Ms > 0 {
			p50.Points = append(p50.Points, report.Point{X: t.Second, Y: t.P50Ms})
			p99.Points = append(p99.Points, report.Point{X: t.Second, Y: t.P99Ms})
		}
	}
	plots = append(plots, &report.Lines{Title: "Throughput", X: "second", Y: "records/s", Series: []report.Series{rate}})
	if len(p99.Points) > 0 {
		plots = append(plots, &report.Lines{Title: "Ack latency by the second", X: "second", Y: "ms", Series: []report.Series{p50, p99}})
	}
	if f.Latency != nil {
		table := &report.Table{Head: []string{"latency, ms", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean", "count"}}
		whole := &report.Lines{Title: "Latency, whole distribution", X: "percentile", Y: "ms", LogX: true, LogY: true, Quantiles: true}
		for _, l := range []struct {
			name string
			of   *report.Latency
		}{{"ack", f.Latency}, {"end to end", f.EndToEnd}} {
			if l.of == nil {
				continue
			}
			n := report.Number
			table.Add(l.name, n(l.of.P50), n(l.of.P90), n(l.of.P99), n(l.of.P999), n(l.of.P9999), n(l.of.Max), n(l.of.Mean), fmt.Sprint(l.of.Count))
			whole.Series = append(whole.Series, report.Series{Name: l.name, Points: l.of.Curve})
		}
		p.Add(report.Part{Heading: "Latency", Table: table})
		plots = append(plots, whole)
	}
	p.Add(report.Part{Heading: "Plots", Lines: plots})
	made := &report.Table{Head: []string{"what", "value"}}
	for _, name := range sortedNames(f.Setting) {
		made.Add(name, fmt.Sprint(f.Setting[name]))
	}
	for _, fact := range f.facts {
		made.Add(fact.Name, fact.Value)
	}
	p.Add(report.Part{Heading: "How it was made", Table: made})
	return p
}

// benchTopicReady creates the topic unless it is there.
func benchTopicReady(ctx context.Context, cl *client.Client, timeout time.Duration, topic string, partitions int32) error {
	return withAdmin(ctx, cl, timeout, func(ctx context.Context, ad *admin.Admin) error {
		err := ad.CreateTopic(ctx, admin.Topic{Name: topic, Partitions: partitions})
		if errors.Is(err, kerr.TopicAlreadyExists) {
			return nil
		}
		return err
	})
}

// processCPU is the processor time that this process has used.
func processCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func sortedNames[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// pairs prints a map as name=value in order.
func pairs[V any](m map[string]V) string {
	var out []string
	for _, name := range sortedNames(m) {
		out = append(out, fmt.Sprintf("%s=%v", name, m[name]))
	}
	return strings.Join(out, " ")
}
