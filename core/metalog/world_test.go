package metalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
	"github.com/weirmq/weir/core/quorum/quorumtest"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// world is voters over real storage, a network that loses, repeats, delays and cuts, disks that lose what was not synced
// and are full now and then, and one seed.
type world struct {
	t        testing.TB
	random   *rand.Rand
	now      model.Time
	seed     uint64
	starts   uint64
	voters   []*voter
	ids      []quorum.VoterID
	net      quorumtest.Network
	proposed uint64
	padding  int // of images
	marks    map[string]int

	// What is committed, as the first to know told: batches by their base offset, and the sum behind each.
	log  map[model.Offset]Committed
	sums map[model.Offset]uint64
	end  model.Offset
}

// voter is one voter with its disk and its state machine, which sums up what was committed.
type voter struct {
	w       *world
	id      quorum.VoterID
	disk    *storagetest.MemoryDisk
	engine  *storage.Engine
	l       *Log // nil: it is down
	set     effect.Set
	out     Out
	work    *storage.SyncWork
	syncAt  model.Time
	next    model.Offset
	sum     uint64
	retried bool
	// accepted is what it was asked to propose in this life, in a term.
	accepted     [][]byte
	acceptedTerm quorum.Term
	old          bool // it reads nothing of what the others write

	outgoing Outgoing
	incoming *Incoming // of offer; nil: none
	offer    Offer
	damaged  bool // a piece of it was
	line     int  // how slow it comes
}

// Applied is where it is of.
func (v *voter) Applied() model.Offset { return v.next }

// Image is the sum and where it is of, with some padding, in batches of one record.
func (v *voter) Image() []byte { return image(v.next, v.sum, v.w.padding) }

// Hold is refused now and then, as if there were no room.
func (v *voter) Hold(id effect.ImageID) (Offer, bool) {
	if id.EndOffset != v.next {
		v.w.failf("voter %d is at %d and is to hold an image up to %d", v.id, v.next, id.EndOffset)
	}
	return v.outgoing.Hold(id, v.l.Start(), 2+v.w.random.IntN(2), v.w.now, v.Image)
}

// Holds is part of Machine.
func (v *voter) Holds(id effect.ImageID) bool {
	holds := v.outgoing.Holds(id, v.w.now)
	if holds {
		v.w.mark("offered again")
	}
	return holds
}

// fetch goes on fetching the image that was offered, piece by piece.
func (v *voter) fetch() {
	w := v.w
	from, offer, ok := v.l.Offered()
	switch {
	case !ok && v.incoming != nil:
		w.mark("fetch ended")
		v.incoming = nil
		return
	case !ok:
		return
	case v.incoming == nil || v.offer != offer:
		if v.incoming != nil {
			w.mark("fetch began anew")
		}
		v.offer, v.incoming, v.damaged = offer, NewIncoming(offer.ID, offer.SizeBytes, 700), false
		v.line = []int{2, 3, 100}[w.random.IntN(3)]
	}
	if w.random.IntN(v.line) > 0 {
		return
	}
	source := w.voters[from-1]
	if source.l != nil && !w.net.Calm && w.random.IntN(60) == 0 {
		w.troubleWhileFetched(source)
	}
	if source.l == nil || !w.net.Asks(v.id, from) {
		w.mark("piece lost")
		if _, again := v.incoming.Miss(effect.CallFailure(1 + w.random.IntN(3))); !again {
			w.mark("fetch given up")
			v.incoming = nil
			v.l.Decline()
		}
		return
	}
	position, bytesMax := v.incoming.Ask()
	piece, size, held := source.outgoing.Piece(offer.ID, position, bytesMax, w.now)
	if !held {
		w.mark("image gone")
		v.incoming = nil
		v.l.Decline()
		return
	}
	piece = bytes.Clone(piece)
	if !w.net.Calm && w.random.IntN(200) == 0 {
		piece[w.random.IntN(len(piece))] ^= 1
		v.damaged = true
	}
	if err := v.incoming.Take(&effect.ImageFetched{ID: offer.ID, Position: position, SizeBytes: size, Bytes: piece}); err != nil {
		w.failf("voter %d does not take a piece: %v", v.id, err)
	}
	if !v.incoming.Whole() {
		return
	}
	in := v.incoming
	v.incoming = nil
	switch err := v.l.Arrived(in.Image(), &v.set, &v.out); {
	case (err == nil) == v.damaged && !(v.old && errors.Is(err, errOld)):
		w.failf("voter %d takes an image in (damaged %t): %v", v.id, v.damaged, err)
	case v.damaged:
		w.mark("damaged image refused")
	case in.Pieces() > 1:
		w.mark("fetched in pieces")
	}
	v.took()
}

// troubleWhileFetched is trouble of a voter that another fetches an image of, which is seldom.
func (w *world) troubleWhileFetched(v *voter) {
	switch w.random.IntN(3) {
	case 0:
		v.crash()
	case 1:
		v.outgoing = Outgoing{} // what it offers next is newer
		for i := range v.l.offers {
			v.l.offers[i].at = w.now
		}
	case 2:
		v.l.HandOver(w.ids[w.random.IntN(len(w.ids))], &v.set, &v.out)
		v.took()
	}
}

func image(next model.Offset, sum uint64, padding int) []byte {
	value := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(next)), sum)
	all := append([]byte(nil), batch(value)...)
	for range 3 {
		all = append(all, batch(make([]byte, padding))...)
	}
	return all
}

// batch is one with a record for each value.
func batch(values ...[]byte) record.Batch {
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecNone))
	for _, v := range values {
		b.Append(record.Record{Value: v, Timestamp: model.NoTimestamp})
	}
	return append(record.Batch(nil), b.Finish()...)
}

// CheckBatch refuses everything while the voter is of a version that cannot read what the others write.
func (v *voter) CheckBatch(record.Batch) error { return v.refuse("batch refused") }

// CheckImage does the same for images.
func (v *voter) CheckImage([]byte, model.Offset) error { return v.refuse("image refused") }

func (v *voter) refuse(mark string) error {
	if !v.old {
		return nil
	}
	v.w.mark(mark)
	return errOld
}

var errOld = errors.New("a record of a kind that this version does not know")

// take sets the state machine to an image.
func (v *voter) take(batches []byte, next model.Offset) {
	b, _, err := record.Next(batches)
	if err != nil {
		v.w.failf("voter %d is given an image that cannot be read: %v", v.id, err)
	}
	var d record.Decompressor
	r := record.NewReader(b, &d)
	if !r.Next() || len(r.Record().Value) != 16 {
		v.w.failf("voter %d is given an image of something else: %v", v.id, r.Err())
	}
	value := r.Record().Value
	if of := model.Offset(binary.BigEndian.Uint64(value)); of != next {
		v.w.failf("voter %d is given an image said to be up to %d, and it is up to %d", v.id, next, of)
	}
	v.next, v.sum = next, binary.BigEndian.Uint64(value[8:])
	if want, known := v.w.sums[next]; !known || want != v.sum {
		v.w.failf("voter %d is given an image up to %d with the sum %x, want %x (%t)", v.id, next, v.sum, want, known)
	}
}

func newWorld(t testing.TB, seed uint64, voters int) *world {
	w := &world{
		t: t, random: rand.New(rand.NewPCG(seed, 11)), seed: seed, now: 1, marks: map[string]int{},
		log: map[model.Offset]Committed{}, sums: map[model.Offset]uint64{foundingNext: 0}, end: foundingNext,
	}
	w.net.Random = w.random
	w.padding = []int{10, 300, 6000}[seed%3]
	for i := range voters {
		w.ids = append(w.ids, quorum.VoterID(i+1))
	}
	for _, id := range w.ids {
		w.voters = append(w.voters, &voter{w: w, id: id, disk: storagetest.New()})
	}
	for _, v := range w.voters {
		v.start()
	}
	return w
}

func (w *world) mark(name string) { w.marks[name]++ }

func (w *world) failf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d at %d ms: %s", w.seed, w.now/1e6, fmt.Sprintf(format, args...))
}

// start opens the disk and begins to vote with what is there.
func (v *voter) start() {
	w := v.w
	w.starts++
	v.disk.CapacityBytes = 0
	engine, rec, err := storage.Open(v.disk, storage.Config{
		Identity: storage.Identity{ClusterID: "test", NodeID: model.NodeID(v.id)}, JournalFileBytes: 16 << 10, JournalBlockBytes: 512,
		CheckpointBytes: 40 << 10,
	})
	if err != nil {
		w.failf("voter %d's disk: %v", v.id, err)
	}
	var found Found
	for i := range rec.Partitions {
		p := &rec.Partitions[i]
		if p.Damage != "" {
			w.failf("voter %d: %v is damaged: %s", v.id, p.Partition, p.Damage)
		}
		*map[model.TopicPartition]**log.State{
			EntriesPartition: &found.Entries, HardPartition: &found.Hard, ImagesPartition: &found.Images,
		}[p.Partition] = p.State
	}
	saved, err := Load(engine, found)
	if err != nil {
		w.failf("voter %d cannot load: %v", v.id, err)
	}
	switch {
	case !saved.IsEmpty() && saved.startAt:
		w.mark("cut after a crash")
		if e := found.Entries; e != nil && e.EndOffset() >= saved.next {
			w.mark("cut of another log after a crash")
		}
	case !saved.IsEmpty() && found.Entries.StartOffset() < saved.next && len(saved.ends) > 1:
		w.mark("image and entries before it")
	}
	if saved.IsEmpty() && v.id == 1 {
		if len(w.log) > 0 {
			w.failf("voter 1 has forgotten that it is one")
		}
		saved.Found(w.ids, image(foundingNext, 0, w.padding))
		w.mark("founded")
	}
	v.engine, v.work, v.next, v.sum, v.accepted = engine, nil, 0, 0, nil
	v.outgoing, v.incoming = Outgoing{}, nil
	v.set, v.out = effect.Set{}, Out{}
	for _, tp := range []model.TopicPartition{EntriesPartition, HardPartition, ImagesPartition} {
		v.set.Opens = append(v.set.Opens, effect.Open{Partition: tp, Config: effect.LogConfig{
			SegmentBytes: 4 << 10, IndexIntervalBytes: 512, RetentionMs: -1, RetentionBytes: -1,
		}})
	}
	if !saved.IsEmpty() {
		v.take(saved.Image())
	}
	config := DefaultConfig(v.id, w.seed*1000+w.starts)
	config.Quorum.MessageBytesMax, config.Quorum.InFlightBytesMax = 600, 2400
	config.ImageBytesMin, config.RetryInterval, config.OfferInterval = 3000, 30e6, 100e6
	if v.l, err = Open(config, saved, v, w.now, &v.set); err != nil {
		w.failf("voter %d does not open: %v", v.id, err)
	}
	v.l.Stand(&v.set, &v.out)
	v.took()
	v.perform()
}

// crash ends a voter's life at any moment.
func (v *voter) crash() {
	w := v.w
	if v.work != nil && w.random.IntN(3) == 0 {
		_ = v.work.Run() // synced, and nobody was told
		w.mark("crash after a sync")
	}
	v.disk.Crash([]storagetest.Loss{storagetest.LoseNothing, storagetest.LoseUnsynced, storagetest.LoseSome, storagetest.LoseSome}[w.random.IntN(4)], w.random.Uint64())
	if v.l.making != nil {
		w.mark("crash while an image is made")
	}
	if v.l.barred != barNone {
		w.mark("crash before a cut")
	}
	if v.l.retryAt != 0 {
		w.mark("crash while the disk is full")
	}
	v.l, v.engine, v.work = nil, nil, nil
	w.mark("crash")
}

// took carries out what is not storage's, and checks what must hold.
func (v *voter) took() {
	w, out := v.w, v.out
	v.out = Out{} // what is sent may be lost at once, and the voter is told
	if r := out.Restored; r != nil {
		if r.Next <= v.next {
			w.failf("voter %d goes back from %d to an image up to %d", v.id, v.next, r.Next)
		}
		v.take(r.Batches, r.Next)
		w.mark("restored")
	}
	for _, c := range out.Committed {
		w.committed(v, c)
	}
	if v.next != v.l.Next() && v.next != 0 {
		w.failf("voter %d was given everything up to %d, and says %d", v.id, v.next, v.l.Next())
	}
	for _, s := range out.Sends {
		w.send(v.id, s)
	}
	if err := v.l.Check(); err != nil {
		w.failf("voter %d: %v", v.id, err)
	}
	if why := v.l.Broken(); why != "" {
		w.failf("voter %d is broken: %s", v.id, why)
	}
	if full := v.l.Full(); v.retried && !full {
		w.mark("retried")
	}
	v.retried = v.l.Full()
}

func (w *world) committed(v *voter, c Committed) {
	if c.Batch.BaseOffset() != v.next || c.Batch.LeaderEpoch() != epochOf(c.Term) {
		w.failf("voter %d is at %d and is given a batch at %d of epoch %d and term %d", v.id, v.next, c.Batch.BaseOffset(), c.Batch.LeaderEpoch(), c.Term)
	}
	known, old := w.log[v.next]
	switch {
	case old && (known.Index != c.Index || !bytes.Equal(known.Batch, c.Batch)):
		w.failf("voter %d is given another batch at %d: entry %d of term %d, not %d of %d", v.id, v.next, c.Index, c.Term, known.Index, known.Term)
	case !old && v.next != w.end:
		w.failf("voter %d is given a batch at %d, and what is committed ends at %d", v.id, v.next, w.end)
	}
	v.next = c.Batch.NextOffset()
	if !c.Batch.IsControl() {
		v.sum = v.sum*31 + uint64(crc32.ChecksumIEEE(c.Batch.Payload()))
	}
	if !old {
		w.log[c.Batch.BaseOffset()], w.end, w.sums[v.next] = c, v.next, v.sum
	}
}

func (w *world) send(from quorum.VoterID, s quorum.Send) {
	m := quorumtest.Message{From: from, To: s.To, Bytes: s.Message, IsOffer: s.IsOffer}
	if w.net.Send(w.now, m) {
		w.lost(&m)
	}
}

// lost tells a sender of what did not arrive: always of an offer, now and then of the rest.
func (w *world) lost(m *quorumtest.Message) {
	v := w.voters[m.From-1]
	if v.l != nil && (m.IsOffer || w.random.IntN(3) == 0) {
		v.l.Sent(m.To, m.IsOffer, false, w.now, &v.set, &v.out)
		v.took()
	}
}

// perform hands storage what was asked for, and takes in what is known at once.
func (v *voter) perform() {
	var done effect.Completions
	v.note()
	v.engine.Perform(&v.set, &done)
	v.set.Reset()
	v.completed(&done)
}

func (v *voter) note() {
	for m, name := range map[effect.Mark]string{effect.MarkMetadataTruncated: "truncated", effect.MarkMetadataImage: "image", effect.MarkDiskFullRefused: "full"} {
		if v.set.Marks.Has(m) {
			v.w.mark(name)
		}
	}
}

func (v *voter) completed(done *effect.Completions) {
	for _, d := range done.Damaged {
		v.w.failf("voter %d: %v is damaged: %s", v.id, d.Partition, d.Detail)
	}
	for _, a := range done.Appended {
		v.l.Appended(a, v.w.now, &v.set, &v.out)
		v.took()
	}
	for _, t := range done.Truncated {
		if t.Failure == effect.DiskFull {
			v.w.mark("cut refused")
		}
		v.l.Truncated(t, v.w.now, &v.set, &v.out)
		v.took()
	}
	if !v.set.Empty() {
		v.perform()
	}
}

// store makes storage go on: a sync begins, ends, or a checkpoint is made.
func (v *voter) store() {
	w := v.w
	if v.work == nil {
		if work, ok := v.engine.BeginSync(); ok {
			v.work, v.syncAt = work, w.now+model.Time(w.random.IntN(15e6))
		}
	}
	if v.work != nil && v.syncAt <= w.now {
		var done effect.Completions
		if err := v.engine.EndSync(v.work, v.work.Run(), &done); err != nil {
			w.failf("voter %d: %v", v.id, err)
		}
		v.work = nil
		v.completed(&done)
	}
	for v.engine.CheckpointDue() && w.random.IntN(4) == 0 {
		var done effect.Completions
		work, ok := v.engine.BeginCheckpoint()
		if !ok {
			break
		}
		if err := v.engine.EndCheckpoint(work, work.Run(), &done); err != nil {
			w.failf("voter %d: %v", v.id, err)
		}
		w.mark("checkpoint")
		v.completed(&done)
	}
}

// step lets a millisecond pass.
func (w *world) step() {
	w.now += 1e6
	for _, m := range w.net.Arrived(w.now) {
		v := w.voters[m.To-1]
		if v.l == nil || w.net.IsCut(&m) {
			w.lost(&m)
			continue
		}
		if err := v.l.Receive(m.From, m.Bytes, w.now, &v.set, &v.out); err != nil && !(v.old && errors.Is(err, errOld)) {
			w.failf("voter %d refuses a message of voter %d: %v", m.To, m.From, err)
		}
		v.took()
		if w.random.IntN(2) == 0 {
			v.perform() // or more of one step goes into the set
		}
		if s := w.voters[m.From-1]; m.IsOffer && s.l != nil {
			s.l.Sent(m.To, true, true, w.now, &s.set, &s.out)
			s.took()
		}
	}
	for _, v := range w.voters {
		if v.l == nil {
			continue
		}
		v.outgoing.Tick(w.now)
		v.fetch()
		if at := v.l.Deadline(); at != 0 && at <= w.now {
			v.l.Tick(w.now, &v.set, &v.out)
			v.took()
		}
		v.perform()
		v.store()
	}
}

// leader is a voter that leads in the newest term, nil if nobody does.
func (w *world) leader() (leader *voter) {
	for _, v := range w.voters {
		if v.l != nil && v.l.State().Leads && (leader == nil || v.l.State().Term > leader.l.State().Term) {
			leader = v
		}
	}
	return leader
}

// propose proposes a batch of a few records to whoever leads, also to one that does so no longer.
func (w *world) propose() (value []byte) {
	v := w.leader()
	if other := w.voters[w.random.IntN(len(w.voters))]; other.l != nil && other.l.State().Leads {
		v = other
	}
	if v == nil {
		return nil
	}
	w.proposed++
	value = binary.BigEndian.AppendUint64(nil, w.proposed)
	values := [][]byte{value}
	for range w.random.IntN(4) {
		values = append(values, make([]byte, w.random.IntN(200)))
	}
	err := v.l.Propose(batch(values...), &v.set, &v.out)
	v.took()
	if err != nil {
		w.failf("voter %d leads and refuses a proposal: %v", v.id, err)
	}
	if s := v.l.State(); s.Leads {
		if s.Term != v.acceptedTerm {
			v.accepted, v.acceptedTerm = nil, s.Term
		}
		v.accepted = append(v.accepted, value)
	}
	if len(v.l.proposed) > 0 {
		w.mark("proposed while handing over")
	}
	w.mark("proposed")
	return value
}

// trouble does one thing that may go wrong.
func (w *world) trouble() {
	v := w.voters[w.random.IntN(len(w.voters))]
	switch w.random.IntN(12) {
	case 0, 1:
		if v.l != nil {
			v.crash()
		}
	case 2, 3, 4:
		if v.l == nil {
			v.start()
		}
	case 5:
		w.net.Cut(v.id, w.voters[w.random.IntN(len(w.voters))].id) // one way
	case 6:
		for _, o := range w.voters { // alone
			w.net.Cut(v.id, o.id)
			w.net.Cut(o.id, v.id)
		}
	case 7:
		w.net.Heal()
	case 8:
		v.disk.CapacityBytes = v.disk.UsedBytes() + int64(w.random.IntN(3000))
	case 9, 10:
		for _, o := range w.voters {
			o.disk.CapacityBytes = 0
		}
	case 11:
		if l := w.leader(); l != nil {
			l.l.HandOver(v.id, &l.set, &l.out)
			l.took()
		}
	}
}

// troubleAtTheBar is trouble while a voter waits for an image or a cut to become durable, which is seldom.
func (w *world) troubleAtTheBar() {
	for _, v := range w.voters {
		if v.l == nil || v.l.barred == barNone {
			continue
		}
		switch w.random.IntN(60) {
		case 0:
			v.crash()
		case 1:
			v.disk.CapacityBytes = v.disk.UsedBytes() + int64(w.random.IntN(3000))
		}
	}
}

// heal ends all trouble, and requires that one more proposal is committed everywhere.
func (w *world) heal() {
	w.net.Calm = true
	w.net.Heal()
	for _, v := range w.voters {
		v.disk.CapacityBytes = 0
		if v.l == nil {
			v.start()
		}
	}
	var want []byte
	for i := range 20_000 {
		w.step()
		if i%3000 == 0 {
			want = nil // whoever led may have been deposed
		}
		if want == nil {
			want = w.propose()
		}
		if want != nil && w.agreed(want) {
			w.settled()
			return
		}
	}
	for _, v := range w.voters {
		w.t.Logf("voter %d: %+v up to %d, unwritten %d, images %+v entries %+v", v.id, v.l.State(), v.next, len(v.l.unwritten), v.l.images, v.l.entries)
	}
	w.failf("twenty seconds after all trouble there is no progress")
}

// agreed reports whether everybody has been given a proposal.
func (w *world) agreed(value []byte) bool {
	for _, v := range w.voters {
		if v.next != w.end || v.sum != w.sums[w.end] {
			return false
		}
	}
	return w.has(value)
}

// has reports whether a proposal is committed.
func (w *world) has(value []byte) bool {
	for _, c := range w.log {
		if !c.Batch.IsControl() && bytes.Contains(c.Batch.Payload(), value) {
			return true
		}
	}
	return false
}

// settled lets everything become durable, and compares the logs on the disks with what is committed.
func (w *world) settled() {
	for range 500 {
		w.step()
	}
	if v := w.leader(); v != nil && v.acceptedTerm == v.l.State().Term {
		for _, value := range v.accepted {
			if !w.has(value) {
				w.failf("voter %d leads since it took proposal %x, and that is not committed", v.id, value)
			}
			w.mark("proposed and led on")
		}
	}
	for _, v := range w.voters {
		if err := v.engine.Check(); err != nil {
			w.failf("voter %d: %v", v.id, err)
		}
		last := model.NoOffset
		err := v.engine.ReadAll(EntriesPartition, func(b record.Batch) error {
			last = b.NextOffset()
			if c, ok := w.log[b.BaseOffset()]; !ok || !bytes.Equal(c.Batch, b) {
				return fmt.Errorf("at offset %d stands a batch of epoch %d that was not committed", b.BaseOffset(), b.LeaderEpoch())
			}
			return nil
		})
		if err != nil || last != w.end && last != model.NoOffset {
			w.failf("voter %d's log ends at %d, and what is committed at %d: %v", v.id, last, w.end, err)
		}
	}
}

// life is trouble, then peace.
func life(t testing.TB, seed uint64) *world {
	w := newWorld(t, seed, []int{1, 3, 3, 5}[seed%4])
	for i := range 10_000 {
		w.step()
		if w.random.IntN(12) == 0 {
			w.propose()
		}
		if i > 1000 && w.random.IntN(100) == 0 || w.random.IntN(400) == 0 {
			w.trouble()
		}
		w.troubleAtTheBar()
	}
	w.heal()
	return w
}

func TestWhatIsCommittedIsKeptWhateverTheDisksLose(t *testing.T) {
	seeds := uint64(120)
	if testing.Short() {
		seeds = 16
	}
	marks := map[string]int{}
	for seed := range seeds {
		w := life(t, seed)
		for name, n := range w.marks {
			marks[name] += n
		}
		marks["committed"] += len(w.log)
	}
	t.Logf("%d seeds: %v", seeds, marks)
	for _, name := range []string{
		"founded", "proposed", "committed", "crash", "crash after a sync", "crash while an image is made", "crash while the disk is full", "crash before a cut",
		"checkpoint", "truncated", "image", "restored", "full", "retried", "cut after a crash", "image and entries before it",
		"proposed while handing over", "proposed and led on",
		"offered again", "piece lost", "image gone", "fetch began anew", "fetch ended", "fetch given up", "damaged image refused", "fetched in pieces",
	} {
		if rare := strings.HasPrefix(name, "fetch ") || name == "damaged image refused"; marks[name] == 0 && !(rare && testing.Short()) {
			t.Errorf("%s: never in %d seeds", name, seeds)
		}
	}
}

// A voter that cannot read what the others write takes nothing of it, entries or image, and goes on when it can.
func TestAVoterRefusesWhatItsMachineCannotTakeIn(t *testing.T) {
	w := newWorld(t, 0, 3)
	w.net.Calm = true
	for w.end == foundingNext || w.leader() == nil || w.voters[0].next < w.end || w.voters[1].next < w.end || w.voters[2].next < w.end {
		w.step()
	}
	leader := w.leader()
	old := w.voters[leader.id%3] // another
	old.old = true
	next := old.next
	for range 20_000 {
		if w.step(); w.marks["image refused"] > 3 {
			break
		}
		w.propose()
	}
	if w.marks["batch refused"] == 0 || w.marks["image refused"] == 0 {
		t.Fatalf("nothing was to be refused: %v", w.marks)
	}
	if old.next != next || w.end == next || w.leader() != leader {
		t.Fatalf("the voter has come from %d to %d of %d", next, old.next, w.end)
	}
	old.old = false
	w.heal()
}
