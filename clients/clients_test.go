package clients_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/consumer"
	"github.com/weirmq/weir/clients/producer"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func TestEmptyIsNotNull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		c := s.client(t)
		s.Create("t", 1)
		p, err := producer.New(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		for _, r := range []producer.Record{{Key: []byte{}, Value: []byte{}}, {}, {Key: []byte("k"), Value: []byte{}}} {
			r.Topic = "t"
			if _, err := p.Produce(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
		k, err := consumer.New(c, consumer.WithPartition("t", 0, consumer.Earliest), consumer.WithUntil("t", 0, 3))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		got := ""
		for rec, err := range k.Records(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			got += fmt.Sprintf("%v %v;", rec.Key == nil, rec.Value == nil)
		}
		if got != "false false;true true;false false;" {
			t.Errorf("null came back as %s", got)
		}
	})
}

func TestPartitionsEndWhereTheyAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		c := s.client(t)
		s.Create("t", 2)
		p, err := producer.New(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		for i := range 20 {
			if _, err := p.Produce(ctx, producer.Record{Topic: "t", Partition: producer.On(int32(i % 2)), Value: []byte{byte(i)}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
		k, err := consumer.New(c, consumer.WithTopics("t"), consumer.WithUntil("t", 0, 4))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		// Partition 1 gets its end while it is being read, below what was read.
		count := map[int32]int{}
		for rec, err := range k.Records(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			count[rec.Partition]++
			if count[1] == 10 {
				if err := k.Until("t", 1, 6); err != nil {
					t.Fatal(err)
				}
			}
		}
		if count[0] != 4 || count[1] != 10 {
			t.Errorf("read %v", count)
		}
	})
}

func TestWhatIsProducedIsConsumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 3)
		defer s.close()
		c := s.client(t)
		a, err := admin.New(c)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		ctx := t.Context()
		if err := a.CreateTopic(ctx, admin.Topic{Name: "orders", Partitions: 3}); err != nil {
			t.Fatal(err)
		}
		if err := a.CreateTopic(ctx, admin.Topic{Name: "orders"}); !errors.Is(err, kerr.TopicAlreadyExists) || !client.Definite(err) {
			t.Errorf("a second creation: %v", err)
		}
		p, err := producer.New(c, producer.WithCompression(producer.Lz4, 0))
		if err != nil {
			t.Fatal(err)
		}
		const n = 2000
		failed := make(chan error, n)
		for i := range n {
			err := p.ProduceAsync(ctx, producer.Record{
				Topic: "orders", Key: fmt.Appendf(nil, "k%d", i%17), Value: fmt.Appendf(nil, "v%d", i),
				Headers: []producer.Header{{Key: "h", Value: []byte("x")}},
			}, func(res producer.Result, err error) {
				if err != nil {
					failed <- err
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		res, err := p.Produce(ctx, producer.Record{Topic: "orders", Partition: producer.On(2), Value: []byte("last")})
		if err != nil || res.Partition != 2 {
			t.Errorf("the last one: %+v, %v", res, err)
		}
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
		select {
		case err := <-failed:
			t.Errorf("a record failed: %v", err)
		default:
		}
		ends, err := a.EndOffsets(ctx, "orders")
		total := int64(0)
		for _, o := range ends {
			total += o.Offset
		}
		if err != nil || total != n+1 {
			t.Errorf("the partitions end at %v in sum %d, %v", ends, total, err)
		}
		k, err := consumer.New(c, consumer.WithTopics("orders"), consumer.WithStopAtEnd())
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		next := map[int32]int64{}
		last := map[string]int{}
		count := 0
		for rec, err := range k.Records(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if rec.Offset != next[rec.Partition] {
				t.Fatalf("offset %d of %d came, not %d", rec.Offset, rec.Partition, next[rec.Partition])
			}
			next[rec.Partition]++
			count++
			if rec.Key == nil {
				continue
			}
			var i int
			if _, err := fmt.Sscanf(string(rec.Value), "v%d", &i); err != nil || i < last[string(rec.Key)] {
				t.Fatalf("key %s has %s after %d", rec.Key, rec.Value, last[string(rec.Key)])
			}
			last[string(rec.Key)] = i
			if len(rec.Headers) != 1 || string(rec.Headers[0].Key) != "h" {
				t.Fatalf("headers %v", rec.Headers)
			}
		}
		if count != n+1 {
			t.Errorf("%d records came, not %d", count, n+1)
		}
	})
}

func TestProducerSurvivesLostConnectionsAndMovingLeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 3)
		defer s.close()
		s.with(func(c *clienttest.Cluster) { c.Create("t", 2) })
		answers := 0
		s.cut = func(model.NodeID) bool { // every seventh answer is lost with its connection
			answers++
			return answers%7 == 0
		}
		p, err := producer.New(s.client(t), producer.WithBatchBytes(500), producer.WithLinger(time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		for i := range 1000 {
			err := p.ProduceAsync(ctx, producer.Record{Topic: "t", Partition: producer.On(int32(i % 2)), Value: fmt.Appendf(nil, "%d", i)},
				func(_ producer.Result, err error) {
					if err != nil {
						t.Errorf("record %d: %v", i, err)
					}
				})
			if err != nil {
				t.Fatal(err)
			}
			if i%100 == 50 {
				s.with(func(c *clienttest.Cluster) { c.Topic("t").Partitions[i/100%2].Move(model.NodeID(i/100%3 + 1)) })
				time.Sleep(20 * time.Millisecond)
			}
		}
		if err := p.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
		for i, part := range s.Topic("t").Partitions {
			records := part.Records()
			if len(records) != 500 {
				t.Fatalf("partition %d holds %d records, not 500", i, len(records))
			}
			for j, r := range records {
				if string(r.Value) != fmt.Sprint(2*j+i) {
					t.Fatalf("partition %d holds %s at %d", i, r.Value, j)
				}
			}
		}
	})
}

func TestErrorsNameTheirCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		s.with(func(c *clienttest.Cluster) {
			c.Create("t", 1)
			c.Script = func(_ model.NodeID, key protocol.Key, topic string, _ model.Partition) clienttest.Verdict {
				if key == protocol.KeyProduce || key == protocol.KeyFetch {
					return clienttest.Verdict{Code: kerr.TopicAuthorizationFailed.Code}
				}
				return clienttest.Verdict{}
			}
		})
		c := s.client(t)
		ctx := t.Context()
		p, err := producer.New(c, producer.WithDeliveryTimeout(2*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(ctx)
		_, err = p.Produce(ctx, producer.Record{Topic: "t", Value: []byte("x")})
		if !errors.Is(err, kerr.TopicAuthorizationFailed) || !errors.Is(err, client.ErrRefused) || !client.Definite(err) {
			t.Errorf("a forbidden topic: %v", err)
		}
		_, err = p.Produce(ctx, producer.Record{Topic: "missing", Value: []byte("x")})
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || !errors.Is(err, client.ErrTimedOut) || !client.Definite(err) {
			t.Errorf("a missing topic: %v", err)
		}
		if _, err = p.Produce(ctx, producer.Record{Topic: "t", Value: make([]byte, 2<<20)}); !errors.Is(err, client.ErrRecordTooLarge) {
			t.Errorf("a large record: %v", err)
		}
		k, err := consumer.New(c, consumer.WithPartition("t", 0, consumer.Earliest))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		if _, err := k.Poll(ctx); !errors.Is(err, kerr.TopicAuthorizationFailed) {
			t.Errorf("a forbidden partition: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := k.Poll(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a halted partition: %v", err)
		}
	})
}

func TestFullBufferHoldsProducersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		s.with(func(c *clienttest.Cluster) {
			c.Create("t", 1).Partitions[0].Leader = -1
		})
		p, err := producer.New(s.client(t), producer.WithBufferBytes(1000))
		if err != nil {
			t.Fatal(err)
		}
		taken := 0
		for ; taken < 100; taken++ {
			if err = p.TryProduce(producer.Record{Topic: "t", Value: make([]byte, 50)}, nil); err != nil {
				break
			}
		}
		if !errors.Is(err, client.ErrBufferFull) || taken < 5 || taken > 20 {
			t.Errorf("%d records were taken, then %v", taken, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := p.ProduceAsync(ctx, producer.Record{Topic: "t", Value: make([]byte, 50)}, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for room ended with %v", err)
		}
		cancel()
		s.with(func(c *clienttest.Cluster) { c.Topic("t").Partitions[0].Move(1) })
		if err := p.ProduceAsync(t.Context(), producer.Record{Topic: "t", Value: make([]byte, 50)}, nil); err != nil {
			t.Error(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(s.Topic("t").Partitions[0].Records()); n != taken+1 {
			t.Errorf("%d records were written, %d taken", n, taken+1)
		}
		if err := p.TryProduce(producer.Record{Topic: "t"}, nil); !isClosed(err) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestAcksNoneIsBoundedAndDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		s.with(func(c *clienttest.Cluster) { c.Create("t", 1) })
		p, err := producer.New(s.client(t), producer.WithAcks(producer.AcksNone), producer.WithBatchBytes(200))
		if err != nil {
			t.Fatal(err)
		}
		for range 500 {
			if err := p.ProduceAsync(t.Context(), producer.Record{Topic: "t", Value: make([]byte, 50)}, func(res producer.Result, err error) {
				if err != nil || res.Offset != -1 {
					t.Errorf("outcome %+v, %v", res, err)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := len(s.Topic("t").Partitions[0].Records()); n != 500 {
			t.Errorf("%d records arrived, not 500", n)
		}
	})
}

func TestSeekPauseAndPositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 2)
		defer s.close()
		s.with(func(c *clienttest.Cluster) { c.Create("t", 2) })
		c := s.client(t)
		ctx := t.Context()
		p, err := producer.New(c)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			if err := p.ProduceAsync(ctx, producer.Record{Topic: "t", Partition: producer.On(int32(i % 2)), Value: fmt.Append(nil, i)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
		k, err := consumer.New(c, consumer.WithPartition("t", 1, consumer.At(40)))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		batch, err := k.Poll(ctx)
		if err != nil || len(batch) != 10 || batch[0].Offset != 40 {
			t.Fatalf("%d records, %v", len(batch), err)
		}
		if err := k.Seek("t", 1, consumer.At(45)); err != nil {
			t.Fatal(err)
		}
		if batch, err = k.Poll(ctx); err != nil || len(batch) != 5 {
			t.Fatalf("after Seek: %d records, %v", len(batch), err)
		}
		positions, err := k.Positions()
		if err != nil || len(positions) != 1 || positions[0].Offset != 50 || positions[0].Lag != 0 {
			t.Errorf("positions %+v, %v", positions, err)
		}
		if err := k.Pause("t", 1); err != nil {
			t.Fatal(err)
		}
		if err := k.Assign("t", 0, consumer.Earliest); err != nil {
			t.Fatal(err)
		}
		if err := k.Seek("t", 1, consumer.Earliest); err != nil {
			t.Fatal(err)
		}
		if batch, err = k.Poll(ctx); err != nil || len(batch) != 50 || batch[0].Partition != 0 {
			t.Fatalf("while paused: %d records of %v, %v", len(batch), batch[0].Partition, err)
		}
		if err := k.Resume("t", 1); err != nil {
			t.Fatal(err)
		}
		if batch, err = k.Poll(ctx); err != nil || len(batch) != 50 || batch[0].Partition != 1 {
			t.Fatalf("resumed: %d records, %v", len(batch), err)
		}
		if err := k.Seek("t", 7, consumer.Earliest); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("a partition that is not assigned: %v", err)
		}
	})
}

func TestBreakingOffSkipsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		s.with(func(c *clienttest.Cluster) { c.Create("t", 1) })
		c := s.client(t)
		ctx := t.Context()
		p, err := producer.New(c)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if err := p.ProduceAsync(ctx, producer.Record{Topic: "t", Value: fmt.Append(nil, i)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
		k, err := consumer.New(c, consumer.WithTopics("t"), consumer.WithStopAtEnd())
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		next := int64(0)
		for round := range 4 {
			for rec, err := range k.Records(ctx) {
				if err != nil || rec.Offset != next {
					t.Fatalf("offset %d came, not %d; %v", rec.Offset, next, err)
				}
				if next++; next == int64(5*(round+1)) && round < 3 {
					break
				}
			}
		}
		if next != 20 {
			t.Errorf("%d records came, not 20", next)
		}
	})
}

func TestFlushWaitsForWhatWasTakenBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		s.with(func(c *clienttest.Cluster) { c.Create("t", 1) })
		ctx := t.Context()
		p, err := producer.New(s.client(t), producer.WithLinger(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for round := range 3 {
			done := 0
			for range 10 {
				if err := p.ProduceAsync(ctx, producer.Record{Topic: "t", Value: []byte("x")}, func(producer.Result, error) { done++ }); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			if done != 10 {
				t.Errorf("round %d: Flush returned after %d of 10 outcomes", round, done)
			}
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("three flushes took %v: they lingered", took)
		}
		if err := p.Flush(ctx); err != nil {
			t.Error(err)
		}
		// Nobody answers any more: Close gives up with its context, and the record has an outcome all the same.
		s.with(func(c *clienttest.Cluster) { c.Topic("t").Partitions[0].Leader = -1 })
		var outcome error
		if err := p.ProduceAsync(ctx, producer.Record{Topic: "t", Value: []byte("x")}, func(_ producer.Result, err error) { outcome = err }); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := p.Close(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if !errors.Is(outcome, client.ErrClosed) {
			t.Errorf("the record's outcome is %v", outcome)
		}
	})
}

func TestClientsFindAClusterThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 2)
		defer s.close()
		s.with(func(c *clienttest.Cluster) { c.Create("t", 1) })
		c, err := client.New([]string{"nowhere:1", s.Addr(2)}, client.WithDialer(s.network))
		if err != nil {
			t.Fatal(err)
		}
		p, err := producer.New(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Produce(t.Context(), producer.Record{Topic: "t", Value: []byte("x")}); err != nil {
			t.Error(err)
		}
		s.drop(0) // idle connections go away all the time
		time.Sleep(time.Second)
		if _, err := p.Produce(t.Context(), producer.Record{Topic: "t", Value: []byte("y")}); err != nil {
			t.Error(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
