package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// modelBatch is a batch that was asked to be appended and not refused.
type modelBatch struct {
	base, next model.Offset
	bytes      []byte
	loose      bool // asked for while the log was loose
}

// modelLog is what one partition's log must look like.
type modelLog struct {
	tp model.TopicPartition
	modelView
	// What the log was before each truncation that was asked for and not reported, oldest first; modelView is what it
	// will be after all of them. What is reported as durable is of the oldest.
	before  []modelView
	epoch   model.LeaderEpoch
	acked   model.Offset // everything below was reported durable, or written if the log is loose
	safe    model.Offset // everything below was reported durable
	loose   bool         // flush.messages relaxes durability
	frail   bool         // it did, and nothing proves that everything is durable since
	pending model.Offset // a log start that was asked for
	below   model.Offset // a log start that a retain demanded
	retains int          // asked for and not answered
	attempt uint32
	tainted bool // loose, and something was refused: a power loss may bring it back
	deleted bool // asked for
	gone    bool // reported
}

// oldest is the log that reports are about.
func (l *modelLog) oldest() *modelView {
	if len(l.before) > 0 {
		return &l.before[0]
	}
	return &l.modelView
}

// world drives an engine at random and knows what it promised.
type world struct {
	t     *rapid.T
	disk  *storagetest.MemoryDisk
	cfg   storage.Config
	logc  effect.LogConfig
	e     *storage.Engine
	rec   *storage.Recovery
	done  effect.Completions
	logs  []*modelLog
	names int
	tag   uint64
	ts    model.Timestamp
	now   model.Time
	// of loose logs; 0 if there are none
	flushMessages, flushMs int64

	sync, checkpoint *storage.SyncWork
	closed           bool
	full             bool // the disk fills up
}

func (w *world) open() {
	var err error
	w.e, w.rec, err = storage.Open(w.disk, w.cfg)
	if errors.Is(err, storage.ErrFull) {
		w.disk.CapacityBytes = 0
		w.disk.Crash(storagetest.LoseNothing, 0)
		w.e, w.rec, err = storage.Open(w.disk, w.cfg)
	}
	if err != nil {
		w.t.Fatalf("open: %v", err)
	}
	w.sync, w.checkpoint = nil, nil
}

func (w *world) perform(set effect.Set) {
	w.e.Perform(&set, &w.done)
	w.take()
}

// take learns from the completions.
func (w *world) take() {
	for _, a := range w.done.Appended {
		l := w.find(a.Partition)
		switch a.Failure {
		case effect.OK:
			if end := l.oldest().end(); a.NextOffset <= l.acked && !l.deleted && !l.frail || a.NextOffset > end {
				w.t.Fatalf("%v: reported durable to %d, was %d, log end %d", l.tp, a.NextOffset, l.acked, end)
			}
			if l.acked = max(l.acked, a.NextOffset); !l.loose && w.strictly(l, a.NextOffset) {
				l.safe, l.frail = a.NextOffset, false
			}
		case effect.DiskFull:
			l.tainted = l.tainted || l.frail
			if a.State == nil && a.Attempt == l.attempt || a.State != nil && a.State.EndOffset() != a.NextOffset {
				w.t.Fatalf("%v: refused at %d with state %v", l.tp, a.NextOffset, a.State)
			}
			if a.Attempt == l.attempt {
				l.attempt++
				w.refused(l, a.NextOffset)
			}
		case effect.Missing:
			// A deletion is on its way, and may be refused yet: then the log goes on without it.
			if !l.deleted {
				w.t.Fatalf("%v: missing", l.tp)
			}
			w.refused(l, a.NextOffset)
		default:
			w.t.Fatalf("%v: append failed: %v", l.tp, a.Failure)
		}
	}
	for i := range w.done.Truncated {
		w.truncated(&w.done.Truncated[i])
	}
	for _, r := range w.done.Retained {
		l := w.find(r.Partition)
		if r.Failure == effect.OK && r.LogStartOffset > l.start {
			if r.LogStartOffset > l.acked {
				w.t.Fatalf("%v: retention to %d passed %d", l.tp, r.LogStartOffset, l.acked)
			}
			w.setStart(l, r.LogStartOffset)
		}
		if r.Failure != effect.OK {
			l.below = l.start
		}
		if l.retains--; l.retains == 0 {
			l.pending = l.start
		}
	}
	for _, d := range w.done.Deleted {
		l := w.find(d.Partition)
		switch d.Failure {
		case effect.OK:
			l.gone = true
		case effect.DiskFull:
			l.deleted = false
		default:
			w.t.Fatalf("%v: delete failed: %v", l.tp, d.Failure)
		}
	}
	for _, d := range w.done.Damaged {
		w.t.Fatalf("%v: damaged: %s", d.Partition, d.Detail)
	}
	w.done.Reset()
}

// refused learns that an append was refused: the log ends at next.
func (w *world) refused(l *modelLog, next model.Offset) {
	v := l.oldest()
	if v.lose(next); v.end() != next {
		w.t.Fatalf("%v: refused at %d, batches end at %d", l.tp, next, v.end())
	}
	l.recut() // nothing is appended behind a truncation while an append may be refused
}

// strictly reports whether the batch that ends at an offset was asked for under a strict configuration.
func (w *world) strictly(l *modelLog, next model.Offset) bool {
	for _, b := range l.oldest().batches {
		if b.next == next {
			return !b.loose
		}
	}
	return false
}

// config is the configuration of a log.
func (w *world) config(l *modelLog) effect.LogConfig {
	c := w.logc
	if l.loose {
		c.FlushMessages, c.FlushMs = w.flushMessages, w.flushMs
	}
	return c
}

// reconfigure makes a log loose, or strict again, and lets time pass.
func (w *world) reconfigure() {
	if w.flushMessages > 0 {
		l := w.pick()
		l.loose = !l.loose
		l.frail = l.frail || l.loose
		w.perform(effect.Set{Opens: []effect.Open{{Partition: l.tp, Config: w.config(l)}}})
	}
	w.tick()
}

func (w *world) tick() {
	w.now += model.Time(rapid.Int64Range(0, 30_000_000).Draw(w.t, "time"))
	w.e.Tick(w.now)
	if d := w.e.Deadline(); d != 0 && d <= w.now {
		w.t.Fatalf("at %d the next deadline is %d", w.now, d)
	}
}

func (w *world) setStart(l *modelLog, start model.Offset) {
	l.start = start
	l.state.AdvanceStart(start)
	l.pending = max(l.pending, start)
	for len(l.batches) > 0 && l.batches[0].next <= start {
		l.batches = l.batches[1:]
	}
}

func (w *world) find(tp model.TopicPartition) *modelLog {
	for _, l := range w.logs {
		if l.tp == tp {
			return l
		}
	}
	w.t.Fatalf("completion of unknown %v", tp)
	return nil
}

func (w *world) pick() *modelLog {
	var live []*modelLog
	for _, l := range w.logs {
		if !l.deleted {
			live = append(live, l)
		}
	}
	if len(live) == 0 || len(live) < 4 && rapid.IntRange(0, 3).Draw(w.t, "new") == 0 {
		w.names++
		l := &modelLog{tp: topic(w.names), modelView: newView(0), epoch: 1}
		l.loose = w.flushMessages > 0 && rapid.Bool().Draw(w.t, "loose")
		l.frail = l.loose
		w.logs = append(w.logs, l)
		w.perform(effect.Set{Opens: []effect.Open{{Partition: l.tp, Config: w.config(l)}}})
		return l
	}
	return live[rapid.IntRange(0, len(live)-1).Draw(w.t, "partition")]
}

func (w *world) append() {
	var set effect.Set
	for range rapid.IntRange(1, 6).Draw(w.t, "appends") {
		l := w.pick()
		w.tag++
		count := rapid.IntRange(1, 3).Draw(w.t, "records")
		size := rapid.SampledFrom([]int{16, 100, 700, 3000, 9000}).Draw(w.t, "size")
		w.ts += 10
		if w.full && len(l.before) > 0 {
			continue
		}
		l.epoch += model.LeaderEpoch(rapid.SampledFrom([]int{0, 0, 0, 0, 0, 1}).Draw(w.t, "epoch"))
		b, stored := w.batch(l, count, size)
		set.Appends = append(set.Appends, effect.Append{
			Partition: l.tp, BaseOffset: l.end(), LeaderEpoch: l.epoch, AppendTime: model.NoTimestamp, Attempt: l.attempt, Batch: b,
		})
		l.add(stored, l.loose)
	}
	w.perform(set)
}

// beginSync and endSync are the driver's halves of a sync.
func (w *world) beginSync() {
	if w.sync == nil {
		if work, ok := w.e.BeginSync(); ok {
			w.sync = work
		}
	}
}

func (w *world) endSync() {
	if w.sync == nil {
		return
	}
	if err := w.e.EndSync(w.sync, w.sync.Run(), &w.done); err != nil {
		w.t.Fatalf("sync: %v", err)
	}
	w.sync = nil
	w.take()
}

func (w *world) syncAll() {
	for {
		w.endSync()
		w.beginSync()
		if w.sync == nil {
			break
		}
	}
	for _, l := range w.logs {
		if l.start < l.below && !l.deleted {
			w.t.Fatalf("%v: the log starts at %d, everything below %d was to be deleted", l.tp, l.start, l.below)
		}
	}
}

func (w *world) beginCheckpoint() {
	if w.checkpoint == nil {
		if work, ok := w.e.BeginCheckpoint(); ok {
			w.checkpoint = work
		}
	}
}

func (w *world) endCheckpoint() {
	if w.checkpoint == nil {
		return
	}
	if err := w.e.EndCheckpoint(w.checkpoint, w.checkpoint.Run(), &w.done); err != nil {
		w.t.Fatalf("checkpoint: %v", err)
	}
	w.checkpoint = nil
	w.take()
}

func (w *world) retain() {
	l := w.pick()
	if l.acked == 0 || len(l.before) > 0 {
		return
	}
	retain := effect.Retain{Partition: l.tp, HighWatermark: l.acked, Wall: w.ts}
	if rapid.Bool().Draw(w.t, "delete records") {
		retain.Below = model.Offset(rapid.Int64Range(int64(l.start), int64(l.acked)).Draw(w.t, "below"))
		l.below = max(l.below, retain.Below)
	}
	l.pending = l.acked // the most it may become
	l.retains++
	w.perform(effect.Set{Retains: []effect.Retain{retain}})
}

func (w *world) remove() {
	l := w.pick()
	l.deleted = true
	w.perform(effect.Set{Deletes: []effect.Delete{{Partition: l.tp}}})
}

// crash ends the engine's life, perhaps several times, and checks what came back.
func (w *world) crash() {
	losses := rapid.SampledFrom([]storagetest.Loss{
		storagetest.LoseNothing, storagetest.LoseUnsynced, storagetest.LoseSome, storagetest.LoseSome,
	})
	loss := losses.Draw(w.t, "loss")
	power := loss != storagetest.LoseNothing
	how := rapid.IntRange(0, 4).Draw(w.t, "how")
	if w.closed {
		how, w.closed = 4, false
	}
	switch how {
	case 0: // inside an operation, before the sync ends
		w.dieAfter(rapid.IntRange(0, 30).Draw(w.t, "ops"), func() {
			if w.beginSync(); w.sync != nil {
				_ = w.sync.Run()
			}
		})
	case 1: // inside a checkpoint
		w.dieAfter(rapid.IntRange(0, 30).Draw(w.t, "ops"), func() {
			for range 4 {
				if w.checkpoint == nil {
					work, ok := w.e.BeginCheckpoint()
					if !ok {
						return
					}
					w.checkpoint = work
				}
				if w.e.EndCheckpoint(w.checkpoint, w.checkpoint.Run(), &w.done) != nil {
					return
				}
				w.checkpoint = nil
			}
		})
	}
	w.done.Reset()
	w.disk.Crash(loss, rapid.Uint64().Draw(w.t, "seed"))
	for rapid.IntRange(0, 2).Draw(w.t, "again") == 0 {
		w.dieAfter(rapid.IntRange(0, 60).Draw(w.t, "ops"), func() {
			if e, _, err := storage.Open(w.disk, w.cfg); err == nil {
				w.e = e
			} else if !errors.Is(err, storagetest.ErrDead) && !errors.Is(err, storage.ErrFull) {
				w.t.Fatalf("open: %v", err)
			}
		})
		// What a life found in the page cache, and went by, is gone when the power fails before its own is durable.
		loss = losses.Draw(w.t, "loss")
		power = power || loss != storagetest.LoseNothing
		w.disk.Crash(loss, rapid.Uint64().Draw(w.t, "seed"))
	}
	w.open()
	w.compare(power)
	if rapid.Bool().Draw(w.t, "twice") {
		before := w.observe()
		w.disk.Crash(storagetest.LoseNothing, 0)
		w.open()
		if after := w.observe(); before != after {
			w.t.Fatalf("recovery twice differs from once:\n%s\n%s", before, after)
		}
	}
	for _, l := range w.logs {
		if !l.deleted {
			w.perform(effect.Set{Opens: []effect.Open{{Partition: l.tp, Config: w.config(l)}}})
		}
	}
}

// dieAfter runs f on a disk that refuses everything from the n-th operation on.
func (w *world) dieAfter(n int, f func()) {
	w.disk.Hook = func(storagetest.Op) error {
		if n--; n < 0 {
			return storagetest.ErrDead
		}
		return nil
	}
	f()
	w.disk.Hook = nil
}

// compare holds what recovery found against what was promised, and adopts what it may.
func (w *world) compare(power bool) {
	found := map[model.TopicPartition]*storage.Recovered{}
	for i := range w.rec.Partitions {
		found[w.rec.Partitions[i].Partition] = &w.rec.Partitions[i]
	}
	kept := w.logs[:0]
	for _, l := range w.logs {
		l.attempt, l.retains = 0, 0
		p := found[l.tp]
		delete(found, l.tp)
		if l.gone && p != nil {
			w.t.Fatalf("%v: deleted and back", l.tp)
		}
		if l.gone || l.deleted && p == nil {
			continue
		}
		kept = append(kept, l)
		l.deleted = false
		if p == nil {
			if !l.mayBeEmpty(power) {
				w.t.Fatalf("%v: lost", l.tp)
			}
			l.modelView, l.before, l.acked, l.safe, l.pending, l.below = newView(0), nil, 0, 0, 0, 0
			continue
		}
		if p.Damage != "" {
			w.t.Fatalf("%v: damaged: %s", l.tp, p.Damage)
		}
		end, start := p.State.EndOffset(), p.State.StartOffset()
		if !w.settleOn(l, p.State, power) {
			w.t.Fatalf("%v: recovered [%d,%d); reported durable to %d, start asked for %d; %s; state %x", l.tp, start, end, l.acked, l.pending, l,
				p.State.AppendSnapshot(nil))
		}
		l.acked, l.safe, l.tainted = end, end, false
		w.setStart(l, start)
		l.pending, l.below = l.start, l.start
	}
	w.logs = kept
	if len(found) > 0 {
		w.t.Fatalf("%d partitions recovered that nobody knows", len(found))
	}
	w.readEverything()
	if err := w.e.Check(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) readEverything() {
	for _, l := range w.logs {
		if l.deleted || len(l.before) > 0 {
			continue // what a truncation has reached can be read no more, and nobody knows when it does
		}
		var want []byte
		derived := log.New(0)
		for i, b := range l.batches {
			if i == 0 {
				derived = log.New(b.base) // a batch that the log start cuts is served whole
			}
			if b.next <= l.acked {
				want = append(want, b.bytes...)
			}
		}
		for at := l.start; at < l.acked; {
			f := effect.FetchReply{BytesMax: 5000, Parts: []effect.FetchPart{{Partition: l.tp, From: at, To: l.acked, BytesMax: 5000}}}
			w.e.ResolveRead(&f)
			got := flatten(w.t, f.Parts[0].Records)
			if f.Parts[0].Code == kerr.OffsetOutOfRange.Code && at < l.pending {
				want = nil // retention is on its way
				break
			}
			if f.Parts[0].Code != 0 || len(got) == 0 {
				w.perform(effect.Set{}) // says what is damaged
				w.t.Fatalf("%v: read at %d of [%d,%d): code %d, %d bytes", l.tp, at, l.start, l.acked, f.Parts[0].Code, len(got))
			}
			if !bytes.HasPrefix(want, got) {
				w.t.Fatalf("%v: other bytes at %d", l.tp, at)
			}
			want = want[len(got):]
			for len(got) > 0 {
				b, rest, err := record.Next(got)
				if err != nil {
					w.t.Fatalf("%v: read at %d: %v", l.tp, at, err)
				}
				h, _ := record.ReadHeader(b)
				derived.Apply(h)
				at, got = b.NextOffset(), rest
			}
		}
		if len(want) > 0 {
			w.t.Fatalf("%v: %d bytes are missing", l.tp, len(want))
		}
	}
}

func (w *world) observe() string {
	var b bytes.Buffer
	for _, p := range w.rec.Partitions {
		snapshot := p.State.AppendSnapshot(nil)
		fmt.Fprintf(&b, "%v %d %x %q\n", p.Partition, p.SizeBytes, snapshot, p.Damage)
	}
	for _, path := range w.disk.Paths() {
		if bytes.HasSuffix([]byte(path), []byte(".log")) {
			fmt.Fprintf(&b, "%s %x\n", path, w.disk.Bytes(path))
		}
	}
	return b.String()
}

func (w *world) failSync() {
	w.syncAll()
	w.append()
	w.beginSync()
	if w.sync == nil {
		return
	}
	n := rapid.IntRange(0, 2).Draw(w.t, "sync")
	failed := false
	w.disk.Hook = func(op storagetest.Op) error {
		if op.Kind == "sync" {
			if n--; n < 0 {
				failed = true
				return errors.New("input/output error")
			}
		}
		return nil
	}
	err := w.e.EndSync(w.sync, w.sync.Run(), &w.done)
	w.sync = nil
	w.disk.Hook = nil
	if failed {
		if !errors.Is(err, storage.ErrStopped) {
			w.t.Fatalf("a failed sync ended with %v", err)
		}
		if !w.done.Empty() {
			w.t.Fatalf("a failed sync completed %+v", w.done)
		}
		if _, ok := w.e.BeginSync(); ok {
			w.t.Fatal("a stopped engine went on")
		}
		w.crash()
		return
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.take()
}

func (w *world) restart() {
	w.syncAll()
	for w.checkpoint != nil {
		w.endCheckpoint()
	}
	if err := w.e.Close(&w.done); err != nil {
		if errors.Is(err, storage.ErrFull) {
			w.closed = true
			w.crash()
			return
		}
		w.t.Fatalf("close: %v", err)
	}
	w.take()
	if n := w.disk.HandleCount(); n != 0 {
		w.t.Fatalf("%d files open after Close", n)
	}
	for _, l := range w.logs {
		l.safe = l.acked // a clean shutdown leaves nothing loose
	}
	w.disk.Crash(storagetest.LoseSome, rapid.Uint64().Draw(w.t, "seed"))
	w.open()
	if !w.rec.CleanShutdown || w.rec.ReplayedEntries != 0 {
		w.t.Fatalf("clean %v, replayed %d", w.rec.CleanShutdown, w.rec.ReplayedEntries)
	}
	w.compare(true)
	for _, l := range w.logs {
		w.perform(effect.Set{Opens: []effect.Open{{Partition: l.tp, Config: w.config(l)}}})
	}
}

func (w *world) step(full bool) {
	ops := []func(){
		w.append, w.append, w.append, w.append, w.beginSync, w.endSync, w.syncAll, w.syncAll,
		w.beginCheckpoint, w.endCheckpoint, w.retain, w.crash, w.readEverything, w.reconfigure, w.truncate, w.truncate,
	}
	switch rapid.IntRange(0, 40).Draw(w.t, "rare") {
	case 0:
		w.remove()
	case 1:
		w.failSync()
	case 2:
		w.restart()
	case 3:
		if err := w.e.Check(); err != nil {
			w.t.Fatal(err)
		}
	case 4, 5:
		if full {
			w.disk.CapacityBytes = max(1, w.disk.UsedBytes()+int64(rapid.IntRange(0, 60_000).Draw(w.t, "left")))
		}
	case 6, 7, 8:
		w.disk.CapacityBytes = 0
	default:
		ops[rapid.IntRange(0, len(ops)-1).Draw(w.t, "op")]()
	}
}

func drawWorld(t *rapid.T) *world {
	w := &world{t: t, disk: storagetest.New(), ts: 1000}
	w.logc = effect.LogConfig{
		SegmentBytes:       int32(rapid.SampledFrom([]int{2000, 20_000}).Draw(t, "segment")),
		IndexIntervalBytes: int32(rapid.SampledFrom([]int{0, 500, 4096}).Draw(t, "interval")),
		RetentionMs:        rapid.SampledFrom([]int64{-1, 0, 100}).Draw(t, "retention ms"),
		RetentionBytes:     rapid.SampledFrom([]int64{-1, 0, 10_000}).Draw(t, "retention bytes"),
	}
	w.flushMessages = rapid.SampledFrom([]int64{0, 2, 7, 1 << 62}).Draw(t, "flush messages")
	w.flushMs = rapid.SampledFrom([]int64{1, 50, 1<<63 - 1}).Draw(t, "flush ms")
	w.cfg = storage.Config{
		Identity:          testIdentity,
		JournalFileBytes:  rapid.SampledFrom([]int64{8 << 10, 32 << 10, 256 << 10}).Draw(t, "journal"),
		JournalBlockBytes: rapid.SampledFrom([]int{512, 4096}).Draw(t, "block"),
		CheckpointBytes:   rapid.SampledFrom([]int64{10_000, 100_000}).Draw(t, "checkpoint"),
		InPlaceBytesMin:   rapid.SampledFrom([]int{0, 1, 4000}).Draw(t, "in place"),
		OpenFilesMax:      rapid.SampledFrom([]int{2, 100}).Draw(t, "open files"),
		Regions:           rapid.Bool().Draw(t, "regions"),
		DefaultLog:        w.logc,
	}
	w.open()
	return w
}

func TestWhatIsReportedDurableSurvivesEveryCrash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.step(false)
		}
		w.crash()
	})
}

func TestFullDiskNeverTearsABatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.full = true
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.step(true)
		}
		w.disk.CapacityBytes = 0
		w.crash()
		// With room again, everything works again.
		w.append()
		w.syncAll()
		for _, l := range w.logs {
			if !l.deleted && l.acked != l.end() {
				t.Fatalf("%v: durable to %d of %d with room on the disk", l.tp, l.acked, l.end())
			}
		}
		w.readEverything()
	})
}
