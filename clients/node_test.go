package clients_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/consumer"
	"github.com/weirmq/weir/clients/producer"
	"github.com/weirmq/weir/node/weirtest"
)

// TestAgainstARealNode runs the clients against the production broker: what they wrote is there after a
// kill, and another client reads the same.
func TestAgainstARealNode(t *testing.T) {
	broker := weirtest.Start(t)
	c, err := client.New([]string{broker.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	a, err := admin.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.CreateTopic(ctx, admin.Topic{Name: "t", Partitions: 3, Configs: map[string]string{"retention.ms": "3600000"}}); err != nil {
		t.Fatal(err)
	}
	p, err := producer.New(c, producer.WithCompression(producer.Zstd, 0), producer.WithBatchBytes(2000))
	if err != nil {
		t.Fatal(err)
	}
	const n = 3000
	for i := range n {
		err := p.ProduceAsync(ctx, producer.Record{Topic: "t", Key: fmt.Append(nil, i%10), Value: fmt.Append(nil, i)},
			func(_ producer.Result, err error) {
				if err != nil {
					t.Errorf("record %d: %v", i, err)
				}
			})
		if err != nil {
			t.Fatal(err)
		}
		if i == n/2 {
			if err := p.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			broker.Kill()
			broker.Restart()
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	ends, err := a.EndOffsets(ctx, "t")
	if err != nil || len(ends) != 3 {
		t.Fatalf("ends %v, %v", ends, err)
	}
	k, err := consumer.New(c, consumer.WithTopics("t"), consumer.WithStopAtEnd())
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	ours := map[int32][]string{}
	for rec, err := range k.Records(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		ours[rec.Partition] = append(ours[rec.Partition], string(rec.Value))
	}
	theirs := map[int32][]string{}
	other, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr()), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for count := 0; count < n; {
		fetches := other.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			theirs[r.Partition] = append(theirs[r.Partition], string(r.Value))
			count++
		})
	}
	total := 0
	for i := range int32(3) {
		total += len(ours[i])
		if fmt.Sprint(ours[i]) != fmt.Sprint(theirs[i]) {
			t.Errorf("partition %d: we read %d records, franz-go %d, and not the same", i, len(ours[i]), len(theirs[i]))
		}
		if int64(len(ours[i])) != ends[i].Offset {
			t.Errorf("partition %d ends at %d, %d records came", i, ends[i].Offset, len(ours[i]))
		}
	}
	if total != n {
		t.Errorf("%d records came, not %d", total, n)
	}
}
