package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mutant is one patch and what its header says.
type mutant struct {
	file   string
	id     string
	bug    string
	oracle string
	class  string
	seeds  int
	mode   string
	check  string
}

// load reads the patches of dir and selects those of class whose id contains only.
func load(dir, class, only string) ([]mutant, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var selected []mutant
	ids := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		m, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		m.file = f
		if other := ids[m.id]; other != "" {
			return nil, fmt.Errorf("%s: the id %s is taken by %s", f, m.id, other)
		}
		ids[m.id] = f
		if (class == "all" || m.class == class) && strings.Contains(m.id, only) {
			selected = append(selected, m)
		}
	}
	if len(selected) == 0 {
		return nil, fmt.Errorf("no mutant of class %s in %s (%d patches there)", class, dir, len(files))
	}
	return selected, nil
}

// parse reads the header of a patch: lines `key: value` up to the first line of the diff.
func parse(text string) (mutant, error) {
	m := mutant{mode: "lite", check: "fleet"}
	diff := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "diff ") || strings.HasPrefix(line, "--- ") {
			diff = true
			break
		}
		key, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || value == "" {
			continue
		}
		switch strings.TrimSpace(key) {
		case "id":
			m.id = value
		case "bug":
			m.bug = value
		case "oracle":
			m.oracle = value
		case "class":
			m.class = value
		case "mode":
			m.mode = value
		case "check":
			m.check = value
		case "seeds":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 {
				return mutant{}, fmt.Errorf("seeds: %q is no number of seeds", value)
			}
			m.seeds = n
		}
	}
	switch {
	case !diff:
		return mutant{}, fmt.Errorf("no diff in it")
	case m.id == "" || m.bug == "" || m.oracle == "" || m.seeds == 0:
		return mutant{}, fmt.Errorf("its header needs id, bug, oracle, class and seeds")
	case m.class != "A" && m.class != "B" && m.class != "C":
		return mutant{}, fmt.Errorf("class: %q is not A, B or C", m.class)
	case m.check != "fleet" && m.check != "replay":
		return mutant{}, fmt.Errorf("check: %q is not fleet or replay", m.check)
	case m.id != filepath.Base(m.id):
		return mutant{}, fmt.Errorf("id: %q is no name", m.id)
	}
	return m, nil
}
