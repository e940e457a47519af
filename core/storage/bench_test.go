package storage_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/core/storage/storagetest"
)

func benchConfig() storage.Config {
	return storage.Config{
		Identity: testIdentity, JournalFileBytes: 16 << 20, CheckpointBytes: 64 << 20,
		DefaultLog: effect.LogConfig{SegmentBytes: 64 << 20, IndexIntervalBytes: 4096, RetentionMs: -1, RetentionBytes: -1},
	}
}

// appender appends turns of one batch to each of its partitions, and lets retention keep the disk small.
type appender struct {
	*rig
	tps     []model.TopicPartition
	next    []model.Offset
	batch   []byte   // one of batches
	batches [][]byte // as many as a turn has: the engine stamps each in place
	set     effect.Set
}

func newAppender(tb testing.TB, cfg storage.Config, partitions, batchBytes int) *appender {
	a := &appender{rig: newRig(tb, cfg), batch: batch(1, 1, batchBytes, 1000)}
	lc := cfg.DefaultLog
	lc.RetentionBytes = 0
	for i := range partitions {
		a.tps = append(a.tps, topic(i))
		a.create(topic(i), lc)
	}
	a.next = make([]model.Offset, partitions)
	return a
}

// turn appends count batches to every partition and makes them durable.
func (a *appender) turn(count int) {
	a.set.Reset()
	for len(a.batches) < len(a.tps)*count {
		a.batches = append(a.batches, bytes.Clone(a.batch))
	}
	for i, tp := range a.tps {
		for k := range count {
			a.set.Appends = append(a.set.Appends, effect.Append{
				Partition: tp, BaseOffset: a.next[i], LeaderEpoch: 1, AppendTime: model.NoTimestamp,
				Batch: a.batches[i*count+k],
			})
			a.next[i]++
		}
	}
	a.e.Perform(&a.set, &a.done)
	if err := a.trySync(); err != nil {
		a.t.Fatal(err)
	}
	a.done.Reset()
}

func (a *appender) tidy() {
	a.checkpoint()
	a.set.Reset()
	for i, tp := range a.tps {
		a.set.Retains = append(a.set.Retains, effect.Retain{Partition: tp, HighWatermark: a.next[i], Wall: 1 << 50})
	}
	a.e.Perform(&a.set, &a.done)
	a.sync()
	a.done.Reset()
}

func BenchmarkAppendAndSync(b *testing.B) {
	for _, c := range []struct{ partitions, batches, bytes int }{
		{1, 1, 100}, {1, 1, 16 << 10}, {1, 16, 16 << 10}, {100, 1, 16 << 10}, {100, 1, 100}, {1, 1, 1 << 20},
	} {
		b.Run(fmt.Sprintf("partitions=%d/batches=%d/bytes=%d", c.partitions, c.batches, c.bytes), func(b *testing.B) {
			a := newAppender(b, benchConfig(), c.partitions, c.bytes)
			perTurn := c.partitions * c.batches
			b.SetBytes(int64(perTurn * len(a.batch)))
			b.ReportAllocs()
			turns := 0
			for b.Loop() {
				a.turn(c.batches)
				if turns++; a.e.CheckpointDue() {
					b.StopTimer()
					a.tidy()
					b.StartTimer()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(perTurn), "ns/batch")
		})
	}
}

func BenchmarkResolveRead(b *testing.B) {
	for _, regions := range []bool{false, true} {
		for _, size := range []int32{16 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("regions=%v/bytes=%d", regions, size), func(b *testing.B) {
				cfg := benchConfig()
				cfg.Regions = regions
				a := newAppender(b, cfg, 1, 16<<10)
				for range 64 {
					a.turn(16)
				}
				end := a.next[0]
				f := effect.FetchReply{BytesMax: size, Parts: []effect.FetchPart{{Partition: a.tps[0], To: end, BytesMax: size}}}
				b.ReportAllocs()
				at := model.Offset(0)
				read := int64(0)
				for b.Loop() {
					f.Parts[0].From, f.Parts[0].Records = at, effect.Records{}
					a.e.ResolveRead(&f)
					n := f.Parts[0].Records.LenBytes()
					if n == 0 {
						b.Fatalf("nothing read at %d: code %d", at, f.Parts[0].Code)
					}
					read += int64(n)
					if at += model.Offset(n / len(a.batch)); at >= end {
						at = 0
					}
				}
				b.SetBytes(read / int64(b.N))
			})
		}
	}
}

func BenchmarkRecovery(b *testing.B) {
	for _, c := range []struct{ partitions, bytes int }{{1, 16 << 10}, {1000, 1 << 10}} {
		b.Run(fmt.Sprintf("partitions=%d/bytes=%d", c.partitions, c.bytes), func(b *testing.B) {
			cfg := benchConfig()
			cfg.CheckpointBytes = 1 << 40
			a := newAppender(b, cfg, c.partitions, c.bytes)
			total := 0
			for total < 32<<20 {
				a.turn(1)
				total += c.partitions * len(a.batch)
			}
			a.disk.Crash(storagetest.LoseNothing, 0)
			image := a.disk.Clone()
			b.SetBytes(int64(total))
			for b.Loop() {
				b.StopTimer()
				disk := image.Clone()
				b.StartTimer()
				if _, rec, err := storage.Open(disk, cfg); err != nil || rec.ReplayedEntries == 0 {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	const partitions = 10_000
	a := newAppender(b, benchConfig(), partitions, 100)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		a.turn(1)
		b.StartTimer()
		a.checkpoint()
	}
}

// Staging and writing cost no allocation once buffers have grown.
func TestAppendsDoNotAllocate(t *testing.T) {
	cfg := benchConfig()
	cfg.DefaultLog.IndexIntervalBytes = 1 << 30
	a := newAppender(t, cfg, 4, 4<<10)
	for range 200 {
		a.turn(4)
	}
	a.e.Perform(&effect.Set{}, &a.done)
	// The memory disk's own record of what is dirty grows now and then.
	if n := testing.AllocsPerRun(200, func() { a.turn(4) }); n > 0 {
		t.Fatalf("%v allocations in a turn of 16 appends", n)
	}
}
