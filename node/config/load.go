package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Setting is one property as somebody wrote it, and where.
type Setting struct {
	Name, Value string
	From        string // for the error message: a file and line, a variable, a flag
}

// Load makes a configuration of a file (none if its name is empty), an environment in os.Environ's form and
// settings, later ones winning. ignored names the properties of Kafka that were given and mean nothing here.
func Load(file string, environ []string, settings []Setting) (c Config, ignored []string, err error) {
	c = Default()
	var all []Setting
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return c, nil, fmt.Errorf("configuration file: %w", err)
		}
		if all, err = parse(file, b); err != nil {
			return c, nil, err
		}
	}
	all = append(all, fromEnviron(environ)...)
	all = append(all, settings...)
	var errs []error
	for _, s := range all {
		known, err := c.Set(s.Name, s.Value)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", s.From, err))
		case !known && !slices.Contains(ignored, s.Name):
			ignored = append(ignored, s.Name)
		}
	}
	return c, ignored, errors.Join(errs...)
}

// Set sets one property by name. It reports false for a name of Kafka's that means nothing here.
func (c *Config) Set(name, value string) (known bool, err error) {
	value = strings.TrimSpace(value)
	for i := range properties {
		p := &properties[i]
		set := p.set
		if name != p.Name && !slices.Contains(p.Aliases, name) {
			if set = p.scales[name]; set == nil {
				continue
			}
		}
		if err := set(c, value); err != nil {
			return true, fmt.Errorf("%s: %w", name, err)
		}
		return true, nil
	}
	if slices.Contains(irrelevant, name) {
		return false, nil
	}
	if near := nearest(name); near != "" {
		return false, fmt.Errorf("there is no property %q; did you mean %s?", name, near)
	}
	return false, fmt.Errorf("there is no property %q; `weir node --help` lists them all", name)
}

// parse reads Java's properties form: name=value, name:value or name value, # and ! begin comments, and a
// backslash at the end of a line goes on with the next.
func parse(file string, b []byte) ([]Setting, error) {
	var out []Setting
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	joined := ""
	for n := 1; lines.Scan(); n++ {
		line := joined + strings.TrimLeft(lines.Text(), " \t\f")
		joined = ""
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		if strings.HasSuffix(line, `\`) && !strings.HasSuffix(line, `\\`) {
			joined = strings.TrimSuffix(line, `\`)
			continue
		}
		name, value := line, ""
		if i := strings.IndexAny(line, "=: \t"); i >= 0 {
			name, value = line[:i], strings.TrimLeft(line[i:], " \t")
			if value != "" && (value[0] == '=' || value[0] == ':') {
				value = value[1:]
			}
		}
		out = append(out, Setting{
			Name: name, Value: strings.ReplaceAll(strings.TrimSpace(value), `\\`, `\`), From: fmt.Sprintf("%s:%d", file, n),
		})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return out, nil
}

// fromEnviron takes the variables that name a property; WEIR_ variables of other uses are left alone.
func fromEnviron(environ []string) []Setting {
	var out []Setting
	for _, e := range environ {
		variable, value, _ := strings.Cut(e, "=")
		rest, found := strings.CutPrefix(variable, "WEIR_")
		if !found {
			continue
		}
		name := strings.ToLower(strings.ReplaceAll(rest, "_", "."))
		if slices.Contains(names(), name) {
			out = append(out, Setting{Name: name, Value: value, From: variable})
		}
	}
	slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func names() []string {
	var out []string
	for i := range properties {
		out = append(append(out, properties[i].Name), properties[i].Spellings()...)
	}
	slices.Sort(out)
	return out
}

// nearest is the property whose name is so like another that it was probably meant.
func nearest(name string) string {
	best, distance := "", max(2, len(name)/3)
	for _, n := range names() {
		if d := edits(name, n); d < distance {
			best, distance = n, d
		}
	}
	return best
}

// edits counts the letters to insert, delete or replace to make a into b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left, diagonal := i+1, i
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			d := min(left+1, row[j+1]+1, diagonal+cost)
			row[j], left, diagonal = left, d, row[j+1]
		}
		row[len(b)] = left
	}
	return row[len(b)]
}
