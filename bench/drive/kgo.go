package drive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/bench/openloop"
	"github.com/weirmq/weir/bench/report"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/quic"
)

// client is a franz-go client.
func client(o *Options, opts ...kgo.Opt) (*kgo.Client, func(), error) {
	opts = append(opts, kgo.SeedBrokers(o.Addr), kgo.DefaultProduceTopic(o.Topic), kgo.ProducerBatchCompression(kgo.NoCompression()))
	closeDialer := func() {}
	if o.Transport == "quic" {
		tls, err := certificate.ClientConfig(o.CA)
		if err != nil {
			return nil, nil, err
		}
		d := quic.NewDialer(tls, quic.Config{})
		closeDialer = func() { _ = d.Close() }
		opts = append(opts, kgo.Dialer(func(ctx context.Context, _, host string) (net.Conn, error) { return d.Dial(ctx, host) }))
	}
	c, err := kgo.NewClient(opts...)
	if err != nil {
		closeDialer()
		return nil, nil, err
	}
	return c, func() { c.Close(); closeDialer() }, nil
}

func kgoProduce(ctx context.Context, o *Options, w *window) (Result, error) {
	// The batch size is a limit of the wire's bytes; franz-go refuses records beyond it, none are here.
	c, done, err := client(o, kgo.ProducerLinger(o.Linger), kgo.ProducerBatchMaxBytes(int32(o.BatchBytes)), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return Result{}, err
	}
	defer done()
	w.failed = make(chan error, 1)
	v := value(o.ValueBytes)
	ended := make(chan struct{})
	acked := func(_ *kgo.Record, err error) {
		if err != nil {
			w.fail(err)
			return
		}
		w.counts.records.Add(1)
		w.counts.bytes.Add(int64(o.ValueBytes))
	}
	go func() {
		defer close(ended)
		for !w.full.Load() && ctx.Err() == nil {
			for range 64 {
				c.Produce(ctx, &kgo.Record{Value: v}, acked)
			}
		}
	}()
	r, err := w.run(ctx, nil)
	if err != nil {
		return r, err
	}
	<-ended
	if err := c.Flush(ctx); err != nil {
		return r, err
	}
	r.All = w.counts.records.Load()
	return r, nil
}

func kgoConsume(ctx context.Context, o *Options, w *window) (Result, error) {
	if o.Records == 0 {
		return Result{}, errors.New("how many records are there?")
	}
	c, done, err := client(o, kgo.ConsumeTopics(o.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxPartitionBytes(int32(o.FetchBytes)))
	if err != nil {
		return Result{}, err
	}
	defer done()
	w.failed = make(chan error, 1)
	o.Warm = 0 // all of it is measured but the first fetch
	first := c.PollFetches(ctx)
	if err := first.Err(); err != nil {
		return Result{}, err
	}
	ended := make(chan struct{})
	left := o.Records - int64(first.NumRecords())
	go func() {
		defer close(ended)
		for w.counts.records.Load() < left && !w.full.Load() {
			fetches := c.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				w.fail(fmt.Errorf("after %d of %d records: %w", w.counts.records.Load(), left, err))
				return
			}
			n := int64(fetches.NumRecords())
			w.counts.records.Add(n)
			w.counts.bytes.Add(n * int64(o.ValueBytes))
		}
	}()
	r, err := w.run(ctx, ended)
	r.All = w.counts.records.Load()
	return r, err
}

// kgoLatency produces at a rate, without linger, and reads the records back in the same process, so that
// one clock tells both times. A value begins with when it was due. Without a consumer (in-flight 0) only acks
// are timed.
func kgoLatency(ctx context.Context, o *Options, w *window) (Result, error) {
	if o.Rate <= 0 || o.ValueBytes < 8 {
		return Result{}, errors.New("a rate and values of 8 bytes or more are needed")
	}
	c, done, err := client(o, kgo.ProducerLinger(0), kgo.MaxBufferedRecords(1_000_000))
	if err != nil {
		return Result{}, err
	}
	defer done()
	w.failed = make(chan error, 1)
	ack, endToEnd, slip := report.NewHistogram(), report.NewHistogram(), report.NewHistogram()
	w.opened = func() { ack.Reset(); endToEnd.Reset(); slip.Reset() }
	began := time.Now()

	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	var readers sync.WaitGroup
	if o.InFlight > 0 {
		consumer, doneConsumer, err := client(o, kgo.ConsumeTopics(o.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return Result{}, err
		}
		defer doneConsumer()
		readers.Go(func() {
			for reading.Err() == nil {
				fetches := consumer.PollFetches(reading)
				if err := fetches.Err(); err != nil {
					if reading.Err() == nil {
						w.fail(err)
					}
					return
				}
				arrived := time.Since(began)
				fetches.EachRecord(func(r *kgo.Record) {
					endToEnd.Record(arrived - time.Duration(binary.BigEndian.Uint64(r.Value)))
				})
			}
		})
	}

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v := value(o.ValueBytes)
		err := openloop.Pace(time.Now(), time.Duration(float64(time.Second)/o.Rate), func(due time.Time) bool {
			slip.Record(time.Since(due))
			r := &kgo.Record{Value: append([]byte(nil), v...)}
			binary.BigEndian.PutUint64(r.Value, uint64(due.Sub(began)))
			c.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					w.fail(err)
					return
				}
				ack.Record(time.Since(due))
				w.counts.records.Add(1)
				w.counts.bytes.Add(int64(o.ValueBytes))
			})
			return !w.full.Load()
		})
		if err != nil {
			w.fail(err)
		}
	}()
	r, err := w.run(ctx, nil)
	if err != nil {
		return r, err
	}
	<-ended
	// What was due in the window and is late counts too.
	if err := c.Flush(ctx); err != nil {
		return r, err
	}
	r.All = w.counts.records.Load()
	r.Ack, r.Slip = ack.Latency(), slip.Latency()
	if o.InFlight > 0 {
		for wait := time.Now(); endToEnd.Count() < ack.Count() && time.Since(wait) < 2*time.Second; {
			time.Sleep(time.Millisecond)
		}
		stopReading()
		readers.Wait()
		if r.EndToEnd = endToEnd.Latency(); r.EndToEnd == nil {
			return r, errors.New("the consumer saw nothing")
		}
	}
	return r, nil
}
