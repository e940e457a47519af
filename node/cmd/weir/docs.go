package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/node/explain"
)

//go:generate go run . docs ../../../docs

// docsCommand writes the pages that are generated from the program. It is for make generate.
func (a *app) docsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "docs DIR", Short: "Write the generated pages of the documentation", Args: cobra.ExactArgs(1), Hidden: true,
		Example: "  weir docs docs",
		RunE: func(_ *cobra.Command, args []string) error {
			for name, write := range map[string]func(io.Writer) error{
				"ERRORS.md": explain.Markdown, "PROTOCOL.md": writeProtocol, "CONFIGURATION.md": writeConfiguration,
				"CLI.md": cliMarkdown,
			} {
				var b bytes.Buffer
				if err := write(&b); err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(args[0], name), b.Bytes(), 0o644); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
