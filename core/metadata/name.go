package metadata

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/weirmq/weir/core/model"
)

// OffsetsTopic is where group coordinators keep their state.
const OffsetsTopic = "__consumer_offsets"

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

// Shape is what two topic names share that metrics cannot tell apart, prefixed so that it is no topic's
// name. Names without '.' and '_' have none.
func Shape(name string) string {
	if !strings.ContainsAny(name, "._") {
		return ""
	}
	return "\x01" + strings.ReplaceAll(name, ".", "_")
}

// shownBytesMax is how much of a client's text a refusal repeats: a message must fit a response of any
// version, whatever the client sent.
const shownBytesMax = 100

// Shown is a client's text as a refusal repeats it.
func Shown(s string) string {
	if len(s) > shownBytesMax {
		return s[:shownBytesMax] + "..."
	}
	return s
}

// NodeProblem says why a name is not that of a node whose configuration can be had here: it must be the
// node's id, or empty for all nodes.
func NodeProblem(name string, self model.NodeID) string {
	if name == "" {
		return ""
	}
	id, err := strconv.ParseInt(name, 10, 32)
	switch {
	case err != nil:
		return fmt.Sprintf("a broker's name is its id, a whole number, not %q", Shown(name))
	case model.NodeID(id) != self || strconv.FormatInt(id, 10) != name:
		return fmt.Sprintf("this is broker %d, and not %q", self, Shown(name))
	}
	return ""
}
