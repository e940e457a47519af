package main

import (
	"fmt"
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
	own, _ := slices.BinarySearchFunc(keys, firstOwnKey, func(s *schema, key int) int { return s.key - key })
	e.p("// KeyCount is one more than the greatest of Kafka's keys.")
	e.p("const KeyCount = %d\n", keys[own-1].key+1)
	e.p("// FirstOwnKey is the first of the keys that are not Kafka's, which nodes of a cluster use among themselves, and")
	e.p("// OwnKeyCount how many there are, without a gap.")
	e.p("const (\n\tFirstOwnKey = %d\n\tOwnKeyCount = %d\n)\n", firstOwnKey, len(keys)-own)
	e.p("var keyInfos = [KeyCount]keyInfo{")
	for _, s := range keys[:own] {
		e.p("\tKey%s: %s,", goName(s.keyName), keyInfo(s))
	}
	e.p("}\n")
	e.p("var ownKeyInfos = [OwnKeyCount]keyInfo{")
	for _, s := range keys[own:] {
		e.p("\tKey%s - FirstOwnKey: %s,", goName(s.keyName), keyInfo(s))
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

// keyInfo is a key's row in the table of keys.
func keyInfo(s *schema) string {
	if s.retired {
		return fmt.Sprintf("{%q, 0, -1, -1, noFlexible}", s.keyName)
	}
	b := s.bodies[0]
	return fmt.Sprintf("{%q, %d, %d, %d, %s}", s.keyName, b.versions.from, b.unstable-1, b.versions.to, flexibleFrom(b))
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
