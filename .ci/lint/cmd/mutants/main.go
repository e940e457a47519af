// Command mutants proves the simulator: it puts known bugs into copies of the tree, one at a time, and
// the simulator must catch each of them within its stated number of seeds.
//
//	mutants -class A              the quick ones, as CI does
//	mutants -class all -only 07   one of them
//
// A mutant is a patch under sim/mutants/ whose first lines say what it is:
//
//	id: 07-ack-before-sync
//	bug: the leader acks what only its page cache holds
//	oracle: acked-is-durable
//	class: A
//	seeds: 50
//	mode: lite
//
// class A is run by every CI run, B by hand before a release, C in long campaigns. mode is the mode of
// the simulation and defaults to lite. `check: replay` instead runs each seed twice, in processes with
// different schedulers and garbage collectors, and the mutant is caught when their traces differ.
//
// A mutant is caught when `weir sim fleet` over its seeds exits 1 and reports a violation, by whichever
// oracle; the expected one is shown beside it. Passing all seeds, dying of anything but a violation, a
// patch that no longer applies and a tree that no longer builds are failures. So is a violation in the
// tree without any patch, over the same seeds: that is looked at first.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

func main() {
	root := flag.String("C", ".", "the module's directory")
	class := flag.String("class", "A", "the class of mutants to run, or all")
	only := flag.String("only", "", "run only mutants whose id contains this")
	parallel := flag.Int("p", 2, "how many to run at once")
	limit := flag.Duration("limit", 10*time.Minute, "how long one mutant may take")
	flag.Parse()
	r := &runner{root: *root, limit: *limit}
	if err := r.run(*class, *only, *parallel); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// runner runs mutants of the tree in root, in copies under temp.
type runner struct {
	root  string
	temp  string
	limit time.Duration
	files []string // of the tree, relative to root
}

// outcome is what became of one mutant.
type outcome struct {
	mutant
	caughtBy string
	seed     string
	took     time.Duration
	err      error // why it was not caught
}

func (r *runner) run(class, only string, parallel int) error {
	root, err := filepath.Abs(r.root)
	if err != nil {
		return err
	}
	r.root = root
	selected, err := load(filepath.Join(r.root, "sim", "mutants"), class, only)
	if err != nil {
		return err
	}
	if r.temp, err = os.MkdirTemp("", "weir-mutants-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.temp)
	if r.files, err = treeFiles(r.root); err != nil {
		return err
	}
	if err := r.sane(selected); err != nil {
		return fmt.Errorf("the tree without any mutant: %w", err)
	}
	if err := r.current(); err != nil {
		return err
	}
	outcomes := make([]outcome, len(selected))
	slots := make(chan struct{}, max(1, parallel))
	var wg sync.WaitGroup
	for i, m := range selected {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			outcomes[i] = r.try(m)
			o := outcomes[i]
			if o.err != nil {
				fmt.Printf("FAIL %s: %v\n", o.id, o.err)
			} else {
				fmt.Printf("ok   %s: seed %s, %s\n", o.id, o.seed, o.caughtBy)
			}
		})
	}
	wg.Wait()
	return report(outcomes)
}

// current refuses a tree that a mutant of any class does not fit: those of the others are run less often, and would be found out late.
func (r *runner) current() error {
	all, err := load(filepath.Join(r.root, "sim", "mutants"), "all", "")
	if err != nil {
		return err
	}
	dir := filepath.Join(r.temp, "current")
	if err := r.copyTree(dir); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var errs []error
	for _, m := range all {
		if err := r.apply(dir, m.file, "--check"); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.id, err))
		}
	}
	return errors.Join(errs...)
}

// sane runs the tree as it is over every seed that a selected mutant will be run over.
func (r *runner) sane(selected []mutant) error {
	start := time.Now()
	weir, err := r.build(filepath.Join(r.temp, "unmutated"), "")
	if err != nil {
		return err
	}
	most := map[string]mutant{}
	for _, m := range selected {
		key := m.mode + m.check
		if have, ok := most[key]; !ok || have.seeds < m.seeds {
			most[key] = m
		}
	}
	for _, m := range most {
		caughtBy, seed, err := r.simulate(weir, m)
		switch {
		case err == nil:
			return fmt.Errorf("a violation in mode %s at seed %s: %s", m.mode, seed, caughtBy)
		case !errors.Is(err, errSurvived):
			return err
		}
		fmt.Printf("ok   without a mutant: mode %s, seeds 1:%d, no violation\n", m.mode, m.seeds)
	}
	fmt.Printf("     took %s\n", time.Since(start).Round(time.Second))
	return nil
}

// try puts one mutant into a copy of the tree and lets the simulator look for it.
func (r *runner) try(m mutant) outcome {
	start := time.Now()
	dir := filepath.Join(r.temp, m.id)
	defer os.RemoveAll(dir)
	o := outcome{mutant: m}
	weir, err := r.build(dir, m.file)
	if err == nil {
		o.caughtBy, o.seed, err = r.simulate(weir, m)
	}
	o.err, o.took = err, time.Since(start)
	return o
}

// build copies the tree to dir, applies the patch unless it is "", and returns the binary.
func (r *runner) build(dir, patch string) (string, error) {
	if err := r.copyTree(dir); err != nil {
		return "", err
	}
	if patch != "" {
		if err := r.apply(dir, patch); err != nil {
			return "", err
		}
	}
	// -trimpath makes the build cache the same for every copy.
	weir := filepath.Join(dir, "weir.bin")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", weir, "./node/cmd/weir")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the tree does not build: %s", oneLine(out))
	}
	return weir, nil
}

func (r *runner) copyTree(dir string) error {
	for _, f := range r.files {
		if err := copyFile(filepath.Join(r.root, f), filepath.Join(dir, f)); err != nil {
			return err
		}
	}
	return nil
}

// apply puts a patch into a copy of the tree, or with --check says whether it could be.
func (r *runner) apply(dir, patch string, flags ...string) error {
	cmd := exec.Command("git", append(append([]string{"apply", "--whitespace=nowarn"}, flags...), patch)...)
	cmd.Dir = dir
	// The copy is no repository, and must not be taken for part of one above it.
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+r.temp)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the patch does not apply: %s", oneLine(out))
	}
	return nil
}

var errSurvived = errors.New("survived every seed")

// simulate looks for a violation over m's seeds. It returns errSurvived when there is none, and
// another error when the simulator did not come to a verdict.
func (r *runner) simulate(weir string, m mutant) (caughtBy, seed string, err error) {
	if m.check == "replay" {
		return r.replay(weir, m)
	}
	out, code, err := r.command(nil, weir, "sim", "fleet", "--mode", m.mode, "--seeds", fmt.Sprintf("1:%d", m.seeds),
		"--stop-at-first", "--jobs", "1")
	switch {
	case err != nil:
		return "", "", err
	case code == 0, code == 1 && strings.Contains(out, "verdict=vacuous"):
		// A fleet calls itself vacuous when it is too small to have met every fault; it broke nothing.
		return "", "", errSurvived
	case code != 1 || !strings.Contains(out, "verdict=violation"):
		return "", "", fmt.Errorf("exit code %d without a violation: %s", code, oneLine([]byte(out)))
	}
	caughtBy, seed = verdict(out)
	return caughtBy, seed, nil
}

// replay runs each seed under two schedulers and two garbage collectors and compares the traces.
func (r *runner) replay(weir string, m mutant) (caughtBy, seed string, err error) {
	for n := 1; n <= m.seeds; n++ {
		var traces []string
		for _, env := range [][]string{{"GOMAXPROCS=1", "GOGC=5"}, {"GOMAXPROCS=2", "GOGC=off"}} {
			out, code, err := r.command(env, weir, "sim", "run", "--mode", m.mode, "--seed", fmt.Sprint(n))
			if err != nil {
				return "", "", err
			}
			trace := traceField.FindString(out)
			if trace == "" || code > 1 {
				return "", "", fmt.Errorf("seed %d: exit code %d, no trace: %s", n, code, oneLine([]byte(out)))
			}
			traces = append(traces, trace)
		}
		if traces[0] != traces[1] {
			return "traces differ", fmt.Sprint(n), nil
		}
	}
	return "", "", errSurvived
}

// command runs the binary within the time limit and returns both its streams and its exit code.
func (r *runner) command(env []string, name string, args ...string) (out string, code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = filepath.Dir(name)
	cmd.Env = append(os.Environ(), env...)
	b, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return "", 0, fmt.Errorf("no verdict within %s", r.limit)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", 0, err
	}
	return string(b), cmd.ProcessState.ExitCode(), nil
}

var (
	traceField  = regexp.MustCompile(`trace=\S+`)
	seedField   = regexp.MustCompile(`seed=(\d+)`)
	oracleField = regexp.MustCompile(`oracle=("[^"]*"|\S+)`)
)

// verdict reads the oracle and the seed from the line of a fleet's output that tells of the violation.
func verdict(out string) (caughtBy, seed string) {
	caughtBy, seed = "(not named)", "?"
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "verdict=violation") {
			continue
		}
		if m := seedField.FindStringSubmatch(line); m != nil {
			seed = m[1]
		}
		if m := oracleField.FindStringSubmatch(line); m != nil {
			caughtBy = strings.Trim(m[1], `":`)
		}
		break
	}
	return caughtBy, seed
}

// report prints the table and the closing line.
func report(outcomes []outcome) error {
	failed := 0
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "id\tclass\texpected\tcaught by\tseed\ttime\tbug")
	for _, o := range outcomes {
		caughtBy, seed := o.caughtBy, o.seed+" of "+fmt.Sprint(o.seeds)
		if o.err != nil {
			failed++
			caughtBy, seed = "NOT CAUGHT", "- of "+fmt.Sprint(o.seeds)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			o.id, o.class, o.oracle, clip(caughtBy, 48), seed, o.took.Round(100*time.Millisecond), clip(o.bug, 60))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, o := range outcomes {
		if o.err != nil {
			fmt.Printf("FAIL %s (%s): %v\n", o.id, o.file, o.err)
		}
	}
	fmt.Printf("mutants: %d passed, %d failed\n", len(outcomes)-failed, failed)
	if failed > 0 {
		return fmt.Errorf("%d of %d mutants were not caught", failed, len(outcomes))
	}
	return nil
}

// treeFiles lists what git knows of the tree, and what it would add.
func treeFiles(root string) ([]string, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	var files []string
	for _, f := range strings.Split(string(out), "\x00") {
		if f == "" {
			continue
		}
		// Deleted but not yet committed, or a link: neither is needed to build.
		if info, err := os.Lstat(filepath.Join(root, f)); err == nil && info.Mode().IsRegular() {
			files = append(files, f)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

// oneLine shortens output to what fits an error message: its last lines.
func oneLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-6):], " | ")
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n-3] + "..."
}
