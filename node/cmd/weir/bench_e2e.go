package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/bench/report"
	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/consumer"
	"github.com/weirmq/weir/clients/producer"
)

// stampBytes begin a value: which run it is of, and when it was due, in nanoseconds since the run's first moment.
const stampBytes = 16

func (a *app) benchEndToEndCommand(k *connection) *cobra.Command {
	var b benchProduce
	var consumers int
	c := &cobra.Command{
		Use: "e2e", Short: "Measure the time from a record's being due to its consumers", Args: cobra.NoArgs,
		Long: `Write records at a rate and read them back in the same process, so that one clock tells both ends. Two times are
reported for each record, both from when it was due: to its acknowledgement, and to each consumer. Nothing waits for
anything: a stall is charged to every record that it delayed.`,
		Example: `  weir bench e2e
  weir bench e2e --rate 50000 --duration 1m --producers 4 --consumers 2 --partitions 12 --html e2e.html
  weir bench e2e --brokers broker-1:9092 --acks 1 --output json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.check(); err != nil {
				return err
			}
			if b.rate == 0 || consumers < 1 || b.size < stampBytes {
				return usage("--rate is more than 0, --consumers 1 or more, --size at least %d", stampBytes)
			}
			return a.runBenchEndToEnd(cmd.Context(), k, &b, consumers)
		},
	}
	b.producing.flags(c, 0)
	b.measuring.flags(c)
	b.loadFlags(c, 0, 10*time.Second, 1)
	f := c.Flags()
	f.Float64Var(&b.rate, "rate", 10_000, "records a second of all producers together")
	f.IntVar(&consumers, "consumers", 1, "consumers, each reading everything with connections of its own")
	return c
}

func (a *app) runBenchEndToEnd(ctx context.Context, k *connection, b *benchProduce, consumers int) error {
	options, err := b.options()
	if err != nil {
		return err
	}
	cl, done, err := k.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := benchTopicReady(ctx, cl, k.timeout, b.topic, b.partitions); err != nil {
		return err
	}
	run := &endToEnd{id: rand.Uint64(), began: time.Now(), arrived: report.NewHistogram()}
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	var readers sync.WaitGroup
	errs := make([]error, consumers)
	for i := range consumers {
		co, err := consumer.New(cl, consumer.WithTopics(b.topic), consumer.WithStart(consumer.Latest))
		if err != nil {
			return err
		}
		seen := make(chan struct{})
		readers.Go(func() { errs[i] = errors.Join(run.read(reading, co, seen), co.Close()) })
		// Records are written until the consumer has seen one: only then is it where nothing is missed.
		if err := run.knock(ctx, cl, b, options, seen); err != nil {
			stopReading()
			readers.Wait()
			return errors.Join(clientError(err), clientError(errors.Join(errs...)))
		}
	}
	payload := benchPayload(b.size)
	workers := make([]*benchProducer, b.producers)
	for i := range workers {
		w := &benchProducer{run: b, payload: payload, number: i, count: b.share(i), prepare: run.stamp}
		if w.p, err = producer.New(cl, options...); err != nil {
			return usage("%v", err)
		}
		workers[i] = w
	}
	m := a.newMeter(b.quiet)
	run.measured.Store(true)
	var all sync.WaitGroup
	for _, w := range workers {
		w.meter = m
		all.Go(func() { w.work(ctx) })
	}
	all.Wait()
	want := m.records.Load() * int64(consumers)
	for waited := time.Now(); run.arrived.Count() < want && time.Since(waited) < k.timeout && ctx.Err() == nil; {
		time.Sleep(5 * time.Millisecond)
	}
	stopReading()
	readers.Wait()
	setting := b.setting(k)
	setting["consumers"] = consumers
	f := m.stop("produced and consumed", setting)
	f.EndToEnd = run.arrived.Latency()
	var failed []error
	for _, w := range workers {
		f.Failed += w.failed.Load()
		failed = append(failed, w.err)
	}
	if missing := want - run.arrived.Count(); missing > 0 && ctx.Err() == nil {
		failed = append(failed, fmt.Errorf("%d of %d records had not arrived %v after the last was acknowledged", missing, want, k.timeout))
	}
	return errors.Join(a.show(f, b.html), clientError(errors.Join(append(failed, errs...)...)))
}

// endToEnd is one run: what its records are known by, and how long they took.
type endToEnd struct {
	id       uint64
	began    time.Time
	arrived  *report.Histogram
	measured atomic.Bool // what is due from now on counts
}

// stamp marks a value as this run's.
func (e *endToEnd) stamp(value []byte, due time.Time) {
	id := e.id
	if !e.measured.Load() {
		id = ^id
	}
	binary.BigEndian.PutUint64(value, id)
	binary.BigEndian.PutUint64(value[8:], uint64(due.Sub(e.began)))
}

// read takes the times of what arrives, until it is told to stop. seen is closed by the first record of this run.
func (e *endToEnd) read(ctx context.Context, co *consumer.Consumer, seen chan struct{}) error {
	var batch []consumer.Record
	known := false
	for {
		var err error
		clear(batch)
		batch, err = co.PollInto(ctx, batch[:0])
		now := time.Since(e.began)
		for i := range batch {
			v := batch[i].Value
			if len(v) < stampBytes {
				continue
			}
			id := binary.BigEndian.Uint64(v)
			if !known && (id == e.id || id == ^e.id) {
				known = true
				close(seen)
			}
			if id == e.id {
				e.arrived.Record(now - time.Duration(binary.BigEndian.Uint64(v[8:])))
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return nil
		default:
			return err
		}
	}
}

// knock writes a record to every partition now and then until the consumer has seen one.
func (e *endToEnd) knock(ctx context.Context, cl *client.Client, b *benchProduce, options []producer.Option, seen <-chan struct{}) error {
	p, err := producer.New(cl, options...)
	if err != nil {
		return usage("%v", err)
	}
	defer func() { _ = p.Close(ctx) }() // its records do not count
	value := make([]byte, stampBytes)
	e.stamp(value, time.Now())
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if err := p.ProduceAsync(ctx, producer.Record{Topic: b.topic, Value: value}, nil); err != nil {
			return err
		}
		select {
		case <-seen:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return errors.New("the consumer saw nothing of what was written in 30 s")
}
