package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/jepsen/cluster"
)

// The kinds of faults.
const (
	Kill     = "kill"      // SIGKILL; after a while the node starts again
	Restart  = "restart"   // SIGTERM, exit code 0; the node starts again at once
	Pause    = "pause"     // SIGSTOP, and SIGCONT after a while
	Cut      = "cut"       // the node and the others do not hear each other; clients reach it
	CutSends = "cut-sends" // nobody hears the node, and it hears all
	CutHears = "cut-hears" // the node hears nobody, and all hear it
	CutLink  = "cut-link"  // two nodes do not hear each other; the third hears both
)

// Kinds are all of them, in the order of reports. What ends a process, and what cuts it off, comes more often than the rest.
var (
	Kinds = []string{Kill, Restart, Pause, Cut, CutSends, CutHears, CutLink}
	deck  = []string{Kill, Kill, Kill, Restart, Pause, Pause, Cut, Cut, CutSends, CutHears, CutLink}
)

// Fault is one of them.
type Fault struct {
	Number int     `json:"number"`
	Kind   string  `json:"kind"`
	Node   int     `json:"node"`
	Other  int     `json:"other,omitempty"` // of cut-link
	At     float64 `json:"at_s"`
	// ForMs is how long it lasted, WholeMs when everything was in sync again after it was mended.
	ForMs   float64 `json:"for_ms"`
	WholeMs float64 `json:"whole_ms"`
	// GapMs is the worst gap while it was the last one.
	GapMs float64 `json:"gap_ms"`
	// Controller and Leads say what the node was: whether the controller, and of how many partitions the leader.
	Controller bool `json:"controller"`
	Leads      int  `json:"leads"`
}

func (f *Fault) String() string {
	s := fmt.Sprintf("%s node %d", f.Kind, f.Node)
	if f.Other != 0 {
		s += fmt.Sprintf(" and %d", f.Other)
	}
	s += fmt.Sprintf(" (leads %d", f.Leads)
	if f.Controller {
		s += ", controller"
	}
	return s + ")"
}

// describer says what some node knows of topics.
type describer interface {
	DescribeTopics(ctx context.Context, names ...string) ([]admin.TopicDescription, error)
}

// nemesis breaks things and mends them.
type nemesis struct {
	cluster *cluster.Cluster
	admin   *admin.Admin
	each    []describer // asks node 1, 2, ... and no other
	topic   string
	rand    *rand.Rand
	gaps    *gaps
	zero    time.Time
	tell    func(string)

	kinds []string // that come; empty: all
	deck  []string // shuffled, what is left of it

	mu     sync.Mutex
	faults []Fault
}

const (
	startPatience = 60 * time.Second
	stopPatience  = 30 * time.Second
	// wholePatience is how long it may take until everything is in sync after a fault. What takes longer is a finding.
	wholePatience = 60 * time.Second
)

// run breaks and mends until stop is closed. What it broke is mended when it returns, if that can be.
func (n *nemesis) run(ctx context.Context, stop <-chan struct{}) error {
	for {
		if n.sleep(ctx, stop, n.between(time.Second, 4*time.Second)) {
			return nil
		}
		f := n.next(ctx)
		n.mu.Lock()
		f.Number = len(n.faults) + 1
		n.faults = append(n.faults, f)
		n.mu.Unlock()
		n.gaps.begun(f.Number)
		begin := time.Now()
		f.At = begin.Sub(n.zero).Seconds()
		err := n.strike(ctx, stop, &f)
		f.ForMs = ms(time.Since(begin))
		if err != nil {
			n.note(f)
			return fmt.Errorf("fault %d, %v: %w", f.Number, &f, err)
		}
		mended := time.Now()
		err = n.whole(ctx, stop, mended, wholePatience)
		f.WholeMs = ms(time.Since(mended))
		n.note(f)
		n.tell(fmt.Sprintf("%5.0f s  fault %d: %v for %.1f s; in sync again after %.1f s; worst gap %.2f s",
			f.At, f.Number, &f, f.ForMs/1000, f.WholeMs/1000, n.gaps.of(f.Number).Seconds()))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after fault %d, %v: %w", f.Number, &f, err)
		}
	}
}

func (n *nemesis) note(f Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults[f.Number-1] = f
}

// list is what was done, with the worst gap of each.
func (n *nemesis) list() []Fault {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := append([]Fault(nil), n.faults...)
	for i := range all {
		all[i].GapMs = ms(n.gaps.of(all[i].Number))
	}
	return all
}

func (n *nemesis) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.faults)
}

func (n *nemesis) between(from, to time.Duration) time.Duration {
	return from + time.Duration(n.rand.Int64N(int64(to-from)))
}

// sleep is true if the end came before.
func (n *nemesis) sleep(ctx context.Context, stop <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return false
	case <-stop:
	case <-ctx.Done():
	}
	return true
}

// draw draws a fault. Every kind comes before any comes again as often as it is in the deck.
func (n *nemesis) draw() Fault {
	if len(n.deck) == 0 {
		n.deck = append(n.deck, deck...)
		if len(n.kinds) > 0 {
			n.deck = slices.DeleteFunc(n.deck, func(kind string) bool { return !slices.Contains(n.kinds, kind) })
		}
		n.rand.Shuffle(len(n.deck), func(i, j int) { n.deck[i], n.deck[j] = n.deck[j], n.deck[i] })
	}
	f := Fault{Kind: n.deck[0], Node: 1 + n.rand.IntN(len(n.cluster.Nodes))}
	n.deck = n.deck[1:]
	if f.Kind == CutLink {
		f.Other = 1 + (f.Node+n.rand.IntN(len(n.cluster.Nodes)-1))%len(n.cluster.Nodes)
	}
	return f
}

// next draws a fault, and looks what it will hit.
func (n *nemesis) next(ctx context.Context) Fault {
	f := n.draw()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if c, err := n.admin.DescribeCluster(ctx); err == nil {
		f.Controller = int(c.Controller) == f.Node
	}
	if topics, err := n.admin.DescribeTopics(ctx, n.topic); err == nil {
		for _, p := range topics[0].Partitions {
			if int(p.Leader) == f.Node {
				f.Leads++
			}
		}
	}
	return f
}

// strike does it, for as long as it lasts, and mends it.
func (n *nemesis) strike(ctx context.Context, stop <-chan struct{}, f *Fault) error {
	node := n.cluster.Nodes[f.Node-1]
	switch f.Kind {
	case Kill:
		down := n.between(0, 5*time.Second)
		if err := node.Kill(); err != nil {
			return err
		}
		n.sleep(ctx, stop, down)
		return n.start(node)
	case Restart:
		if err := node.Stop(stopPatience); err != nil {
			return err
		}
		return n.start(node)
	case Pause:
		// Half of them are over before the others take the node for dead.
		length := n.between(50*time.Millisecond, 450*time.Millisecond)
		if n.rand.IntN(2) == 0 {
			length = n.between(time.Second, 8*time.Second)
		}
		if err := node.Pause(); err != nil {
			return err
		}
		n.sleep(ctx, stop, length)
		return node.Resume()
	}
	length := n.between(300*time.Millisecond, 8*time.Second)
	switch f.Kind {
	case Cut:
		n.cluster.Isolate(f.Node, true, true)
	case CutSends:
		n.cluster.Isolate(f.Node, true, false)
	case CutHears:
		n.cluster.Isolate(f.Node, false, true)
	case CutLink:
		n.cluster.Network.Cut(f.Node, f.Other)
		n.cluster.Network.Cut(f.Other, f.Node)
	}
	n.sleep(ctx, stop, length)
	n.cluster.Network.Heal()
	return nil
}

// start starts a node again.
func (n *nemesis) start(node *cluster.Node) error {
	if err := node.Start(); err != nil {
		return err
	}
	return node.Ready(startPatience)
}

// whole waits until every partition has a leader and all of its replicas in sync and has acknowledged something since it was
// mended, while there is load, and no process has ended by itself.
func (n *nemesis) whole(ctx context.Context, stop <-chan struct{}, mended time.Time, patience time.Duration) error {
	what := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for _, node := range n.cluster.Nodes {
			if !node.Running() {
				return fmt.Errorf("node %d ended by itself:\n%s", node.ID, node.Log())
			}
		}
		if what = n.missing(ctx); what == "" {
			if p, silent := n.gaps.silentSince(mended); silent && !isClosed(stop) {
				what = fmt.Sprintf("partition %d has acknowledged nothing since", p)
			}
		}
		if what == "" || ctx.Err() != nil {
			return nil
		}
	}
	return fmt.Errorf("%v after it was mended: %s", patience, what)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// missing says which partition is not whole in the eyes of some node: one that was cut off knows of nothing for a moment.
func (n *nemesis) missing(ctx context.Context) string {
	for i, a := range n.each {
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		topics, err := a.DescribeTopics(asking, n.topic)
		cancel()
		if err == nil {
			err = topics[0].Err
		}
		if err != nil {
			return fmt.Sprintf("node %d: %v", i+1, err)
		}
		if what := incomplete(topics[0].Partitions); what != "" {
			return fmt.Sprintf("node %d: %s", i+1, what)
		}
	}
	return ""
}

// incomplete says which partition has no leader, or not all of its replicas in sync; empty if there is none.
func incomplete(partitions []admin.PartitionDescription) string {
	for _, p := range partitions {
		if p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
			return fmt.Sprintf("partition %d: leader %d, in sync are %v of %v", p.Partition, p.Leader, p.ISR, p.Replicas)
		}
	}
	return ""
}
