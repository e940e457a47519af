// Command replicated measures a cluster of three nodes on one machine: what acks=all on three disks comes to, by each
// transport between the nodes.
//
//	go run ./bench/replicated --weir bin/weir --rounds 3
//
// In: the binary. Out: a Markdown table with medians, and with --profiles a CPU profile of each node.
//
// For each transport and record size, the rounds interleaved: three `weir node` processes in the default configuration, one
// topic of six partitions and replication factor 3, `weir bench produce` with acks=all as fast as it can, and then at a fixed
// rate with no linger, for latency. A record is acknowledged when it is synced on every node's disk. Client and nodes share
// the machine's processors and its one disk: the figures say what a record costs, not what three machines can do.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirmq/weir/bench/report"
	"github.com/weirmq/weir/bench/system"
	"github.com/weirmq/weir/jepsen/cluster"
)

type options struct {
	weir, profiles string
	transports     []string
	sizes          []int
	rounds         int
	duration       time.Duration
	rate           int
}

func main() {
	o := options{transports: []string{"tcp", "quic"}, sizes: []int{100, 1024}}
	flag.StringVar(&o.weir, "weir", "bin/weir", "the binary to measure")
	flag.StringVar(&o.profiles, "profiles", "", "a directory for a CPU profile of each node in the last round")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each is measured; the median counts")
	flag.DurationVar(&o.duration, "duration", 10*time.Second, "of each measurement")
	flag.IntVar(&o.rate, "rate", 2000, "records a second while latency is measured")
	flag.Func("transports", "between the nodes, separated by commas: tcp, tls, quic", func(s string) error {
		o.transports = strings.Split(s, ",")
		return nil
	})
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 {
		fmt.Fprintln(os.Stderr, "replicated: wrong usage; see --help")
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "replicated:", err)
		os.Exit(1)
	}
}

// cell is what is measured, and what was found in each round.
type cell struct {
	transport string
	size      int
	rounds    []figures
}

// figures are of one round.
type figures struct {
	recordsPerSecond, mbPerSecond float64
	cpuSecondsPerGB               float64 // of the three nodes together
	clientCPUSecondsPerGB         float64
	p50Ms, p99Ms                  float64 // at the fixed rate
}

func run(o options) (err error) {
	if o.weir, err = filepath.Abs(o.weir); err != nil {
		return err
	}
	var cells []*cell
	for _, transport := range o.transports {
		for _, size := range o.sizes {
			cells = append(cells, &cell{transport: transport, size: size})
		}
	}
	for round := range o.rounds {
		for _, c := range cells {
			f, err := measure(o, c, round == o.rounds-1)
			if err != nil {
				return fmt.Errorf("%s, %d bytes: %w", c.transport, c.size, err)
			}
			fmt.Fprintf(os.Stderr, "round %d: %s %d B: %.0f records/s, %.1f CPU-s/GB, p50 %.2f ms, p99 %.2f ms\n", round+1, c.transport, c.size,
				f.recordsPerSecond, f.cpuSecondsPerGB, f.p50Ms, f.p99Ms)
			c.rounds = append(c.rounds, f)
		}
	}
	fmt.Printf("| between nodes | record | records/s | MB/s | nodes' CPU-s/GB | client's CPU-s/GB | p50 ms at %d/s | p99 ms |\n|---|---|---|---|---|---|---|---|\n", o.rate)
	for _, c := range cells {
		median := func(of func(figures) float64) float64 {
			var all []float64
			for _, f := range c.rounds {
				all = append(all, of(f))
			}
			slices.Sort(all)
			return all[len(all)/2]
		}
		fmt.Printf("| %s | %d B | %.0f | %.1f | %.1f | %.1f | %.2f | %.2f |\n", c.transport, c.size,
			median(func(f figures) float64 { return f.recordsPerSecond }), median(func(f figures) float64 { return f.mbPerSecond }),
			median(func(f figures) float64 { return f.cpuSecondsPerGB }), median(func(f figures) float64 { return f.clientCPUSecondsPerGB }),
			median(func(f figures) float64 { return f.p50Ms }), median(func(f figures) float64 { return f.p99Ms }))
	}
	return nil
}

// measure is one round of one cell, on a cluster of its own.
func measure(o options, of *cell, last bool) (f figures, err error) {
	dir, err := os.MkdirTemp("", "weir-replicated-")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	id, err := exec.Command(o.weir, "cluster", "id").Output()
	if err != nil {
		return f, err
	}
	c, err := cluster.New(cluster.Options{
		Binary: o.weir, Dir: dir, ClusterID: strings.TrimSpace(string(id)), Nodes: 3, Listen: "127.0.0.1:0", HTTP: "127.0.0.1:0",
		Transport: of.transport, Set: []string{"pprof.enable=true"},
	})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.Start(30 * time.Second); err != nil {
		return f, err
	}
	// What is measured is a cluster at work: connections are there, files are open.
	if _, err := produce(o, c, of.size, time.Second, 0); err != nil {
		return f, err
	}
	before, err := cpu(c)
	if err != nil {
		return f, err
	}
	profiled := make(chan error, 1)
	go func() { profiled <- profile(o, c, of, last) }()
	r, err := produce(o, c, of.size, o.duration, 0)
	if err != nil {
		return f, err
	}
	after, err := cpu(c)
	if err = errors.Join(err, <-profiled); err != nil {
		return f, err
	}
	gb := float64(r.Bytes) / 1e9
	f.recordsPerSecond, f.mbPerSecond = r.RecordsPerSecond, r.MBPerSecond
	f.cpuSecondsPerGB, f.clientCPUSecondsPerGB = (after-before).Seconds()/gb, r.ClientCPUSeconds/gb
	r, err = produce(o, c, of.size, o.duration, o.rate)
	if err != nil {
		return f, err
	}
	f.p50Ms, f.p99Ms = r.Latency.P50, r.Latency.P99
	return f, nil
}

// result is what `weir bench produce` says.
type result struct {
	Failed           int64           `json:"failed"`
	Bytes            int64           `json:"bytes"`
	RecordsPerSecond float64         `json:"records_per_second"`
	MBPerSecond      float64         `json:"mb_per_second"`
	ClientCPUSeconds float64         `json:"client_cpu_seconds"`
	Latency          *report.Latency `json:"latency"`
}

func produce(o options, c *cluster.Cluster, size int, duration time.Duration, rate int) (r result, err error) {
	args := []string{
		"bench", "produce", "--brokers", strings.Join(c.Brokers(), ","), "--size", strconv.Itoa(size), "--records", "0",
		"--duration", duration.String(), "--quiet", "--output", "json", "--topic", "replicated",
	}
	if rate > 0 {
		args = append(args, "--rate", strconv.Itoa(rate), "--linger", "0s")
	}
	var stderr bytes.Buffer
	cmd := exec.Command(o.weir, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("%w: %s", err, stderr.String())
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, err
	}
	if r.Failed > 0 || r.Bytes == 0 || r.Latency == nil {
		return r, fmt.Errorf("%d records failed, %d bytes were written", r.Failed, r.Bytes)
	}
	return r, nil
}

// cpu is what the nodes have used.
func cpu(c *cluster.Cluster) (sum time.Duration, err error) {
	for _, n := range c.Nodes {
		used, err := system.CPUOf(n.PID())
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// profile keeps a CPU profile of every node, if it is the round for it.
func profile(o options, c *cluster.Cluster, of *cell, last bool) error {
	if o.profiles == "" || !last {
		return nil
	}
	if err := os.MkdirAll(o.profiles, 0o755); err != nil {
		return err
	}
	errs := make([]error, len(c.Nodes))
	var all sync.WaitGroup
	for i, n := range c.Nodes {
		all.Go(func() {
			errs[i] = func() error {
				r, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", n.HTTP, max(1, int(o.duration.Seconds())-2)))
				if err != nil {
					return err
				}
				defer func() { _ = r.Body.Close() }()
				b, err := io.ReadAll(r.Body)
				if err == nil && r.StatusCode != http.StatusOK {
					err = errors.New(r.Status)
				}
				if err != nil {
					return err
				}
				return os.WriteFile(filepath.Join(o.profiles, fmt.Sprintf("%s-%d-node%d.pprof", of.transport, of.size, n.ID)), b, 0o644)
			}()
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
