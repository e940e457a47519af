// Command failover measures, at the client, what the loss of a node costs, with real processes.
//
//	go run ./jepsen/failover --weir bin/weir --kills 100 --stops 20 --rolls 3
//
// In: the binary. Out: a line for every round, the gaps' distribution for each kind of round, and exit code 0 if nothing
// was lost, doubled or refused. When something was, the directory with configurations, data and logs is kept and named.
//
// Three `weir node` processes in the default configuration hold one topic of replication factor 3. A franz-go client
// (idempotent, acks=all, unlimited retries) writes to every partition one record at a time: the next
// when the last is acknowledged. A round takes one node away, waits until every partition is written again, brings the node
// back and waits until every replica is in sync. Kinds of rounds:
//
//   - kill: SIGKILL of one of the nodes that lead, which may be the controller's;
//   - stop: SIGTERM of one, which has others lead first;
//   - roll: SIGTERM and a new start of one node after the other.
//
// A round's gap is the longest time between two acknowledgements of one partition that the round overlaps: what a client
// that waits for each acknowledgement sees, its own --backoff included. Clients' defaults add theirs: this one's are 250 ms,
// doubled with every try, and 5 s before it asks again who leads; the Java client's are 100 ms, doubled up to 1 s.
//
// What is checked: every acknowledged record is there once, in the order sent; no send fails; every round's gap is below
// --gap-max. How short the gaps are is a measurement, not a check: beside it stands the bar of the design.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/weirmq/weir/jepsen/cluster"
)

type options struct {
	weir, data, transport string
	keep, hold            bool
	set                   []string
	kills, stops, rolls   int
	partitions            int
	seed                  uint64
	gapMax, backoff       time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.weir, "weir", "bin/weir", "the binary to test")
	flag.StringVar(&o.data, "data", "", "a new directory for configurations, data and logs; by default a temporary one, removed if all is well")
	flag.BoolVar(&o.keep, "keep", false, "keep that directory in any case")
	flag.StringVar(&o.transport, "transport", "tcp", "between nodes: tcp")
	flag.IntVar(&o.kills, "kills", 100, "how often to kill a leader (SIGKILL)")
	flag.IntVar(&o.stops, "stops", 20, "how often to stop a leader (SIGTERM)")
	flag.IntVar(&o.rolls, "rolls", 3, "how often to restart all nodes, one after the other")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of which nodes are taken away")
	flag.IntVar(&o.partitions, "partitions", 12, "of the topic that is written to")
	flag.DurationVar(&o.gapMax, "gap-max", 10*time.Second, "a longer gap is a failure")
	flag.DurationVar(&o.backoff, "backoff", 50*time.Millisecond, "how long the client waits before it tries or asks again")
	flag.BoolVar(&o.hold, "hold", false, "when something fails, leave the processes as they are until a signal comes, to be looked at")
	flag.Func("set", "a property of every node, as NAME=VALUE; may be repeated", func(s string) error {
		if !strings.Contains(s, "=") {
			return errors.New("not NAME=VALUE")
		}
		o.set = append(o.set, s)
		return nil
	})
	flag.Parse()
	if flag.NArg() > 0 || o.kills < 0 || o.stops < 0 || o.rolls < 0 || o.partitions < 1 {
		fmt.Fprintln(os.Stderr, "failover: wrong usage; see --help")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.weir, err = filepath.Abs(o.weir); err != nil {
		return err
	}
	dir, made := o.data, o.data == ""
	if made {
		if dir, err = os.MkdirTemp("", "weir-failover-"); err != nil {
			return err
		}
	} else if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("--data names a directory that is made for this run: %w", err)
	}
	fmt.Printf("failover: kills=%d stops=%d rolls=%d partitions=%d transport=%s seed=%d dir=%s\n", o.kills, o.stops, o.rolls, o.partitions, o.transport, o.seed, dir)
	id, err := exec.Command(o.weir, "cluster", "id").Output()
	if err != nil {
		return fmt.Errorf("%s cluster id: %w", o.weir, err)
	}
	c, err := cluster.New(cluster.Options{
		Binary: o.weir, Dir: dir, ClusterID: strings.TrimSpace(string(id)), Nodes: 3, Listen: "127.0.0.1:0", Transport: o.transport, Set: o.set,
	})
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, c.Close())
		if err == nil && made && !o.keep {
			err = os.RemoveAll(dir)
			return
		}
		fmt.Printf("failover: kept %s\n", dir)
	}()
	begin := time.Now()
	if err := c.Start(startPatience); err != nil {
		return err
	}
	fmt.Printf("failover: three nodes were ready after %v\n", time.Since(begin).Round(time.Millisecond))
	l, err := newLoad(ctx, c.Brokers(), o.partitions, o.backoff)
	if err != nil {
		return err
	}
	defer l.close()
	r := &rounds{o: o, cluster: c, load: l, gaps: map[string][]time.Duration{}, random: rand.New(rand.NewPCG(o.seed, 0))}
	if err = r.all(ctx); err == nil {
		r.report()
		err = l.verify(ctx)
	}
	if err != nil && o.hold {
		fmt.Printf("failover: %v\nfailover: the processes stay as they are until a signal comes: %v\n", err, c.Brokers())
		<-ctx.Done()
	}
	return err
}
