package imports

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const policy = `
ours core sim node
let pure = bytes errors   # a list
    time{Duration,Second}
core/model    <- $pure
core/record   <- $pure core/model github.com/klauspost/compress/...
core/broker   <- $pure core/... !core/client core/effect{Set,Note}
core/...      <- core/model
sim/...       <- std core/...
node/...      <- any !sim/...
node/cmd/weir <- any
test core/... <- testing pgregory.net/rapid
test core/record <- std
`

func TestPolicyDecides(t *testing.T) {
	for _, tt := range []struct {
		name string
		pkg  string
		imp  Import
		want string // part of the finding; "" for none
	}{
		{"std listed", "core/model", Import{Path: "bytes"}, ""},
		{"std not listed", "core/model", Import{Path: "os"}, "may not import os"},
		{"names listed", "core/model", Import{Path: "time", Used: []string{"Second", "Duration"}}, ""},
		{"name not listed", "core/model", Import{Path: "time", Used: []string{"Second", "Now"}}, "may not import time.Now, only Duration, Second"},
		{"ours not listed", "core/model", Import{Path: "core/record"}, "may not import core/record"},
		{"third-party subtree", "core/record", Import{Path: "github.com/klauspost/compress/zstd"}, ""},
		{"third-party sibling", "core/record", Import{Path: "github.com/klauspost/compressor"}, "may not import"},
		{"our subtree", "core/broker", Import{Path: "core/replica"}, ""},
		{"taken back out", "core/broker", Import{Path: "core/client"}, "may not import core/client"},
		{"prefix is no match", "core/broker", Import{Path: "core/clientele"}, ""},
		{"most specific line rules", "core/other", Import{Path: "bytes"}, "may not import bytes"},
		{"std as a whole", "sim/disk", Import{Path: "net/http"}, ""},
		{"std is not third-party", "sim", Import{Path: "go.uber.org/zap"}, "may not import go.uber.org/zap"},
		{"std is not ours", "sim", Import{Path: "node"}, "may not import node"},
		{"any", "node/cmd/weir", Import{Path: "sim"}, ""},
		{"any but", "node/metrics", Import{Path: "sim/disk"}, "may not import sim/disk"},
		{"test line", "core/model", Import{Path: "pgregory.net/rapid", Test: true}, ""},
		{"test line is for tests", "core/model", Import{Path: "pgregory.net/rapid"}, "may not import pgregory.net/rapid"},
		{"test lines add up", "core/record", Import{Path: "os", Test: true}, ""},
		{"tests have limits", "core/model", Import{Path: "node", Test: true}, "may not import in tests node"},
		{"tests import their package", "core/model", Import{Path: "core/model", Test: true}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Parse(policy)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range p.Check([]Package{{Path: tt.pkg, Imports: []Import{tt.imp}}}) {
				if !strings.HasPrefix(f, "policy line") {
					got = append(got, f)
				}
			}
			if tt.want == "" && len(got) == 0 {
				return
			}
			if tt.want == "" || len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestEveryPackageHasALineAndEveryLineAPackage(t *testing.T) {
	p, err := Parse("ours core bench\ncore/model <- errors\nbench/... <- any\n")
	if err != nil {
		t.Fatal(err)
	}
	got := p.Check([]Package{{Path: "core/model"}, {Path: "core/new"}, {Path: "tools"}})
	want := []string{
		"core/new: the package has no line in the policy; decide what it may import",
		"policy line 3: bench/... names no package that exists",
		"tools: the package has no line in the policy; decide what it may import",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestMalformedPolicyIsRefused(t *testing.T) {
	for _, text := range []string{
		"ours core\ncore/a core/b",
		"ours core\ncore/a <-",
		"ours core\ncore/a <- $none",
		"ours core\nlet x = a b",
		"ours core\nlet x a",
		"ours core\ncore/a <- a{",
		"ours core\ncore/a <- a{}",
		"ours core\ncore/a <- b\ncore/a <- c",
		"ours core\nnode/a <- b",
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("accepted %q", text)
		}
	}
}

// The checker reads files whatever their build constraints, so that a breach cannot hide behind one.
func TestLoadReadsEveryFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":               "module example.org/m\n\ngo 1.26.0\n",
		"core/a/a.go":          "package a\n\nimport \"time\"\n\nvar D time.Duration\n",
		"core/a/a_plan9.go":    "package a\n\nimport \"os\"\n\nvar _ = os.Args\n",
		"core/a/tag.go":        "//go:build never\n\npackage a\n\nimport clock \"time\"\n\nvar _ = clock.Now\n",
		"core/a/a_test.go":     "package a_test\n\nimport (\n\t\"testing\"\n\n\t\"example.org/m/core/a\"\n)\n\nfunc TestA(*testing.T) { _ = a.D }\n",
		"core/a/testdata/x.go": "package x\n\nimport \"net\"\n\nvar _ net.IP\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	packages, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse("ours core\ncore/a <- time{Duration}\ntest core/a <- testing\n")
	if err != nil {
		t.Fatal(err)
	}
	got := p.Check(packages)
	want := []string{
		"core/a/a_plan9.go:3: core/a may not import os (policy line 2: core/a)",
		"core/a/tag.go:5: core/a may not import time.Now, only Duration (policy line 2: core/a)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
