package clients_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryOptionStatesItsDefault: an option's comment says what holds without it.
func TestEveryOptionStatesItsDefault(t *testing.T) {
	// These add to what is otherwise nothing, or are short for another option.
	without := map[string]bool{"WithTLS": true, "WithTopics": true, "WithPartition": true, "WithStopAtEnd": true}
	count := 0
	for _, dir := range []string{"client", "producer", "consumer", "admin"} {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f.Name(), "_test.go") {
				continue
			}
			tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, f.Name()), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range tree.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "With") {
					continue
				}
				count++
				if !without[fn.Name.Name] && !strings.Contains(fn.Doc.Text(), "Default") {
					t.Errorf("%s.%s does not state its default", dir, fn.Name.Name)
				}
			}
		}
	}
	if count < 30 {
		t.Errorf("only %d options were found", count)
	}
}
