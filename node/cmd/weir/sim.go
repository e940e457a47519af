package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/sim"
)

func (a *app) simCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "sim", Short: "Run the broker in a simulated world that breaks it on purpose",
		Long: `Run the same core as the broker's in a simulated world: virtual time, a network that loses connections, a
disk that loses what was not synced, crashes at any moment, and checks of every promise. A run is decided by its seed:
the same seed and binary give the same trace, bit for bit.`,
	}
	c.AddCommand(a.simRunCommand(), a.simFleetCommand(), a.simPlanCommand(), a.simScaleCommand())
	return c
}

// endAtSignal lets a signal end the process at once, as it does by default: a world does not look at the clock, and
// nothing needs to be put in order behind it.
func endAtSignal() { signal.Reset(os.Interrupt, syscall.SIGTERM) }

// errViolation ends a command with exit code 1 after it has said everything.
var errViolation = errors.New("a promise was broken")

func (a *app) simRunCommand() *cobra.Command {
	var seed uint64
	var mode, planFile, traceFile, historyFile string
	c := &cobra.Command{
		Use: "run", Short: "Simulate one seed", Args: cobra.NoArgs,
		Long: `Simulate one seed, or one plan. The last line tells the verdict; exit code 1 means that a promise was broken,
and what stands above the line says which, with the end of the trace.`,
		Example: `  weir sim run --seed 1
  weir sim run --seed 1 --trace trace.txt        every event
  weir sim plan --seed 1 > plan.txt              edit it, then:
  weir sim run --plan plan.txt`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			o := sim.Options{Seed: seed}
			if o.Mode, err = parseMode(mode); err != nil {
				return err
			}
			if planFile != "" {
				if cmd.Flags().Changed("seed") || cmd.Flags().Changed("mode") {
					return usage("a plan has its own seed and mode: leave out --seed and --mode")
				}
				if o.Plan, err = readPlan(planFile); err != nil {
					return err
				}
			}
			for _, out := range []struct {
				path string
				to   *io.Writer
			}{{traceFile, &o.Trace}, {historyFile, &o.History}} {
				if out.path == "" {
					continue
				}
				w, done, err := create(out.path)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, done()) }()
				*out.to = w
			}
			endAtSignal()
			r := sim.Run(o)
			return a.reportRun(&r)
		},
	}
	f := c.Flags()
	f.Uint64Var(&seed, "seed", 1, "decides everything about the run")
	f.StringVar(&mode, "mode", string(sim.Lite), "size and intensity: "+modeNames())
	f.StringVar(&planFile, "plan", "", "run this plan instead of the seed's own (`FILE`, - for stdin)")
	f.StringVar(&traceFile, "trace", "", "write every event to `FILE`")
	f.StringVar(&historyFile, "history", "", "write what the clients did to `FILE`, as JSON lines")
	return c
}

// reportRun prints a result: what was broken, if anything, then the one line.
func (a *app) reportRun(r *sim.Result) error {
	if a.json() {
		out := map[string]any{
			"seed": r.Seed, "mode": r.Mode, "events": r.Events, "sim_time_ns": int64(r.SimTime), "trace": r.Trace,
			"ops": r.Ops, "ops_ok": r.OpsOK, "ok": r.OK(),
		}
		if v := r.Violation; v != nil {
			out["violation"] = map[string]any{"oracle": v.Oracle, "detail": v.Detail, "trace": v.Trace}
		}
		if err := a.printJSON(out); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(a.stdout, "%s%s\n", r.Report(), r.Line()); err != nil {
		return err
	}
	if !r.OK() {
		return fail("violation", fmt.Sprintf("`weir sim run --seed %d --mode %s --trace FILE` shows every event", r.Seed, r.Mode), errViolation)
	}
	return nil
}

func (a *app) simPlanCommand() *cobra.Command {
	var seed uint64
	var mode string
	c := &cobra.Command{
		Use: "plan", Short: "Print what a seed will do", Args: cobra.NoArgs,
		Long:    `Print a seed's plan: sizes, settings, clients and every fault with its time. It is text to be edited and run.`,
		Example: "  weir sim plan --seed 7 > plan.txt\n  weir sim run --plan plan.txt",
		RunE: func(*cobra.Command, []string) error {
			m, err := parseMode(mode)
			if err != nil {
				return err
			}
			p := sim.MakePlan(seed, m)
			return a.print(map[string]any{"seed": seed, "mode": m, "plan": p.String()}, "%s", p)
		},
	}
	c.Flags().Uint64Var(&seed, "seed", 1, "decides everything about the run")
	c.Flags().StringVar(&mode, "mode", string(sim.Lite), "size and intensity: "+modeNames())
	return c
}

func parseMode(s string) (sim.Mode, error) {
	if m := sim.Mode(s); slices.Contains(sim.Modes(), m) {
		return m, nil
	}
	return "", usage("--mode is one of %s, not %q", modeNames(), s)
}

func modeNames() string {
	var names []string
	for _, m := range sim.Modes() {
		names = append(names, string(m))
	}
	return strings.Join(names, ", ")
}

func readPlan(path string) (*sim.Plan, error) {
	var b []byte
	var err error
	if path == "-" {
		b, err = io.ReadAll(os.Stdin)
	} else {
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	p, err := sim.ParsePlan(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// create makes a file to write to; done finishes it.
func create(path string) (w io.Writer, done func() error, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, nil, err
	}
	b := bufio.NewWriterSize(f, 1<<20)
	return b, func() error { return errors.Join(b.Flush(), f.Close()) }, nil
}

// elapsed is a duration for people.
func elapsed(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
