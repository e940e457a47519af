package main

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
)

// moving says what topic move is to do.
type moving struct {
	shifting
	partitions []int32
	factor     int
	to         []int32
	cancel     bool
}

// moved is the output of topic move.
type moved struct {
	Partitions int  `json:"partitions_moved"`
	Waited     bool `json:"done"`
}

func (a *app) topicMoveCommand(k *connection) *cobra.Command {
	var o moving
	c := &cobra.Command{
		Use: "move NAME...", Short: "Change how many copies there are, or on which nodes", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTopics(k),
		Long: `Have another number of copies of each partition (--replication-factor), or have them on nodes that you name (--to), the preferred
leader first. --cancel gives up moves that are under way: the partitions stay where they were. NAMEs may be patterns, which
match the cluster's own topics as well.

Copies that are added go to racks that have none, and to nodes that hold least; those that are not in sync are the first to go.
A copy goes only when those that are added are in sync. The command can be interrupted and started again: moves that have begun
go on by themselves. ` + "`weir cluster balance`, `weir node drain` and `weir node add`" + ` work out by themselves what goes where.`,
		Example: `  weir topic move orders --replication-factor 3
  weir topic move '*' --replication-factor 3 --dry-run
  weir topic move orders -p 3 --to 1,2,5 --throttle 20000000
  weir topic move orders --cancel`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return k.withSurvey(cmd.Context(), func(ctx context.Context, ad *admin.Admin, s *survey) error {
				chosen, err := o.choose(ctx, ad, s, names)
				switch {
				case err != nil:
					return err
				case o.cancel:
					return a.cancelMoves(ctx, ad, s, chosen, o.dryRun)
				default:
					return a.move(ctx, ad, s, chosen, &o)
				}
			})
		},
	}
	o.flags(c)
	f := c.Flags()
	f.Int32SliceVarP(&o.partitions, "partition", "p", nil, "these `partitions` only; default all")
	f.IntVar(&o.factor, "replication-factor", 0, "how many copies of each partition there are to be then")
	f.Int32SliceVar(&o.to, "to", nil, "the `NODES` to have copies, the one that is to lead first")
	f.BoolVar(&o.cancel, "cancel", false, "give up the moves that are under way")
	return c
}

func (o *moving) check() error {
	wanted := 0
	for _, given := range []bool{o.factor != 0, len(o.to) > 0, o.cancel} {
		if given {
			wanted++
		}
	}
	if wanted != 1 {
		return usage("give one of --replication-factor, --to and --cancel")
	}
	if o.factor < 0 {
		return usage("--replication-factor is at least 1, not %d", o.factor)
	}
	for i, n := range o.to {
		if slices.Contains(o.to[:i], n) {
			return usage("--to names node %d twice: copies are on different nodes", n)
		}
	}
	return o.shifting.check()
}

// hearOf asks for a topic by its name, if the node that listed all of them had not heard of it: of a name, unlike of a list, it is
// asked again until it has had the time.
func (s *survey) hearOf(ctx context.Context, ad *admin.Admin, name string) error {
	if strings.ContainsAny(name, `*?[\`) || slices.ContainsFunc(s.topics, func(t admin.TopicDescription) bool { return t.Name == name }) {
		return nil
	}
	topics, err := describePartitions(ctx, ad, name)
	if err != nil {
		return err
	}
	s.topics = append(s.topics, slices.DeleteFunc(topics, func(t admin.TopicDescription) bool { return t.Err != nil })...)
	return nil
}

// choose are the partitions that names, patterns and --partition mean.
func (o *moving) choose(ctx context.Context, ad *admin.Admin, s *survey, names []string) (map[admin.Partition]bool, error) {
	chosen := map[admin.Partition]bool{}
	for _, name := range names {
		if err := s.hearOf(ctx, ad, name); err != nil {
			return nil, err
		}
		found := false
		for i := range s.topics {
			t := &s.topics[i]
			match, err := path.Match(name, t.Name)
			if err != nil {
				return nil, usage("%q is no pattern: %v", name, err)
			}
			if !match {
				continue
			}
			found = true
			if err := hasPartitions(t, o.partitions); err != nil {
				return nil, err
			}
			for k := range t.Partitions {
				if p := t.Partitions[k].Partition; len(o.partitions) == 0 || slices.Contains(o.partitions, p) {
					chosen[admin.Partition{Topic: t.Name, Partition: p}] = true
				}
			}
		}
		if !found {
			return nil, missing(ctx, ad, name, kerr.UnknownTopicOrPartition)
		}
	}
	return chosen, nil
}

func (a *app) move(ctx context.Context, ad *admin.Admin, s *survey, chosen map[admin.Partition]bool, o *moving) error {
	closed, err := cordoned(ctx, ad, s, -1)
	if err != nil {
		return err
	}
	p := newPlanner(s, closed...)
	if o.factor > 0 {
		err = p.replicate(chosen, o.factor)
	} else {
		err = p.place(chosen, o.to)
	}
	if err != nil {
		return err
	}
	shifts := p.shifts()
	if o.dryRun {
		return a.printPlan(shifts)
	}
	what := "moving " + amount(len(chosen), "partition")
	if err := a.shift(ctx, ad, shifts, &o.shifting, what); err != nil {
		return err
	}
	out := moved{len(shifts), o.wait}
	if !o.wait {
		return a.print(&out, "%s are being moved; `weir cluster status` shows how far it is\n", amount(out.Partitions, "partition"))
	}
	if err := a.awaitMoves(ctx, ad, chosen, what); err != nil { // those that had begun before
		return err
	}
	if err := a.lead(ctx, ad, shifts); err != nil {
		return err
	}
	return a.print(&out, "every copy is where it is to be (%s moved)\n", amount(out.Partitions, "partition"))
}

// awaitMoves waits until none of some partitions is being moved.
func (a *app) awaitMoves(ctx context.Context, ad *admin.Admin, parts map[admin.Partition]bool, what string) error {
	stop := a.progress(func() string { return what + ": waiting for moves that had begun before" })
	defer stop()
	for {
		moves, err := ad.ListReassignments(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(moves, func(m admin.Move) bool { return parts[m.Partition] }) {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// cancelMoves has partitions stay where they were. One whose move has ended meanwhile is where it was to be.
func (a *app) cancelMoves(ctx context.Context, ad *admin.Admin, s *survey, chosen map[admin.Partition]bool, dryRun bool) error {
	var ask []admin.Reassignment
	var rows []moveLine
	for _, m := range s.moveLines() {
		if tp := (admin.Partition{Topic: m.Topic, Partition: m.Partition}); chosen[tp] {
			ask, rows = append(ask, admin.Reassignment{Partition: tp}), append(rows, m)
		}
	}
	switch {
	case dryRun && a.json():
		return a.printLines(len(rows), func(i int) any { return &rows[i] })
	case len(rows) == 0 && !a.json():
		return a.print(nil, "none of them is being moved\n")
	case dryRun:
		return a.moveTable(rows)
	}
	if len(ask) > 0 {
		if err := ad.Reassign(ctx, ask...); err != nil && !isOnly(err, kerr.NoReassignmentInProgress, kerr.UnknownTopicOrPartition) {
			return err
		}
	}
	return a.print(map[string]int{"cancelled": len(ask)}, "%s given up\n", amount(len(ask), "move"))
}
