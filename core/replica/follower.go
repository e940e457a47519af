package replica

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Follow begins to follow a leader in an epoch; -1 if there is none at the moment. What waited for this replica as a
// leader fails: the new leader may have it or not.
func (r *Replica) Follow(leader model.NodeID, epoch model.LeaderEpoch, out *effect.Set) {
	if epoch < r.epoch || r.offline != "" {
		return
	}
	r.next = nil
	if epoch > r.epoch {
		r.led, r.ledStart = 0, 0
	}
	if r.role == leading {
		r.failAll(kerr.NotLeaderForPartition.Code, out)
		r.followers = nil
	}
	r.role, r.epoch, r.leader = following, epoch, leader
}

// Leader is whom this replica follows, or itself; -1 if there is nobody.
func (r *Replica) Leader() model.NodeID { return r.leader }

// Position is where a follower goes on.
type Position struct {
	LeaderEpoch model.LeaderEpoch
	// Offset is the log's end: everything before it is durable.
	Offset model.Offset
	// LastFetchedEpoch is of the record before it, for the leader to find out where the two logs part (KIP-595).
	LastFetchedEpoch model.LeaderEpoch
	LogStartOffset   model.Offset
	HighWatermark    model.Offset
}

// Position is where to fetch from; false while something of the log is on its way to the disk, and for a while after the
// disk was full: a follower's fetch says that everything before its offset is durable.
func (r *Replica) Position(now model.Time) (p Position, ok bool) {
	if r.role != following || r.leader < 0 || r.offline != "" || r.cutting || r.durable < r.state.EndOffset() || now < r.fullUntil() {
		return Position{}, false
	}
	return Position{
		LeaderEpoch: r.epoch, Offset: r.state.EndOffset(), LastFetchedEpoch: r.state.EpochOf(r.state.EndOffset() - 1),
		LogStartOffset: r.state.StartOffset(), HighWatermark: r.highWatermark,
	}, true
}

// fullPause is how long a follower leaves a full disk alone.
const fullPause model.Time = 1e9

// fullUntil is when a follower may write again; 0 if it may.
func (r *Replica) fullUntil() model.Time {
	if r.fullAt == 0 {
		return 0
	}
	return r.fullAt + fullPause
}

// WaitsUntil is when a follower that has no Position will have one although nothing happens; 0 if not so.
func (r *Replica) WaitsUntil() model.Time {
	if r.role == following && r.offline == "" {
		return r.fullUntil()
	}
	return 0
}

// Fetched is what the leader answered for one partition to a fetch from Position.
type Fetched struct {
	From             Position // what was asked
	HighWatermark    model.Offset
	LogStartOffset   model.Offset
	Diverging        *effect.EpochEnd
	OffsetOutOfRange bool
	Batches          []Batch
}

// Batch is one batch of the leader's log, already verified.
type Batch struct {
	Header record.Header
	Bytes  []byte
}

// Fetched takes in what the leader answered. An answer to a question that nobody would ask any more says nothing. It
// reports whether the high watermark moved.
func (r *Replica) Fetched(in Fetched, now model.Time, out *effect.Set) (advanced bool) {
	if at, ok := r.Position(now); !ok || at.LeaderEpoch != in.From.LeaderEpoch || at.Offset != in.From.Offset {
		return false
	}
	switch {
	case in.OffsetOutOfRange:
		r.outOfRange(in, out)
		return false
	case in.Diverging != nil:
		r.diverge(*in.Diverging, out)
		return false
	}
	r.beginInside(in.Batches, out)
	for i := range in.Batches {
		b := &in.Batches[i]
		if why := r.misfit(&b.Header); why != "" {
			out.Notes = append(out.Notes, effect.Note{
				Kind: effect.NoteReplicaRefused, Partition: r.partition, Offset: r.state.EndOffset(),
				Detail: fmt.Sprintf("node %d sent a batch that does not follow: %s", r.leader, why),
			})
			break
		}
		r.state.Apply(b.Header)
		r.sizes.note(b.Header.NextOffset(), b.Header.SizeBytes)
		out.Appends = append(out.Appends, effect.Append{
			Partition: r.partition, BaseOffset: b.Header.BaseOffset, LeaderEpoch: b.Header.LeaderEpoch,
			AppendTime: model.NoTimestamp, HighWatermark: r.highWatermark, Attempt: r.attempt, Batch: b.Bytes,
		})
	}
	r.led, r.ledStart = in.HighWatermark, in.LogStartOffset
	return r.followBounds(out)
}

// beginInside begins an empty log where the leader's first batch begins. The leader's log may start inside a batch; one
// that was begun anew there takes the batch whole, and its start follows.
func (r *Replica) beginInside(batches []Batch, out *effect.Set) {
	end := r.state.EndOffset()
	if len(batches) == 0 || r.state.StartOffset() != end {
		return
	}
	if h := &batches[0].Header; h.BaseOffset < end && h.NextOffset() > end {
		r.restate(log.New(h.BaseOffset))
		r.highWatermark = h.BaseOffset
		out.StartAts = append(out.StartAts, effect.StartAt{Partition: r.partition, Offset: h.BaseOffset})
	}
}

// followBounds takes over the leader's high watermark as far as the log is durable here, and then the start of its log.
// The leader tells them once: where they come with records, they are for later. It reports whether the high watermark
// moved.
func (r *Replica) followBounds(out *effect.Set) (advanced bool) {
	if r.role != following {
		return false
	}
	if hw := min(r.led, r.durable); hw > r.highWatermark {
		r.highWatermark, advanced = hw, true
	}
	if r.ledStart > r.state.StartOffset() && r.ledStart <= r.highWatermark {
		out.Retains = append(out.Retains, effect.Retain{
			Partition: r.partition, HighWatermark: r.highWatermark, Below: r.ledStart,
		})
	}
	return advanced
}

// misfit is why a batch cannot come next; empty if it can.
func (r *Replica) misfit(h *record.Header) string {
	switch end := r.state.EndOffset(); {
	case h.BaseOffset < end:
		return fmt.Sprintf("its base offset is %d, and the log ends at %d", h.BaseOffset, end)
	case h.LeaderEpoch < r.state.LeaderEpoch() || h.LeaderEpoch > r.epoch:
		return fmt.Sprintf("its epoch is %d, and the log's is %d", h.LeaderEpoch, r.state.LeaderEpoch())
	}
	return ""
}

// diverge cuts the log where it parts from the leader's, or where it may (KIP-595): an epoch of which this log knows
// nothing is asked for again, by the epoch before it.
func (r *Replica) diverge(leader effect.EpochEnd, out *effect.Set) {
	var to model.Offset
	switch epoch, end := r.state.EpochEnd(leader.LeaderEpoch); epoch {
	case model.NoLeaderEpoch:
		to = r.state.StartOffset()
	case leader.LeaderEpoch:
		to = min(leader.EndOffset, end)
	default:
		to = end
	}
	if to < r.highWatermark {
		out.Marks.Set(effect.MarkTruncatedBelowWatermark)
	}
	r.cut(out)
	out.Truncates = append(out.Truncates, effect.Truncate{Partition: r.partition, To: max(to, r.state.StartOffset())})
	out.Marks.Set(effect.MarkFollowerTruncated)
}

// outOfRange begins anew where the leader's log begins, if this one ends before that. An end beyond the leader's is for
// divergence to find.
func (r *Replica) outOfRange(in Fetched, out *effect.Set) {
	if in.LogStartOffset <= r.state.EndOffset() {
		return
	}
	r.cut(out)
	out.StartAts = append(out.StartAts, effect.StartAt{Partition: r.partition, Offset: in.LogStartOffset})
	out.Marks.Set(effect.MarkFollowerStartedAnew)
}

// cut begins a cut of the log.
func (r *Replica) cut(out *effect.Set) {
	r.cutting = true
	out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteReplicaCut, Partition: r.partition, Offset: r.state.EndOffset()})
}

// Truncated takes in what the log is after a cut. If the disk had no room to note it the log is what it was: the leader is asked
// again later, and says again where the two part.
func (r *Replica) Truncated(in effect.Truncated, now model.Time, out *effect.Set) {
	if !r.cutting || r.offline != "" {
		return
	}
	switch in.Failure {
	case effect.OK:
		r.fullAt = 0
	case effect.DiskFull:
		r.fullAt = now
	default:
		r.GoOffline("the log could not be cut: "+in.Failure.String(), out)
		return
	}
	r.cutting = false
	r.restate(in.State)
	r.durable = in.State.EndOffset()
	r.highWatermark = min(max(r.highWatermark, r.state.StartOffset()), r.durable)
	if next := r.next; next != nil {
		r.next = nil
		r.Lead(*next, now, out)
	}
}

// Cutting reports whether the log is being cut: what it holds is not known.
func (r *Replica) Cutting() bool { return r.cutting }

// Writing reports whether something of the log is on its way to the disk, or is being cut.
func (r *Replica) Writing() bool {
	return r.offline == "" && (r.cutting || r.durable < r.state.EndOffset())
}
