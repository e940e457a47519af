package storage_test

import (
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// appendAt appends one record, and says how far the log is committed.
func (r *rig) appendAt(tp model.TopicPartition, base, committed model.Offset) {
	r.perform(effect.Set{Appends: []effect.Append{{
		Partition: tp, BaseOffset: base, LeaderEpoch: 1, AppendTime: model.NoTimestamp, HighWatermark: committed, Batch: batch(uint64(base), 1, 50, 9),
	}}})
	r.sync()
}

func (r *rig) wantCommitted(t *testing.T, tp model.TopicPartition, want model.Offset, when string) {
	t.Helper()
	if p := r.recovered(tp); p.HighWatermark != want || p.HighWatermark > p.State.EndOffset() {
		t.Errorf("%s: committed to %d, not %d; the log ends at %d", when, p.HighWatermark, want, p.State.EndOffset())
	}
}

func TestHowFarALogIsCommittedSurvives(t *testing.T) {
	for _, inPlace := range []int{0, 1} {
		cfg := smallConfig()
		cfg.InPlaceBytesMin = inPlace
		r := newRig(t, cfg)
		tp := topic(1)
		r.create(tp, smallLog())
		for o := range model.Offset(4) {
			r.appendAt(tp, o, max(0, o-1))
		}
		r.crash(storagetest.LoseUnsynced, 1)
		r.wantCommitted(t, tp, 2, "after a power loss, as the last append said")
		r.checkpoint()
		r.crash(storagetest.LoseUnsynced, 2)
		r.wantCommitted(t, tp, 2, "by the checkpoint")

		r.e.Committed(tp, 4)
		r.close()
		r.open()
		r.wantCommitted(t, tp, 4, "after a clean stop")

		// What is cut off was not committed, or an unclean election has it so: what comes in its place is not.
		r.perform(effect.Set{Truncates: []effect.Truncate{{Partition: tp, To: 2}}})
		r.sync()
		r.appendAt(tp, 2, 0)
		r.appendAt(tp, 3, 0)
		r.crash(storagetest.LoseUnsynced, 3)
		r.wantCommitted(t, tp, 2, "after a truncation and a power loss")
		r.close()
		r.open()
		r.wantCommitted(t, tp, 2, "and a clean stop")

		r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: 3}}})
		r.checkpoint()
		r.crash(storagetest.LoseUnsynced, 4)
		r.wantCommitted(t, tp, 3, "as retention said")

		r.perform(effect.Set{Deletes: []effect.Delete{{Partition: tp}}})
		r.sync()
		r.create(tp, smallLog())
		r.appendAt(tp, 0, 0)
		r.crash(storagetest.LoseUnsynced, 5)
		r.wantCommitted(t, tp, 0, "another log of the same name")
	}
}
