package main

import (
	"fmt"
	"slices"
	"strings"
)

// initialisms are the words that Go writes in one case.
var initialisms = map[string]string{"Id": "ID", "Ids": "IDs", "Api": "API", "Acl": "ACL", "Acls": "ACLs", "Uuid": "UUID"}

// goName applies the initialisms to each word of a name in camel case.
func goName(name string) string {
	var b strings.Builder
	for from := 0; from < len(name); {
		to := from + 1
		for to < len(name) && !isUpper(name[to:]) {
			to++
		}
		word := name[from:to]
		if initialism, ok := initialisms[word]; ok {
			word = initialism
		}
		b.WriteString(word)
		from = to
	}
	return b.String()
}

// methods are the names that the methods of a generated type take.
func methods(b *body, s *structure) []string {
	switch {
	case s != b.top:
		return []string{"Default"}
	case b.kind == "request", b.kind == "response":
		return []string{"Default", "Decode", "Encode", "Key"}
	case b.kind == "header":
		return []string{"Default", "Decode", "Encode"}
	}
	return []string{"Default", "Decode", "Encode", "RecordType", "Versions"}
}

// checkNames refuses what would not compile: two things of one name, or a field named like a method.
func checkNames(all []*schema) error {
	owner := map[string]string{}
	claim := func(what, where string) error {
		if o, ok := owner[what]; ok {
			return fmt.Errorf("%s: %s is already at %s", where, what, o)
		}
		owner[what] = where
		return nil
	}
	for _, s := range all {
		if s.key >= 0 {
			for _, what := range []string{fmt.Sprintf("key %d", s.key), "Go name Key" + goName(s.keyName)} {
				if err := claim(what, s.file+":1"); err != nil {
					return err
				}
			}
		}
		for _, b := range s.bodies {
			if b.id >= 0 && s.key < 0 {
				if err := claim(fmt.Sprintf("%s %d", b.kind, b.id), fmt.Sprintf("%s:%d", s.file, b.line)); err != nil {
					return err
				}
			}
			for _, st := range append([]*structure{b.top}, b.structs...) {
				where := fmt.Sprintf("%s:%d", s.file, st.line)
				if err := claim("Go name "+st.goName, where); err != nil {
					return err
				}
				for _, f := range st.fields {
					if slices.Contains(methods(b, st), f.goName) {
						return fmt.Errorf("%s:%d: the field %s would hide a method", s.file, f.line, f.name)
					}
				}
			}
		}
	}
	return nil
}
