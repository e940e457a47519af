package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/node/explain"
)

func (a *app) groupCommand() *cobra.Command {
	k := &connection{}
	c := &cobra.Command{Use: "group", Aliases: []string{"groups"}, Short: "Look at consumer groups, move and delete them"}
	k.flags(c)
	c.AddCommand(a.groupListCommand(k), a.groupDescribeCommand(k), a.groupLagCommand(k), a.groupWhyCommand(k), a.groupOffsetsCommand(k),
		a.groupSeekCommand(k), a.groupDeleteOffsetsCommand(k), a.groupDeleteCommand(k))
	return c
}

// groupJSON is one group in the output of group ls.
type groupJSON struct {
	Group        string `json:"group"`
	State        string `json:"state"`
	Type         string `json:"type"`
	ProtocolType string `json:"protocol_type"`
	Coordinator  int32  `json:"coordinator"`
}

func (a *app) groupListCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "ls [PATTERN...]", Aliases: []string{"list"}, Short: "List groups",
		Long: "List the groups of the cluster, or those whose names match a pattern of *, ? and [a-z].",
		Example: `  weir group ls
  weir group ls 'bill*' --output json | jq -r .group`,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				groups, err := ad.ListGroups(ctx)
				if err != nil && len(groups) == 0 {
					return err
				}
				var lines []groupJSON
				for _, g := range groups {
					match, perr := matches(patterns, g.ID)
					if perr != nil {
						return perr
					}
					if match {
						lines = append(lines, groupJSON{g.ID, g.State, g.Type, g.ProtocolType, g.Coordinator})
					}
				}
				return errors.Join(a.printGroups(lines), err)
			})
		},
	}
}

func (a *app) printGroups(lines []groupJSON) error {
	if a.json() {
		return a.printLines(len(lines), func(i int) any { return &lines[i] })
	}
	if len(lines) == 0 {
		a.say("there are no groups")
		return nil
	}
	rows := make([][]string, len(lines))
	for i, l := range lines {
		rows[i] = []string{l.Group, l.State, l.Type, l.ProtocolType, fmt.Sprint(l.Coordinator)}
	}
	return a.table("GROUP STATE TYPE PROTOCOL COORDINATOR", rows)
}

// groupDescription is the output of group describe.
type groupDescription struct {
	Group       string       `json:"group"`
	State       string       `json:"state"`
	Type        string       `json:"type"`
	Strategy    string       `json:"strategy"` // of assignment
	Coordinator int32        `json:"coordinator"`
	Lag         int64        `json:"lag"` // in all, of partitions where it is known
	Members     []memberJSON `json:"members"`
	Partitions  []groupLine  `json:"partitions"`
}

type memberJSON struct {
	ID         string   `json:"id"`
	InstanceID string   `json:"instance_id,omitempty"`
	ClientID   string   `json:"client_id"`
	Host       string   `json:"host"`
	Topics     []string `json:"topics"`
	Partitions int      `json:"partitions"` // how many it has
}

// groupLine is one partition of a group. Offsets are -1 where there is none.
type groupLine struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed"`
	Start     int64  `json:"start_offset"`
	End       int64  `json:"end_offset"`
	Lag       int64  `json:"lag"` // -1 if it is not known
	Member    string `json:"member,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Host      string `json:"host,omitempty"`
	Metadata  string `json:"metadata,omitempty"`
	Error     string `json:"error,omitempty"`
}

func (a *app) groupDescribeCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "describe GROUP...", Short: "Show members, what each has, committed offsets and lag", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeGroups(k),
		Long: `Show a group's members and, for each partition that it reads or has committed, the committed offset (where reading goes on),
the end of the partition, the lag between them, and who reads it.`,
		Example: `  weir group describe billing
  weir group describe billing --output json | jq .lag`,
		RunE: func(cmd *cobra.Command, names []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				var errs []error
				for i, name := range names {
					d, err := lookAtGroup(ctx, ad, name)
					if err == nil {
						if i > 0 && !a.json() {
							_, err = fmt.Fprintln(a.stdout)
						}
						err = errors.Join(err, a.printGroup(d))
					}
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			})
		},
	}
}

// lookAtGroup finds out all about a group.
func lookAtGroup(ctx context.Context, ad *admin.Admin, name string) (*groupDescription, error) {
	g, err := ad.DescribeGroup(ctx, name)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fail(explain.GroupNotFound, groupHint(ctx, ad, name), fmt.Errorf("there is no group %q", name))
	}
	if err != nil {
		return nil, err
	}
	d := &groupDescription{
		Group: g.ID, State: g.State, Type: g.Type, Strategy: g.Protocol, Coordinator: g.Coordinator,
		Members: []memberJSON{}, Partitions: []groupLine{},
	}
	offsets, err := ad.GroupOffsets(ctx, name)
	if err != nil {
		return nil, err
	}
	find := func(p admin.Partition) *groupLine {
		i, found := slices.BinarySearchFunc(d.Partitions, p, func(l groupLine, p admin.Partition) int {
			if c := strings.Compare(l.Topic, p.Topic); c != 0 {
				return c
			}
			return int(l.Partition) - int(p.Partition)
		})
		if !found {
			d.Partitions = slices.Insert(d.Partitions, i, groupLine{Topic: p.Topic, Partition: p.Partition, Committed: -1, Start: -1, End: -1, Lag: -1})
		}
		return &d.Partitions[i]
	}
	for _, o := range offsets {
		l := find(o.Partition)
		l.Committed, l.Metadata = o.Offset, o.Metadata
		if o.Err != nil {
			l.Error = o.Err.Error()
		}
	}
	for _, m := range g.Members {
		d.Members = append(d.Members, memberJSON{m.ID, m.InstanceID, m.ClientID, strings.TrimPrefix(m.Host, "/"), m.Topics, len(m.Assigned)})
		for _, p := range m.Assigned {
			l := find(p)
			l.Member, l.ClientID, l.Host = m.ID, m.ClientID, strings.TrimPrefix(m.Host, "/")
		}
	}
	return d, d.measure(ctx, ad)
}

// measure finds out where the partitions begin and end.
func (d *groupDescription) measure(ctx context.Context, ad *admin.Admin) error {
	for i := 0; i < len(d.Partitions); {
		topic := d.Partitions[i].Topic
		n := i
		for n < len(d.Partitions) && d.Partitions[n].Topic == topic {
			n++
		}
		starts, err := ad.StartOffsets(ctx, topic)
		var ends []admin.Offset
		if err == nil {
			ends, err = ad.EndOffsets(ctx, topic)
		}
		gone := errors.Is(err, kerr.UnknownTopicOrPartition)
		if err != nil && !gone {
			return err
		}
		for ; i < n; i++ {
			l := &d.Partitions[i]
			if gone {
				l.Error = "there is no such topic"
				continue
			}
			l.Start, l.End = offsetOf(starts, l.Partition), offsetOf(ends, l.Partition)
			if l.Committed >= 0 && l.End >= 0 {
				l.Lag = max(0, l.End-max(l.Committed, l.Start))
				d.Lag += l.Lag
			}
		}
	}
	return nil
}

// groupHint suggests the group that was perhaps meant.
func groupHint(ctx context.Context, ad *admin.Admin, name string) string {
	groups, err := ad.ListGroups(ctx)
	if err != nil {
		return ""
	}
	var names []string
	for _, g := range groups {
		names = append(names, g.ID)
	}
	if near := explain.Nearest(name, names); near != "" {
		return fmt.Sprintf("did you mean %s? `weir group ls` lists what there is", near)
	}
	return ""
}

func (a *app) printGroup(d *groupDescription) error {
	if a.json() {
		return a.printJSON(d)
	}
	strategy := ""
	if d.Strategy != "" {
		strategy = ", strategy " + d.Strategy
	}
	if _, err := fmt.Fprintf(a.stdout, "group %s, %s%s, %s, lag %d\n", d.Group, d.State, strategy, amount(len(d.Members), "member"), d.Lag); err != nil {
		return err
	}
	if len(d.Members) > 0 {
		var rows [][]string
		for _, m := range d.Members {
			rows = append(rows, []string{m.ID, m.InstanceID, m.ClientID, m.Host, fmt.Sprint(m.Partitions), strings.Join(m.Topics, ",")})
		}
		if err := a.table("MEMBER INSTANCE CLIENT HOST PARTITIONS TOPICS", rows); err != nil {
			return err
		}
	}
	if len(d.Partitions) == 0 {
		return nil
	}
	var rows [][]string
	for _, l := range d.Partitions {
		rows = append(rows, []string{l.Topic, fmt.Sprint(l.Partition), known(l.Committed), known(l.Start), known(l.End), known(l.Lag), l.Member})
	}
	return a.table("TOPIC PARTITION COMMITTED START END LAG MEMBER", rows)
}

// lagLine is one topic of one group in the output of group lag.
type lagLine struct {
	Group      string `json:"group"`
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	Lag        int64  `json:"lag"`
	LagMax     int64  `json:"lag_max"` // of one partition
	Unknown    int    `json:"unknown"` // partitions without a committed offset
}

func (a *app) groupLagCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "lag [GROUP...]", Short: "Show how far groups are behind", ValidArgsFunction: a.completeGroups(k),
		Long: "Show for each group and topic how many records are not read yet: in all, and of the partition that is furthest behind.",
		Example: `  weir group lag
  weir group lag billing --output json | jq .lag`,
		RunE: func(cmd *cobra.Command, names []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				asked := names
				if len(names) == 0 {
					groups, err := ad.ListGroups(ctx)
					if err != nil {
						return err
					}
					for _, g := range groups {
						names = append(names, g.ID)
					}
				}
				lines := []lagLine{}
				var errs []error
				for _, name := range names {
					d, err := lookAtGroup(ctx, ad, name)
					if err != nil {
						errs = append(errs, err)
						continue
					}
					lines = append(lines, d.lag()...)
				}
				if err := errors.Join(errs...); err != nil && len(lines) == 0 {
					return err // nothing can be said of the groups that there are
				}
				return errors.Join(a.printLag(lines, asked), errors.Join(errs...))
			})
		},
	}
}

// lag sums up by topic.
func (d *groupDescription) lag() []lagLine {
	var lines []lagLine
	for _, l := range d.Partitions {
		if n := len(lines); n == 0 || lines[n-1].Topic != l.Topic {
			lines = append(lines, lagLine{Group: d.Group, Topic: l.Topic})
		}
		sum := &lines[len(lines)-1]
		sum.Partitions++
		if l.Lag < 0 {
			sum.Unknown++
			continue
		}
		sum.Lag += l.Lag
		sum.LagMax = max(sum.LagMax, l.Lag)
	}
	return lines
}

// printLag prints the lag of the groups that were asked for; none is all.
func (a *app) printLag(lines []lagLine, asked []string) error {
	if a.json() {
		return a.printLines(len(lines), func(i int) any { return &lines[i] })
	}
	if len(lines) == 0 {
		if len(asked) > 0 {
			a.say("%s: nothing has been committed", strings.Join(asked, ", "))
		} else {
			a.say("no group has committed anything")
		}
		return nil
	}
	rows := make([][]string, len(lines))
	for i, l := range lines {
		rows[i] = []string{l.Group, l.Topic, fmt.Sprint(l.Partitions), fmt.Sprint(l.Lag), fmt.Sprint(l.LagMax), fmt.Sprint(l.Unknown)}
	}
	return a.table("GROUP TOPIC PARTITIONS LAG LAG-MAX UNKNOWN", rows)
}

func (a *app) groupDeleteCommand(k *connection) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "delete GROUP...", Aliases: []string{"rm"}, Short: "Delete groups and what they committed", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeGroups(k),
		Long:              "Delete groups and what they committed. They must have no members. At a terminal it asks first.",
		Example:           "  weir group delete billing",
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := a.confirm(yes, "delete the group %s and its offsets", strings.Join(names, ", ")); err != nil {
				return err
			}
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				var errs []error
				for _, name := range names {
					err := ad.DeleteGroup(ctx, name)
					if err == nil {
						err = a.print(map[string]string{"deleted": name}, "deleted %s\n", name)
					}
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			})
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// offsetJSON is one line of group offsets, and of the file that group seek reads.
type offsetJSON struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Metadata  string `json:"metadata,omitempty"`
}

func (a *app) groupOffsetsCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "offsets GROUP", Short: "Print committed offsets, in a form that group seek reads", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeGroups(k),
		Long: `Print a group's committed offsets, a line of topic, partition and offset for each partition. Kept in a file they are a
backup: ` + "`weir group seek GROUP --from-file FILE --execute`" + ` takes the group, or another one, back to them.`,
		Example: `  weir group offsets billing > billing.offsets
  weir group seek billing --from-file billing.offsets --execute`,
		RunE: func(cmd *cobra.Command, names []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				offsets, err := ad.GroupOffsets(ctx, names[0])
				if err != nil {
					return err
				}
				for _, o := range offsets {
					if o.Err != nil || o.Offset < 0 {
						err = errors.Join(err, o.Err)
						continue
					}
					line := offsetJSON{o.Topic, o.Partition.Partition, o.Offset, o.Metadata}
					err = errors.Join(err, a.print(&line, "%s %d %d\n", line.Topic, line.Partition, line.Offset))
				}
				return err
			})
		},
	}
}

func (a *app) groupDeleteOffsetsCommand(k *connection) *cobra.Command {
	var topics []string
	c := &cobra.Command{
		Use: "delete-offsets GROUP --topic TOPIC[:PARTITION,...]", Short: "Make a group forget topics", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeGroups(k),
		Long:              "Delete what a group has committed for topics, so that their lag is no longer counted. No member may read them.",
		Example:           "  weir group delete-offsets billing --topic old-orders --topic orders:3,4",
		RunE: func(cmd *cobra.Command, names []string) error {
			chosen, err := parseTopicPartitions(topics)
			if err != nil {
				return err
			}
			if len(chosen) == 0 {
				return usage("--topic is missing: which is the group to forget?")
			}
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				offsets, err := ad.GroupOffsets(ctx, names[0])
				if err != nil {
					return err
				}
				var gone []admin.Partition
				for _, o := range offsets {
					if chosen.has(o.Topic, o.Partition.Partition) {
						gone = append(gone, o.Partition)
					}
				}
				if len(gone) == 0 {
					return fail(explain.PartitionNotFound, "`weir group offsets "+names[0]+"` lists what it has committed",
						fmt.Errorf("group %s has committed nothing there", names[0]))
				}
				if err := ad.DeleteGroupOffsets(ctx, names[0], gone); err != nil {
					return err
				}
				return a.print(map[string]any{"group": names[0], "forgotten": len(gone)}, "%s forgot %s\n", names[0], amount(len(gone), "partition"))
			})
		},
	}
	c.Flags().StringArrayVar(&topics, "topic", nil, "a `TOPIC`, or TOPIC:PARTITION,PARTITION; may be repeated")
	return c
}
