package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/quic"
)

const topic = "bench"

// client is a franz-go client of the node over one of its transports.
func client(n *node, transport string, opts ...kgo.Opt) (*kgo.Client, func(), error) {
	closeDialer := func() {}
	opts = append(opts, kgo.SeedBrokers(n.kafka), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic(topic))
	if transport == "quic" {
		tls, err := certificate.ClientConfig(filepath.Join(n.dir, "data", "tls", "dev-certificate.pem"))
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

// value is a record's value of some size that compresses like nothing in particular.
func value(sizeBytes int) []byte {
	v := make([]byte, sizeBytes)
	x := uint64(88172645463325252)
	for i := range v {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		v[i] = 'a' + byte(x%26)
	}
	return v
}

// produceThroughput keeps a full client busy for d: acks=all, idempotent, no compression.
func produceThroughput(ctx context.Context, n *node, transport string, sizeBytes int, d time.Duration) (result, error) {
	var r result
	c, done, err := client(n, transport, kgo.ProducerLinger(5*time.Millisecond), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(200_000))
	if err != nil {
		return r, err
	}
	defer done()
	if err := c.ProduceSync(ctx, kgo.StringRecord("warm up")).FirstErr(); err != nil {
		return r, err
	}
	v := value(sizeBytes)
	var acked atomic.Int64
	var first atomic.Pointer[error]
	cpu, from := n.cpu(), time.Now()
	for time.Since(from) < d && first.Load() == nil {
		for range 256 {
			c.Produce(ctx, &kgo.Record{Value: v}, func(_ *kgo.Record, err error) {
				if err != nil {
					first.CompareAndSwap(nil, &err)
					return
				}
				acked.Add(1)
			})
		}
	}
	if err := c.Flush(ctx); err != nil {
		return r, err
	}
	if e := first.Load(); e != nil {
		return r, *e
	}
	addThroughput(&r, acked.Load(), sizeBytes, time.Since(from), n.cpu()-cpu)
	return r, nil
}

func addThroughput(r *result, records int64, sizeBytes int, took, cpu time.Duration) {
	bytes := float64(records) * float64(sizeBytes)
	r.add("rate", float64(records)/took.Seconds()/1e3, "k records/s")
	r.add("bytes", bytes/took.Seconds()/1e6, "MB/s")
	r.add("broker CPU", cpu.Seconds()/bytes*1e9, "s/GB")
	r.add("broker CPU", cpu.Seconds()/float64(records)*1e6, "µs/record")
}

// produceLatency sends at a fixed rate whether or not answers come (open loop), and counts each record's
// time from when it was due, so that a stall is paid for by everything that it delays.
func produceLatency(ctx context.Context, n *node, transport string, sizeBytes, perSecond int, d time.Duration) (result, error) {
	var r result
	c, done, err := client(n, transport, kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return r, err
	}
	defer done()
	if err := c.ProduceSync(ctx, kgo.StringRecord("warm up")).FirstErr(); err != nil {
		return r, err
	}
	v := value(sizeBytes)
	h := newHistogram()
	var mu sync.Mutex
	var failed error
	interval := time.Second / time.Duration(perSecond)
	cpu, from := n.cpu(), time.Now()
	sent := 0
	for due := from; due.Sub(from) < d; due = due.Add(interval) {
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		c.Produce(ctx, &kgo.Record{Value: v}, func(_ *kgo.Record, err error) {
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = errors.Join(failed, err)
				return
			}
			count(h, took)
		})
		sent++
	}
	if err := c.Flush(ctx); err != nil {
		return r, err
	}
	mu.Lock()
	defer mu.Unlock()
	if failed != nil {
		return r, failed
	}
	addLatency(&r, h)
	r.add("broker CPU", (n.cpu()-cpu).Seconds()/float64(sent)*1e6, "µs/record")
	return r, nil
}

// consumeThroughput fills a topic and then reads it from the start with a full client.
func consumeThroughput(ctx context.Context, n *node, transport string, sizeBytes int, d time.Duration) (result, error) {
	filled, err := produceThroughput(ctx, n, "tcp", sizeBytes, d/2)
	if err != nil {
		return result{}, err
	}
	records := int64(filled.Figures[0].Value * 1e3 * (d / 2).Seconds())
	var r result
	c, done, err := client(n, transport, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return r, err
	}
	defer done()
	cpu, from := n.cpu(), time.Now()
	read := int64(0)
	for read < records*9/10 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return r, fmt.Errorf("after %d of %d records: %w", read, records, err)
		}
		read += int64(fetches.NumRecords())
	}
	addThroughput(&r, read, sizeBytes, time.Since(from), n.cpu()-cpu)
	return r, nil
}
