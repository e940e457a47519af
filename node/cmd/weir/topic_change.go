package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/node/explain"
)

func (a *app) topicAlterCommand(k *connection) *cobra.Command {
	var set, unset []string
	var partitions int32
	c := &cobra.Command{
		Use: "alter NAME...", Short: "Change settings and the number of partitions", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTopics(k),
		Long: `Change topics' settings, and give them more partitions. ` + "`weir config ls topic NAME`" + ` lists the settings.

Partitions can be added and never taken away. Keys go to other partitions from then on.`,
		Example: `  weir topic alter orders --config retention.ms=86400000
  weir topic alter orders clicks --unset retention.ms
  weir topic alter orders --partitions 24`,
		RunE: func(cmd *cobra.Command, names []string) error {
			changes, err := parseChanges(set, unset)
			if err != nil {
				return err
			}
			if len(changes) == 0 && partitions == 0 {
				return usage("nothing is to change: give --config, --unset or --partitions")
			}
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				var errs []error
				for _, name := range names {
					err := alterTopic(ctx, ad, name, changes, partitions)
					if err == nil {
						err = a.print(map[string]string{"altered": name}, "altered %s\n", name)
					}
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			})
		},
	}
	c.Flags().StringArrayVar(&set, "config", nil, "give a setting a value, as `NAME=VALUE`; may be repeated")
	c.Flags().StringArrayVar(&unset, "unset", nil, "take a setting back to the broker's value, by `NAME`; may be repeated")
	c.Flags().Int32Var(&partitions, "partitions", 0, "how many there are to be then")
	return c
}

func alterTopic(ctx context.Context, ad *admin.Admin, name string, changes []admin.Change, partitions int32) error {
	if len(changes) > 0 {
		if err := ad.AlterConfigs(ctx, admin.OfTopic(name), changes...); err != nil {
			return err
		}
	}
	if partitions > 0 {
		return ad.CreatePartitions(ctx, name, partitions)
	}
	return nil
}

// parseChanges makes changes of NAME=VALUEs and NAMEs.
func parseChanges(set, unset []string) ([]admin.Change, error) {
	var changes []admin.Change
	for _, s := range set {
		name, value, found := strings.Cut(s, "=")
		if !found || name == "" {
			return nil, usage("%q is not NAME=VALUE", s)
		}
		switch {
		case strings.HasSuffix(name, "+"):
			changes = append(changes, admin.Append(strings.TrimSuffix(name, "+"), value))
		case strings.HasSuffix(name, "-"):
			changes = append(changes, admin.Subtract(strings.TrimSuffix(name, "-"), value))
		default:
			changes = append(changes, admin.Set(name, value))
		}
	}
	for _, name := range unset {
		changes = append(changes, admin.Unset(name))
	}
	return changes, nil
}

func (a *app) topicAddPartitionsCommand(k *connection) *cobra.Command {
	var more, total int32
	c := &cobra.Command{
		Use: "add-partitions NAME...", Short: "Give topics more partitions", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTopics(k),
		Long: `Give topics more partitions: so many more, or so many in all. Partitions are never taken away, and keys go to other
partitions from then on.`,
		Example: `  weir topic add-partitions orders --more 4
  weir topic add-partitions orders --total 24`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if (more > 0) == (total > 0) {
				return usage("give --more or --total, a number above 0")
			}
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				topics, err := ad.DescribeTopics(ctx, names...)
				if err != nil {
					return err
				}
				var errs []error
				for i := range topics {
					t := &topics[i]
					if t.Err != nil {
						errs = append(errs, missing(ctx, ad, t.Name, t.Err))
						continue
					}
					count := total
					if more > 0 {
						count = int32(len(t.Partitions)) + more
					}
					err := ad.CreatePartitions(ctx, t.Name, count)
					if err == nil {
						err = a.print(map[string]any{"altered": t.Name, "partitions": count}, "%s has %s now\n", t.Name, amount(int(count), "partition"))
					}
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			})
		},
	}
	c.Flags().Int32Var(&more, "more", 0, "how many more")
	c.Flags().Int32Var(&total, "total", 0, "how many there are to be then")
	return c
}

// trimLine is one partition in the output of topic trim.
type trimLine struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Before    int64  `json:"before"`       // records below it are to be deleted
	Start     int64  `json:"start_offset"` // where the partition starts then
	Deleted   int64  `json:"deleted"`
	Note      string `json:"note,omitempty"`
	Error     string `json:"error,omitempty"`
}

func (a *app) topicTrimCommand(k *connection) *cobra.Command {
	var before string
	var partitions []int32
	var yes, dryRun bool
	c := &cobra.Command{
		Use: "trim NAME", Short: "Delete the oldest records", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeTopics(k),
		Long: `Delete the records before a place, at once and for ever. At a terminal it asks first; --dry-run only shows what would go.

` + placesHelp,
		Example: `  weir topic trim orders --before 1000 -p 3
  weir topic trim orders --before @-30d --dry-run
  weir topic trim orders --before end --yes`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if before == "" {
				return usage("--before is missing: it says which records to keep")
			}
			at, err := parsePlace("--before", before, time.Now())
			if err != nil {
				return err
			}
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				lines, err := trimPlan(ctx, ad, names[0], at, partitions)
				if err != nil {
					return err
				}
				if !dryRun {
					total := int64(0)
					for _, l := range lines {
						total += l.Deleted
					}
					if err := a.confirm(yes, "delete %s of %s%s", amount(total, "record"), names[0], emptied(lines)); err != nil {
						return err
					}
					err = trim(ctx, ad, lines)
				}
				return errors.Join(a.printTrim(lines, dryRun), err)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&before, "before", "", "the `PLACE` of the first record to keep; end deletes all")
	f.Int32SliceVarP(&partitions, "partition", "p", nil, "these `partitions` only; default all")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	f.BoolVar(&dryRun, "dry-run", false, "only show what would be deleted")
	return c
}

// trimPlan works out what to delete.
func trimPlan(ctx context.Context, ad *admin.Admin, topic string, at place, partitions []int32) ([]trimLine, error) {
	topics, err := chosenTopics(ctx, ad, []string{topic}, false, partitions)
	if err != nil {
		return nil, err
	}
	starts, err := offsetsAt(ctx, ad, topic, place{kind: atStart}, nil)
	if err != nil {
		return nil, err
	}
	before, err := offsetsAt(ctx, ad, topic, at, nil)
	if err != nil {
		return nil, err
	}
	var lines []trimLine
	for _, p := range topics[0].Partitions {
		if len(partitions) > 0 && !slices.Contains(partitions, p.Partition) {
			continue
		}
		l := trimLine{Topic: topic, Partition: p.Partition, Before: before[p.Partition], Start: starts[p.Partition]}
		l.Deleted = max(0, l.Before-l.Start)
		wanted := at.offset
		if at.kind == fromStart {
			wanted += l.Start
		}
		if (at.kind == atOffset || at.kind == fromStart) && wanted > l.Before {
			l.Note = fmt.Sprintf("%d is beyond the end: all of it", wanted)
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// emptied names, in a question, the partitions of which more is to be deleted than there is: perhaps another was meant.
func emptied(lines []trimLine) string {
	var all []string
	for _, l := range lines {
		if l.Note != "" && l.Deleted > 0 {
			all = append(all, fmt.Sprintf("%s/%d (%s)", l.Topic, l.Partition, l.Note))
		}
	}
	if len(all) == 0 {
		return ""
	}
	return ", everything in " + some(all)
}

// trim deletes what the plan says, and notes where partitions start then.
func trim(ctx context.Context, ad *admin.Admin, lines []trimLine) error {
	var trims []admin.Trim
	for _, l := range lines {
		trims = append(trims, admin.Trim{Topic: l.Topic, Partition: l.Partition, Before: l.Before})
	}
	done, err := ad.DeleteRecords(ctx, trims)
	if err != nil {
		return err
	}
	var errs []error
	for i := range done {
		l := &lines[i]
		if done[i].Err != nil {
			l.Deleted, l.Error = 0, done[i].Err.Error()
			errs = append(errs, done[i].Err)
			continue
		}
		l.Deleted, l.Start = max(0, done[i].Offset-l.Start), done[i].Offset
	}
	return errors.Join(errs...)
}

func (a *app) printTrim(lines []trimLine, dryRun bool) error {
	if a.json() {
		return a.printLines(len(lines), func(i int) any { return &lines[i] })
	}
	heading := "PARTITION START DELETED NOTE"
	if dryRun {
		heading = "PARTITION BEFORE WOULD-DELETE NOTE"
	}
	rows := make([][]string, len(lines))
	for i, l := range lines {
		start := l.Start
		if dryRun {
			start = l.Before
		}
		rows[i] = []string{fmt.Sprint(l.Partition), fmt.Sprint(start), fmt.Sprint(l.Deleted), strings.ReplaceAll(l.Note, " ", "-")}
	}
	return a.table(heading, rows)
}

// confirm asks at a terminal before something is destroyed. Scripts are taken at their word.
func (a *app) confirm(yes bool, format string, args ...any) error {
	if yes || !isTerminal(a.stdin) || !isTerminal(a.stderr) {
		return nil
	}
	_, _ = fmt.Fprintf(a.stderr, format+"? Type yes: ", args...)
	var answer string
	_, _ = fmt.Fscanln(a.stdin, &answer) // nothing typed is no yes
	if strings.EqualFold(answer, "yes") || strings.EqualFold(answer, "y") {
		return nil
	}
	return fail(explain.NotConfirmed, "", errors.New("nothing was changed"))
}
