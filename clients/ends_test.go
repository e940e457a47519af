package clients_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/consumer"
	"github.com/weirmq/weir/clients/producer"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func put(t *testing.T, c *client.Client, topic string, partition int32, n int) {
	t.Helper()
	p, err := producer.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := p.Produce(t.Context(), producer.Record{Topic: topic, Partition: producer.On(partition), Value: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// drain counts records until the end.
func drain(t *testing.T, k *consumer.Consumer, each func(r consumer.Record)) (n int, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		records, err := k.Poll(ctx)
		n += len(records)
		for _, r := range records {
			if each != nil {
				each(r)
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

func TestAPartitionThatIsDoneIsReadAgainAfterSeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		s.with(func(c *clienttest.Cluster) { c.Create("t", 2) })
		c := s.client(t)
		put(t, c, "t", 0, 3)
		put(t, c, "t", 1, 300)
		k, err := consumer.New(c, consumer.WithTopics("t"), consumer.WithStopAtEnd(), consumer.WithPollBytes(1), consumer.WithFetchBytes(100, 100))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		sought := false
		n, err := drain(t, k, func(r consumer.Record) {
			if r.Partition == 1 && r.Offset >= 10 && !sought {
				sought = true
				if err := k.Seek("t", 0, consumer.Earliest); err != nil {
					t.Error(err)
				}
			}
		})
		if err != nil || n != 306 {
			t.Errorf("%d records, not 306; %v", n, err)
		}
	})
}

func TestAPartitionThatIsDoneGoesOnWhenItsEndIsMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		s.with(func(c *clienttest.Cluster) { c.Create("t", 2) })
		c := s.client(t)
		put(t, c, "t", 0, 30)
		put(t, c, "t", 1, 300)
		k, err := consumer.New(c, consumer.WithTopics("t"), consumer.WithUntil("t", 0, 3), consumer.WithUntil("t", 1, 300), consumer.WithPollBytes(1), consumer.WithFetchBytes(100, 100))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		moved := false
		n, err := drain(t, k, func(r consumer.Record) {
			if r.Partition == 1 && r.Offset >= 100 && !moved {
				moved = true
				if err := k.Until("t", 0, 10); err != nil {
					t.Error(err)
				}
			}
		})
		if err != nil || n != 310 {
			t.Errorf("%d records, not 310; %v", n, err)
		}
	})
}

// Its end is that of the new topic: records of the former one are gone.
func TestStopAtEndGoesByTheTopicThatWasMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		s.with(func(c *clienttest.Cluster) { c.Create("t", 1) })
		c := s.client(t)
		put(t, c, "t", 0, 20)
		k, err := consumer.New(c, consumer.WithTopics("t"), consumer.WithStopAtEnd(), consumer.WithPollBytes(1), consumer.WithFetchBytes(100, 100))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		former, anew := 0, -1
		_, err = drain(t, k, func(r consumer.Record) {
			if anew >= 0 {
				if r.Offset == 0 {
					anew = 0
				}
				anew++
				return
			}
			if former++; r.Offset == 3 {
				anew = 0
				// Where it ends is asked meanwhile, and is to be told when all five are there.
				s.with(func(c *clienttest.Cluster) {
					c.Delete("t")
					c.Create("t", 1)
					c.Script = func(_ model.NodeID, key protocol.Key, _ string, _ model.Partition) clienttest.Verdict {
						if key == protocol.KeyListOffsets {
							return clienttest.Verdict{Code: kerr.LeaderNotAvailable.Code}
						}
						return clienttest.Verdict{}
					}
				})
				put(t, c, "t", 0, 5)
				s.with(func(c *clienttest.Cluster) { c.Script = nil })
			}
		})
		if err != nil || anew != 5 {
			t.Errorf("%d records of the topic, and then %d of the new one, not 5; %v", former, anew, err)
		}
	})
}

func TestStopAtEndWaitsForTopicsThatAreNotKnownYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		s.with(func(c *clienttest.Cluster) { c.Create("a", 1); c.Create("b", 1) })
		c := s.client(t)
		put(t, c, "a", 0, 3)
		put(t, c, "b", 0, 5)
		// The broker that is asked has not heard of the newer topic yet.
		s.with(func(c *clienttest.Cluster) {
			c.Script = func(_ model.NodeID, key protocol.Key, topic string, _ model.Partition) clienttest.Verdict {
				if key == protocol.KeyMetadata && topic == "b" {
					return clienttest.Verdict{Code: kerr.UnknownTopicOrPartition.Code}
				}
				return clienttest.Verdict{}
			}
		})
		time.AfterFunc(time.Second, func() { s.with(func(c *clienttest.Cluster) { c.Script = nil }) })
		k, err := consumer.New(s.client(t), consumer.WithTopics("a", "b"), consumer.WithStopAtEnd())
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		if n, err := drain(t, k, nil); n != 8 || err != nil {
			t.Errorf("%d records, not 8; %v", n, err)
		}
	})
}

func TestStopAtEndReadsWhatWasAcknowledgedBeforeTheLeaderChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		s.with(func(c *clienttest.Cluster) { c.Create("t", 1) })
		c := s.client(t)
		put(t, c, "t", 0, 20)
		s.with(func(c *clienttest.Cluster) { c.Topic("t").Partitions[0].HighWatermark = 15 })
		time.AfterFunc(time.Second, func() {
			s.with(func(c *clienttest.Cluster) { c.Topic("t").Partitions[0].HighWatermark = -1 })
		})
		k, err := consumer.New(c, consumer.WithTopics("t"), consumer.WithStopAtEnd())
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		if n, err := drain(t, k, nil); n != 20 || err != nil {
			t.Errorf("%d records, not 20; %v", n, err)
		}
	})
}
