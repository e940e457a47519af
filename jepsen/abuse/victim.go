package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	victimTopic = "honest"
	victimRate  = 250 // records a second
)

// victim is the honest clients.
type victim struct {
	addr     string
	producer *kgo.Client
	consumer *kgo.Client
	admin    *kadm.Client
	stop     context.CancelFunc
	reading  sync.WaitGroup

	mu    sync.Mutex
	next  uint64
	acked map[uint64]int64 // value to offset
}

func newVictim(ctx context.Context, addr string) (*victim, error) {
	v := &victim{addr: addr, acked: map[uint64]int64{}}
	var err error
	v.producer, err = kgo.NewClient(kgo.SeedBrokers(addr), kgo.ClientID("honest"), kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(time.Minute),
		kgo.DefaultProduceTopic(victimTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return nil, err
	}
	v.admin = kadm.NewClient(v.producer)
	if _, err := v.admin.CreateTopic(ctx, 1, 1, nil, victimTopic); err != nil {
		return nil, err
	}
	v.consumer, err = kgo.NewClient(kgo.SeedBrokers(addr), kgo.ClientID("honest"), kgo.ConsumeTopics(victimTopic), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return nil, err
	}
	var consuming context.Context
	consuming, v.stop = context.WithCancel(ctx)
	v.reading.Go(func() {
		for consuming.Err() == nil {
			v.consumer.PollFetches(consuming)
		}
	})
	return v, nil
}

func (v *victim) close() {
	v.stop()
	v.reading.Wait()
	v.consumer.Close()
	v.producer.Close()
}

// turn sends at a fixed rate and returns the p99 of the time from when a record was due to be sent to its
// acknowledgement: a stall is counted for all who would have come meanwhile.
func (v *victim) turn(ctx context.Context, d time.Duration) time.Duration {
	var mu sync.Mutex
	var took []time.Duration
	var sent sync.WaitGroup
	begin := time.Now()
	for i := 0; ; i++ {
		due := begin.Add(time.Duration(i) * time.Second / victimRate)
		if due.Sub(begin) >= d || ctx.Err() != nil {
			break
		}
		time.Sleep(time.Until(due))
		v.mu.Lock()
		n := v.next
		v.next++
		v.mu.Unlock()
		sent.Add(1)
		v.producer.Produce(ctx, &kgo.Record{Value: binary.BigEndian.AppendUint64(make([]byte, 92), n)}, func(r *kgo.Record, err error) {
			defer sent.Done()
			mu.Lock()
			took = append(took, time.Since(due))
			mu.Unlock()
			if err == nil {
				v.mu.Lock()
				v.acked[n] = r.Offset
				v.mu.Unlock()
			}
		})
	}
	sent.Wait()
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// verify reads everything back and counts what is not as it was acknowledged.
func (v *victim) verify(ctx context.Context) (acked, lost int, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ends, err := v.admin.ListEndOffsets(ctx, victimTopic)
	if err != nil {
		return 0, 0, err
	}
	end, _ := ends.Lookup(victimTopic, 0)
	reader, err := kgo.NewClient(kgo.SeedBrokers(v.addr), kgo.ConsumeTopics(victimTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return 0, 0, err
	}
	defer reader.Close()
	at := map[uint64]int64{}
	doubled := 0
	for seen := int64(0); seen < end.Offset; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return 0, 0, fmt.Errorf("reading back, at %d of %d: %w", seen, end.Offset, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n := binary.BigEndian.Uint64(r.Value[92:])
			if _, twice := at[n]; twice {
				doubled++
			}
			at[n] = r.Offset
			seen = r.Offset + 1
		})
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for n, offset := range v.acked {
		if got, found := at[n]; !found || got != offset {
			lost++
		}
	}
	return len(v.acked), lost + doubled, nil
}
