package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
)

const benchTopic = "weir-bench"

func (a *app) benchCommand() *cobra.Command {
	k := &connection{}
	c := &cobra.Command{
		Use: "bench", Short: "Measure how fast a cluster is from here",
		Long: `Measure a cluster of any brokers that speak Kafka's protocol, with a full client. On one machine the client takes
most of the processor: compare runs with each other, and say with every figure how it was made, as the output does.`,
	}
	k.flags(c)
	c.AddCommand(a.benchProduceCommand(k), a.benchConsumeCommand(k))
	return c
}

// latencies is a histogram of microseconds.
func newLatencies() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(2*time.Minute/time.Microsecond), 3)
}

// summary is a histogram's percentiles in milliseconds.
type summary struct {
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`
}

func summarise(h *hdrhistogram.Histogram) summary {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	return summary{ms(h.ValueAtQuantile(50)), ms(h.ValueAtQuantile(99)), ms(h.ValueAtQuantile(99.9)), ms(h.Max())}
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
	Latency          *summary          `json:"latency,omitempty"`
	Setting          map[string]any    `json:"setting"`
	Environment      map[string]string `json:"environment"`
}

func (f *figures) rate(took time.Duration, cpu time.Duration) {
	f.Seconds = took.Seconds()
	f.RecordsPerSecond = float64(f.Records) / f.Seconds
	f.MBPerSecond = float64(f.Bytes) / 1e6 / f.Seconds
	f.ClientCPUSeconds = cpu.Seconds()
	f.Environment = environment()
}

// environment is what a figure depends on besides its settings.
func environment() map[string]string {
	e := map[string]string{
		"weir": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
		"processors": fmt.Sprint(runtime.GOMAXPROCS(0)),
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		e["kernel"] = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				e["processor"] = strings.TrimSpace(value)
				break
			}
		}
	}
	return e
}

func (a *app) printFigures(f *figures) error {
	if a.json() {
		return a.printJSON(f)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d records, %s in %.2f s\n", f.Work, f.Records, size(f.Bytes), f.Seconds)
	fmt.Fprintf(&b, "throughput  %.0f records/s, %.1f MB/s\n", f.RecordsPerSecond, f.MBPerSecond)
	if f.Latency != nil {
		fmt.Fprintf(&b, "latency     p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms\n",
			f.Latency.P50, f.Latency.P99, f.Latency.P999, f.Latency.Max)
	}
	fmt.Fprintf(&b, "client      %.2f CPU-s, %.2f us per record\n", f.ClientCPUSeconds, f.ClientCPUSeconds*1e6/float64(max(1, f.Records)))
	fmt.Fprintf(&b, "setting     %s\n", pairs(f.Setting))
	fmt.Fprintf(&b, "machine     %s\n", pairs(f.Environment))
	if f.Failed > 0 {
		fmt.Fprintf(&b, "failed      %d records\n", f.Failed)
	}
	_, err := fmt.Fprint(a.stdout, b.String())
	return err
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

// progress prints a line a second to people until the returned function is called.
func (a *app) progress(line func() string) (stop func()) {
	if !a.showProgress && !isTerminal(a.stderr) {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				_, _ = fmt.Fprintf(a.stderr, "\r%-70s", line())
			case <-quit:
				_, _ = fmt.Fprintf(a.stderr, "\r%-70s\r", "")
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}
