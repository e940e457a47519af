package quorum

import (
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/weirmq/weir/core/invariant"
)

// Out is what a step wants done, in this order: Restored, Committed, Writes, Sends.
type Out struct {
	// Restored, unless nil, is an image that stands for everything that was committed before. It is durable.
	Restored *Image
	// Committed are entries that are committed now. Their data is for the state machine; that of changes is not.
	Committed []Entry
	// Voters, unless nil, is who votes from now on.
	Voters *Voters
	// Writes are to be made durable, in order; Written tells when they are.
	Writes []Write
	// Sends may be lost, and may overtake each other.
	Sends []Send
	// Led, unless nil, is the state when the leader or the term has changed.
	Led *State
}

// Reset empties Out and keeps its memory.
func (o *Out) Reset() {
	clear(o.Committed)
	clear(o.Writes)
	clear(o.Sends)
	*o = Out{Committed: o.Committed[:0], Writes: o.Writes[:0], Sends: o.Sends[:0]}
}

// Write is to be made durable as a whole.
type Write struct {
	Token uint64 // ascending
	// Image, unless nil, replaces the log.
	Image *Image
	// Entries follow the image, or the entry before the first of them: what stood there and behind is gone.
	Entries []Entry
	// Hard, unless nil, replaces the one before.
	Hard *HardState
}

// Send is a message to another voter.
type Send struct {
	To      VoterID
	Message []byte
	// IsOffer says that an image is offered. It asks for OfferLost when it is lost, and now and then as long as it is not known what
	// became of it.
	IsOffer bool
}

// settle takes out of the library what it wants done.
func (q *Quorum) settle(out *Out) {
	for q.node.HasReady() {
		rd := q.node.Ready()
		for _, m := range rd.Messages {
			switch m.GetTo() {
			case raft.LocalAppendThread:
				q.write(m, out)
			case raft.LocalApplyThread:
				q.commit(m.GetEntries(), out)
				for _, r := range m.GetResponses() {
					q.deliver(r, out)
				}
			default:
				q.deliver(m, out)
			}
		}
	}
	q.release(out)
	if q.offered != nil && !q.wants(q.offered) {
		q.offered = nil
	}
	if s := q.State(); s.Term != q.leading.Term || s.Leader != q.leading.Leader || s.Leads != q.leading.Leads {
		q.leading, q.rounds = s, rounds{}
		out.Led = &s
	}
}

// write submits what the library wants stored.
func (q *Quorum) write(m *raftpb.Message, out *Out) {
	w := pendingWrite{entries: m.GetEntries(), responses: m.GetResponses(), snapshot: m.GetSnapshot()}
	// The library sets all three of a hard state's fields, or none.
	if m.Term != nil || m.Vote != nil || m.Commit != nil {
		w.hard = &raftpb.HardState{Term: new(m.GetTerm()), Vote: new(m.GetVote()), Commit: new(m.GetCommit())}
	}
	if len(w.entries) == 0 && w.snapshot == nil && len(w.responses) == 0 && !q.promises(w.hard) {
		// Only the commit index has moved, and over no change of the voters: a restart learns it again.
		return
	}
	q.lastToken++
	w.token = q.lastToken
	q.writes = append(q.writes, w)
	o := Write{Token: w.token, Entries: entriesOf(w.entries)}
	if w.hard != nil {
		o.Hard = &HardState{Term: Term(w.hard.GetTerm()), Vote: VoterID(w.hard.GetVote()), Commit: Index(w.hard.GetCommit())}
	}
	if s := w.snapshot; s != nil {
		meta := s.GetMetadata()
		o.Image = &Image{Index: Index(meta.GetIndex()), Term: Term(meta.GetTerm()), Voters: votersOf(meta.GetConfState()), Data: s.GetData()}
	}
	out.Writes = append(out.Writes, o)
}

// promises reports whether a hard state says what must not be forgotten, beyond the one that was submitted before it: a term, a
// vote, or that a change of the voters is committed. Who forgot that would go by the voters of before, also when the next
// change rests on it: then a majority of those and one of the newest need not have anybody in common.
func (q *Quorum) promises(h *raftpb.HardState) bool {
	if h == nil {
		return false
	}
	before := q.log.hard
	for i := range q.writes {
		if q.writes[i].hard != nil {
			before = q.writes[i].hard
		}
	}
	return h.GetTerm() != before.GetTerm() || h.GetVote() != before.GetVote() || q.changes(before.GetCommit(), h.GetCommit())
}

// changes reports whether a change of the voters stands behind one index and up to another, durable or not.
func (q *Quorum) changes(after, to uint64) bool {
	isOne := func(e *raftpb.Entry) bool {
		return e.GetIndex() > after && e.GetIndex() <= to && e.GetType() != raftpb.EntryNormal
	}
	return slices.ContainsFunc(q.log.between(after, to), isOne) ||
		slices.ContainsFunc(q.writes, func(w pendingWrite) bool { return slices.ContainsFunc(w.entries, isOne) })
}

// tellable reports whether others may be told that the log is committed up to an index: that a change of the voters is, they are told
// when it cannot be forgotten here. Who votes no more would else leave elections to those who do; and they, after a crash, could still
// be waiting for its vote.
func (q *Quorum) tellable(commit uint64) bool {
	durable := q.log.hard.GetCommit()
	return commit <= durable || !q.changes(durable, commit)
}

// holds keeps back what tells too much, and reports whether it does. Who is sent entries behind a change must learn that it is committed
// no later, so that these wait, too. Heartbeats do not.
func (q *Quorum) holds(m *raftpb.Message) bool {
	switch m.GetType() { //nolint:exhaustive // others tell nothing
	case raftpb.MsgHeartbeat:
		if !q.tellable(m.GetCommit()) {
			m.Commit = new(q.log.hard.GetCommit())
		}
		return false
	case raftpb.MsgApp, raftpb.MsgSnap:
	default:
		return false
	}
	if q.tellable(max(m.GetCommit(), m.GetSnapshot().GetMetadata().GetIndex())) {
		return false
	}
	q.held = append(q.held, m)
	return true
}

// release sends what was held back and may be sent now.
func (q *Quorum) release(out *Out) {
	held := q.held
	q.held = nil
	for _, m := range held {
		q.deliver(m, out)
	}
}

// commit gives out committed entries.
func (q *Quorum) commit(entries []*raftpb.Entry, out *Out) {
	for _, e := range entries {
		invariant.Check(Index(e.GetIndex()) == q.emitted+1, "committed entries come without a gap")
		q.emitted = Index(e.GetIndex())
		if e.GetType() != raftpb.EntryNormal {
			q.changed(e, out)
		}
		out.Committed = append(out.Committed, entryOf(e))
	}
}

// changed applies a change of the voters.
func (q *Quorum) changed(e *raftpb.Entry, out *Out) {
	change := new(raftpb.ConfChangeV2)
	err := proto.Unmarshal(e.GetData(), change)
	invariant.Check(err == nil && e.GetType() == raftpb.EntryConfChangeV2, "a committed change of the voters can be read")
	q.log.voters = q.node.ApplyConfChange(change)
	v := votersOf(q.log.voters)
	out.Voters = &v
}

// deliver sends a message, or steps it if it is for this voter.
func (q *Quorum) deliver(m *raftpb.Message, out *Out) {
	if m.GetTo() == uint64(q.config.ID) {
		before := q.node.BasicStatus()
		_ = q.node.Step(m) // what comes too late is ignored
		q.stepped(before, q.node.BasicStatus(), m)
		return
	}
	if q.holds(m) {
		return
	}
	if m.GetType() == raftpb.MsgHeartbeatResp && q.log.hard.GetTerm() == 0 {
		m.Context = nil // a restart would know nothing of it, and nothing of having to be quiet
	}
	q.rounds.sent(m, q.now)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	invariant.Check(err == nil, "a message of the library's can be written")
	out.Sends = append(out.Sends, Send{To: VoterID(m.GetTo()), Message: b, IsOffer: m.GetType() == raftpb.MsgSnap})
}
