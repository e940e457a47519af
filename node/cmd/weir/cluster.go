package main

import (
	"crypto/rand"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/core/model"
)

func (a *app) clusterCommand() *cobra.Command {
	c := &cobra.Command{Use: "cluster", Short: "Begin a cluster of several nodes"}
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

func newClusterID() string {
	var id model.TopicID
	_, _ = rand.Read(id[:])                         // never fails: crypto/rand ends the process instead
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // a UUID of version 4
	return id.String()
}
