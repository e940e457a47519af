package storage_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/core/storage/storagetest"
)

var testIdentity = storage.Identity{ClusterID: "test-cluster", NodeID: 1, DirectoryID: model.TopicID{7}}

func smallConfig() storage.Config {
	return storage.Config{
		Identity: testIdentity, JournalFileBytes: 64 << 10, JournalBlockBytes: 512, CheckpointBytes: 256 << 10,
		DefaultLog: smallLog(),
	}
}

func smallLog() effect.LogConfig {
	return effect.LogConfig{SegmentBytes: 8 << 10, IndexIntervalBytes: 256, RetentionMs: -1, RetentionBytes: -1}
}

func topic(n int) model.TopicPartition {
	id := model.TopicID{0: 0x10}
	binary.BigEndian.PutUint32(id[12:], uint32(n))
	return model.TopicPartition{Topic: id, Partition: model.Partition(n % 3)}
}

// batch makes one of count records whose values are valueBytes long and begin with a tag.
func batch(tag uint64, count, valueBytes int, ts model.Timestamp) []byte {
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecNone))
	for i := range count {
		value := make([]byte, max(16, valueBytes))
		binary.BigEndian.PutUint64(value, tag)
		binary.BigEndian.PutUint64(value[8:], uint64(i))
		b.Append(record.Record{Value: value, Timestamp: ts + model.Timestamp(i)})
	}
	return bytes.Clone(b.Finish())
}

// rig is an engine over a memory disk, with what a driver does around it.
type rig struct {
	t    testing.TB
	disk *storagetest.MemoryDisk
	cfg  storage.Config
	e    *storage.Engine
	rec  *storage.Recovery
	done effect.Completions
}

func newRig(t testing.TB, cfg storage.Config) *rig {
	t.Helper()
	r := &rig{t: t, disk: storagetest.New(), cfg: cfg}
	r.open()
	return r
}

func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.e, r.rec, err = storage.Open(r.disk, r.cfg); err != nil {
		r.t.Fatalf("open: %v", err)
	}
}

func openEngine(r *rig) (*storage.Engine, *storage.Recovery, error) {
	return storage.Open(r.disk, r.cfg)
}

func (r *rig) perform(set effect.Set) { r.e.Perform(&set, &r.done) }

func (r *rig) create(tp model.TopicPartition, cfg effect.LogConfig) {
	r.perform(effect.Set{Opens: []effect.Open{{Partition: tp, Config: cfg}}})
}

// append stages one batch and returns its bytes as they will be stored.
func (r *rig) append(tp model.TopicPartition, base model.Offset, b []byte) []byte {
	r.perform(effect.Set{Appends: []effect.Append{{
		Partition: tp, BaseOffset: base, LeaderEpoch: 1, AppendTime: model.NoTimestamp, Batch: b,
	}}})
	stored := bytes.Clone(b)
	record.Stamp(stored, base, 1)
	return stored
}

// sync makes everything staged durable.
func (r *rig) sync() {
	r.t.Helper()
	if err := r.trySync(); err != nil {
		r.t.Fatalf("sync: %v", err)
	}
}

// syncOnce makes durable what one group holds, and asks for no more.
func (r *rig) syncOnce() {
	r.t.Helper()
	w, ok := r.e.BeginSync()
	if !ok {
		r.t.Fatal("nothing is staged")
	}
	if err := r.e.EndSync(w, w.Run(), &r.done); err != nil {
		r.t.Fatalf("sync: %v", err)
	}
}

func (r *rig) trySync() error {
	for {
		w, ok := r.e.BeginSync()
		if !ok {
			return nil
		}
		if err := r.e.EndSync(w, w.Run(), &r.done); err != nil {
			return err
		}
	}
}

func (r *rig) checkpoint() {
	r.t.Helper()
	for first := true; first || r.e.CheckpointDue(); first = false {
		w, ok := r.e.BeginCheckpoint()
		if !ok {
			return
		}
		if err := r.e.EndCheckpoint(w, w.Run(), &r.done); err != nil {
			r.t.Fatalf("checkpoint: %v", err)
		}
	}
}

func (r *rig) crash(loss storagetest.Loss, seed uint64) {
	r.t.Helper()
	r.disk.Crash(loss, seed)
	r.open()
}

func (r *rig) close() {
	r.t.Helper()
	if err := r.e.Close(&r.done); err != nil {
		r.t.Fatalf("close: %v", err)
	}
	if n := r.disk.HandleCount(); n != 0 {
		r.t.Fatalf("%d files are open after Close", n)
	}
}

// read is what a fetch of [from, to) finds.
func (r *rig) read(tp model.TopicPartition, from, to model.Offset, bytesMax int32) ([]byte, int16) {
	r.t.Helper()
	f := effect.FetchReply{BytesMax: bytesMax, Parts: []effect.FetchPart{{
		Partition: tp, From: from, To: to, BytesMax: bytesMax,
	}}}
	r.e.ResolveRead(&f)
	return flatten(r.t, f.Parts[0].Records), f.Parts[0].Code
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func flatten(t fataler, records effect.Records) []byte {
	t.Helper()
	out := bytes.Clone(records.Bytes)
	for _, region := range records.Regions {
		b := make([]byte, region.Len())
		if n, err := region.ReadAt(b, 0); n != len(b) {
			t.Fatalf("region: %d of %d bytes: %v", n, len(b), err)
		}
		region.Release()
		out = append(out, b...)
	}
	return out
}

// readAll is every stored byte from an offset on.
func (r *rig) readAll(tp model.TopicPartition, from, to model.Offset) []byte {
	r.t.Helper()
	var out []byte
	for from < to {
		b, code := r.read(tp, from, to, 4<<10)
		if code != 0 || len(b) == 0 {
			r.t.Fatalf("read %v at %d: code %d, %d bytes", tp, from, code, len(b))
		}
		out = append(out, b...)
		for len(b) > 0 {
			next, rest, err := record.Next(b)
			if err != nil {
				r.t.Fatalf("read %v at %d: %v", tp, from, err)
			}
			from, b = next.NextOffset(), rest
		}
	}
	return out
}

func (r *rig) recovered(tp model.TopicPartition) storage.Recovered {
	r.t.Helper()
	for _, p := range r.rec.Partitions {
		if p.Partition == tp {
			return p
		}
	}
	r.t.Fatalf("%v was not recovered", tp)
	return storage.Recovered{}
}

func TestAppendedBatchesAreReadBackByteForByte(t *testing.T) {
	for _, regions := range []bool{false, true} {
		t.Run(fmt.Sprintf("regions=%v", regions), func(t *testing.T) {
			cfg := smallConfig()
			cfg.Regions = regions
			r := newRig(t, cfg)
			tp := topic(1)
			r.create(tp, smallLog())
			var want []byte
			next := model.Offset(0)
			for i := range 200 {
				b := batch(uint64(i), 1+i%3, 20+i*7%300, 1000)
				want = append(want, r.append(tp, next, b)...)
				next += model.Offset(1 + i%3)
				if i%5 == 4 {
					r.sync()
				}
			}
			r.sync()
			if got := r.readAll(tp, 0, next); !bytes.Equal(got, want) {
				t.Fatalf("read %d bytes, wrote %d", len(got), len(want))
			}
			if last := r.done.Appended[len(r.done.Appended)-1]; last.NextOffset != next || last.Failure != effect.OK {
				t.Fatalf("last completion %+v, want next offset %d", last, next)
			}
			if s := r.e.Stats(); s.SegmentCount < 3 {
				t.Fatalf("%d segments: nothing was rolled", s.SegmentCount)
			}
			for _, loss := range []storagetest.Loss{storagetest.LoseNothing, storagetest.LoseUnsynced, storagetest.LoseSome} {
				r.crash(loss, 1)
				if got := r.recovered(tp); got.State.EndOffset() != next || got.Damage != "" {
					t.Fatalf("after a crash: end %d, want %d; damage %q", got.State.EndOffset(), next, got.Damage)
				}
				if got := r.readAll(tp, 0, next); !bytes.Equal(got, want) {
					t.Fatal("after a crash: other bytes")
				}
			}
			r.close()
			r.open()
			if !r.rec.CleanShutdown || r.rec.ReplayedEntries != 0 {
				t.Fatalf("clean shutdown %v, replayed %d", r.rec.CleanShutdown, r.rec.ReplayedEntries)
			}
			if got := r.readAll(tp, 0, next); !bytes.Equal(got, want) {
				t.Fatal("after a clean restart: other bytes")
			}
		})
	}
}
