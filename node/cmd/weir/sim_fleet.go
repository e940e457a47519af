package main

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/sim/fleet"
)

func (a *app) simFleetCommand() *cobra.Command {
	var mode, seeds string
	var o fleet.Options
	var jobs int
	c := &cobra.Command{
		Use: "fleet", Short: "Simulate many seeds", Args: cobra.NoArgs,
		Long: `Simulate many seeds, several at a time, and say what they came to. It fails when a promise was broken, and when it
proves nothing: when a kind of fault that the seeds' plans asked for never took effect, no operation succeeded, a rare
path that the mode must take was never taken, or more than a few seeds were excused or left undecided.

A first Ctrl-C ends it when the seeds under way are through, and says what came out and where to go on; a second one
ends it at once.`,
		Example: `  weir sim fleet --seeds 1:200
  weir sim fleet --mode swarm --for 10m --jobs 2`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Mode, err = parseMode(mode); err != nil {
				return err
			}
			if o.First, o.Last, err = parseSeeds(seeds); err != nil {
				return err
			}
			if cmd.Flags().Changed("for") && cmd.Flags().Changed("seeds") {
				return usage("--seeds says which seeds and --for how long: give one of them")
			}
			if jobs < 1 {
				return usage("--jobs is 1 or more")
			}
			o.Jobs = jobs
			// A handful of seeds cannot try every fault; only a campaign must.
			const campaign = 100
			if o.For == 0 && o.Last-o.First+1 < campaign {
				o.NotVacuous = true
			}
			if !a.json() {
				o.Progress = a.stderr
			}
			r := fleet.Run(cmd.Context(), o)
			return a.reportFleet(&r)
		},
	}
	f := c.Flags()
	f.StringVar(&mode, "mode", "lite", "size and intensity: "+modeNames())
	f.StringVar(&seeds, "seeds", "1:100", "the seeds, as FIRST:LAST, both included")
	f.DurationVar(&o.For, "for", 0, "go on for so long, whatever the last seed")
	f.IntVar(&jobs, "jobs", runtime.GOMAXPROCS(0), "worlds at a time")
	f.Uint64Var(&o.Pairs, "pairs", 50, "run every so manyth seed twice and compare the traces; 0: none")
	f.BoolVar(&o.StopAtFirst, "stop-at-first", false, "end at the first broken promise")
	return c
}

func parseSeeds(s string) (first, last uint64, err error) {
	a, b, found := strings.Cut(s, ":")
	if !found {
		b = a
	}
	first, err = strconv.ParseUint(a, 10, 64)
	if err == nil {
		last, err = strconv.ParseUint(b, 10, 64)
	}
	if err != nil || last < first {
		return 0, 0, usage("--seeds is FIRST:LAST, such as 1:200, not %q", s)
	}
	return first, last, nil
}

func (a *app) reportFleet(r *fleet.Report) error {
	if a.json() {
		violations := []map[string]any{}
		for i := range r.Violations {
			v := &r.Violations[i]
			violations = append(violations, map[string]any{"seed": v.Seed, "oracle": v.Violation.Oracle, "detail": v.Violation.Detail})
		}
		err := a.printJSON(map[string]any{
			"mode": r.Mode, "seeds": r.Seeds, "events": r.Events, "ops": r.Ops, "ops_ok": r.OpsOK,
			"seconds": r.Elapsed.Seconds(), "ok": r.OK(), "next": r.Next, "violations": violations,
		})
		if err != nil {
			return err
		}
	} else if err := r.Write(a.stdout); err != nil {
		return err
	}
	switch {
	case r.OK():
		return nil
	case r.Interrupted != nil:
		return fail("fleet", "", fmt.Errorf("the fleet could not run: %w", r.Interrupted))
	case len(r.Violations) > 0:
		return fail("violation", fmt.Sprintf("`weir sim run --seed %d --mode %s` shows the first again", r.Violations[0].Seed, r.Mode), errViolation)
	}
	if r.Next != 0 {
		return fail("fleet", fmt.Sprintf("go on with --seeds %d:LAST", r.Next), errors.New("the fleet was ended before its last seed"))
	}
	return fail("vacuous", "run more seeds; if it stays so, the simulator is broken and not the broker",
		fmt.Errorf("the fleet proves nothing: %s", strings.Join(r.Vacuous, "; ")))
}
