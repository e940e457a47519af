package storage_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage/storagetest"
)

var update = flag.Bool("update", false, "rewrite testdata/trace.golden")

// The order of everything done to the disk is part of the design: what must be durable before what.
func TestDiskOperationsComeInTheirOrder(t *testing.T) {
	r := &rig{t: t, disk: storagetest.New(), cfg: smallConfig()}
	var b strings.Builder
	say := func(s string) { b.WriteString("# " + s + "\n") }
	r.disk.Hook = func(op storagetest.Op) error {
		b.WriteString(op.String() + "\n")
		return nil
	}
	a, c := topic(1), topic(2)
	say("create the directory")
	r.open()
	say("append to two partitions and sync")
	r.create(a, smallLog())
	r.create(c, smallLog())
	r.append(a, 0, batch(1, 1, 3000, 1))
	r.append(c, 0, batch(2, 1, 100, 1))
	r.append(a, 1, batch(3, 1, 3000, 2))
	r.sync()
	say("append until the segment rolls")
	r.append(a, 2, batch(4, 1, 3000, 3))
	r.sync()
	say("checkpoint")
	r.checkpoint()
	say("retention removes the first segment")
	lc := smallLog()
	lc.RetentionBytes = 0
	r.create(a, lc)
	r.perform(effect.Set{Retains: []effect.Retain{{Partition: a, HighWatermark: 2, Wall: 10}}})
	r.sync()
	say("delete a partition")
	r.perform(effect.Set{Deletes: []effect.Delete{{Partition: c}}})
	r.sync()
	say("crash without loss, recover")
	r.append(a, 3, batch(5, 1, 100, 4))
	r.sync()
	r.crash(storagetest.LoseNothing, 0)
	say("close cleanly")
	r.close()
	say("open, append in place")
	r.cfg.InPlaceBytesMin = 1000
	r.open()
	r.append(a, 4, batch(6, 1, 2000, 5))
	r.sync()
	say("truncate within the segment, append behind it")
	r.truncate(a, 4)
	r.append(a, 4, batch(7, 1, 100, 6))
	r.sync()
	say("begin anew at another offset, append there")
	r.startAt(a, 100)
	r.append(a, 100, batch(8, 1, 100, 7))
	r.sync()
	say("close")
	r.close()

	if got := r.recovered(a).State.EndOffset(); got != model.Offset(4) {
		t.Fatalf("end %d", got)
	}
	const path = "testdata/trace.golden"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, expected := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(expected)) {
		if i >= len(got) || i >= len(expected) || got[i] != expected[i] {
			t.Fatalf("operation %d differs (rewrite with -update if that is meant):\ngot:\n%s", i+1, b.String())
		}
	}
}
