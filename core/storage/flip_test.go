package storage_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// One bit anywhere in the directory flips while the engine is down. Whatever it is, nobody is served other
// bytes than were written, and nothing acknowledged goes missing without being said.
func TestOneFlippedBitIsNeverServedAndNeverHidden(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			w.append()
			w.syncAll()
			switch rapid.IntRange(0, 5).Draw(t, "then") {
			case 0:
				for range 6 {
					w.beginCheckpoint()
					w.endCheckpoint()
				}
			case 1:
				w.retain()
				w.syncAll()
			}
		}
		if rapid.Bool().Draw(t, "close") {
			if err := w.e.Close(&w.done); err != nil {
				t.Fatal(err)
			}
			w.take()
		}
		w.disk.Crash(storagetest.LoseNothing, 0)
		paths := w.disk.Paths()
		path := rapid.SampledFrom(paths).Draw(t, "path")
		size := len(w.disk.Bytes(path))
		if size == 0 {
			return
		}
		// Journals are mostly empty: prefer what is written.
		written := len(bytes.TrimRight(w.disk.Bytes(path), "\x00"))
		bit := int64(rapid.IntRange(0, max(1, written)*8-1).Draw(t, "bit"))
		w.disk.Flip(path, bit)

		e, rec, err := storage.Open(w.disk, w.cfg)
		if err != nil {
			if !errors.Is(err, storage.ErrDamaged) && !errors.Is(err, storage.ErrFrame) && !errors.Is(err, storage.ErrVersion) {
				t.Fatalf("%s bit %d: opened with %v", path, bit, err)
			}
			if strings.HasPrefix(path, "partitions/") {
				t.Fatalf("%s bit %d: one partition's file keeps everything closed: %v", path, bit, err)
			}
			return
		}
		w.e, w.rec = e, rec
		found := map[model.TopicPartition]storage.Recovered{}
		for _, p := range rec.Partitions {
			found[p.Partition] = p
		}
		for _, l := range w.logs {
			p, ok := found[l.tp]
			if !ok && l.acked > 0 {
				t.Fatalf("%s bit %d: %v is gone", path, bit, l.tp)
			}
			if !ok || p.Damage != "" {
				continue
			}
			least := l.acked
			if l.frail && (strings.HasPrefix(path, "journal/") || strings.Contains(path, l.tp.Topic.String())) {
				least = l.safe // damage in what was never synced looks like its loss
			}
			if p.State.EndOffset() < least || p.State.StartOffset() != l.start {
				t.Fatalf("%s bit %d: %v is [%d,%d), reported durable was [%d,%d)", path, bit, l.tp,
					p.State.StartOffset(), p.State.EndOffset(), l.start, l.acked)
			}
			w.readFlipped(l, p.State.EndOffset(), path, bit)
		}
	})
}

func (w *world) readFlipped(l *modelLog, end model.Offset, path string, bit int64) {
	for _, b := range l.batches {
		if b.next > end {
			break // lost with what was loose
		}
		f := effect.FetchReply{BytesMax: 1, Parts: []effect.FetchPart{{Partition: l.tp, From: max(b.base, l.start), To: b.next, BytesMax: 1}}}
		w.e.ResolveRead(&f)
		part := &f.Parts[0]
		got := flatten(w.t, part.Records)
		switch {
		case part.Code == kerr.KafkaStorageError.Code && len(got) == 0:
			var done effect.Completions
			w.e.Perform(&effect.Set{}, &done)
			if len(done.Damaged) != 1 {
				w.t.Fatalf("%s bit %d: %v: refused without saying why", path, bit, l.tp)
			}
			if !strings.HasSuffix(path, ".log") && !strings.HasPrefix(path, "journal/") {
				w.t.Fatalf("%s bit %d: %v: damaged by a derived file: %s", path, bit, l.tp, done.Damaged[0].Detail)
			}
			return
		case part.Code != 0 || !bytes.Equal(got, b.bytes):
			w.t.Fatalf("%s bit %d: %v: offset %d: code %d, served %x, written %x", path, bit, l.tp, b.base, part.Code, got, b.bytes)
		}
	}
	// The metadata log is read this way.
	next := l.start
	err := w.e.ReadAll(l.tp, func(b record.Batch) error {
		if b.BaseOffset() > next {
			w.t.Fatalf("%s bit %d: %v: offset %d follows %d", path, bit, l.tp, b.BaseOffset(), next)
		}
		next = b.NextOffset()
		return nil
	})
	if err != nil || next < min(l.acked, end) {
		w.t.Fatalf("%s bit %d: %v: read to %d: %v", path, bit, l.tp, next, err)
	}
}
