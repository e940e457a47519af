package storage_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// truncate asks for a truncation, without making it durable.
func (r *rig) truncate(tp model.TopicPartition, to model.Offset) {
	r.perform(effect.Set{Truncates: []effect.Truncate{{Partition: tp, To: to}}})
}

func (r *rig) startAt(tp model.TopicPartition, o model.Offset) {
	r.perform(effect.Set{StartAts: []effect.StartAt{{Partition: tp, Offset: o}}})
}

// truncated is the only truncation that was reported.
func (r *rig) truncated() effect.Truncated {
	r.t.Helper()
	if len(r.done.Truncated) != 1 {
		r.t.Fatalf("reported %+v, want one truncation", r.done.Truncated)
	}
	t := r.done.Truncated[0]
	r.done.Reset()
	return t
}

// partitionFiles are the files of a partition's directory.
func (r *rig) partitionFiles(tp model.TopicPartition) []string {
	prefix := strings.TrimSuffix(r.logPath(tp, 0), fmt.Sprintf("%020d.log", 0))
	return slices.DeleteFunc(r.disk.Paths(), func(p string) bool { return !strings.HasPrefix(p, prefix) })
}

func TestTruncationDropsTheEndOfALog(t *testing.T) {
	const batches, records = 40, 3 // eight segments or so
	for _, test := range []struct {
		name       string
		start, to  model.Offset
		wantEnd    model.Offset
		wantStart  model.Offset
		startsAnew bool
	}{
		{"where a batch begins", 0, 60, 60, 0, false},
		{"inside a batch", 0, 61, 60, 0, false},
		{"at the last record of a batch", 0, 62, 60, 0, false},
		{"where the log ends", 0, 120, 120, 0, false},
		{"behind the log's end", 0, 500, 120, 0, false},
		{"everything", 0, 0, 0, 0, false},
		{"the first batch, too", 0, 2, 0, 0, false},
		{"to the log's start", 30, 30, 30, 30, false},
		{"to just behind the log's start, inside the batch that it cuts", 31, 32, 30, 30, false},
		{"below the log's start", 30, 7, 7, 7, false},
		{"and begins anew behind its end", 0, 500, 500, 500, true},
		{"and begins anew in its middle", 0, 61, 61, 61, true},
		{"and begins anew at 0", 30, 0, 0, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, smallConfig())
			tp := topic(1)
			r.create(tp, smallLog())
			var stored [][]byte
			for i := range batches {
				stored = append(stored, r.append(tp, model.Offset(i*records), batch(uint64(i), records, 500, model.Timestamp(1000+i))))
				r.sync()
			}
			if test.start > 0 {
				r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 120, Below: test.start}}})
				r.sync()
			}
			r.checkpoint()
			r.done.Reset()
			if test.startsAnew {
				r.startAt(tp, test.to)
			} else {
				r.truncate(tp, test.to)
			}
			r.sync()
			got := r.truncated()
			if got.Failure != effect.OK || got.NextOffset != test.wantEnd || got.State.EndOffset() != test.wantEnd || got.State.StartOffset() != test.wantStart {
				t.Fatalf("reported %+v, state [%d,%d), want [%d,%d)", got, got.State.StartOffset(), got.State.EndOffset(), test.wantStart, test.wantEnd)
			}
			var want []byte
			for i, b := range stored {
				if base := model.Offset(i * records); base < test.wantEnd && base+records > test.wantStart && test.wantStart < test.wantEnd {
					want = append(want, b...)
				}
			}
			check := func(when string) {
				t.Helper()
				if got := r.readAll(tp, test.wantStart, test.wantEnd); !bytes.Equal(got, want) {
					t.Fatalf("%s: read %d bytes, want %d", when, len(got), len(want))
				}
				if err := r.e.Check(); err != nil {
					t.Fatalf("%s: %v", when, err)
				}
				for _, path := range r.partitionFiles(tp) {
					if test.wantEnd == 0 {
						break // nothing is known of an empty log: its directory is a stray
					}
					if name := path[strings.LastIndexByte(path, '/')+1:]; name >= fmt.Sprintf("%020d", test.wantEnd) && test.wantEnd < 120 {
						t.Fatalf("%s: %s is still there", when, path)
					}
				}
			}
			check("at once")
			for _, loss := range []storagetest.Loss{storagetest.LoseUnsynced, storagetest.LoseSome, storagetest.LoseNothing} {
				r.crash(loss, 3)
				p := slices.IndexFunc(r.rec.Partitions, func(p storage.Recovered) bool { return p.Partition == tp })
				if p < 0 {
					if test.wantEnd > 0 {
						t.Fatalf("loss %d: the partition is gone", loss)
					}
					r.create(tp, smallLog())
				} else if p := r.rec.Partitions[p]; p.Damage != "" || p.State.EndOffset() != test.wantEnd || p.State.StartOffset() != test.wantStart {
					t.Fatalf("loss %d: recovered [%d,%d), damage %q", loss, p.State.StartOffset(), p.State.EndOffset(), p.Damage)
				}
				check(fmt.Sprintf("loss %d", loss))
			}
			r.create(tp, smallLog())
			more := r.append(tp, test.wantEnd, batch(99, 1, 700, 5000))
			r.sync()
			r.crash(storagetest.LoseUnsynced, 0)
			if got := r.readAll(tp, test.wantStart, test.wantEnd+1); !bytes.Equal(got, append(want, more...)) {
				t.Fatal("what was appended behind it is not there")
			}
		})
	}
}

// Until its sync has ended a truncation touches no file, and a power loss leaves the log as it was.
func TestNothingIsCutBeforeTheTruncationIsDurable(t *testing.T) {
	for _, whole := range []bool{false, true} {
		r := newRig(t, smallConfig())
		tp := topic(1)
		r.create(tp, smallLog())
		want := r.fill(tp, 0, 40, 1000)
		r.checkpoint()
		files := r.partitionFiles(tp)
		touched := ""
		r.disk.Hook = func(op storagetest.Op) error {
			if strings.HasPrefix(op.Path, "partitions/") && op.Kind != "sync" && op.Kind != "syncdir" {
				touched = op.String()
			}
			return nil
		}
		if whole {
			r.startAt(tp, 100)
		} else {
			r.truncate(tp, 21)
		}
		r.append(tp, map[bool]model.Offset{false: 21, true: 100}[whole], batch(9, 1, 2000, 1))
		w, ok := r.e.BeginSync()
		if !ok || touched != "" {
			t.Fatalf("whole %v: begun %v, %s before anything was synced", whole, ok, touched)
		}
		if err := w.Run(); err != nil {
			t.Fatal(err)
		}
		if touched != "" || !slices.Equal(r.partitionFiles(tp), files) {
			t.Fatalf("whole %v: %s during the sync", whole, touched)
		}
		if err := r.e.EndSync(w, nil, &r.done); err != nil {
			t.Fatal(err)
		}
		if touched == "" {
			t.Fatalf("whole %v: nothing was cut", whole)
		}
		r.disk.Hook = nil

		// The same without the sync.
		r = newRig(t, smallConfig())
		r.create(tp, smallLog())
		r.fill(tp, 0, 40, 1000)
		r.truncate(tp, 21)
		if _, ok := r.e.BeginSync(); !ok {
			t.Fatal("nothing to sync")
		}
		r.crash(storagetest.LoseUnsynced, 0)
		if got := r.readAll(tp, 0, 40); !bytes.Equal(got, want) {
			t.Fatal("a truncation that was not durable has happened")
		}
	}
}

// What is appended behind a truncation in the same set, or before it is durable, is written behind it.
func TestAppendsKeepTheirOrderWithTruncations(t *testing.T) {
	for _, inPlace := range []int{0, 1} {
		cfg := smallConfig()
		cfg.InPlaceBytesMin = inPlace
		r := newRig(t, cfg)
		tp, other := topic(1), topic(2)
		r.create(tp, smallLog())
		r.create(other, smallLog())
		want := r.fill(tp, 0, 10, 1000)
		want = want[:len(want)/2]
		r.done.Reset()
		r.append(tp, 10, batch(1, 1, 1000, 1)) // staged, and dropped again
		b := batch(2, 1, 1000, 2)
		r.perform(effect.Set{
			Truncates: []effect.Truncate{{Partition: tp, To: 5}},
			Appends:   []effect.Append{{Partition: tp, BaseOffset: 5, LeaderEpoch: 2, AppendTime: model.NoTimestamp, Batch: b}},
		})
		want = append(want, b...)
		record.Stamp(want[len(want)-len(b):], 5, 2)
		b = batch(3, 1, 1000, 3)
		r.perform(effect.Set{Appends: []effect.Append{{Partition: tp, BaseOffset: 6, LeaderEpoch: 2, AppendTime: model.NoTimestamp, Batch: b}}})
		want = append(want, b...)
		record.Stamp(want[len(want)-len(b):], 6, 2)
		beside := r.append(other, 0, batch(4, 1, 100, 1))

		var order []string
		for w, ok := r.e.BeginSync(); ok; w, ok = r.e.BeginSync() {
			if err := r.e.EndSync(w, w.Run(), &r.done); err != nil {
				t.Fatal(err)
			}
			for _, a := range r.done.Appended {
				order = append(order, fmt.Sprintf("appended %d", a.NextOffset))
			}
			for _, c := range r.done.Truncated {
				order = append(order, fmt.Sprintf("truncated %d of epoch %d", c.NextOffset, c.State.LeaderEpoch()))
			}
			r.done.Reset()
		}
		if got := strings.Join(order, ", "); got != "appended 11, truncated 5 of epoch 1, appended 7, appended 1" {
			t.Fatalf("in place from %d: reported %s", inPlace, got)
		}
		r.crash(storagetest.LoseUnsynced, 0)
		if got := r.readAll(tp, 0, 7); !bytes.Equal(got, want) {
			t.Fatalf("in place from %d: other bytes", inPlace)
		}
		if got := r.readAll(other, 0, 1); !bytes.Equal(got, beside) {
			t.Fatal("the other partition has other bytes")
		}
	}
}

// Whoever asks for an append without knowing where the truncation leaves the log is refused, and told.
func TestAppendThatDoesNotBeginAtTheNewEndIsRefused(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.append(tp, 0, batch(1, 10, 100, 1))
	r.sync()
	r.done.Reset()
	r.perform(effect.Set{
		Truncates: []effect.Truncate{{Partition: tp, To: 5}}, // inside the batch
		Appends:   []effect.Append{{Partition: tp, BaseOffset: 5, LeaderEpoch: 2, AppendTime: model.NoTimestamp, Batch: batch(2, 1, 100, 2)}},
	})
	r.sync()
	if len(r.done.Appended) != 1 || r.done.Appended[0].Failure != effect.DiskFull || r.done.Appended[0].State.EndOffset() != 0 {
		t.Fatalf("reported %+v", r.done.Appended)
	}
	want := r.append(tp, 0, batch(3, 1, 100, 2))
	r.sync()
	if got := r.readAll(tp, 0, 1); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
}

// A manifest that was lost leaves the one before it, and a journal that leads through everything that was truncated and
// written anew since, although the files are no longer what that manifest says.
func TestTruncationsAreReplayedFromAnOlderManifest(t *testing.T) {
	for _, inPlace := range []int{0, 1} {
		cfg := smallConfig()
		cfg.InPlaceBytesMin, cfg.JournalFileBytes = inPlace, 1<<20
		r := newRig(t, cfg)
		tp := topic(1)
		r.create(tp, smallLog())
		r.fill(tp, 0, 40, 1000)
		r.checkpoint()
		newest := ""
		r.disk.Hook = func(op storagetest.Op) error {
			if op.Kind == "write" && strings.HasPrefix(op.Path, "checkpoint.") && newest == "" {
				newest = op.Path
			}
			return nil
		}
		want := r.fill(tp, 40, 3, 1000)[:0]
		r.truncate(tp, 33)
		r.sync()
		r.startAt(tp, 0) // under the names of the first segments something else is written
		r.sync()
		want = append(want, r.fill(tp, 0, 30, 1500)...)
		r.truncate(tp, 25)
		r.sync()
		want = append(want[:25*(len(want)/30)], r.fill(tp, 25, 2, 700)...)
		for newest == "" { // to the end of the first copy
			w, ok := r.e.BeginCheckpoint()
			if !ok {
				t.Fatal("no checkpoint")
			}
			if err := r.e.EndCheckpoint(w, w.Run(), &r.done); err != nil {
				t.Fatal(err)
			}
		}
		r.disk.Hook = nil
		want = append(want, r.fill(tp, 27, 2, 700)...)
		for _, loss := range []storagetest.Loss{storagetest.LoseNothing, storagetest.LoseUnsynced} {
			image := r.disk.Clone()
			if loss == storagetest.LoseUnsynced {
				r.disk.Crash(loss, 0)
				image = r.disk.Clone()
			}
			image.Flip(newest, 333)
			o := &rig{t: t, disk: image, cfg: cfg}
			o.open()
			if p := o.recovered(tp); p.Damage != "" || p.State.EndOffset() != 29 {
				t.Fatalf("in place from %d: recovered to %d, damage %q", inPlace, p.State.EndOffset(), p.Damage)
			}
			if got := o.readAll(tp, 0, 29); !bytes.Equal(got, want) {
				t.Fatalf("in place from %d: other bytes", inPlace)
			}
			if err := o.e.Check(); err != nil {
				t.Fatal(err)
			}
			for _, n := range o.rec.Notes {
				if n.Kind == effect.NoteDamageFound && !strings.Contains(n.Detail, "checkpoint.") {
					t.Errorf("in place from %d: a note of damage: %s", inPlace, n.Detail)
				}
			}
		}
	}
}

// Producers and epochs are as if what was dropped had never been written, however far back what is remembered of them
// lies, and however often they wrote since.
func TestStateOfATruncatedLogIsExact(t *testing.T) {
	for _, test := range []struct {
		name                string
		producers, batches  int
		to                  model.Offset
		checkpoint, restart bool
		segmentBytes        int32
		valueBytes          int
	}{
		{"one segment", 3, 60, 30, false, false, 1 << 20, 20},
		{"several segments", 3, 300, 205, false, false, 8 << 10, 20},
		{"several segments, just behind where one begins", 40, 300, 120, true, false, 8 << 10, 20},
		{"many producers, state in a file", 60, 300, 250, true, false, 8 << 10, 20},
		{"after a restart", 60, 300, 250, true, true, 8 << 10, 20},
		{"after a restart, few producers", 3, 300, 250, true, true, 8 << 10, 20},
		{"large segments: the last part is enough", 2, 100, 95, false, false, 16 << 20, 50 << 10},
		{"large segments: to where one begins, after a restart", 60, 100, 40, true, true, 2 << 20, 50 << 10},
		{"large segments: the last part is not enough", 60, 200, 195, false, false, 16 << 20, 50 << 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := smallConfig()
			cfg.JournalFileBytes = 4 << 20
			r := newRig(t, cfg)
			tp := topic(1)
			lc := smallLog()
			lc.SegmentBytes = test.segmentBytes
			r.create(tp, lc)
			want := log.New(0)
			for i := range test.batches {
				epoch := model.LeaderEpoch(1 + i/50)
				id := model.ProducerID(i % test.producers)
				if i%7 == 0 {
					id = 0 // one that writes more often than the others
				}
				h := record.Header{ProducerID: id, ProducerEpoch: model.ProducerEpoch(i / 90)}
				if v := want.CheckSequence(h); v.Kind == log.OutOfOrder {
					h.BaseSequence = v.Expected
				}
				var b record.Builder
				o := record.NewOptions(record.CodecNone)
				o.ProducerID, o.ProducerEpoch, o.BaseSequence = h.ProducerID, h.ProducerEpoch, h.BaseSequence
				b.Begin(o)
				b.Append(record.Record{Value: bytes.Repeat([]byte("v"), test.valueBytes), Timestamp: 5})
				bytes := bytes.Clone(b.Finish())
				if model.Offset(i) < test.to {
					h, err := record.ReadHeader(bytes)
					if err != nil {
						t.Fatal(err)
					}
					want.Apply(h.Stamped(model.Offset(i), epoch))
				}
				r.perform(effect.Set{Appends: []effect.Append{{
					Partition: tp, BaseOffset: model.Offset(i), LeaderEpoch: epoch, AppendTime: model.NoTimestamp, Batch: bytes,
				}}})
				if i%10 == 9 {
					r.sync()
				}
				if test.checkpoint && i%100 == 99 {
					r.checkpoint()
				}
			}
			r.sync()
			if test.restart {
				r.crash(storagetest.LoseNothing, 0)
				r.create(tp, lc)
			}
			r.done.Reset()
			r.truncate(tp, test.to)
			r.sync()
			if got := r.truncated(); !got.State.Equal(want) {
				t.Fatalf("state %x\nwant  %x", got.State.AppendSnapshot(nil), want.AppendSnapshot(nil))
			}
			r.crash(storagetest.LoseUnsynced, 0)
			if got := r.recovered(tp); got.Damage != "" || !got.State.Equal(want) {
				t.Fatalf("recovered with damage %q and state %x\nwant %x", got.Damage, got.State.AppendSnapshot(nil), want.AppendSnapshot(nil))
			}
		})
	}
}

// Snapshots of the state that the journal truncates are not missed, and those that a power loss brings back are not
// believed.
func TestSnapshotsOfWhatWasTruncatedAreNotBelieved(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	next := model.Offset(0)
	want := log.New(0)
	write := func(count int, epoch model.LeaderEpoch, seqs int) {
		for range count {
			id := model.ProducerID(next % 40)
			h := record.Header{ProducerID: id}
			if v := want.CheckSequence(h); v.Kind == log.OutOfOrder {
				h.BaseSequence = v.Expected
			}
			b := producerBatch(id, h.BaseSequence)
			full, _ := record.ReadHeader(b)
			want.Apply(full.Stamped(next, epoch))
			r.perform(effect.Set{Appends: []effect.Append{{
				Partition: tp, BaseOffset: next, LeaderEpoch: epoch, AppendTime: model.NoTimestamp, Batch: b,
			}}})
			next++
		}
		r.sync()
	}
	write(130, 1, 0)
	before := want.Clone()
	write(130, 1, 0)
	r.checkpoint() // its state is a file, at 260
	old := map[string][]byte{}
	for _, path := range r.partitionFiles(tp) {
		if strings.HasSuffix(path, ".state") {
			old[path] = r.disk.Bytes(path)
		}
	}
	// The process dies after the sync, before it has removed them.
	image := r.disk.Clone()
	r.truncate(tp, 130)
	w, ok := r.e.BeginSync()
	if !ok {
		t.Fatal("nothing to sync")
	}
	if err := w.Run(); err != nil {
		t.Fatal(err)
	}
	killed := &rig{t: t, disk: r.disk.Clone(), cfg: r.cfg}
	killed.open()
	if got := killed.recovered(tp); got.Damage != "" || !got.State.Equal(before) {
		t.Fatalf("killed: damage %q, state %x\nwant %x", got.Damage, got.State.AppendSnapshot(nil), before.AppendSnapshot(nil))
	}
	for _, path := range killed.partitionFiles(tp) {
		if old[path] != nil && path > strings.Replace(killed.logPath(tp, 130), ".log", ".state", 1) {
			t.Errorf("killed: %s is still there", path)
		}
	}
	r.disk = image
	r.open()
	r.create(tp, smallLog())
	r.truncate(tp, 130)
	r.sync()
	for path := range old {
		if slices.Contains(r.partitionFiles(tp), path) && path > strings.Replace(r.logPath(tp, 130), ".log", ".state", 1) {
			t.Errorf("%s is still there", path)
		}
	}
	r.crash(storagetest.LoseNothing, 0)
	if got := r.recovered(tp); got.Damage != "" || !got.State.Equal(before) {
		t.Fatalf("damage %q, state %x\nwant %x", got.Damage, got.State.AppendSnapshot(nil), before.AppendSnapshot(nil))
	}
	for _, n := range append(r.rec.Notes, killed.rec.Notes...) {
		if n.Kind == effect.NoteDamageFound {
			t.Errorf("a note of damage: %s", n.Detail)
		}
	}
}

// A batch that is in its segment only is its group's proof. A truncation of its log comes in a later group, or its files
// would be cut before anything proves that group.
func TestTruncationDoesNotTakeTheProofOfItsGroup(t *testing.T) {
	cfg := smallConfig()
	cfg.InPlaceBytesMin = 1
	r := newRig(t, cfg)
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 10, 1000)
	want = want[:len(want)/2]
	r.append(tp, 10, batch(1, 1, 1000, 1))
	r.truncate(tp, 5)
	r.syncOnce()
	r.syncOnce()
	r.crash(storagetest.LoseNothing, 0) // before a mark
	if p := r.recovered(tp); p.Damage != "" || p.State.EndOffset() != 5 {
		t.Fatalf("recovered to %d, damage %q", p.State.EndOffset(), p.Damage)
	}
	if got := r.readAll(tp, 0, 5); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
}

// Whoever is still being sent what was truncated never gets what took its place.
func TestRegionsNeverShowWhatTookTheirPlace(t *testing.T) {
	cfg := smallConfig()
	cfg.Regions = true
	r := newRig(t, cfg)
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 6, 1000)
	f := effect.FetchReply{BytesMax: 1 << 20, Parts: []effect.FetchPart{{Partition: tp, From: 0, To: 6, BytesMax: 1 << 20}}}
	r.e.ResolveRead(&f)
	regions := f.Parts[0].Records.Regions
	if f.Parts[0].Records.LenBytes() != len(want) {
		t.Fatalf("%d bytes of %d", f.Parts[0].Records.LenBytes(), len(want))
	}
	r.truncate(tp, 3)
	r.sync()
	r.fill(tp, 3, 3, 1000) // as long as what was there
	got := make([]byte, len(want))
	n, err := regions[0].ReadAt(got, 0)
	if !bytes.Equal(got[:n], want[:n]) || n < len(want) && err == nil {
		t.Fatalf("%d bytes are sent, not those that were asked for; error %v", n, err)
	}
	regions[0].Release()
	if n := len(r.segments(tp)); n != 2 {
		t.Errorf("%d segments", n)
	}
}

// The end of a segment may lie behind what recovery has to write there, and what was to be written behind it may not.
func TestReplayWritesNothingBehindATruncation(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 3, 1000)
	r.checkpoint()
	r.fill(tp, 3, 3, 1000)
	r.truncate(tp, 1)
	r.sync()
	r.crash(storagetest.LoseNothing, 0)
	if p := r.recovered(tp); p.Damage != "" || p.State.EndOffset() != 1 {
		t.Fatalf("recovered to %d, damage %q", p.State.EndOffset(), p.Damage)
	}
	if got := r.readAll(tp, 0, 1); !bytes.Equal(got, want[:len(want)/3]) {
		t.Fatal("other bytes")
	}
}

// Retention removes a segment, and after a truncation another has its name.
func TestReplayDoesNotRemoveASegmentForItsName(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 20, 1000)
	r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 20, Below: 15}}})
	r.sync()
	r.startAt(tp, 0)
	r.sync()
	want := r.fill(tp, 0, 3, 700)
	for _, loss := range []storagetest.Loss{storagetest.LoseNothing, storagetest.LoseUnsynced} {
		r.crash(loss, 0)
		if p := r.recovered(tp); p.Damage != "" || p.State.EndOffset() != 3 {
			t.Fatalf("recovered to %d, damage %q", p.State.EndOffset(), p.Damage)
		}
		if got := r.readAll(tp, 0, 3); !bytes.Equal(got, want) {
			t.Fatal("other bytes")
		}
	}
}

// A checkpoint that names a snapshot of what is truncated meanwhile is followed by one that does not.
func TestCheckpointUnderWayForgetsTheSnapshotOfWhatWasTruncated(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	for i := range 100 {
		r.perform(effect.Set{Appends: []effect.Append{{
			Partition: tp, BaseOffset: model.Offset(i), LeaderEpoch: 1, AppendTime: model.NoTimestamp, Batch: producerBatch(model.ProducerID(i), 0),
		}}})
	}
	r.sync()
	for steps := 0; ; steps++ {
		w, ok := r.e.BeginCheckpoint()
		if !ok {
			t.Fatal("no checkpoint")
		}
		if steps == 0 {
			r.truncate(tp, 40)
			r.sync()
		}
		if err := r.e.EndCheckpoint(w, w.Run(), &r.done); err != nil {
			t.Fatal(err)
		}
		if !r.e.CheckpointDue() {
			break
		}
	}
	r.fill(tp, 40, 60, 100) // to where the snapshot was
	r.checkpoint()
	image := &rig{t: t, disk: r.disk.Clone(), cfg: r.cfg}
	image.open()
	for _, n := range image.rec.Notes {
		if n.Kind == effect.NoteDamageFound {
			t.Errorf("a note of damage: %s", n.Detail)
		}
	}
	r.truncate(tp, 40)
	r.sync()
	r.checkpoint()
	for _, more := range []model.Offset{40, 41} {
		r.crash(storagetest.LoseUnsynced, 0)
		if p := r.recovered(tp); p.Damage != "" || p.State.EndOffset() != more || p.State.ProducerCount() != 40 {
			t.Fatalf("recovered to %d with %d producers, damage %q", p.State.EndOffset(), p.State.ProducerCount(), p.Damage)
		}
		r.create(tp, smallLog())
		r.fill(tp, more, 1, 100)
		r.checkpoint()
	}
}

// What was damaged and dropped is nobody's concern; what was damaged and stays is found.
func TestTruncationHidesNoDamage(t *testing.T) {
	for _, dropped := range []bool{true, false} {
		r := newRig(t, smallConfig())
		tp := topic(1)
		r.create(tp, smallLog())
		r.fill(tp, 0, 40, 1000)
		r.checkpoint()
		r.crash(storagetest.LoseNothing, 0)
		r.create(tp, smallLog())
		segments := r.segments(tp)
		r.done.Reset()
		if dropped {
			r.disk.Flip(segments[len(segments)-2], 3000)
		} else {
			r.disk.Flip(segments[1], 3000)
		}
		r.truncate(tp, 15)
		r.sync()
		if got := r.truncated(); got.Failure != effect.OK || got.NextOffset != 15 {
			t.Fatalf("dropped %v: %+v", dropped, got)
		}
		code := int16(0)
		for at := model.Offset(0); at < 15 && code == 0; at++ {
			_, code = r.read(tp, at, at+1, 1)
		}
		if dropped && code != 0 || !dropped && code != kerr.KafkaStorageError.Code {
			t.Errorf("dropped %v: read with code %d", dropped, code)
		}
	}
}

func TestTruncationOfADamagedOrUnknownPartitionIsRefused(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 10, 1000)
	r.checkpoint()
	r.crash(storagetest.LoseNothing, 0)
	r.create(tp, smallLog())
	r.disk.Flip(r.segments(tp)[0], 3000)
	if _, code := r.read(tp, 0, 1, 1); code == 0 {
		t.Fatal("the damage was not seen")
	}
	for _, whole := range []bool{false, true} {
		r.done.Reset()
		if whole {
			r.startAt(tp, 3)
		} else {
			r.truncate(tp, 3)
		}
		r.sync()
		if got := r.truncated(); got.Failure != effect.Broken || got.State != nil {
			t.Errorf("a damaged partition: %+v", got)
		}
		if whole {
			r.startAt(topic(7), 3)
		} else {
			r.truncate(topic(7), 3)
		}
		if got := r.truncated(); got.Failure != effect.Missing {
			t.Errorf("an unknown partition: %+v", got)
		}
	}
}

// A full disk refuses a truncation whole, and there is room for it before there is none at all.
func TestFullDiskRefusesATruncationWhole(t *testing.T) {
	cfg := smallConfig()
	cfg.JournalFileBytes = 8 << 10
	r := newRig(t, cfg)
	tp := topic(1)
	r.create(tp, smallLog())
	next := model.Offset(0)
	r.disk.CapacityBytes = r.disk.UsedBytes() + 40<<10
	for range 200 {
		r.done.Reset()
		r.append(tp, next, batch(uint64(next), 1, 400, 1))
		r.sync()
		if r.done.Appended[0].Failure != effect.OK {
			break
		}
		next++
	}
	r.done.Reset()
	r.truncate(tp, 3)
	r.sync()
	if got := r.truncated(); got.Failure != effect.OK || got.NextOffset != 3 {
		t.Fatalf("a disk that is full for appends: %+v", got)
	}
	r.disk.CapacityBytes = 1 // for everything
	end := model.Offset(3)
	for o := model.Offset(100); o < 300; o++ {
		r.startAt(tp, o)
		r.sync()
		got := r.truncated()
		if got.Failure == effect.OK {
			end = o
			continue
		}
		if got.Failure != effect.DiskFull || got.NextOffset != end || got.State == nil || got.State.EndOffset() != end {
			t.Fatalf("refused with %+v, the log ends at %d", got, end)
		}
		r.disk.CapacityBytes = 0
		r.startAt(tp, o)
		r.sync()
		if got := r.truncated(); got.Failure != effect.OK || got.NextOffset != o {
			t.Fatalf("with room again: %+v", got)
		}
		return
	}
	t.Fatal("a disk without room took everything")
}

// A loose log's segments are searched for what the journal does not know. What was truncated is never found there.
func TestWhatIsTruncatedFromALooseLogStaysGone(t *testing.T) {
	for seed := range uint64(60) {
		r := newRig(t, smallConfig())
		tp := topic(1)
		lc := smallLog()
		lc.FlushMessages, lc.FlushMs = 1<<40, 1<<40
		r.create(tp, lc)
		want := r.fill(tp, 0, 30, 1000)
		size := len(want) / 30
		r.done.Reset()
		to := model.Offset(8 + seed%17)
		r.truncate(tp, to)
		r.sync()
		if got := r.truncated(); got.NextOffset != to {
			t.Fatalf("truncated to %d, want %d", got.NextOffset, to)
		}
		want = want[:int(to)*size]
		end := to
		if seed%3 > 0 { // written loose again, behind it
			for range seed % 5 {
				want = append(want, r.fill(tp, end, 1, 1000)...)
				end++
			}
		}
		r.crash([]storagetest.Loss{storagetest.LoseNothing, storagetest.LoseSome}[seed%2], seed)
		got := r.recovered(tp)
		if got.Damage != "" || got.State.EndOffset() < to || got.State.EndOffset() > end || seed%2 == 0 && got.State.EndOffset() != end {
			t.Fatalf("seed %d: truncated to %d, ended at %d, recovered to %d, damage %q", seed, to, end, got.State.EndOffset(), got.Damage)
		}
		if b := r.readAll(tp, 0, got.State.EndOffset()); !bytes.HasPrefix(want, b) {
			t.Fatalf("seed %d: other bytes", seed)
		}
	}
}

// A process removes what was truncated and is killed before that is durable: the next one finds it gone. It must not come
// back with a power loss when the log has grown to where it began.
func TestWhatAnEarlierLifeTruncatedStaysGone(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	lc := smallLog()
	lc.FlushMessages, lc.FlushMs = 1<<40, 1<<40
	lc.IndexIntervalBytes = 1 << 30 // no index: to remove one would have its directory synced
	r.create(tp, lc)
	want := r.fill(tp, 0, 12, 1000)
	r.checkpoint()
	second := r.segments(tp)[1]
	var base model.Offset
	if _, err := fmt.Sscanf(second[strings.LastIndexByte(second, '/')+1:], "%d.log", &base); err != nil {
		t.Fatal(err)
	}
	r.truncate(tp, base-1)
	r.sync()
	if slices.Contains(r.segments(tp), second) {
		t.Fatalf("%s is still there", second)
	}
	want = want[:len(want)/12*int(base-1)]
	r.crash(storagetest.LoseNothing, 0)
	r.create(tp, lc)
	want = append(want, r.fill(tp, base-1, 1, 1000)...) // and it is loose again
	r.create(topic(2), smallLog())
	r.fill(topic(2), 0, 1, 100) // proves that that was durable
	r.crash(storagetest.LoseUnsynced, 0)
	if p := r.recovered(tp); p.Damage != "" || p.State.EndOffset() != base {
		t.Fatalf("recovered to %d, damage %q; %d was written last", p.State.EndOffset(), p.Damage, base-1)
	}
	if got := r.readAll(tp, 0, base); !bytes.Equal(got, want) {
		t.Fatal("other bytes")
	}
}

// While a truncation of a loose log is being synced nothing is written to its files.
func TestLooseAppendWaitsForTheTruncationBeforeIt(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	lc := smallLog()
	lc.FlushMessages, lc.FlushMs = 1<<40, 1<<40
	r.create(tp, lc)
	want := r.fill(tp, 0, 30, 1000)
	r.checkpoint()
	last := r.segments(tp)[2]
	var base model.Offset
	if _, err := fmt.Sscanf(last[strings.LastIndexByte(last, '/')+1:], "%d.log", &base); err != nil {
		t.Fatal(err)
	}
	r.truncate(tp, base)
	w, ok := r.e.BeginSync()
	if !ok {
		t.Fatal("nothing to sync")
	}
	r.done.Reset()
	r.append(tp, base, batch(1, 1, 1000, 1))
	if len(r.done.Appended) > 0 {
		t.Fatalf("reported %+v before what it follows on is durable", r.done.Appended)
	}
	old := r.disk.Clone()
	if err := r.e.EndSync(w, w.Run(), &r.done); err != nil {
		t.Fatal(err)
	}
	if got := old.Bytes(last); len(got) == 0 || !bytes.Contains(want, got) {
		t.Fatal("the file was written to before the truncation was durable")
	}
}

// Not even if there is nothing to drop: completions of one log keep the order of what was asked.
func TestLooseAppendIsReportedBehindTheTruncationBeforeIt(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	lc := smallLog()
	lc.FlushMessages, lc.FlushMs = 1<<40, 1<<40
	r.create(tp, lc)
	r.fill(tp, 0, 3, 100)
	r.truncate(tp, 3)
	r.syncOnce() // what is loose before it
	w, ok := r.e.BeginSync()
	if !ok {
		t.Fatal("nothing to sync")
	}
	r.done.Reset()
	if r.append(tp, 3, batch(1, 1, 100, 1)); len(r.done.Appended) > 0 {
		t.Fatalf("reported %+v before the truncation", r.done.Appended)
	}
	if err := r.e.EndSync(w, w.Run(), &r.done); err != nil {
		t.Fatal(err)
	}
	if got := r.truncated(); got.NextOffset != 3 {
		t.Fatalf("truncated to %d", got.NextOffset)
	}
}

// A batch of a new epoch is in the journal, the loose ones before it are not, and a truncation drops it with some of them:
// that they are missing when the journal is replayed is no damage.
func TestWhatATruncationDroppedIsNotMissed(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	lc := smallLog()
	lc.FlushMessages, lc.FlushMs = 1<<40, 1<<40
	r.create(tp, lc)
	want := r.fill(tp, 0, 10, 1000)
	b := batch(10, 1, 1000, 1)
	r.perform(effect.Set{Appends: []effect.Append{{Partition: tp, BaseOffset: 10, LeaderEpoch: 2, AppendTime: model.NoTimestamp, Batch: b}}})
	r.sync()
	r.truncate(tp, 5)
	r.sync()
	r.crash(storagetest.LoseNothing, 0)
	if p := r.recovered(tp); p.Damage != "" || p.State.EndOffset() != 5 {
		t.Fatalf("recovered to %d, damage %q", p.State.EndOffset(), p.Damage)
	}
	if got := r.readAll(tp, 0, 5); !bytes.Equal(got, want[:len(want)/2]) {
		t.Fatal("other bytes")
	}
}

// The same where retention has removed them.
func TestWhatRetentionRemovedOfALooseLogIsNotMissed(t *testing.T) {
	for _, below := range []model.Offset{14, 22, 31} {
		r := newRig(t, smallConfig())
		tp := topic(1)
		lc := smallLog()
		lc.FlushMessages, lc.FlushMs = 1<<40, 1<<40
		r.create(tp, lc)
		r.fill(tp, 0, 20, 1000)
		var want []byte
		for i := model.Offset(20); i < 31; i++ {
			b := batch(uint64(i), 1, 1000, 1)
			r.perform(effect.Set{Appends: []effect.Append{{Partition: tp, BaseOffset: i, LeaderEpoch: 2, AppendTime: model.NoTimestamp, Batch: b}}})
			r.sync()
		}
		want = r.readAll(tp, min(below, 30), 31)
		if below == 31 {
			want = nil
		}
		r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 31, Below: below}}})
		r.sync()
		r.crash(storagetest.LoseNothing, 0)
		if p := r.recovered(tp); p.Damage != "" || p.State.StartOffset() != below || p.State.EndOffset() != 31 {
			t.Fatalf("below %d: recovered [%d,%d), damage %q", below, p.State.StartOffset(), p.State.EndOffset(), p.Damage)
		}
		if got := r.readAll(tp, below, 31); !bytes.Equal(got, want) {
			t.Fatalf("below %d: other bytes", below)
		}
		if err := r.e.Check(); err != nil {
			t.Fatal(err)
		}
	}
}

// Nor where batches that are in the journal lie between them, whichever of the files a power loss brings back.
func TestWhatRetentionRemovedOfALooseLogIsNotMissedWhereTheJournalGoesOn(t *testing.T) {
	for _, epochs := range [][]model.Offset{{10, 25}, {16, 25}, {25}, {10, 16, 25}} {
		for seed := range uint64(100) {
			r := newRig(t, smallConfig())
			tp := topic(1)
			lc := smallLog()
			lc.FlushMessages, lc.FlushMs = 1<<40, 1<<40
			r.create(tp, lc)
			epoch := model.LeaderEpoch(1)
			for i := range model.Offset(26) {
				if slices.Contains(epochs, i) {
					epoch++ // through the journal
				}
				r.perform(effect.Set{Appends: []effect.Append{{
					Partition: tp, BaseOffset: i, LeaderEpoch: epoch, AppendTime: model.NoTimestamp, Batch: batch(uint64(i), 1, 1000, 1),
				}}})
				r.sync()
			}
			below := model.Offset(22 + seed%4)
			want := r.readAll(tp, below, 26)
			r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 26, Below: below}}})
			r.sync()
			if files := r.segments(tp); len(files) != 1 || files[0] != r.logPath(tp, 21) {
				t.Fatalf("%v are left", files)
			}
			loss := storagetest.LoseSome
			if seed < 4 {
				loss = storagetest.LoseNothing
			}
			r.crash(loss, seed)
			if p := r.recovered(tp); p.Damage != "" || p.State.StartOffset() != below || p.State.EndOffset() != 26 {
				t.Errorf("epochs from %v, seed %d: recovered [%d,%d), damage %q", epochs, seed, p.State.StartOffset(), p.State.EndOffset(), p.Damage)
				continue
			}
			if got := r.readAll(tp, below, 26); !bytes.Equal(got, want) {
				t.Fatalf("epochs from %v, seed %d: other bytes", epochs, seed)
			}
			if err := r.e.Check(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Where the journal has a batch that does not check out, and that retention has removed, what it has behind that is not forgotten,
// and what nothing is known of is not removed.
func TestDamageThatRetentionRemovedHidesNothingThatTheJournalHas(t *testing.T) {
	for _, test := range []struct{ damaged, last, below model.Offset }{
		{14, 25, 21}, {14, 25, 22}, {14, 25, 25}, {14, 25, 26}, {7, 25, 14}, {7, 25, 21}, {7, 21, 14}, {7, 21, 16}, {7, 21, 21},
	} {
		r := newRig(t, smallConfig())
		tp := topic(1)
		r.create(tp, looseLog(1<<40, 1<<40))
		for i := range model.Offset(26) {
			epoch := model.LeaderEpoch(1) // what begins another goes through the journal
			if i >= test.damaged {
				epoch++
			}
			if i >= test.last {
				epoch++
			}
			r.perform(effect.Set{Appends: []effect.Append{{
				Partition: tp, BaseOffset: i, LeaderEpoch: epoch, AppendTime: model.NoTimestamp, Batch: batch(uint64(i), 1, 1000, 1),
			}}})
			r.sync()
		}
		damaged := bytes.Clone(r.readAll(tp, test.damaged, test.damaged+1))
		var want []byte
		if test.below < 26 {
			want = r.readAll(tp, test.below, 26)
		}
		r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 26, Below: test.below}}})
		r.sync()
		files := r.segments(tp)
		for _, path := range r.journalPaths() {
			if at := bytes.Index(r.disk.Bytes(path), damaged[61:]); at >= 0 {
				r.disk.Flip(path, int64(at+500)*8)
			}
		}
		r.crash(storagetest.LoseNothing, 0)
		p := r.recovered(tp)
		if p.Damage != "" {
			if left := r.segments(tp); !slices.Equal(left, files) {
				t.Errorf("%+v: damage is found, and of %v are left %v", test, files, left)
			}
			continue
		}
		if end := p.State.EndOffset(); end != 26 {
			t.Errorf("%+v: the log ends at %d, and nobody is told that batches are missing", test, end)
		} else if got, _ := r.read(tp, test.below, 26, 1<<20); !bytes.Equal(got, want) {
			t.Errorf("%+v: other bytes", test)
		}
	}
}

// Nor if a truncation came before or after it, of what is missing, too.
func TestWhatIsMissingBecauseOfATruncationAndRetentionIsNotMissed(t *testing.T) {
	retain := func(below model.Offset) effect.Set {
		return effect.Set{Retains: []effect.Retain{{Partition: topic(1), HighWatermark: below, Below: below}}}
	}
	truncate := func(to model.Offset) effect.Set {
		return effect.Set{Truncates: []effect.Truncate{{Partition: topic(1), To: to}}}
	}
	for name, test := range map[string]struct {
		before []effect.Set // appends go on then where the log ends
		after  []effect.Set
	}{
		"to the log start":           {[]effect.Set{retain(14), truncate(14)}, nil},
		"to the log start, later":    {[]effect.Set{retain(14), truncate(14)}, []effect.Set{retain(15)}},
		"behind the log start":       {[]effect.Set{retain(8), truncate(16)}, nil},
		"behind the log start, once": {[]effect.Set{retain(8), truncate(23)}, nil},
		"and retention behind it":    {[]effect.Set{truncate(16)}, []effect.Set{retain(16)}},
		"and retention before it":    {[]effect.Set{truncate(16)}, []effect.Set{retain(9)}},
		"before both":                {[]effect.Set{truncate(9)}, []effect.Set{retain(9)}},
	} {
		for seed := range uint64(40) {
			r := newRig(t, smallConfig())
			tp := topic(1)
			lc := smallLog()
			lc.FlushMessages, lc.FlushMs = 1<<40, 1<<40
			r.create(tp, lc)
			fill := func(from, to model.Offset, epoch model.LeaderEpoch) {
				for i := from; i < to; i++ {
					r.perform(effect.Set{Appends: []effect.Append{{
						Partition: tp, BaseOffset: i, LeaderEpoch: epoch, AppendTime: model.NoTimestamp, Batch: batch(uint64(i), 1, 1000, 1),
					}}})
					r.sync()
				}
			}
			fill(0, 10, 1)
			fill(10, 25, 2)
			fill(25, 28, 3)
			r.done.Reset()
			for _, set := range test.before {
				r.perform(set)
				r.sync()
			}
			end := r.truncated().NextOffset
			fill(end, end+1, 4)
			start := model.Offset(0)
			for _, set := range append(test.before, test.after...) {
				for _, a := range set.Retains {
					start = a.Below
				}
			}
			for _, set := range test.after {
				r.perform(set)
				r.sync()
			}
			want := r.readAll(tp, start, end+1)
			loss := storagetest.LoseSome
			if seed == 0 {
				loss = storagetest.LoseNothing
			}
			r.crash(loss, seed)
			if p := r.recovered(tp); p.Damage != "" || p.State.StartOffset() != start || p.State.EndOffset() != end+1 {
				t.Errorf("%s, seed %d: recovered [%d,%d), damage %q", name, seed, p.State.StartOffset(), p.State.EndOffset(), p.Damage)
				break
			}
			if got := r.readAll(tp, start, end+1); !bytes.Equal(got, want) {
				t.Fatalf("%s, seed %d: other bytes", name, seed)
			}
			if err := r.e.Check(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Retention that was asked for before a truncation takes the log no further than that leaves it.
func TestRetentionStagedBesideATruncationStopsAtTheNewEnd(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 20, 1000)
	r.done.Reset()
	r.perform(effect.Set{
		Truncates: []effect.Truncate{{Partition: tp, To: 5}},
		Retains:   []effect.Retain{{Partition: tp, HighWatermark: 20, Below: 12}},
	})
	r.sync()
	if got := r.done.Retained; len(got) != 1 || got[0].LogStartOffset != 5 {
		t.Fatalf("retained %+v", got)
	}
	r.crash(storagetest.LoseUnsynced, 0)
	if s := r.recovered(tp).State; s.StartOffset() != 5 || s.EndOffset() != 5 {
		t.Fatalf("recovered [%d,%d)", s.StartOffset(), s.EndOffset())
	}
}

func TestNoteOfATruncationCountsWhatWasDropped(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 5, 700)
	for _, step := range []struct {
		do      func()
		dropped []int64
	}{
		{func() { r.truncate(tp, 3) }, []int64{2}},
		{func() { r.startAt(tp, 100) }, []int64{3}},
		{func() { r.startAt(tp, 200) }, nil}, // there was nothing
	} {
		r.done.Reset()
		step.do()
		r.syncOnce()
		var got []int64
		for _, n := range r.done.Notes {
			if n.Kind == effect.NoteTruncated {
				got = append(got, n.Count)
			}
		}
		if !slices.Equal(got, step.dropped) {
			t.Errorf("noted %v, dropped were %v", got, step.dropped)
		}
	}
}

// What recovery carries out is not forgotten: a process dies before the sync of a truncation, of a log start or of a deletion has ended, the
// next one finds it in the page cache, and the power fails while it starts. What proves its group may be a batch in a segment only.
func TestRecoveryDoesNotForgetWhatItCarriedOut(t *testing.T) {
	tp := topic(1)
	for name, set := range map[string]effect.Set{
		"truncate":  {Truncates: []effect.Truncate{{Partition: tp, To: 7}}},
		"start at":  {StartAts: []effect.StartAt{{Partition: tp, Offset: 100}}},
		"log start": {Retains: []effect.Retain{{Partition: tp, HighWatermark: 40, Below: 33}}},
		"delete":    {Deletes: []effect.Delete{{Partition: tp}}},
	} {
		t.Run(name, func(t *testing.T) {
			other := topic(2)
			set.Appends = []effect.Append{{Partition: other, LeaderEpoch: 1, AppendTime: model.NoTimestamp, Batch: batch(1, 1, 2000, 1)}}
			for dies, done := 0, false; !done; dies++ {
				for seed := range uint64(8) {
					cfg := smallConfig()
					cfg.InPlaceBytesMin = []int{0, 1500}[seed%2]
					r := newRig(t, cfg)
					r.create(tp, smallLog())
					r.create(other, smallLog())
					r.fill(tp, 0, 40, 1000)
					r.checkpoint()
					r.perform(set)
					if _, ok := r.e.BeginSync(); !ok {
						t.Fatal("nothing to sync")
					}
					r.disk.Crash(storagetest.LoseNothing, 0)
					left := dies
					r.disk.Hook = func(storagetest.Op) error {
						if left--; left < 0 {
							return storagetest.ErrDead
						}
						return nil
					}
					_, _, err := openEngine(r)
					done = err == nil
					r.disk.Hook = nil
					r.crash(storagetest.LoseSome, seed)
					for _, p := range r.rec.Partitions {
						if p.Damage != "" {
							t.Fatalf("dead after %d operations, seed %d: %s", dies, seed, p.Damage)
						}
						if end := p.State.EndOffset(); p.Partition == tp && end != 40 && end != 7 && end != 100 {
							t.Fatalf("dead after %d operations, seed %d: the log ends at %d", dies, seed, end)
						}
						r.create(p.Partition, smallLog())
						r.readAll(p.Partition, p.State.StartOffset(), p.State.EndOffset())
					}
				}
			}
		})
	}
}
