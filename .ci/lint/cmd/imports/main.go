// Command imports checks the module in the directory -C against the policy -policy (package imports
// says how it reads) and exits 1 when something breaks it.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/weirmq/weir/lint/imports"
)

func main() {
	dir := flag.String("C", ".", "the module's directory")
	file := flag.String("policy", ".ci/imports.txt", "the policy file")
	flag.Parse()
	if err := run(*dir, *file); err != nil {
		fmt.Fprintln(os.Stderr, "imports:", err)
		os.Exit(1)
	}
}

func run(dir, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	policy, err := imports.Parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	packages, err := imports.Load(dir)
	if err != nil {
		return err
	}
	found := policy.Check(packages)
	for _, f := range found {
		fmt.Println(f)
	}
	if len(found) > 0 {
		return fmt.Errorf("%d breaches of %s", len(found), file)
	}
	fmt.Printf("imports: %d packages keep to %s\n", len(packages), file)
	return nil
}
