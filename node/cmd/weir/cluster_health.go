package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/node/explain"
)

// complaint is one thing that is wrong with a cluster.
type complaint struct {
	Code  explain.Code `json:"code"`
	What  string       `json:"what"`
	Cause string       `json:"cause"`
	Fix   string       `json:"fix"`
}

func complain(code explain.Code, format string, args ...any) complaint {
	e := explain.Of(code)
	return complaint{Code: code, What: fmt.Sprintf(format, args...), Cause: e.Cause, Fix: e.Fix}
}

// problems are what is wrong, the worst first.
func (s *survey) problems() (all []complaint) {
	var leaderless, underMin, under []string
	s.partitions(func(t *admin.TopicDescription, p *admin.PartitionDescription) {
		name := fmt.Sprintf("%s/%d", t.Name, p.Partition)
		switch {
		case p.Leader < 0:
			leaderless = append(leaderless, name)
		case s.underMin(t.Name, p):
			underMin = append(underMin, name)
		case s.missing(t.Name, p) > 0:
			under = append(under, name)
		}
	})
	if s.controller() < 0 {
		all = append(all, complain(explain.NoController, "nobody is the controller"))
	}
	if len(leaderless) > 0 {
		all = append(all, complain(explain.NoLeader, "%s without a leader, neither written nor read: %s", amount(len(leaderless), "partition"), some(leaderless)))
	}
	if len(underMin) > 0 {
		all = append(all, complain(explain.NotEnoughReplicas, "%s with fewer replicas in sync than min.insync.replicas, acks=all is refused: %s", amount(len(underMin), "partition"), some(underMin)))
	}
	for _, b := range s.cluster.Brokers {
		if b.Fenced {
			all = append(all, complain(explain.NodeDown, "node %d (%s) is not counted on", b.ID, b.Addr))
		}
	}
	if s.quorum != nil {
		for _, v := range s.quorum.Voters {
			switch lag := s.quorum.HighWatermark - v.LogEndOffset; {
			case v.Heard.IsZero() && v.Node != s.quorum.Leader && s.tellsHeard():
				all = append(all, complain(explain.QuorumAtRisk, "voter %d has not been heard by the controller", v.Node))
			case lag > voterLagMax:
				all = append(all, complain(explain.QuorumAtRisk, "voter %d lacks %d records of the metadata log", v.Node, lag))
			case s.node(v.Node) == nil || !s.runs(v.Node):
				all = append(all, complain(explain.QuorumAtRisk, "voter %d is down", v.Node))
			}
		}
	}
	if len(under) > 0 {
		all = append(all, complain(explain.UnderReplicated, "%s with replicas that are not in sync: %s", amount(len(under), "partition"), some(under)))
	}
	return all
}

// voterLagMax is how many records a voter may lack that is only a moment behind.
const voterLagMax = 1000

// tellsHeard reports whether the cluster tells when voters were heard.
func (s *survey) tellsHeard() bool {
	return slices.ContainsFunc(s.quorum.Voters, func(v admin.QuorumMember) bool { return !v.Heard.IsZero() })
}

// some is the first few of many names.
func some(names []string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// healthJSON is the output of cluster health.
type healthJSON struct {
	Healthy  bool        `json:"healthy"`
	Problems []complaint `json:"problems"`
}

func (a *app) clusterHealthCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Say what is wrong with the cluster, why, and what to do; exit code 1 if anything is", Args: cobra.NoArgs,
		Long: `Look for what is wrong: no controller, partitions without a leader or with too few replicas in sync, nodes that are down,
voters that lag. Each problem is printed with its cause and its fix, the worst first. The exit code is 0 if there is none
and 1 otherwise, so that a script or a rolling restart can wait for health.`,
		Example: `  weir cluster health
  until weir cluster health > /dev/null; do sleep 1; done   # between two nodes of a rolling restart
  weir cluster health --output json | jq -r '.problems[].code'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				s, err := lookAnyway(ctx, ad)
				if err != nil {
					return err
				}
				return a.printHealth(s)
			})
		},
	}
}

func (a *app) printHealth(s *survey) error {
	problems := s.problems()
	var b strings.Builder
	if a.json() {
		if err := a.printJSON(healthJSON{Healthy: len(problems) == 0, Problems: append([]complaint{}, problems...)}); err != nil {
			return err
		}
	} else if len(problems) == 0 {
		n := s.tally()
		fmt.Fprintf(&b, "healthy: %s, %s of %s, all in sync\n", amount(len(s.cluster.Brokers), "node"), amount(n.Partitions, "partition"), amount(n.Topics, "topic"))
	}
	if !a.json() {
		for i, p := range problems {
			if i > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "%s: %s\n", p.Code, p.What)
			paragraph(&b, "cause", p.Cause)
			paragraph(&b, "fix", p.Fix)
		}
		if _, err := fmt.Fprint(a.stdout, b.String()); err != nil {
			return err
		}
	}
	if len(problems) > 0 {
		return errFoundProblems
	}
	return nil
}
