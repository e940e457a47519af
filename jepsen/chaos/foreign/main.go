// Command foreign is weir dev --chaos with a producer that others wrote, franz-go's: what weir's client and weir's nodes have
// misunderstood alike, it finds.
//
//	go run ./jepsen/chaos/foreign --weir bin/weir --for 5m
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/jepsen/chaos"
	"github.com/weirmq/weir/jepsen/cluster"
)

// franz is franz-go's producer: idempotent, with acks=all, as it is unless told otherwise.
type franz struct{ cl *kgo.Client }

func (f franz) Send(ctx context.Context, topic string, partition int32, value []byte, done func(offset int64, err error)) error {
	f.cl.Produce(ctx, &kgo.Record{Topic: topic, Partition: partition, Value: append([]byte(nil), value...)},
		func(rec *kgo.Record, err error) { done(rec.Offset, err) })
	return nil
}

func (f franz) Close(ctx context.Context) error {
	defer f.cl.Close()
	return f.cl.Flush(ctx)
}

func main() {
	weir := flag.String("weir", "bin/weir", "the binary to test")
	length := flag.Duration("for", time.Minute, "how long")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the faults")
	rate := flag.Int("rate", 1000, "records a second")
	timeout := flag.Duration("request-timeout", 2*time.Second, "when franz-go gives up on a node that does not answer; 10 s beyond what it grants the node unless told otherwise")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *weir, *length, *seed, *rate, *timeout); err != nil {
		fmt.Fprintln(os.Stderr, "foreign:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, weir string, length time.Duration, seed uint64, rate int, timeout time.Duration) error {
	weir, err := filepath.Abs(weir)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weir-chaos-")
	if err != nil {
		return err
	}
	say := func(line string) { fmt.Fprintln(os.Stderr, line) }
	r, err := chaos.Start(ctx, chaos.Options{
		Cluster: cluster.Options{Binary: weir, Dir: dir, ClusterID: "u8j--kmgQcmi28nj_Rlaaw", Nodes: 3, Listen: "127.0.0.1:0"},
		Seed:    seed, Rate: rate, For: length, Tell: say,
		Producer: func(brokers []string) (chaos.Producer, error) {
			cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1<<20),
				kgo.ProduceRequestTimeout(timeout), kgo.RequestTimeoutOverhead(timeout), kgo.MetadataMinAge(100*time.Millisecond))
			return franz{cl}, err
		},
	})
	if err != nil {
		return fmt.Errorf("%w; %s is kept", err, dir)
	}
	report := r.Finish(ctx)
	if err := report.Write(os.Stdout); err != nil {
		return err
	}
	if err := report.Err(); err != nil {
		return fmt.Errorf("%w; %s is kept", err, dir)
	}
	return os.RemoveAll(dir)
}
