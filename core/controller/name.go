package controller

import "strings"

// NameProblem says why a name cannot be a topic's, or nothing. Kafka's rule: 1 to 249 of letters, digits,
// dot, underscore and hyphen, and neither "." nor "..". Names that begin with two underscores are kept
// for internal topics by convention only, so they pass.
func NameProblem(name string) string {
	switch {
	case name == "":
		return "is empty"
	case name == "." || name == "..":
		return "is a directory's"
	case len(name) > 249:
		return "is longer than 249 characters"
	case name == "__cluster_metadata":
		return "is the metadata log's"
	}
	for i := range len(name) {
		c := name[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return "has a character other than letters, digits, '.', '_' and '-'"
		}
	}
	return ""
}

// Internal reports whether a topic of this name is the brokers' own: clients read it, and leave it alone.
func Internal(name string) bool { return name == OffsetsTopic || name == "__transaction_state" }

// shapeOf is what two topic names share that metrics cannot tell apart, prefixed so that it is no topic's
// name. Names without '.' and '_' have none.
func shapeOf(name string) string {
	if !strings.ContainsAny(name, "._") {
		return ""
	}
	return "\x01" + strings.ReplaceAll(name, ".", "_")
}

// shownBytesMax is how much of a client's text a refusal repeats: a message must fit a response of any
// version, whatever the client sent.
const shownBytesMax = 100

// shown is a client's text as a refusal repeats it.
func shown(s string) string {
	if len(s) > shownBytesMax {
		return s[:shownBytesMax] + "..."
	}
	return s
}
