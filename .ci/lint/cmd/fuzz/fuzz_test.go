package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const fuzzSource = `package p

import "testing"

func FuzzGood(f *testing.F) {
	f.Add(uint8(1))
	f.Fuzz(func(t *testing.T, n uint8) {})
}
`

func TestTargetsAreFoundAndRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.org/p\n\ngo 1.26.0\n")
	write("p.go", "package p\n")
	t.Chdir(dir)
	all := []string{"./..."}
	if err := run(time.Second, 0, "", all); err == nil || !strings.Contains(err.Error(), "no fuzz target") {
		t.Fatalf("no target: %v", err)
	}
	write("p_test.go", fuzzSource)
	if err := run(time.Second, 0, "", all); err != nil {
		t.Fatalf("a good target: %v", err)
	}
	bad := strings.Replace(strings.Replace(fuzzSource, "FuzzGood", "FuzzBad", 1), "n uint8) {}", "n uint8) { if n == 1 { t.Error(n) } }", 1)
	write("bad_test.go", bad)
	if err := run(time.Second, 0, "", all); err == nil || !strings.Contains(err.Error(), "1 of 2 targets failed") {
		t.Fatalf("a bad target: %v", err)
	}
	if err := run(time.Second, 0, "Good", all); err != nil {
		t.Fatalf("only the good target: %v", err)
	}
	write("bad_test.go", "package p\n\nfunc broken(\n")
	if err := run(time.Second, 0, "", all); err == nil {
		t.Fatal("tests that do not compile: no error")
	}
}
