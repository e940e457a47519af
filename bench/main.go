package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	weir := flag.String("weir", "bin/weir", "the weir binary to measure")
	rounds := flag.Int("rounds", 5, "how often each measurement is made; medians are printed")
	seconds := flag.Float64("seconds", 4, "how long each measurement takes")
	data := flag.String("data", "", "where nodes and bare loops keep their files (default: a new temporary directory)")
	only := flag.String("only", "", "measure only rows whose name contains this")
	flag.Parse()
	if err := run(*weir, *rounds, time.Duration(*seconds*float64(time.Second)), *data, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measurement is one row of the table: a name and how to make it once.
type measurement struct {
	name string
	run  func(context.Context, *node, string, time.Duration) (result, error)
}

// result is what one measurement came to: figures by name, in the order of the table.
type result struct {
	Name    string   `json:"name"`
	Round   int      `json:"round"`
	Figures []figure `json:"figures"`
}

type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

func (r *result) add(name string, value float64, unit string) {
	r.Figures = append(r.Figures, figure{name, value, unit})
}

func measurements() []measurement {
	ms := []measurement{
		{"bare append 4 KiB + fdatasync", bareSync},
		{"start and idle", startAndIdle},
	}
	for _, transport := range []string{"tcp", "quic"} {
		for _, size := range []int{100, 1024} {
			ms = append(ms, measurement{
				fmt.Sprintf("produce kgo %s %d B", transport, size),
				func(ctx context.Context, n *node, _ string, d time.Duration) (result, error) {
					return produceThroughput(ctx, n, transport, size, d)
				},
			})
		}
	}
	for _, size := range []int{100, 1024} {
		for _, batch := range []int{16 << 10, 1 << 20} {
			ms = append(ms, measurement{
				fmt.Sprintf("produce raw tcp %d B, %d KiB batches", size, batch>>10),
				func(ctx context.Context, n *node, _ string, d time.Duration) (result, error) {
					return produceRaw(ctx, n, size, batch, d)
				},
			})
		}
	}
	for _, transport := range []string{"tcp", "quic"} {
		ms = append(ms, measurement{
			fmt.Sprintf("latency kgo %s 100 B at 10k/s", transport),
			func(ctx context.Context, n *node, _ string, d time.Duration) (result, error) {
				return produceLatency(ctx, n, transport, 100, 10_000, d)
			},
		}, measurement{
			fmt.Sprintf("consume kgo %s 1024 B", transport),
			func(ctx context.Context, n *node, _ string, d time.Duration) (result, error) {
				return consumeThroughput(ctx, n, transport, 1024, d)
			},
		})
	}
	return ms
}

func run(weir string, rounds int, d time.Duration, data, only string) error {
	if _, err := os.Stat(weir); err != nil {
		return fmt.Errorf("%w (make build makes it)", err)
	}
	if data == "" {
		dir, err := os.MkdirTemp("", "weir-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		data = dir
	}
	ms := measurements()
	ms = slices.DeleteFunc(ms, func(m measurement) bool { return !strings.Contains(m.name, only) })
	results := make(map[string][]result)
	out := json.NewEncoder(os.Stderr)
	// Interleaved, so that a slow minute of the machine falls on every row alike.
	for round := range rounds {
		for _, m := range ms {
			r, err := once(weir, data, m, d)
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			r.Name, r.Round = m.name, round
			results[m.name] = append(results[m.name], r)
			if err := out.Encode(r); err != nil {
				return err
			}
		}
	}
	table(ms, results, rounds, d)
	return nil
}

// once makes one measurement on a node of its own.
func once(weir, data string, m measurement, d time.Duration) (result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*d+time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp(data, "node-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	n, err := startNode(ctx, weir, dir)
	if err != nil {
		return result{}, err
	}
	r, err := m.run(ctx, n, dir, d)
	if stopErr := n.stop(); err == nil {
		err = stopErr
	}
	return r, err
}

func table(ms []measurement, results map[string][]result, rounds int, d time.Duration) {
	fmt.Printf("%d CPUs, %s, Go %s; %d rounds of %v, interleaved; median [min–max]\n\n", runtime.NumCPU(), runtime.GOOS, runtime.Version(), rounds, d)
	fmt.Println("| measurement | figures |")
	fmt.Println("|---|---|")
	for _, m := range ms {
		rs := results[m.name]
		var cells []string
		for i, f := range rs[0].Figures {
			var values []float64
			for _, r := range rs {
				values = append(values, r.Figures[i].Value)
			}
			slices.Sort(values)
			cells = append(cells, fmt.Sprintf("%s %s [%s–%s] %s", f.Name, short(values[len(values)/2]), short(values[0]), short(values[len(values)-1]), f.Unit))
		}
		fmt.Printf("| %s | %s |\n", m.name, strings.Join(cells, ", "))
	}
}

func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
