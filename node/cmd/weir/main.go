// Command weir is the whole of weir in one binary: the broker, the command line for users and operators,
// the load generator and the simulator.
//
// One file per command. Results go to stdout, everything else to stderr; --output json is for scripts. Exit
// codes: 0 ok, 1 failed, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirmq/weir/node/explain"
)

// version is set by the linker.
var version = "unknown"

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errFoundProblems) {
		a.printError(err)
	}
	var u *usageError
	if errors.As(err, &u) {
		return 2
	}
	return 1
}

// app is what commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	output         string
	showProgress   bool // also where nobody seems to look
}

func (a *app) json() bool { return a.output == "json" }

// The hooks of the root run, and those of the commands that connect. It is cobra's global, and tests run commands
// beside each other, so it is not set by each of them.
func init() { cobra.EnableTraverseRunHooks = true }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "An event streaming broker that speaks Kafka's protocol",
		Long: `weir is an event streaming broker that speaks Kafka's protocol, its command line and its simulator.

  weir dev                                  start a broker for development
  weir topic create orders --partitions 3   make a topic
  echo hello | weir produce orders          write a record for each line
  weir consume orders --offset start        read them, and wait for more
  weir group describe billing               see how far a consumer group is
  weir errors disk-full                     have an error explained
  weir bench produce                        see how fast it is here
  weir sim run --seed 1                     break it on purpose, reproducibly`,
		SilenceErrors: true, SilenceUsage: true, Version: version,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetVersionTemplate("weir {{.Version}}\n")
	output := "text"
	if v := os.Getenv("WEIR_OUTPUT"); v != "" {
		output = v
	}
	root.PersistentFlags().StringVar(&a.output, "output", output, "text for people, json for scripts (WEIR_OUTPUT)")
	root.PersistentFlags().BoolVar(&a.showProgress, "progress", false, "show progress on stderr even if that is no terminal")
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "bootstrap-server" || name == "bootstrap-servers" {
			name = "brokers" // as other tools call it
		}
		return pflag.NormalizedName(name)
	})
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.output != "text" && a.output != "json" {
			return usage("--output is text or json, not %q", a.output)
		}
		return nil
	}
	root.AddCommand(a.devCommand(), a.nodeCommand(), a.clusterCommand(), a.topicCommand(), a.configCommand(), a.groupCommand(), a.produceCommand(), a.consumeCommand(), a.benchCommand(),
		a.logCommand(), a.simCommand(), a.profileCommand(), a.completionCommand(), a.errorsCommand(), a.docsCommand(), a.versionCommand())
	finish(root)
	return root
}

// finish makes every command report wrong usage as such.
func finish(c *cobra.Command) {
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		hint := ";"
		if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
			var names []string
			c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
			if near := explain.Nearest(unknown.GetSpecifiedName(), names); near != "" {
				hint = "; did you mean --" + near + "?"
			}
		}
		return usage("%v%s `%s --help` shows what there is", err, hint, c.CommandPath())
	})
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				if c.HasSubCommands() && len(args) > 0 {
					return noCommand(c, args[0])
				}
				return usage("%v; it is `%s`", err, c.UseLine())
			}
			return nil
		}
	}
	if !c.Runnable() {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return noCommand(c, args[0])
			}
			return c.Help()
		}
	}
	for _, sub := range c.Commands() {
		finish(sub)
	}
}

// aloneKey is the annotation of a command that has subcommands and does something without one: what it does.
const aloneKey = "alone"

// noCommand says that a command has no such subcommand, and suggests the one that was perhaps meant.
func noCommand(c *cobra.Command, name string) error {
	hint := ";"
	var names []string
	for _, sub := range c.Commands() {
		names = append(append(names, sub.Name()), sub.Aliases...)
	}
	if near := explain.Nearest(name, names); near != "" {
		hint = "; did you mean " + near + "?"
	} else if does := c.Annotations[aloneKey]; does != "" {
		hint = fmt.Sprintf("; `%s` alone %s;", c.CommandPath(), does)
	}
	return usage("there is no command `%s %s`%s `%s --help` lists them", c.CommandPath(), name, hint, c.CommandPath())
}

// usageError is a mistake in how a command was called.
type usageError struct{ message string }

func (u *usageError) Error() string { return u.message }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }
