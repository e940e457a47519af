package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// simulatorSource stands in for weir: its one rule is broken by changing the number that limit.go
// holds, and how it says so depends on that number.
const simulatorSource = `package main

import (
	"fmt"
	"os"
)

func main() {
	if os.Args[1] != "sim" {
		os.Exit(2)
	}
	if os.Args[2] == "run" {
		fmt.Printf("seed=1 mode=lite events=9 sim_time=1s trace=%s verdict=ok\n", trace())
		return
	}
	switch limit {
	case 1:
		fmt.Println("seed=7 mode=lite events=9 trace=ab verdict=violation oracle=acked-is-durable")
		os.Exit(1)
	case 2:
		panic("not a verdict")
	}
	fmt.Println("200 seeds, no trouble")
}

func trace() string {
	if limit == 3 {
		return os.Getenv("GOGC")
	}
	return "ab"
}
`

// patch changes limit.go, as from its line, to a number.
func patch(header, from, to string) string {
	return header + "\n\ndiff --git a/node/cmd/weir/limit.go b/node/cmd/weir/limit.go\n" +
		"--- a/node/cmd/weir/limit.go\n+++ b/node/cmd/weir/limit.go\n" +
		"@@ -1,3 +1,3 @@\n package main\n \n-" + from + "\n+" + to + "\n"
}

func tree(t *testing.T, patches map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"go.mod":                 "module example.org/m\n\ngo 1.26.0\n",
		"node/cmd/weir/main.go":  simulatorSource,
		"node/cmd/weir/limit.go": "package main\n\nconst limit = 0\n",
	}
	for name, text := range patches {
		files["sim/mutants/"+name] = text
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("git init: %s", out)
	}
	return dir
}

func header(id, rest string) string {
	return "id: " + id + "\nbug: it is broken\noracle: acked-is-durable\nclass: A\nseeds: 3\nmode: lite\n" + rest
}

const line = "const limit = 0"

func TestMutantsAreCaughtOrReported(t *testing.T) {
	for _, tt := range []struct {
		name, patch string
		caughtBy    string
		err         string
	}{
		{"caught", patch(header("a", ""), line, "const limit = 1"), "acked-is-durable", ""},
		{"caught by its replay", patch(header("a", "check: replay\n"), line, "const limit = 3"), "traces differ", ""},
		{"survived", patch(header("a", ""), line, "const limit = 4"), "", "survived every seed"},
		{"survived its replay", patch(header("a", "check: replay\n"), line, "const limit = 4"), "", "survived every seed"},
		{"died otherwise", patch(header("a", ""), line, "const limit = 2"), "", "without a violation"},
		{"does not apply", patch(header("a", ""), "const limit = 9", "const limit = 1"), "", "does not apply"},
		{"does not build", patch(header("a", ""), line, "const limit = x"), "", "does not build"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := tree(t, map[string]string{"a.patch": tt.patch})
			selected, err := load(filepath.Join(dir, "sim", "mutants"), "A", "")
			if err != nil {
				t.Fatal(err)
			}
			r := &runner{root: dir, temp: t.TempDir(), limit: time.Minute}
			if r.files, err = treeFiles(dir); err != nil {
				t.Fatal(err)
			}
			o := r.try(selected[0])
			if tt.err == "" && o.err != nil || tt.err != "" && (o.err == nil || !strings.Contains(o.err.Error(), tt.err)) {
				t.Fatalf("error %v, want %q", o.err, tt.err)
			}
			if o.caughtBy != tt.caughtBy {
				t.Errorf("caught by %q, want %q", o.caughtBy, tt.caughtBy)
			}
		})
	}
}

func TestSuiteFailsWhenTheTreeItselfIsBroken(t *testing.T) {
	dir := tree(t, map[string]string{"a.patch": patch(header("a", ""), line, "const limit = 1")})
	r := &runner{root: dir, limit: time.Minute}
	if err := r.run("A", "", 2); err != nil {
		t.Fatalf("a sound tree: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "node/cmd/weir/limit.go"), []byte("package main\n\nconst limit = 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r = &runner{root: dir, limit: time.Minute}
	if err := r.run("A", "", 2); err == nil || !strings.Contains(err.Error(), "without any mutant") {
		t.Fatalf("a broken tree: %v", err)
	}
}

func TestMutantsOfOtherClassesFitTheTree(t *testing.T) {
	other := strings.Replace(header("b", ""), "class: A", "class: B", 1)
	dir := tree(t, map[string]string{"a.patch": patch(header("a", ""), line, "const limit = 1"), "b.patch": patch(other, "const limit = 9", "const limit = 1")})
	r := &runner{root: dir, limit: time.Minute}
	if err := r.run("A", "", 2); err == nil || !strings.Contains(err.Error(), "b: the patch does not apply") {
		t.Fatalf("b fits no more: %v", err)
	}
}

func TestHeadersAreChecked(t *testing.T) {
	diff := "diff --git a/x b/x\n"
	for name, text := range map[string]string{
		"no diff":     header("a", ""),
		"no id":       strings.Replace(header("a", ""), "id: a\n", "", 1) + diff,
		"bad class":   strings.Replace(header("a", ""), "class: A", "class: D", 1) + diff,
		"bad seeds":   strings.Replace(header("a", ""), "seeds: 3", "seeds: many", 1) + diff,
		"bad check":   header("a", "check: twice\n") + diff,
		"id and path": header("../a", "") + diff,
	} {
		if _, err := parse(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := load(t.TempDir(), "A", ""); err == nil {
		t.Error("a directory without patches: accepted")
	}
	dir := tree(t, map[string]string{"a.patch": patch(header("a", ""), line, line), "b.patch": patch(header("a", ""), line, line)})
	if _, err := load(filepath.Join(dir, "sim", "mutants"), "A", ""); err == nil {
		t.Error("one id twice: accepted")
	}
}
