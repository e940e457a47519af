package storage_test

import (
	"bytes"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// What was cut off stays off, although a batch before it is damaged that retention has removed, or the log is out of use.
func TestATruncationStandsThoughDamageBeforeItIsExcused(t *testing.T) {
	for _, isLoose := range []bool{false, true} {
		for _, test := range []struct{ damaged, to, more, below model.Offset }{
			{3, 20, 20, 14}, {3, 20, 23, 14}, {3, 20, 28, 14}, {3, 16, 16, 14}, {3, 21, 21, 14}, {3, 14, 14, 14}, {3, 22, 22, 21}, {3, 20, 29, 21},
		} {
			r := newRig(t, smallConfig())
			tp, config := topic(1), smallLog()
			if isLoose {
				config = looseLog(1<<40, 1<<40)
			}
			r.create(tp, config)
			add := func(i model.Offset, epoch model.LeaderEpoch) { // each has an epoch of its own: all go through the journal
				r.perform(effect.Set{Appends: []effect.Append{{
					Partition: tp, BaseOffset: i, LeaderEpoch: epoch, AppendTime: model.NoTimestamp, Batch: batch(uint64(i), 1, 1000, 1),
				}}})
				r.sync()
			}
			for i := range model.Offset(26) {
				add(i, model.LeaderEpoch(1+i))
			}
			damaged := bytes.Clone(r.readAll(tp, test.damaged, test.damaged+1))
			r.truncate(tp, test.to)
			r.sync()
			for i := test.to; i < test.more; i++ {
				add(i, model.LeaderEpoch(100+i))
			}
			var want []byte
			if test.below < test.more {
				want = r.readAll(tp, test.below, test.more)
			}
			r.perform(effect.Set{Retains: []effect.Retain{{Partition: tp, HighWatermark: test.more, Below: test.below}}})
			r.sync()
			flipped := false
			for _, path := range r.journalPaths() {
				if at := bytes.Index(r.disk.Bytes(path), damaged[61:]); at >= 0 {
					r.disk.Flip(path, int64(at+500)*8)
					flipped = true
				}
			}
			if !flipped {
				t.Fatalf("%+v: the journal has nothing of offset %d", test, test.damaged)
			}
			r.crash(storagetest.LoseNothing, 0)
			p := r.recovered(tp)
			if p.Damage != "" {
				continue
			}
			if got := p.State.EndOffset(); got != test.more {
				t.Errorf("relaxed %t, %+v: ends at %d, not %d", isLoose, test, got, test.more)
			} else if test.below < test.more {
				if got := r.readAll(tp, test.below, test.more); !bytes.Equal(got, want) {
					t.Errorf("relaxed %t, %+v: other bytes", isLoose, test)
				}
			}
		}
	}
}
