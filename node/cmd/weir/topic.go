package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/node/explain"
)

func (a *app) topicCommand() *cobra.Command {
	k := &connection{}
	c := &cobra.Command{Use: "topic", Aliases: []string{"topics"}, Short: "Create, list, describe, change and delete topics"}
	k.flags(c)
	c.AddCommand(a.topicCreateCommand(k), a.topicListCommand(k), a.topicDescribeCommand(k), a.topicAlterCommand(k),
		a.topicAddPartitionsCommand(k), a.topicTrimCommand(k), a.topicDeleteCommand(k))
	return c
}

func (a *app) topicCreateCommand(k *connection) *cobra.Command {
	var t admin.Topic
	var configs []string
	var ifNotExists, dryRun bool
	c := &cobra.Command{
		Use: "create NAME...", Short: "Create topics", Args: cobra.MinimumNArgs(1),
		Example: `  weir topic create orders --partitions 12
  weir topic create clicks --config retention.ms=3600000 --config max.message.bytes=4194304`,
		RunE: func(cmd *cobra.Command, names []string) error {
			t.Configs = map[string]string{}
			for _, s := range configs {
				name, value, found := strings.Cut(s, "=")
				if !found {
					return usage("--config takes NAME=VALUE, not %q", s)
				}
				t.Configs[name] = value
			}
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				var errs []error
				for _, name := range names {
					t.Name = name
					create := ad.CreateTopic
					if dryRun {
						create = func(ctx context.Context, t admin.Topic) error { return ad.ValidateTopics(ctx, []admin.Topic{t}) }
					}
					err := create(ctx, t)
					if ifNotExists && errors.Is(err, kerr.TopicAlreadyExists) {
						err = nil
					}
					switch {
					case err != nil:
					case dryRun:
						err = a.print(map[string]string{"valid": name}, "%s can be created\n", name)
					default:
						err = a.print(map[string]string{"created": name}, "created %s\n", name)
					}
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			})
		},
	}
	f := c.Flags()
	f.Int32Var(&t.Partitions, "partitions", 0, "how many; 0 leaves it to the broker (num.partitions)")
	f.Int16Var(&t.ReplicationFactor, "replication-factor", 0, "copies of each partition; 0 leaves it to the broker")
	f.StringArrayVar(&configs, "config", nil, "a topic's property, as NAME=VALUE; may be repeated")
	f.BoolVar(&dryRun, "dry-run", false, "only check whether they could be created")
	f.BoolVar(&ifNotExists, "if-not-exists", false, "leave a topic that exists as it is")
	return c
}

// topicJSON is one topic in the output of topic ls.
type topicJSON struct {
	Name              string `json:"name"`
	ID                string `json:"id"`
	Partitions        int    `json:"partitions"`
	ReplicationFactor int    `json:"replication_factor"`
	Internal          bool   `json:"internal,omitempty"`
}

func (a *app) topicListCommand(k *connection) *cobra.Command {
	var internal bool
	c := &cobra.Command{
		Use: "ls [PATTERN...]", Aliases: []string{"list"}, Short: "List topics",
		Long: "List topics, or those whose names match a pattern of *, ? and [a-z].",
		Example: `  weir topic ls
  weir topic ls 'order*'
  weir topic ls --output json | jq -r .name`,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				topics, err := ad.DescribeTopics(ctx)
				if err != nil {
					return err
				}
				var found []topicJSON
				for i := range topics {
					t := &topics[i]
					match, err := matches(patterns, t.Name)
					if err != nil {
						return err
					}
					if !match || t.Internal && !internal {
						continue
					}
					l := topicJSON{Name: t.Name, ID: t.ID, Partitions: len(t.Partitions), Internal: t.Internal}
					if len(t.Partitions) > 0 {
						l.ReplicationFactor = len(t.Partitions[0].Replicas)
					}
					found = append(found, l)
				}
				return a.printTopics(found, len(patterns) > 0)
			})
		},
	}
	c.Flags().BoolVar(&internal, "internal", false, "list the cluster's own topics too")
	return c
}

func (a *app) printTopics(topics []topicJSON, chosen bool) error {
	if a.json() {
		return a.printLines(len(topics), func(i int) any { return &topics[i] })
	}
	switch {
	case len(topics) == 0 && chosen:
		a.say("no topic matches; `weir topic ls` lists all")
	case len(topics) == 0:
		a.say("there are no topics; `weir topic create NAME` makes one")
	default:
		rows := make([][]string, len(topics))
		for i, t := range topics {
			rows[i] = []string{t.Name, strconv.Itoa(t.Partitions), strconv.Itoa(t.ReplicationFactor), t.ID}
		}
		return a.table("TOPIC PARTITIONS REPLICAS ID", rows)
	}
	return nil
}

// matches reports whether a name matches one of some patterns; no patterns match all.
func matches(patterns []string, name string) (bool, error) {
	for _, p := range patterns {
		ok, err := path.Match(p, name)
		if err != nil {
			return false, usage("%q is no pattern: %v", p, err)
		}
		if ok {
			return true, nil
		}
	}
	return len(patterns) == 0, nil
}

// partitionLine is one partition in the output of topic describe.
type partitionLine struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leader_epoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	Start       int64   `json:"start_offset"`
	End         int64   `json:"end_offset"`
	Error       string  `json:"error,omitempty"`
}

// topicDescription is the output of topic describe.
type topicDescription struct {
	Name       string          `json:"name"`
	ID         string          `json:"id"`
	Internal   bool            `json:"internal,omitempty"`
	Partitions []partitionLine `json:"partitions"`
	// Configs are the settings that are not the broker's.
	Configs map[string]string `json:"configs,omitempty"`
}

func (a *app) topicDescribeCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "describe NAME...", Short: "Show partitions, their leaders and offsets, and settings", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTopics(k),
		Example:           "  weir topic describe orders\n  weir topic describe orders --output json | jq '.partitions[].end_offset'",
		RunE: func(cmd *cobra.Command, names []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				topics, err := ad.DescribeTopics(ctx, names...)
				if err != nil {
					return err
				}
				var errs []error
				for i := range topics {
					if topics[i].Err != nil {
						errs = append(errs, missing(ctx, ad, topics[i].Name, topics[i].Err))
						continue
					}
					errs = append(errs, a.describe(ctx, ad, &topics[i]))
				}
				return errors.Join(errs...)
			})
		},
	}
}

// missing is the error for a topic that cannot be described; it suggests the one that was perhaps meant.
func missing(ctx context.Context, ad *admin.Admin, name string, err error) error {
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return err
	}
	return fail(explain.TopicNotFound, topicHint(ctx, ad, name), fmt.Errorf("there is no topic %q", name))
}

func (a *app) describe(ctx context.Context, ad *admin.Admin, t *admin.TopicDescription) error {
	starts, err := ad.StartOffsets(ctx, t.Name)
	if err != nil {
		return err
	}
	ends, err := ad.EndOffsets(ctx, t.Name)
	if err != nil {
		return err
	}
	d := topicDescription{Name: t.Name, ID: t.ID, Internal: t.Internal, Partitions: make([]partitionLine, len(t.Partitions))}
	// Brokers that cannot tell settings are described without.
	if settings, err := ad.DescribeConfigs(ctx, admin.OfTopic(t.Name)); err == nil {
		for _, s := range settings {
			if s.Source == "topic" {
				if d.Configs == nil {
					d.Configs = map[string]string{}
				}
				d.Configs[s.Name] = s.Value
			}
		}
	} else if !errors.Is(err, client.ErrUnsupported) && !errors.Is(err, kerr.TopicAuthorizationFailed) {
		return err
	}
	rows := make([][]string, len(t.Partitions))
	for i, p := range t.Partitions {
		l := partitionLine{
			Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: p.ISR,
			Start: offsetOf(starts, p.Partition), End: offsetOf(ends, p.Partition),
		}
		if p.Err != nil {
			l.Error = p.Err.Error()
		}
		d.Partitions[i] = l
		leader, records := fmt.Sprint(l.Leader), ""
		if l.Start >= 0 && l.End >= 0 {
			records = fmt.Sprint(max(0, l.End-l.Start))
		}
		switch {
		case l.Leader < 0 && len(p.Offline) > 0:
			leader = "offline"
		case l.Leader < 0:
			leader = "none"
		}
		rows[i] = []string{
			fmt.Sprint(l.Partition), leader, fmt.Sprint(l.LeaderEpoch), numbers(l.Replicas), numbers(l.ISR), known(l.Start), known(l.End), records,
		}
	}
	if a.json() {
		return a.printJSON(&d)
	}
	if _, err := fmt.Fprintf(a.stdout, "topic %s, id %s, %d partitions\n", d.Name, d.ID, len(d.Partitions)); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(d.Configs)) {
		if _, err := fmt.Fprintf(a.stdout, "  %s=%s\n", name, d.Configs[name]); err != nil {
			return err
		}
	}
	return a.table("PARTITION LEADER EPOCH REPLICAS ISR START END RECORDS", rows)
}

// known is an offset, or nothing if it is not known.
func known(offset int64) string {
	if offset < 0 {
		return ""
	}
	return strconv.FormatInt(offset, 10)
}

// offsetOf finds a partition's offset; -1 if it is not known.
func offsetOf(offsets []admin.Offset, partition int32) int64 {
	for i := range offsets {
		if offsets[i].Partition == partition && offsets[i].Err == nil {
			return offsets[i].Offset
		}
	}
	return -1
}

func numbers(ns []int32) string {
	var s []string
	for _, n := range ns {
		s = append(s, strconv.Itoa(int(n)))
	}
	return strings.Join(s, ",")
}

func (a *app) topicDeleteCommand(k *connection) *cobra.Command {
	var yes, ifExists bool
	c := &cobra.Command{
		Use: "delete NAME...", Aliases: []string{"rm"}, Short: "Delete topics and all their records", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTopics(k),
		Long:              "Delete topics and all their records, at once and for ever. At a terminal it asks first.",
		Example:           "  weir topic delete orders\n  weir topic delete orders clicks --yes --if-exists",
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := a.confirm(yes, "delete %s and all records", strings.Join(names, ", ")); err != nil {
				return err
			}
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				var errs []error
				for _, name := range names {
					err := ad.DeleteTopics(ctx, name)
					switch {
					case ifExists && errors.Is(err, kerr.UnknownTopicOrPartition):
						err = nil
					case err == nil:
						err = a.print(map[string]string{"deleted": name}, "deleted %s\n", name)
					}
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			})
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&ifExists, "if-exists", false, "a topic that does not exist is no failure")
	return c
}
