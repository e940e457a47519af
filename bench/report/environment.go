package report

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Fact is one line of what a figure depends on.
type Fact struct{ Name, Value string }

// Facts are in the order they are shown in.
type Facts []Fact

// Map is the facts for JSON.
func (f Facts) Map() map[string]string {
	m := make(map[string]string, len(f))
	for _, fact := range f {
		m[fact.Name] = fact.Value
	}
	return m
}

// String is the facts on one line.
func (f Facts) String() string {
	var b strings.Builder
	for i, fact := range f {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(fact.Name + " " + fact.Value)
	}
	return b.String()
}

// Environment is what the figures made here depend on: this program's version, the processor, the kernel,
// memory, load, and the file system of dataDir unless that is empty. What cannot be found out is left out.
func Environment(version, dataDir string) Facts {
	facts := Facts{
		{"weir", version},
		{"time", time.Now().UTC().Format(time.RFC3339)},
		{"go", runtime.Version()},
		{"os", runtime.GOOS + "/" + runtime.GOARCH},
		{"processors", strconv.Itoa(runtime.NumCPU())},
	}
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, Fact{name, value})
		}
	}
	add("processor", procValue("/proc/cpuinfo", "model name"))
	add("memory", gib(procValue("/proc/meminfo", "MemTotal")))
	add("kernel", firstLine("/proc/sys/kernel/osrelease"))
	if load := strings.Fields(firstLine("/proc/loadavg")); len(load) >= 3 {
		add("load", strings.Join(load[:3], " "))
	}
	if dataDir != "" {
		add("disk", disk(dataDir))
	}
	return facts
}

func firstLine(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// procValue is the first value of a name in a file of "name: value" lines.
func procValue(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if n, value, _ := strings.Cut(line, ":"); strings.TrimSpace(n) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func gib(kb string) string {
	n, err := strconv.ParseFloat(strings.TrimSuffix(kb, " kB"), 64)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%.1f GiB", n/(1<<20))
}

// disk names the file system of a directory, its device and whether that turns.
func disk(dir string) string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return ""
	}
	major, minor := unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev))
	device := fmt.Sprintf("%d:%d", major, minor)
	out := ""
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 10 || f[2] != device {
			continue
		}
		if _, kind, ok := strings.Cut(line, " - "); ok {
			if k := strings.Fields(kind); len(k) >= 2 {
				out = k[0] + " on " + filepath.Base(k[1])
				break
			}
		}
	}
	queue := "/sys/dev/block/" + device + "/queue/"
	if firstLine(queue+"rotational") == "" {
		queue = "/sys/dev/block/" + device + "/../queue/"
	}
	if cache := firstLine(queue + "write_cache"); cache != "" {
		out += ", " + cache
	}
	return out
}
