package explain

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// declared is the value of every Code constant.
func declared(t *testing.T) map[Code]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[Code]bool{}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if id, ok := v.Type.(*ast.Ident); !ok || id.Name != "Code" {
				t.Fatalf("%s is no Code", v.Names[0].Name)
			}
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if codes[Code(text)] {
				t.Errorf("%q is there twice", text)
			}
			codes[Code(text)] = true
		}
	}
	return codes
}

func TestEveryCodeHasOneCompleteEntry(t *testing.T) {
	codes := declared(t)
	form := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	seen := map[Code]bool{}
	for _, e := range All() {
		if !codes[e.Code] {
			t.Errorf("%s has no constant", e.Code)
		}
		if seen[e.Code] {
			t.Errorf("%s has two entries", e.Code)
		}
		seen[e.Code] = true
		if !form.MatchString(string(e.Code)) {
			t.Errorf("%q is no good code", e.Code)
		}
		if e.Title == "" || e.Cause == "" || e.Fix == "" || e.Where == "" {
			t.Errorf("%s lacks something: %+v", e.Code, e)
		}
		if len(e.Title) > 90 || strings.HasSuffix(e.Title, ".") {
			t.Errorf("%s: the title is half a line: %q", e.Code, e.Title)
		}
		if !strings.HasSuffix(e.Cause, ".") {
			t.Errorf("%s: the cause is no sentence: %q", e.Code, e.Cause)
		}
		if Of(e.Code) != e {
			t.Errorf("Of(%s) is another", e.Code)
		}
	}
	for code := range codes {
		if !seen[code] {
			t.Errorf("%s has no entry", code)
		}
	}
}

func TestEveryErrorOfKafkaIsExplained(t *testing.T) {
	for number := int16(-1); number < 1000; number++ {
		e, known := kerr.ErrorForCode(number).(*kerr.Error)
		if number == 0 || kerr.ErrorForCode(number) == kerr.UnknownServerError && number != -1 {
			known = false
		}
		k, ok := KafkaByNumber(number)
		if ok != known {
			t.Errorf("%d: explained %v, known to the protocol %v", number, ok, known)
			continue
		}
		if ok && (k.Cause == "" || k.Fix == "" || k.Number != number || k.Retriable != e.Retriable) {
			t.Errorf("%d is explained badly: %+v", number, k)
		}
	}
	if n := len(KafkaAll()); n != len(kafkaTexts) {
		t.Errorf("%d texts for %d errors", len(kafkaTexts), n)
	}
	// The texts are in the order of the numbers: look at some from end to end.
	for number, word := range map[int16]string{
		-1: "no better word", 1: "retention", 3: "no such topic", 10: "max.message.bytes", 25: "does not know this member", 36: "exists",
		45: "idempotent", 58: "password", 68: "has members", 79: "was just given", 90: "transactional id", 100: "of this id",
		119: "registration", 129: "bootstrap", 134: "could not be deleted", 136: "controller",
	} {
		if k, _ := KafkaByNumber(number); !strings.Contains(k.Cause, word) {
			t.Errorf("%d %s is explained as %q", number, k.Name, k.Cause)
		}
	}
}

func TestWhatUsersTypeIsFound(t *testing.T) {
	for text, want := range map[string]Code{"disk-full": DiskFull, "DISK_FULL": DiskFull, " Topic-Not-Found ": TopicNotFound} {
		if e, _ := Find(text); e == nil || e.Code != want {
			t.Errorf("%q is %v", text, e)
		}
	}
	for text, want := range map[string]int16{
		"3": 3, "-1": -1, "UNKNOWN_TOPIC_OR_PARTITION": 3, "unknown-topic-or-partition": 3, "UnknownTopicOrPartitionException": 3,
		"NOT_LEADER_FOR_PARTITION": 6, "NOT_LEADER_OR_FOLLOWER": 6, "NotLeaderOrFollowerException": 6,
	} {
		if _, k := Find(text); k == nil || k.Number != want {
			t.Errorf("%q is %v", text, k)
		}
	}
	for _, text := range []string{"0", "9999", "99999999", "nothing", ""} {
		if e, k := Find(text); e != nil || k != nil {
			t.Errorf("%q is %v, %v", text, e, k)
		}
	}
	for text, want := range map[string]string{"disk-ful": "disk-full", "unknown_topic": "UNKNOWN_TOPIC_OR_PARTITION", "unreachabel": "unreachable"} {
		if near := Near(text); len(near) == 0 || !strings.Contains(strings.Join(near, " "), want) {
			t.Errorf("near %q is %v", text, near)
		}
	}
}

func TestTheDistanceIsThatOfLevenshtein(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
