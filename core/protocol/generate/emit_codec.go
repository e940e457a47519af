package main

import (
	"fmt"
	"slices"
	"strings"
)

func (e *emitter) decode(s *structure, top bool) {
	b := e.body
	body := e.emitted(func() {
		for _, f := range s.fields {
			if f.tag < 0 {
				e.guarded(f, s, func() { e.decodeField(f) }, func() { e.setDefault(f) })
			}
		}
		e.decodeTags(s)
	})
	if top {
		e.p("// Decode reads %s from r.", s.goName)
		e.p("func (x *%s) Decode(r *Reader, v int16) {", s.goName)
		e.p("\tif !r.begin(v, %d, %d, %s) {\n\t\treturn\n\t}", b.versions.from, b.versions.to, flexibleFrom(b))
		e.p("%s}\n", body)
		return
	}
	e.p("func (%s*%s) decode(%s *Reader, %s int16) {\n%s}\n", receiver(body), s.goName, parameter("r", body), parameter("v", body), body)
}

// guarded writes then, under the condition that the version has the field, and otherwise under its opposite.
func (e *emitter) guarded(f *field, s *structure, then, otherwise func()) {
	condition := when(f.versions, s.versions)
	if condition == "true" {
		then()
		return
	}
	e.p("\tif %s {", condition)
	then()
	if text := strings.TrimSpace(e.emitted(otherwise)); strings.HasPrefix(text, "if ") {
		e.p("\t} else %s", text)
	} else if text != "" {
		e.p("\t} else {\n\t\t%s\n\t}", text)
	} else {
		e.p("\t}")
	}
}

func (e *emitter) decodeTags(s *structure) {
	if !e.body.flexible.overlaps(s.versions) {
		return
	}
	tagged := s.tagged()
	if len(tagged) == 0 {
		e.p("\tr.skipTags()")
		return
	}
	for _, f := range tagged {
		e.setDefault(f)
	}
	if !e.body.flexible.covers(s.versions) {
		e.p("\tif !r.flexible {\n\t\treturn\n\t}")
	}
	e.p("\tfor n := r.tagCount(); n > 0 && r.reason == nil; n-- {")
	e.p("\t\ttag, after := r.beginTag()")
	e.p("\t\tswitch {")
	for _, f := range tagged {
		if condition := when(f.versions, s.versions.and(e.body.flexible)); condition == "true" {
			e.p("\t\tcase tag == %d:", f.tag)
		} else {
			e.p("\t\tcase tag == %d && %s:", f.tag, condition)
		}
		e.decodeField(f)
	}
	e.p("\t\tdefault:\n\t\t\tr.skip()\n\t\t}")
	e.p("\t\tr.endTag(after)\n\t}")
}

func (e *emitter) decodeField(f *field) {
	x := "x." + f.goName
	null := "false"
	if f.nullableEver() {
		null = when(f.nullable, f.versions)
	}
	switch {
	case f.array && f.kind == "struct":
		e.p("\t%s = array(r, %s, %s, %s, %d)", x, x, null, e.bytesMin(f), structAlloc(f.structure))
		e.p("\tfor i := 0; i < len(%s) && r.reason == nil; i++ {\n\t\t%s[i].decode(r, v)\n\t}", x, x)
	case f.array:
		e.p("\t%s = r.%ss(%s, %s)", x, f.kind, x, null)
	case f.pointer():
		e.p("\tif !r.present(%s, %d) {\n\t\t%s = nil\n\t} else {", null, structAlloc(f.structure), x)
		e.p("\t\tif %s == nil {\n\t\t\t%s = new(%s)\n\t\t}", x, x, f.structure.goName)
		e.p("\t\t%s.decode(r, v)\n\t}", x)
	case f.kind == "struct":
		e.p("\t%s.decode(r, v)", x)
	case f.kind == "string":
		if f.inflexible {
			e.p("\tr.flexible = false")
		}
		if f.nullableEver() {
			e.p("\tr.nullString(&%s, %s)", x, null)
		} else {
			e.p("\tr.string(&%s)", x)
		}
		if f.inflexible {
			e.p("\tr.flexible = v >= %s", flexibleFrom(e.body))
		}
	case f.kind == "bytes":
		e.p("\t%s = r.bytes(%s)", x, null)
	case f.kind == "records":
		e.p("\tr.records(&%s, %s)", x, null)
	default:
		e.p("\t%s = r.%s()", x, f.kind)
	}
}

func structAlloc(s *structure) int {
	size, _ := structLayout(s)
	return size
}

// bytesMin is the least that an element of f takes: a number, or a string of one byte a version, indexed.
func (e *emitter) bytesMin(f *field) string {
	b := e.body
	all := make([]byte, 0, b.versions.to-b.versions.from+1)
	seen := map[byte]bool{}
	for v := b.versions.from; v <= b.versions.to; v++ {
		n := byte(1)
		if f.versions.has(v) {
			n = byte(min(structBytesMin(b, f.structure, v), 255))
			seen[n] = true
		}
		all = append(all, n)
	}
	if len(seen) == 1 {
		for n := range seen {
			return fmt.Sprint(n)
		}
	}
	var text strings.Builder
	for _, n := range all {
		fmt.Fprintf(&text, `\x%02x`, n)
	}
	if b.versions.from == 0 {
		return fmt.Sprintf(`int("%s"[v])`, text.String())
	}
	return fmt.Sprintf(`int("%s"[v-%d])`, text.String(), b.versions.from)
}

func (e *emitter) encode(s *structure, top bool) {
	b := e.body
	body := e.emitted(func() {
		for _, f := range s.fields {
			if f.tag < 0 {
				e.guarded(f, s, func() { e.encodeField(s, f) }, func() { e.refuse(s, f) })
			}
		}
		e.encodeTags(s)
	})
	if top {
		e.p("// Encode appends %s to w.", s.goName)
		e.p("func (x *%s) Encode(w *Writer, v int16) {", s.goName)
		e.p("\tif !w.begin(%q, v, %d, %d, %s) {\n\t\treturn\n\t}", s.name, b.versions.from, b.versions.to, flexibleFrom(b))
		e.p("%s}\n", body)
		return
	}
	e.p("func (%s*%s) encode(%s *Writer, %s int16) {\n%s}\n", receiver(body), s.goName, parameter("w", body), parameter("v", body), body)
}

// refuse writes the check that a field which the version lacks may be dropped.
func (e *emitter) refuse(s *structure, f *field) {
	if !f.ignorable {
		e.p("\tif %s {\n\t\tw.unsupported(%q)\n\t}", differs(f, true), fieldPath(s, f))
	}
}

func fieldPath(s *structure, f *field) string { return s.goName + "." + f.goName }

func (e *emitter) encodeTags(s *structure) {
	if !e.body.flexible.overlaps(s.versions) {
		return
	}
	tagged := s.tagged()
	if len(tagged) == 0 {
		e.p("\tw.noTags()")
		return
	}
	for _, f := range tagged {
		if f.versions != s.versions && !f.ignorable {
			e.p("\tif %s && %s {\n\t\tw.unsupported(%q)\n\t}", unless(f.versions, s.versions), operand(differs(f, true)), fieldPath(s, f))
		}
	}
	if !e.body.flexible.covers(s.versions) {
		e.p("\tif !w.flexible {\n\t\treturn\n\t}")
	}
	slices.SortFunc(tagged, func(a, b *field) int { return a.tag - b.tag })
	var present []string
	for _, f := range tagged {
		name := fmt.Sprintf("has%d", f.tag)
		present = append(present, name)
		if condition := when(f.versions, s.versions.and(e.body.flexible)); condition == "true" {
			e.p("\t%s := %s", name, differs(f, false))
		} else {
			e.p("\t%s := %s && %s", name, condition, operand(differs(f, false)))
		}
	}
	e.p("\tw.tagCount(%s)", strings.Join(present, ", "))
	for _, f := range tagged {
		e.p("\tif has%d {\n\t\tat := w.beginTag(%d)", f.tag, f.tag)
		e.encodeField(s, f)
		e.p("\t\tw.endTag(at)\n\t}")
	}
}

func (e *emitter) encodeField(s *structure, f *field) {
	x := "x." + f.goName
	null := "false"
	if f.nullableEver() {
		null = when(f.nullable, f.versions)
	}
	switch {
	case f.array:
		if f.nullableEver() {
			e.p("\tw.nullableArrayLen(len(%s), %s == nil, %s, %q)", x, x, null, fieldPath(s, f))
		} else {
			e.p("\tw.arrayLen(len(%s))", x)
		}
		if f.kind == "struct" {
			e.p("\tfor i := range %s {\n\t\t%s[i].encode(w, v)\n\t}", x, x)
		} else {
			e.p("\tw.%ss(%s)", f.kind, x)
		}
	case f.pointer():
		e.p("\tif w.present(%s != nil, %s, %q) {\n\t\t%s.encode(w, v)\n\t}", x, null, fieldPath(s, f), x)
	case f.kind == "struct":
		e.p("\t%s.encode(w, v)", x)
	case f.kind == "string":
		if f.inflexible {
			e.p("\tw.flexible = false")
		}
		if f.nullableEver() {
			e.p("\tw.nullString(%s, %s, %q)", x, null, fieldPath(s, f))
		} else {
			e.p("\tw.string(%s)", x)
		}
		if f.inflexible {
			e.p("\tw.flexible = v >= %s", flexibleFrom(e.body))
		}
	case f.kind == "bytes" && f.nullableEver():
		e.p("\tw.nullBytes(%s, %s, %q)", x, null, fieldPath(s, f))
	case f.kind == "bytes":
		e.p("\tw.bytes(%s)", x)
	case f.kind == "records":
		e.p("\tw.records(&%s, %s, %q)", x, null, fieldPath(s, f))
	default:
		e.p("\tw.%s(%s)", f.kind, x)
	}
}
