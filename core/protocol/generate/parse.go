package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// parser reads one schema file, line by line.
type parser struct {
	file  string
	lines []line
	next  int
	out   *schema
	body  *body
}

type line struct {
	number int
	indent int // in steps of two blanks
	words  []string
}

func (p *parser) errorf(number int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.file, number, fmt.Sprintf(format, args...))
}

// parse reads a schema file and resolves and checks everything that concerns it alone.
func parse(file, content string) (*schema, error) {
	p := &parser{file: file, out: &schema{file: file, key: -1}}
	for i, text := range strings.Split(content, "\n") {
		text, _, _ = strings.Cut(text, "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		blanks := len(text) - len(strings.TrimLeft(text, " "))
		if blanks%2 != 0 || text[blanks] == '\t' {
			return nil, p.errorf(i+1, "indentation is by two blanks")
		}
		p.lines = append(p.lines, line{i + 1, blanks / 2, words})
	}
	for p.next < len(p.lines) {
		if err := p.topLevel(p.lines[p.next]); err != nil {
			return nil, err
		}
	}
	if p.out.key >= 0 && !p.out.retired {
		if len(p.out.bodies) != 2 || p.out.bodies[0].kind != "request" || p.out.bodies[1].kind != "response" {
			return nil, p.errorf(1, "a key has one request, then one response, or is retired")
		}
		if q, s := p.out.bodies[0], p.out.bodies[1]; q.versions != s.versions || q.unstable != s.unstable || q.flexible != s.flexible {
			return nil, p.errorf(s.line, "request and response differ in their versions")
		}
	}
	return p.out, nil
}

func (p *parser) topLevel(l line) error {
	p.next++
	w := l.words
	switch {
	case l.indent != 0:
		return p.errorf(l.number, "indented, but nothing above it can hold it")
	case w[0] == "key":
		if len(w) != 3 || p.out.key >= 0 || len(p.out.bodies) != 0 {
			return p.errorf(l.number, "want one line \"key NUMBER NAME\" at the top")
		}
		n, err := strconv.ParseUint(w[1], 10, 15)
		if err != nil {
			return p.errorf(l.number, "%q is no API key", w[1])
		}
		p.out.key, p.out.keyName = int(n), w[2]
		return nil
	case w[0] == "retired":
		if len(w) != 1 || p.out.key < 0 || len(p.out.bodies) != 0 || p.next != len(p.lines) {
			return p.errorf(l.number, "\"retired\" stands alone after a key")
		}
		p.out.retired = true
		return nil
	}
	b := &body{line: l.number, kind: w[0], id: -1}
	var name string
	w = w[1:]
	switch {
	case b.kind == "request" || b.kind == "response":
		if p.out.key < 0 {
			return p.errorf(l.number, "%s without a key line above", b.kind)
		}
		b.id = p.out.key
		name = p.out.keyName + strings.ToUpper(b.kind[:1]) + b.kind[1:]
	case b.kind == "header" || b.kind == "data":
		if len(w) == 0 {
			return p.errorf(l.number, "want %q", b.kind+" NAME VERSIONS")
		}
		name, w = w[0], w[1:]
	case isFamily(b.kind):
		if len(w) < 2 {
			return p.errorf(l.number, "want %q", b.kind+" TYPE NAME VERSIONS")
		}
		n, err := strconv.ParseUint(w[0], 10, 15)
		if err != nil {
			return p.errorf(l.number, "%q is no record type", w[0])
		}
		b.id, name, w = int(n), w[1], w[2:]
	default:
		return p.errorf(l.number, "%q begins nothing that the notation has", b.kind)
	}
	if err := p.bodyVersions(b, l, w); err != nil {
		return err
	}
	p.body = b
	p.out.bodies = append(p.out.bodies, b)
	b.top = &structure{line: l.number, name: name, goName: goName(name), versions: b.versions}
	if err := p.fields(b.top, 1); err != nil {
		return err
	}
	return p.finishBody(b)
}

// bodyVersions reads "VERSIONS [flexible VERSIONS] [unstable N]".
func (p *parser) bodyVersions(b *body, l line, w []string) (err error) {
	if len(w) == 0 {
		return p.errorf(l.number, "versions are missing")
	}
	if b.versions, err = parseVersions(w[0]); err != nil || b.versions.to == versionInf {
		return p.errorf(l.number, "%q is no closed version range", w[0])
	}
	b.flexible, b.unstable = noVersions, b.versions.to+1
	for w = w[1:]; len(w) >= 2; w = w[2:] {
		v, err := parseVersions(w[1])
		switch {
		case err != nil:
			return p.errorf(l.number, "%v", err)
		case w[0] == "flexible" && v.to == versionInf && b.versions.has(v.from):
			b.flexible = v
		case w[0] == "unstable" && v.from == v.to && v.from > b.versions.from && b.versions.has(v.from):
			b.unstable = v.from
		default:
			return p.errorf(l.number, "%q makes no sense here", w[0]+" "+w[1])
		}
	}
	if len(w) != 0 {
		return p.errorf(l.number, "%q makes no sense here", w[0])
	}
	return nil
}

// fields reads the lines at the given indentation into s, and what is nested below them.
func (p *parser) fields(s *structure, indent int) error {
	for p.next < len(p.lines) && p.lines[p.next].indent >= indent {
		l := p.lines[p.next]
		if l.indent > indent {
			return p.errorf(l.number, "indented too far, or below a field that is no struct")
		}
		p.next++
		if l.words[0] == "struct" {
			if indent != 1 || len(l.words) < 2 || len(l.words) > 3 {
				return p.errorf(l.number, "want \"struct NAME [VERSIONS]\" at the level of a body's fields")
			}
			v := s.versions
			if len(l.words) == 3 {
				own, err := parseVersions(l.words[2])
				if err != nil || !own.overlaps(v) {
					return p.errorf(l.number, "%q is no version range of %s", l.words[2], s.name)
				}
				v = own.and(v)
			}
			if err := p.structure(l, l.words[1], v); err != nil {
				return err
			}
			continue
		}
		f, err := p.field(s, l)
		if err != nil {
			return err
		}
		s.fields = append(s.fields, f)
		if p.next < len(p.lines) && p.lines[p.next].indent > indent {
			if f.structName == "" {
				return p.errorf(p.lines[p.next].number, "%s is no struct and has no fields", f.name)
			}
			if err := p.structure(l, f.structName, f.versions); err != nil {
				return err
			}
		}
	}
	return nil
}

// structure reads the fields of a struct that line l introduces.
func (p *parser) structure(l line, name string, v versions) error {
	for _, o := range p.body.structs {
		if o.name == name {
			return p.errorf(l.number, "struct %s is already introduced at line %d", name, o.line)
		}
	}
	s := &structure{line: l.number, name: name, goName: p.body.top.goName + goName(name), versions: v}
	p.body.structs = append(p.body.structs, s)
	return p.fields(s, l.indent+1)
}

func (p *parser) field(s *structure, l line) (*field, error) {
	w := l.words
	if len(w) < 2 || !isUpper(w[0]) {
		return nil, p.errorf(l.number, "want \"Name type ...\"")
	}
	f := &field{line: l.number, name: w[0], goName: goName(w[0]), versions: s.versions, nullable: noVersions, tag: -1}
	kind, array := strings.CutPrefix(w[1], "[]")
	f.array = array
	switch {
	case isUpper(kind):
		f.kind, f.structName = "struct", kind
	case !array && slices.Contains(primitives, kind), array && slices.Contains(arrayable, kind):
		f.kind = kind
	default:
		return nil, p.errorf(l.number, "%q is no type", w[1])
	}
	w = w[2:]
	// take removes a version range from the front of w.
	take := func(within versions) (versions, error) {
		if len(w) == 0 || !isVersions(w[0]) {
			return within, nil
		}
		v, err := parseVersions(w[0])
		if err != nil {
			return v, p.errorf(l.number, "%v", err)
		}
		if v.to == versionInf {
			v.to = within.to
		}
		if v.empty() || !within.covers(v) {
			return v, p.errorf(l.number, "versions %s are not within %s", w[0], within)
		}
		w = w[1:]
		return v, nil
	}
	var err error
	if f.versions, err = take(s.versions); err != nil {
		return nil, err
	}
	for len(w) > 0 {
		word := w[0]
		w = w[1:]
		switch {
		case word == "null":
			if f.nullable, err = take(f.versions); err != nil {
				return nil, err
			}
		case word == "tag" && len(w) > 0:
			n, err := strconv.ParseUint(w[0], 10, 15)
			if err != nil {
				return nil, p.errorf(l.number, "%q is no tag", w[0])
			}
			f.tag, w = int(n), w[1:]
		case word == "=" && len(w) > 0:
			f.def, w = w[0], w[1:]
		case word == "ignorable":
			f.ignorable = true
		case word == "inflexible":
			f.inflexible = true
		default:
			return nil, p.errorf(l.number, "%q makes no sense here", word)
		}
	}
	return f, p.checkField(s, f)
}

func (p *parser) checkField(s *structure, f *field) error {
	for _, o := range s.fields {
		if o.goName == f.goName {
			return p.errorf(f.line, "%s stands already at line %d", f.name, o.line)
		}
		if f.tag >= 0 && o.tag == f.tag {
			return p.errorf(f.line, "tag %d is already that of %s", f.tag, o.name)
		}
	}
	if f.nullableEver() && !f.array && f.kind != "struct" && !slices.Contains(nullables, f.kind) {
		return p.errorf(f.line, "%s cannot be null", f.kind)
	}
	if f.tag >= 0 && !p.body.flexible.covers(f.versions) {
		return p.errorf(f.line, "tagged in versions %s, flexible only in %s", f.versions, p.body.flexible)
	}
	if f.tag >= 0 && f.kind == "records" {
		return p.errorf(f.line, "records cannot be tagged: they are spliced into the frame")
	}
	if f.inflexible && f.kind != "string" {
		return p.errorf(f.line, "only a string can be inflexible")
	}
	switch {
	case f.def == "":
		if f.pointer() {
			return p.errorf(f.line, "a nullable struct needs \"= null\"")
		}
	case f.def == "null":
		if !f.nullableEver() {
			return p.errorf(f.line, "null is the default of a field that cannot be null")
		}
	case f.array || f.kind == "struct" || f.kind == "bytes" || f.kind == "records" || f.kind == "uuid":
		return p.errorf(f.line, "%s can have no default but null", f.kind)
	case f.kind == "bool":
		if f.def != "true" {
			return p.errorf(f.line, "%q is no default of a bool, or the zero that needs no saying", f.def)
		}
	case f.kind == "string":
		return p.errorf(f.line, "a string can have no default but null")
	default:
		if n, err := strconv.ParseInt(f.def, 10, 64); err != nil || n == 0 {
			return p.errorf(f.line, "%q is no default of %s, or the zero that needs no saying", f.def, f.kind)
		}
	}
	return nil
}

// finishBody resolves the names of structs.
func (p *parser) finishBody(b *body) error {
	all := append([]*structure{b.top}, b.structs...)
	for _, s := range all {
		for _, f := range s.fields {
			if f.structName == "" {
				continue
			}
			for _, o := range b.structs {
				if o.name == f.structName {
					f.structure = o
				}
			}
			switch {
			case f.structure == nil:
				return p.errorf(f.line, "no struct %s in this body", f.structName)
			case !f.structure.versions.covers(f.versions):
				return p.errorf(f.line, "struct %s exists in versions %s, %s needs it in %s", f.structName, f.structure.versions, f.name, f.versions)
			}
			if f.pointer() {
				f.structure.isPointee = true
			} else if !f.array {
				f.structure.isValue = true
			}
		}
	}
	for _, s := range b.structs {
		for _, f := range s.fields {
			if f.structure != nil && reaches(f.structure, s, 0) {
				return p.errorf(f.line, "%s contains itself", s.name)
			}
		}
	}
	for _, s := range all {
		for _, f := range s.fields {
			if !f.array || f.structure == nil {
				continue
			}
			// An element of no bytes would make the bytes left no bound on the count.
			for v := f.versions.from; v <= f.versions.to; v++ {
				if structBytesMin(b, f.structure, v) == 0 {
					return p.errorf(f.line, "an element of %s takes no bytes in version %d", f.name, v)
				}
			}
		}
	}
	return nil
}

// reaches reports whether from holds target, directly or not.
func reaches(from, target *structure, depth int) bool {
	if from == target || depth > 64 {
		return true
	}
	for _, f := range from.fields {
		if f.structure != nil && reaches(f.structure, target, depth+1) {
			return true
		}
	}
	return false
}

func isUpper(word string) bool { return word != "" && word[0] >= 'A' && word[0] <= 'Z' }
