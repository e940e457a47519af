package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/bench/drive"
	"github.com/weirmq/weir/bench/system"
)

// starts is the cells that start processes of their own: how long that takes and what they hold when idle.
func starts(s *settings) []cell {
	partitions, connections := 10_000, 1000
	if s.quick {
		partitions, connections = 500, 100
	}
	var cells []cell
	add := func(workload string, systems []string, rounds int, run func(context.Context, *bench, *sample, *system.Process) error) {
		for _, name := range systems {
			cells = append(cells, cell{
				workload: workload, system: name, rounds: rounds, limit: 10 * time.Minute,
				run: func(ctx context.Context, b *bench, x *sample) error { return b.fresh(ctx, name, x, run) },
			})
		}
	}
	add("start empty", []string{"weir", "kafka"}, 0, startEmpty)
	add("start empty", []string{"nats"}, 0, startNATS)
	add(fmt.Sprintf("%d idle partitions", partitions), []string{"weir", "kafka"}, 3, idlePartitions(partitions))
	add(fmt.Sprintf("%d idle connections", connections), []string{"weir", "kafka"}, 3, idleConnections(connections))
	add(fmt.Sprintf("start after kill -9, %s GB of log", gb(s.logBytes)), []string{"weir", "kafka"}, 3, startAfterKill)
	return cells
}

func gb(bytes int64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(bytes)/1e9), ".0") }

// fresh runs f on a process of its own.
func (b *bench) fresh(ctx context.Context, name string, x *sample, f func(context.Context, *bench, *sample, *system.Process) error) (err error) {
	dir, err := os.MkdirTemp(b.dir, "fresh-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := b.launch(ctx, name, filepath.Join(dir, "broker"))
	if err != nil {
		return err
	}
	x.Figures[ready] = p.StartedIn.Seconds()
	b.servers["fresh"] = p
	defer func() {
		if q := b.servers["fresh"]; q.Alive() {
			err = errors.Join(err, q.Kill())
		}
		delete(b.servers, "fresh")
	}()
	return f(ctx, b, x, p)
}

// ackOne is how long it takes from now until a record is acknowledged.
func ackOne(ctx context.Context, addr, topic string) (time.Duration, error) {
	from := time.Now()
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0), kgo.MetadataMinAge(10*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err = c.ProduceSync(ctx, kgo.StringRecord("first")).FirstErr()
	return time.Since(from), err
}

func startEmpty(ctx context.Context, b *bench, x *sample, p *system.Process) error {
	from := time.Now()
	if err := system.CreateTopic(ctx, p.Addr, "first", 1, nil); err != nil {
		return err
	}
	if _, err := ackOne(ctx, p.Addr, "first"); err != nil {
		return err
	}
	x.Figures[firstAck] = (p.StartedIn + time.Since(from)).Seconds()
	return b.idle(ctx, x, p)
}

func startNATS(ctx context.Context, b *bench, x *sample, p *system.Process) error {
	return b.idle(ctx, x, p)
}

// idle notes what a process holds when nobody calls.
func (b *bench) idle(ctx context.Context, x *sample, p *system.Process) error {
	select {
	case <-time.After(min(2*time.Second, b.window)):
	case <-ctx.Done():
		return ctx.Err()
	}
	m, err := p.Memory()
	x.Figures[idleRSS] = float64(m.RSS) / 1e6
	return err
}

// again stops a process by end and starts it on its data.
func (b *bench) again(ctx context.Context, name string, p *system.Process, end func() error) (*system.Process, error) {
	if err := end(); err != nil {
		return nil, err
	}
	if err := p.RotateLog(); err != nil {
		return nil, err
	}
	q, err := b.launch(ctx, name, p.Dir)
	if err != nil {
		return nil, err
	}
	b.servers["fresh"] = q
	return q, nil
}

func idlePartitions(n int) func(context.Context, *bench, *sample, *system.Process) error {
	return func(ctx context.Context, b *bench, x *sample, p *system.Process) error {
		if err := system.CreateTopic(ctx, p.Addr, "one", 1, nil); err != nil {
			return err
		}
		if _, err := ackOne(ctx, p.Addr, "one"); err != nil {
			return err
		}
		before, err := p.Memory()
		if err != nil {
			return err
		}
		if err := system.CreateTopic(ctx, p.Addr, "many", n, nil); err != nil {
			return err
		}
		if err := b.idle(ctx, x, p); err != nil {
			return err
		}
		after, err := p.Memory()
		if err != nil {
			return err
		}
		x.Figures[perItem] = float64(after.RSS-before.RSS) / float64(n) / 1024
		x.Figures[perItemAnon] = float64(after.Anonymous-before.Anonymous) / float64(n) / 1024
		// A node that starts with so many partitions holds what it needs, without what creating them took.
		q, err := b.again(ctx, x.System, p, p.Stop)
		if err != nil {
			return err
		}
		x.Figures[restart] = q.StartedIn.Seconds()
		if err := b.idle(ctx, x, q); err != nil {
			return err
		}
		d, err := ackOne(ctx, q.Addr, "one")
		x.Figures[firstAck] = (q.StartedIn + d).Seconds()
		return err
	}
}

func idleConnections(n int) func(context.Context, *bench, *sample, *system.Process) error {
	return func(ctx context.Context, b *bench, x *sample, p *system.Process) error {
		if err := b.idle(ctx, x, p); err != nil {
			return err
		}
		before, err := p.Memory()
		if err != nil {
			return err
		}
		held, release := context.WithCancel(ctx)
		opened, ended := make(chan error, 1), make(chan struct{})
		go func() {
			defer close(ended)
			o := b.options(drive.Options{Driver: "raw-idle", Connections: n}, p, "one")
			o.For = time.Hour
			opened <- b.hold(held, b.driver(&o), opened)
		}()
		defer func() { release(); <-ended }()
		if err := <-opened; err != nil {
			return err
		}
		if err := b.idle(ctx, x, p); err != nil {
			return err
		}
		after, err := p.Memory()
		x.Figures[perItem] = float64(after.RSS-before.RSS) / float64(n) / 1024
		return err
	}
}

// hold runs a driver until the context ends, and tells when its window opens.
func (b *bench) hold(ctx context.Context, args []string, opened chan<- error) error {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 2 * time.Second
	var failure strings.Builder
	c.Stderr = &failure
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "begin" {
			opened <- nil
		}
	}
	if err := c.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %s", err, failure.String())
	}
	return ctx.Err()
}

// startAfterKill fills a broker, kills it under load, and starts it again.
func startAfterKill(ctx context.Context, b *bench, x *sample, p *system.Process) error {
	const partitions = 8
	if err := system.CreateTopic(ctx, p.Addr, "log", partitions, nil); err != nil {
		return err
	}
	o := b.options(drive.Options{ValueBytes: 1024, BatchBytes: 256 << 10, Partitions: partitions}, p, "log")
	if _, err := b.fill(ctx, p, o, b.logBytes); err != nil {
		return err
	}
	// Killed while it writes.
	o.Driver, o.Connections, o.InFlight, o.Acks = "raw-produce", 4, 5, -1
	o.Warm, o.For, o.BytesMax = 0, time.Minute, b.logBytes
	held, release := context.WithCancel(ctx)
	opened, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		opened <- b.hold(held, b.driver(&o), opened)
	}()
	err := <-opened
	time.Sleep(300 * time.Millisecond)
	var q *system.Process
	if err == nil {
		q, err = b.again(ctx, x.System, p, p.Kill)
	}
	release()
	<-ended
	if err != nil {
		return err
	}
	x.Figures[ready] = q.StartedIn.Seconds()
	d, err := ackOne(ctx, q.Addr, "log")
	x.Figures[firstAck] = (q.StartedIn + d).Seconds()
	return err
}
