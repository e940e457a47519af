package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/core/model"
)

// nodeLine is one node in the output of cluster status and node ls.
type nodeLine struct {
	Node       int32  `json:"node"`
	Address    string `json:"address"`
	Rack       string `json:"rack,omitempty"`
	Down       bool   `json:"down"`
	Controller bool   `json:"controller"`
	Voter      bool   `json:"voter"`
	// MetadataLag is how many records of the metadata log it lacks; -1 if that is not told.
	MetadataLag int64 `json:"metadata_lag"`
	Leads       int   `json:"leads"`
	Replicas    int   `json:"replicas"`
	Behind      int   `json:"replicas_not_in_sync"`
}

func (s *survey) nodeLines() []nodeLine {
	loads := s.loads()
	var lines []nodeLine
	for _, b := range s.cluster.Brokers {
		l := nodeLine{Node: b.ID, Address: b.Addr, Rack: b.Rack, Down: b.Fenced, Controller: b.ID == s.controller(), MetadataLag: -1}
		if s.quorum != nil {
			l.Voter = s.votes(b.ID) != nil
			for _, m := range append(append([]admin.QuorumMember(nil), s.quorum.Voters...), s.quorum.Observers...) {
				if m.Node == b.ID {
					l.MetadataLag = max(0, s.quorum.HighWatermark-m.LogEndOffset)
				}
			}
		}
		if n := loads[b.ID]; n != nil {
			l.Leads, l.Replicas, l.Behind = n.leads, n.replicas, n.behind
		}
		lines = append(lines, l)
	}
	return lines
}

func (a *app) nodeTable(lines []nodeLine) error {
	var rows [][]string
	for _, l := range lines {
		state, role := "serving", "broker"
		if l.Down {
			state = "down"
		}
		switch {
		case l.Controller:
			role = "controller"
		case l.Voter:
			role = "voter"
		}
		rows = append(rows, []string{
			fmt.Sprint(l.Node), l.Address, l.Rack, state, role, known(l.MetadataLag), fmt.Sprint(l.Leads), fmt.Sprint(l.Replicas), fmt.Sprint(l.Behind),
		})
	}
	return a.table("NODE ADDRESS RACK STATE ROLE METADATA-LAG LEADS REPLICAS NOT-IN-SYNC", rows)
}

// statusJSON is the output of cluster status.
type statusJSON struct {
	ClusterID  string     `json:"cluster_id"`
	Healthy    bool       `json:"healthy"`
	Controller int32      `json:"controller"`
	Epoch      int32      `json:"controller_epoch,omitempty"`
	Nodes      []nodeLine `json:"nodes"`
	tally
	Moves []moveLine `json:"moves,omitempty"`
}

// moveLine is a partition that is being moved.
type moveLine struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Replicas  []int32 `json:"replicas"`
	Adding    []int32 `json:"adding,omitempty"`
	Removing  []int32 `json:"removing,omitempty"`
}

func (s *survey) moveLines() (lines []moveLine) {
	for _, m := range s.moves {
		lines = append(lines, moveLine{m.Topic, m.Partition.Partition, m.Replicas, m.Adding, m.Removing})
	}
	return lines
}

func (a *app) clusterStatusCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the nodes, who decides, how the partitions are and what is being moved", Args: cobra.NoArgs,
		Long: `Show the cluster as it is now.

  STATE         serving, or down: the controller does not count on the node (it was not heard, or is catching up)
  ROLE          controller: the node that decides; voter: it keeps the metadata log and could decide; broker: neither
  METADATA-LAG  how many records of the metadata log it lacks
  NOT-IN-SYNC   of its replicas, how many lack something that their leader has

` + "`weir cluster health`" + ` says what is wrong and what to do about it, ` + "`weir topic describe NAME`" + ` shows single partitions.`,
		Example: "  weir cluster status\n  weir cluster status --output json | jq .under_replicated",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				s, err := lookAnyway(ctx, ad)
				if err != nil {
					return err
				}
				return a.printStatus(s)
			})
		},
	}
}

func (a *app) printStatus(s *survey) error {
	n, problems := s.tally(), s.problems()
	if a.json() {
		out := statusJSON{
			ClusterID: s.cluster.ID, Healthy: len(problems) == 0, Controller: s.controller(), Nodes: s.nodeLines(), tally: n, Moves: s.moveLines(),
		}
		if s.quorum != nil {
			out.Epoch = s.quorum.LeaderEpoch
		}
		return a.printJSON(&out)
	}
	health := "healthy"
	if len(problems) > 0 {
		health = fmt.Sprintf("%s; `weir cluster health` explains", amount(len(problems), "problem"))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s: %s\n", s.cluster.ID, health)
	switch {
	case s.isLost:
		b.WriteString("controller: none answers; what follows is what the nodes that do knew last\n")
	case s.quorum != nil:
		fmt.Fprintf(&b, "controller: node %d, epoch %d, of %s\n", s.quorum.Leader, s.quorum.LeaderEpoch, amount(len(s.quorum.Voters), "voter"))
	default:
		fmt.Fprintf(&b, "controller: node %d\n", s.controller())
	}
	fmt.Fprintf(&b, "partitions: %d of %s; %d without a leader, %d under-replicated, %d under min.insync.replicas, %d being moved\n\n",
		n.Partitions, amount(n.Topics, "topic"), n.Leaderless, n.UnderReplicated, n.UnderMinISR, n.Moving)
	if _, err := fmt.Fprint(a.stdout, b.String()); err != nil {
		return err
	}
	if err := a.nodeTable(s.nodeLines()); err != nil || len(s.moves) == 0 {
		return err
	}
	_, _ = fmt.Fprintln(a.stdout) // the error is the table's
	return a.moveTable(s.moveLines())
}

func (a *app) moveTable(moves []moveLine) error {
	var rows [][]string
	for _, m := range moves {
		rows = append(rows, []string{m.Topic, fmt.Sprint(m.Partition), numbers(m.Replicas), numbers(m.Adding), numbers(m.Removing)})
	}
	return a.table("MOVING PARTITION REPLICAS ADDING REMOVING", rows)
}

// amount is "1 voter" or "3 voters".
func amount[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// quorumLine is one node in the output of cluster quorum.
type quorumLine struct {
	Node      int32  `json:"node"`
	Role      string `json:"role"` // leader, voter or observer
	Directory string `json:"directory,omitempty"`
	End       int64  `json:"log_end_offset"`
	Lag       int64  `json:"lag"`
	// HeardMs and CaughtUpMs are how long ago; -1 if that is not known.
	HeardMs    int64 `json:"heard_ms_ago"`
	CaughtUpMs int64 `json:"caught_up_ms_ago"`
}

func (a *app) clusterQuorumCommand(k *connection) *cobra.Command {
	c := &cobra.Command{
		Use: "quorum", Short: "Show who keeps the metadata log, and how far each is", Args: cobra.NoArgs,
		Long: `Show the voters of the metadata quorum, of which a majority must run for anything to change in the cluster, and the
observers: nodes that follow the log and do not vote. DIRECTORY is of the disk that a voter votes from: with another disk
it is another voter.`,
		Example: "  weir cluster quorum\n  weir cluster quorum --output json | jq .lag",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				q, err := ad.DescribeQuorum(ctx)
				if err != nil {
					return err
				}
				lines := quorumLines(&q, time.Now())
				if a.json() {
					return a.printLines(len(lines), func(i int) any { return &lines[i] })
				}
				if _, err := fmt.Fprintf(a.stdout, "epoch %d, committed to offset %d\n\n", q.LeaderEpoch, q.HighWatermark); err != nil {
					return err
				}
				var rows [][]string
				for _, l := range lines {
					rows = append(rows, []string{fmt.Sprint(l.Node), l.Role, fmt.Sprint(l.End), fmt.Sprint(l.Lag), ago(l.HeardMs), ago(l.CaughtUpMs), l.Directory})
				}
				return a.table("NODE ROLE END LAG HEARD CAUGHT-UP DIRECTORY", rows)
			})
		},
	}
	c.AddCommand(a.quorumAddCommand(k), a.quorumRemoveCommand(k))
	return c
}

func quorumLines(q *admin.Quorum, now time.Time) (lines []quorumLine) {
	since := func(t time.Time) int64 {
		if t.IsZero() {
			return -1
		}
		return max(0, now.Sub(t).Milliseconds())
	}
	add := func(members []admin.QuorumMember, role string) {
		for _, m := range members {
			l := quorumLine{
				Node: m.Node, Role: role, End: m.LogEndOffset, Lag: max(0, q.HighWatermark-m.LogEndOffset), HeardMs: since(m.Heard), CaughtUpMs: since(m.CaughtUp),
			}
			if m.Directory != [16]byte{} {
				l.Directory = model.TopicID(m.Directory).String() // as Kafka writes such ids
			}
			if m.Node == q.Leader && role == "voter" {
				l.Role = "leader"
			}
			lines = append(lines, l)
		}
	}
	add(q.Voters, "voter")
	add(q.Observers, "observer")
	return lines
}

// ago is a time past, for people.
func ago(ms int64) string {
	switch {
	case ms < 0:
		return ""
	case ms < 1000:
		return fmt.Sprintf("%dms", ms)
	}
	return (time.Duration(ms) * time.Millisecond).Round(time.Second).String()
}
