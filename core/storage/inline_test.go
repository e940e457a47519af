package storage_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// A state that is too large for the manifest is in a file of its own, and nothing is amiss: a start after a
// crash must not call the manifest's empty place damage, which would send somebody to look for a broken disk.
func TestStateOfEitherSizeIsFoundWithoutComplaint(t *testing.T) {
	for _, producerCount := range []int{0, 1, 100} {
		for _, clean := range []bool{false, true} {
			r := newRig(t, smallConfig())
			tp := topic(1)
			r.create(tp, smallLog())
			var want []byte
			end := model.Offset(0)
			add := func(id model.ProducerID, sequence model.Sequence) {
				var b record.Builder
				o := record.NewOptions(record.CodecNone)
				o.ProducerID, o.ProducerEpoch, o.BaseSequence = id, 0, sequence
				b.Begin(o)
				b.Append(record.Record{Value: []byte("value"), Timestamp: 1})
				want = append(want, r.append(tp, end, bytes.Clone(b.Finish()))...)
				r.sync()
				end++
			}
			for id := range producerCount {
				add(model.ProducerID(id), 0)
			}
			r.checkpoint()
			for id := range producerCount {
				add(model.ProducerID(id), 1)
			}
			if clean {
				r.close()
				r.open()
			} else {
				r.crash(storagetest.LoseUnsynced, 0)
			}
			if i := slices.IndexFunc(r.rec.Notes, func(n effect.Note) bool { return n.Kind == effect.NoteDamageFound }); i >= 0 {
				t.Errorf("%d producers, clean %v: %s", producerCount, clean, r.rec.Notes[i].Detail)
			}
			if end == 0 {
				continue
			}
			if got := r.readAll(tp, 0, end); !bytes.Equal(got, want) {
				t.Fatal("other bytes")
			}
			if got := r.recovered(tp).State.ProducerCount(); got != producerCount {
				t.Errorf("%d of %d producers are known", got, producerCount)
			}
		}
	}
}
