package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// topicPartitions is how many partitions a topic has at most; creating one is a single request.
const topicPartitions = 10_000

func topicOf(partition int) (name string, number int32) {
	return fmt.Sprintf("scale-%d", partition/topicPartitions), int32(partition % topicPartitions)
}

func createTopics(ctx context.Context, addr string, partitions int) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer c.Close()
	for from := 0; from < partitions; from += topicPartitions {
		name, _ := topicOf(from)
		_, err := kadm.NewClient(c).CreateTopic(ctx, int32(min(topicPartitions, partitions-from)), 1, nil, name)
		if err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
	}
	return nil
}

// produce sends records to the first so many partitions in turn, and waits until all are acknowledged.
func produce(ctx context.Context, addr string, partitions int, records int64, recordBytes int) error {
	c, err := kgo.NewClient(
		kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20*time.Millisecond),
		kgo.ProducerBatchMaxBytes(1<<20), kgo.MaxBufferedRecords(max(partitions, 20_000)),
		kgo.MaxBufferedBytes(256<<20), kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if err != nil {
		return err
	}
	defer c.Close()
	value := make([]byte, recordBytes)
	for i := range value {
		value[i] = byte(i*7 + i>>8)
	}
	var mu sync.Mutex
	var failed error
	for i := range records {
		topic, n := topicOf(int(i % int64(partitions)))
		c.Produce(ctx, &kgo.Record{Topic: topic, Partition: n, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
		mu.Lock()
		err := failed
		mu.Unlock()
		if err != nil {
			return err
		}
	}
	if err := c.Flush(ctx); err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	return failed
}
