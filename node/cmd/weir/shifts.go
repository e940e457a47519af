package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
)

// shifting is how replicas are moved.
type shifting struct {
	dryRun   bool
	wait     bool
	parallel int
	throttle int64 // bytes a second on each node; 0: as fast as it goes
}

func (o *shifting) flags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&o.dryRun, "dry-run", false, "only print what would be moved")
	f.BoolVar(&o.wait, "wait", true, "wait until everything is moved; --wait=false begins all moves at once and returns")
	f.Int64Var(&o.throttle, "throttle", 0, "copy at most so many bytes a second to each node while the command runs (follower.replication.throttled.rate); 0 is no limit")
	f.IntVar(&o.parallel, "parallel", 20, "how many partitions are copied at a time")
}

func (o *shifting) check() error {
	if o.parallel < 1 {
		return usage("--parallel is at least 1, not %d", o.parallel)
	}
	if o.throttle < 0 {
		return usage("--throttle is bytes a second, or 0, not %d", o.throttle)
	}
	if o.throttle > 0 && !o.wait {
		return usage("--throttle is for as long as the command runs, and --wait=false does not wait: set %s for the cluster instead (weir config set)", rateName)
	}
	return nil
}

const (
	rateName     = "follower.replication.throttled.rate"
	liftPatience = 10 * time.Second
)

// limit sets the throttle, if one is wanted, and returns what puts back what was set before, be the command interrupted.
func (o *shifting) limit(ctx context.Context, ad *admin.Admin) (lift func() error, err error) {
	if o.throttle == 0 {
		return func() error { return nil }, nil
	}
	// Another node than the controller may not have heard yet of what was set a moment ago, and that would be gone for good.
	cluster, err := ad.DescribeCluster(ctx)
	if err != nil {
		return nil, err
	}
	whose := admin.OfCluster()
	if cluster.Controller >= 0 {
		whose = admin.OfBroker(cluster.Controller)
	}
	settings, err := ad.DescribeConfigs(ctx, whose, rateName)
	if err != nil {
		return nil, err
	}
	before := admin.Unset(rateName)
	for _, set := range settings {
		for _, of := range set.Synonyms {
			if set.Name == rateName && of.Source == "cluster" {
				before = admin.Set(rateName, of.Value)
			}
		}
	}
	if err := ad.AlterConfigs(ctx, admin.OfCluster(), admin.Set(rateName, strconv.FormatInt(o.throttle, 10))); err != nil {
		return nil, err
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), liftPatience)
		defer cancel()
		if err := ad.AlterConfigs(ctx, admin.OfCluster(), before); err != nil {
			return fmt.Errorf("%s is still %d for the cluster (`weir config unset cluster %s`): %w", rateName, o.throttle, rateName, err)
		}
		return nil
	}, nil
}

// printPlan prints what would be moved.
func (a *app) printPlan(shifts []shift) error {
	if a.json() {
		return a.printLines(len(shifts), func(i int) any { return &shifts[i] })
	}
	if len(shifts) == 0 {
		_, err := fmt.Fprintln(a.stdout, "nothing is to be moved")
		return err
	}
	var rows [][]string
	for i := range shifts {
		s := &shifts[i]
		what := "copy"
		if s.keepsReplicas() {
			what = "lead"
		}
		rows = append(rows, []string{s.Topic, fmt.Sprint(s.Partition), numbers(s.From), numbers(s.To), what})
	}
	return a.table("TOPIC PARTITION FROM TO WHAT", rows)
}

// pollInterval is how often it is looked whether moves have ended.
const pollInterval = 200 * time.Millisecond

// shift moves replicas, and waits until all are moved unless that is not wanted. Whoever interrupts it can start it
// again: what has begun goes on by itself, and the rest is planned anew.
func (a *app) shift(ctx context.Context, ad *admin.Admin, shifts []shift, o *shifting, what string) (err error) {
	if len(shifts) == 0 {
		return nil
	}
	lift, err := o.limit(ctx, ad)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lift()) }()
	total := len(shifts)
	var ended, underWay atomic.Int64
	stop := a.progress(func() string {
		return fmt.Sprintf("%s: %d of %d partitions done, %d under way", what, ended.Load(), total, underWay.Load())
	})
	defer stop()
	waiting, begun := shifts, map[admin.Partition]bool{}
	for {
		room := o.parallel - len(begun)
		if !o.wait {
			room = len(waiting)
		}
		if n := min(room, len(waiting)); n > 0 {
			var ask []admin.Reassignment
			for _, s := range waiting[:n] {
				tp := admin.Partition{Topic: s.Topic, Partition: s.Partition}
				ask, begun[tp] = append(ask, admin.Reassignment{Partition: tp, Replicas: s.To}), true
			}
			if err := ad.Reassign(ctx, ask...); err != nil && !isGone(err) {
				return err
			}
			waiting = waiting[n:]
		}
		if !o.wait {
			return nil
		}
		moves, err := ad.ListReassignments(ctx)
		if err != nil {
			return err
		}
		for tp := range begun {
			if !slices.ContainsFunc(moves, func(m admin.Move) bool { return m.Partition == tp }) {
				delete(begun, tp)
			}
		}
		underWay.Store(int64(len(begun)))
		ended.Store(int64(total - len(waiting) - len(begun)))
		if len(waiting) == 0 && len(begun) == 0 {
			return nil
		}
		if len(begun) < o.parallel && len(waiting) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("interrupted with %d of %d partitions moved: moves that have begun go on by themselves, and the command can be started again: %w", total-len(waiting)-len(begun), total, context.Cause(ctx))
		case <-time.After(pollInterval):
		}
	}
}

// isGone reports whether nothing is wrong but that partitions are not there: topics may be deleted meanwhile.
func isGone(err error) bool { return isOnly(err, kerr.UnknownTopicOrPartition) }

// isOnly reports whether each of the errors that one joins is one of some.
func isOnly(err error, some ...error) bool {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return !slices.ContainsFunc(joined.Unwrap(), func(err error) bool { return !isOnly(err, some...) })
	}
	return slices.ContainsFunc(some, func(one error) bool { return errors.Is(err, one) })
}

// lead lets the replicas lead that shifts prefer.
func (a *app) lead(ctx context.Context, ad *admin.Admin, shifts []shift) error {
	var parts []admin.Partition
	for _, s := range shifts {
		parts = append(parts, admin.Partition{Topic: s.Topic, Partition: s.Partition})
	}
	if len(parts) == 0 {
		return nil
	}
	elected, err := ad.ElectPreferredLeaders(ctx, parts...)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range elected {
		// What is not in sync yet leads later: the controller sees to it.
		if e.Err != nil && !errors.Is(e.Err, kerr.ElectionNotNeeded) && !errors.Is(e.Err, kerr.PreferredLeaderNotAvailable) && !errors.Is(e.Err, kerr.UnknownTopicOrPartition) {
			errs = append(errs, e.Err)
		}
	}
	return errors.Join(errs...)
}

// withSurvey runs f with an admin client and a survey, for as long as it takes.
func (k *connection) withSurvey(ctx context.Context, f func(context.Context, *admin.Admin, *survey) error) error {
	c, done, err := k.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	return withAdmin(ctx, c, k.timeout, func(ctx context.Context, ad *admin.Admin) error {
		s, err := look(ctx, ad)
		if err != nil {
			return err
		}
		return f(ctx, ad, s)
	})
}
