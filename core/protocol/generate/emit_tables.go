package main

import (
	"slices"
	"strconv"
)

// emitKeys writes the constants of all keys, what the schemas say about each, and their constructors.
func emitKeys(all []*schema) ([]byte, error) {
	var keys []*schema
	for _, s := range all {
		if s.key >= 0 {
			keys = append(keys, s)
		}
	}
	slices.SortFunc(keys, func(a, b *schema) int { return a.key - b.key })
	e := &emitter{}
	e.p(fileHead, "all of schema")
	e.p("// Every API key of the protocol. Retired ones have a name and no messages.")
	e.p("const (")
	for _, s := range keys {
		e.p("\tKey%s Key = %d", goName(s.keyName), s.key)
	}
	e.p(")\n")
	e.p("// KeyCount is one more than the greatest key.")
	e.p("const KeyCount = %d\n", keys[len(keys)-1].key+1)
	e.p("var keyInfos = [KeyCount]keyInfo{")
	for _, s := range keys {
		if s.retired {
			e.p("\tKey%s: {%q, 0, -1, -1, noFlexible},", goName(s.keyName), s.keyName)
			continue
		}
		b := s.bodies[0]
		flexible := flexibleFrom(b)
		e.p("\tKey%s: {%q, %d, %d, %d, %s},", goName(s.keyName), s.keyName, b.versions.from, b.unstable-1, b.versions.to, flexible)
	}
	e.p("}\n")
	for i, kind := range []string{"Request", "Response"} {
		e.p("// New%s makes an empty %s of key k, at its defaults; nil if the key is unknown or retired.", kind, []string{"request", "response"}[i])
		e.p("func New%s(k Key) Message {", kind)
		e.p("\tvar m Message\n\tswitch k {")
		for _, s := range keys {
			if !s.retired {
				e.p("\tcase Key%s:\n\t\tm = new(%s)", goName(s.keyName), s.bodies[i].top.goName)
			}
		}
		e.p("\tdefault:\n\t\treturn nil\n\t}\n\tm.Default()\n\treturn m\n}\n")
	}
	return e.source()
}

// emitRecords writes the constructors of the records of each log, by type.
func emitRecords(all []*schema) ([]byte, error) {
	e := &emitter{}
	e.p(fileHead, "all of schema")
	for _, family := range families {
		var records []*body
		for _, s := range all {
			for _, b := range s.bodies {
				if b.kind == family.kind {
					records = append(records, b)
				}
			}
		}
		if len(records) == 0 {
			continue
		}
		slices.SortFunc(records, func(a, b *body) int { return a.id - b.id })
		e.p("// The types of a %s.", family.doc)
		e.p("const (")
		for _, b := range records {
			e.p("\t%sType int16 = %d", b.top.goName, b.id)
		}
		e.p(")\n")
		e.p("// New%s makes an empty %s, at its defaults; nil if the type is unknown.", family.goName, family.doc)
		e.p("func New%s(recordType int16) Record {", family.goName)
		e.p("\tvar x Record\n\tswitch recordType {")
		for _, b := range records {
			e.p("\tcase %s:\n\t\tx = new(%s)", strconv.Itoa(b.id), b.top.goName)
		}
		e.p("\tdefault:\n\t\treturn nil\n\t}\n\tx.Default()\n\treturn x\n}\n")
	}
	return e.source()
}
