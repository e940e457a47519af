package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/node/explain"
)

// manageCommands are the commands about the nodes of a cluster that stand beside the one that starts a node.
func (a *app) manageCommands() []*cobra.Command {
	var all []*cobra.Command
	for _, make := range []func(*connection) *cobra.Command{a.nodeListCommand, a.nodeDrainCommand, a.nodeAddCommand, a.nodeRemoveCommand} {
		k := &connection{}
		c := make(k)
		k.flags(c)
		all = append(all, c)
	}
	return all
}

func parseNode(s string) (int32, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return 0, usage("a node is its node.id, a number, not %q", s)
	}
	return int32(n), nil
}

// onNode is a command about the node that its argument names, once check has passed its flags.
func (k *connection) onNode(check func() error, f func(ctx context.Context, ad *admin.Admin, s *survey, id int32) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		id, err := parseNode(args[0])
		if err == nil {
			err = check()
		}
		if err != nil {
			return err
		}
		return k.withSurvey(cmd.Context(), func(ctx context.Context, ad *admin.Admin, s *survey) error { return f(ctx, ad, s, id) })
	}
}

func (a *app) nodeListCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List the nodes of a cluster, with what each leads and holds", Args: cobra.NoArgs,
		Example: "  weir node ls\n  weir node ls --output json | jq 'select(.down) | .node'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				s, err := lookAnyway(ctx, ad)
				if err != nil {
					return err
				}
				lines := s.nodeLines()
				if a.json() {
					return a.printLines(len(lines), func(i int) any { return &lines[i] })
				}
				return a.nodeTable(lines)
			})
		},
	}
}

func (a *app) nodeDrainCommand(k *connection) *cobra.Command {
	var o shifting
	var leadersOnly bool
	c := &cobra.Command{
		Use: "drain NODE", Short: "Move what a node leads and holds to other nodes, before it is removed or maintained", Args: cobra.ExactArgs(1),
		Long: `Move everything off a node: first others lead what it leads, then others get its replicas. While it is drained it gets no
new partitions (cordoned.log.dirs); ` + "`weir node add NODE`" + ` takes it in again. Every partition keeps its number of copies: a replica
goes only when the one that replaces it is in sync. Racks are kept apart as far as there are enough.

The node may be running or dead. The command can be interrupted and started again: moves that have begun go on by
themselves. With --leaders-only replicas stay, nothing is copied, and it takes a moment: for a restart or an upgrade. (A node
that is stopped with SIGTERM has others lead first by itself.)`,
		Example: "  weir node drain 3 --dry-run\n  weir node drain 3\n  weir node drain 3 --leaders-only",
		RunE: k.onNode(o.check, func(ctx context.Context, ad *admin.Admin, s *survey, id int32) error {
			return a.drain(ctx, ad, s, id, leadersOnly, &o)
		}),
	}
	o.flags(c)
	c.Flags().BoolVar(&leadersOnly, "leaders-only", false, "only have others lead; the node keeps its replicas")
	return c
}

// drained is the output of node drain and node add.
type drained struct {
	Node     int32 `json:"node"`
	Leads    int   `json:"leaders_moved"`
	Replicas int   `json:"replicas_moved"`
	Waited   bool  `json:"done"`
}

func (a *app) drain(ctx context.Context, ad *admin.Admin, s *survey, id int32, leadersOnly bool, o *shifting) error {
	n, err := s.mustNode(id)
	if err != nil {
		return err
	}
	leaders := newPlanner(s, id)
	leaders.leaveTo(id)
	out := drained{Node: id, Waited: o.wait}
	if leadersOnly {
		if o.dryRun {
			return a.printPlan(leaders.shifts())
		}
		if out.Leads, err = a.relieveOf(ctx, ad, s, leaders, id); err != nil {
			return err
		}
		return a.print(&out, "node %d leads nothing that another could lead (%s moved)\n", id, amount(out.Leads, "leader"))
	}
	replicas := newPlanner(s, id)
	if err := replicas.empty(id); err != nil {
		return err
	}
	shifts := replicas.shifts()
	if o.dryRun {
		return a.printPlan(shifts)
	}
	if err := cordon(ctx, ad, n, true); err != nil {
		return err
	}
	if out.Leads, err = a.relieveOf(ctx, ad, s, leaders, id); err != nil {
		return err
	}
	// What was made or moved meanwhile may hold more of the node than was known: until nothing does.
	done := map[admin.Partition][]int32{}
	for {
		if s, err = lookPast(ctx, ad, done); err != nil {
			return err
		}
		replicas = newPlanner(s, id)
		if err := replicas.empty(id); err != nil {
			return err
		}
		if shifts = replicas.shifts(); len(shifts) == 0 && (!o.wait || !s.holds(id)) {
			break
		}
		out.Replicas += len(shifts)
		if err := a.shift(ctx, ad, shifts, o, fmt.Sprintf("draining node %d", id)); err != nil {
			return err
		}
		if !o.wait {
			return a.print(&out, "%s of node %d are being moved; `weir cluster status` shows how far it is\n", amount(out.Replicas, "replica"), id)
		}
		for _, shift := range shifts {
			done[admin.Partition{Topic: shift.Topic, Partition: shift.Partition}] = shift.To
		}
		if len(shifts) == 0 { // somebody else's moves
			if err := pause(ctx); err != nil {
				return err
			}
		}
	}
	return a.print(&out, "node %d holds nothing any more (%s and %s moved); `weir node remove %d` takes it out of the cluster\n",
		id, amount(out.Leads, "leader"), amount(out.Replicas, "replica"), id)
}

// lookPast takes a survey once who is asked has heard that moves have ended. The controller says that they have, and any node where
// replicas are: one that is behind tells of the former ones and the new ones together, and who plans by that adds copies.
func lookPast(ctx context.Context, ad *admin.Admin, done map[admin.Partition][]int32) (*survey, error) {
	const patience = 10 * time.Second // somebody else may have moved them on
	for begin := time.Now(); ; {
		s, err := look(ctx, ad)
		if err != nil {
			return nil, err
		}
		behind := false
		s.partitions(func(t *admin.TopicDescription, p *admin.PartitionDescription) {
			to, moved := done[admin.Partition{Topic: t.Name, Partition: p.Partition}]
			told := shift{From: p.Replicas, To: to}
			behind = behind || moved && s.move(t.Name, p.Partition) == nil && !told.keepsReplicas()
		})
		if !behind || time.Since(begin) > patience {
			return s, nil
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// holds reports whether a node holds anything, or is to.
func (s *survey) holds(id int32) bool {
	n := s.loads()[id]
	return n != nil && n.replicas > 0
}

// relieveOf has others lead what a node leads and others could lead, and returns how many partitions that are.
func (a *app) relieveOf(ctx context.Context, ad *admin.Admin, s *survey, p *planner, id int32) (int, error) {
	count := 0
	var led []shift
	s.partitions(func(t *admin.TopicDescription, d *admin.PartitionDescription) {
		if to := p.at[admin.Partition{Topic: t.Name, Partition: d.Partition}]; d.Leader == id && to[0] != id {
			count++
			led = append(led, shift{Topic: t.Name, Partition: d.Partition})
		}
	})
	shifts := p.shifts()
	if err := a.shift(ctx, ad, shifts, &shifting{wait: false, parallel: 1}, "leaders"); err != nil {
		return 0, err
	}
	return count, a.lead(ctx, ad, led)
}

// cordon keeps new partitions away from a node, or lets them come again. A node that is down cannot be asked itself.
func cordon(ctx context.Context, ad *admin.Admin, n *admin.Broker, on bool) error {
	of, change := admin.OfBroker(n.ID), admin.Unset(cordonedName)
	if n.Fenced {
		of = admin.OfBrokerByController(n.ID)
	}
	if on {
		change = admin.Set(cordonedName, "*")
	}
	err := ad.AlterConfigs(ctx, of, change)
	if errors.Is(err, kerr.InvalidConfig) || errors.Is(err, kerr.InvalidRequest) || err != nil && untold(err) {
		return nil // a cluster that does not know it
	}
	return err
}

// cordoned are the nodes that new partitions are kept away from, but for one that is taken in again.
func cordoned(ctx context.Context, ad *admin.Admin, s *survey, but int32) (closed []int32, err error) {
	for _, b := range s.cluster.Brokers {
		if b.Fenced || b.ID == but {
			continue
		}
		settings, err := ad.DescribeConfigs(ctx, admin.OfBroker(b.ID), cordonedName)
		if err != nil && !untold(err) {
			return nil, err
		}
		if slices.ContainsFunc(settings, func(set admin.Setting) bool { return set.Name == cordonedName && set.Value != "" }) {
			closed = append(closed, b.ID)
		}
	}
	return closed, nil
}

const cordonedName = "cordoned.log.dirs"

func (a *app) nodeAddCommand(k *connection) *cobra.Command {
	var o shifting
	c := &cobra.Command{
		Use: "add NODE", Short: "Give a node that has joined its share of the replicas", Args: cobra.ExactArgs(1),
		Long: `Give a node its share: replicas are moved onto it from the nodes that hold most, until it holds about as many as others, and
some of what it holds it leads. The node joins by itself when it is started with the cluster's cluster.id and
controller.quorum.voters; new topics use it from then on, and this command brings the old ones. It also takes back a node
that was drained. The command can be interrupted and started again.`,
		Example: "  weir node add 4 --dry-run\n  weir node add 4",
		RunE: k.onNode(o.check, func(ctx context.Context, ad *admin.Admin, s *survey, id int32) error {
			n, err := s.mustNode(id)
			if err != nil {
				return err
			}
			if n.Fenced {
				return fail(explain.NodeDown, "", fmt.Errorf("node %d is not counted on: nothing can be moved onto it", id))
			}
			if !o.dryRun {
				if err := cordon(ctx, ad, n, false); err != nil {
					return err
				}
			}
			return a.balance(ctx, ad, s, id, &o)
		}),
	}
	o.flags(c)
	return c
}

// balance evens out replicas and leaders over all nodes, or onto one of them.
func (a *app) balance(ctx context.Context, ad *admin.Admin, s *survey, onto int32, o *shifting) error {
	closed, err := cordoned(ctx, ad, s, onto)
	if err != nil {
		return err
	}
	p := newPlanner(s, closed...)
	p.even(onto)
	shifts := p.shifts()
	if o.dryRun {
		return a.printPlan(shifts)
	}
	out := drained{Node: onto, Waited: o.wait}
	for i := range shifts {
		if shifts[i].keepsReplicas() {
			out.Leads++
		} else {
			out.Replicas++
		}
	}
	if err := a.shift(ctx, ad, shifts, o, "balancing"); err != nil {
		return err
	}
	if o.wait {
		if err := a.lead(ctx, ad, shifts); err != nil {
			return err
		}
	}
	if onto >= 0 {
		return a.print(&out, "node %d has its share (%s moved to it, %s in another order)\n", onto, amount(out.Replicas, "replica"), amount(out.Leads, "partition"))
	}
	return a.print(balanced{out.Leads, out.Replicas, out.Waited}, "balanced (%s moved, %s in another order)\n", amount(out.Replicas, "replica"), amount(out.Leads, "partition"))
}

// balanced is the output of cluster balance.
type balanced struct {
	Leads    int  `json:"leaders_moved"`
	Replicas int  `json:"replicas_moved"`
	Waited   bool `json:"done"`
}

func (a *app) nodeRemoveCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "remove NODE", Aliases: []string{"rm"}, Short: "Take a node out of the cluster that holds nothing and does not run", Args: cobra.ExactArgs(1),
		Long: `Have the cluster forget a node: it must hold no replicas (` + "`weir node drain`" + `) and not run. If it is a voter of the metadata
quorum, it is one no more; the others must be a majority without it. Its id can then be given to another.`,
		Example: "  weir node drain 3\n  weir node remove 3",
		RunE:    k.onNode(func() error { return nil }, a.removeNode),
	}
}

func (a *app) removeNode(ctx context.Context, ad *admin.Admin, s *survey, id int32) error {
	n, err := s.mustNode(id)
	if err != nil {
		return err
	}
	if l := s.loads()[id]; l != nil && l.replicas > 0 {
		return fail(explain.NotDrained, fmt.Sprintf("`weir node drain %d` moves them to other nodes, and can be interrupted and started again", id),
			fmt.Errorf("node %d holds %s", id, amount(l.replicas, "replica")))
	}
	if !n.Fenced {
		return fail(explain.NodeRunning, "", fmt.Errorf("node %d is running", id))
	}
	if v := s.votes(id); v != nil {
		if err := ad.RemoveVoter(ctx, id, v.Directory); err != nil && !errors.Is(err, kerr.VoterNotFound) {
			return err
		}
	}
	if err := cordon(ctx, ad, n, false); err != nil {
		return err
	}
	// A request whose answer was lost is made again, and may find that it was carried out.
	if err := ad.UnregisterBroker(ctx, id); err != nil && !errors.Is(err, kerr.BrokerIDNotRegistered) {
		return err
	}
	return a.print(map[string]int32{"removed": id}, "removed node %d\n", id)
}

// pause waits a moment.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pollInterval):
		return nil
	}
}
