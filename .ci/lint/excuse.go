package main

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"honnef.co/go/tools/unused"
)

// excusable makes a obey `//lint:ignore CHECK[,CHECK] reason`, which go vet by itself knows nothing of.
// A directive without a reason excuses nothing; one that excuses nothing is a finding.
func excusable(a *analysis.Analyzer) *analysis.Analyzer {
	run := a.Run
	a.Run = func(pass *analysis.Pass) (any, error) {
		ignores := parseIgnores(pass, a.Name)
		filtered := *pass
		reported := false
		filtered.Report = func(d analysis.Diagnostic) {
			if a.Name == "ST1000" && reported {
				return // one file without a package comment stands for all of them
			}
			reported = true
			at := pass.Fset.Position(d.Pos)
			for _, ig := range ignores {
				if ig.file == at.Filename && (ig.line == at.Line || ig.line+1 == at.Line) {
					ig.used = true
					return
				}
			}
			if !strings.HasPrefix(d.Message, a.Name) {
				d.Message = a.Name + ": " + d.Message
			}
			pass.Report(d)
		}
		result, err := run(&filtered)
		for _, ig := range ignores {
			if !ig.used {
				pass.Reportf(ig.pos, "//lint:ignore %s excuses nothing here, or has no reason", a.Name)
			}
		}
		return result, err
	}
	return a
}

type ignore struct {
	file string
	line int
	pos  token.Pos
	used bool
}

// parseIgnores finds the directives that name check.
func parseIgnores(pass *analysis.Pass, check string) []*ignore {
	var found []*ignore
	for _, file := range pass.Files {
		for _, group := range file.Comments {
			for _, c := range group.List {
				fields := strings.Fields(c.Text)
				if len(fields) < 2 || fields[0] != "//lint:ignore" || !slices.Contains(strings.Split(fields[1], ","), check) {
					continue
				}
				at := pass.Fset.Position(c.Pos())
				ig := &ignore{file: at.Filename, line: at.Line, pos: c.Pos()}
				if len(fields) == 2 {
					ig.line = -1
				}
				found = append(found, ig)
			}
		}
	}
	return found
}

// outsideTests makes a look at code that ships, not at tests; errcheck not at harmlessCloses either.
func outsideTests(a *analysis.Analyzer) *analysis.Analyzer {
	run := a.Run
	a.Run = func(pass *analysis.Pass) (any, error) {
		harmless := map[position]bool{}
		if a.Name == "errcheck" {
			harmless = harmlessCloses(pass)
		}
		filtered := *pass
		filtered.Report = func(d analysis.Diagnostic) {
			at := pass.Fset.Position(d.Pos)
			if strings.HasSuffix(at.Filename, "_test.go") || harmless[position{at.Filename, at.Line}] {
				return
			}
			if a.Name == "errcheck" {
				d.Message += "; handle it, or drop it on purpose with `_ =`"
			}
			pass.Report(d)
		}
		return run(&filtered)
	}
	return a
}

type position struct {
	file string
	line int
}

// harmlessCloses are the lines with calls of Close whose error nobody can act on: deferred ones, for
// what mattered was checked before, and those of connections and listeners, known by a method that
// tells an address.
func harmlessCloses(pass *analysis.Pass) map[position]bool {
	found := map[position]bool{}
	mark := func(pos token.Pos) {
		at := pass.Fset.Position(pos)
		found[position{at.Filename, at.Line}] = true
	}
	for _, file := range pass.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.DeferStmt:
				if closes(n.Call) != nil {
					mark(n.Pos())
					mark(n.Call.Rparen)
				}
			case *ast.CallExpr:
				if x := closes(n); x != nil && hasAddress(pass, x) {
					mark(n.Pos())
					mark(n.Rparen)
				}
			}
			return true
		})
	}
	return found
}

// closes is the x of a call x.Close(), nil when call is another.
func closes(call *ast.CallExpr) ast.Expr {
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Close" && len(call.Args) == 0 {
		return sel.X
	}
	return nil
}

// hasAddress reports whether x is a connection or a listener.
func hasAddress(pass *analysis.Pass, x ast.Expr) bool {
	t := pass.TypesInfo.TypeOf(x)
	if t == nil {
		return false
	}
	for _, method := range []string{"RemoteAddr", "Addr"} {
		if obj, _, _ := types.LookupFieldOrMethod(t, true, pass.Pkg, method); obj != nil {
			return true
		}
	}
	return false
}

// unusedCode reports what staticcheck's unused computes: unexported code that nothing in its package,
// tests included, refers to.
var unusedCode = &analysis.Analyzer{
	Name:     "U1000",
	Doc:      "unused code",
	Requires: []*analysis.Analyzer{unused.Analyzer.Analyzer},
	Run: func(pass *analysis.Pass) (any, error) {
		for _, obj := range pass.ResultOf[unused.Analyzer.Analyzer].(unused.Result).Unused {
			if obj.Kind == "type param" {
				continue
			}
			for _, file := range pass.Files {
				f := pass.Fset.File(file.Package)
				if f.Name() == obj.Position.Filename && obj.Position.Line <= f.LineCount() {
					pass.Reportf(f.LineStart(obj.Position.Line), "%s %s is unused", obj.Kind, obj.Name)
				}
			}
		}
		return nil, nil
	},
}
