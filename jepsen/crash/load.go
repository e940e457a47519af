package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/sim/check"
)

const topic = "crash"

// load is the clients: producers and a consumer that live through all rounds.
type load struct {
	o    options
	addr string
	zero time.Time

	stop      chan struct{}
	producers sync.WaitGroup
	reading   context.Context
	quit      context.CancelFunc
	reader    sync.WaitGroup

	value    atomic.Int64 // the last one given out
	clients  atomic.Int64 // the last producer's number
	acked    atomic.Int64
	consumed atomic.Int64

	mu    sync.Mutex
	ops   []check.Op
	fault error
}

func newLoad(o options, addr string) *load {
	l := &load{o: o, addr: addr, zero: time.Now(), stop: make(chan struct{})}
	l.reading, l.quit = context.WithCancel(context.Background())
	return l
}

func (l *load) now() int64 { return int64(time.Since(l.zero)) }

func (l *load) record(op check.Op) {
	l.mu.Lock()
	l.ops = append(l.ops, op)
	l.mu.Unlock()
}

func (l *load) fail(err error) {
	l.mu.Lock()
	l.fault = errors.Join(l.fault, err)
	l.mu.Unlock()
}

// failed is what clients found wrong by themselves.
func (l *load) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

func (l *load) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(l.addr), kgo.DialTimeout(2 * time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.MetadataMinAge(20 * time.Millisecond),
	}, opts...)...)
}

// begin makes the topic and starts the clients.
func (l *load) begin() error {
	cl, err := l.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := timeout(10 * time.Second)
	defer cancel()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, int32(l.o.partitions), 1, nil, topic); err != nil {
		return fmt.Errorf("create the topic: %w", err)
	}
	for i := range l.o.producers {
		r := seedOf(l.o.seed, uint64(1+i))
		l.producers.Go(func() {
			if err := l.produce(r); err != nil {
				l.fail(fmt.Errorf("producer: %w", err))
			}
		})
	}
	l.reader.Go(func() {
		if err := l.consume(); err != nil {
			l.fail(fmt.Errorf("consumer: %w", err))
		}
	})
	return nil
}

// abandon ends the clients of a run that has failed.
func (l *load) abandon() {
	l.quit()
	close(l.stop)
}

// end lets the producers finish what they have sent, reads everything, and returns the history.
func (l *load) end() (*check.History, error) {
	close(l.stop)
	l.producers.Wait()
	l.quit()
	l.reader.Wait()
	if err := l.failed(); err != nil {
		return nil, err
	}
	finals, err := l.readAll()
	return &check.History{Ops: l.ops, Finals: finals}, err
}

// produce sends numbered records until the run ends. Now and then a client is replaced by a new one, which is
// another producer to the broker; what the old one had not been told about stays unknown.
func (l *load) produce(r *rand.Rand) error {
	pace := time.NewTicker(time.Second * time.Duration(l.o.producers) / time.Duration(l.o.rate))
	defer pace.Stop()
	codecs := []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(), kgo.GzipCompression(),
	}
	for {
		cl, err := l.client(
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(time.Duration(r.IntN(4))*time.Millisecond),
			kgo.ProducerBatchCompression(codecs[r.IntN(len(codecs))]), kgo.MaxBufferedRecords(500), kgo.StopProducerOnDataLossDetected(),
		)
		if err != nil {
			return err
		}
		id := l.clients.Add(1)
		ended := false
		for n := 200 + r.IntN(4000); n > 0 && !ended; n-- {
			select {
			case <-pace.C:
				l.send(cl, r, id)
			case <-l.stop:
				ended = true
			}
		}
		if ended || r.IntN(2) == 0 {
			// Most end in order, half in the middle of what they do.
			ctx, cancel := timeout(30 * time.Second)
			err = cl.Flush(ctx)
			cancel()
			if err != nil {
				cl.Close()
				return fmt.Errorf("the broker is up, but records are not acknowledged: %w", err)
			}
		}
		cl.Close()
		if ended {
			return nil
		}
	}
}

func (l *load) send(cl *kgo.Client, r *rand.Rand, id int64) {
	partition := int32(r.IntN(l.o.partitions))
	value := l.value.Add(1)
	body := make([]byte, 8+r.IntN(400))
	binary.BigEndian.PutUint64(body, uint64(value))
	op := check.Op{
		Process: id, Producer: id, F: check.Send, Call: l.now(), Topic: topic, Partition: partition, Values: []int64{value}, Offset: -1,
	}
	rec := &kgo.Record{Topic: topic, Partition: partition, Key: fmt.Append(nil, "key-", partition), Value: body}
	cl.Produce(context.Background(), rec, func(rec *kgo.Record, err error) {
		op.Return = l.now()
		switch {
		case err == nil:
			op.Outcome, op.Offset = check.OK, rec.Offset
			l.acked.Add(1)
		case errors.Is(err, kgo.ErrClientClosed) || errors.Is(err, context.Canceled):
			op.Outcome, op.Return = check.Info, check.Never
		default:
			op.Outcome, op.Return = check.Info, check.Never
			l.fail(fmt.Errorf("value %d to partition %d: %w", value, partition, err))
		}
		l.record(op)
	})
}

// consume follows every partition through all crashes.
func (l *load) consume() error {
	next := make(map[int32]int64, l.o.partitions)
	at := make(map[int32]kgo.Offset, l.o.partitions)
	for p := range int32(l.o.partitions) {
		at[p] = kgo.NewOffset().At(0)
	}
	cl, err := l.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		fetches := cl.PollFetches(l.reading)
		if l.reading.Err() != nil {
			return nil
		}
		var bad error
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Err != nil {
				bad = errors.Join(bad, fmt.Errorf("partition %d: %w", p.Partition, p.Err))
			}
			if len(p.Records) == 0 {
				return
			}
			// When the broker answered is not known here, so the poll counts as called at any time.
			op := check.Op{
				Process: -1, F: check.Poll, Return: l.now(), Outcome: check.OK, Topic: topic, Partition: p.Partition,
				From: next[p.Partition], Tail: p.HighWatermark, Start: p.LogStartOffset,
			}
			for _, rec := range p.Records {
				v, err := valueOf(rec)
				if err != nil {
					bad = errors.Join(bad, err)
				}
				op.Offsets, op.Values = append(op.Offsets, rec.Offset), append(op.Values, v)
				next[p.Partition] = rec.Offset + 1
			}
			l.consumed.Add(int64(len(p.Records)))
			l.record(op)
		})
		if bad != nil {
			return bad
		}
	}
}

func valueOf(rec *kgo.Record) (int64, error) {
	if len(rec.Value) < 8 || string(rec.Key) != fmt.Sprint("key-", rec.Partition) {
		return 0, fmt.Errorf("partition %d, offset %d: not a record of ours", rec.Partition, rec.Offset)
	}
	for _, b := range rec.Value[8:] {
		if b != 0 {
			return 0, fmt.Errorf("partition %d, offset %d: its bytes were changed", rec.Partition, rec.Offset)
		}
	}
	return int64(binary.BigEndian.Uint64(rec.Value)), nil
}

// readAll reads every partition from its start to its end with a client that has seen nothing yet.
func (l *load) readAll() ([]check.Final, error) {
	admin, err := l.client()
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	ctx, cancel := timeout(2 * time.Minute)
	defer cancel()
	ends, err := kadm.NewClient(admin).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the ends: %w", err)
	}
	finals := make([]check.Final, l.o.partitions)
	at := map[int32]kgo.Offset{}
	left := int64(0)
	for p := range finals {
		end, _ := ends.Lookup(topic, int32(p))
		finals[p] = check.Final{Key: check.Key{Topic: topic, Partition: int32(p)}, End: end.Offset}
		at[int32(p)] = kgo.NewOffset().At(0)
		left += end.Offset
	}
	cl, err := l.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read everything, %d records left: %w", left, err)
		}
		for rec := range fetches.RecordsAll() {
			v, err := valueOf(rec)
			if err != nil {
				return nil, err
			}
			f := &finals[rec.Partition]
			f.Offsets, f.Values = append(f.Offsets, rec.Offset), append(f.Values, v)
			left--
		}
	}
	return finals, nil
}
