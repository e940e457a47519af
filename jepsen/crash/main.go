// Command crash kills a real broker again and again under load, and looks for what it promised.
//
//	go run ./jepsen/crash --weir bin/weir --rounds 100
//
// Idempotent producers (franz-go, acks=all) and a consumer work on one `weir dev` across all rounds. Each round
// kills the process with SIGKILL at a random moment, sometimes while it is still recovering, and starts it
// again on the same data. Every acknowledgement is recorded. In the end every partition is read from its start
// to its end, and sim/check judges the history: nothing acknowledged is missing or elsewhere, nothing stands
// twice, every producer's records stand in the order sent, nothing that was consumed has vanished.
//
// A killed process loses nothing that the operating system holds: what a power failure loses is the simulator's
// to test.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weirmq/weir/jepsen/broker"
	"github.com/weirmq/weir/sim/check"
)

type options struct {
	weir, data, history string
	rounds              int
	seed                uint64
	producers           int
	partitions          int
	rate                int
	startMax            time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.weir, "weir", "bin/weir", "the binary to test")
	flag.StringVar(&o.data, "data", "", "keep the data here; by default a temporary directory, removed if all is well")
	flag.StringVar(&o.history, "history", "", "write the history here, as JSON lines that sim/check reads")
	flag.IntVar(&o.rounds, "rounds", 100, "how often to kill")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the moments of death and of the load")
	flag.IntVar(&o.producers, "producers", 8, "how many producers")
	flag.IntVar(&o.partitions, "partitions", 12, "of the topic")
	flag.IntVar(&o.rate, "rate", 4000, "records a second, of all producers together")
	flag.DurationVar(&o.startMax, "start-max", 2*time.Second, "a start that takes longer is a failure")
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.producers < 1 || o.partitions < 1 || o.rate < o.producers {
		fmt.Fprintln(os.Stderr, "crash: wrong usage; see --help")
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

// seedOf derives independent streams from one seed.
func seedOf(seed uint64, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

func run(o options) (err error) {
	if o.weir, err = filepath.Abs(o.weir); err != nil {
		return err
	}
	data := o.data
	if data == "" {
		dir, remove, err := broker.TempDir("weir-crash-")
		if err != nil {
			return err
		}
		data = filepath.Join(dir, "data")
		defer func() {
			if err == nil {
				remove()
			}
		}()
	}
	fmt.Printf("crash: seed=%d rounds=%d data=%s\n", o.seed, o.rounds, data)

	addr, err := broker.FreeAddr()
	if err != nil {
		return err
	}
	k := &killer{o: o, addr: addr, data: data, rand: seedOf(o.seed, 0)}
	if err := k.start(); err != nil {
		return err
	}
	defer func() {
		if k.broker.Running() {
			err = errors.Join(err, k.broker.Kill())
		}
		if err != nil {
			err = fmt.Errorf("%w\nseed %d, data kept in %s, the broker's last words:\n%s", err, o.seed, data, k.broker.Log())
		}
	}()
	l := newLoad(o, addr)
	if err := l.begin(); err != nil {
		return err
	}
	if err := k.rounds(l); err != nil {
		l.abandon()
		return err
	}
	history, err := l.end()
	if err != nil {
		return err
	}
	if err := k.broker.Stop(15 * time.Second); err != nil {
		return err
	}
	return k.judge(history)
}

// killer owns the broker's process.
type killer struct {
	o          options
	addr, data string
	rand       *rand.Rand
	broker     *broker.Broker
	kills      int
	early      int // kills before the broker was ready
	starts     []time.Duration
}

func (k *killer) start() (err error) {
	// Small files and frequent checkpoints put more of recovery into few seconds of load.
	k.broker, err = broker.Start(k.o.weir, k.data, k.addr, "--http", "",
		"--set", "journal.file.bytes=1048576", "--set", "checkpoint.bytes=1048576", "--set", "log.segment.bytes=262144",
		"--set", "in.place.bytes.min=65536")
	if err != nil {
		return err
	}
	if k.kills > 0 && k.rand.IntN(10) == 0 {
		// Die again while recovering.
		time.Sleep(time.Duration(k.rand.IntN(30)) * time.Millisecond)
		if err := k.broker.Kill(); err != nil {
			return err
		}
		k.kills++
		k.early++
		return k.start()
	}
	if err := k.broker.Ready(30 * time.Second); err != nil {
		return err
	}
	k.starts = append(k.starts, k.broker.StartUp)
	return nil
}

func (k *killer) rounds(l *load) error {
	last := time.Now()
	for round := 1; round <= k.o.rounds; round++ {
		time.Sleep(time.Duration(30+k.rand.IntN(600)) * time.Millisecond)
		if !k.broker.Running() {
			return errors.New("the broker ended by itself")
		}
		if err := k.broker.Kill(); err != nil {
			return err
		}
		k.kills++
		if err := k.start(); err != nil {
			return fmt.Errorf("start after kill %d: %w", k.kills, err)
		}
		if err := l.failed(); err != nil {
			return err
		}
		if time.Since(last) > 5*time.Second || round == k.o.rounds {
			last = time.Now()
			fmt.Printf("crash: round %d of %d, %d records acknowledged, %d consumed, start-up max %v\n",
				round, k.o.rounds, l.acked.Load(), l.consumed.Load(), slices.Max(k.starts).Round(time.Millisecond))
		}
	}
	return nil
}

func (k *killer) judge(h *check.History) error {
	if k.o.history != "" {
		f, err := os.Create(k.o.history)
		if err != nil {
			return err
		}
		if err := errors.Join(h.Write(f), f.Close()); err != nil {
			return err
		}
	}
	acked, unknown, stored := 0, 0, 0
	for i := range h.Ops {
		if h.Ops[i].F == check.Send {
			if h.Ops[i].Outcome == check.OK {
				acked++
			} else {
				unknown++
			}
		}
	}
	for _, f := range h.Finals {
		stored += len(f.Values)
	}
	slices.Sort(k.starts)
	fmt.Printf("crash: rounds=%d kills=%d while_recovering=%d acked=%d unacknowledged=%d stored=%d start_up_p50=%v start_up_max=%v seed=%d\n",
		k.o.rounds, k.kills, k.early, acked, unknown, stored, k.starts[len(k.starts)/2].Round(time.Millisecond),
		k.starts[len(k.starts)-1].Round(time.Millisecond), k.o.seed)
	var errs []error
	for _, a := range append(check.Log(h), check.Places(h)...) {
		errs = append(errs, errors.New(a.String()))
	}
	if acked == 0 {
		errs = append(errs, errors.New("nothing was acknowledged: the run shows nothing"))
	}
	if slowest := k.starts[len(k.starts)-1]; slowest > k.o.startMax {
		errs = append(errs, fmt.Errorf("a start took %v, more than %v", slowest, k.o.startMax))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	fmt.Println("crash: every acknowledged record is there once, where it was acknowledged, in its producer's order")
	return nil
}

func timeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
