// Command lint is weir's vet tool: one binary with every analyzer that CI insists on. It runs as
//
//	go vet -vettool=bin/weirlint ./...
//
// which `make lint` does. What is in it:
//
//   - determ (ours): core sees no clock, socket, goroutine, lock, global, random source or map order;
//   - sealed (ours): a type switch over a sealed sum, such as the loop's events, is complete;
//   - staticcheck's SA (bugs) and S (simpler code), the few of its ST (style) that find mistakes, and
//     U1000 (unused code);
//   - errcheck: no error is dropped unseen, outside tests (`_ =` drops one on purpose);
//   - exhaustive: a switch over an enum of ours without a default lists every value, outside tests;
//   - nilness, unusedwrite: what the control flow graph shows to be wrong.
//
// The analyzers of other people are excused as staticcheck's users know it, with a reason:
//
//	x := legacy() //lint:ignore SA1019 Kafka 2.x clients still send it
//
// on the line or the one above it. Ours have directives of their own (package allow).
package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/kisielk/errcheck/errcheck"
	"github.com/nishanths/exhaustive/passes/exhaustive"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/nilness"
	"golang.org/x/tools/go/analysis/passes/unusedwrite"
	"golang.org/x/tools/go/analysis/unitchecker"
	"honnef.co/go/tools/analysis/lint"
	"honnef.co/go/tools/simple"
	"honnef.co/go/tools/staticcheck"
	"honnef.co/go/tools/stylecheck"

	"github.com/weirmq/weir/lint/determ"
	"github.com/weirmq/weir/lint/sealed"
)

// styleChecks are the stylecheck analyzers that find mistakes rather than taste: a package without a
// comment, capitals or full stops in error strings, receivers named inconsistently, misnamed errors,
// double imports, yoda conditions, comments that name another thing than they document.
var styleChecks = []string{
	"ST1000", "ST1005", "ST1006", "ST1008", "ST1012", "ST1013", "ST1015", "ST1016", "ST1017", "ST1018",
	"ST1019", "ST1020", "ST1021", "ST1022",
}

func main() {
	configure()
	unitchecker.Main(analyzers()...)
}

// configure sets what the analyzers of others take as package variables.
func configure() {
	for flag, value := range map[string]string{
		"constignore": "Count$",                                    // one past the last value is none
		"d":           "true",                                      // a default covers the rest
		"check":       "switch",                                    // sealed looks at type switches
		"typeonly":    "^" + regexp.QuoteMeta(determ.Module) + "/", // our own enums
	} {
		if err := exhaustive.Analyzer.Flags.Set(flag, value); err != nil {
			panic(err)
		}
	}
	errcheck.DefaultExcludedSymbols = append(errcheck.DefaultExcludedSymbols, mayFail...)
}

// analyzers is everything the tool runs.
func analyzers() []*analysis.Analyzer {
	all := []*analysis.Analyzer{determ.Analyzer, sealed.Analyzer}
	for _, a := range foreign() {
		all = append(all, excusable(a))
	}
	return all
}

// foreign are the analyzers of other people.
func foreign() []*analysis.Analyzer {
	all := []*analysis.Analyzer{
		outsideTests(errcheck.Analyzer), outsideTests(exhaustive.Analyzer), nilness.Analyzer, unusedwrite.Analyzer, unusedCode,
	}
	for _, group := range [][]*lint.Analyzer{staticcheck.Analyzers, simple.Analyzers, stylecheck.Analyzers} {
		for _, a := range group {
			if !strings.HasPrefix(a.Analyzer.Name, "ST") || slices.Contains(styleChecks, a.Analyzer.Name) {
				all = append(all, a.Analyzer)
			}
		}
	}
	return all
}

// mayFail are functions whose error may be dropped without a word: printing for people, and giving up
// what is no longer wanted. A file that was written to is synced first, and that error is checked; what
// buffers (a compressor, a bufio.Writer) is not in the list, for its Close is a write. Connections and
// listeners of any type may be closed too (harmlessCloses).
var mayFail = []string{
	"fmt.Fprint", "fmt.Fprintf", "fmt.Fprintln", "(*os.File).Close", "(io.ReadCloser).Close", "os.Remove", "os.RemoveAll",
}
