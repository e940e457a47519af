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
//	          Lead                          Follow
//	idle ─────────────► leading ◄─────────────────────────► following
//	  └─────────────────────────── Follow ─────────────────────▲  │  ▲
//	                                                              ▼  │ Truncated
//	                                                           cutting (Lead waits for it)
//
//	            Damaged, Broken
//	any of them ────────────────► offline    (another is made in its place once nobody counts on it, or an operator repairs it)
type Replica struct {
	partition model.TopicPartition
	role      role
	epoch     model.LeaderEpoch // of the leadership that role is about
	leader    model.NodeID      // whom it follows

	state         *log.State   // everything decided, durable or not
	durable       model.Offset // what of it is durable here
	highWatermark model.Offset // what may be read, and what acks=all waits for
	attempt       uint32       // how many refusals by storage have been dealt with
	sizes         sizes        // of the newest batches
	offline       string       // why the partition cannot be used; empty while it can

	// While it leads:
	followers *Followers
	all       waiting // produce requests with acks=all, for the high watermark
	local     waiting // with acks=1, until their batches are durable here

	// While it follows:
	cutting bool        // the log is being cut: nothing is known of it until that is done
	next    *Leadership // to be taken up when it is
	fullAt  model.Time  // when the disk was found full; 0 if it was not
	// led and ledStart are the leader's high watermark and log start as they were told last: this log may not have got
	// there yet.
	led, ledStart model.Offset
}

type role uint8

const (
	idle role = iota
	leading
	following
)

// New makes the replica of a partition from what its log holds. All of it is durable. It does nothing until it is told
// to lead or to follow. The high watermark is what an earlier life knew of it: it is not known to be higher.
func New(tp model.TopicPartition, state *log.State, highWatermark model.Offset) *Replica {
	return &Replica{
		partition: tp, epoch: model.NoLeaderEpoch, leader: -1, state: state, durable: state.EndOffset(),
		highWatermark: min(max(highWatermark, state.StartOffset()), state.EndOffset()),
	}
}

// Produce is one batch for this partition.
type Produce struct {
	To         effect.RequestID
	Index      int32
	Acks       int16
	AppendTime model.Timestamp // NoTimestamp unless the topic stamps append times
	Deadline   model.Time      // when the client waits no longer; 0: it waits for ever
	Header     record.Header
	Batch      []byte
	// IsDoubted says that another may lead by now, who has more of the log: what is final, unless it is right whoever leads, is not said then.
	IsDoubted bool
	own       bool // the node's own: nobody is answered
}

// Produce decides about a batch: refused, a duplicate, or appended. With acks=all the answer comes when the high watermark
// has passed it, with acks=1 when it is durable here; with acks=0 nothing is answered, and the connection is closed if
// the batch is not taken.
func (r *Replica) Produce(in Produce, now model.Time, out *effect.Set) {
	if code, why := r.refusal(in.Acks); code != 0 {
		r.refuse(in, code, why, out)
		return
	}
	verdict := r.state.CheckSequence(in.Header)
	switch verdict.Kind {
	case log.Fenced:
		out.Marks.Set(effect.MarkProduceEpochFenced)
		r.refuse(in, kerr.InvalidProducerEpoch.Code, fmt.Sprintf("producer %d has a newer epoch than %d", in.Header.ProducerID, in.Header.ProducerEpoch), out)
		return
	case log.OutOfOrder:
		if in.IsDoubted {
			r.refuse(in, kerr.NotLeaderForPartition.Code, "the sequence does not follow here, and another node may lead by now", out)
			return
		}
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
	r.append(in, now, out)
}

// refusal is why nothing can be produced here.
func (r *Replica) refusal(acks int16) (code int16, why string) {
	switch {
	case r.offline != "":
		return kerr.KafkaStorageError.Code, "the partition is damaged and cannot be used until it is repaired"
	case r.role != leading:
		return kerr.NotLeaderForPartition.Code, ""
	case acks == -1 && !r.followers.Enough():
		return kerr.NotEnoughReplicas.Code, fmt.Sprintf("in-sync replicas: %d, min.insync.replicas: %d",
			r.followers.InSyncCount(), r.followers.config.InSyncMin)
	}
	return 0, ""
}

// Append writes a batch of the node's own, such as a coordinator's records. Nobody is answered: whoever calls
// watches the high watermark, and the log's end when an append is refused.
func (r *Replica) Append(h record.Header, batch []byte, now model.Time, out *effect.Set) (baseOffset model.Offset, code int16) {
	if code, _ := r.refusal(-1); code != 0 {
		return model.NoOffset, code
	}
	base := r.state.EndOffset()
	r.append(Produce{Acks: -1, own: true, AppendTime: model.NoTimestamp, Header: h, Batch: batch}, now, out)
	return base, 0
}

func (r *Replica) append(in Produce, now model.Time, out *effect.Set) {
	h := in.Header
	h.BaseOffset, h.LeaderEpoch = r.state.EndOffset(), r.epoch
	if in.AppendTime != model.NoTimestamp {
		h = h.StampedAt(in.AppendTime)
	}
	r.state.Apply(h)
	r.sizes.note(h.NextOffset(), h.SizeBytes)
	out.Appends = append(out.Appends, effect.Append{
		Partition: r.partition, BaseOffset: h.BaseOffset, LeaderEpoch: r.epoch, AppendTime: in.AppendTime,
		HighWatermark: r.highWatermark, Attempt: r.attempt, Batch: in.Batch,
	})
	r.waitingFor(in.Acks).park(parked{
		to: in.To, index: in.Index, baseOffset: h.BaseOffset, nextOffset: h.NextOffset(),
		appendTime: in.AppendTime, silent: in.Acks == 0, own: in.own, deadline: in.Deadline,
	})
	r.followers.Appended(r.state.EndOffset(), r.durable, now)
}

// waitingFor is where a request waits. One without an answer waits with those that wait for the least.
func (r *Replica) waitingFor(acks int16) *waiting {
	if acks == -1 {
		return &r.all
	}
	return &r.local
}

// duplicate answers a retry with where its original stands, once the original is as safe as is asked for: the producer
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
		appendTime: original.AppendTime, duplicate: true, deadline: in.Deadline,
	}
	safe := r.highWatermark
	if in.Acks == 1 {
		safe = r.durable
	}
	if next <= safe {
		r.acknowledge(p, out)
		return
	}
	out.Marks.Set(effect.MarkProduceParkedTwice)
	r.waitingFor(in.Acks).park(p)
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
	if p.silent || p.own {
		return
	}
	out.Produced = append(out.Produced, effect.Produced{
		To: p.to, Index: p.index, BaseOffset: p.baseOffset, AppendTime: p.appendTime,
		LogStartOffset: r.state.StartOffset(),
	})
}

// Appended takes in that the log is durable up to an offset, or that an append was refused. It reports
// whether the high watermark moved, so that the broker can wake the fetches that wait for it.
func (r *Replica) Appended(in effect.Appended, now model.Time, out *effect.Set) (advanced bool) {
	if in.Failure != effect.OK {
		r.appendRefused(in, now, out)
		return false
	}
	if in.NextOffset <= r.durable || r.offline != "" || r.cutting {
		return false
	}
	if in.NextOffset > r.state.EndOffset() {
		invariant.Checkf(false, "%v: durable to %d beyond log end offset %d", r.partition, in.NextOffset, r.state.EndOffset())
	}
	r.durable, r.fullAt = in.NextOffset, 0
	if r.role != leading {
		return r.followBounds(out)
	}
	r.local.release(r.durable, r, out)
	return r.advance(r.followers.Appended(r.state.EndOffset(), r.durable, now), out)
}

// advance takes over the high watermark that the followers allow.
func (r *Replica) advance(moved bool, out *effect.Set) bool {
	if !moved {
		return false
	}
	r.highWatermark = r.followers.HighWatermark()
	r.all.release(r.highWatermark, r, out)
	return true
}

// appendRefused starts again from what storage really holds. Every append behind the refused one was
// refused with it, so every parked request above the log's real end has failed. The disk was full
// before a byte of them was written: the producer may safely retry.
func (r *Replica) appendRefused(in effect.Appended, now model.Time, out *effect.Set) {
	if in.Failure != effect.DiskFull {
		r.GoOffline("an append failed: "+in.Failure.String(), out)
		return
	}
	if in.Attempt != r.attempt || r.offline != "" {
		return // refused behind an append whose refusal has been dealt with
	}
	invariant.Check(in.State != nil, "a refused append says what the log holds")
	r.attempt++
	r.fullAt = now
	out.Marks.Set(effect.MarkDiskFullRefused)
	if r.cutting {
		return // what the log holds is told when it is cut
	}
	r.restate(in.State)
	if r.role == leading {
		r.followers.Cut(r.state.EndOffset())
		r.all.failAbove(r.state.EndOffset(), kerr.KafkaStorageError.Code, r, out)
		r.local.failAbove(r.state.EndOffset(), kerr.KafkaStorageError.Code, r, out)
	}
}

// restate starts again from what the log really holds.
func (r *Replica) restate(state *log.State) {
	r.state = state
	r.sizes.cut(state.EndOffset())
	r.durable = min(r.durable, state.EndOffset())
}

func (r *Replica) fail(p parked, code int16, out *effect.Set) {
	if p.own {
		return
	}
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
	r.failAll(kerr.KafkaStorageError.Code, out)
}

// failAll fails every parked request.
func (r *Replica) failAll(code int16, out *effect.Set) {
	r.all.failAbove(-1, code, r, out)
	r.local.failAbove(-1, code, r, out)
}

// TimeOut fails the requests whose clients wait no longer: their batches may be acknowledged to a retry yet. It reports
// whether any request still waits.
func (r *Replica) TimeOut(now model.Time, out *effect.Set) (waits bool) {
	r.all.timeOut(now, r, out)
	r.local.timeOut(now, r, out)
	return r.ParkedCount() > 0
}

// Delete fails every parked request: the topic is gone.
func (r *Replica) Delete(out *effect.Set) {
	r.failAll(kerr.UnknownTopicOrPartition.Code, out)
}

// Retained takes in where retention left the log's start.
func (r *Replica) Retained(in effect.Retained, out *effect.Set) {
	if in.LogStartOffset <= r.state.StartOffset() {
		return
	}
	if in.LogStartOffset > r.highWatermark && r.role == leading {
		invariant.Checkf(false, "%v: retention to %d passed the high watermark %d", r.partition, in.LogStartOffset, r.highWatermark)
	}
	if r.cutting || in.LogStartOffset > r.durable {
		return // what the log holds is told when it is cut, or it has begun anew since, where the leader's batch begins
	}
	r.state.AdvanceStart(in.LogStartOffset)
	r.highWatermark = max(r.highWatermark, in.LogStartOffset)
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

// FetchableBytes is about how many bytes a follower at an offset would find: up to the log's end.
func (r *Replica) FetchableBytes(from model.Offset) int64 {
	return r.sizes.between(from, r.state.EndOffset())
}

// CheckLeads decides whether a client that takes this replica for the leader may go on.
func (r *Replica) CheckLeads(epoch model.LeaderEpoch) (code int16) {
	if code := r.CheckEpoch(epoch); code != 0 {
		return code
	}
	if r.role != leading {
		return kerr.NotLeaderForPartition.Code
	}
	return 0
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
func (r *Replica) ParkedCount() int { return r.all.count() + r.local.count() }

// Check verifies the invariants; it walks everything.
func (r *Replica) Check() error {
	if err := r.state.Check(); err != nil {
		return fmt.Errorf("%v: %w", r.partition, err)
	}
	if r.cutting {
		return nil
	}
	if r.highWatermark > r.state.EndOffset() || r.state.StartOffset() > r.highWatermark || r.durable > r.state.EndOffset() {
		return fmt.Errorf("%v: log start %d, high watermark %d, durable to %d, log end %d",
			r.partition, r.state.StartOffset(), r.highWatermark, r.durable, r.state.EndOffset())
	}
	if r.role != leading {
		if r.ParkedCount() > 0 {
			return fmt.Errorf("%v: %d requests wait where nobody leads", r.partition, r.ParkedCount())
		}
		return nil
	}
	if r.highWatermark != r.followers.HighWatermark() {
		return fmt.Errorf("%v: two high watermarks, %d and %d", r.partition, r.highWatermark, r.followers.HighWatermark())
	}
	if err := r.local.check(r.durable); err != nil {
		return fmt.Errorf("%v: %w", r.partition, err)
	}
	if err := r.all.check(r.highWatermark); err != nil {
		return fmt.Errorf("%v: %w", r.partition, err)
	}
	return nil
}
