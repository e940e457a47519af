// Package imports checks who imports whom against a policy that reads as documentation.
//
// The policy is a text file, .ci/imports.txt. Its statements, one a line (an indented line continues
// the one before; # starts a comment):
//
//	ours core sim node                 the module's top-level directories; there are no others
//	let pure = bytes errors time{Duration}    a name for a list, used as $pure
//	core/log <- $pure core/model       packages of core/log may import these and nothing else
//	core/... <- ...                    a subtree; the most specific line that matches a package rules it
//	test core/log <- pgregory.net/rapid       what test files may import besides
//
// An item on the right is a path, a subtree path/..., `std` for the whole standard library, or `any`.
// A leading ! takes a path or subtree back out. path{A,B} permits only those names of the package.
// A path is ours when it begins with one of the top-level directories, third-party when its first
// element holds a dot, and the standard library's otherwise.
//
// A package without a line is an error, and so is a line without a package: the policy describes what
// is there. Every file counts, whatever its build constraints. A package's tests may import what the
// package may, itself, and what the test lines that match it add up to.
package imports

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Policy is a parsed policy file.
type Policy struct {
	ours  []string
	rules []*rule
	tests []*rule
}

// rule is one statement with an arrow.
type rule struct {
	line    int
	pattern string
	items   []item
	matched bool
}

// item is one permission, or with deny its opposite.
type item struct {
	pattern string
	deny    bool
	names   []string // when not empty, the only names that may be used
}

// Parse reads a policy.
func Parse(text string) (*Policy, error) {
	p := &Policy{}
	lists := map[string][]string{}
	used := map[string]bool{}
	statements, numbers := statements(text)
	for i, fields := range statements {
		line := numbers[i]
		switch {
		case fields[0] == "ours":
			p.ours = append(p.ours, fields[1:]...)
		case fields[0] == "let":
			if len(fields) < 4 || fields[2] != "=" {
				return nil, fmt.Errorf("line %d: want let NAME = ITEM, one or more", line)
			}
			list, err := expand(fields[3:], lists, used)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			lists[fields[1]] = list
		default:
			into := &p.rules
			if fields[0] == "test" {
				into, fields = &p.tests, fields[1:]
			}
			if len(fields) < 3 || fields[1] != "<-" {
				return nil, fmt.Errorf("line %d: want PACKAGE <- ITEM, one or more", line)
			}
			list, err := expand(fields[2:], lists, used)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			r := &rule{line: line, pattern: fields[0]}
			if !p.isOurs(r.pattern) {
				return nil, fmt.Errorf("line %d: %s is under none of our directories (%s)", line, r.pattern, strings.Join(p.ours, " "))
			}
			for _, s := range list {
				it, err := parseItem(s)
				if err != nil {
					return nil, fmt.Errorf("line %d: %w", line, err)
				}
				r.items = append(r.items, it)
			}
			for _, other := range *into {
				if other.pattern == r.pattern && into == &p.rules {
					return nil, fmt.Errorf("line %d: %s has a line already, %d", line, r.pattern, other.line)
				}
			}
			*into = append(*into, r)
		}
	}
	for name := range lists {
		if !used[name] {
			return nil, fmt.Errorf("let %s is never used", name)
		}
	}
	return p, nil
}

// statements splits text into the fields of each statement, and the line each began on.
func statements(text string) (out [][]string, numbers []int) {
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if (line[0] == ' ' || line[0] == '\t') && len(out) > 0 {
			out[len(out)-1] = append(out[len(out)-1], fields...)
			continue
		}
		out = append(out, fields)
		numbers = append(numbers, i+1)
	}
	return out, numbers
}

func expand(fields []string, lists map[string][]string, used map[string]bool) ([]string, error) {
	var out []string
	for _, f := range fields {
		name, isList := strings.CutPrefix(f, "$")
		if !isList {
			out = append(out, f)
			continue
		}
		list, ok := lists[name]
		if !ok {
			return nil, fmt.Errorf("%s is not defined above", f)
		}
		used[name] = true
		out = append(out, list...)
	}
	return out, nil
}

func parseItem(s string) (item, error) {
	rest, deny := strings.CutPrefix(s, "!")
	it := item{pattern: rest, deny: deny}
	if before, names, ok := strings.Cut(rest, "{"); ok {
		list, closed := strings.CutSuffix(names, "}")
		if !closed || list == "" || deny || strings.HasSuffix(before, "...") {
			return item{}, fmt.Errorf("%s: want path{Name,Name}", s)
		}
		it.pattern, it.names = before, strings.Split(list, ",")
	}
	if it.pattern == "" || strings.ContainsAny(it.pattern, "{},!") {
		return item{}, fmt.Errorf("%q is no item", s)
	}
	return it, nil
}

func (p *Policy) isOurs(pattern string) bool {
	top, _, _ := strings.Cut(pattern, "/")
	return slices.Contains(p.ours, top)
}

// matches reports whether pattern covers pkg; both are as written in the policy.
func matches(pattern, pkg string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
	}
	return pattern == pkg
}

// ruleFor is the most specific rule for pkg, nil when there is none.
func (p *Policy) ruleFor(pkg string) *rule {
	var best *rule
	for _, r := range p.rules {
		if matches(r.pattern, pkg) && (best == nil || specificity(r.pattern) > specificity(best.pattern)) {
			best = r
		}
	}
	return best
}

func specificity(pattern string) int {
	prefix, subtree := strings.CutSuffix(pattern, "/...")
	if subtree {
		return 2 * len(path.Clean(prefix))
	}
	return 2*len(path.Clean(prefix)) + 1
}

// permits reports whether items let a package of ours import target, and which of its names when only
// some are permitted.
func (p *Policy) permits(items []item, target string) (ok bool, names []string) {
	std := !p.isOurs(target) && !strings.Contains(strings.SplitN(target, "/", 2)[0], ".")
	for _, it := range items {
		if it.deny && matches(it.pattern, target) {
			return false, nil
		}
	}
	for _, it := range items {
		if it.deny {
			continue
		}
		if it.pattern == "any" || it.pattern == "std" && std || matches(it.pattern, target) {
			if len(it.names) == 0 {
				return true, nil
			}
			ok, names = true, append(names, it.names...)
		}
	}
	return ok, names
}
