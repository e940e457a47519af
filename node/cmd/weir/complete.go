package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/clients/admin"
)

// completionTime is how long a prompt waits for the broker.
const completionTime = 400 * time.Millisecond

// completer completes arguments; it has cobra's type.
type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeWith completes arguments with names that the cluster knows. A broker that does not answer in
// time leaves nothing to choose from: a prompt must not hang.
func (a *app) completeWith(k *connection, names func(context.Context, *admin.Admin) ([]string, error)) completer {
	return func(c *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(c.Context(), completionTime)
		defer cancel()
		quick := *k
		quick.timeout = completionTime
		var found []string
		_ = quick.withAdmin(ctx, func(ctx context.Context, ad *admin.Admin) error {
			all, err := names(ctx, ad)
			for _, n := range all {
				if strings.HasPrefix(n, begin) {
					found = append(found, n)
				}
			}
			return err
		})
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeTopics completes topics' names.
func (a *app) completeTopics(k *connection) completer {
	return a.completeWith(k, func(ctx context.Context, ad *admin.Admin) ([]string, error) {
		topics, err := ad.DescribeTopics(ctx)
		var names []string
		for _, t := range topics {
			if !t.Internal {
				names = append(names, t.Name)
			}
		}
		return names, err
	})
}

// completeGroups completes groups' names.
func (a *app) completeGroups(k *connection) completer {
	return a.completeWith(k, func(ctx context.Context, ad *admin.Admin) ([]string, error) {
		groups, err := ad.ListGroups(ctx)
		var names []string
		for _, g := range groups {
			names = append(names, g.ID)
		}
		return names, err
	})
}
