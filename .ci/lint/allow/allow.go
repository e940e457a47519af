// Package allow reads the directives by which source code excuses one finding of an analyzer.
//
// A directive is a line comment that names the analyzer, the word allow, and why:
//
//	for id := range open { //determ:allow only counts, and addition commutes
//
// It excuses its own line or, alone on a line, the next one. Above the package clause it excuses the
// whole file, where the analyzer permits that. A directive without a reason excuses nothing and is a
// finding; so is one that no longer excuses anything, for it hides the next mistake on its line.
package allow

import (
	"go/ast"
	"go/token"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Set holds the directives of one file.
type Set struct {
	name  string
	lines map[int]*directive // by the line it excuses
	whole *directive         // nil when the file has none
	bad   []analysis.Diagnostic
}

type directive struct {
	pos  token.Pos
	used bool
}

// Parse reads the directives `//name:allow reason` of file. wholeFile says whether one above the
// package clause is permitted.
func Parse(fset *token.FileSet, file *ast.File, name string, wholeFile bool) *Set {
	s := &Set{name: name, lines: map[int]*directive{}}
	code := codeLines(fset, file)
	for _, group := range file.Comments {
		for _, c := range group.List {
			text, ok := strings.CutPrefix(c.Text, "//"+name+":")
			if !ok {
				continue
			}
			verb, reason, _ := strings.Cut(text, " ")
			reason, _, _ = strings.Cut(reason, "//") // a comment on the directive is no reason
			switch {
			case verb != "allow":
				s.refuse(c, "unknown directive //%s:%s; the only one is //%s:allow <reason>", name, verb, name)
				continue
			case strings.TrimSpace(reason) == "":
				s.refuse(c, "//%s:allow needs a reason on the same line", name)
				continue
			}
			d := &directive{pos: c.Pos()}
			line := fset.Position(c.Pos()).Line
			switch {
			case c.Pos() < file.Package && wholeFile:
				s.whole = d
			case c.Pos() < file.Package:
				s.refuse(c, "//%s:allow for a whole file is not permitted here; excuse single lines", name)
			case code[line]:
				s.lines[line] = d
			default:
				s.lines[line+1] = d
			}
		}
	}
	return s
}

func (s *Set) refuse(c *ast.Comment, format string, args ...any) {
	for _, a := range args {
		format = strings.Replace(format, "%s", a.(string), 1)
	}
	s.bad = append(s.bad, analysis.Diagnostic{Pos: c.Pos(), End: c.End(), Message: format})
}

// Excuses reports whether a finding at pos is excused, and remembers that the directive was needed.
func (s *Set) Excuses(fset *token.FileSet, pos token.Pos) bool {
	if d := s.lines[fset.Position(pos).Line]; d != nil {
		d.used = true
		return true
	}
	if s.whole != nil {
		s.whole.used = true
		return true
	}
	return false
}

// Report tells pass of malformed directives and of those that excused nothing. Call it after every
// finding of the file was offered to Excuses.
func (s *Set) Report(pass *analysis.Pass) {
	for _, d := range s.bad {
		pass.Report(d)
	}
	stale := func(d *directive) {
		if d != nil && !d.used {
			pass.Reportf(d.pos, "//%s:allow excuses nothing here; remove it", s.name)
		}
	}
	stale(s.whole)
	for _, d := range s.lines {
		stale(d)
	}
}

// codeLines is the set of lines on which a token of code, not of a comment, begins or ends.
func codeLines(fset *token.FileSet, file *ast.File) map[int]bool {
	lines := map[int]bool{fset.Position(file.Package).Line: true}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n.(type) {
		case nil, *ast.File, *ast.Comment, *ast.CommentGroup:
			return true
		}
		lines[fset.Position(n.Pos()).Line] = true
		lines[fset.Position(n.End()-1).Line] = true
		return true
	})
	return lines
}
