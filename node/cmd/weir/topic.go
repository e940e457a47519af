package main

import (
	"context"
	"errors"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
)

func (a *app) topicCommand() *cobra.Command {
	k := &connection{}
	c := &cobra.Command{Use: "topic", Aliases: []string{"topics"}, Short: "Create, list, describe, change and delete topics"}
	k.flags(c)
	c.AddCommand(a.topicCreateCommand(k), a.topicListCommand(k), a.topicDescribeCommand(k), a.topicAlterCommand(k),
		a.topicAddPartitionsCommand(k), a.topicElectCommand(k), a.topicMoveCommand(k), a.topicTrimCommand(k), a.topicDeleteCommand(k))
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
