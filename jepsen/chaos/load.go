package chaos

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/consumer"
	"github.com/weirmq/weir/clients/producer"
	"github.com/weirmq/weir/jepsen/ledger"
)

// load is the producer and the consumer.
type load struct {
	topic      string
	partitions int32
	seed       uint64
	rate       int
	cl         *client.Client
	ledger     *ledger.Ledger
	gaps       *gaps
	// newProducer makes what is under test beside the nodes.
	newProducer func() (Producer, error)

	failed atomic.Int64 // records that the producer gave up

	mu     sync.Mutex
	faults []string // what clients found wrong by themselves
}

const (
	headBytes = 12 // of a value: partition and number
	bodyMin   = 20
	bodyMax   = 400
	// deliveryTimeout is for ever, as far as a run is concerned: what is not acknowledged says nothing.
	deliveryTimeout = 24 * time.Hour
)

func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const enough = 20
	if len(l.faults) < enough {
		l.faults = append(l.faults, fmt.Sprintf(format, args...))
	}
}

func (l *load) found() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.faults...)
}

// value is what record number n of a partition holds: whoever knows the seed knows every byte of it.
func (l *load) value(dst []byte, p int32, n int64) []byte {
	r := rand.New(rand.NewPCG(l.seed^uint64(p)<<48, uint64(n)))
	dst = binary.BigEndian.AppendUint32(dst[:0], uint32(p))
	dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	for size := headBytes + bodyMin + r.IntN(bodyMax-bodyMin); len(dst) < size; {
		dst = binary.BigEndian.AppendUint64(dst, r.Uint64())
	}
	return dst
}

// read takes a record apart. It is false if the record is not as it was sent.
func (l *load) read(buffer []byte, rec *consumer.Record) (n int64, again []byte, ok bool) {
	if len(rec.Value) < headBytes || int32(binary.BigEndian.Uint32(rec.Value)) != rec.Partition {
		return -1, buffer, false
	}
	n = int64(binary.BigEndian.Uint64(rec.Value[4:]))
	buffer = l.value(buffer, rec.Partition, n)
	return n, buffer, bytes.Equal(buffer, rec.Value)
}

// Producer writes records. It must be idempotent, want acks=all, and try for as long as a run may take.
type Producer interface {
	// Send takes a record, waiting for room if there is none. done is called once, from any goroutine; the offset is -1 if the
	// broker has not said it. value is not kept.
	Send(ctx context.Context, topic string, partition int32, value []byte, done func(offset int64, err error)) error
	// Close waits for what was sent, as long as ctx lives.
	Close(ctx context.Context) error
}

// ours is a Producer of weir's own.
type ours struct{ p *producer.Producer }

func newOurs(cl *client.Client) (Producer, error) {
	p, err := producer.New(cl, producer.WithDeliveryTimeout(deliveryTimeout), producer.WithLinger(time.Millisecond))
	return ours{p}, err
}

func (o ours) Send(ctx context.Context, topic string, partition int32, value []byte, done func(offset int64, err error)) error {
	return o.p.ProduceAsync(ctx, producer.Record{Topic: topic, Partition: producer.On(partition), Value: value},
		func(res producer.Result, err error) { done(res.Offset, err) })
}

func (o ours) Close(ctx context.Context) error { return o.p.Close(ctx) }

// produce sends at the rate until stop is closed, and then waits for the acknowledgements, as long as ctx lives.
func (l *load) produce(ctx context.Context, stop <-chan struct{}) error {
	p, err := l.newProducer()
	if err != nil {
		return err
	}
	const tick = 2 * time.Millisecond
	pace := time.NewTicker(tick)
	defer pace.Stop()
	begin, sent := time.Now(), int64(0)
	var buffer []byte
	for {
		select {
		case <-stop:
			l.gaps.end()
			return p.Close(ctx)
		case <-ctx.Done():
			return p.Close(ctx)
		case <-pace.C:
		}
		for due := int64(time.Since(begin).Seconds() * float64(l.rate)); sent < due; sent++ {
			part := int32(sent % int64(l.partitions))
			number, at := l.ledger.Send(part), time.Now()
			buffer = l.value(buffer, part, number)
			err := p.Send(ctx, l.topic, part, buffer, func(offset int64, err error) {
				if err != nil {
					if ctx.Err() == nil {
						l.failed.Add(1)
						l.fault("record %d of partition %d was given up: %v", number, part, err)
					}
					return
				}
				l.ledger.Ack(part, number, offset)
				l.gaps.acked(part, at)
			})
			if err != nil {
				return errors.Join(err, p.Close(ctx))
			}
		}
	}
}

// consume reads everything from the beginning on, until ctx ends.
func (l *load) consume(ctx context.Context, each func(p int32, number, offset int64)) error {
	options := []consumer.Option{consumer.WithReset(consumer.ResetNone)} // to be led elsewhere would be a fault, and no reason to begin anew
	for p := range l.partitions {
		options = append(options, consumer.WithPartition(l.topic, p, consumer.At(0)))
	}
	c, err := consumer.New(l.cl, options...)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // nothing is committed
	var batch []consumer.Record
	var buffer []byte
	for {
		batch, err = c.PollInto(ctx, batch[:0])
		for i := range batch {
			rec := &batch[i]
			number, again, ok := l.read(buffer, rec)
			if buffer = again; !ok {
				l.fault("partition %d offset %d holds what nobody sent there: %.64x", rec.Partition, rec.Offset, rec.Value)
				number = -1
			}
			each(rec.Partition, number, rec.Offset)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			l.fault("consumer: %v", err)
			return fmt.Errorf("consumer: %w", err)
		}
		clear(batch)
	}
}
