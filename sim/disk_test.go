package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/sim/draw"
)

var _ storage.Disk = (*Disk)(nil)

type faultCounts [faultCount]int

func newTestDisk(seed uint64) (*Disk, *faultCounts) {
	counts := &faultCounts{}
	return NewDisk(draw.Seed(seed).Stream("disk", 1), func(f Fault) { counts[f]++ }), counts
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, d *Disk, path string, content []byte) storage.File {
	t.Helper()
	f, err := d.Create(path)
	must(t, err)
	must(t, f.WriteAt([][]byte{content}, 0))
	return f
}

func contents(t *testing.T, d *Disk, path string) []byte {
	t.Helper()
	f, err := d.Open(path)
	must(t, err)
	n, err := f.SizeBytes()
	must(t, err)
	p := make([]byte, n)
	if _, err := f.ReadAt(p, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	must(t, f.Close())
	return p
}

func pattern(n int, salt byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7+i/256) ^ salt
	}
	return p
}

func TestSyncedBytesAndNamesSurviveEveryPowerLoss(t *testing.T) {
	for seed := range uint64(300) {
		d, _ := newTestDisk(seed)
		must(t, d.MakeDir("a/b"))
		must(t, d.SyncDir("a"))
		must(t, d.SyncDir(""))
		want := pattern(10_000, 3)
		f := create(t, d, "a/b/log", want)
		must(t, f.Sync())
		must(t, d.SyncDir("a/b"))
		// Unsynced work beside it, in the same pages, must not touch it.
		must(t, f.WriteAt([][]byte{pattern(5000, 9)}, 10_000))
		create(t, d, "a/b/other", pattern(3000, 1))
		d.Crash(true)
		got := contents(t, d, "a/b/log")
		if len(got) < len(want) || !bytes.Equal(got[:len(want)], want) {
			t.Fatalf("seed %d: synced bytes changed", seed)
		}
	}
}

func TestUnsyncedBytesAreSometimesKeptLostAndTorn(t *testing.T) {
	kept, lost, torn := 0, 0, 0
	for seed := range uint64(300) {
		d, _ := newTestDisk(seed)
		f := create(t, d, "f", make([]byte, 8192))
		must(t, f.Sync())
		must(t, d.SyncDir(""))
		must(t, f.WriteAt([][]byte{bytes.Repeat([]byte{1}, 4096)}, 0))
		d.Crash(true)
		switch n := bytes.Count(contents(t, d, "f"), []byte{1}); {
		case n == 4096:
			kept++
		case n == 0:
			lost++
		case n%sectorBytes == 0:
			torn++
		default:
			t.Fatalf("seed %d: a sector was torn: %d bytes", seed, n)
		}
	}
	if kept < 30 || lost < 30 || torn < 30 {
		t.Errorf("kept %d, lost %d, torn %d times", kept, lost, torn)
	}
}

func TestNamesWithoutSyncDirAreSometimesLost(t *testing.T) {
	kept, lost, renamed, old := 0, 0, 0, 0
	for seed := range uint64(300) {
		d, counts := newTestDisk(seed)
		f := create(t, d, "stays", pattern(100, 0))
		must(t, f.Sync())
		must(t, d.SyncDir(""))
		must(t, d.Rename("stays", "moved"))
		g := create(t, d, "new", pattern(100, 1))
		must(t, g.Sync())
		d.Crash(true)
		names := map[string]bool{}
		entries, err := d.List("")
		must(t, err)
		for _, e := range entries {
			names[e.Name] = true
		}
		if names["stays"] == names["moved"] {
			t.Fatalf("seed %d: a rename was torn: %v", seed, names)
		}
		if names["moved"] {
			renamed++
		} else {
			old++
		}
		if names["new"] {
			kept++
		} else {
			lost++
			if counts[FaultNameLost] == 0 {
				t.Fatal("a lost name was not counted")
			}
		}
	}
	if kept < 50 || lost < 50 || renamed < 50 || old < 50 {
		t.Errorf("new kept %d lost %d, rename kept %d lost %d", kept, lost, renamed, old)
	}
}

func TestDirectoryWhoseParentWasNotSyncedIsLostWithEverythingInIt(t *testing.T) {
	lost := 0
	for seed := range uint64(100) {
		d, _ := newTestDisk(seed)
		must(t, d.MakeDir("a"))
		f := create(t, d, "a/f", pattern(10, 0))
		must(t, f.Sync())
		must(t, d.SyncDir("a"))
		d.Crash(true)
		if _, err := d.Open("a/f"); errors.Is(err, storage.ErrNotExist) {
			lost++
		}
	}
	if lost == 0 {
		t.Error("never lost")
	}
}

func TestProcessCrashKeepsWhatWasWritten(t *testing.T) {
	d, _ := newTestDisk(1)
	want := pattern(9000, 5)
	create(t, d, "f", want)
	must(t, d.Rename("f", "g"))
	d.Crash(false)
	if !bytes.Equal(contents(t, d, "g"), want) {
		t.Error("kill -9 lost bytes of the page cache")
	}
}

func TestHandleOfADeadProcessIsRefused(t *testing.T) {
	d, _ := newTestDisk(1)
	f := create(t, d, "f", []byte{1})
	d.Crash(false)
	defer func() {
		if _, ok := recover().(invariant.Violation); !ok {
			t.Error("the handle still worked")
		}
	}()
	_, _ = f.ReadAt(make([]byte, 1), 0)
}

func TestFailedSyncDropsPagesForGood(t *testing.T) {
	for _, evict := range []bool{true, false} {
		lost := 0
		for seed := range uint64(100) {
			d, counts := newTestDisk(seed)
			f := create(t, d, "f", make([]byte, 8*pageBytes))
			must(t, f.Sync())
			must(t, d.SyncDir(""))
			must(t, f.WriteAt([][]byte{bytes.Repeat([]byte{1}, 8*pageBytes)}, 0))
			d.FailSyncs(1, evict)
			if f.Sync() == nil {
				t.Fatal("the sync did not fail")
			}
			if counts[FaultSyncError] != 1 {
				t.Fatal("not counted")
			}
			if f.Sync() == nil {
				t.Fatal("a later sync of the file took the silence for success")
			}
			if n := bytes.Count(contents(t, d, "f"), []byte{1}); n != 8*pageBytes {
				t.Fatal("the cache lost what was written")
			}
			d.Crash(false)
			if n := bytes.Count(contents(t, d, "f"), []byte{1}); !evict && n != 8*pageBytes {
				t.Fatal("the cache did not survive a process crash")
			}
			again, err := d.Open("f")
			must(t, err)
			must(t, again.Sync()) // succeeds in another process, and helps nothing: the pages are clean
			d.Crash(true)
			if n := bytes.Count(contents(t, d, "f"), []byte{1}); n < 8*pageBytes {
				lost++
			}
		}
		if lost < 90 {
			t.Errorf("only %d of 100 failed syncs lost something", lost)
		}
	}
}

func TestFullDiskWritesAPrefixAndSaysSo(t *testing.T) {
	for seed := range uint64(50) {
		d, counts := newTestDisk(seed)
		f := create(t, d, "f", pattern(1000, 0))
		d.SetCapacity(500)
		err := f.WriteAt([][]byte{pattern(600, 1), pattern(600, 2)}, 1000)
		if !errors.Is(err, storage.ErrFull) || counts[FaultDiskFull] != 1 {
			t.Fatalf("err = %v", err)
		}
		if n := len(contents(t, d, "f")); n < 1000 || n > 1500 {
			t.Fatalf("%d bytes after a refused write", n)
		}
		must(t, f.WriteAt([][]byte{pattern(1000, 3)}, 0)) // allocated already
		must(t, f.Truncate(0))
		must(t, f.WriteAt([][]byte{pattern(1200, 3)}, 0))
		must(t, d.Remove("f"))
		g := create(t, d, "g", pattern(1500, 0))
		if err := g.Zero(1600); !errors.Is(err, storage.ErrFull) {
			t.Fatalf("Zero: %v", err)
		}
		d.SetCapacity(-1)
		must(t, g.Zero(16000))
	}
}

func TestCrashInsideAnOperationStrikesWhereItWasPlanned(t *testing.T) {
	for n := int64(1); n <= 6; n++ {
		d, _ := newTestDisk(uint64(n))
		d.CrashAfter(n, true)
		steps := 0
		func() {
			defer func() {
				if s, ok := recover().(crashSignal); !ok || !s.power {
					t.Fatalf("no power loss at operation %d", n)
				}
			}()
			f, err := d.Create("f")
			must(t, err)
			for {
				steps++
				must(t, f.WriteAt([][]byte{pattern(100, 0)}, 0))
			}
		}()
		if int64(steps) != n-1 {
			t.Errorf("operation %d: struck after %d writes", n, steps)
		}
	}
}

func TestRegionOutlivesNameAndHandle(t *testing.T) {
	d, _ := newTestDisk(1)
	want := pattern(1000, 4)
	f := create(t, d, "f", want)
	r := f.Region(100, 50)
	must(t, f.Close())
	must(t, d.Remove("f"))
	got := make([]byte, 50)
	if n, err := r.ReadAt(got, 0); n != 50 || err != nil || !bytes.Equal(got, want[100:150]) {
		t.Errorf("read %d, %v", n, err)
	}
	if n, err := r.ReadAt(make([]byte, 50), 10); n != 40 || !errors.Is(err, io.EOF) {
		t.Errorf("read past the end: %d, %v", n, err)
	}
	r.Release()
	if d.regions != 0 || d.handles != 0 {
		t.Error("leaked")
	}
}

// What is written after a sync began may be lost although the sync succeeds.
func TestSyncCoversOnlyWhatWasWrittenBeforeItBegan(t *testing.T) {
	lost := 0
	for seed := range uint64(100) {
		d, _ := newTestDisk(seed)
		f := create(t, d, "f", bytes.Repeat([]byte{1}, 3*pageBytes))
		must(t, d.SyncDir(""))
		d.BeginSync()
		must(t, f.WriteAt([][]byte{bytes.Repeat([]byte{2}, 2*pageBytes)}, 2*pageBytes))
		must(t, d.RunSync(false, f.Sync))
		d.Crash(true)
		got := contents(t, d, "f")
		if len(got) < 3*pageBytes || !bytes.Equal(got[:2*pageBytes], bytes.Repeat([]byte{1}, 2*pageBytes)) {
			t.Fatalf("seed %d: what was written before is not there", seed)
		}
		if got[2*pageBytes] == 1 {
			lost++
		}
	}
	if lost < 30 {
		t.Errorf("the late write was lost only %d times", lost)
	}
}

// The newest sync of appends is spared until something proves it: another sync of appends, or a remark that
// was not lost. What was written in the same pages of a file long synced, and what lies beside it, is not.
func TestFlippedBitIsInBytesThatAreProvenDurable(t *testing.T) {
	const old, all = 3 * pageBytes, 9 * pageBytes
	for _, test := range []struct {
		name   string
		then   func(d *Disk, f storage.File)
		power  bool
		spared bool
	}{
		{"nothing", func(*Disk, storage.File) {}, true, true},
		{"a sync of nothing, as everything was refused", func(d *Disk, _ storage.File) {
			d.BeginSync()
			must(t, d.RunSync(true, func() error { return nil }))
		}, true, true},
		{"a sync of a checkpoint", func(d *Disk, f storage.File) {
			d.BeginSync()
			must(t, d.RunSync(false, f.Sync))
		}, true, true},
		{"a sync of appends", func(d *Disk, f storage.File) {
			d.BeginSync()
			must(t, d.RunSync(true, f.Sync))
		}, true, false},
		{"a remark and a kill", func(d *Disk, _ storage.File) { d.Proven() }, false, false},
		{"a remark and a power loss", func(d *Disk, _ storage.File) { d.Proven() }, true, true},
		{"a remark that may be overwritten", func(d *Disk, _ storage.File) { d.Proven(); d.BeginSync() }, false, true},
	} {
		flips, late := 0, 0
		for seed := range uint64(100) {
			d, counts := newTestDisk(seed)
			want := pattern(all, 8)
			f := create(t, d, "f", want[:old])
			must(t, f.Sync())
			must(t, d.SyncDir(""))
			must(t, f.WriteAt([][]byte{want[old:]}, old))
			d.BeginSync()
			must(t, d.RunSync(true, f.Sync))
			test.then(d, f)
			d.Crash(test.power)
			flip, ok := d.FlipBit()
			if !ok {
				continue
			}
			flips += counts[FaultBitFlip]
			if flip.Offset >= old {
				late++
			}
			got := contents(t, d, "f")
			if got[flip.Offset] != want[flip.Offset]^1<<flip.Bit {
				t.Fatalf("%s: seed %d: %+v is not where it says", test.name, seed, flip)
			}
			got[flip.Offset] = want[flip.Offset]
			if !bytes.Equal(got, want) {
				t.Fatalf("%s: more than one bit changed", test.name)
			}
		}
		if flips < 90 || test.spared != (late == 0) || !test.spared && late < 30 {
			t.Errorf("after %s: %d flips, %d of them in what was synced last", test.name, flips, late)
		}
	}
}

// A damaged file is what the damage says and nothing else, after a loss of power, too; and what nothing would miss is left alone.
func TestHarmIsWhatItSays(t *testing.T) {
	const all = 9 * pageBytes
	for _, kind := range []Fault{FaultBitFlip, FaultZeroed, FaultShortened, FaultRemoved} {
		harmed := 0
		for seed := range uint64(100) {
			d, counts := newTestDisk(seed)
			must(t, d.MakeDir("journal"))
			must(t, d.SyncDir(""))
			want := pattern(all, 8)
			files := map[string][]byte{"journal/1": want, "journal/2": want, "late": want}
			for _, path := range sortedKeys(files) {
				f := create(t, d, path, want)
				d.BeginSync()
				must(t, d.RunSync(true, f.Sync))
				must(t, d.SyncDir("journal"))
				must(t, d.SyncDir(""))
				must(t, f.Close())
			}
			h, ok := d.Harm(kind, nil)
			if !ok {
				continue // only the newest of the journal was drawn
			}
			harmed++
			d.Crash(true)
			if h.Kind != kind || counts[kind] != 1 || h.Path == "late" {
				t.Fatalf("seed %d: %+v, counted %d times", seed, h, counts[kind])
			}
			for _, path := range sortedKeys(files) {
				expect := slices.Clone(want)
				switch {
				case path != h.Path:
				case kind == FaultBitFlip:
					expect[h.Offset] ^= 1 << h.Bit
				case kind == FaultZeroed:
					clear(expect[h.Offset : h.Offset+h.Bytes])
				case kind == FaultShortened:
					expect = expect[:h.Offset]
				case kind == FaultRemoved:
					if _, err := d.Open(path); !errors.Is(err, storage.ErrNotExist) {
						t.Fatalf("seed %d: %v, and it opens with %v", seed, h, err)
					}
					continue
				}
				if !bytes.Equal(contents(t, d, path), expect) {
					t.Fatalf("seed %d: %v: %s holds something else", seed, h, path)
				}
			}
			if cut := kind == FaultShortened || kind == FaultRemoved; cut && h.Path == "journal/2" {
				t.Fatalf("seed %d: %v: nothing would miss it", seed, h)
			}
		}
		if harmed < 60 {
			t.Errorf("%v: %d of 100 disks were damaged", kind, harmed)
		}
	}
}

func sortedKeys(m map[string][]byte) []string { return slices.Sorted(maps.Keys(m)) }

// The disk against a model that only knows the contract: what was synced is there, what was not is one
// of the values ever written to its sector.
func TestDiskKeepsItsContract(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, _ := newTestDisk(rapid.Uint64().Draw(t, "seed"))
		const sectors = 32
		f, err := d.Create("f")
		if err != nil || d.SyncDir("") != nil {
			t.Fatal(err)
		}
		var synced [sectors]byte
		var since [sectors][]byte
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				if err := f.Sync(); err != nil {
					t.Fatal(err)
				}
				for i := range since {
					if len(since[i]) > 0 {
						synced[i] = since[i][len(since[i])-1]
					}
					since[i] = nil
				}
			case 1:
				d.Crash(true)
				if f, err = d.Open("f"); err != nil {
					t.Fatal(err)
				}
				p := make([]byte, sectors*sectorBytes)
				_, _ = f.ReadAt(p, 0)
				size, _ := f.SizeBytes()
				for i := range sectors {
					v := p[i*sectorBytes]
					whole := bytes.Count(p[i*sectorBytes:(i+1)*sectorBytes], []byte{v}) == sectorBytes
					ok := whole && (v == synced[i] || v == 0 && synced[i] == 0 || bytes.IndexByte(since[i], v) >= 0)
					// Beyond what was ever synced the device may show anything.
					if !ok && synced[i] != 0 {
						t.Fatalf("sector %d holds %d, synced %d, since %v", i, v, synced[i], since[i])
					}
					synced[i], since[i] = v, nil
					if !whole {
						synced[i] = 0
						if int64(i*sectorBytes) < size {
							if err := f.WriteAt([][]byte{make([]byte, sectorBytes)}, int64(i*sectorBytes)); err != nil {
								t.Fatal(err)
							}
							since[i] = []byte{0}
						}
					}
				}
			default:
				at := rapid.IntRange(0, sectors-1).Draw(t, "at")
				n := rapid.IntRange(1, sectors-at).Draw(t, "n")
				v := rapid.Byte().Draw(t, "v")
				if err := f.WriteAt([][]byte{bytes.Repeat([]byte{v}, n*sectorBytes)}, int64(at*sectorBytes)); err != nil {
					t.Fatal(err)
				}
				for i := at; i < at+n; i++ {
					since[i] = append(since[i], v)
				}
			}
		}
	})
}

func TestListIsSortedAndNamesDirectories(t *testing.T) {
	d, _ := newTestDisk(1)
	must(t, d.MakeDir("p/q"))
	create(t, d, "p/z", pattern(3, 0))
	create(t, d, "p/a", nil)
	entries, err := d.List("p")
	must(t, err)
	if got := fmt.Sprint(entries); got != "[{a false 0} {q true 0} {z false 3}]" {
		t.Error(got)
	}
	if _, err := d.List("nothing"); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("List of nothing: %v", err)
	}
	if err := d.RemoveDir("p"); !errors.Is(err, errNotEmpty) {
		t.Errorf("RemoveDir: %v", err)
	}
	if _, err := d.Create("p/z"); err == nil {
		t.Error("created what exists")
	}
	if _, err := d.Open("p/none"); !errors.Is(err, storage.ErrNotExist) {
		t.Error(err)
	}
}

func BenchmarkDiskAppendAndSync(b *testing.B) {
	d, _ := newTestDisk(1)
	f, _ := d.Create("f")
	_ = f.Zero(1 << 20)
	p := pattern(1000, 0)
	b.ReportAllocs()
	off := int64(0)
	for b.Loop() {
		_ = f.WriteAt([][]byte{p}, off)
		_ = f.Sync()
		off = (off + 1000) % (1 << 20)
	}
}
