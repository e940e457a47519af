package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// block is one fenced shell block and its marks.
type block struct {
	file       string
	line       int // of the fence
	script     string
	background bool
	step       bool
	skip       string
	expect     []string
	timeout    time.Duration
}

// String names the block by its place and its first command.
func (b block) String() string {
	first := ""
	for line := range strings.Lines(b.script) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			first = line
			break
		}
	}
	return fmt.Sprintf("%s:%d `%s`", b.file, b.line, first)
}

// otherShells are fences that look like shell to a reader and would not be run.
var otherShells = []string{"bash", "shell", "zsh", "console", "shell-session", "terminal"}

// parse finds the blocks of a document.
func parse(file, text string) ([]block, error) {
	var (
		blocks []block
		marks  []string // seen since the last line of prose
		open   *block   // the block being read
		other  bool     // inside a fence that is not ours
		indent string
	)
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		fence, isFence := strings.CutPrefix(trimmed, "```")
		switch {
		case open != nil && isFence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.script += strings.TrimPrefix(line, indent) + "\n"
		case other:
			other = !isFence
		case isFence:
			name, info, _ := strings.Cut(strings.TrimSpace(fence), " ")
			if slices.Contains(otherShells, name) {
				return nil, fmt.Errorf("%s:%d: ```%s would not be run; fence commands as ```sh and output as ```text", file, i+1, name)
			}
			if name != "sh" {
				other = true
				if len(marks) > 0 {
					return nil, fmt.Errorf("%s:%d: a ci mark before a block that is not ```sh", file, i+1)
				}
				break
			}
			if strings.TrimSpace(info) != "" {
				return nil, fmt.Errorf("%s:%d: marks go into a comment before the block: <!-- ci: %s -->", file, i+1, info)
			}
			b, err := marked(block{file: file, line: i + 1, timeout: 2 * time.Minute}, marks)
			if err != nil {
				return nil, err
			}
			indent = line[:strings.Index(line, "```")]
			open, marks = &b, nil
		case strings.HasPrefix(trimmed, "<!-- ci:"):
			mark, closed := strings.CutSuffix(strings.TrimPrefix(trimmed, "<!-- ci:"), "-->")
			if !closed {
				return nil, fmt.Errorf("%s:%d: a ci mark is one line", file, i+1)
			}
			marks = append(marks, strings.TrimSpace(mark))
		case trimmed != "":
			if len(marks) > 0 {
				return nil, fmt.Errorf("%s:%d: a ci mark must stand just before its block", file, i+1)
			}
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s:%d: the block does not end", file, open.line)
	}
	if len(marks) > 0 {
		return nil, fmt.Errorf("%s: a ci mark at the end, without a block", file)
	}
	return blocks, nil
}

// marked is b with its marks.
func marked(b block, marks []string) (block, error) {
	for _, m := range marks {
		verb, rest, _ := strings.Cut(m, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case verb == "background" && rest == "until ready":
			b.background = true
		case verb == "step" && rest == "":
			b.step = true
		case verb == "skip" && rest != "":
			b.skip = rest
		case verb == "expect" && rest != "":
			b.expect = append(b.expect, rest)
		case verb == "timeout":
			d, err := time.ParseDuration(rest)
			if err != nil || d <= 0 {
				return b, fmt.Errorf("%s:%d: ci mark timeout: %q is no duration", b.file, b.line, rest)
			}
			b.timeout = d
		case verb == "skip":
			return b, fmt.Errorf("%s:%d: ci mark skip needs a reason", b.file, b.line)
		default:
			return b, fmt.Errorf("%s:%d: unknown ci mark %q", b.file, b.line, m)
		}
	}
	return b, nil
}
