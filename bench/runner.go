package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirmq/weir/bench/drive"
	"github.com/weirmq/weir/bench/report"
	"github.com/weirmq/weir/bench/system"
)

// sample is one measurement of a cell.
type sample struct {
	Workload string `json:"workload"`
	System   string `json:"system"`
	Round    int    `json:"round"`
	// Figures by name; see figures.go for the names and their units.
	Figures  map[string]float64 `json:"figures,omitempty"`
	Ack      *report.Latency    `json:"ack,omitempty"`
	EndToEnd *report.Latency    `json:"end_to_end,omitempty"`
	Failed   string             `json:"failed,omitempty"`
}

// bench is a run.
type bench struct {
	*settings
	dir     string // of all data
	self    string // this program
	servers map[string]*system.Process
	topics  int
	out     *json.Encoder
}

func run(ctx context.Context, s *settings, cells []cell) (err error) {
	b := &bench{settings: s, servers: map[string]*system.Process{}}
	if b.dir, err = os.MkdirTemp(s.data, "weir-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	defer func() { err = errors.Join(err, b.stop()) }()
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if slices.Contains(s.systems, "floor") {
		s.peers.Floor = filepath.Join(b.dir, "bin", "floor")
		if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", s.peers.Floor, "github.com/weirmq/weir/bench/floor").CombinedOutput(); err != nil {
			return fmt.Errorf("the floor program: %w\n%s", err, out)
		}
	}
	if err := os.MkdirAll(filepath.Dir(s.out), 0o755); err != nil {
		return err
	}
	lines, err := os.Create(s.out + ".jsonl")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lines.Close()) }()
	b.out = json.NewEncoder(lines)
	h := header{Environment: environment(ctx, s), Rounds: s.rounds, Seconds: s.window.Seconds(), Quick: s.quick, LogBytes: s.logBytes}
	if err := b.out.Encode(h); err != nil {
		return err
	}

	var samples []sample
	var failed []error
	began := time.Now()
	for round := range s.rounds {
		for i, c := range cells {
			if c.rounds > 0 && round >= c.rounds {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			x := b.measure(ctx, c, round)
			if x.Failed != "" {
				failed = append(failed, fmt.Errorf("%s, %s, round %d: %s", x.Workload, x.System, round+1, x.Failed))
			}
			samples = append(samples, x)
			if err := b.out.Encode(x); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%s round %d/%d cell %d/%d  %s\n", time.Since(began).Round(time.Second), round+1, s.rounds, i+1, len(cells), x.line())
		}
	}
	if err := write(s.out, h, samples); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s.md, .html, .jsonl\n", s.out)
	if len(failed) > 0 {
		return fmt.Errorf("%d measurements failed; they are in the table:\n%w", len(failed), errors.Join(failed...))
	}
	return nil
}

// foreignCoresMax is how much of the machine others may use before a measurement is made once more.
const foreignCoresMax = 0.7

// measure makes one measurement, and a second one if others disturbed it: the quieter counts.
func (b *bench) measure(ctx context.Context, c cell, round int) sample {
	var best sample
	for try := range 2 {
		b.quiet(ctx)
		x := sample{Workload: c.workload, System: c.system, Round: round, Figures: map[string]float64{}}
		ctx, cancel := context.WithTimeout(ctx, c.most())
		err := c.run(ctx, b, &x)
		cancel()
		if err != nil {
			x.Failed = strings.TrimSpace(err.Error())
			x.Figures, x.Ack, x.EndToEnd = nil, nil, nil
			if try == 0 {
				return x
			}
			return best
		}
		foreign, known := x.Figures[foreignCores]
		if try == 0 || foreign < best.Figures[foreignCores] {
			best = x
		}
		if !known || foreign <= foreignCoresMax || b.quick {
			break
		}
	}
	return best
}

// quiet writes out what is dirty, and waits until the machine is idle, for a while.
func (b *bench) quiet(ctx context.Context) {
	if d, err := os.Open(b.dir); err == nil {
		_ = unix.Syncfs(int(d.Fd())) // an error would show in the measurement
		_ = d.Close()                // nothing was written
	}
	const look, calm = 300 * time.Millisecond, 0.3
	for from := time.Now(); time.Since(from) < b.settle && ctx.Err() == nil; {
		before, err := system.BusyCPU()
		begin := time.Now()
		time.Sleep(look)
		after, err2 := system.BusyCPU()
		if err != nil || err2 != nil || (after-before).Seconds() < calm*time.Since(begin).Seconds() {
			return
		}
	}
}

// server returns the running broker of a name, starting it if need be.
func (b *bench) server(ctx context.Context, name string) (*system.Process, error) {
	if p := b.servers[name]; p != nil {
		if p.Alive() {
			return p, nil
		}
		return nil, fmt.Errorf("%s is gone:\n%s", name, p.LogTail())
	}
	dir := filepath.Join(b.dir, strings.ReplaceAll(name, " ", "-"))
	p, err := b.launch(ctx, name, dir)
	if err != nil {
		return nil, err
	}
	b.servers[name] = p
	return p, b.warm(ctx, name, p)
}

func (b *bench) launch(ctx context.Context, name, dir string) (*system.Process, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	switch {
	case name == "weir":
		return b.peers.StartWeir(ctx, dir)
	case name == "kafka":
		return b.peers.StartKafka(ctx, dir)
	case name == "nats":
		return b.peers.StartNATS(ctx, dir, "")
	case name == "nats sync always":
		return b.peers.StartNATS(ctx, dir, "always")
	case strings.HasPrefix(name, "floor"):
		return b.peers.StartFloor(ctx, dir, floorFlags[name]...)
	case strings.HasPrefix(name, "bare "):
		return system.StartBare(ctx, b.self, strings.TrimPrefix(name, "bare "), dir)
	}
	return nil, fmt.Errorf("there is no server %q", name)
}

// warm lets a JVM compile what it will run, and does the same to the others.
func (b *bench) warm(ctx context.Context, name string, p *system.Process) error {
	if !speaksKafka(name) || b.quick {
		return nil
	}
	for _, batch := range []int{16 << 10, 1 << 20} {
		const topic = "warm"
		if err := system.CreateTopic(ctx, p.Addr, topic, 8, nil); err != nil {
			return err
		}
		o := drive.Options{
			Driver: "raw-produce", Addr: p.Addr, Topic: topic, Partitions: 8, Connections: 8, InFlight: 5, ValueBytes: 1024, BatchBytes: batch, Acks: -1,
			For: 4 * time.Second, BytesMax: 1 << 30,
		}
		if _, err := b.drive(ctx, p, b.driver(&o), nil); err != nil {
			return err
		}
		o.Driver, o.FetchBytes = "raw-fetch", 1<<20
		o.For = 2 * time.Second
		if _, err := b.drive(ctx, p, b.driver(&o), nil); err != nil {
			return err
		}
		if err := system.DeleteTopic(ctx, p.Addr, topic); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) stop() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(b.servers)) {
		if p := b.servers[name]; p.Alive() {
			errs = append(errs, p.Stop())
		}
	}
	return errors.Join(errs...)
}

// topic is a fresh topic's name.
func (b *bench) topic() string {
	b.topics++
	return fmt.Sprintf("bench-%d", b.topics)
}

// driver is the command line of one of our drivers.
func (b *bench) driver(o *drive.Options) []string {
	if o.Transport == "" {
		o.Transport = "tcp"
	}
	return []string{
		b.self, "drive", "-driver", o.Driver, "-addr", o.Addr, "-transport", o.Transport, "-ca", o.CA, "-topic", o.Topic,
		"-partitions", fmt.Sprint(o.Partitions), "-connections", fmt.Sprint(o.Connections), "-in-flight", fmt.Sprint(o.InFlight),
		"-value", fmt.Sprint(o.ValueBytes), "-batch", fmt.Sprint(o.BatchBytes), "-fetch", fmt.Sprint(o.FetchBytes),
		"-acks", fmt.Sprint(o.Acks), "-rate", fmt.Sprint(o.Rate), "-warm", seconds(o.Warm), "-for", seconds(o.For),
		"-bytes-max", fmt.Sprint(o.BytesMax), "-records", fmt.Sprint(o.Records), "-linger", seconds(o.Linger),
	}
}

// seconds is a duration that Go and C read alike.
func seconds(d time.Duration) string { return fmt.Sprintf("%gs", d.Seconds()) }

// usage is what processes have used at a moment.
type usage struct {
	at                   time.Time
	broker, client, busy time.Duration
}

func look(broker *system.Process, client int) (usage, error) {
	u := usage{at: time.Now()}
	var err, err2, err3 error
	if broker != nil {
		u.broker, err = broker.CPU()
	}
	u.client, err2 = system.CPUOf(client)
	u.busy, err3 = system.BusyCPU()
	return u, errors.Join(err, err2, err3)
}

// drive runs a driver and takes the broker's and its own use of the processor within its window. x, unless nil, is
// given the figures. during, unless nil, is called within the window.
func (b *bench) drive(ctx context.Context, broker *system.Process, args []string, x *sample) (drive.Result, error) {
	var r drive.Result
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 2 * time.Second
	c.Dir = b.dir
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := c.Start(); err != nil {
		return r, err
	}
	var from, to usage
	var failed error
	done := false
	for lines := bufio.NewReader(out); failed == nil; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break // what it means, Wait says
		}
		switch strings.TrimSpace(string(line)) {
		case "begin":
			from, failed = look(broker, c.Process.Pid)
		case "end":
			to, failed = look(broker, c.Process.Pid)
			if failed == nil && broker != nil && x != nil {
				var m system.Memory
				m, failed = broker.Memory()
				x.Figures[rss] = float64(m.RSS) / 1e6
			}
		default:
			failed = json.Unmarshal(line, &r)
			done = true
		}
	}
	err = c.Wait()
	switch {
	case failed != nil:
		return r, failed
	case err != nil:
		if broker != nil && !broker.Alive() {
			return r, fmt.Errorf("%w; %s is gone:\n%s", err, broker.Name, broker.LogTail())
		}
		return r, fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	case !done || to.at.IsZero():
		return r, errors.New("the driver ended without a result")
	}
	if x != nil {
		x.add(r, from, to, broker != nil)
	}
	return r, nil
}
