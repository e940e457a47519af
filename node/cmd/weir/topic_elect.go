package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
)

// electionHeard is how long after an election a broker may still say that nobody leads.
const electionHeard = 5 * time.Second

// electLine is one partition in the output of topic elect.
type electLine struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Leader    int32  `json:"leader"` // after the election; -1: nobody leads
	Elected   bool   `json:"elected"`
	Error     string `json:"error,omitempty"`
}

func (a *app) topicElectCommand(k *connection) *cobra.Command {
	var partitions []int32
	var unclean, yes bool
	c := &cobra.Command{
		Use: "elect NAME...", Short: "Have the preferred replicas lead, or any where nobody does", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTopics(k),
		Long: `Have the first replica of each partition lead it, where it is in sync and another leads. The cluster does so by itself every few
seconds; this does it at once.

--unclean has any replica that runs lead where nobody does. It is for when those that have everything will never come back
(` + "`weir topic describe`" + ` names them): what was acknowledged and is not on the replica that comes to lead is lost for good,
also when the others come back. At a terminal it asks first.`,
		Example: `  weir topic elect orders
  weir topic elect orders -p 3 --unclean`,
		RunE: func(cmd *cobra.Command, names []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				parts, leaderless, err := electorates(ctx, ad, names, partitions, unclean)
				if err != nil {
					return err
				}
				elect, heard := ad.ElectPreferredLeaders, preferredLeads
				if unclean && leaderless > 0 {
					elect, heard = ad.ElectUncleanLeaders, somebodyLeads
					if err := a.confirm(yes, "give up what the replicas that run lack, in %s without a leader", amount(leaderless, "partition")); err != nil {
						return err
					}
				}
				var outcomes []admin.Elected
				if len(parts) > 0 {
					if outcomes, err = elect(ctx, parts...); err != nil {
						return err
					}
				}
				lines, err := elected(ctx, ad, outcomes, heard)
				return errors.Join(a.printElected(lines), err)
			})
		},
	}
	f := c.Flags()
	f.Int32SliceVarP(&partitions, "partition", "p", nil, "these `partitions` only; default all")
	f.BoolVar(&unclean, "unclean", false, "where nobody leads, have any replica lead; what it lacks is lost")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// electorates are the partitions to hold elections in: all that were named or, for unclean ones, those without a leader.
func electorates(ctx context.Context, ad *admin.Admin, names []string, only []int32, unclean bool) (parts []admin.Partition, leaderless int, err error) {
	topics, err := chosenTopics(ctx, ad, names, false, only)
	if err != nil {
		return nil, 0, err
	}
	for i := range topics {
		for _, p := range topics[i].Partitions {
			if len(only) > 0 && !slices.Contains(only, p.Partition) {
				continue
			}
			if p.Leader < 0 {
				leaderless++
			}
			if !unclean || p.Leader < 0 {
				parts = append(parts, admin.Partition{Topic: topics[i].Name, Partition: p.Partition})
			}
		}
	}
	return parts, leaderless, nil
}

// elected says who leads after elections. An election that was not needed is no error.
func elected(ctx context.Context, ad *admin.Admin, outcomes []admin.Elected, heard func(*admin.PartitionDescription) bool) (lines []electLine, err error) {
	leaders, err := leadersAfter(ctx, ad, outcomes, heard)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, o := range outcomes {
		l := electLine{Topic: o.Topic, Partition: o.Partition.Partition, Leader: -1, Elected: o.Err == nil}
		if leader, known := leaders[o.Partition]; known {
			l.Leader = leader
		}
		if o.Err != nil && !errors.Is(o.Err, kerr.ElectionNotNeeded) {
			l.Error = o.Err.Error()
			errs = append(errs, o.Err)
		}
		lines = append(lines, l)
	}
	return lines, errors.Join(errs...)
}

func preferredLeads(p *admin.PartitionDescription) bool {
	return len(p.Replicas) > 0 && p.Leader == p.Replicas[0]
}

func somebodyLeads(p *admin.PartitionDescription) bool {
	return p.Leader >= 0
}

// leadersAfter asks who leads until each partition in which a leader was elected shows it: the controller elects, and the broker
// that is asked who leads hears of it a moment later. After electionHeard it says what that broker knows.
func leadersAfter(ctx context.Context, ad *admin.Admin, outcomes []admin.Elected, heard func(*admin.PartitionDescription) bool) (map[admin.Partition]int32, error) {
	won := map[admin.Partition]bool{}
	var names []string
	for _, o := range outcomes {
		names = append(names, o.Topic)
		won[o.Partition] = o.Err == nil
	}
	if len(names) == 0 {
		return nil, nil
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for begun := time.Now(); ; {
		topics, err := ad.DescribeTopics(ctx, names...)
		if err != nil {
			return nil, err
		}
		leaders := map[admin.Partition]int32{}
		all := true
		for i := range topics {
			for j := range topics[i].Partitions {
				p := &topics[i].Partitions[j]
				of := admin.Partition{Topic: topics[i].Name, Partition: p.Partition}
				leaders[of] = p.Leader
				all = all && (!won[of] || heard(p))
			}
		}
		if all || time.Since(begun) > electionHeard {
			return leaders, nil
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

func (a *app) printElected(lines []electLine) error {
	if a.json() {
		return a.printLines(len(lines), func(i int) any { return &lines[i] })
	}
	rows := make([][]string, len(lines))
	for i, l := range lines {
		leader, outcome := fmt.Sprint(l.Leader), "led already"
		switch {
		case l.Error != "":
			outcome = "not elected"
		case l.Elected:
			outcome = "elected"
		}
		if l.Leader < 0 {
			leader = "-"
		}
		rows[i] = []string{l.Topic, fmt.Sprint(l.Partition), leader, outcome}
	}
	if len(rows) == 0 {
		return a.print(nil, "every partition has a leader: there is nothing to elect\n")
	}
	return a.table("TOPIC PARTITION LEADER OUTCOME", rows)
}
