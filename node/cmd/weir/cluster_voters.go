package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/node/explain"
)

func (a *app) quorumAddCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "add NODE", Short: "Have a node vote", Args: cobra.ExactArgs(1),
		Long: `Have a node of the cluster vote in the metadata quorum. It gets the whole log first, and votes when it has caught up; the command
returns then. Three or five voters are what most clusters need: an even number survives no more failures than one less.

A voter that comes back with another disk is replaced without being asked to.`,
		Example: "  weir cluster quorum add 4",
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withQuorum(cmd.Context(), args[0], func(ctx context.Context, ad *admin.Admin, id int32, q *admin.Quorum) error {
				if slices.ContainsFunc(q.Voters, func(m admin.QuorumMember) bool { return m.Node == id }) {
					return a.print(map[string]int32{"voter": id}, "node %d votes already\n", id)
				}
				at := slices.IndexFunc(q.Observers, func(m admin.QuorumMember) bool { return m.Node == id })
				if at < 0 {
					return fail(explain.NodeNotFound, "", fmt.Errorf("node %d does not follow the metadata log", id))
				}
				// A request whose answer was lost is made again, and may find that it was carried out.
				if err := ad.AddVoter(ctx, id, q.Observers[at].Directory); err != nil && !errors.Is(err, kerr.DuplicateVoter) {
					return err
				}
				return a.print(map[string]int32{"voter": id}, "node %d votes\n", id)
			})
		},
	}
}

func (a *app) quorumRemoveCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "remove NODE", Aliases: []string{"rm"}, Short: "Have a node vote no more", Args: cobra.ExactArgs(1),
		Long: `Have a node vote in the metadata quorum no more. It stays a broker with all that it holds. The node may be stopped once the
command has returned; a majority of the voters must run for it.`,
		Example: "  weir cluster quorum remove 3",
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withQuorum(cmd.Context(), args[0], func(ctx context.Context, ad *admin.Admin, id int32, q *admin.Quorum) error {
				at := slices.IndexFunc(q.Voters, func(m admin.QuorumMember) bool { return m.Node == id })
				if at < 0 {
					return fail(explain.NodeNotFound, "`weir cluster quorum` lists the voters", fmt.Errorf("node %d is no voter", id))
				}
				if err := ad.RemoveVoter(ctx, id, q.Voters[at].Directory); err != nil && !errors.Is(err, kerr.VoterNotFound) {
					return err
				}
				return a.print(map[string]int32{"removed": id}, "node %d votes no more\n", id)
			})
		},
	}
}

// withQuorum runs f with an admin client, a node and who keeps the metadata log.
func (k *connection) withQuorum(ctx context.Context, arg string, f func(context.Context, *admin.Admin, int32, *admin.Quorum) error) error {
	id, err := parseNode(arg)
	if err != nil {
		return err
	}
	return k.withAdmin(ctx, func(ctx context.Context, ad *admin.Admin) error {
		q, err := ad.DescribeQuorum(ctx)
		if err != nil {
			return err
		}
		return f(ctx, ad, id, &q)
	})
}
