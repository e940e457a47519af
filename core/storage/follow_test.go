package storage_test

import (
	"bytes"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage/storagetest"
)

func fetchOf(tp model.TopicPartition, from, to model.Offset) *effect.FetchReply {
	return &effect.FetchReply{BytesMax: 1 << 20, Parts: []effect.FetchPart{{Partition: tp, From: from, To: to, BytesMax: 1 << 20}}}
}

// A leader serves its followers what it is making durable itself, exactly as it is written; what is only staged is not
// served, and said to come.
func TestWhatIsBeingMadeDurableIsServed(t *testing.T) {
	for _, test := range []struct {
		regions bool
		inPlace int
	}{{false, 0}, {true, 0}, {false, 1}, {true, 1}} {
		cfg := smallConfig()
		cfg.Regions, cfg.InPlaceBytesMin = test.regions, test.inPlace
		r := newRig(t, cfg)
		tp, other := topic(1), topic(2)
		r.create(tp, smallLog())
		r.create(other, smallLog())
		durable := r.fill(tp, 0, 3, 500)
		read := func(from, to model.Offset) ([]byte, bool) {
			f := fetchOf(tp, from, to)
			waits := r.e.Unwritten(f)
			r.e.ResolveRead(f)
			if f.Parts[0].Code != 0 {
				t.Fatalf("code %d", f.Parts[0].Code)
			}
			return flatten(t, f.Parts[0].Records), waits
		}
		staged := r.append(tp, 3, batch(7, 2, 500, 9))
		staged = append(staged, r.append(tp, 5, batch(8, 1, 500, 9))...)
		if b, waits := read(3, 6); len(b) > 0 || !waits {
			t.Fatalf("%+v: of what is staged %d bytes are served, waits %v", test, len(b), waits)
		}
		if b, waits := read(0, 6); !bytes.Equal(b, durable) || waits {
			t.Fatalf("%+v: with what is staged behind it %d bytes are served, waits %v", test, len(b), waits)
		}
		w, ok := r.e.BeginSync()
		if !ok {
			t.Fatal("nothing to sync")
		}
		if b, waits := read(3, 6); !bytes.Equal(b, staged) || waits {
			t.Fatalf("%+v: of what is being synced %d bytes are served, %d were staged; waits %v", test, len(b), len(staged), waits)
		}
		if b, _ := read(3, 5); !bytes.Equal(b, staged[:len(b)]) || len(b) >= len(staged) {
			t.Fatalf("%+v: %d bytes are served up to where the second batch begins", test, len(b))
		}
		more := r.append(tp, 6, batch(9, 1, 500, 9)) // staged while the others are synced
		if b, waits := read(6, 7); len(b) > 0 || !waits {
			t.Fatalf("%+v: %d bytes, waits %v", test, len(b), waits)
		}
		// Whatever else there is to answer is answered at once.
		f := fetchOf(tp, 6, 7)
		f.Parts = append(f.Parts, effect.FetchPart{Partition: other, Code: 3})
		if r.e.Unwritten(f) {
			t.Fatal("an error waits")
		}
		if err := r.e.EndSync(w, w.Run(), &r.done); err != nil {
			t.Fatal(err)
		}
		if b, waits := read(6, 7); len(b) > 0 || !waits {
			t.Fatalf("%+v: %d bytes, waits %v", test, len(b), waits)
		}
		r.sync()
		if b, waits := read(3, 7); !bytes.Equal(b, append(staged, more...)) || waits {
			t.Fatalf("%+v: %d bytes in the end", test, len(b))
		}
		if b, waits := read(7, 9); len(b) > 0 || waits {
			t.Fatalf("%+v: what nobody asked to be appended is waited for", test)
		}
	}
}

// What was refused is waited for no longer.
func TestReadOfARefusedAppendEnds(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	r.fill(tp, 0, 1, 100)
	r.append(tp, 1, batch(1, 1, 9000, 1))
	if !r.e.Unwritten(fetchOf(tp, 1, 2)) {
		t.Fatal("it is staged")
	}
	r.disk.CapacityBytes = r.disk.UsedBytes() + 1000
	w, ok := r.e.BeginSync()
	if !ok {
		t.Fatal("nothing to sync")
	}
	if r.e.Unwritten(fetchOf(tp, 1, 2)) {
		t.Fatal("a refused append is waited for")
	}
	if err := r.e.EndSync(w, w.Run(), &r.done); err != nil {
		t.Fatal(err)
	}
	if a := r.done.Appended; a[len(a)-1].Failure != effect.DiskFull {
		t.Fatalf("reported %+v", a)
	}
}

// fetched is what a leader sends: batches of several epochs in one buffer, stamped.
func fetched(from model.Offset, epochs []model.LeaderEpoch, valueBytes int) (buffer []byte, appends []effect.Append) {
	for i, epoch := range epochs {
		b := batch(uint64(i), 1+i%3, valueBytes, model.Timestamp(100+i))
		record.Stamp(b, from, epoch)
		from = record.Batch(b).NextOffset()
		buffer = append(buffer, b...)
	}
	for rest := buffer; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil {
			panic(err)
		}
		appends = append(appends, effect.Append{
			Partition: topic(1), BaseOffset: b.BaseOffset(), LeaderEpoch: b.LeaderEpoch(), AppendTime: model.NoTimestamp, Batch: b,
		})
		rest = after
	}
	return buffer, appends
}

// A follower stores what its leader sent byte for byte, with the epochs that the leader, and those before it, gave.
func TestFollowerStoresWhatItsLeaderStamped(t *testing.T) {
	for _, flush := range []int64{0, 1 << 40} {
		for _, inPlace := range []int{0, 1} {
			cfg := smallConfig()
			cfg.InPlaceBytesMin = inPlace
			r := newRig(t, cfg)
			lc := smallLog()
			lc.FlushMessages, lc.FlushMs = flush, flush
			r.create(topic(1), lc)
			var want []byte
			next := model.Offset(0)
			for _, epochs := range [][]model.LeaderEpoch{{2, 2, 3, 3, 3, 7}, {7, 8}, {8, 8, 8, 8}, {11}} {
				buffer, appends := fetched(next, epochs, 700)
				want = append(want, buffer...)
				sent := bytes.Clone(buffer)
				next = record.Batch(appends[len(appends)-1].Batch).NextOffset()
				r.perform(effect.Set{Appends: appends})
				r.sync()
				if !bytes.Equal(buffer, sent) {
					t.Fatal("stamping changed what was stamped")
				}
			}
			r.crash(storagetest.LoseNothing, 0)
			p := r.recovered(topic(1))
			if got := r.readAll(topic(1), 0, next); p.Damage != "" || !bytes.Equal(got, want) {
				t.Fatalf("flush %d, in place from %d: other bytes; damage %q", flush, inPlace, p.Damage)
			}
			for _, c := range []struct{ asked, epoch model.LeaderEpoch }{{1, -1}, {2, 2}, {6, 3}, {7, 7}, {10, 8}, {11, 11}} {
				if epoch, _ := p.State.EpochEnd(c.asked); epoch != c.epoch {
					t.Errorf("epoch %d: found %d, want %d", c.asked, epoch, c.epoch)
				}
			}
		}
	}
}

// A fetch of many batches is appended from where it lies: nothing is copied, and nothing allocated.
func TestAppendingAFetchDoesNotAllocate(t *testing.T) {
	cfg := benchConfig()
	cfg.DefaultLog.IndexIntervalBytes = 1 << 30
	cfg.DefaultLog.RetentionBytes = 0
	r := newRig(t, cfg)
	r.create(topic(1), cfg.DefaultLog)
	next := model.Offset(0)
	_, appends := fetched(0, make([]model.LeaderEpoch, 32), 1000)
	var set effect.Set
	turn := func() {
		set.Reset()
		for _, a := range appends {
			a.BaseOffset = next
			next += record.Batch(a.Batch).NextOffset() - record.Batch(a.Batch).BaseOffset()
			set.Appends = append(set.Appends, a)
		}
		r.e.Perform(&set, &r.done)
		if err := r.trySync(); err != nil {
			t.Fatal(err)
		}
		r.done.Reset()
	}
	for range 200 {
		turn()
	}
	if n := testing.AllocsPerRun(200, turn); n > 0 {
		t.Fatalf("%v allocations for %d batches", n, len(appends))
	}
}

// BenchmarkTruncate drops the last batches of a large segment with busy producers, as a failover does.
func BenchmarkTruncate(b *testing.B) {
	for _, producers := range []int{0, 100} {
		name := map[int]string{0: "no producers", 100: "100 producers"}[producers]
		b.Run(name, func(b *testing.B) {
			cfg := benchConfig()
			r := newRig(b, cfg)
			lc := cfg.DefaultLog
			lc.SegmentBytes = 512 << 20
			r.create(topic(1), lc)
			next := model.Offset(0)
			write := func(count int) {
				for range count {
					o := record.NewOptions(record.CodecNone)
					if producers > 0 {
						o.ProducerID, o.ProducerEpoch = model.ProducerID(next)%model.ProducerID(producers), 0
						o.BaseSequence = model.Sequence(next / model.Offset(producers))
					}
					var rb record.Builder
					rb.Begin(o)
					rb.Append(record.Record{Value: make([]byte, 16<<10), Timestamp: 5})
					r.perform(effect.Set{Appends: []effect.Append{{
						Partition: topic(1), BaseOffset: next, LeaderEpoch: 1, AppendTime: model.NoTimestamp, Batch: bytes.Clone(rb.Finish()),
					}}})
					next++
					if next%64 == 0 {
						r.sync()
						r.done.Reset()
					}
				}
				r.sync()
				r.done.Reset()
			}
			write(8000)
			r.checkpoint()
			b.ResetTimer()
			for b.Loop() {
				next -= 10
				r.truncate(topic(1), next)
				r.sync()
				if len(r.done.Truncated) != 1 || r.done.Truncated[0].Failure != effect.OK {
					b.Fatalf("%+v", r.done.Truncated)
				}
				r.done.Reset()
				if next < 4000 {
					b.StopTimer()
					write(4000)
					r.checkpoint()
					b.StartTimer()
				}
			}
		})
	}
}
