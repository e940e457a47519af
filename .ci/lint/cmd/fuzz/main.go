// Command fuzz runs every fuzz target of the module in the current directory for a while.
//
//	fuzz -time 10s                each target for ten seconds
//	fuzz -time 5s -total 4m       the same, but less each when all together would take longer
//	fuzz -match Decode ./core/... only targets whose name matches, below some directory
//
// Targets are found, not listed, so a new one cannot be forgotten; finding none is a failure. The
// exit code is 1 when a target fails; the input that did it is then in testdata/fuzz, to be committed.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

func main() {
	each := flag.Duration("time", 10*time.Second, "how long to fuzz each target")
	total := flag.Duration("total", 0, "how long to fuzz all targets together, at most; 0 for no limit")
	match := flag.String("match", "", "only targets whose name matches this regular expression")
	flag.Parse()
	patterns := flag.Args()
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	if err := run(*each, *total, *match, patterns); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

// target is one fuzz function.
type target struct{ pkg, name string }

func run(each, total time.Duration, match string, patterns []string) error {
	filter, err := regexp.Compile(match)
	if err != nil {
		return err
	}
	targets, err := find(filter, patterns)
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		return fmt.Errorf("no fuzz target in %s", strings.Join(patterns, " "))
	}
	if total > 0 {
		each = min(each, total/time.Duration(len(targets)))
	}
	each = max(each.Truncate(100*time.Millisecond), time.Second)
	fmt.Printf("%d targets, %s each\n", len(targets), each)
	failed := 0
	for _, t := range targets {
		start := time.Now()
		verdict := "ok  "
		out, err := fuzz(t, each)
		if err != nil {
			verdict = "FAIL"
			failed++
		}
		fmt.Printf("%s %s %s  %s  %s\n", verdict, t.pkg, t.name, time.Since(start).Round(time.Second), executions(out))
		if err != nil {
			fmt.Printf("%s\n%v\n", out, err)
		}
	}
	fmt.Printf("%d passed, %d failed\n", len(targets)-failed, failed)
	if failed > 0 {
		return fmt.Errorf("%d of %d targets failed", failed, len(targets))
	}
	return nil
}

// find lists the targets in order of package. Packages are first searched for the word, because asking
// every test binary of the module would mean linking them all.
func find(filter *regexp.Regexp, patterns []string) ([]target, error) {
	const format = `{{$d := .Dir}}{{$p := .ImportPath}}{{range .TestGoFiles}}{{$p}} {{$d}}/{{.}}{{"\n"}}{{end}}` +
		`{{range .XTestGoFiles}}{{$p}} {{$d}}/{{.}}{{"\n"}}{{end}}`
	list, err := goTool(append([]string{"list", "-f", format}, patterns...)...)
	if err != nil {
		return nil, err
	}
	var pkgs []string
	for line := range strings.Lines(list) {
		pkg, file, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || len(pkgs) > 0 && pkgs[len(pkgs)-1] == pkg {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if bytes.Contains(text, []byte("func Fuzz")) {
			pkgs = append(pkgs, pkg)
		}
	}
	var targets []target
	for _, pkg := range pkgs {
		out, err := goTool("test", "-list", "^Fuzz", pkg)
		if err != nil {
			return nil, fmt.Errorf("%w%s", err, out)
		}
		for line := range strings.Lines(out) {
			if name := strings.TrimSpace(line); strings.HasPrefix(name, "Fuzz") && filter.MatchString(name) {
				targets = append(targets, target{pkg, name})
			}
		}
	}
	return targets, nil
}

// fuzz runs one target. The go command is known to report its own deadline as a failure when time runs
// out at a bad moment; such a run is repeated, once.
func fuzz(t target, each time.Duration) (out string, err error) {
	for range 2 {
		out, err = goTool("test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", each.String(), t.pkg)
		if err == nil || !strings.Contains(out, "context deadline exceeded") || strings.Contains(out, "Failing input") {
			break
		}
	}
	return out, err
}

// executions is how often the fuzzer ran the target, from its last line of progress.
func executions(out string) string {
	found := regexp.MustCompile(`execs: (\d+)`).FindAllStringSubmatch(out, -1)
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1][1] + " runs"
}

// goTool runs the go command and returns what it printed: of list on its standard output, of test on
// both streams.
func goTool(args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.Command("go", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if args[0] == "test" {
		cmd.Stderr = &out
	}
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("go %s: %w\n%s", args[0], err, errs.String())
	}
	return out.String(), err
}
