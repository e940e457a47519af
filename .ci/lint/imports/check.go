package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Import is one import declaration of a package.
type Import struct {
	Path string   // as the policy writes it: ours without the module's path
	At   string   // file:line
	Test bool     // in a test file
	Used []string // the names of the imported package that the file uses
}

// Package is one package and what its files import.
type Package struct {
	Path    string // without the module's path
	Imports []Import
}

// Check returns what in packages breaks the policy, in order of place.
func (p *Policy) Check(packages []Package) []string {
	var found []string
	for _, pkg := range packages {
		r := p.ruleFor(pkg.Path)
		if r == nil {
			found = append(found, pkg.Path+": the package has no line in the policy; decide what it may import")
			continue
		}
		r.matched = true
		inTests := append([]item{{pattern: pkg.Path}}, r.items...)
		for _, t := range p.tests {
			if matches(t.pattern, pkg.Path) {
				t.matched = true
				inTests = append(inTests, t.items...)
			}
		}
		for _, imp := range pkg.Imports {
			items := r.items
			if imp.Test {
				items = inTests
			}
			if why := p.refuses(items, imp); why != "" {
				found = append(found, fmt.Sprintf("%s: %s %s (policy line %d: %s)", imp.At, pkg.Path, why, r.line, r.pattern))
			}
		}
	}
	for _, r := range slices.Concat(p.rules, p.tests) {
		if !r.matched {
			found = append(found, fmt.Sprintf("policy line %d: %s names no package that exists", r.line, r.pattern))
		}
	}
	sort.Strings(found)
	return found
}

// refuses says what is wrong with an import; "" when nothing is.
func (p *Policy) refuses(items []item, imp Import) string {
	who := "may not import "
	if imp.Test {
		who = "may not import in tests "
	}
	ok, names := p.permits(items, imp.Path)
	if !ok {
		return who + imp.Path
	}
	if names == nil {
		return ""
	}
	for _, used := range imp.Used {
		if !slices.Contains(names, used) {
			return fmt.Sprintf("%s%s.%s, only %s", who, imp.Path, used, strings.Join(names, ", "))
		}
	}
	return ""
}

// Load lists the packages of the module in dir and reads the imports of every file in them.
func Load(dir string) ([]Package, error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Error,Module,GoFiles,CgoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var packages []Package
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var l struct {
			ImportPath, Dir string
			Error           *struct{ Err string }
			Module          *struct{ Path, Dir string }

			GoFiles, CgoFiles, IgnoredGoFiles, TestGoFiles, XTestGoFiles []string
		}
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if l.Module == nil {
			return nil, fmt.Errorf("%s is in no module", l.ImportPath)
		}
		if l.Error != nil && !strings.Contains(l.Error.Err, "build constraints exclude all Go files") {
			return nil, fmt.Errorf("%s: %s", l.ImportPath, l.Error.Err)
		}
		pkg := Package{Path: strings.TrimPrefix(l.ImportPath, l.Module.Path+"/")}
		for _, name := range slices.Concat(l.GoFiles, l.CgoFiles, l.IgnoredGoFiles, l.TestGoFiles, l.XTestGoFiles) {
			rel, err := filepath.Rel(l.Module.Dir, l.Dir)
			if err != nil {
				return nil, err
			}
			imps, err := fileImports(filepath.Join(l.Dir, name), path.Join(filepath.ToSlash(rel), name), l.Module.Path)
			if err != nil {
				return nil, err
			}
			pkg.Imports = append(pkg.Imports, imps...)
		}
		packages = append(packages, pkg)
	}
	if len(packages) == 0 {
		return nil, errors.New("go list found no package")
	}
	return packages, nil
}

// fileImports reads the imports of one file, which it calls show.
func fileImports(file, show, module string) ([]Import, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	used := map[string][]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok {
				used[id.Name] = append(used[id.Name], sel.Sel.Name)
			}
		}
		return true
	})
	var out []Import
	for _, spec := range f.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		local := path.Base(target)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		names := used[local]
		if local == "." {
			names = []string{"(all of it, by a dot import)"}
		}
		out = append(out, Import{
			Path: strings.TrimPrefix(target, module+"/"),
			At:   fmt.Sprintf("%s:%d", show, fset.Position(spec.Pos()).Line),
			Test: strings.HasSuffix(file, "_test.go"),
			Used: names,
		})
	}
	return out, nil
}
