package explain

import (
	"fmt"
	"slices"
	"strings"
)

// Entry explains one code.
type Entry struct {
	Code  Code   `json:"code"`
	Title string `json:"title"` // what happened, in half a line
	Cause string `json:"cause"` // what usually is behind it
	Fix   string `json:"fix"`   // what to do
	Where string `json:"where"` // who says it: the command line, the broker's log, or both
}

const (
	inCLI  = "command line"
	inLog  = "broker's log"
	inBoth = "command line, broker's log"
)

// All is every entry, ordered by code.
func All() []Entry {
	all := slices.Concat(reaching, clustering, refusing, commanding, simulating, running, abusing)
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(string(a.Code), string(b.Code)) })
	return all
}

// Of is a code's entry. A code without one is a mistake in this package, which its tests find.
func Of(code Code) Entry {
	for _, group := range [][]Entry{reaching, clustering, refusing, commanding, simulating, running, abusing} {
		for _, e := range group {
			if e.Code == code {
				return e
			}
		}
	}
	panic(fmt.Sprintf("explain: %q has no entry", string(code)))
}

// Find looks up what a user typed: a code of ours in any case, a Kafka error's name in any case, with
// hyphens or underscores, or its number.
func Find(text string) (entry *Entry, kafka *Kafka) {
	text = strings.TrimSpace(text)
	wanted := Code(strings.ReplaceAll(strings.ToLower(text), "_", "-"))
	for _, e := range All() {
		if e.Code == wanted {
			entry = &e
			break
		}
	}
	return entry, findKafka(text)
}

// Near lists codes and names that are much like what was typed, best first, three at most.
func Near(text string) []string {
	text = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(text), "_", "-"))
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	consider := func(name string) {
		low := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		d := distance(text, low)
		if len(text) >= 4 && strings.Contains(low, text) {
			d = 1
		}
		if d <= max(2, len(text)/4) {
			found = append(found, candidate{name, d})
		}
	}
	for _, e := range All() {
		consider(string(e.Code))
	}
	for _, k := range KafkaAll() {
		consider(k.Name)
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return a.distance - b.distance })
	var names []string
	for _, c := range found[:min(3, len(found))] {
		names = append(names, c.name)
	}
	return names
}

// distance counts the letters to insert, drop or change to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left, diagonal := i+1, row[0]
		row[0] = left
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, left, row[j+1])
			}
			diagonal, row[j+1], left = row[j+1], cost, cost
		}
	}
	return row[len(b)]
}

// Nearest is the name of a list that is most like another, empty if none is.
func Nearest(name string, names []string) string {
	best, least := "", max(2, len(name)/4)+1
	for _, n := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < least {
			best, least = n, d
		}
	}
	return best
}
