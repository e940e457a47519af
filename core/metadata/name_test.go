package metadata

import (
	"strings"
	"testing"
)

func TestTopicNames(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "A-b_c.9": true, "__offsets": true, strings.Repeat("x", 249): true,
		"": false, ".": false, "..": false, strings.Repeat("x", 250): false, "a b": false, "a/b": false, "ä": false,
		"__cluster_metadata": false,
	} {
		if why := NameProblem(name); (why == "") != good {
			t.Errorf("%q: %q", name, why)
		}
	}
}
