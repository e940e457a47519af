package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/jepsen/cluster"
	"github.com/weirmq/weir/jepsen/ledger"
)

// Options say what to run.
type Options struct {
	Cluster cluster.Options
	Seed    uint64
	Rate    int           // records a second
	For     time.Duration // of load and faults; 0: until the context ends
	Kinds   []string      // of faults; empty: all
	// Producer makes the producer; nil: weir's own.
	Producer func(brokers []string) (Producer, error)
	// Tell is told what happens, a line at a time.
	Tell func(line string)
	// Ready is called when the nodes serve and the load begins.
	Ready func(brokers []string)
}

const (
	partitionCount    = 6
	replicationFactor = 3
	drainPatience     = 60 * time.Second
	askTimeout        = 2 * time.Second // of one node, what it knows of the topic
)

// Run is a run that goes on. Progress may be called at any time, from any goroutine.
type Run struct {
	o       Options
	cluster *cluster.Cluster
	load    *load
	member  *member
	nemesis *nemesis
	gaps    *gaps
	zero    time.Time
	log     *os.File // of the clients

	mu     sync.Mutex
	errors map[int]string // the first error that each node logged
	count  int
}

// Start starts the nodes and makes the topic.
func Start(ctx context.Context, o Options) (*Run, error) {
	if o.Cluster.Transport != "" {
		if len(o.Kinds) == 0 {
			o.Kinds = []string{Kill, Restart, Pause}
		}
		for _, kind := range o.Kinds {
			if strings.HasPrefix(kind, Cut) {
				return nil, fmt.Errorf("%s needs a network that can be cut, which is there for nodes that reach each other by TCP", kind)
			}
		}
	}
	for _, kind := range o.Kinds {
		if !slices.Contains(Kinds, kind) {
			return nil, fmt.Errorf("there is no fault %q; there are %s", kind, strings.Join(Kinds, ", "))
		}
	}
	r := &Run{o: o, gaps: newGaps(partitionCount), errors: map[int]string{}}
	o.Cluster.Line = r.line
	var err error
	if r.cluster, err = cluster.New(o.Cluster); err != nil {
		return nil, err
	}
	if err := r.prepare(ctx); err != nil {
		return nil, errors.Join(err, r.cluster.Close())
	}
	return r, nil
}

func (r *Run) prepare(ctx context.Context) (err error) {
	var undo []func() error
	defer func() {
		for i := len(undo) - 1; err != nil && i >= 0; i-- {
			err = errors.Join(err, undo[i]())
		}
	}()
	started := make(chan error, 1)
	go func() { started <- r.cluster.Start(startPatience) }()
	select {
	case err := <-started:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return errors.New("stopped by a signal before the nodes were ready")
	}
	if r.log, err = os.OpenFile(filepath.Join(r.o.Cluster.Dir, "clients.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
		return err
	}
	undo = append(undo, r.log.Close)
	log := slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cl, err := client.New(r.cluster.Brokers(), client.WithID("chaos"), client.WithLogger(log))
	if err != nil {
		return err
	}
	asks, err := admin.New(cl)
	if err != nil {
		return err
	}
	undo = append(undo, asks.Close)
	topic := fmt.Sprintf("chaos-%s", time.Now().UTC().Format("20060102-150405.000"))
	if err := asks.CreateTopic(ctx, admin.Topic{Name: topic, Partitions: partitionCount, ReplicationFactor: replicationFactor}); err != nil {
		return err
	}
	r.load = &load{
		topic: topic, partitions: partitionCount, seed: r.o.Seed, rate: r.o.Rate, cl: cl, ledger: ledger.New(partitionCount), gaps: r.gaps,
		newProducer: func() (Producer, error) { return newOurs(cl) },
	}
	if theirs := r.o.Producer; theirs != nil {
		r.load.newProducer = func() (Producer, error) { return theirs(r.cluster.Brokers()) }
	}
	r.member = newMember(r.load)
	r.nemesis = &nemesis{
		cluster: r.cluster, admin: asks, topic: topic, rand: rand.New(rand.NewPCG(r.o.Seed, 0)), gaps: r.gaps, tell: r.o.Tell, kinds: r.o.Kinds,
	}
	for _, node := range r.cluster.Nodes {
		r.nemesis.each = append(r.nemesis.each, oneNode(node.Kafka))
	}
	return r.nemesis.whole(ctx, nil, time.Time{}, startPatience)
}

// oneNode asks the node at an address, each time anew: a client that has asked once knows the others, too.
type oneNode string

// DescribeTopics describes topics as that node knows them.
func (addr oneNode) DescribeTopics(ctx context.Context, names ...string) ([]admin.TopicDescription, error) {
	cl, err := client.New([]string{string(addr)}, client.WithRequestTimeout(askTimeout), client.WithDialTimeout(askTimeout))
	if err != nil {
		return nil, err
	}
	a, err := admin.New(cl)
	if err != nil {
		return nil, err
	}
	defer func() { _ = a.Close() }() // nothing is under way
	return a.DescribeTopics(ctx, names...)
}

// line takes in what a node logs.
func (r *Run) line(node int, line []byte) {
	var e struct {
		Level string `json:"level"`
	}
	panicked := len(line) > 6 && string(line[:6]) == "panic:"
	if !panicked && (json.Unmarshal(line, &e) != nil || e.Level != "error") {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	if r.errors[node] == "" {
		r.errors[node] = string(line)
	}
}

// Finish runs load and faults until the time is up or ctx ends, lets everything come to rest, and judges. The nodes are gone
// when it returns.
func (r *Run) Finish(ctx context.Context) *Report {
	defer func() { _ = r.nemesis.admin.Close() }()
	r.zero = time.Now()
	r.gaps.begin()
	r.nemesis.zero = r.zero
	if r.o.Ready != nil {
		r.o.Ready(r.cluster.Brokers())
	}
	stop := make(chan struct{})
	// What winds the run up goes on when ctx has ended: what was promised is still to be looked at.
	reading, endReading := context.WithCancel(context.WithoutCancel(ctx))
	defer endReading()
	sending, endSending := context.WithCancel(context.WithoutCancel(ctx))
	defer endSending()
	var readers, others sync.WaitGroup
	var consumed, inGroup, produced, broken error
	readers.Go(func() { consumed = r.load.consume(reading, r.load.ledger.Read) })
	readers.Go(func() { inGroup = r.member.read(reading) })
	sent := make(chan struct{})
	others.Go(func() { produced = r.load.produce(sending, stop); close(sent) })
	struck := make(chan struct{})
	others.Go(func() {
		broken = r.nemesis.run(context.WithoutCancel(ctx), stop)
		close(struck)
	})
	var over <-chan time.Time
	if r.o.For > 0 {
		t := time.NewTimer(r.o.For)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-over:
	case <-ctx.Done():
	case <-struck: // it could not go on
	case <-sent:
	}
	took := time.Since(r.zero)
	r.member.end()
	close(stop)
	<-struck
	select {
	case <-sent:
	case <-time.After(drainPatience):
		p, since := r.gaps.silent()
		broken = errors.Join(broken, fmt.Errorf("%v after the last fault was mended records wait for their acknowledgement; partition %d has had none for %v", drainPatience, p, since.Round(time.Millisecond)))
		endSending()
	}
	others.Wait()
	broken = errors.Join(broken, produced)
	ends, err := r.ends()
	broken = errors.Join(broken, err)
	if err == nil {
		broken = errors.Join(broken, r.await("the consumer", ends, r.load.ledger.Positions), r.await("the group's member", ends, r.member.positions))
	}
	endReading()
	readers.Wait()
	wasReadAgain := false
	if err == nil {
		wasReadAgain, err = r.readAgain(ends)
		broken = errors.Join(broken, err)
	}
	r.load.ledger.Close(wasReadAgain)
	rep := r.report(took)
	if err := errors.Join(broken, consumed, inGroup, r.cluster.Close(), r.log.Close()); err != nil {
		rep.Failure = err.Error()
	}
	return rep
}

// ends asks where the partitions end.
func (r *Run) ends() ([]int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	listed, err := r.nemesis.admin.EndOffsets(ctx, r.load.topic)
	if err != nil {
		return nil, fmt.Errorf("ask where the partitions end: %w", err)
	}
	ends := make([]int64, partitionCount)
	for _, o := range listed {
		if o.Err != nil {
			return nil, fmt.Errorf("ask where partition %d ends: %w", o.Partition, o.Err)
		}
		ends[o.Partition] = o.Offset
	}
	return ends, nil
}

// await waits until a reader has come to the ends. It gives up when the reader does not move.
func (r *Run) await(who string, ends []int64, positions func() []int64) error {
	var before int64
	for moved := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		left, at := int64(0), int64(0)
		for p, position := range positions() {
			left += max(0, ends[p]-position)
			at += position
		}
		if left == 0 {
			return nil
		}
		if at != before {
			before, moved = at, time.Now()
		}
		if time.Since(moved) > drainPatience {
			return fmt.Errorf("%s stands still with %d records before it", who, left)
		}
	}
}

// readAgain reads everything once more, with a client that has seen nothing.
func (r *Run) readAgain(ends []int64) (bool, error) {
	var mu sync.Mutex
	at := make([]int64, partitionCount)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	read := make(chan error, 1)
	go func() {
		read <- r.load.consume(ctx, func(p int32, number, offset int64) {
			r.load.ledger.ReadAgain(p, number, offset)
			mu.Lock()
			defer mu.Unlock()
			at[p] = offset + 1
		})
	}()
	err := r.await("the second consumer", ends, func() []int64 {
		mu.Lock()
		defer mu.Unlock()
		return append([]int64(nil), at...)
	})
	cancel()
	err = errors.Join(err, <-read)
	return err == nil, err
}

// Progress is what there is to say while it goes on.
type Progress struct {
	Elapsed  time.Duration
	Faults   int
	Counts   ledger.Counts
	WorstGap time.Duration
}

// Progress says how far the run is.
func (r *Run) Progress() Progress {
	return Progress{Elapsed: time.Since(r.zero), Faults: r.nemesis.count(), Counts: r.load.ledger.Counts(), WorstGap: r.gaps.worstNow()}
}

// String is one line.
func (p Progress) String() string {
	c := p.Counts
	s := fmt.Sprintf("%v  faults %d  acked %d  lost %d  duplicated %d  worst gap %.2f s",
		p.Elapsed.Round(time.Second), p.Faults, c.Acked, c.Lost, c.Duplicated, p.WorstGap.Seconds())
	if c.Reordered+c.Changed+c.Invented > 0 {
		s += fmt.Sprintf("  reordered %d changed %d invented %d", c.Reordered, c.Changed, c.Invented)
	}
	return s
}
