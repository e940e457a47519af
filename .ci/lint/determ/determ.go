// Package determ is the analyzer behind the one rule of weir: core cannot see a clock, a socket, a
// goroutine, a lock, a global, a random source or a map's order.
//
// It looks at every non-test file of the packages under core/ and sim/ of weir's module. core obeys
// every rule below; sim, which drives core and must replay from a seed, obeys those marked so. A main
// package under core/ is a generator, no part of the core, and is left alone.
//
// A finding is excused by a directive with a reason (package allow):
//
//	Value float64 //determ:allow Kafka's schema has one float, carried and never computed with
//
// In sim a directive above the package clause excuses the file: that is how the code that runs many
// worlds in parallel, outside any of them, says that it is not part of one.
//
// Two forms of ranging over a map need no excuse, because nothing can come of the order: a range
// without variables, and collecting the keys with a sort as the very next statement:
//
//	for id := range m {
//		ids = append(ids, id)
//	}
//	slices.Sort(ids)
//
// What it cannot see: state behind a pointer that was handed in, a comparator that is no total order,
// and whatever third-party code does. The simulator's comparison of one seed run twice covers those.
package determ

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"

	"github.com/weirmq/weir/lint/allow"
)

// Analyzer is the determ analyzer.
var Analyzer = &analysis.Analyzer{
	Name: "determ",
	Doc:  "report what would let core (and sim) depend on anything but its inputs",
	Run:  run,
}

// Module is the module whose core and sim the rules hold for.
const Module = "github.com/weirmq/weir"

// Rule names one way to lose determinism. Every finding starts with its rule.
type Rule string

const (
	MapRange  Rule = "map-range"  // iteration over a map, or over its keys or values by a library
	Goroutine Rule = "goroutine"  // go statements, and coroutines by iter.Pull
	Channel   Rule = "channel"    // channel types and operations
	Select    Rule = "select"     // picks at random among the ready
	Float     Rule = "float"      // results may differ between CPUs; core only
	Global    Rule = "global"     // package-level state, or an address by which it could become one
	Init      Rule = "init"       // code that runs before any input arrives; core only
	Clock     Rule = "clock"      // reading or waiting for real time
	Random    Rule = "random"     // a random source of its own
	PointerID Rule = "pointer-id" // %p and uintptr: addresses differ between runs
	Output    Rule = "output"     // printing to the process's own streams; core only
	Import    Rule = "import"     // packages that are a window on the outside
)

// Rules lists every rule, and whether it holds in sim as well as in core.
var Rules = map[Rule]bool{
	MapRange: true, Goroutine: true, Channel: true, Select: true, Float: false, Global: true, Init: false,
	Clock: true, Random: true, PointerID: true, Output: false, Import: true,
}

// bannedImports is by path prefix; the value says whether it is banned in sim as well.
var bannedImports = map[string]struct {
	rule  Rule
	inSim bool
}{
	"math/rand":    {Random, true},
	"crypto/rand":  {Random, true},
	"hash/maphash": {Random, true},
	"sync":         {Import, true},
	"unsafe":       {Import, true},
	"net":          {Import, true},
	"unique":       {Import, true},
	"weak":         {Import, true},
	"context":      {Import, false},
	"os":           {Import, false},
	"syscall":      {Import, false},
	"runtime":      {Import, false},
	"reflect":      {Import, false},
	"log":          {Import, false},
	"maps":         {MapRange, false},
	"math/cmplx":   {Float, false},
}

// pureTime is what core may name in package time.
var pureTime = map[string]bool{
	"Duration": true, "ParseDuration": true, "Nanosecond": true, "Microsecond": true, "Millisecond": true,
	"Second": true, "Minute": true, "Hour": true,
}

// clockFuncs are the ways to read or wait for real time.
var clockFuncs = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true, "Tick": true,
	"NewTimer": true, "NewTicker": true, "Timer": true, "Ticker": true, "Local": true, "LoadLocation": true,
}

var pointerVerb = regexp.MustCompile(`%[-+# 0-9.*\[\]]*p`)

func run(pass *analysis.Pass) (any, error) {
	// The path of a package's test variant is followed by " [its.test]".
	path, _, _ := strings.Cut(pass.Pkg.Path(), " ")
	inCore := strings.HasPrefix(path, Module+"/core/") && pass.Pkg.Name() != "main"
	inSim := path == Module+"/sim" || strings.HasPrefix(path, Module+"/sim/")
	if !inCore && !inSim {
		return nil, nil
	}
	for _, file := range pass.Files {
		if strings.HasSuffix(pass.Fset.Position(file.Package).Filename, "_test.go") {
			continue
		}
		c := &checker{
			pass: pass, core: inCore, file: file,
			excuses:  allow.Parse(pass.Fset, file, "determ", inSim),
			reported: map[lineRule]bool{},
		}
		c.checkFile()
		c.excuses.Report(pass)
	}
	return nil, nil
}

type lineRule struct {
	line int
	rule Rule
}

// checker walks one file.
type checker struct {
	pass     *analysis.Pass
	core     bool
	file     *ast.File
	excuses  *allow.Set
	reported map[lineRule]bool // one finding per line and rule is enough
	sorted   map[ast.Node]bool // iterations over maps whose order is sorted away at once
}

func (c *checker) report(n ast.Node, rule Rule, format string, args ...any) {
	if !c.core && !Rules[rule] {
		return
	}
	at := lineRule{c.pass.Fset.Position(n.Pos()).Line, rule}
	if c.excuses.Excuses(c.pass.Fset, n.Pos()) || c.reported[at] {
		return
	}
	c.reported[at] = true
	c.pass.Report(analysis.Diagnostic{
		Pos: n.Pos(), End: n.End(), Category: string(rule),
		Message: string(rule) + ": " + fmt.Sprintf(format, args...),
	})
}

func (c *checker) checkFile() {
	for _, spec := range c.file.Imports {
		c.checkImport(spec)
	}
	for _, decl := range c.file.Decls {
		c.checkDecl(decl)
	}
	c.sorted = sortedAtOnce(c.pass.TypesInfo, c.file)
	ast.Inspect(c.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			c.report(n, Goroutine, "a step is one function call; hand the work to the driver as an effect")
		case *ast.SelectStmt:
			c.report(n, Select, "picks at random among the ready cases")
		case *ast.ChanType:
			c.report(n, Channel, "channels belong to the driver")
		case *ast.SendStmt:
			c.report(n, Channel, "channels belong to the driver")
		case *ast.UnaryExpr:
			c.checkUnary(n)
		case *ast.RangeStmt:
			c.checkRange(n)
		case *ast.AssignStmt:
			c.checkAssign(n)
		case *ast.IncDecStmt:
			c.checkMutation(n.X, "is changed")
			if c.isFloat(n.X) {
				c.report(n, Float, "core computes with integers")
			}
		case *ast.SliceExpr:
			if _, ok := c.under(n.X).(*types.Array); ok {
				c.checkMutation(n.X, "is sliced, which takes its address")
			}
		case *ast.BinaryExpr:
			if c.isFloat(n.X) {
				c.report(n, Float, "core computes with integers")
			}
		case *ast.BasicLit:
			c.checkLiteral(n)
		case *ast.Ident:
			c.checkIdent(n)
		case *ast.SelectorExpr:
			c.checkSelector(n)
		case *ast.CallExpr:
			c.checkCall(n)
		}
		return true
	})
}

func (c *checker) checkImport(spec *ast.ImportSpec) {
	path, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return
	}
	for prefix, ban := range bannedImports {
		if (path == prefix || strings.HasPrefix(path, prefix+"/")) && (c.core || ban.inSim) {
			c.report(spec, ban.rule, "%s is out of bounds", path)
		}
	}
}

// checkDecl looks at the types of package-level variables: those whose value is, or hides, state that
// a step could change are refused even when this package never assigns them.
func (c *checker) checkDecl(decl ast.Decl) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Recv == nil && decl.Name.Name == "init" {
			c.report(decl, Init, "runs before any input; make the value a literal or part of a machine")
		}
	case *ast.GenDecl:
		if decl.Tok != token.VAR {
			return
		}
		for _, spec := range decl.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				v, ok := c.pass.TypesInfo.Defs[name].(*types.Var)
				if !ok || name.Name == "_" {
					continue
				}
				if why := hiddenState(v.Type()); why != "" {
					c.report(name, Global, "package-level variable %s %s; it would be shared by every simulated node", name.Name, why)
				}
			}
		}
	}
}

// hiddenState says why a package-level variable of type t may hold state; "" when it may not.
func hiddenState(t types.Type) string {
	if types.Implements(t, errorType) {
		return ""
	}
	switch t.Underlying().(type) {
	case *types.Pointer:
		if immutablePointers[types.TypeString(t, nil)] {
			return ""
		}
		return "is a pointer"
	case *types.Interface:
		return "is an interface and may hold anything"
	case *types.Chan:
		return "is a channel"
	}
	return ""
}

// immutablePointers point to values that their own package never changes once made.
var immutablePointers = map[string]bool{"*hash/crc32.Table": true, "*regexp.Regexp": true}

var errorType = types.Universe.Lookup("error").Type().Underlying().(*types.Interface)

func (c *checker) checkUnary(n *ast.UnaryExpr) {
	switch n.Op {
	case token.ARROW:
		c.report(n, Channel, "channels belong to the driver")
	case token.AND:
		c.checkMutation(n.X, "has its address taken")
	}
}

func (c *checker) checkRange(n *ast.RangeStmt) {
	switch c.under(n.X).(type) {
	case *types.Map:
		if (n.Key != nil || n.Value != nil) && !c.sorted[n] {
			c.report(n, MapRange, "the order is random: collect the keys and sort them, or keep a sorted slice beside the map")
		}
	case *types.Chan:
		c.report(n, Channel, "channels belong to the driver")
	}
	if n.Tok == token.ASSIGN {
		for _, e := range []ast.Expr{n.Key, n.Value} {
			if e != nil {
				c.checkMutation(e, "is assigned")
			}
		}
	}
}

func (c *checker) checkAssign(n *ast.AssignStmt) {
	if n.Tok == token.DEFINE {
		return
	}
	for _, lhs := range n.Lhs {
		c.checkMutation(lhs, "is assigned")
	}
	if n.Tok != token.ASSIGN && c.isFloat(n.Lhs[0]) {
		c.report(n, Float, "core computes with integers")
	}
}

// checkMutation reports e when it is a package-level variable or a part of one.
func (c *checker) checkMutation(e ast.Expr, what string) {
	if v := c.packageVar(e); v != nil {
		c.report(e, Global, "package-level variable %s %s", v.Name(), what)
	}
}

// packageVar is the package-level variable, of any package, in which e lies; nil when it lies in none.
func (c *checker) packageVar(e ast.Expr) *types.Var {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.SelectorExpr:
			if id, ok := x.X.(*ast.Ident); ok {
				if _, ok := c.pass.TypesInfo.Uses[id].(*types.PkgName); ok {
					e = x.Sel
					continue
				}
			}
			e = x.X
		case *ast.Ident:
			v, ok := c.pass.TypesInfo.Uses[x].(*types.Var)
			if ok && !v.IsField() && v.Pkg() != nil && v.Parent() == v.Pkg().Scope() {
				return v
			}
			return nil
		default:
			return nil
		}
	}
}

func (c *checker) checkLiteral(n *ast.BasicLit) {
	switch n.Kind {
	case token.FLOAT, token.IMAG:
		// 1e9 where an integer is wanted is an integer.
		if c.isFloat(n) {
			c.report(n, Float, "a float literal; core computes with integers")
		}
	case token.STRING:
		if tv := c.pass.TypesInfo.Types[n]; tv.Value != nil && pointerVerb.MatchString(constant.StringVal(tv.Value)) {
			c.report(n, PointerID, "%%p prints an address, which differs between runs")
		}
	}
}

func (c *checker) checkIdent(n *ast.Ident) {
	switch c.pass.TypesInfo.Uses[n] {
	case types.Universe.Lookup("float32"), types.Universe.Lookup("float64"),
		types.Universe.Lookup("complex64"), types.Universe.Lookup("complex128"):
		c.report(n, Float, "core computes with integers: nanoseconds, permille, fixed point")
	case types.Universe.Lookup("uintptr"):
		c.report(n, PointerID, "uintptr holds an address, which differs between runs")
	}
}

// checkSelector looks at names of other packages, whether called or taken as values.
func (c *checker) checkSelector(n *ast.SelectorExpr) {
	obj := c.pass.TypesInfo.Uses[n.Sel]
	if obj == nil || obj.Pkg() == nil {
		return
	}
	name, pkg := obj.Name(), obj.Pkg().Path()
	if fn, ok := obj.(*types.Func); ok && fn.Signature().Recv() != nil {
		if pkg == "reflect" && (name == "MapRange" || name == "MapKeys") {
			c.report(n, MapRange, "reflect's %s is in random order", name)
		}
		return
	}
	switch pkg {
	case "time":
		switch {
		case clockFuncs[name]:
			c.report(n, Clock, "time.%s: time arrives as an argument", name)
		case c.core && !pureTime[name] && obj.Parent() == obj.Pkg().Scope():
			c.report(n, Clock, "time.%s: core uses package time for durations only", name)
		}
	case "math/rand", "math/rand/v2", "crypto/rand", "hash/maphash":
		c.report(n, Random, "%s.%s: chance arrives as an argument", pkg, name)
	case "maps":
		switch name {
		case "Keys", "Values", "All", "DeleteFunc":
			if !c.sorted[n] {
				c.report(n, MapRange, "maps.%s is in random order", name)
			}
		}
	case "iter":
		if name == "Pull" || name == "Pull2" {
			c.report(n, Goroutine, "iter.%s runs a coroutine; range over the sequence", name)
		}
	case "fmt":
		if strings.HasPrefix(name, "Print") || strings.HasPrefix(name, "Scan") {
			c.report(n, Output, "fmt.%s: the core has no streams; emit a note", name)
		}
	}
	if _, ok := obj.(*types.Const); ok && c.isFloat(n) {
		c.report(n, Float, "core computes with integers")
	}
}

// mutators change what their first argument holds.
var mutators = map[string]bool{
	"slices.Sort": true, "slices.SortFunc": true, "slices.SortStableFunc": true, "slices.Reverse": true,
	"sort.Slice": true, "sort.SliceStable": true, "sort.Sort": true, "sort.Strings": true, "sort.Ints": true,
}

func (c *checker) checkCall(n *ast.CallExpr) {
	info := c.pass.TypesInfo
	if tv := info.Types[n.Fun]; !tv.IsType() && c.isFloat(n) {
		c.report(n, Float, "the call returns a float")
	}
	if b, ok := typeutil.Callee(info, n).(*types.Builtin); ok {
		switch b.Name() {
		case "append", "copy", "clear", "delete":
			c.checkMutation(n.Args[0], "is changed by "+b.Name())
		case "close":
			c.report(n, Channel, "channels belong to the driver")
		case "print", "println":
			c.report(n, Output, "the core has no streams; emit a note")
		}
		return
	}
	if name := stdFunc(info, n); mutators[name] && len(n.Args) > 0 {
		c.checkMutation(n.Args[0], "is changed by "+name)
	}
	// A method with a pointer receiver called on a variable takes that variable's address.
	sel, ok := ast.Unparen(n.Fun).(*ast.SelectorExpr)
	if !ok {
		return
	}
	s := info.Selections[sel]
	if s == nil || s.Kind() != types.MethodVal {
		return
	}
	_, byPointer := s.Obj().(*types.Func).Signature().Recv().Type().Underlying().(*types.Pointer)
	_, isPointer := c.under(sel.X).(*types.Pointer)
	if byPointer && !isPointer {
		c.checkMutation(sel.X, "has its address taken by "+sel.Sel.Name)
	}
}

func (c *checker) under(e ast.Expr) types.Type {
	t := c.pass.TypesInfo.TypeOf(e)
	if t == nil {
		return types.Typ[types.Invalid]
	}
	return coreType(t)
}

// coreType is t's underlying type; of a type parameter, the one its constraint's types share.
func coreType(t types.Type) types.Type {
	iface, ok := t.Underlying().(*types.Interface)
	if _, param := types.Unalias(t).(*types.TypeParam); !param || !ok {
		return t.Underlying()
	}
	for i := range iface.NumEmbeddeds() {
		switch e := iface.EmbeddedType(i).(type) {
		case *types.Union:
			if e.Len() > 0 {
				return e.Term(0).Type().Underlying()
			}
		default:
			return e.Underlying()
		}
	}
	return iface
}

func (c *checker) isFloat(e ast.Expr) bool {
	b, ok := c.under(e).(*types.Basic)
	return ok && b.Info()&(types.IsFloat|types.IsComplex) != 0
}

// sortedAtOnce finds the iterations over maps from whose order nothing can come: ranges that do nothing
// but collect keys which the very next statement sorts, and maps.Keys as the argument of slices.Sorted.
func sortedAtOnce(info *types.Info, file *ast.File) map[ast.Node]bool {
	found := map[ast.Node]bool{}
	collectAndSort := func(list []ast.Stmt) {
		for i, stmt := range list {
			loop, ok := stmt.(*ast.RangeStmt)
			if !ok || i+1 == len(list) {
				continue
			}
			if into := collectsKeys(info, loop); into != "" && into == sortsWhat(info, list[i+1]) {
				found[loop] = true
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BlockStmt:
			collectAndSort(n.List)
		case *ast.CaseClause:
			collectAndSort(n.Body)
		case *ast.CallExpr:
			if name := stdFunc(info, n); name != "slices.Sorted" && name != "slices.SortedFunc" {
				break
			}
			if keys, ok := ast.Unparen(n.Args[0]).(*ast.CallExpr); ok && stdFunc(info, keys) == "maps.Keys" {
				found[ast.Unparen(keys.Fun)] = true
			}
		}
		return true
	})
	return found
}

// stdFunc is "package.Name" of the package-level function that n calls; "" when it calls something else.
func stdFunc(info *types.Info, n *ast.CallExpr) string {
	fn := typeutil.StaticCallee(info, n)
	if fn == nil || fn.Pkg() == nil || fn.Signature().Recv() != nil {
		return ""
	}
	return fn.Pkg().Path() + "." + fn.Name()
}

// collectsKeys is the slice, as an expression's text, that the loop appends its key to and to which
// it does nothing else; "" when the loop is not of that shape.
func collectsKeys(info *types.Info, loop *ast.RangeStmt) string {
	key, ok := loop.Key.(*ast.Ident)
	if !ok || loop.Value != nil || loop.Tok != token.DEFINE || len(loop.Body.List) != 1 {
		return ""
	}
	assign, ok := loop.Body.List[0].(*ast.AssignStmt)
	if !ok || assign.Tok != token.ASSIGN || len(assign.Lhs) != 1 || len(assign.Rhs) != 1 {
		return ""
	}
	call, ok := assign.Rhs[0].(*ast.CallExpr)
	if !ok || len(call.Args) != 2 || call.Ellipsis.IsValid() {
		return ""
	}
	if b, ok := typeutil.Callee(info, call).(*types.Builtin); !ok || b.Name() != "append" {
		return ""
	}
	arg, ok := call.Args[1].(*ast.Ident)
	if !ok || info.Uses[arg] != info.Defs[key] {
		return ""
	}
	into := types.ExprString(assign.Lhs[0])
	if into != types.ExprString(call.Args[0]) {
		return ""
	}
	return into
}

// sortsWhat is what stmt sorts, as an expression's text; "" when it does not sort.
func sortsWhat(info *types.Info, stmt ast.Stmt) string {
	es, ok := stmt.(*ast.ExprStmt)
	if !ok {
		return ""
	}
	call, ok := es.X.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return ""
	}
	if name := stdFunc(info, call); name != "slices.Sort" && name != "slices.SortFunc" {
		return ""
	}
	return types.ExprString(call.Args[0])
}
