// Package sealed is the analyzer that keeps type switches over sealed sums complete.
//
// A sealed sum is an interface of weir's module with an unexported method, so that only its own package
// can add to it: the loop's events are one. A type switch over it must have a case for every type of
// that package that implements it, or a default that panics (or calls package invariant). A default
// that does anything else would swallow the event that somebody adds next year.
//
// A switch that means to look at some of the types only says so on its line:
//
//	switch e := e.(type) { //sealed:allow the trace prints only what crosses the network
//
// Test files are not looked at.
package sealed

import (
	"go/ast"
	"go/types"
	"sort"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"

	"github.com/weirmq/weir/lint/allow"
)

// Module is the module whose interfaces count.
const Module = "github.com/weirmq/weir"

// Analyzer is the sealed analyzer.
var Analyzer = &analysis.Analyzer{
	Name: "sealed",
	Doc:  "report type switches over sealed interfaces that miss an implementation",
	Run:  run,
}

func run(pass *analysis.Pass) (any, error) {
	for _, file := range pass.Files {
		if strings.HasSuffix(pass.Fset.Position(file.Package).Filename, "_test.go") {
			continue
		}
		excuses := allow.Parse(pass.Fset, file, "sealed", false)
		ast.Inspect(file, func(n ast.Node) bool {
			if sw, ok := n.(*ast.TypeSwitchStmt); ok {
				checkSwitch(pass, sw, excuses)
			}
			return true
		})
		excuses.Report(pass)
	}
	return nil, nil
}

func checkSwitch(pass *analysis.Pass, sw *ast.TypeSwitchStmt, excuses *allow.Set) {
	sum := sealedSum(pass.TypesInfo.TypeOf(subject(sw)))
	if sum == nil {
		return
	}
	missing := implementations(sum)
	for _, stmt := range sw.Body.List {
		clause := stmt.(*ast.CaseClause)
		if clause.List == nil && panics(pass.TypesInfo, clause.Body) {
			return
		}
		for _, e := range clause.List {
			cover(missing, pass.TypesInfo.TypeOf(e))
		}
	}
	if len(missing) == 0 || excuses.Excuses(pass.Fset, sw.Pos()) {
		return
	}
	var names []string
	for obj := range missing {
		names = append(names, obj.Name())
	}
	sort.Strings(names)
	pass.Reportf(sw.Pos(), "the switch over %s misses %s; list them or let the default panic",
		sum.Obj().Name(), strings.Join(names, ", "))
}

// subject is the x of `switch v := x.(type)`.
func subject(sw *ast.TypeSwitchStmt) ast.Expr {
	switch s := sw.Assign.(type) {
	case *ast.AssignStmt:
		return s.Rhs[0].(*ast.TypeAssertExpr).X
	case *ast.ExprStmt:
		return s.X.(*ast.TypeAssertExpr).X
	}
	return nil
}

// sealedSum is t when t is a sealed interface of our module, else nil.
func sealedSum(t types.Type) *types.Named {
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.Obj().Pkg() == nil || named.TypeParams().Len() > 0 {
		return nil
	}
	path, _, _ := strings.Cut(named.Obj().Pkg().Path(), " ")
	if path != Module && !strings.HasPrefix(path, Module+"/") {
		return nil
	}
	iface, ok := named.Underlying().(*types.Interface)
	if !ok {
		return nil
	}
	for i := range iface.NumMethods() {
		if !iface.Method(i).Exported() {
			return named
		}
	}
	return nil
}

// implementations are the concrete types of sum's package that implement it.
func implementations(sum *types.Named) map[*types.TypeName]bool {
	iface := sum.Underlying().(*types.Interface)
	found := map[*types.TypeName]bool{}
	scope := sum.Obj().Pkg().Scope()
	for _, name := range scope.Names() {
		obj, ok := scope.Lookup(name).(*types.TypeName)
		if !ok || obj.IsAlias() || types.IsInterface(obj.Type()) {
			continue
		}
		if named, ok := obj.Type().(*types.Named); ok && named.TypeParams().Len() > 0 {
			continue
		}
		if types.Implements(obj.Type(), iface) || types.Implements(types.NewPointer(obj.Type()), iface) {
			found[obj] = true
		}
	}
	return found
}

// cover removes from missing what a case of type t matches.
func cover(missing map[*types.TypeName]bool, t types.Type) {
	if t == nil {
		return
	}
	if iface, ok := t.Underlying().(*types.Interface); ok {
		for obj := range missing {
			if types.Implements(obj.Type(), iface) || types.Implements(types.NewPointer(obj.Type()), iface) {
				delete(missing, obj)
			}
		}
		return
	}
	t = types.Unalias(t)
	if p, ok := t.(*types.Pointer); ok {
		t = types.Unalias(p.Elem())
	}
	if named, ok := t.(*types.Named); ok {
		delete(missing, named.Obj())
	}
}

// panics reports whether body calls panic or package invariant.
func panics(info *types.Info, body []ast.Stmt) bool {
	found := false
	for _, stmt := range body {
		ast.Inspect(stmt, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch callee := typeutil.Callee(info, call).(type) {
			case *types.Builtin:
				found = found || callee.Name() == "panic"
			case *types.Func:
				found = found || callee.Pkg() != nil && callee.Pkg().Path() == Module+"/core/invariant"
			}
			return true
		})
	}
	return found
}
