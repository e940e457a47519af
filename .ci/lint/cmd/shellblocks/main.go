// Command shellblocks runs the shell blocks of documents, so that what they tell people to type works.
//
//	shellblocks -run-by .ci/run README.md docs/*.md
//
// A block fenced as ```sh is run by `bash -euo pipefail` in the current directory, in order, and must
// exit 0. HTML comments just before a block, which no reader sees, say what else there is to it:
//
//	<!-- ci: background until ready -->   start it, wait for its line that begins with `ready` and for its
//	                                      /readyz; the blocks after it run against it; at the end of the
//	                                      document it gets SIGTERM and must exit 0
//	<!-- ci: expect TEXT -->              its output must contain TEXT; may be repeated
//	<!-- ci: timeout 5m -->               it may take so long; two minutes otherwise
//	<!-- ci: step -->                     it is not run here, for each of its lines is a command of .ci/run;
//	                                      that is checked
//	<!-- ci: skip REASON -->              it is not run, and why
//
// Shell blocks fenced by another name (bash, shell, console) are refused: they would not be run. A
// README.md of which no block was run is a failure.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	runBy := flag.String("run-by", ".ci/run", "the script that runs the blocks marked step")
	list := flag.Bool("list", false, "only list the blocks")
	flag.Parse()
	if err := run(*runBy, *list, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "shellblocks:", err)
		os.Exit(1)
	}
}

func run(runBy string, list bool, files []string) error {
	if len(files) == 0 {
		return fmt.Errorf("no document named")
	}
	steps, err := os.ReadFile(runBy)
	if err != nil {
		return err
	}
	ran := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		blocks, err := parse(file, string(text))
		if err != nil {
			return err
		}
		if list {
			for _, b := range blocks {
				fmt.Println(b)
			}
			continue
		}
		n, err := runDocument(blocks, string(steps))
		if err != nil {
			return err
		}
		if n == 0 && filepath.Base(file) == "README.md" {
			return fmt.Errorf("%s: no block was run; it must show people something that works", file)
		}
		ran += n
	}
	if !list {
		fmt.Printf("blocks: %d passed, 0 failed\n", ran)
	}
	return nil
}

// runDocument runs one document's blocks in order and returns how many it ran.
func runDocument(blocks []block, steps string) (ran int, err error) {
	var servers []*server
	defer func() {
		// Newest first; all are stopped, whatever happens.
		for _, s := range slices.Backward(servers) {
			if stopErr := s.stop(); stopErr != nil && err == nil {
				err = fmt.Errorf("%s: %w", s.block, stopErr)
			}
		}
	}()
	for _, b := range blocks {
		start := time.Now()
		switch {
		case b.skip != "":
			fmt.Printf("skip %s (%s)\n", b, b.skip)
			continue
		case b.step:
			if err := isStep(b, steps); err != nil {
				return ran, err
			}
			fmt.Printf("step %s\n", b)
			continue
		case b.background:
			s, err := startServer(b)
			if s != nil {
				servers = append(servers, s)
			}
			if err != nil {
				return ran, fmt.Errorf("%s: %w", b, err)
			}
		default:
			if err := runBlock(b); err != nil {
				return ran, fmt.Errorf("%s: %w", b, err)
			}
		}
		ran++
		fmt.Printf("ok   %s  %s\n", b, time.Since(start).Round(100*time.Millisecond))
	}
	return ran, nil
}

// isStep checks that every line of the block stands in the script as a whole command.
func isStep(b block, script string) error {
	for line := range strings.Lines(b.script) {
		command := strings.TrimSpace(line)
		if command == "" || strings.HasPrefix(command, "#") {
			continue
		}
		found := false
		for s := range strings.Lines(script) {
			s = strings.TrimSpace(s)
			found = found || s == command || strings.HasSuffix(s, " "+command)
		}
		if !found {
			return fmt.Errorf("%s: marked as a step, but no line of the script ends in `%s`", b, command)
		}
	}
	return nil
}
