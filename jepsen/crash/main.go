// Command crash kills a real broker again and again under load, and looks for what it promised.
//
//	go run ./jepsen/crash --weir bin/weir --rounds 100
//
// In: the binary and a seed. Out: a line every few rounds, one closing line, and exit code 0 if every promise
// was kept. When one was not, the directory with the data, the broker's log and the history is kept and named.
//
// Franz-go clients work on one `weir dev` across all rounds: idempotent producers with acks=all and unlimited
// retries, most of which keep one producer session through every crash; a consumer by assignment; one that
// creates, deletes and describes topics. Each round ends the process at a random moment, mostly with SIGKILL,
// sometimes again while it recovers, once in ten rounds cleanly with SIGTERM, and starts it on the same data.
//
// What is checked:
//
//  1. Every acknowledged record is there once, at the offset that was acknowledged, with the key, value,
//     headers and time that were sent: in samples after every start, everywhere now and then and in the end.
//  2. Each producer's records stand in the order sent; offsets are dense; what was never acknowledged
//     stands there at most once.
//  3. What the consumer saw never changes and never disappears. The log's end never falls behind an acknowledgement.
//  4. Topics that were created are there, deleted ones are not (linearizable, by porcupine).
//  5. A start takes less than --start-max. SIGTERM exits with 0, and the start after it replays nothing.
//  6. The broker logs no error.
//
// The seed fixes moments of death, configurations and what is sent, not how the operating system schedules: a seed
// repeats a kind of run, not a run. Deliberately absent: power failure. A killed process loses nothing that
// the operating system holds; what an unsynced page does is for the simulator to test.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weirmq/weir/jepsen/broker"
	"github.com/weirmq/weir/sim/check"
)

type options struct {
	weir, data string
	keep       bool
	rounds     int
	seed       uint64
	producers  int
	rate       int
	startMax   time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.weir, "weir", "bin/weir", "the binary to test")
	flag.StringVar(&o.data, "data", "", "a new directory for the data, the broker's log and the history; by default a temporary one, removed if all is well")
	flag.BoolVar(&o.keep, "keep", false, "keep that directory in any case")
	flag.IntVar(&o.rounds, "rounds", 100, "how often to end the broker")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the moments of death and of the load")
	flag.IntVar(&o.producers, "producers", 8, "how many producers; every fourth is replaced by a new client now and then")
	flag.IntVar(&o.rate, "rate", 3000, "sends a second, of all producers together")
	flag.DurationVar(&o.startMax, "start-max", 2*time.Second, "a start that takes longer is a failure")
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.producers < 1 || o.rate < o.producers {
		fmt.Fprintln(os.Stderr, "crash: wrong usage; see --help")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

// seedOf derives independent streams from one seed.
func seedOf(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

func run(ctx context.Context, o options) (err error) {
	if o.weir, err = filepath.Abs(o.weir); err != nil {
		return err
	}
	dir, made := o.data, false
	if dir == "" {
		made = true
		if dir, err = os.MkdirTemp("", "weir-crash-"); err != nil {
			return err
		}
	} else if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("--data names a directory that is made for this run: %w", err)
	}
	fmt.Printf("crash: seed=%d rounds=%d dir=%s\n", o.seed, o.rounds, dir)
	addr, err := broker.FreeAddr()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "broker.log"))
	if err != nil {
		return err
	}
	n := &nemesis{
		o: o, addr: addr, data: filepath.Join(dir, "data"), rand: seedOf(o.seed, 0), log: log, counts: map[string]int{},
	}
	l := newLoad(o, addr)
	history := l.history.snapshot
	defer func() {
		if n.broker != nil && n.broker.Running() {
			err = errors.Join(err, n.broker.Kill())
		}
		err = errors.Join(err, log.Close())
		if err == nil && made && !o.keep {
			err = os.RemoveAll(dir)
			return
		}
		path := filepath.Join(dir, "history.jsonl")
		err = errors.Join(err, write(path, history()))
		fmt.Printf("crash: kept %s: data, broker.log, history.jsonl\n", dir)
		if err != nil {
			err = fmt.Errorf("%w\nseed %d", err, o.seed)
		}
	}()
	if err := n.start(false); err != nil {
		return err
	}
	if err := l.begin(); err != nil {
		return err
	}
	if err := rounds(ctx, n, l); err != nil {
		if ctx.Err() != nil {
			return errors.New("stopped by a signal") // which the broker may have been sent as well
		}
		return err
	}
	if err := l.end(); err != nil {
		return err
	}
	final, err := look(l)
	if err != nil {
		return err
	}
	history = func() *check.History { return final }
	if err := errors.Join(n.broker.Stop(20*time.Second), n.complaints(), l.failed()); err != nil {
		return err
	}
	return conclude(n, l, judge(final))
}

// rounds ends and starts the broker, and looks at what is there each time.
func rounds(ctx context.Context, n *nemesis, l *load) error {
	cl, err := l.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	r := seedOf(n.o.seed, 1<<33)
	last, nextLook := time.Now(), 10
	for round := 1; round <= n.o.rounds; round++ {
		if err := n.round(round); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		ends, err := l.ends(cl)
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if err := l.again(r, ends); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if round == nextLook && round < n.o.rounds {
			nextLook += max(1, nextLook/2) // a look costs as much as there is
			h, err := look(l)
			if err != nil {
				return fmt.Errorf("round %d: %w", round, err)
			}
			v := judge(h)
			if err := v.err(); err != nil {
				fmt.Printf("crash: rounds=%d %v seed=%d\n", round, v, n.o.seed)
				return fmt.Errorf("round %d: %w", round, err)
			}
		}
		if err := errors.Join(ctx.Err(), l.failed()); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if time.Since(last) > 5*time.Second || round == n.o.rounds {
			last = time.Now()
			slowest, _ := n.startUps()
			fmt.Printf("crash: round %d of %d, %d records acknowledged, %d reads checked, slowest start %d ms\n",
				round, n.o.rounds, l.history.ackedCount(), l.reads.Load(), slowest.Milliseconds())
		}
	}
	return nil
}

// look reads everything there is, and returns the history as far as that can judge it.
func look(l *load) (*check.History, error) {
	cl, err := l.client()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	finals, err := l.readAll(cl)
	if err != nil {
		return nil, err
	}
	return upTo(l.history.snapshot(), finals), nil
}

func conclude(n *nemesis, l *load, v *verdict) error {
	slowest, median := n.startUps()
	fmt.Printf("crash: kills=%d while_recovering=%d clean_stops=%d producers=%d reads=%d; seen in the broker's log: retries_recognised=%d segments_rolled=%d checkpoints=%d\n",
		n.kills, n.early, n.stops, l.clients.Load(), l.reads.Load(), n.count("duplicate_batch"), n.count("segment_rolled"), n.count("checkpointed"))
	fmt.Printf("crash: rounds=%d %v start_max=%dms start_p50=%dms seed=%d\n",
		n.o.rounds, v, slowest.Milliseconds(), median.Milliseconds(), n.o.seed)
	err := v.err()
	if slowest >= n.o.startMax {
		err = errors.Join(err, fmt.Errorf("a start took %v, more than %v", slowest, n.o.startMax))
	}
	return err
}

func write(path string, h *check.History) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(h.Write(f), f.Close())
}
