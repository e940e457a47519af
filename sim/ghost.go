package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
)

// ghost is what a node's logs must hold, kept beside the core from what the core asked and was told. No
// machine sees it.
//
// A batch is asked for (an Append), covered by a sync that began after it was handed to the engine, and
// then durable. From then on it may never change or disappear but by retention or deletion. A batch that
// was only asked for may or may not be there after a crash; if it is, it is durable from then on.
type ghost struct {
	fail  func(oracle, detail string)
	logs  map[model.TopicPartition]*ghostLog
	order []*ghostLog

	handed  uint64 // appends handed to the engine, counted
	syncing uint64 // of those, covered by the sync under way
	synced  uint64 // covered by a sync that succeeded

	// producers are the ids given out so far by any node: none is ever given to a second one.
	producers map[model.ProducerID]bool

	// everythingDamaged is why any partition may be unavailable: a bit flipped in a file of all of them.
	everythingDamaged string

	// heals says that what is damaged is held by other nodes, too, and comes back from there. lazy, that a start leaves it to the
	// process to find what is damaged.
	heals, lazy bool
}

type ghostLog struct {
	tp     model.TopicPartition
	number uint64 // among the logs, for traces
	// configs are those that a retention under way may go by, the newest last.
	configs []effect.LogConfig
	deleted bool // a deletion was asked for
	// damaged is why the log may be found damaged, until it begins anew. Unknown says that nobody looked at what it holds since.
	damaged string
	unknown bool

	start   model.Offset    // reported
	limit   model.Offset    // how far retention may have moved the start
	wall    model.Timestamp // the latest time of day that retention was told
	below   model.Offset    // how far it may have moved it whatever the configuration says
	durable []ghostBatch
	asked   []ghostBatch
	cuts    []ghostCut // asked for
	// attempt is the first that no refusal has made void: what is asked for in ignorance of a refusal is
	// refused as well.
	attempt uint32
}

type ghostBatch struct {
	base, next   model.Offset
	crc          uint32
	epoch        model.LeaderEpoch
	size         int32
	attempt      uint32
	number       uint64 // among those handed to the engine; 0 before
	maxTimestamp model.Timestamp
	producer     producerBatch
}

// producerBatch is what an idempotent producer's batch is recognised by when it comes again.
type producerBatch struct {
	id          model.ProducerID
	epoch       model.ProducerEpoch
	first, last model.Sequence
}

func producerOf(b record.Batch) producerBatch {
	return producerBatch{b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.LastSequence()}
}

// retryWindow is how many of a producer's last batches a leader must recognise (KIP-98).
const retryWindow = 5

// written reports whether the log holds a producer's batch among its last five of the newest epoch.
func (l *ghostLog) written(p producerBatch) bool {
	seen := 0
	for _, list := range [][]ghostBatch{l.asked, l.durable} {
		for i := len(list) - 1; i >= 0; i-- {
			b := &list[i].producer
			switch {
			case b.id != p.id:
			case b.epoch != p.epoch || seen == retryWindow:
				return false
			case *b == p:
				return true
			default:
				seen++
			}
		}
	}
	return false
}

func newGhost(fail func(oracle, detail string)) *ghost {
	return &ghost{fail: fail, logs: map[model.TopicPartition]*ghostLog{}, producers: map[model.ProducerID]bool{}}
}

// assigned checks a producer id that was given out.
func (g *ghost) assigned(id model.ProducerID, epoch model.ProducerEpoch) {
	if epoch == 0 && g.producers[id] {
		g.fail("producer-id-reused", fmt.Sprintf("producer id %d was given out twice", id))
	}
	g.producers[id] = true
}

func (g *ghost) log(tp model.TopicPartition) *ghostLog {
	l := g.logs[tp]
	if l == nil {
		l = &ghostLog{tp: tp, number: uint64(len(g.order))}
		g.logs[tp] = l
		g.order = append(g.order, l)
	}
	return l
}

// durableEnd is the offset after the last durable record.
func (l *ghostLog) durableEnd() model.Offset {
	if n := len(l.durable); n > 0 {
		return l.durable[n-1].next
	}
	return l.start
}

// end is durableEnd of a log that there may not be.
func (l *ghostLog) end() model.Offset {
	if l == nil {
		return 0
	}
	return l.durableEnd()
}

// broken reports whether a fault of the disk may have taken the partition.
func (g *ghost) broken(l *ghostLog) string {
	if l.damaged != "" {
		return l.damaged
	}
	return g.everythingDamaged
}

// needsReplacement reports whether a fault of the disk may keep a voter from starting.
func (g *ghost) needsReplacement() bool {
	if g.everythingDamaged != "" {
		return true
	}
	for _, l := range g.order {
		if l.tp.Topic == model.MetadataTopicID && l.damaged != "" {
			return true
		}
	}
	return false
}

// hit notes which partitions a damaged file may make unavailable. Those that are derived from others make none.
func (g *ghost) hit(h Damage) {
	why := h.String()
	if !strings.HasPrefix(h.Path, "partitions/") {
		g.everythingDamaged = why
	}
	for _, suffix := range []string{".index", ".timeindex", ".state"} {
		if strings.HasSuffix(h.Path, suffix) {
			return
		}
	}
	for _, l := range g.order {
		if strings.Contains(h.Path, fmt.Sprintf("/%s-%d/", l.tp.Topic, l.tp.Partition)) {
			l.damaged, l.unknown = why, true
			if l.tp.Topic == model.MetadataTopicID {
				g.everythingDamaged = why // without it the node knows no topic
			}
		}
	}
}

// append notes what the core asks for.
func (g *ghost) append(a *effect.Append) {
	l := g.log(a.Partition)
	b := record.Batch(a.Batch)
	n := ghostBatch{
		base: a.BaseOffset, next: a.BaseOffset + model.Offset(b.LastOffsetDelta()) + 1, crc: b.CRC(),
		epoch: a.LeaderEpoch, size: int32(len(a.Batch)), attempt: a.Attempt, maxTimestamp: b.MaxTimestamp(),
		producer: producerOf(b),
	}
	if a.AppendTime != model.NoTimestamp {
		n.crc, n.maxTimestamp = 0, a.AppendTime // stamping changes the checksum
	}
	if n.attempt >= l.attempt {
		l.asked = append(l.asked, n)
	}
}

// hand notes that the engine has been handed an append.
func (g *ghost) hand(a *effect.Append) {
	g.handed++
	l := g.log(a.Partition)
	for i := range l.asked {
		if b := &l.asked[i]; b.number == 0 && b.base == a.BaseOffset && b.attempt == a.Attempt {
			b.number = g.handed
			return
		}
	}
}

// syncBegins notes that a sync covers what was handed to the engine so far.
func (g *ghost) syncBegins() { g.syncing = g.handed }

// syncEnds notes that it succeeded.
func (g *ghost) syncEnds() { g.synced = g.syncing }

// completed checks what the engine reports against what can be true. synced says that it is the outcome of
// a sync; before one, no log start can have moved.
func (g *ghost) completed(c *effect.Completions, synced bool) {
	for _, a := range c.Appended {
		l := g.log(a.Partition)
		if a.Failure != effect.OK {
			g.refused(l, a)
			continue
		}
		for l.first() > 0 && l.asked[0].next <= a.NextOffset {
			b := l.asked[0]
			if b.number == 0 || b.number > g.synced {
				g.fail("durable-before-sync", fmt.Sprintf("%v: %d to %d was reported durable, but no sync covers it", l.tp, b.base, b.next))
				return
			}
			if b.base != l.durableEnd() {
				g.fail("log-gap", fmt.Sprintf("%v: %d to %d was reported durable after %d", l.tp, b.base, b.next, l.durableEnd()))
				return
			}
			l.durable = append(l.durable, b)
			l.dropFirst(1)
		}
		if l.durableEnd() < a.NextOffset {
			g.fail("durable-unasked", fmt.Sprintf("%v: reported durable to %d, but nothing was asked for after %d", l.tp, a.NextOffset, l.durableEnd()))
			return
		}
	}
	for _, d := range c.Deleted {
		if l := g.log(d.Partition); l.deleted && d.Failure != effect.DiskFull {
			*l = ghostLog{tp: l.tp, number: l.number, deleted: true}
		}
	}
	for i := range c.Truncated {
		g.truncated(&c.Truncated[i], synced)
	}
	for _, r := range c.Retained {
		l := g.log(r.Partition)
		switch {
		case r.Failure != effect.OK:
		case !synced && r.LogStartOffset > l.start:
			g.fail("log-start", fmt.Sprintf("%v: the log start moved from %d to %d, but no sync covers that", l.tp, l.start, r.LogStartOffset))
			return
		default:
			g.retained(l, r)
		}
	}
	for _, d := range c.Damaged {
		if g.broken(g.log(d.Partition)) == "" {
			g.fail("false-damage", fmt.Sprintf("%v: reported damaged on a sound disk: %s", d.Partition, d.Detail))
		}
	}
}

// refused forgets what certainly will not be written: the refused append and all after it that were asked
// for in ignorance of the refusal.
func (g *ghost) refused(l *ghostLog, a effect.Appended) {
	if a.Failure != effect.DiskFull {
		return // what becomes of them is for recovery to say
	}
	l.attempt = max(l.attempt, a.Attempt+1)
	kept := l.asked[:0]
	cuts := slices.Clone(l.cuts)
	for i, b := range l.asked {
		if b.attempt > a.Attempt || b.next <= a.NextOffset {
			kept = append(kept, b)
			continue
		}
		for k := range cuts {
			if i < cuts[k].after {
				l.cuts[k].after--
			}
		}
	}
	l.asked = kept
}

// retained checks that retention removed only what its configuration lets go.
func (g *ghost) retained(l *ghostLog, r effect.Retained) {
	if r.LogStartOffset <= l.start {
		return
	}
	if g.heals && l.unknown {
		l.start = r.LogStartOffset
		return
	}
	if r.LogStartOffset > l.limit {
		g.fail("retention", fmt.Sprintf("%v: the log start moved to %d, past the high watermark %d", l.tp, r.LogStartOffset, l.limit))
		return
	}
	if r.LogStartOffset > l.below {
		why := ""
		for _, c := range l.configs {
			if why = l.keeps(c, r.LogStartOffset); why == "" {
				break
			}
		}
		if why != "" {
			g.fail("retention", fmt.Sprintf("%v: the log start moved to %d, %s", l.tp, r.LogStartOffset, why))
			return
		}
		l.configs = l.configs[max(0, len(l.configs)-1):]
	}
	l.advance(r.LogStartOffset)
}

// keeps says why a configuration does not let go what is below a start; empty if it does.
func (l *ghostLog) keeps(c effect.LogConfig, start model.Offset) string {
	if c.RetentionMs < 0 && c.RetentionBytes < 0 {
		return "but everything is kept for ever"
	}
	left := int64(0)
	for _, list := range [][]ghostBatch{l.durable, l.asked} {
		for _, b := range list {
			if b.next > start {
				left += int64(b.size)
			}
		}
	}
	if c.RetentionBytes >= 0 && left >= c.RetentionBytes {
		return ""
	}
	if c.RetentionMs < 0 {
		return fmt.Sprintf("but %d bytes are left of the %d to be kept", left, c.RetentionBytes)
	}
	for _, b := range l.durable {
		if b.next <= start && b.next > l.below && int64(l.wall-b.maxTimestamp) <= c.RetentionMs {
			return fmt.Sprintf("but %d to %d are of time %d, it was %d then, and %d ms are to be kept", b.base, b.next, b.maxTimestamp, l.wall, c.RetentionMs)
		}
	}
	return ""
}

func (l *ghostLog) advance(start model.Offset) {
	if start <= l.start {
		return
	}
	end := l.durableEnd()
	l.start = start
	for len(l.durable) > 0 && l.durable[0].next <= start {
		l.durable = l.durable[1:]
	}
	if len(l.durable) == 0 && end > start {
		l.start = end
	}
}

// recovered compares what a restart found with what it had to find. What it found beyond is durable from
// now on.
func (g *ghost) recovered(e *storage.Engine, rec *storage.Recovery) {
	g.handed, g.syncing, g.synced = 0, 0, 0
	found := map[model.TopicPartition]bool{}
	for i := range rec.Partitions {
		r := &rec.Partitions[i]
		found[r.Partition] = true
		l := g.log(r.Partition)
		switch {
		case r.Damage != "":
			if g.broken(l) == "" {
				g.fail("false-damage", fmt.Sprintf("%v: found damaged on a sound disk: %s", l.tp, r.Damage))
			}
			if l.unknown = true; l.damaged == "" {
				l.damaged = r.Damage
			}
			continue
		case r.State == nil:
			g.fail("recovery", fmt.Sprintf("%v: recovered without a state", l.tp))
			return
		}
		if g.heals && l.unknown {
			g.reread(l, e, r.State.StartOffset(), r.State.EndOffset())
			continue
		}
		if l.deleted {
			g.adopt(l, e, r.State.StartOffset()) // its files may be there in any condition
			continue
		}
		start, end := r.State.StartOffset(), r.State.EndOffset()
		if len(l.cuts) == 0 && (start < l.start || start > max(l.limit, l.start)) {
			g.fail("log-start", fmt.Sprintf("%v: the log starts at %d after a restart, it did at %d (and may at most at %d)", l.tp, start, l.start, l.limit))
			return
		}
		if len(l.cuts) == 0 {
			l.advance(start)
		}
		var batches []ghostBatch
		err := e.ReadAll(l.tp, func(b record.Batch) error {
			if b.NextOffset() > start {
				batches = append(batches, batchOf(b))
			}
			return nil
		})
		if err != nil {
			if g.broken(l) == "" {
				g.fail("recovery", fmt.Sprintf("%v: cannot be read after a restart: %v", l.tp, err))
			}
			l.damaged, l.unknown = err.Error(), true
			continue
		}
		if len(l.cuts) > 0 {
			if !g.recoveredCut(l, batches, start, end) {
				g.fail("truncation", fmt.Sprintf("%v: [%d,%d) was found after a restart; it was [%d,%d), to be cut by %v", l.tp, start, end,
					l.start, l.durableEnd(), l.cuts))
				return
			}
			l.start = start
		} else if !g.same(l, batches, end) {
			return
		}
		l.durable, l.asked, l.cuts = batches, nil, nil
	}
	for _, l := range g.order {
		l.attempt = 0
		emptied := len(l.cuts) > 0 && g.recoveredCut(l, nil, 0, 0) // a log that was cut to nothing has no files
		if !found[l.tp] && !l.deleted && len(l.durable) > 0 && !emptied && g.broken(l) == "" {
			g.fail("lost-partition", fmt.Sprintf("%v: held %d to %d and is gone after a restart", l.tp, l.start, l.durableEnd()))
			return
		}
		if !found[l.tp] && (emptied || l.deleted) {
			l.durable, l.start = nil, 0 // should the node be given the partition again, it begins there
		}
		l.asked, l.cuts = nil, nil
	}
}

// reread takes what a restart found of a log in whose files a bit flipped: if that did no harm, it goes on from there.
func (g *ghost) reread(l *ghostLog, e *storage.Engine, start, end model.Offset) {
	l.begin(end)
	if g.lazy {
		return
	}
	var batches []ghostBatch
	err := e.ReadAll(l.tp, func(b record.Batch) error {
		if b.NextOffset() > start {
			batches = append(batches, batchOf(b))
		}
		return nil
	})
	if err == nil {
		l.start, l.durable, l.unknown = start, batches, false // what lies before the start was not looked at
	}
}

// begin forgets what a log holds, but for where it ends.
func (l *ghostLog) begin(end model.Offset) {
	l.durable, l.asked, l.cuts, l.start = nil, nil, nil, end
}

// adopt takes what a restart found of a log that was being deleted: if the node is given the partition again, it goes on
// from there.
func (g *ghost) adopt(l *ghostLog, e *storage.Engine, start model.Offset) {
	*l = ghostLog{tp: l.tp, number: l.number, deleted: true, start: start}
	_ = e.ReadAll(l.tp, func(b record.Batch) error { // what cannot be read is not there
		if b.NextOffset() > start {
			l.durable = append(l.durable, batchOf(b))
		}
		return nil
	})
}

func batchOf(b record.Batch) ghostBatch {
	return ghostBatch{
		base: b.BaseOffset(), next: b.NextOffset(), crc: b.CRC(), epoch: b.LeaderEpoch(), size: int32(b.SizeBytes()), maxTimestamp: b.MaxTimestamp(),
		producer: producerOf(b),
	}
}

// opened notes which partitions the broker knows after a start: it removes the rest by itself. That it may
// is for the metadata log to say, which is a log like the others, and for the clients.
func (g *ghost) opened(known func(model.TopicPartition) bool) {
	for _, l := range g.order {
		l.deleted = l.deleted || !known(l.tp)
	}
}

// same compares the batches found in a log with those that must, and those that may, be there.
func (g *ghost) same(l *ghostLog, found []ghostBatch, end model.Offset) bool {
	expected := append(l.durable[:len(l.durable):len(l.durable)], l.asked...)
	at := l.start
	if len(found) > 0 {
		at = min(at, found[0].base)
	}
	for i, b := range found {
		if i > 0 && b.base != at {
			g.fail("log-gap", fmt.Sprintf("%v: %d follows %d after a restart", l.tp, b.base, at))
			return false
		}
		at = b.next
		if i >= len(expected) {
			g.fail("invented", fmt.Sprintf("%v: %d to %d was found after a restart; nobody asked for it", l.tp, b.base, b.next))
			return false
		}
		// A refusal and a crash can leave several that were asked for at one offset.
		want := expected[i]
		for k := i; !want.is(b) && k < len(expected); k++ {
			if k >= len(l.durable) && expected[k].is(b) {
				expected[i], want = expected[k], expected[k]
			}
		}
		if !want.is(b) {
			g.fail("changed", fmt.Sprintf("%v: %d to %d crc %08x was epoch %d was found after a restart where %d to %d crc %08x epoch %d belongs",
				l.tp, b.base, b.next, b.crc, b.epoch, want.base, want.next, want.crc, want.epoch))
			return false
		}
	}
	if len(found) < len(l.durable) {
		g.fail("lost", fmt.Sprintf("%v: the log ends at %d after a restart, %d was durable", l.tp, at, l.durableEnd()))
		return false
	}
	if end != at && len(found) > 0 || end < l.durableEnd() {
		g.fail("recovery", fmt.Sprintf("%v: the recovered state ends at %d, the records at %d", l.tp, end, at))
		return false
	}
	return true
}

func (b ghostBatch) is(o ghostBatch) bool {
	return b.base == o.base && b.next == o.next && b.size == o.size && b.epoch == o.epoch && (b.crc == o.crc || b.crc == 0)
}
