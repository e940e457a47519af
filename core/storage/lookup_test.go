package storage_test

import (
	"bytes"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage/storagetest"
)

func TestLookupFindsTheFirstRecordAtOrAfterATime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type timed struct {
			offset model.Offset
			ts     model.Timestamp
		}
		r := &rig{t: nil, disk: storagetest.New(), cfg: smallConfig()}
		lc := smallLog()
		lc.SegmentBytes, lc.RetentionBytes = 3000, 6000
		r.cfg.DefaultLog = lc
		open := func() {
			var err error
			if r.e, r.rec, err = openEngine(r); err != nil {
				t.Fatal(err)
			}
			r.create(topic(1), lc)
		}
		open()
		tp := topic(1)
		var all []timed
		next, start := model.Offset(0), model.Offset(0)
		bounds := []model.Offset{0}
		for range rapid.IntRange(1, 60).Draw(t, "batches") {
			var b record.Builder
			codec := rapid.SampledFrom([]record.Codec{record.CodecNone, record.CodecSnappy}).Draw(t, "codec")
			b.Begin(record.NewOptions(codec))
			base := next
			for range rapid.IntRange(1, 4).Draw(t, "records") {
				// Clocks of producers go any way.
				ts := model.Timestamp(rapid.IntRange(0, 500).Draw(t, "ts"))
				switch rapid.IntRange(0, 40).Draw(t, "jump") {
				case 0:
					ts = model.Timestamp(rapid.Int64Range(0, math.MaxInt64).Draw(t, "far"))
				case 1:
					ts = 0
				}
				b.Append(record.Record{Value: make([]byte, 60), Timestamp: ts})
				all = append(all, timed{next, ts})
				next++
			}
			bounds = append(bounds, next)
			r.append(tp, base, bytes.Clone(b.Finish()))
			if err := r.trySync(); err != nil {
				t.Fatal(err)
			}
		}
		switch rapid.IntRange(0, 4).Draw(t, "then") {
		case 0:
			if err := r.e.Close(&r.done); err != nil {
				t.Fatal(err)
			}
			open()
		case 1:
			r.disk.Crash(storagetest.LoseUnsynced, 1)
			open()
		case 2:
			r.done.Reset()
			r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: next, Wall: 0}}})
			if err := r.trySync(); err != nil {
				t.Fatal(err)
			}
			start = r.done.Retained[0].LogStartOffset
		case 3:
			start = model.Offset(rapid.IntRange(0, int(next)).Draw(t, "below"))
			r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: next, Wall: -1 << 40, Below: start}}})
			if err := r.trySync(); err != nil {
				t.Fatal(err)
			}
			start = r.done.Retained[0].LogStartOffset
			if rapid.Bool().Draw(t, "crash") {
				r.disk.Crash(storagetest.LoseUnsynced, 1)
				open()
			}
		}
		for range 20 {
			ts := model.Timestamp(rapid.IntRange(-1, 501).Draw(t, "asked"))
			if rapid.IntRange(0, 9).Draw(t, "at one") == 0 {
				ts = all[rapid.IntRange(0, len(all)-1).Draw(t, "which")].ts
				if ts < math.MaxInt64 {
					ts += model.Timestamp(rapid.IntRange(0, 1).Draw(t, "after"))
				}
			}
			limit := model.Offset(rapid.IntRange(0, int(next)).Draw(t, "limit"))
			if rapid.IntRange(0, 3).Draw(t, "greatest") == 0 {
				ts = effect.MaxTimestamp
				limit = rapid.SampledFrom(bounds).Draw(t, "bound") // a high watermark does not cut a batch
			}
			want := timed{model.NoOffset, model.NoTimestamp}
			for _, x := range all {
				if x.offset < start || x.offset >= limit {
					continue
				}
				if ts == effect.MaxTimestamp && x.ts > want.ts || ts != effect.MaxTimestamp && x.ts >= ts && want.offset < 0 {
					want = x
				}
			}
			r.done.Reset()
			r.perform(effect.Set{Lookups: []effect.Lookup{{Partition: tp, Timestamp: ts, Limit: limit}}})
			got := r.done.LookedUp[0]
			if got.Failure != effect.OK || got.Offset != want.offset || got.Timestamp != want.ts {
				t.Fatalf("time %d below %d: found %d at %d, want %d at %d", ts, limit, got.Offset, got.Timestamp, want.offset, want.ts)
			}
		}
	})
}
