package node

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weirmq/weir/node/explain"
)

// TestEveryCodeOfTheLogIsWritten: what the catalogue says of the broker's log, the log can say.
func TestEveryCodeOfTheLogIsWritten(t *testing.T) {
	names := codeNames(t)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(b)
	}
	logged := 0
	for _, e := range explain.All() {
		if !strings.Contains(e.Where, "log") {
			continue
		}
		logged++
		if name := names[e.Code]; name == "" || !strings.Contains(source.String(), "explain."+name) {
			t.Errorf("the log never says %s (explain.%s)", e.Code, name)
		}
	}
	if logged < 20 {
		t.Errorf("only %d codes are of the log: is this still how the catalogue says it?", logged)
	}
}

// codeNames are the constants of package explain, by their codes.
func codeNames(t *testing.T) map[explain.Code]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "explain/code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[explain.Code]string{}
	ast.Inspect(f, func(at ast.Node) bool {
		if s, ok := at.(*ast.ValueSpec); ok {
			code, err := strconv.Unquote(s.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			names[explain.Code(code)] = s.Names[0].Name
		}
		return true
	})
	return names
}
