package replica

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Replica is one replica of one partition.
//
//	          Damaged, Broken
//	online ─────────────────────► offline        (an operator repairs the files and restarts the node)
type Replica struct {
	partition model.TopicPartition
	epoch     model.LeaderEpoch

	state         *log.State   // everything decided, durable or not
	highWatermark model.Offset // what may be read, and what acks=all waits for
	attempt       uint32       // how many refusals by storage have been dealt with
	parked        []parked     // produce requests that wait for the high watermark, in offset order
	parkedFrom    int          // the first of parked that still waits; those before it are done
	sizes         sizes        // of the newest batches
	offline       string       // why the partition cannot be used; empty while it can
}

// parked is one partition's share of a produce request that waits to be durable.
type parked struct {
	to         effect.RequestID
	index      int32
	baseOffset model.Offset
	nextOffset model.Offset
	appendTime model.Timestamp
	// duplicate marks a retry that waits beside its original; it did not append anything.
	duplicate bool
	// silent marks a request with acks=0: nobody waits for an answer, but its connection is closed if the
	// batch comes to nothing.
	silent bool
}

// New makes the replica of a partition from what its log holds. All of it is durable.
func New(tp model.TopicPartition, epoch model.LeaderEpoch, state *log.State) *Replica {
	return &Replica{partition: tp, epoch: epoch, state: state, highWatermark: state.EndOffset()}
}

// Produce is one batch for this partition.
type Produce struct {
	To         effect.RequestID
	Index      int32
	Acks       int16
	AppendTime model.Timestamp // NoTimestamp unless the topic stamps append times
	Header     record.Header
	Batch      []byte
}

// Produce decides about a batch: refused, a duplicate, or appended. With acks=all the answer comes when
// the batch is durable; with acks=1 there is no weaker promise yet that would be cheaper to keep, so it
// waits, too; with acks=0 nothing is answered, and the connection is closed if the batch is not taken.
func (r *Replica) Produce(in Produce, out *effect.Set) {
	if r.offline != "" {
		r.refuse(in, kerr.KafkaStorageError.Code, "the partition is damaged and cannot be used until it is repaired", out)
		return
	}
	verdict := r.state.CheckSequence(in.Header)
	switch verdict.Kind {
	case log.Fenced:
		out.Marks.Set(effect.MarkProduceEpochFenced)
		r.refuse(in, kerr.InvalidProducerEpoch.Code, fmt.Sprintf("producer %d has a newer epoch than %d", in.Header.ProducerID, in.Header.ProducerEpoch), out)
		return
	case log.OutOfOrder:
		out.Marks.Set(effect.MarkProduceOutOfOrder)
		why := fmt.Sprintf("producer %d epoch %d: sequence %d, expected %d",
			in.Header.ProducerID, in.Header.ProducerEpoch, in.Header.BaseSequence, verdict.Expected)
		out.Notes = append(out.Notes, effect.Note{
			Kind: effect.NoteSequenceRefused, Partition: r.partition, Offset: r.state.EndOffset(), Detail: why,
		})
		r.refuse(in, kerr.OutOfOrderSequenceNumber.Code, why, out)
		return
	case log.Duplicate:
		r.duplicate(in, verdict, out)
		return
	case log.AcceptNewEpoch:
		out.Marks.Set(effect.MarkProduceEpochBumped)
	case log.AcceptUnknown:
		out.Marks.Set(effect.MarkProduceUnknownProducer)
	case log.Accept:
	}
	r.append(in, out)
}

// Append writes a batch of the node's own, such as a coordinator's records. Nobody is answered: whoever calls
// watches the high watermark, and the log's end when an append is refused.
func (r *Replica) Append(h record.Header, batch []byte, out *effect.Set) (baseOffset model.Offset, code int16) {
	if r.offline != "" {
		return model.NoOffset, kerr.KafkaStorageError.Code
	}
	base := r.state.EndOffset()
	r.append(Produce{AppendTime: model.NoTimestamp, Header: h, Batch: batch}, out)
	return base, 0
}

func (r *Replica) append(in Produce, out *effect.Set) {
	h := in.Header
	h.BaseOffset, h.LeaderEpoch = r.state.EndOffset(), r.epoch
	if in.AppendTime != model.NoTimestamp {
		h = h.StampedAt(in.AppendTime)
	}
	r.state.Apply(h)
	r.sizes.note(h.NextOffset(), h.SizeBytes)
	out.Appends = append(out.Appends, effect.Append{
		Partition: r.partition, BaseOffset: h.BaseOffset, LeaderEpoch: r.epoch, AppendTime: in.AppendTime,
		Attempt: r.attempt, Batch: in.Batch,
	})
	r.park(parked{
		to: in.To, index: in.Index, baseOffset: h.BaseOffset, nextOffset: h.NextOffset(),
		appendTime: in.AppendTime, silent: in.Acks == 0,
	})
}

// duplicate answers a retry with where its original stands, once the original is durable: the producer
// must not take a retry's acknowledgement for more than the original's.
func (r *Replica) duplicate(in Produce, original log.Verdict, out *effect.Set) {
	base := original.BaseOffset
	out.Marks.Set(effect.MarkProduceDuplicate)
	out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteDuplicateBatch, Partition: r.partition, Offset: base})
	if in.Acks == 0 {
		return
	}
	next := base + model.Offset(in.Header.RecordCount)
	p := parked{
		to: in.To, index: in.Index, baseOffset: base, nextOffset: next,
		appendTime: original.AppendTime, duplicate: true,
	}
	if next <= r.highWatermark {
		r.acknowledge(p, out)
		return
	}
	out.Marks.Set(effect.MarkProduceParkedTwice)
	r.park(p)
}

// park inserts in offset order. Only duplicates arrive out of order, so the walk is short.
func (r *Replica) park(p parked) {
	r.parked = append(r.parked, p)
	for i := len(r.parked) - 1; i > r.parkedFrom && r.parked[i].nextOffset < r.parked[i-1].nextOffset; i-- {
		r.parked[i], r.parked[i-1] = r.parked[i-1], r.parked[i]
	}
}

func (r *Replica) refuse(in Produce, code int16, why string, out *effect.Set) {
	if in.Acks == 0 {
		r.hangUp(in.To, code, out)
		return
	}
	out.Produced = append(out.Produced, effect.Produced{
		To: in.To, Index: in.Index, Code: code, BaseOffset: model.NoOffset, AppendTime: model.NoTimestamp,
		LogStartOffset: r.state.StartOffset(), Message: why,
	})
}

// hangUp tells a producer that wants no answers that a batch of its was not taken (as Kafka does).
func (r *Replica) hangUp(to effect.RequestID, code int16, out *effect.Set) {
	out.Close(to.Conn, fmt.Sprintf("a batch produced with acks=0 to %v was refused: %s", r.partition, effect.CodeName(code)))
}

func (r *Replica) acknowledge(p parked, out *effect.Set) {
	if p.silent {
		return
	}
	out.Produced = append(out.Produced, effect.Produced{
		To: p.to, Index: p.index, BaseOffset: p.baseOffset, AppendTime: p.appendTime,
		LogStartOffset: r.state.StartOffset(),
	})
}

// Appended takes in that the log is durable up to an offset, or that an append was refused. It reports
// whether the high watermark moved, so that the broker can wake the fetches that wait for it.
func (r *Replica) Appended(in effect.Appended, out *effect.Set) (advanced bool) {
	if in.Failure != effect.OK {
		r.appendRefused(in, out)
		return false
	}
	if in.NextOffset <= r.highWatermark || r.offline != "" {
		return false
	}
	if in.NextOffset > r.state.EndOffset() {
		invariant.Checkf(false, "%v: durable to %d beyond log end offset %d", r.partition, in.NextOffset, r.state.EndOffset())
	}
	r.highWatermark = in.NextOffset
	r.releaseParked(out)
	return true
}

func (r *Replica) releaseParked(out *effect.Set) {
	for r.parkedFrom < len(r.parked) && r.parked[r.parkedFrom].nextOffset <= r.highWatermark {
		r.acknowledge(r.parked[r.parkedFrom], out)
		r.parkedFrom++
	}
	switch {
	case r.parkedFrom == len(r.parked):
		r.parked, r.parkedFrom = r.parked[:0], 0
	case r.parkedFrom >= 64 && r.parkedFrom*2 >= len(r.parked):
		n := copy(r.parked, r.parked[r.parkedFrom:])
		r.parked, r.parkedFrom = r.parked[:n], 0
	}
}

// appendRefused starts again from what storage really holds. Every append behind the refused one was
// refused with it, so every parked request above the log's real end has failed. The disk was full
// before a byte of them was written: the producer may safely retry.
func (r *Replica) appendRefused(in effect.Appended, out *effect.Set) {
	if in.Failure != effect.DiskFull {
		r.GoOffline("an append failed: "+in.Failure.String(), out)
		return
	}
	if in.Attempt != r.attempt || r.offline != "" {
		return // refused behind an append whose refusal has been dealt with
	}
	invariant.Check(in.State != nil, "a refused append says what the log holds")
	r.attempt++
	r.state = in.State
	r.sizes.cut(r.state.EndOffset())
	out.Marks.Set(effect.MarkDiskFullRefused)
	keep := r.parked[:r.parkedFrom]
	for _, p := range r.parked[r.parkedFrom:] {
		if p.nextOffset <= r.state.EndOffset() {
			keep = append(keep, p)
			continue
		}
		r.fail(p, kerr.KafkaStorageError.Code, out)
	}
	r.parked = keep
}

func (r *Replica) fail(p parked, code int16, out *effect.Set) {
	if p.silent {
		r.hangUp(p.to, code, out)
		return
	}
	out.Produced = append(out.Produced, effect.Produced{
		To: p.to, Index: p.index, Code: code, BaseOffset: model.NoOffset, AppendTime: model.NoTimestamp,
		LogStartOffset: r.state.StartOffset(),
	})
}

// GoOffline stops all use of the partition and says why. Parked requests fail; whether their batches
// survive is for recovery to find out.
func (r *Replica) GoOffline(why string, out *effect.Set) {
	if r.offline != "" {
		return
	}
	r.offline = why
	out.Marks.Set(effect.MarkPartitionOffline)
	out.Notes = append(out.Notes, effect.Note{
		Kind: effect.NotePartitionOffline, Partition: r.partition, Offset: r.state.EndOffset(), Detail: why,
	})
	for _, p := range r.parked[r.parkedFrom:] {
		r.fail(p, kerr.KafkaStorageError.Code, out)
	}
	r.parked, r.parkedFrom = nil, 0
}

// Delete fails every parked request: the topic is gone.
func (r *Replica) Delete(out *effect.Set) {
	for _, p := range r.parked[r.parkedFrom:] {
		r.fail(p, kerr.UnknownTopicOrPartition.Code, out)
	}
	r.parked, r.parkedFrom = nil, 0
}

// Retained takes in where retention left the log's start.
func (r *Replica) Retained(in effect.Retained, out *effect.Set) {
	if in.LogStartOffset <= r.state.StartOffset() {
		return
	}
	if in.LogStartOffset > r.highWatermark {
		invariant.Checkf(false, "%v: retention to %d passed the high watermark %d", r.partition, in.LogStartOffset, r.highWatermark)
	}
	r.state.AdvanceStart(in.LogStartOffset)
	out.Marks.Set(effect.MarkRetentionAdvanced)
}

// Expire forgets producers that have not written for ttlMs.
func (r *Replica) Expire(wall model.Timestamp, ttlMs int64, out *effect.Set) {
	if n := r.state.Expire(wall, ttlMs); n > 0 {
		out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteProducerExpired, Partition: r.partition, Count: int64(n)})
	}
}

// Bounds is how far a reader may go.
type Bounds struct {
	LogStartOffset   model.Offset
	HighWatermark    model.Offset
	LastStableOffset model.Offset
}

// Bounds is how far this replica may be read now.
func (r *Replica) Bounds() Bounds {
	return Bounds{LogStartOffset: r.state.StartOffset(), HighWatermark: r.highWatermark, LastStableOffset: r.highWatermark}
}

// ReadableBytes is about how many bytes a reader at an offset would find below the high watermark, and
// PlentyBytes for one so far behind that the sizes have been forgotten.
func (r *Replica) ReadableBytes(from model.Offset) int64 {
	return r.sizes.between(from, r.highWatermark)
}

// CheckEpoch decides whether a client's idea of the leader epoch lets it go on (KIP-320).
func (r *Replica) CheckEpoch(epoch model.LeaderEpoch) (code int16) {
	switch {
	case epoch == model.NoLeaderEpoch || epoch == r.epoch:
		return 0
	case epoch < r.epoch:
		return kerr.FencedLeaderEpoch.Code
	}
	return kerr.UnknownLeaderEpoch.Code
}

// EpochEnd is where an epoch ends here (KIP-320): the largest epoch of the log that is not above the asked
// one, and the offset at which the next begins. The current epoch ends at the log's end, even if nothing was
// written in it. Both are the No values for an epoch that is above the current one; one below all that the
// log knows ends where the log begins to know.
func (r *Replica) EpochEnd(asked model.LeaderEpoch) (model.LeaderEpoch, model.Offset) {
	if asked > r.epoch || asked < 0 {
		return model.NoLeaderEpoch, model.NoOffset
	}
	if asked == r.epoch {
		return r.epoch, r.state.EndOffset()
	}
	if epoch, end := r.state.EpochEnd(asked); epoch != model.NoLeaderEpoch {
		return epoch, end
	}
	return asked, r.state.StartOffset()
}

// Diverges reports whether a log that has a record of an epoch before an offset parts from this one below that
// offset (KIP-595). An epoch that was not said, or of which this log knows nothing, parts nowhere.
func (r *Replica) Diverges(epoch model.LeaderEpoch, offset model.Offset) bool {
	if epoch < 0 {
		return false
	}
	found, end := r.EpochEnd(epoch)
	return found != model.NoLeaderEpoch && (found < epoch || end < offset)
}

// Partition is which partition this is a replica of.
func (r *Replica) Partition() model.TopicPartition { return r.partition }

// LeaderEpoch is the epoch that this replica leads in.
func (r *Replica) LeaderEpoch() model.LeaderEpoch { return r.epoch }

// EpochOf is the leader epoch of the record at an offset.
func (r *Replica) EpochOf(o model.Offset) model.LeaderEpoch { return r.state.EpochOf(o) }

// LogEndOffset is where the next record goes.
func (r *Replica) LogEndOffset() model.Offset { return r.state.EndOffset() }

// Offline is why the partition cannot be used, or empty.
func (r *Replica) Offline() string { return r.offline }

// ParkedCount is how many produce requests wait here.
func (r *Replica) ParkedCount() int { return len(r.parked) - r.parkedFrom }

// Check verifies the invariants; it walks everything.
func (r *Replica) Check() error {
	if err := r.state.Check(); err != nil {
		return fmt.Errorf("%v: %w", r.partition, err)
	}
	if r.highWatermark > r.state.EndOffset() || r.state.StartOffset() > r.highWatermark {
		return fmt.Errorf("%v: log start %d, high watermark %d, log end %d",
			r.partition, r.state.StartOffset(), r.highWatermark, r.state.EndOffset())
	}
	waiting := r.parked[r.parkedFrom:]
	for i := range waiting {
		if waiting[i].nextOffset <= r.highWatermark {
			return fmt.Errorf("%v: parked at %d below the high watermark %d", r.partition, waiting[i].nextOffset, r.highWatermark)
		}
		if i > 0 && waiting[i].nextOffset < waiting[i-1].nextOffset {
			return fmt.Errorf("%v: parked requests out of offset order", r.partition)
		}
	}
	return nil
}
