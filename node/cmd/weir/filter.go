package main

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/weirmq/weir/clients/consumer"
)

// filtersHelp explains filters to --help.
const filtersHelp = `Filters are FIELD=TEXT, FIELD!=TEXT, FIELD~REGEX, FIELD!~REGEX or FIELD:null, FIELD:set; FIELD is key, value, topic or
header.NAME. A record must pass all of them. --grep REGEX looks into key, value and headers' values. Records are filtered
here, after they were fetched.`

// filter reports whether a record is wanted.
type filter func(*consumer.Record) bool

// parseFilters makes one filter of many.
func parseFilters(texts []string, grep string) (filter, error) {
	var all []filter
	for _, s := range texts {
		f, err := parseFilter(s)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	if grep != "" {
		re, err := regexp.Compile(grep)
		if err != nil {
			return nil, usage("--grep: %v", err)
		}
		all = append(all, func(r *consumer.Record) bool {
			if re.Match(r.Key) || re.Match(r.Value) {
				return true
			}
			for _, h := range r.Headers {
				if re.Match(h.Value) {
					return true
				}
			}
			return false
		})
	}
	if len(all) == 0 {
		return nil, nil
	}
	return func(r *consumer.Record) bool {
		for _, f := range all {
			if !f(r) {
				return false
			}
		}
		return true
	}, nil
}

// Operators, longest first.
var operators = []string{"!=", "!~", ":null", ":set", "=", "~"}

func parseFilter(s string) (filter, error) {
	at, operator := -1, ""
	for _, o := range operators {
		if strings.HasPrefix(o, ":") && !strings.HasSuffix(s, o) {
			continue
		}
		i := strings.Index(s, o)
		if strings.HasPrefix(o, ":") {
			i = len(s) - len(o)
		}
		if i > 0 && (at < 0 || i < at) {
			at, operator = i, o
		}
	}
	if at < 0 {
		return nil, usage("--filter: %q has no operator: key=TEXT, value~REGEX, header.NAME!=TEXT, value:null", s)
	}
	field, text := s[:at], s[at+len(operator):]
	test, err := parseTest(operator, text)
	if err != nil {
		return nil, err
	}
	switch field {
	case "key":
		return func(r *consumer.Record) bool { return test(r.Key) }, nil
	case "value":
		return func(r *consumer.Record) bool { return test(r.Value) }, nil
	case "topic":
		return func(r *consumer.Record) bool { return test([]byte(r.Topic)) }, nil
	}
	name, ok := strings.CutPrefix(field, "header.")
	if !ok || name == "" {
		return nil, usage("--filter: %q is none of key, value, topic, header.NAME", field)
	}
	negative := strings.HasPrefix(operator, "!")
	return func(r *consumer.Record) bool {
		found := false
		for _, h := range r.Headers {
			if string(h.Key) != name {
				continue
			}
			found = true
			// A name may be there more than once: one that fits is enough, and none may fit for a negation.
			if test(h.Value) != negative {
				return !negative
			}
		}
		if operator == ":null" || operator == ":set" {
			return !found && operator == ":null"
		}
		return negative
	}, nil
}

// parseTest makes the test of a field's bytes; null equals nothing.
func parseTest(operator, text string) (func([]byte) bool, error) {
	switch operator {
	case "=":
		return func(b []byte) bool { return b != nil && bytes.Equal(b, []byte(text)) }, nil
	case "!=":
		return func(b []byte) bool { return b == nil || !bytes.Equal(b, []byte(text)) }, nil
	case ":null":
		return func(b []byte) bool { return b == nil }, nil
	case ":set":
		return func(b []byte) bool { return b != nil }, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, usage("--filter: %v", err)
	}
	if operator == "!~" {
		return func(b []byte) bool { return b == nil || !re.Match(b) }, nil
	}
	return func(b []byte) bool { return b != nil && re.Match(b) }, nil
}
