package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const topic = "failover"

// idleMax is how long the client keeps a connection that it does not use. It finds out only when it uses one that the node at
// the other end was restarted since, and then waits 250 ms before it connects again: that is not the cluster's, either.
const idleMax = 200 * time.Millisecond

// load is the client that writes, one record at a time to each partition.
type load struct {
	kafka   []string
	client  *kgo.Client
	admin   *kadm.Client
	stop    context.CancelFunc // no further record
	give    context.CancelFunc // nor an answer to those under way
	workers sync.WaitGroup
	writers []*writer
}

// writer writes one partition's records: their values count from 0.
type writer struct {
	partition int32

	mu     sync.Mutex
	acked  []time.Time // when, by value
	failed error       // the first send that failed
}

func newLoad(ctx context.Context, kafka []string, partitions int, backoff time.Duration) (*load, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(backoff), kgo.RetryBackoffFn(func(int) time.Duration { return backoff }), kgo.ConnIdleTimeout(idleMax))
	if err != nil {
		return nil, err
	}
	l := &load{kafka: kafka, client: client, admin: kadm.NewClient(client)}
	created, err := l.admin.CreateTopic(ctx, int32(partitions), 3, nil, topic)
	if err = errors.Join(err, created.Err); err == nil {
		err = allKnow(ctx, client, partitions)
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	var sending context.Context
	sending, l.give = context.WithCancel(context.WithoutCancel(ctx))
	ctx, l.stop = context.WithCancel(ctx)
	for p := range partitions {
		w := &writer{partition: int32(p)}
		l.writers = append(l.writers, w)
		l.workers.Go(func() { w.write(ctx, sending, client) })
	}
	return l, nil
}

// allKnow waits until each node has heard of the new topic. From then on none may say that it is unknown: the client that writes
// gives up after some such answers, as it does by default.
func allKnow(ctx context.Context, client *kgo.Client, partitions int) error {
	m := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	m.Topics = append(m.Topics, t)
	for _, node := range client.SeedBrokers() {
		for begin := time.Now(); ; {
			answer, err := node.Request(ctx, m)
			if err == nil {
				if told := answer.(*kmsg.MetadataResponse).Topics; len(told) == 1 && len(told[0].Partitions) == partitions {
					break
				}
				err = errors.New("a node has not heard of the new topic")
			}
			if time.Since(begin) > syncPatience {
				return err
			}
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) write(ctx, sending context.Context, client *kgo.Client) {
	for n := uint64(0); ctx.Err() == nil; n++ {
		r := client.ProduceSync(sending, &kgo.Record{Partition: w.partition, Value: binary.BigEndian.AppendUint64(nil, n)})
		w.mu.Lock()
		err := r.FirstErr()
		if w.failed == nil && err != nil {
			w.failed = fmt.Errorf("partition %d, record %d: %w", w.partition, n, err)
		}
		if err == nil {
			w.acked = append(w.acked, time.Now())
		}
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// ackedSince reports whether every partition had a record acknowledged that was acknowledged after a moment.
func (l *load) ackedSince(at time.Time) bool {
	for _, w := range l.writers {
		w.mu.Lock()
		ok := w.failed != nil || len(w.acked) > 0 && w.acked[len(w.acked)-1].After(at)
		w.mu.Unlock()
		if !ok {
			return false
		}
	}
	return true
}

// gap is the longest time between two acknowledgements of one partition that lies partly behind a moment.
func (l *load) gap(from time.Time) (longest time.Duration) {
	for _, w := range l.writers {
		w.mu.Lock()
		for i := len(w.acked) - 1; i > 0 && w.acked[i].After(from); i-- {
			longest = max(longest, w.acked[i].Sub(w.acked[i-1]))
		}
		w.mu.Unlock()
	}
	return longest
}

// failed is what sends failed with.
func (l *load) failed() error {
	var errs []error
	for _, w := range l.writers {
		w.mu.Lock()
		errs = append(errs, w.failed)
		w.mu.Unlock()
	}
	return errors.Join(errs...)
}

// leads is how many partitions each node leads, and whether every replica of every partition is in sync.
func (l *load) leads(ctx context.Context) (by map[int]int, inSync bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	topics, err := l.admin.ListTopics(ctx, topic)
	if err != nil {
		return nil, false, err
	}
	// Who has not heard of the topic yet knows of no partition.
	if known := len(topics[topic].Partitions); known < len(l.writers) {
		return nil, false, fmt.Errorf("the node that was asked knows %d of %d partitions", known, len(l.writers))
	}
	by, inSync = map[int]int{}, true
	for _, p := range topics[topic].Partitions {
		if p.Err != nil {
			return nil, false, p.Err
		}
		by[int(p.Leader)]++
		inSync = inSync && len(p.ISR) == 3
	}
	return by, inSync, nil
}

func (l *load) close() {
	l.stop()
	l.give()
	l.workers.Wait()
	l.client.Close()
}

// ends is where the partitions end. It is asked for again while a node that is asked does not know all of them.
func (l *load) ends(ctx context.Context) (map[int32]int64, error) {
	for begin := time.Now(); ; {
		listed, err := l.admin.ListEndOffsets(ctx, topic)
		ends := map[int32]int64{}
		for _, w := range l.writers {
			end, found := listed.Lookup(topic, w.partition)
			if err == nil && !found {
				err = fmt.Errorf("nobody says where partition %d ends", w.partition)
			}
			err = errors.Join(err, end.Err)
			ends[w.partition] = end.Offset
		}
		if err == nil {
			return ends, nil
		}
		if time.Since(begin) > syncPatience {
			return nil, err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// verify ends the load and reads everything back: what was acknowledged is there, once and in order.
func (l *load) verify(ctx context.Context) error {
	l.stop()
	l.workers.Wait()
	if err := l.failed(); err != nil {
		return err
	}
	ends, err := l.ends(ctx)
	if err != nil {
		return err
	}
	assigned, left := map[int32]kgo.Offset{}, 0
	for p, end := range ends {
		left += int(end)
		assigned[p] = kgo.NewOffset().AtStart()
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(l.kafka...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: assigned}))
	if err != nil {
		return err
	}
	defer reader.Close()
	read := make([]uint64, len(l.writers))
	var wrong []error
	for left > 0 && len(wrong) < 10 {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		fetches := reader.PollFetches(ctx)
		cancel()
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%d records were not read: %w", left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			if n := binary.BigEndian.Uint64(r.Value); n != read[r.Partition] {
				wrong = append(wrong, fmt.Errorf("partition %d, offset %d: record %d stands where record %d should", r.Partition, r.Offset, n, read[r.Partition]))
			}
			read[r.Partition]++
		})
	}
	acked, verified := 0, 0
	for i, w := range l.writers {
		acked += len(w.acked)
		verified += min(len(w.acked), int(read[i]))
		if len(w.acked) > int(read[i]) {
			wrong = append(wrong, fmt.Errorf("partition %d: %d records were acknowledged, and %d are there", i, len(w.acked), read[i]))
		}
	}
	fmt.Printf("failover: acked=%d verified=%d lost=%d out_of_place=%d\n", acked, verified, acked-verified, len(wrong))
	return errors.Join(wrong...)
}
