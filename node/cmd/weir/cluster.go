package main

import (
	"context"
	"crypto/rand"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/core/model"
)

func (a *app) clusterCommand() *cobra.Command {
	c := &cobra.Command{Use: "cluster", Short: "Look at a cluster of several nodes, balance it, or begin one"}
	for _, make := range []func(*connection) *cobra.Command{a.clusterStatusCommand, a.clusterHealthCommand, a.clusterQuorumCommand, a.clusterBalanceCommand} {
		k := &connection{}
		sub := make(k)
		k.flags(sub)
		c.AddCommand(sub)
	}
	c.AddCommand(a.clusterInitCommand(), a.clusterCertificateCommand(), a.clusterIDCommand())
	return c
}

func (a *app) clusterIDCommand() *cobra.Command {
	return &cobra.Command{
		Use: "id", Short: "Draw the id of a new cluster, for cluster.id of all of its nodes", Args: cobra.NoArgs,
		Long: "Draw the id of a new cluster. All nodes of a cluster have the same in their configuration, as cluster.id: a node that is given\n" +
			"the address of another cluster by mistake, or a disk of another, is refused.",
		Example: "  weir cluster id",
		RunE: func(*cobra.Command, []string) error {
			id := newClusterID()
			return a.print(map[string]string{"cluster_id": id}, "%s\n", id)
		},
	}
}

func (a *app) clusterBalanceCommand(k *connection) *cobra.Command {
	var o shifting
	c := &cobra.Command{
		Use: "balance", Short: "Even out replicas and leaders over all nodes", Args: cobra.NoArgs,
		Long: `Move replicas from nodes that hold more than others to those that hold fewer, and have every node lead about as much. Racks
are kept apart. Nodes that are down or drained get nothing. The command can be interrupted and started again: moves that have begun
go on by themselves, and the rest is planned anew.`,
		Example: "  weir cluster balance --dry-run\n  weir cluster balance --parallel 5",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return k.withSurvey(cmd.Context(), func(ctx context.Context, ad *admin.Admin, s *survey) error {
				return a.balance(ctx, ad, s, -1, &o)
			})
		},
	}
	o.flags(c)
	return c
}

func newClusterID() string {
	var id model.TopicID
	_, _ = rand.Read(id[:])                         // never fails: crypto/rand ends the process instead
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // a UUID of version 4
	return id.String()
}
