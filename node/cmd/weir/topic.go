package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
)

func (a *app) topicCommand() *cobra.Command {
	k := &connection{}
	c := &cobra.Command{Use: "topic", Short: "Create, list, describe and delete topics"}
	k.flags(c)
	c.AddCommand(a.topicCreateCommand(k), a.topicListCommand(k), a.topicDescribeCommand(k), a.topicDeleteCommand(k))
	return c
}

func (a *app) topicCreateCommand(k *connection) *cobra.Command {
	var t admin.Topic
	var configs []string
	var ifNotExists bool
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
					err := ad.CreateTopic(ctx, t)
					if ifNotExists && errors.Is(err, kerr.TopicAlreadyExists) {
						err = nil
					}
					if err == nil {
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
	f.BoolVar(&ifNotExists, "if-not-exists", false, "leave a topic that exists as it is")
	return c
}

func (a *app) topicListCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List topics", Args: cobra.NoArgs,
		Example: "  weir topic ls\n  weir topic ls --output json | jq -r .name",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				topics, err := ad.DescribeTopics(ctx)
				if err != nil {
					return err
				}
				var rows [][]string
				for _, t := range topics {
					if a.json() {
						if err := a.printJSON(map[string]any{"name": t.Name, "id": t.ID, "partitions": len(t.Partitions)}); err != nil {
							return err
						}
					}
					rows = append(rows, []string{t.Name, strconv.Itoa(len(t.Partitions)), t.ID})
				}
				if a.json() {
					return nil
				}
				if len(rows) == 0 {
					a.say("there are no topics; `weir topic create NAME` makes one")
					return nil
				}
				return a.table("TOPIC PARTITIONS ID", rows)
			})
		},
	}
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

func (a *app) topicDescribeCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "describe NAME...", Short: "Show partitions, their leaders and offsets", Args: cobra.MinimumNArgs(1),
		Example: "  weir topic describe orders",
		RunE: func(cmd *cobra.Command, names []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				topics, err := ad.DescribeTopics(ctx, names...)
				if err != nil {
					return err
				}
				var errs []error
				for i := range topics {
					if topics[i].Err != nil {
						errs = append(errs, topics[i].Err)
						continue
					}
					errs = append(errs, a.describe(ctx, ad, &topics[i]))
				}
				return errors.Join(errs...)
			})
		},
	}
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
	lines := make([]partitionLine, len(t.Partitions))
	rows := make([][]string, len(t.Partitions))
	for i, p := range t.Partitions {
		l := partitionLine{
			Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: p.ISR,
			Start: offsetOf(starts, p.Partition), End: offsetOf(ends, p.Partition),
		}
		if p.Err != nil {
			l.Error = p.Err.Error()
		}
		lines[i] = l
		rows[i] = []string{
			fmt.Sprint(l.Partition), fmt.Sprint(l.Leader), fmt.Sprint(l.LeaderEpoch), numbers(l.Replicas), numbers(l.ISR),
			fmt.Sprint(l.Start), fmt.Sprint(l.End), fmt.Sprint(max(0, l.End-l.Start)),
		}
	}
	if a.json() {
		return a.printJSON(map[string]any{"name": t.Name, "id": t.ID, "partitions": lines})
	}
	if _, err := fmt.Fprintf(a.stdout, "topic %s, id %s, %d partitions\n", t.Name, t.ID, len(t.Partitions)); err != nil {
		return err
	}
	return a.table("PARTITION LEADER EPOCH REPLICAS ISR START END RECORDS", rows)
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
	return &cobra.Command{
		Use: "delete NAME...", Short: "Delete topics and all their records", Args: cobra.MinimumNArgs(1),
		Example: "  weir topic delete orders",
		RunE: func(cmd *cobra.Command, names []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				var errs []error
				for _, name := range names {
					err := ad.DeleteTopics(ctx, name)
					if err == nil {
						err = a.print(map[string]string{"deleted": name}, "deleted %s\n", name)
					}
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			})
		},
	}
}
