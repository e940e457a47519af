package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/sim/check"
)

// topicSpec is one of the topics that are written to. Together they take every path an append has: many
// batches to a segment, many segments, batches that are large enough to be synced in place.
type topicSpec struct {
	name         string
	partitions   int32
	segmentBytes int // 0: the broker's default
	large        bool
}

var topics = []topicSpec{
	{name: "plain", partitions: 6},
	{name: "rolled", partitions: 4, segmentBytes: 64 << 10},
	{name: "large", partitions: 3, segmentBytes: 3 << 20, large: true},
}

const (
	largeMin = 200 << 10
	largeMax = 950 << 10 // what still fits into a batch of message.max.bytes
)

// load is the clients. Some live through all rounds, with one idempotent session each; others come and go.
type load struct {
	o        options
	addr     string
	contents contents
	history  *recorder

	stop      chan struct{}
	producers sync.WaitGroup
	reading   context.Context
	quit      context.CancelFunc
	readers   sync.WaitGroup

	number  atomic.Int64 // the last record's
	clients atomic.Int64 // the last producer's
	reads   atomic.Int64 // records that were read and found as they were sent

	mu     sync.Mutex
	faults []error
}

func newLoad(o options, addr string) *load {
	l := &load{
		o: o, addr: addr, history: newRecorder(), stop: make(chan struct{}),
		contents: contents{seed: o.seed, zero: time.Now().Truncate(time.Second)},
	}
	l.reading, l.quit = context.WithCancel(context.Background())
	return l
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const enough = 20 // the first ones explain the rest
	if len(l.faults) < enough {
		l.faults = append(l.faults, err)
	}
}

// failed is what clients found wrong by themselves.
func (l *load) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.faults...)
}

// client makes a franz-go client that is quick to try again.
func (l *load) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(l.addr), kgo.DialTimeout(2 * time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.MetadataMinAge(20 * time.Millisecond),
		// A broker that dies before its first answer on a connection is what is tested here, not one that wants SASL.
		kgo.AlwaysRetryEOF(),
	}, opts...)...)
}

// begin makes the topics and starts the clients.
func (l *load) begin() error {
	if err := l.createTopics(); err != nil {
		return err
	}
	for i := range l.o.producers {
		r := seedOf(l.o.seed, uint64(1+i))
		l.producers.Go(func() {
			// One in four comes and goes.
			if err := l.produce(r, i%4 == 3); err != nil {
				l.fail(fmt.Errorf("producer: %w", err))
			}
		})
	}
	l.readers.Go(func() {
		if err := l.follow(); err != nil {
			l.fail(fmt.Errorf("consumer: %w", err))
		}
	})
	l.readers.Go(func() {
		if err := l.administer(seedOf(l.o.seed, 1<<32)); err != nil {
			l.fail(fmt.Errorf("administrator: %w", err))
		}
	})
	return nil
}

func (l *load) createTopics() error {
	cl, err := l.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := timeout(10 * time.Second)
	defer cancel()
	for _, t := range topics {
		configs := map[string]*string{}
		if t.segmentBytes > 0 {
			v := strconv.Itoa(t.segmentBytes)
			configs["segment.bytes"] = &v
		}
		if _, err := kadm.NewClient(cl).CreateTopic(ctx, t.partitions, 1, configs, t.name); err != nil {
			return fmt.Errorf("create topic %s: %w", t.name, err)
		}
	}
	return nil
}

// end lets the producers finish what they have sent and stops everyone.
func (l *load) end() error {
	close(l.stop)
	l.producers.Wait()
	l.quit()
	l.readers.Wait()
	return l.failed()
}

// produce sends numbered records until the run ends. A visitor is replaced by a new client now and then, which is
// another producer to the broker: half of them end in order, half in the middle of what they do.
func (l *load) produce(r *rand.Rand, visitor bool) error {
	pace := time.NewTicker(time.Second * time.Duration(l.o.producers) / time.Duration(l.o.rate))
	defer pace.Stop()
	codecs := []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(), kgo.GzipCompression(),
	}
	for {
		cl, err := l.client(
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(time.Duration(r.IntN(4))*time.Millisecond),
			kgo.ProducerBatchCompression(codecs[r.IntN(len(codecs))]), kgo.MaxBufferedRecords(600), kgo.StopProducerOnDataLossDetected(),
		)
		if err != nil {
			return err
		}
		id := l.clients.Add(1)
		var leave <-chan time.Time
		if visitor {
			leave = time.After(time.Duration(100+r.IntN(1400)) * time.Millisecond)
		}
		ended, left := false, false
		for !ended && !left {
			select {
			case <-pace.C:
				l.sendSome(cl, r, id)
			case <-leave:
				left = true
			case <-l.stop:
				ended = true
			}
		}
		if ended || r.IntN(2) == 0 {
			ctx, cancel := timeout(30 * time.Second)
			err = cl.Flush(ctx)
			cancel()
		}
		cl.Close()
		if err != nil {
			return fmt.Errorf("records were not acknowledged for 30 s, though the broker is up: %w", err)
		}
		if ended {
			return nil
		}
	}
}

// sendSome sends a record, or many at once, or a large one.
func (l *load) sendSome(cl *kgo.Client, r *rand.Rand, id int64) {
	t := &topics[r.IntN(len(topics))]
	partition := r.Int32N(t.partitions)
	switch draw := r.IntN(1000); {
	case t.large && draw < 4:
		l.send(cl, id, t.name, partition, largeMin+r.IntN(largeMax-largeMin))
	case draw < 8:
		for range 50 + r.IntN(400) {
			l.send(cl, id, t.name, partition, r.IntN(200))
		}
	case draw < 30:
		l.send(cl, id, t.name, partition, nullValue)
	default:
		l.send(cl, id, t.name, partition, r.IntN(600))
	}
}

func (l *load) send(cl *kgo.Client, id int64, topic string, partition int32, size int) {
	number := l.number.Add(1)
	rec := l.contents.record(number, size)
	rec.Topic, rec.Partition = topic, partition
	op := l.history.call(check.Op{
		Process: id, Producer: id, F: check.Send, Topic: topic, Partition: partition, Values: []int64{number}, Offset: -1,
	})
	cl.Produce(context.Background(), rec, func(rec *kgo.Record, err error) {
		switch {
		case err == nil:
			offset := rec.Offset
			l.history.ok(op, func(op *check.Op) { op.Offset = offset })
		case errors.Is(err, kgo.ErrClientClosed), errors.Is(err, context.Canceled):
			// What became of it nobody was told.
		default:
			l.fail(fmt.Errorf("record number %d to %s/%d: %w", number, topic, partition, err))
		}
	})
}
