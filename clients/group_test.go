package clients_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/consumer"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// fillTopic writes n records, in turn to the partitions, in batches of three.
func fillTopic(s *served, topic string, partitions, n int) {
	t := s.Topic(topic)
	if t == nil {
		t = s.Create(topic, partitions)
	}
	var b record.Builder
	for i := range n {
		b.Begin(record.NewOptions(record.CodecNone))
		for j := range 3 {
			b.Append(record.Record{Value: fmt.Appendf(nil, "%d.%d", i, j), Timestamp: 1})
		}
		t.Partitions[i%partitions].Append(b.Finish())
	}
}

func TestMembersReadEachRecordOnce(t *testing.T) {
	for name, strategies := range map[string]consumer.Option{
		"eager":       consumer.WithStrategies(consumer.Range, consumer.RoundRobin),
		"cooperative": consumer.WithStrategies(consumer.CooperativeSticky),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, 2)
				defer s.close()
				fillTopic(s, "t", 4, 200)
				seen := map[string]int{}
				var changes []string
				member := func() *consumer.Consumer {
					k, err := consumer.New(s.client(t), consumer.WithGroup("g"), consumer.WithTopics("t"), strategies, consumer.WithPollBytes(1),
						consumer.WithSession(6*time.Second, 200*time.Millisecond), consumer.WithOnRebalance(func(c consumer.Change, p []consumer.Partition) {
							changes = append(changes, fmt.Sprint(c, " ", len(p)))
						}))
					if err != nil {
						t.Fatal(err)
					}
					return k
				}
				// The members poll in turn, a little at a time, so that both are in the middle of it.
				poll := func(k *consumer.Consumer) int {
					ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
					defer cancel()
					records, err := k.Poll(ctx)
					if err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Fatal(err)
					}
					for _, r := range records {
						seen[fmt.Sprintf("%d@%d", r.Partition, r.Offset)]++
					}
					return len(records)
				}
				a := member()
				for n := 0; n < 60; {
					n += poll(a)
				}
				b := member()
				for range 40 {
					poll(a)
					poll(b)
				}
				if owned, err := b.Owned(); err != nil || len(owned) != 2 {
					t.Errorf("the second member has %v, %v", owned, err)
				}
				if err := a.Close(); err != nil {
					t.Error(err)
				}
				for range 200 {
					poll(b)
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				if len(seen) != 600 {
					t.Errorf("%d records were read, of 600", len(seen))
				}
				for at, n := range seen {
					if n != 1 {
						t.Errorf("%s was read %d times", at, n)
					}
				}
				for p := range int32(4) {
					if o := s.Group("g").Offsets[clienttest.Place{Topic: "t", Partition: p}]; o.Offset != 150 {
						t.Errorf("partition %d is committed to %d", p, o.Offset)
					}
				}
				if len(changes) < 4 {
					t.Errorf("told of %v", changes)
				}
				if n := len(s.Group("g").Members); n != 0 {
					t.Errorf("%d members have not left", n)
				}
			})
		})
	}
}

// What the first Poll returns may have been there for long, and so may the news that its partition is ours.
func TestWhatWasThereBeforeTheFirstPollIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		fillTopic(s, "t", 2, 4)
		k, err := consumer.New(s.client(t), consumer.WithGroup("g"), consumer.WithTopics("t"), consumer.WithPollBytes(1))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		for n := 0; n < 12; {
			records, err := k.Poll(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n += len(records)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		for p := range int32(2) {
			if o := s.Group("g").Offsets[clienttest.Place{Topic: "t", Partition: p}]; o.Offset != 6 {
				t.Errorf("partition %d is committed to %d of 6", p, o.Offset)
			}
		}
	})
}

func TestWhatWasNotReturnedIsNotCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		fillTopic(s, "t", 1, 4)
		open := func() *consumer.Consumer {
			k, err := consumer.New(s.client(t), consumer.WithGroup("g"), consumer.WithTopics("t"), consumer.WithSession(6*time.Second, 100*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		k := open()
		n := 0
		for _, err := range k.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 5 {
				break
			}
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		committed := func() int64 { return s.Group("g").Offsets[clienttest.Place{Topic: "t"}].Offset }
		if committed() != 5 {
			t.Errorf("committed %d after 5 records", committed())
		}
		// A Poll that nobody waited for any more.
		k = open()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		records, err := k.Poll(ctx)
		cancel()
		if err != nil || len(records) != 7 || records[0].Offset != 5 {
			t.Errorf("read %d records, %v", len(records), err)
		}
		k.Unread(records[3:])
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		_, _ = k.Poll(ctx)
		k.Unread(records[3:])
		if err := k.Commit(t.Context()); err != nil || committed() != 8 {
			t.Errorf("committed %d, %v", committed(), err)
		}
		if err := k.CommitRecords(t.Context(), records[5]); err != nil || committed() != 11 {
			t.Errorf("committed %d, %v", committed(), err)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Nothing more comes, and the group is to know how far it is.
func TestWhatWasReturnedIsCommittedWhilePollWaits(t *testing.T) {
	t.Run("now and then", func(t *testing.T) { commitsWhilePollWaits(t, time.Second) })
	t.Run("with every Poll", func(t *testing.T) { commitsWhilePollWaits(t, 0) })
}

func commitsWhilePollWaits(t *testing.T, every time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		fillTopic(s, "t", 1, 3)
		k, err := consumer.New(s.client(t), consumer.WithGroup("g"), consumer.WithTopics("t"), consumer.WithCommitInterval(every))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		committed := func() (offset int64, commits int) {
			s.with(func(c *clienttest.Cluster) {
				offset, commits = c.Group("g").Offsets[clienttest.Place{Topic: "t"}].Offset, c.Group("g").Commits
			})
			return offset, commits
		}
		n := 0
		for n < 9 {
			records, err := k.Poll(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n += len(records)
		}
		// What the last Poll returned may not have been dealt with until Poll is called again.
		time.Sleep(time.Minute)
		if at, _ := committed(); at >= 9 {
			t.Errorf("committed %d, and nobody has asked for more", at)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := k.Poll(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		at, commits := committed()
		if at != 9 {
			t.Errorf("committed %d after 9 records", at)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, _ = k.Poll(ctx)
		if _, more := committed(); more != commits {
			t.Errorf("%d commits of what was committed", more-commits)
		}
	})
}

func TestWhatCannotBeReadIsNotCommitted(t *testing.T) {
	for name, alone := range map[string]bool{"in one answer": false, "in an answer of its own": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, 1)
				defer s.close()
				fillTopic(s, "t", 1, 1)
				var b record.Builder
				b.Begin(record.NewOptions(record.CodecGzip))
				b.Append(record.Record{Value: make([]byte, 1000), Timestamp: 1}) // it inflates to more than it may
				s.Topic("t").Partitions[0].Append(b.Finish())
				fillTopic(s, "t", 1, 1)
				options := []consumer.Option{consumer.WithGroup("g"), consumer.WithTopics("t"), consumer.WithMaxInflatedBytes(100)}
				if alone {
					options = append(options, consumer.WithFetchBytes(1<<20, 60))
				}
				k, err := consumer.New(s.client(t), options...)
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				for bad := false; !bad; {
					records, err := k.Poll(t.Context())
					n += len(records)
					bad = err != nil
					time.Sleep(time.Second)
				}
				if n != 3 {
					t.Errorf("%d records, not the 3 that come before", n)
				}
				if err := k.Close(); err != nil {
					t.Error(err)
				}
				if o := s.Group("g").Offsets[clienttest.Place{Topic: "t"}]; o.Offset != 3 {
					t.Errorf("committed %d after 3 records", o.Offset)
				}
			})
		})
	}
}

func TestNothingOfATopicIsCommittedAfterItWasMadeAnew(t *testing.T) {
	for name, reset := range map[string]consumer.Reset{"earliest": consumer.ResetEarliest, "latest": consumer.ResetLatest, "none": consumer.ResetNone} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, 1)
				defer s.close()
				fillTopic(s, "t", 1, 4)
				k, err := consumer.New(s.client(t), consumer.WithGroup("g"), consumer.WithTopics("t"), consumer.WithReset(reset))
				if err != nil {
					t.Fatal(err)
				}
				for n := 0; n < 12; {
					records, err := k.Poll(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					n += len(records)
				}
				s.with(func(c *clienttest.Cluster) {
					c.Delete("t")
					clear(c.Group("g").Offsets) // as brokers do
					fillTopic(s, "t", 1, 1)
				})
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				records, _ := k.Poll(ctx)
				if err := k.Close(); err != nil {
					t.Error(err)
				}
				if o, some := s.Group("g").Offsets[clienttest.Place{Topic: "t"}]; some && o.Offset != int64(len(records)) {
					t.Errorf("committed %d after %d records of the new topic", o.Offset, len(records))
				}
			})
		})
	}
}

func TestAGroupThatRefusesIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, 1)
		defer s.close()
		s.Create("t", 1)
		s.Script = func(_ model.NodeID, key protocol.Key, _ string, _ model.Partition) clienttest.Verdict {
			if key == protocol.KeyJoinGroup {
				return clienttest.Verdict{Code: kerr.GroupAuthorizationFailed.Code}
			}
			return clienttest.Verdict{}
		}
		k, err := consumer.New(s.client(t), consumer.WithGroup("g"), consumer.WithTopics("t"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Poll(t.Context()); !errors.Is(err, kerr.GroupAuthorizationFailed) || !errors.Is(err, client.ErrRefused) {
			t.Errorf("polling says %v", err)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		if _, err := consumer.New(s.client(t), consumer.WithGroup("g"), consumer.WithPartition("t", 0, consumer.Earliest)); err == nil {
			t.Error("a group and a partition of one's own go together")
		}
		alone, err := consumer.New(s.client(t))
		if err != nil {
			t.Fatal(err)
		}
		defer alone.Close()
		if err := alone.Commit(t.Context()); err == nil {
			t.Error("a consumer without a group commits")
		}
	})
}
