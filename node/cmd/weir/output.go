package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// print writes a result: as one line of JSON, or as text.
func (a *app) print(value any, format string, args ...any) error {
	if a.json() {
		return a.printJSON(value)
	}
	_, err := fmt.Fprintf(a.stdout, format, args...)
	return err
}

func (a *app) printJSON(value any) error {
	return newLineEncoder(a.stdout).Encode(value)
}

// printLines writes values as JSON, one a line.
func (a *app) printLines(n int, value func(int) any) error {
	for i := range n {
		if err := a.printJSON(value(i)); err != nil {
			return err
		}
	}
	return nil
}

// table writes rows under a heading, in columns that awk can split: no cell is empty or holds a blank.
func (a *app) table(heading string, rows [][]string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.ReplaceAll(heading, " ", "\t")) // the error is Flush's
	for _, r := range rows {
		for i := range r {
			if r[i] == "" {
				r[i] = "-"
			}
		}
		_, _ = fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

// say writes a line for people to stderr.
func (a *app) say(format string, args ...any) {
	_, _ = fmt.Fprintf(a.stderr, format+"\n", args...)
}

// isTerminal reports whether a stream is one that a person looks at.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), termiosRequest)
	return err == nil
}

// newLineEncoder writes JSON values, one a line, leaving characters of HTML as they are.
func newLineEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}
