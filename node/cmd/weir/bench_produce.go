package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/bench/openloop"
	"github.com/weirmq/weir/clients/producer"
)

// benchProduce is one run of bench produce.
type benchProduce struct {
	producing
	measuring
	topic      string
	records    int64
	duration   time.Duration
	size       int
	partitions int32
	producers  int
	rate       float64
}

func (b *benchProduce) loadFlags(c *cobra.Command, records int64, duration time.Duration, partitions int32) {
	f := c.Flags()
	f.StringVar(&b.topic, "topic", benchTopic, "topic to write to; created if it is not there")
	f.Int64Var(&b.records, "records", records, "how many; 0: as many as --duration allows")
	f.DurationVar(&b.duration, "duration", duration, "stop after so long; 0: when --records are done")
	f.IntVar(&b.size, "size", 100, "bytes of each value")
	f.Int32Var(&b.partitions, "partitions", partitions, "of the topic, if it is created")
	f.IntVar(&b.producers, "producers", 1, "producers, each with connections of its own")
}

func (b *benchProduce) check() error {
	if b.records < 0 || b.duration < 0 || b.records == 0 && b.duration == 0 {
		return usage("--records or --duration says when to stop, and neither is negative")
	}
	if b.size < 1 || b.partitions < 1 || b.producers < 1 || b.rate < 0 {
		return usage("--size, --partitions and --producers are 1 or more, --rate is not negative")
	}
	return nil
}

func (b *benchProduce) setting(k *connection) map[string]any {
	return map[string]any{
		"transport": k.transport, "acks": b.acks, "compression": b.codec, "linger": b.linger.String(), "batch_bytes": b.batchBytes,
		"size": b.size, "producers": b.producers, "rate": b.rate, "topic": b.topic, "partitions": b.partitions,
	}
}

func (a *app) benchProduceCommand(k *connection) *cobra.Command {
	var b benchProduce
	c := &cobra.Command{
		Use: "produce", Short: "Write records as fast as can be, or at a rate", Args: cobra.NoArgs,
		Long: `Write records and report throughput and the time from each record's handing over to its acknowledgement.

Without --rate the producers write as fast as they can: throughput counts, and latency is mostly that of their own
buffers. With --rate records are due at fixed times, and latency counts from when a record was due, whether or not the
producer was ready for it: a stall is charged to every record that it delayed.`,
		Example: `  weir bench produce --records 1000000 --size 100
  weir bench produce --rate 10000 --duration 30s --linger 0s    latency at 10,000 records a second
  weir bench produce --brokers broker-1:9092 --compression zstd --producers 4 --output json --html produce.html`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.check(); err != nil {
				return err
			}
			return a.runBenchProduce(cmd.Context(), k, &b)
		},
	}
	b.producing.flags(c, 5*time.Millisecond)
	b.measuring.flags(c)
	b.loadFlags(c, 1_000_000, 0, 6)
	c.Flags().Float64Var(&b.rate, "rate", 0, "records a second of all producers together; 0: as fast as can be")
	return c
}

func (a *app) runBenchProduce(ctx context.Context, k *connection, b *benchProduce) error {
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
	payload := benchPayload(b.size)
	workers := make([]*benchProducer, b.producers)
	for i := range workers {
		w := &benchProducer{run: b, payload: payload, number: i, count: b.share(i)}
		if w.p, err = producer.New(cl, options...); err != nil {
			return usage("%v", err)
		}
		workers[i] = w
	}
	m := a.newMeter(b.quiet)
	var all sync.WaitGroup
	for _, w := range workers {
		w.meter = m
		all.Go(func() { w.work(ctx) })
	}
	all.Wait()
	f := m.stop("produced", b.setting(k))
	var errs []error
	for _, w := range workers {
		f.Failed += w.failed.Load()
		errs = append(errs, w.err)
	}
	return errors.Join(a.show(f, b.html), clientError(errors.Join(errs...)))
}

// share is how many records one of the producers writes, 0 for no limit.
func (b *benchProduce) share(producer int) int64 {
	n := b.records / int64(b.producers)
	if int64(producer) < b.records%int64(b.producers) {
		n++
	}
	return n
}

// benchProducer is one producer of a run.
type benchProducer struct {
	run     *benchProduce
	p       *producer.Producer
	meter   *meter
	payload []byte
	number  int
	count   int64
	// prepare, unless nil, finishes a value: it is due at some time.
	prepare func(value []byte, due time.Time)

	failed atomic.Int64
	first  error // of outcomes, in the producer's own goroutine until Close has returned
	err    error
}

func (w *benchProducer) work(ctx context.Context) {
	b := w.run
	if b.records > 0 && w.count == 0 {
		w.err = w.p.Close(ctx)
		return
	}
	r := producer.Record{Topic: b.topic}
	random := rand.New(rand.NewPCG(1, uint64(w.number)))
	var stopped error
	n := int64(0)
	end := w.meter.begin.Add(b.duration)
	one := func(due time.Time) bool {
		if ctx.Err() != nil || b.duration > 0 && due.After(end) {
			return false
		}
		at := random.IntN(len(w.payload) - b.size + 1)
		r.Value = w.payload[at : at+b.size]
		if w.prepare != nil {
			r.Value = slices.Clone(r.Value)
			w.prepare(r.Value, due)
		}
		stopped = w.p.ProduceAsync(ctx, r, func(_ producer.Result, err error) { w.outcome(due, err) })
		n++
		return stopped == nil && (b.records == 0 || n < w.count)
	}
	if b.rate > 0 {
		interval := time.Duration(float64(time.Second) * float64(b.producers) / b.rate)
		// Producers take turns.
		begin := w.meter.begin.Add(interval * time.Duration(w.number) / time.Duration(b.producers))
		if err := openloop.Pace(begin, interval, one); err != nil {
			stopped = errors.Join(stopped, err)
		}
	} else {
		for one(time.Now()) {
		}
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err := w.p.Close(closing)
	if ctx.Err() == nil { // a user who stops a run knows why it ended
		w.err = errors.Join(w.first, stopped, err)
	}
}

func (w *benchProducer) outcome(due time.Time, err error) {
	if err != nil {
		w.failed.Add(1)
		if w.first == nil {
			w.first = err
		}
		return
	}
	w.meter.count(w.run.size, time.Since(due))
}

// benchPayload is bytes that compress about as events do, to slice values from.
func benchPayload(size int) []byte {
	random := rand.New(rand.NewPCG(7, 7))
	words := strings.Fields("order user click view cart amount currency country session created updated status " +
		"accepted shipped total items price name true false null 2026-11-21T08:00:00Z EUR USD DE US id event")
	b := make([]byte, 0, 1<<20+2*size)
	for len(b) < 1<<20+size {
		b = fmt.Appendf(b, `{"%s":"%s","n":%d},`, words[random.IntN(len(words))], words[random.IntN(len(words))], random.IntN(1e6))
	}
	return slices.Clip(b)
}
