package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

type grouping struct {
	name        string
	offsetGiven bool
}

func (g *grouping) flags(*cobra.Command)      {}
func (g *grouping) validate(*consuming) error { return nil }
func (r *consumption) runGroup(context.Context, []string) error {
	return errors.New("no groups")
}
