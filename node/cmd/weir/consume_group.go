package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/consumer"
	machine "github.com/weirmq/weir/core/client"
)

// grouping is the flags of consume that are about groups.
type grouping struct {
	name       string
	instance   string
	strategies []string
	session    time.Duration
	noCommit   bool
}

func (g *grouping) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&g.name, "group", "g", "", "read as a member of this `GROUP`")
	f.StringVar(&g.instance, "instance", "", "the `NAME` of a static member, which may restart without a rebalance")
	f.StringSliceVar(&g.strategies, "strategy", nil, "range, roundrobin, cooperative-sticky, the best first; default all of them")
	f.DurationVar(&g.session, "session", 45*time.Second, "how long the group waits for a member that is silent")
	f.BoolVar(&g.noCommit, "no-commit", false, "do not commit what was read")
}

// validate finds what does not go with a group, or only with one.
func (g *grouping) validate(f *consuming) error {
	if g.name == "" {
		if g.instance != "" || len(g.strategies) > 0 || g.noCommit {
			return usage("--instance, --strategy and --no-commit are for members of a group: give --group")
		}
		return nil
	}
	switch {
	case len(f.partitions) > 0:
		return usage("the group says which partitions this member reads: leave out --partition")
	case f.until != "" && f.until != "end":
		return usage("with --group, --until can only be end")
	case g.session < time.Second:
		return usage("--session is at least a second")
	}
	for _, s := range g.strategies {
		if !machine.Strategy(s).Valid() {
			return usage("--strategy is range, roundrobin or cooperative-sticky, not %q", s)
		}
	}
	return nil
}

// runGroup reads as a member of a group.
func (r *consumption) runGroup(ctx context.Context, names []string) error {
	g := &r.flags.group
	switch r.begin.kind {
	case atStart, atEnd, atTime:
	case atOffset, fromStart, fromEnd:
		return usage("with --group, --offset is start, end or @TIME, for partitions that the group has not read; `weir group seek` moves a group")
	}
	var topics []string
	var ends map[topicPartition]int64
	err := withAdmin(ctx, r.client, r.timeout, func(ctx context.Context, ad *admin.Admin) error {
		chosen, err := chosenTopics(ctx, ad, names, r.flags.regex, nil)
		if err != nil {
			return err
		}
		for _, t := range chosen {
			topics = append(topics, t.Name)
		}
		if r.hasEnd {
			ends, err = endsOf(ctx, ad, topics)
		}
		return err
	})
	if err != nil {
		return err
	}
	options := []consumer.Option{
		consumer.WithGroup(g.name), consumer.WithTopics(topics...), consumer.WithStart(r.begin.start()),
		consumer.WithInstanceID(g.instance), consumer.WithSession(g.session, min(3*time.Second, g.session/3)),
		consumer.WithCommitInterval(time.Second),
	}
	for p, end := range ends {
		options = append(options, consumer.WithUntil(p.topic, p.partition, end))
	}
	if g.noCommit {
		options = append(options, consumer.WithoutAutoCommit())
	}
	if len(g.strategies) > 0 {
		var s []consumer.Strategy
		for _, name := range g.strategies {
			s = append(s, consumer.Strategy(name))
		}
		options = append(options, consumer.WithStrategies(s...))
	}
	if r.flags.readCommitted {
		options = append(options, consumer.WithReadCommitted())
	}
	options = append(options, consumer.WithOnRebalance(func(c consumer.Change, p []consumer.Partition) {
		if r.quiet != nil && c == consumer.Assigned {
			r.quiet.Reset(r.flags.idle)
		}
		if isTerminal(r.app.stderr) {
			r.app.say("%s: %s", c, amount(len(p), "partition"))
		}
	}))
	co, err := consumer.New(r.client, options...)
	if err != nil {
		return usage("%v", err)
	}
	return errors.Join(r.pump(ctx, co), co.Close())
}

// endsOf are the ends of all partitions of topics.
func endsOf(ctx context.Context, ad *admin.Admin, topics []string) (map[topicPartition]int64, error) {
	ends := map[topicPartition]int64{}
	for _, t := range topics {
		offsets, err := ad.EndOffsets(ctx, t)
		if err != nil {
			return nil, err
		}
		for _, o := range offsets {
			if o.Err != nil {
				return nil, o.Err
			}
			ends[topicPartition{t, o.Partition}] = o.Offset
		}
	}
	return ends, nil
}
