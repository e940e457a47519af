package metalog

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
	"github.com/weirmq/weir/core/record"
)

// Where a voter keeps what it must not forget.
var (
	EntriesPartition = model.TopicPartition{Topic: model.MetadataTopicID}
	HardPartition    = model.TopicPartition{Topic: model.MetadataTopicID, Partition: 1}
	ImagesPartition  = model.TopicPartition{Topic: model.MetadataTopicID, Partition: 2}
)

// Holds reports whether a partition is one of a voter's own.
func Holds(tp model.TopicPartition) bool { return tp.Topic == model.MetadataTopicID }

// Config is what a Log needs to know.
type Config struct {
	Quorum quorum.Config
	// ImageBytesMin is how many bytes of entries there are at least between two images.
	ImageBytesMin int64
	// RetryInterval is how long to wait after the disk was full.
	RetryInterval model.Time
	// OfferInterval is how often an image is offered to a voter that has not come by one.
	OfferInterval model.Time
}

// DefaultConfig makes an image every 16 MiB of entries at the earliest.
func DefaultConfig(id quorum.VoterID, seed uint64) Config {
	return Config{Quorum: quorum.DefaultConfig(id, seed), ImageBytesMin: 16 << 20, RetryInterval: 250e6, OfferInterval: 2e9}
}

// Machine is the state machine that the committed batches are for.
type Machine interface {
	// Applied is where what it has applied ends. It may be ahead of the Log, if it comes by what is committed in another
	// way too; then no image is made.
	Applied() model.Offset
	// Image is everything that was committed so far, as batches of records.
	Image() []byte
	// Hold holds that image, for other voters to fetch it in pieces, and says what it is. It may not be able to.
	Hold(id effect.ImageID) (Offer, bool)
	// Holds reports whether an image is held still, and goes on holding it.
	Holds(id effect.ImageID) bool
	// CheckBatch refuses a batch that cannot be taken in, whatever was before: another voter sends it, or it was found on the
	// disk, and a newer version may have written it.
	CheckBatch(b record.Batch) error
	// CheckImage refuses what is no image of everything below next.
	CheckImage(batches []byte, next model.Offset) error
}

// Log is one voter.
//
//	 Open                    the disk is full
//	──────► writing ──────────────────────────────► full ──┐
//	          │  ▲                                         │ RetryInterval: everything that is not durable
//	          │  └─────────────────────────────────────────┘ is written again
//	          │  ▲
//	a cut, or │  │ it is durable: what came meanwhile is written
//	an image  ▼  │
//	         barred   an image is made durable, then the entries are dropped; nothing else is written meanwhile
type Log struct {
	config  Config
	machine Machine
	q       *quorum.Quorum
	out     quorum.Out

	base      quorum.Index   // ends[0] is where this entry ends
	ends      []model.Offset // where entries end, from base on, durable or not
	committed quorum.Index   // the last that was given out; before base while another voter's image is made durable
	next      model.Offset   // where that ends

	entries, hard, images place
	barred                bar
	unwritten             []pendingWrite // of the quorum, in order
	retryAt               model.Time     // 0: nothing was refused
	proposed              []record.Batch // in proposedTerm, and not taken by the quorum yet
	proposedTerm          quorum.Term
	broken                string // why this voter is none any more; empty while it is

	sinceImageBytes int64        // of entries that were committed
	imageBytes      int64        // of the newest that was made: another is worth it after as many of entries
	imageBefore     quorum.Index // of the newest image that is durable
	imageBeforeNext model.Offset // where that ends in the entries
	start           model.Offset // where the entries begin in storage, or are about to
	making          *imageMade   // is being written
	hardFrom        model.Offset // what is before it may go
	offers          []madeOffer  // by time
}

// place is how far one of the partitions goes.
type place struct {
	end     model.Offset // submitted, and not refused
	durable model.Offset
	attempt uint32 // counts refusals; see effect.Append
}

// pendingWrite is a Write that is not durable. An offset of NoOffset says that it has nothing there.
type pendingWrite struct {
	write                 quorum.Write
	image                 imageStage
	asked                 bool // storage was asked for all of it
	entries, hard, images model.Offset
}

// bar is what has to be durable before anything else may be written.
type bar uint8

const (
	barNone  bar = iota
	barImage     // an image that the entries will be dropped for
	barCut       // a Truncate or a StartAt of the entries
)

// imageStage is how far the image of a Write has got.
type imageStage uint8

const (
	imageNone    imageStage = iota // it is not durable
	imageDurable                   // and the entries have not been dropped
	imageDone
)

// imageMade is an image of our own that is on its way to the disk.
type imageMade struct {
	index quorum.Index
	from  model.Offset // in the images
	end   model.Offset
	next  model.Offset // of the entries
}

// Out is what a step comes to, in this order.
type Out struct {
	// Restored, unless nil, stands for everything that was committed before.
	Restored *Restored
	// Committed are batches in order.
	Committed []Committed
	// Voters, unless nil, is who votes from now on.
	Voters *quorum.Voters
	// Sends may be lost, and may overtake each other.
	Sends []quorum.Send
	// Led, unless nil, is the state when the leader or the term has changed.
	Led *quorum.State
}

// Reset empties Out and keeps its memory.
func (o *Out) Reset() {
	clear(o.Committed)
	clear(o.Sends)
	*o = Out{Committed: o.Committed[:0], Sends: o.Sends[:0]}
}

// Restored is an image that came from another voter.
type Restored struct {
	Next    model.Offset // where the log goes on
	Batches []byte
}

// Committed is one entry. Its batch has the offset and the epoch that it has in the log.
type Committed struct {
	Index quorum.Index
	Term  quorum.Term
	Batch record.Batch
}

// Start is the offset of the oldest entry that storage has, or is about to have.
func (l *Log) Start() model.Offset { return l.start }

// Epoch is the leader epoch of the last committed record; 0 if it is not known any more.
func (l *Log) Epoch() model.LeaderEpoch {
	if l.committed < l.base {
		return 0
	}
	return epochOf(l.q.TermOf(l.committed))
}

// Next is the offset behind the last committed record.
func (l *Log) Next() model.Offset { return l.next }

// State is who leads.
func (l *Log) State() quorum.State { return l.q.State() }

// Voters is who votes.
func (l *Log) Voters() quorum.Voters { return l.q.Voters() }

// Alone reports whether this voter decides without any other.
func (l *Log) Alone() bool { return l.q.Alone() }

// Undisputed reports whether this voter leads and no other can have come to lead; see quorum.Undisputed.
func (l *Log) Undisputed(now model.Time) bool { return l.q.Undisputed(now) }

// Progress is how far a leader knows the others to be.
func (l *Log) Progress() []quorum.Progress { return l.q.Progress() }

// OffsetOf is where an entry ends, NoOffset if this log knows no longer, or not yet.
func (l *Log) OffsetOf(i quorum.Index) model.Offset {
	if i < l.base || i > l.last() || l.committed < l.base {
		return model.NoOffset
	}
	return l.endOf(i)
}

// Full reports whether the disk was found full and is about to be tried again.
func (l *Log) Full() bool { return l.retryAt != 0 }

// Broken is why this voter is none any more: its disk refuses it. Empty while it is one.
func (l *Log) Broken() string { return l.broken }

func (l *Log) last() quorum.Index { return l.base + quorum.Index(len(l.ends)) - 1 }

func (l *Log) endOf(i quorum.Index) model.Offset { return l.ends[i-l.base] }

// ErrBroken says that this voter's disk refuses it.
var ErrBroken = errors.New("this voter's log cannot be written")

// Propose adds a batch; see quorum.Propose. It is refused by who does not lead. Who is handing its leadership over keeps it,
// and adds it if nothing comes of that: whoever leads in the same term for longer finds it committed.
func (l *Log) Propose(batch record.Batch, set *effect.Set, out *Out) error {
	s := l.q.State()
	switch {
	case l.broken != "":
		return ErrBroken
	case !s.Leads:
		return quorum.ErrNotLeader
	}
	l.proposed, l.proposedTerm = append(l.proposed, batch), s.Term
	l.carry(set, out)
	return nil
}

// proposeNext hands the quorum what was proposed first and not taken yet, and reports whether it takes it.
func (l *Log) proposeNext() bool {
	if len(l.proposed) == 0 {
		return false
	}
	if s := l.q.State(); !s.Leads || s.Term != l.proposedTerm {
		l.proposed = nil
		return false
	}
	if l.q.Propose(l.proposed[0], &l.out) != nil {
		return false
	}
	l.proposed = slices.Delete(l.proposed, 0, 1)
	return true
}

// Change proposes other voters; see quorum.Change.
func (l *Log) Change(voters, learners []quorum.VoterID, set *effect.Set, out *Out) error {
	if l.broken != "" {
		return ErrBroken
	}
	err := l.q.Change(voters, learners, &l.out)
	l.carry(set, out)
	return err
}

// HandOver makes a leader hand its leadership to another voter.
func (l *Log) HandOver(to quorum.VoterID, set *effect.Set, out *Out) {
	if l.broken == "" {
		l.q.HandOver(to, &l.out)
		l.carry(set, out)
	}
}

// Receive takes in another voter's message. An error says that it is none.
func (l *Log) Receive(from quorum.VoterID, message []byte, now model.Time, set *effect.Set, out *Out) error {
	if l.broken != "" {
		return nil
	}
	err := l.q.Receive(from, message, now, &l.out)
	l.carry(set, out)
	return err
}

// Tick does what is due.
func (l *Log) Tick(now model.Time, set *effect.Set, out *Out) {
	if l.broken != "" {
		return
	}
	if l.retryAt != 0 && now >= l.retryAt {
		l.retryAt = 0
		l.resume(set, out)
	}
	l.makeImage(set)
	l.offerAgain(now, set, out)
	if now >= l.q.Deadline() {
		l.q.Tick(now, &l.out)
	}
	l.carry(set, out)
}

// Stand makes a voter that is alone lead without waiting for a silence.
func (l *Log) Stand(set *effect.Set, out *Out) {
	if l.q.Alone() && l.broken == "" {
		l.q.Stand(&l.out)
		l.carry(set, out)
	}
}

// Deadline is when Tick must be called next; 0 means never.
func (l *Log) Deadline() model.Time {
	if l.broken != "" {
		return 0
	}
	if l.retryAt != 0 {
		return min(l.retryAt, l.q.Deadline())
	}
	return l.q.Deadline()
}

// carry takes out of the quorum what it wants done, and has it take what waits to be proposed.
func (l *Log) carry(set *effect.Set, out *Out) {
	l.carryOut(set, out)
	for l.proposeNext() {
		l.carryOut(set, out)
	}
}

func (l *Log) carryOut(set *effect.Set, out *Out) {
	o := &l.out
	if o.Restored != nil {
		next, batches, err := splitImage(o.Restored.Data)
		invariant.Check(err == nil, "an image that was written can be read")
		out.Restored = &Restored{Next: next, Batches: batches}
		out.Committed = out.Committed[:0]
		l.committed, l.next, l.sinceImageBytes = o.Restored.Index, next, 0
	}
	for i := range o.Committed {
		l.commit(&o.Committed[i], out)
	}
	if o.Voters != nil {
		out.Voters = o.Voters
	}
	for i := range o.Writes {
		l.submit(&o.Writes[i], set)
	}
	out.Sends = append(out.Sends, o.Sends...)
	if o.Led != nil {
		out.Led = o.Led
	}
	o.Reset()
	if len(l.unwritten) > 0 && l.durable(&l.unwritten[0]) {
		l.settle(set, out) // a write may have nothing to be written
	}
}

func (l *Log) commit(e *quorum.Entry, out *Out) {
	invariant.Check(e.Index == l.committed+1 && e.Index <= l.last(), "what is committed is in the log")
	b := batchOf(e)
	record.Stamp(b, l.next, epochOf(e.Term))
	l.committed, l.next = e.Index, b.NextOffset()
	if b.NextOffset() != l.endOf(e.Index) {
		invariant.Checkf(false, "entry %d ends at offset %d and not at %d", e.Index, b.NextOffset(), l.endOf(e.Index))
	}
	l.sinceImageBytes += int64(len(b))
	out.Committed = append(out.Committed, Committed{Index: e.Index, Term: e.Term, Batch: b})
}

// epochOf is a term as batches carry it.
func epochOf(t quorum.Term) model.LeaderEpoch { return model.LeaderEpoch(t) }

// Appended takes in a completion of storage on one of the Log's partitions.
func (l *Log) Appended(a effect.Appended, now model.Time, set *effect.Set, out *Out) {
	p := l.place(a.Partition)
	switch {
	case l.broken != "":
	case a.Failure == effect.OK:
		p.durable = a.NextOffset
		l.settle(set, out)
	case a.Failure == effect.DiskFull:
		if a.Attempt != p.attempt {
			return // refused behind one that was dealt with
		}
		invariant.Check(a.State != nil, "a refused append says what the log holds")
		p.attempt++
		p.end = a.State.EndOffset()
		if a.Partition == ImagesPartition {
			l.making = nil // it is made again when it is due
			if l.barred == barImage {
				l.barred = barNone
			}
		}
		l.full(now, set)
	default:
		l.breaks(fmt.Sprintf("an append to %v failed: %v", a.Partition, a.Failure), set)
	}
}

// full waits for the disk to have room.
func (l *Log) full(now model.Time, set *effect.Set) {
	if l.retryAt == 0 {
		l.retryAt = now + l.config.RetryInterval
	}
	set.Marks.Set(effect.MarkDiskFullRefused)
}

// Truncated takes in that the entries were cut. Nothing was asked of them since.
func (l *Log) Truncated(t effect.Truncated, now model.Time, set *effect.Set, out *Out) {
	if l.broken != "" {
		return
	}
	switch t.Failure {
	case effect.OK, effect.DiskFull:
		l.barred = barNone
		l.entries.end, l.entries.durable = t.NextOffset, t.NextOffset
		if t.Failure == effect.DiskFull {
			l.full(now, set)
			return
		}
		for i := range l.unwritten {
			if w := &l.unwritten[i]; w.image == imageDurable {
				w.image = imageDone
			}
		}
		l.settle(set, out)
		l.resume(set, out)
	default:
		l.breaks(fmt.Sprintf("a cut of %v failed: %v", t.Partition, t.Failure), set)
	}
}

// Damaged takes in that what was durable is not.
func (l *Log) Damaged(d effect.Damaged, set *effect.Set) {
	if l.broken == "" {
		l.breaks(fmt.Sprintf("%v is damaged: %s", d.Partition, d.Detail), set)
	}
}

// breaks ends this voter's life. What it promised stands; it promises nothing more.
func (l *Log) breaks(why string, set *effect.Set) {
	l.broken = why
	set.Notes = append(set.Notes, effect.Note{Kind: effect.NotePartitionOffline, Partition: EntriesPartition, Detail: why})
}

func (l *Log) place(tp model.TopicPartition) *place {
	switch tp {
	case EntriesPartition:
		return &l.entries
	case HardPartition:
		return &l.hard
	}
	return &l.images
}

// settle tells the quorum what is durable.
func (l *Log) settle(set *effect.Set, out *Out) {
	if l.barred == barImage && l.imageIn(set) {
		l.barred = barCut
	}
	n := 0
	for n < len(l.unwritten) && l.durable(&l.unwritten[n]) {
		n++
	}
	if n > 0 {
		token := l.unwritten[n-1].write.Token
		l.unwritten = append(l.unwritten[:0], l.unwritten[n:]...)
		l.q.Written(token, &l.out)
		l.carry(set, out)
	}
	l.imageWritten(set)
}

// imageIn drops the entries once the image is durable that stands for them.
func (l *Log) imageIn(set *effect.Set) bool {
	for i := range l.unwritten {
		w := &l.unwritten[i]
		if w.write.Image == nil || w.image != imageNone || w.images > l.images.durable {
			continue
		}
		w.image = imageDurable
		l.startAt(w, set)
		return true
	}
	return false
}

// durable reports whether everything of a write is on the disk, or was cut away by a later write, which stands for it.
func (l *Log) durable(w *pendingWrite) bool {
	return w.asked && w.entries <= l.entries.durable && w.hard <= l.hard.durable && w.images <= l.images.durable
}

// Check verifies the invariants.
func (l *Log) Check() error {
	switch {
	case l.committed > l.last() || l.committed < l.base && !l.restoring():
		return fmt.Errorf("metadata log: entries %d to %d, and %d is committed", l.base, l.last(), l.committed)
	case l.committed >= l.base && l.next != l.endOf(l.committed):
		return fmt.Errorf("metadata log: entry %d ends at %d, and what is committed at %d", l.committed, l.endOf(l.committed), l.next)
	case l.retryAt == 0 && l.broken == "" && l.barred == barNone && l.entries.end != l.endOf(l.last()):
		return fmt.Errorf("metadata log: it ends at %d, and its last entry at %d", l.entries.end, l.endOf(l.last()))
	}
	return nil
}

// restoring reports whether another voter's image is on its way to the disk.
func (l *Log) restoring() bool {
	return slices.ContainsFunc(l.unwritten, func(w pendingWrite) bool { return w.write.Image != nil })
}
