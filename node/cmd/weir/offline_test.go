package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmq/weir/node/weirtest"
)

// damage changes a record with this value on the disk.
func damage(t *testing.T, dir, value string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "log", "partitions", "*", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range logs {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if at := strings.Index(string(b), value); at >= 0 {
			b[at] ^= 1
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%q is in none of %q", value, logs)
}

func TestTheDataOfAnotherNodeIsWrongData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	weirtest.Start(t, weirtest.Property("log.dirs", dir)).Stop()
	for _, other := range []string{"node.id=7", "cluster.id=another"} {
		code, _, errs := weir(t, "", "node", "--data", dir, "--listen", "127.0.0.1:0", "--http", "", "--set", other)
		if code != 1 || !strings.Contains(errs, "error wrong-data:") || !strings.Contains(errs, "fix: Give the directory of this node") {
			t.Errorf("%s: exit code %d\n%s", other, code, errs)
		}
	}
}

func TestAnOfflinePartitionIsShownAtOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	b := weirtest.Start(t, weirtest.Property("log.dirs", dir))
	do := on(t, b)
	do("", "topic", "create", "t", "--partitions", "2")
	do("fine\n", "produce", "t", "-p", "0")
	do("precious\n", "produce", "t", "-p", "1")
	do("", "group", "seek", "g", "--to", "start", "--topic", "t", "--execute")
	b.Stop()
	damage(t, dir, "precious")
	b.Restart()
	var code int
	var out, errs string
	// The first finds the damage.
	withTimeEnough("consume t -p 1 --offset start -e --timeout TIME", func(args []string) bool {
		code, _, errs = weir(t, "", append(args, "-b", b.Addr())...)
		return strings.Contains(errs, "t/1 has no leader")
	})
	if code != 1 || !strings.Contains(errs, "t/1 has no leader") {
		t.Errorf("who found the damage was told\n%s", errs)
	}

	begin := time.Now()
	out = do("", "topic", "describe", "t")
	if !strings.Contains(out, "0          1") || !strings.Contains(out, "offline") {
		t.Errorf("describe says\n%s", out)
	}
	out = do("", "topic", "describe", "t", "--output", "json")
	if !strings.Contains(out, `"leader":-1`) || !strings.Contains(out, "LEADER_NOT_AVAILABLE") {
		t.Errorf("describe says\n%s", out)
	}
	do("", "group", "lag", "g")
	do("", "group", "describe", "g")
	if out := do("", "consume", "t", "-p", "0", "--offset", "0", "--until", "+1"); out != "fine\n" {
		t.Errorf("the other partition has %q", out)
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
	withTimeEnough("consume t --offset start --until end --timeout TIME", func(args []string) bool {
		code, out, errs = weir(t, "", append(args, "-b", b.Addr())...)
		return out == "fine\n" && strings.Contains(errs, "t/1 has no leader")
	})
	if code != 1 || out != "fine\n" || !strings.Contains(errs, "t/1 has no leader") {
		t.Errorf("consume: exit code %d, %q\n%s", code, out, errs)
	}
	withTimeEnough("produce t -p 1 --timeout TIME", func(args []string) bool {
		code, _, errs = weir(t, "x\n", append(args, "-b", b.Addr())...)
		return strings.Contains(errs, "error timed-out:")
	})
	if code != 1 || !strings.Contains(errs, "error timed-out:") || strings.Contains(errs, "closed") {
		t.Errorf("produce: exit code %d\n%s", code, errs)
	}
}
