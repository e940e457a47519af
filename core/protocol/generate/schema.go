package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// firstOwnKey is the first key that is not Kafka's. Kafka counts its keys up from 0, and has used less than a
// hundred of them in fifteen years.
const firstOwnKey = 30000

// versionInf stands for "and later".
const versionInf = math.MaxInt16

// versions is an inclusive range; it is empty if from is above to.
type versions struct{ from, to int }

var noVersions = versions{1, 0}

func (v versions) empty() bool              { return v.from > v.to }
func (v versions) has(n int) bool           { return v.from <= n && n <= v.to }
func (v versions) covers(o versions) bool   { return o.empty() || v.from <= o.from && o.to <= v.to }
func (v versions) and(o versions) versions  { return versions{max(v.from, o.from), min(v.to, o.to)} }
func (v versions) overlaps(o versions) bool { return !v.and(o).empty() }

func (v versions) String() string {
	switch {
	case v.empty():
		return "none"
	case v.to == versionInf:
		return strconv.Itoa(v.from) + "+"
	case v.from == v.to:
		return strconv.Itoa(v.from)
	}
	return fmt.Sprintf("%d-%d", v.from, v.to)
}

// isVersions tells a range from other words: it begins with a digit.
func isVersions(word string) bool { return word != "" && word[0] >= '0' && word[0] <= '9' }

func parseVersions(word string) (versions, error) {
	from, to, isRange := strings.Cut(word, "-")
	if rest, open := strings.CutSuffix(word, "+"); open {
		from, to, isRange = rest, strconv.Itoa(versionInf), true
	}
	if !isRange {
		to = from
	}
	a, errA := strconv.ParseUint(from, 10, 15)
	b, errB := strconv.ParseUint(to, 10, 15)
	if errA != nil || errB != nil || a > b {
		return noVersions, fmt.Errorf("%q is no version range", word)
	}
	return versions{int(a), int(b)}, nil
}

// schema is one parsed file.
type schema struct {
	file    string
	key     int // -1 if the file describes no API key
	keyName string
	retired bool
	bodies  []*body
}

// body is one request, response, header, record or structure.
type body struct {
	line     int
	kind     string // request, response, header, data, or a family of records
	id       int    // API key or record type; -1 if it has none
	top      *structure
	versions versions
	flexible versions // the versions with compact lengths and tagged fields
	unstable int      // first version that is not stable; above versions.to if all are
	structs  []*structure
}

// structure is a struct: a body's outermost, or one that fields hold.
type structure struct {
	line      int
	name      string // as in the schema; of a body, with Request or Response
	goName    string
	versions  versions // those in which it can occur
	fields    []*field
	isPointee bool // some field holds it nullable
	isValue   bool // some field holds it outright
}

func (s *structure) tagged() []*field {
	var t []*field
	for _, f := range s.fields {
		if f.tag >= 0 {
			t = append(t, f)
		}
	}
	return t
}

// field is one field of a struct.
type field struct {
	line       int
	name       string
	goName     string
	kind       string // a primitive's name, or "struct"
	array      bool
	structName string
	structure  *structure
	versions   versions // within those of its struct
	nullable   versions // within its own
	tag        int      // -1 if not tagged
	def        string   // "" for zero
	ignorable  bool
	inflexible bool
}

func (f *field) nullableEver() bool { return !f.nullable.empty() }
func (f *field) pointer() bool      { return f.kind == "struct" && !f.array && f.nullableEver() }

// arrayable and primitive list the types of the notation.
var (
	primitives = []string{"bool", "int8", "int16", "int32", "int64", "uint16", "uint32", "float64", "string", "bytes", "records", "uuid", "key"}
	arrayable  = []string{"int8", "int16", "int32", "int64", "string", "uuid"}
	nullables  = []string{"string", "bytes", "records"}
)

// families are the kinds of bodies that are records of a log, with the name that their constructor has.
var families = []struct{ kind, goName, doc string }{
	{"metadata", "MetadataRecord", "record of the cluster metadata log"},
	{"remote-log", "RemoteLogRecord", "record of the remote log metadata topic"},
	{"group-key", "GroupKey", "key of a record of __consumer_offsets"},
	{"group-value", "GroupValue", "value of a record of __consumer_offsets"},
	{"transaction-key", "TransactionKey", "key of a record of __transaction_state"},
	{"transaction-value", "TransactionValue", "value of a record of __transaction_state"},
	{"share-key", "ShareKey", "key of a record of __share_group_state"},
	{"share-value", "ShareValue", "value of a record of __share_group_state"},
}

func isFamily(kind string) bool {
	for _, f := range families {
		if f.kind == kind {
			return true
		}
	}
	return false
}
