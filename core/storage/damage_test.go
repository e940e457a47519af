package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// The journal's last group is bad, and something says that it was durable.
func TestBadGroupThatWasDurableIsNeverDropped(t *testing.T) {
	for _, test := range []struct {
		name string
		then func(r *rig, tp model.TopicPartition)
	}{
		{"a group follows", func(r *rig, tp model.TopicPartition) { r.fill(tp, 4, 1, 100) }},
		{"a mark follows, as nothing was staged", func(r *rig, _ model.TopicPartition) { r.sync() }},
		{"a mark follows, as everything was refused", func(r *rig, tp model.TopicPartition) {
			r.disk.CapacityBytes = r.disk.UsedBytes()
			r.append(tp, 4, batch(1, 1, 20_000, 1))
			r.syncOnce()
			if last := r.done.Appended[len(r.done.Appended)-1]; last.Failure != effect.DiskFull {
				r.t.Fatalf("reported %+v", last)
			}
			r.disk.CapacityBytes = 0
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, smallConfig())
			tp := topic(1)
			r.create(tp, smallLog())
			r.fill(tp, 0, 3, 700)
			needle := r.append(tp, 3, batch(77, 1, 700, 1))
			r.syncOnce()
			test.then(r, tp)
			r.disk.Crash(storagetest.LoseNothing, 0)
			// The journal's copy and the segment's are hit in the payload.
			hits := 0
			for _, path := range r.disk.Paths() {
				if i := bytes.Index(r.disk.Bytes(path), needle); i >= 0 {
					r.disk.Flip(path, int64(i+100)*8)
					hits++
				}
			}
			if hits != 2 {
				t.Fatalf("%d copies", hits)
			}
			r.open()
			if d := r.recovered(tp).Damage; d == "" {
				t.Fatalf("recovered to %d without a word", r.recovered(tp).State.EndOffset())
			}
			if _, code := r.read(tp, 0, 3, 1000); code != kerr.KafkaStorageError.Code {
				t.Fatalf("a damaged partition is read with code %d", code)
			}
			// It stays damaged, and the others work.
			r.crash(storagetest.LoseNothing, 0)
			if r.recovered(tp).Damage == "" {
				t.Fatal("the damage was forgotten")
			}
			other := topic(2)
			r.create(other, smallLog())
			want := r.fill(other, 0, 2, 100)
			if got := r.readAll(other, 0, 2); !bytes.Equal(got, want) {
				t.Fatal("other bytes in another partition")
			}
		})
	}
}

func TestBadGroupHeaderThatWasDurableRefusesToOpen(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 5, 700)
	r.disk.Crash(storagetest.LoseNothing, 0)
	path := r.journalPaths()[0]
	before := r.disk.Bytes(path)
	at := bytes.Index(before[1:], []byte("WJG1")) + 1 // the second group
	r.disk.Flip(path, int64(at+10)*8)
	_, _, err := storage.Open(r.disk, r.cfg)
	if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Fatalf("opened with %v", err)
	}
	r.disk.Flip(path, int64(at+10)*8)
	r.open()
	if got := r.recovered(tp).State.EndOffset(); got != 5 {
		t.Fatalf("the refused open changed something: end %d", got)
	}
}

func TestBadJournalPayloadIsHealedFromTheSegment(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 5, 700)
	r.disk.Crash(storagetest.LoseNothing, 0)
	path := r.journalPaths()[0]
	at := bytes.Index(r.disk.Bytes(path), want[100:300])
	r.disk.Flip(path, int64(at)*8)
	r.open()
	if got := r.readAll(tp, 0, 5); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
}

func TestBitFlipInClosedSegmentIsReportedNotServed(t *testing.T) {
	for _, regions := range []bool{false, true} {
		for _, at := range []int64{0, 5, 9, 13, 16, 18, 22, 30, 60, 500} { // every field of a header, and a payload
			cfg := smallConfig()
			cfg.Regions = regions
			r := newRig(t, cfg)
			tp := topic(1)
			r.create(tp, smallLog())
			want := r.fill(tp, 0, 30, 700)
			r.close()
			batchBytes := int64(len(want) / 30)
			r.disk.Flip(r.logPath(tp, 0), (2*batchBytes+at)*8)
			r.open()
			good, _ := r.read(tp, 0, 2, 10_000)
			if !bytes.Equal(good, want[:2*batchBytes]) && len(good) > 0 {
				t.Fatalf("byte %d: other bytes before the flip", at)
			}
			got, code := r.read(tp, 2, 30, 10_000)
			if code != kerr.KafkaStorageError.Code || len(got) > 0 {
				t.Fatalf("byte %d: %d bytes, code %d", at, len(got), code)
			}
			r.done.Reset()
			r.perform(effect.Set{})
			if len(r.done.Damaged) != 1 || r.done.Damaged[0].Partition != tp {
				t.Fatalf("byte %d: reported %+v", at, r.done.Damaged)
			}
			r.done.Reset()
			r.append(tp, 30, batch(1, 1, 10, 1))
			if len(r.done.Appended) != 1 || r.done.Appended[0].Failure != effect.Broken {
				t.Fatalf("byte %d: append to a damaged partition: %+v", at, r.done.Appended)
			}
		}
	}
}

// A flip in what was deleted, in a segment whose rest is in use, must not take the rest away.
func TestBitFlipBeforeTheLogStartIsNobodysConcern(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 30, 700)
	each := len(want) / 30
	r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 30, Below: 3}}})
	r.sync()
	r.close()
	r.disk.Flip(r.logPath(tp, 0), int64(each+500)*8)
	r.open()
	if got := r.readAll(tp, 3, 30); !bytes.Equal(got, want[3*each:]) {
		t.Fatal("other bytes")
	}
	if err := r.e.ReadAll(tp, func(record.Batch) error { return nil }); err != nil {
		t.Fatal(err)
	}
	r.done.Reset()
	r.append(tp, 30, batch(1, 1, 10, 1))
	r.sync()
	if len(r.done.Damaged) != 0 || len(r.done.Appended) != 1 || r.done.Appended[0].Failure != effect.OK {
		t.Fatalf("damaged %+v, appended %+v", r.done.Damaged, r.done.Appended)
	}
	if err := r.e.Check(); err == nil {
		t.Fatal("no flip was found before the log start")
	}
	if err := r.e.CheckBut(func(other model.TopicPartition) bool { return other == tp }); err != nil {
		t.Fatal(err)
	}
}

// firstUses are what may be wanted of a log of 30 records first after a start.
var firstUses = []func(r *rig, tp model.TopicPartition){
	func(r *rig, tp model.TopicPartition) { r.read(tp, 29, 30, 100) },
	func(r *rig, tp model.TopicPartition) {
		r.append(tp, 30, batch(1, 1, 10, 1))
		r.sync()
	},
	func(r *rig, tp model.TopicPartition) {
		r.perform(effect.Set{Lookups: []effect.Lookup{{Partition: tp, Timestamp: 1, Limit: 30}}})
	},
	func(r *rig, tp model.TopicPartition) {
		r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 30, Wall: -1 << 40}}})
	},
	func(r *rig, tp model.TopicPartition) { _ = r.e.ReadAll(tp, func(record.Batch) error { return nil }) },
}

func TestShortOrMissingSegmentIsDamage(t *testing.T) {
	for _, test := range []struct {
		name string
		hurt func(r *rig, paths []string) error
	}{
		{"middle missing", func(r *rig, p []string) error { return r.disk.Remove(p[1]) }},
		{"first missing", func(r *rig, p []string) error { return r.disk.Remove(p[0]) }},
		{"last missing", func(r *rig, p []string) error { return r.disk.Remove(p[len(p)-1]) }},
		{"middle short", func(r *rig, p []string) error { r.disk.Cut(p[1], 100); return nil }},
		{"last short", func(r *rig, p []string) error { r.disk.Cut(p[len(p)-1], 1); return nil }},
	} {
		for i := range 2 * len(firstUses) {
			clean, use := i%2 == 0, firstUses[i/2]
			t.Run(fmt.Sprintf("%s/clean=%v/use=%d", test.name, clean, i/2), func(t *testing.T) {
				r := newRig(t, smallConfig())
				tp, other := topic(1), topic(2)
				r.create(tp, smallLog())
				r.create(other, smallLog())
				r.fill(tp, 0, 30, 700)
				want := r.fill(other, 0, 3, 700)
				r.checkpoint()
				if clean {
					r.close()
				} else {
					r.disk.Crash(storagetest.LoseNothing, 0)
				}
				paths := r.segments(tp)
				if err := test.hurt(r, paths); err != nil {
					t.Fatal(err)
				}
				r.open()
				// The directory is not looked into before something is wanted of it.
				r.done.Reset()
				use(r, tp)
				r.perform(effect.Set{})
				if len(r.done.Damaged) != 1 || r.done.Damaged[0].Partition != tp {
					t.Fatalf("reported %+v", r.done.Damaged)
				}
				r.checkpoint()
				r.crash(storagetest.LoseNothing, 0)
				if r.recovered(tp).Damage == "" {
					t.Fatal("forgotten by a restart")
				}
				if got := r.readAll(other, 0, 3); !bytes.Equal(got, want) {
					t.Fatal("other bytes in another partition")
				}
				for _, path := range paths[1:] {
					if len(r.disk.Bytes(path)) == 0 && !strings.HasSuffix(test.name, "missing") {
						t.Fatalf("%s was removed or emptied", path)
					}
				}
			})
		}
	}
}

func TestOneRottenManifestIsReplacedByItsTwin(t *testing.T) {
	for _, path := range []string{"checkpoint.a", "checkpoint.b"} {
		r := newRig(t, smallConfig())
		tp := topic(1)
		r.create(tp, smallLog())
		want := r.fill(tp, 0, 10, 700)
		r.checkpoint()
		r.disk.Crash(storagetest.LoseNothing, 0)
		r.disk.Flip(path, 333)
		r.open()
		if got := r.readAll(tp, 0, 10); !bytes.Equal(got, want) {
			t.Fatal("other bytes")
		}
		if !slices.ContainsFunc(r.rec.Notes, func(n effect.Note) bool { return n.Kind == effect.NoteDamageFound }) {
			t.Fatal("not reported")
		}
		r.crash(storagetest.LoseUnsynced, 0)
		if slices.ContainsFunc(r.rec.Notes, func(n effect.Note) bool { return n.Kind == effect.NoteDamageFound }) {
			t.Fatal("not healed")
		}
	}
}

func TestRottenManifestsRefuseToOpenAndDeleteNothing(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 10, 700)
	r.close()
	r.disk.Flip("checkpoint.a", 333)
	r.disk.Flip("checkpoint.b", 333)
	before := r.disk.Paths()
	if _, _, err := storage.Open(r.disk, r.cfg); !errors.Is(err, storage.ErrDamaged) {
		t.Fatalf("opened with %v", err)
	}
	if after := r.disk.Paths(); !slices.Equal(before, after) {
		t.Fatalf("files were %v, are %v", before, after)
	}
}

// What was acknowledged since the manifest is in a file of the journal that the manifest names: without it nothing can be said of
// any partition. Its name was durable before the manifest was.
func TestJournalFileThatTheManifestNamesIsMissed(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 3, 700)
	r.checkpoint()
	r.fill(tp, 3, 3, 700)
	r.disk.Crash(storagetest.LoseNothing, 0)
	paths := r.journalPaths()
	if err := r.disk.Remove(paths[len(paths)-1]); err != nil {
		t.Fatal(err)
	}
	before := r.disk.Paths()
	if _, _, err := storage.Open(r.disk, r.cfg); !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), paths[len(paths)-1]) {
		t.Fatalf("opened with %v", err)
	}
	if after := r.disk.Paths(); !slices.Equal(before, after) {
		t.Fatalf("files were %v, are %v", before, after)
	}
}

// A file of the journal is missing, and a later one is there.
func TestMissingJournalFileBeforeOthersRefusesToOpen(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	for o := model.Offset(0); len(r.journalPaths()) < 4; o++ {
		r.fill(tp, o, 1, 700)
	}
	r.disk.Crash(storagetest.LoseNothing, 0)
	paths := r.journalPaths()
	for _, path := range paths[1 : len(paths)-1] { // the first waits to be the next
		disk := r.disk.Clone()
		if err := disk.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, _, err := storage.Open(disk, r.cfg); !errors.Is(err, storage.ErrDamaged) {
			t.Fatalf("without %s of %v: opened with %v", path, paths, err)
		}
	}
}

// unreadable makes one sector of a file fail to read.
func (r *rig) unreadable(path string, sector int64) {
	r.disk.ReadHook = func(p string, off, n int64) error {
		if p == path && off < (sector+1)*512 && off+n > sector*512 {
			return errors.New("input/output error")
		}
		return nil
	}
}

func TestUnreadableJournalSectorIsNotTheEndOfTheJournal(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 5, 700) // two sectors each
	r.disk.Crash(storagetest.LoseNothing, 0)
	path := r.journalPaths()[0]
	for sector := range int64(10) {
		r.unreadable(path, sector)
		if _, _, err := storage.Open(r.disk, r.cfg); !errors.Is(err, storage.ErrDamaged) {
			t.Fatalf("sector %d: opened with %v", sector, err)
		}
	}
	r.unreadable(path, 30)
	r.open()
	if got := r.readAll(tp, 0, 5); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
}

func TestUnreadableSegmentSectorIsDamage(t *testing.T) {
	for _, inPlace := range []int{0, 1} {
		cfg := smallConfig()
		cfg.InPlaceBytesMin = inPlace
		r := newRig(t, cfg)
		tp := topic(1)
		r.create(tp, smallLog())
		want := r.fill(tp, 0, 5, 700)
		r.disk.Crash(storagetest.LoseNothing, 0)
		last := int64(len(want)) / 512
		r.unreadable(r.logPath(tp, 0), last)
		r.open()
		got, code := r.read(tp, 4, 5, 10_000)
		if code != kerr.KafkaStorageError.Code || len(got) > 0 {
			t.Fatalf("in place %d: code %d, %d bytes, recovered %+v", inPlace, code, len(got), r.recovered(tp))
		}
		r.disk.ReadHook = nil
		if end := r.recovered(tp).State.EndOffset(); end != 5 && r.recovered(tp).Damage == "" {
			t.Fatalf("in place %d: recovered to %d without a word", inPlace, end)
		}
	}
}

// A process died with a manifest written and not synced; the next one goes by it. When the power fails while
// that one writes the other copy, one of them must still be whole.
func TestManifestGoneByIsDurableBeforeItsTwinIsTouched(t *testing.T) {
	for seed := range uint64(200) {
		r := newRig(t, smallConfig())
		tp := topic(1)
		r.create(tp, smallLog())
		want := r.fill(tp, 0, 10, 700)
		written := ""
		r.disk.Hook = func(op storagetest.Op) error {
			if op.Kind == "write" && strings.HasPrefix(op.Path, "checkpoint.") {
				written = op.Path
			}
			return nil
		}
		for {
			w, ok := r.e.BeginCheckpoint()
			if !ok {
				t.Fatal("no checkpoint")
			}
			if written != "" {
				break // not run: not synced
			}
			if err := r.e.EndCheckpoint(w, w.Run(), &r.done); err != nil {
				t.Fatal(err)
			}
		}
		r.disk.Crash(storagetest.LoseNothing, 0)
		dead := false
		r.disk.Hook = func(op storagetest.Op) error {
			if op.Kind == "sync" && strings.HasPrefix(op.Path, "checkpoint.") && op.Path != written {
				dead = true
			}
			if dead {
				return storagetest.ErrDead
			}
			return nil
		}
		if _, _, err := storage.Open(r.disk, r.cfg); !errors.Is(err, storagetest.ErrDead) {
			t.Fatalf("opened with %v", err)
		}
		r.disk.Hook = nil
		r.crash(storagetest.LoseSome, seed)
		if got := r.readAll(tp, 0, 10); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: other bytes", seed)
		}
	}
}
