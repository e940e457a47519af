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

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/weirmq/weir/clients/producer"
)

// benchProduce is one run of bench produce.
type benchProduce struct {
	producing
	topic      string
	records    int64
	size       int
	partitions int32
	producers  int
	rate       float64
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
  weir bench produce --rate 10000 --records 100000 --linger 0s    latency at 10,000 records a second
  weir bench produce --brokers broker-1:9092 --compression zstd --producers 4 --output json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.records < 1 || b.size < 1 || b.partitions < 1 || b.producers < 1 || b.rate < 0 {
				return usage("--records, --size, --partitions and --producers are 1 or more, --rate is not negative")
			}
			return a.runBenchProduce(cmd.Context(), k, &b)
		},
	}
	b.flags(c, 5*time.Millisecond)
	f := c.Flags()
	f.StringVar(&b.topic, "topic", benchTopic, "topic to write to; created if it is not there")
	f.Int64Var(&b.records, "records", 1_000_000, "how many")
	f.IntVar(&b.size, "size", 100, "bytes of each value")
	f.Int32Var(&b.partitions, "partitions", 6, "of the topic, if it is created")
	f.IntVar(&b.producers, "producers", 1, "producers, each with connections of its own")
	f.Float64Var(&b.rate, "rate", 0, "records a second of all producers together; 0: as fast as can be")
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
		w := &benchProducer{run: b, payload: payload, latency: newLatencies()}
		w.count = b.records / int64(b.producers)
		if int64(i) < b.records%int64(b.producers) {
			w.count++
		}
		if w.p, err = producer.New(cl, options...); err != nil {
			return usage("%v", err)
		}
		workers[i] = w
	}
	stop := a.progress(func() string {
		n := int64(0)
		for _, w := range workers {
			n += w.acked.Load()
		}
		return fmt.Sprintf("%d of %d records", n, b.records)
	})
	begin, cpu := time.Now(), processCPU()
	var all sync.WaitGroup
	for _, w := range workers {
		all.Go(func() { w.work(ctx, begin) })
	}
	all.Wait()
	took, cpu := time.Since(begin), processCPU()-cpu
	stop()

	f := figures{Work: "produced", Setting: map[string]any{
		"transport": k.transport, "acks": b.acks, "compression": b.codec, "linger": b.linger.String(), "batch_bytes": b.batchBytes,
		"size": b.size, "producers": b.producers, "rate": b.rate, "topic": b.topic, "partitions": b.partitions,
	}}
	total := newLatencies()
	var errs []error
	for _, w := range workers {
		f.Records += w.acked.Load()
		f.Failed += w.failed
		total.Merge(w.latency)
		errs = append(errs, w.err)
	}
	f.Bytes = f.Records * int64(b.size)
	f.rate(took, cpu)
	s := summarise(total)
	f.Latency = &s
	return errors.Join(a.printFigures(&f), clientError(errors.Join(errs...)))
}

// benchProducer is one producer of a run.
type benchProducer struct {
	run     *benchProduce
	p       *producer.Producer
	payload []byte
	count   int64

	acked atomic.Int64
	// Of the producer's one goroutine for outcomes, until Close has returned:
	latency *hdrhistogram.Histogram
	failed  int64
	err     error
}

func (w *benchProducer) work(ctx context.Context, begin time.Time) {
	r := producer.Record{Topic: w.run.topic}
	interval := time.Duration(0)
	if w.run.rate > 0 {
		interval = time.Duration(float64(time.Second) * float64(w.run.producers) / w.run.rate)
	}
	random := rand.New(rand.NewPCG(1, uint64(w.count)))
	var stopped error
	for i := int64(0); i < w.count && ctx.Err() == nil; i++ {
		due := time.Now()
		if interval > 0 {
			due = begin.Add(time.Duration(i) * interval)
			if wait := time.Until(due); wait > 0 {
				time.Sleep(wait)
			}
		}
		at := random.IntN(len(w.payload) - w.run.size + 1)
		r.Value = w.payload[at : at+w.run.size]
		if stopped = w.p.ProduceAsync(ctx, r, func(_ producer.Result, err error) { w.outcome(due, err) }); stopped != nil {
			break
		}
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err := w.p.Close(closing)
	if ctx.Err() == nil { // a user who stops a run knows why it ended
		w.err = errors.Join(w.err, stopped, err)
	}
}

func (w *benchProducer) outcome(due time.Time, err error) {
	if err != nil {
		w.failed++
		if w.err == nil {
			w.err = err
		}
		return
	}
	w.acked.Add(1)
	_ = w.latency.RecordValue(min(max(1, time.Since(due).Microseconds()), w.latency.HighestTrackableValue()))
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

// processCPU is the processor time that this process has used.
func processCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pairs prints a map as name=value in order.
func pairs[V any](m map[string]V) string {
	var out []string
	for name, value := range m {
		out = append(out, fmt.Sprintf("%s=%v", name, value))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
