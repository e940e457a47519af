package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/clients/admin"
)

// errFoundProblems makes the exit code 1; what is wrong has been printed.
var errFoundProblems = errors.New("")

// finding is one thing that group why noticed.
type finding struct {
	Level   string `json:"level"` // "problem", "hint" or "fine"
	Subject string `json:"subject"`
	What    string `json:"what"`
	Do      string `json:"do,omitempty"`
}

func (a *app) groupWhyCommand(k *connection) *cobra.Command {
	var watch time.Duration
	c := &cobra.Command{
		Use: "why GROUP", Short: "Find out why a group does not read, or falls behind", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeGroups(k),
		Long: `Look at a group twice, some seconds apart, and say in words what may be wrong with it: no members, members without partitions,
partitions without members, offsets that are gone, topics that are gone, a rebalance that does not end, members that do not
get on, and whether it keeps up with what is written. The exit code is 1 if there is a problem.`,
		Example: "  weir group why billing\n  weir group why billing --watch 30s",
		RunE: func(cmd *cobra.Command, names []string) error {
			if watch < 0 {
				return usage("--watch is a time such as 5s")
			}
			longer := *k
			longer.timeout += watch
			return longer.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				before, err := lookAtGroup(ctx, ad, names[0])
				if err != nil {
					return err
				}
				begin := time.Now()
				if isTerminal(a.stderr) {
					a.say("watching for %s ...", watch)
				}
				select {
				case <-time.After(watch):
				case <-ctx.Done():
					return context.Cause(ctx)
				}
				after, err := lookAtGroup(ctx, ad, names[0])
				if err != nil {
					return err
				}
				return a.printFindings(examine(before, after, time.Since(begin)))
			})
		},
	}
	c.Flags().DurationVar(&watch, "watch", 3*time.Second, "how long to watch")
	return c
}

// examine compares two looks at a group.
func examine(before, after *groupDescription, between time.Duration) []finding {
	var found []finding
	problem := func(subject, what, do string) { found = append(found, finding{"problem", subject, what, do}) }
	hint := func(subject, what, do string) { found = append(found, finding{"hint", subject, what, do}) }
	g := after
	group := "group " + g.Group

	switch {
	case len(g.Members) == 0 && g.Lag > 0:
		problem(group, fmt.Sprintf("it has no members, and has not read %s", amount(g.Lag, "record")), "start its consumers; `weir consume TOPIC --group "+g.Group+"` is one")
	case len(g.Members) == 0:
		hint(group, "it has no members", "start its consumers if it should be reading")
	case strings.HasSuffix(g.State, "Rebalance") && strings.HasSuffix(before.State, "Rebalance"):
		problem(group, "it was dividing its partitions anew at both looks ("+g.State+"): nobody reads meanwhile",
			"some member does not join: look for one that is slow to poll (max.poll.interval.ms), or that starts and ends again and again")
	}
	joined, left := 0, 0
	for _, m := range g.Members {
		if !slices.ContainsFunc(before.Members, func(x memberJSON) bool { return x.ID == m.ID }) {
			joined++
		}
	}
	for _, m := range before.Members {
		if !slices.ContainsFunc(g.Members, func(x memberJSON) bool { return x.ID == m.ID }) {
			left++
		}
	}
	if joined > 0 || left > 0 {
		hint(group, fmt.Sprintf("while we watched %s joined and %d left: every change stops reading for a moment", amount(joined, "member"), left),
			"if it goes on like that, look at the members' logs for why they end")
	}
	idle, subscribed := 0, map[string]bool{}
	for _, m := range g.Members {
		for _, t := range m.Topics {
			subscribed[t] = true
		}
		if m.Partitions == 0 && g.State == "Stable" {
			idle++
		}
	}
	if idle > 0 {
		hint(group, fmt.Sprintf("there are fewer partitions than members: %d of %s without any", idle, amount(len(g.Members), "member")),
			"`weir topic add-partitions`, or fewer members")
	}
	for _, topic := range slices.Sorted(maps.Keys(subscribed)) {
		if !slices.ContainsFunc(g.Partitions, func(l groupLine) bool { return l.Topic == topic && l.Member != "" }) && g.State == "Stable" {
			problem("topic "+topic, "members subscribe to it and none has a partition of it", "does it exist? `weir topic describe "+topic+"`")
		}
	}
	var grown, read int64
	for i := range g.Partitions {
		l := &g.Partitions[i]
		subject := fmt.Sprintf("%s/%d", l.Topic, l.Partition)
		if l.Error != "" {
			problem(subject, l.Error, "`weir group delete-offsets "+g.Group+" --topic "+l.Topic+"` if it is gone for good")
			continue
		}
		if l.Committed >= 0 && l.Start > l.Committed {
			problem(subject, fmt.Sprintf("it is to go on at %d, but retention or DeleteRecords has removed what is before %d", l.Committed, l.Start),
				"records were missed; the members' auto.offset.reset says where they go on")
		}
		if l.Committed > l.End && l.End >= 0 {
			problem(subject, fmt.Sprintf("it is to go on at %d, past the end at %d: the topic was perhaps created anew", l.Committed, l.End),
				"`weir group seek "+g.Group+" --to start --topic "+l.Topic+"`")
		}
		if l.Member == "" && len(g.Members) > 0 && g.State == "Stable" && l.Lag > 0 && subscribed[l.Topic] {
			problem(subject, fmt.Sprintf("no member has it, with %s to read", amount(l.Lag, "record")), "")
		}
		if len(g.Members) > 0 && !subscribed[l.Topic] && l.Lag > 0 && l.Member == "" {
			hint(subject, "no member subscribes to the topic any more", "`weir group delete-offsets "+g.Group+" --topic "+l.Topic+"` so that its lag is not counted")
		}
		j := slices.IndexFunc(before.Partitions, func(b groupLine) bool { return b.Topic == l.Topic && b.Partition == l.Partition })
		if j < 0 {
			continue
		}
		b := &before.Partitions[j]
		grown += max(0, l.End-b.End)
		read += max(0, l.Committed-b.Committed)
		if l.Member != "" && b.Member == l.Member && l.Lag > 0 && l.Committed == b.Committed && b.Lag > 0 {
			problem(subject, fmt.Sprintf("of %s to read, %s (%s at %s) committed nothing while we watched", amount(l.Lag, "record"), l.Member, l.ClientID, l.Host),
				"it hangs, is paused, fails at the record at "+known(max(l.Committed, l.Start))+", or commits seldom: look at it with `weir consume "+l.Topic+
					" -p "+fmt.Sprint(l.Partition)+" -o "+known(max(l.Committed, l.Start))+" -n 1`, and watch longer (--watch 30s)")
		}
	}
	found = append(found, keepsUp(g, grown, read, between)...)
	if len(found) == 0 {
		found = append(found, finding{"fine", group, "nothing is wrong with it", ""})
	}
	slices.SortStableFunc(found, func(a, b finding) int { return rank(a.Level) - rank(b.Level) })
	return found
}

func rank(level string) int { return slices.Index([]string{"problem", "hint", "fine"}, level) }

// keepsUp says whether the group keeps up.
func keepsUp(g *groupDescription, grown, read int64, between time.Duration) []finding {
	seconds := max(between.Seconds(), 0.001)
	in, out := float64(grown)/seconds, float64(read)/seconds
	group := "group " + g.Group
	rates := fmt.Sprintf("%.0f records a second are written, %.0f are read", in, out)
	switch {
	case g.Lag == 0:
		return []finding{{"fine", group, "it has read everything", ""}}
	case len(g.Members) == 0 || out == 0:
		return nil
	case out > in*1.02:
		eta := time.Duration(float64(g.Lag) / (out - in) * float64(time.Second)).Round(time.Second)
		return []finding{{"fine", group, fmt.Sprintf("it is catching up: %s, and %d wait, which takes about %s", rates, g.Lag, eta), ""}}
	case out < in*0.98:
		return []finding{{
			"problem", group, fmt.Sprintf("it falls behind: %s, and %d wait", rates, g.Lag),
			"more members (up to one for each partition), or faster ones",
		}}
	}
	return []finding{{"fine", group, fmt.Sprintf("it keeps up: %s, and %d wait", rates, g.Lag), ""}}
}

func (a *app) printFindings(found []finding) error {
	var err error
	if a.json() {
		err = a.printLines(len(found), func(i int) any { return &found[i] })
	} else {
		for _, f := range found {
			if _, err = fmt.Fprintf(a.stdout, "%s %s: %s\n", f.Level, f.Subject, f.What); err != nil {
				return err
			}
			if f.Do != "" {
				if _, err = fmt.Fprintf(a.stdout, "  fix: %s\n", f.Do); err != nil {
					return err
				}
			}
		}
	}
	if err == nil && found[0].Level == "problem" {
		return errFoundProblems
	}
	return err
}
