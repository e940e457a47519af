package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/node/config"
	"github.com/weirmq/weir/node/explain"
)

// configHelp explains what has settings.
const configHelp = `What has settings: topic NAME, broker ID (without ID the first), cluster (what counts for brokers that have none of their
own), group NAME.`

func (a *app) configCommand() *cobra.Command {
	k := &connection{}
	c := &cobra.Command{
		Use: "config", Aliases: []string{"configs"}, Short: "Show and change settings of topics and brokers",
		Long: "Show and change settings at run time.\n\n" + configHelp,
	}
	k.flags(c)
	c.AddCommand(a.configListCommand(k), a.configGetCommand(k), a.configSetCommand(k), a.configUnsetCommand(k))
	return c
}

// resource reads KIND [NAME] off the arguments.
func resource(ctx context.Context, ad *admin.Admin, args []string) (admin.Resource, []string, error) {
	switch args[0] {
	case "cluster":
		return admin.OfCluster(), args[1:], nil
	case "broker":
		if len(args) > 1 {
			if id, err := strconv.ParseInt(args[1], 10, 32); err == nil {
				return admin.OfBroker(int32(id)), args[2:], answers(ctx, ad, int32(id))
			}
		}
		c, err := ad.DescribeCluster(ctx)
		if err != nil {
			return admin.Resource{}, nil, err
		}
		if len(c.Brokers) == 0 {
			return admin.Resource{}, nil, errors.New("the cluster names no brokers")
		}
		return admin.OfBroker(c.Brokers[0].ID), args[1:], nil
	case "topic", "group":
		if len(args) < 2 {
			return admin.Resource{}, nil, usage("which %s? It is `%s NAME`", args[0], args[0])
		}
		if args[0] == "group" {
			return admin.OfGroup(args[1]), args[2:], nil
		}
		return admin.OfTopic(args[1]), args[2:], nil
	}
	return admin.Resource{}, nil, usage("%q has no settings: topic NAME, broker [ID], cluster and group NAME have", args[0])
}

// answers fails for a broker that nobody can ask: the clients would wait for it as for one that is starting.
func answers(ctx context.Context, ad *admin.Admin, id int32) error {
	s := &survey{}
	var err error
	if s.cluster, err = describeBrokers(ctx, ad); err != nil {
		return err
	}
	n, err := s.mustNode(id)
	if err == nil && n.Fenced {
		err = fail(explain.NodeDown, "", fmt.Errorf("node %d is not counted on, and its settings are its own to tell and to change", id))
	}
	return err
}

// completeResource completes KIND NAME.
func (a *app) completeResource(k *connection) completer {
	topics, groups := a.completeTopics(k), a.completeGroups(k)
	return func(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0:
			return []string{"topic", "broker", "cluster", "group"}, cobra.ShellCompDirectiveNoFileComp
		case len(args) == 1 && args[0] == "topic":
			return topics(c, args, begin)
		case len(args) == 1 && args[0] == "group":
			return groups(c, args, begin)
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// settingJSON is one setting in the output of config ls and get.
type settingJSON struct {
	Name      string        `json:"name"`
	Value     *string       `json:"value"`
	Source    string        `json:"source"`
	ReadOnly  bool          `json:"read_only"`
	Sensitive bool          `json:"sensitive,omitempty"`
	Doc       string        `json:"doc,omitempty"`
	Synonyms  []synonymJSON `json:"synonyms,omitempty"`
}

type synonymJSON struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

func newSettingJSON(s *admin.Setting) settingJSON {
	j := settingJSON{Name: s.Name, Source: s.Source, ReadOnly: s.ReadOnly, Sensitive: s.Sensitive, Doc: s.Doc}
	if !s.Null {
		j.Value = &s.Value
	}
	for _, y := range s.Synonyms {
		j.Synonyms = append(j.Synonyms, synonymJSON{y.Name, y.Value, y.Source})
	}
	return j
}

func (a *app) configListCommand(k *connection) *cobra.Command {
	var changed bool
	c := &cobra.Command{
		Use: "ls KIND [NAME]", Aliases: []string{"list", "describe"}, Short: "List settings with their values and where those come from",
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: a.completeResource(k),
		Long: `List settings with their values and sources: topic (set on the topic), broker and cluster (set at run time), static (the
broker's file, environment or flags), default (built in).

` + configHelp,
		Example: `  weir config ls topic orders
  weir config ls topic orders --changed
  weir config ls broker
  weir config ls broker 1 --output json | jq -r 'select(.read_only|not).name'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				r, rest, err := resource(ctx, ad, args)
				if err != nil {
					return err
				}
				if len(rest) > 0 {
					return usage("%q is too much; `weir config get` shows single settings", rest[0])
				}
				settings, err := ad.DescribeConfigs(ctx, r)
				if err != nil {
					return err
				}
				if changed {
					settings = slices.DeleteFunc(settings, func(s admin.Setting) bool { return s.Source == "default" })
				}
				return a.printSettings(settings)
			})
		},
	}
	c.Flags().BoolVar(&changed, "changed", false, "leave out what is as built in")
	return c
}

func (a *app) printSettings(settings []admin.Setting) error {
	if a.json() {
		return a.printLines(len(settings), func(i int) any { return newSettingJSON(&settings[i]) })
	}
	rows := make([][]string, len(settings))
	for i, s := range settings {
		value := s.Value
		switch {
		case s.Sensitive:
			value = "(hidden)"
		case strings.ContainsAny(value, " \t\n"):
			value = strconv.Quote(value)
		}
		access := "run-time"
		if s.ReadOnly {
			access = "read-only"
		}
		rows[i] = []string{s.Name, value, s.Source, access}
	}
	return a.table("NAME VALUE SOURCE CHANGES", rows)
}

func (a *app) configGetCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "get KIND [NAME] SETTING...", Short: "Print the value of settings", Args: cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeResource(k),
		Long:              "Print the value of a setting, or name=value for each of several.\n\n" + configHelp,
		Example: `  weir config get topic orders retention.ms
  weir config get broker num.partitions message.max.bytes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				r, names, err := resource(ctx, ad, args)
				if err != nil {
					return err
				}
				if len(names) == 0 {
					return usage("which setting? `weir config ls %s` lists them", r)
				}
				settings, err := ad.DescribeConfigs(ctx, r, names...)
				if err != nil {
					return err
				}
				for _, name := range names {
					i := slices.IndexFunc(settings, func(s admin.Setting) bool { return s.Name == name })
					if i < 0 {
						all, _ := ad.DescribeConfigs(ctx, r) // without it there is nothing to suggest
						return fail(explain.InvalidConfig, suggestSetting(name, all, r), fmt.Errorf("%s has no setting %q", r, name))
					}
					s := &settings[i]
					switch {
					case a.json():
						err = a.printJSON(newSettingJSON(s))
					case len(names) > 1:
						_, err = fmt.Fprintf(a.stdout, "%s=%s\n", s.Name, s.Value)
					default:
						_, err = fmt.Fprintln(a.stdout, s.Value)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// suggestSetting names the setting of a resource that was perhaps meant, "" if it knows none.
func suggestSetting(name string, all []admin.Setting, r admin.Resource) string {
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	if own := config.Spelt(name); slices.Contains(names, own) {
		return fmt.Sprintf("a node's file takes %s as another spelling of %s, which is its name here", name, own)
	}
	if near := explain.Nearest(name, names); near != "" {
		return fmt.Sprintf("did you mean %s? `weir config ls %s` lists all", near, r)
	}
	return ""
}

// whyRefused says of a change that the broker refused what is wrong with the names, as far as the broker's own list of
// settings tells. It is asked only then: what a broker takes without listing it is not for this command to refuse.
func whyRefused(ctx context.Context, ad *admin.Admin, r admin.Resource, rest []string, refusal error) error {
	if !errors.Is(refusal, kerr.InvalidRequest) && !errors.Is(refusal, kerr.InvalidConfig) {
		return refusal
	}
	of := r
	if r == admin.OfCluster() { // it lists what is set, and any broker what could be
		var err error
		if of, _, err = resource(ctx, ad, []string{"broker"}); err != nil {
			return refusal
		}
	}
	all, err := ad.DescribeConfigs(ctx, of)
	if err != nil {
		return refusal
	}
	for _, change := range rest {
		name, _, _ := strings.Cut(change, "=")
		name = strings.TrimRight(name, "+-")
		i := slices.IndexFunc(all, func(s admin.Setting) bool { return s.Name == name })
		switch {
		case i < 0:
			return fail(explain.InvalidConfig, suggestSetting(name, all, of), fmt.Errorf("%s has no setting %q: %w", r, name, refusal))
		case all[i].ReadOnly:
			fix := "set it in the node's file, its environment or its flags, and start the node again"
			if name == "node.id" || name == "cluster.id" {
				fix = "a data directory keeps it for life: start a node with another and with an empty data directory"
			}
			return fail(explain.InvalidConfig, fix, fmt.Errorf("%s is read-only, it cannot be changed while a node runs: %w", name, refusal))
		}
	}
	return fail(explain.InvalidConfig, "", refusal) // it is the value
}

func (a *app) configSetCommand(k *connection) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use: "set KIND [NAME] SETTING=VALUE...", Short: "Change settings", Args: cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeResource(k),
		Long: `Change settings at run time: all that are named, or none of them. SETTING+=VALUE adds to a list and SETTING-=VALUE takes
from it.

` + configHelp,
		Example: `  weir config set topic orders retention.ms=86400000 max.message.bytes=4194304
  weir config set topic orders segment.bytes=67108864 --dry-run
  weir config set cluster log.retention.ms=86400000`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				return a.alterConfigs(ctx, ad, args, dryRun, func(rest []string) ([]admin.Change, error) { return parseChanges(rest, nil) })
			})
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only check whether the broker would take it")
	return c
}

func (a *app) configUnsetCommand(k *connection) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use: "unset KIND [NAME] SETTING...", Short: "Take settings back to what counts without them", Args: cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeResource(k),
		Long:              "Take settings back to what counts without them: a topic's to the broker's, a broker's to its file.\n\n" + configHelp,
		Example:           "  weir config unset topic orders retention.ms",
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				return a.alterConfigs(ctx, ad, args, dryRun, func(rest []string) ([]admin.Change, error) { return parseChanges(nil, rest) })
			})
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only check whether the broker would take it")
	return c
}

func (a *app) alterConfigs(ctx context.Context, ad *admin.Admin, args []string, dryRun bool, parse func([]string) ([]admin.Change, error)) error {
	r, rest, err := resource(ctx, ad, args)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return usage("which setting? `weir config ls %s` lists them", r)
	}
	changes, err := parse(rest)
	if err != nil {
		return err
	}
	alter, done := ad.AlterConfigs, "changed"
	if dryRun {
		alter, done = ad.ValidateConfigs, "valid"
	}
	if err := alter(ctx, r, changes...); err != nil {
		return whyRefused(ctx, ad, r, rest, err)
	}
	return a.print(map[string]any{done: r.String(), "settings": rest}, "%s %s: %s\n", done, r, strings.Join(rest, " "))
}
