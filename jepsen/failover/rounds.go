package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weirmq/weir/jepsen/cluster"
)

const (
	startPatience = 30 * time.Second
	stopPatience  = 20 * time.Second
	syncPatience  = 60 * time.Second
	// quiet is how long all is well between rounds.
	quiet = 300 * time.Millisecond
)

// bars are the design's, for what is measured here.
var bars = map[string]struct{ p50, p99 time.Duration }{
	"kill": {600 * time.Millisecond, 1500 * time.Millisecond},
	"stop": {100 * time.Millisecond, 100 * time.Millisecond},
	"roll": {100 * time.Millisecond, 100 * time.Millisecond},
}

// rounds take nodes away and bring them back.
type rounds struct {
	o       options
	cluster *cluster.Cluster
	load    *load
	gaps    map[string][]time.Duration
	count   int
	random  *rand.Rand
}

func (r *rounds) all(ctx context.Context) error {
	if err := r.settled(ctx); err != nil {
		return err
	}
	for _, of := range []struct {
		kind  string
		count int
		once  func(context.Context) error
	}{{"kill", r.o.kills, r.kill}, {"stop", r.o.stops, r.stop}, {"roll", r.o.rolls, r.roll}} {
		for range of.count {
			if err := of.once(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *rounds) kill(ctx context.Context) error {
	return r.without(ctx, "kill", r.leading, func(n *cluster.Node) error { return n.Kill() })
}

func (r *rounds) stop(ctx context.Context) error {
	return r.without(ctx, "stop", r.leading, func(n *cluster.Node) error { return n.Stop(stopPatience) })
}

func (r *rounds) roll(ctx context.Context) error {
	for node := 1; node <= 3; node++ {
		err := r.without(ctx, "roll", func(context.Context) (int, error) { return node, nil }, func(n *cluster.Node) error { return n.Stop(stopPatience) })
		if err != nil {
			return err
		}
	}
	return nil
}

// leading draws one of the nodes that lead. The node that is asked may not know yet what another has told.
func (r *rounds) leading(ctx context.Context) (node int, err error) {
	for begin := time.Now(); ; {
		by, _, err := r.load.leads(ctx)
		var leaders []int
		for n := 1; n <= 3; n++ {
			if by[n] > 0 {
				leaders = append(leaders, n)
			}
		}
		if len(leaders) > 0 {
			return leaders[r.random.IntN(len(leaders))], nil
		}
		if time.Since(begin) > syncPatience {
			return 0, errors.Join(fmt.Errorf("nobody leads anything for %v", syncPatience), err)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// without is one round: it takes a node away, sees every partition written again, and brings the node back.
func (r *rounds) without(ctx context.Context, kind string, which func(context.Context) (int, error), end func(*cluster.Node) error) error {
	if err := ctx.Err(); err != nil {
		return errors.New("stopped by a signal")
	}
	node, err := which(ctx)
	if err != nil {
		return err
	}
	r.count++
	from := time.Now()
	if err := end(r.cluster.Nodes[node-1]); err != nil {
		return fmt.Errorf("node %d: %w", node, err)
	}
	gone := time.Now()
	for !r.load.ackedSince(gone) {
		if time.Since(gone) > r.o.gapMax {
			return fmt.Errorf("round %d, %s of node %d: not every partition is written again after %v", r.count, kind, node, r.o.gapMax)
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	started := time.Now()
	if err := r.cluster.Nodes[node-1].Start(); err != nil {
		return err
	}
	if err := r.cluster.Nodes[node-1].Ready(startPatience); err != nil {
		return fmt.Errorf("node %d: %w", node, err)
	}
	back := time.Now()
	if err := r.settled(ctx); err != nil {
		return fmt.Errorf("round %d, %s of node %d: %w", r.count, kind, node, err)
	}
	gap := r.load.gap(from)
	r.gaps[kind] = append(r.gaps[kind], gap)
	fmt.Printf("%4d %s node=%d gap=%v end=%v back=%v in_sync=%v\n", r.count, kind, node, gap.Round(time.Millisecond),
		gone.Sub(from).Round(time.Millisecond), back.Sub(started).Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
	if err := r.load.failed(); err != nil {
		return err
	}
	if gap > r.o.gapMax {
		return fmt.Errorf("round %d: a gap of %v", r.count, gap)
	}
	return nil
}

// settled waits until every replica is in sync and every partition is written.
func (r *rounds) settled(ctx context.Context) error {
	begin := time.Now()
	for {
		_, ok, err := r.load.leads(ctx)
		if err == nil && ok {
			break
		}
		if time.Since(begin) > syncPatience {
			return errors.Join(fmt.Errorf("not every replica is in sync after %v", syncPatience), err)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return pause(ctx, quiet)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return errors.New("stopped by a signal")
	case <-time.After(d):
		return nil
	}
}

// report prints the gaps' distributions beside the bars.
func (r *rounds) report() {
	for _, kind := range []string{"kill", "stop", "roll"} {
		gaps := slices.Sorted(slices.Values(r.gaps[kind]))
		if len(gaps) == 0 {
			continue
		}
		p50, p99 := quantile(gaps, 50), quantile(gaps, 99)
		bar := bars[kind]
		fmt.Printf("failover: %s rounds=%d gap_p50=%v gap_p99=%v gap_max=%v bar_p50=%v(%s) bar_p99=%v(%s)\n", kind, len(gaps), p50.Round(time.Millisecond),
			p99.Round(time.Millisecond), gaps[len(gaps)-1].Round(time.Millisecond), bar.p50, met(p50, bar.p50), bar.p99, met(p99, bar.p99))
	}
}

// quantile is the smallest value that a percentage of them do not exceed.
func quantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}

func met(d, bar time.Duration) string {
	if d <= bar {
		return "met"
	}
	return "missed"
}
