package weirtest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/node/weirtest"
)

func client(t *testing.T, b *weirtest.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.Addr()), kgo.Dialer(b.Dial), kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics("orders"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func exchange(t *testing.T, cl *kgo.Client, from, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := from; i < from+n; i++ {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for next := from; next < from+n; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		for r := range fs.RecordsAll() {
			if string(r.Value) != fmt.Sprint(next) {
				t.Fatalf("%q, want %d", r.Value, next)
			}
			next++
		}
	}
}

func TestBrokerSurvivesKillAndRestart(t *testing.T) {
	for name, options := range map[string][]weirtest.Option{"port": nil, "memory": {weirtest.InMemory()}} {
		t.Run(name, func(t *testing.T) {
			b := weirtest.Start(t, options...)
			addr := b.Addr()
			cl := client(t, b)
			defer cl.Close()
			exchange(t, cl, 0, 20)
			b.Kill()
			b.Restart()
			exchange(t, cl, 20, 20)
			b.Restart()
			exchange(t, cl, 40, 20)
			if b.Addr() != addr {
				t.Errorf("the address moved from %s to %s", addr, b.Addr())
			}
		})
	}
}

// A broker and an unmodified franz-go client in a bubble: an hour of long polls takes no time.
func TestBrokerRunsInsideABubble(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := weirtest.Start(t, weirtest.InMemory(), weirtest.Property("log.dirs", dir+"/data"))
		cl := client(t, b, kgo.FetchMaxWait(5*time.Second))
		begin := time.Now()
		exchange(t, cl, 0, 5)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if n := cl.PollFetches(ctx).NumRecords(); n != 0 || time.Since(begin) < time.Hour {
			t.Errorf("%d records after %v", n, time.Since(begin))
		}
		exchange(t, cl, 5, 5)
		cl.Close()
		b.Stop()
	})
}

func TestPropertyIsChecked(t *testing.T) {
	t.Parallel()
	b := weirtest.Start(t, weirtest.Property("num.partitions", "5"))
	cl := client(t, b)
	defer cl.Close()
	exchange(t, cl, 0, 1)
	if leader, _, err := cl.PartitionLeader("orders", 4); leader != 1 || err != nil {
		t.Errorf("partition 4 is led by %d: %v", leader, err)
	}
}
