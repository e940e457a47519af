package quorum

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// An image is larger than a message should be. What a voter is sent in its place is an offer: of which entries it is, who
// votes at its end, and what the Imager says of it. The voter fetches it by other ways and says when it has Arrived, which is
// when the library sees a message with an image. Until then the library sees nothing, and its leader waits: it sends that voter
// heartbeats and is answered, so that neither of them takes the other for dead.
//
//	leader   ──── offer ────►  voter: Offered            nothing came of it: OfferLost, and it is offered again
//	         ◄─ fetched by other ways ─ ► Arrived
//	         ◄─── response, when it is durable ───

// image is what the library is given when it wants to send an image: the one that was offered last if that is held still and serves,
// so that an image is not changed under who fetches it, and else the newest.
func (q *Quorum) image() *raftpb.Snapshot {
	if s := q.offers; s != nil {
		// An image of before a change of the voters may not know of the one that it is offered to, which would refuse it for ever.
		meta := s.GetMetadata()
		if meta.GetIndex() >= q.log.base && meta.GetConfState() == q.log.voters && q.imager.Holds(s.GetData()) {
			return s
		}
		q.offers = nil
	}
	if q.applied != q.emitted {
		return nil // more was committed in this very step: the library asks again
	}
	term := q.TermOf(q.emitted)
	if term == 0 {
		// Committed entries are durable or still with the library, which then does not want an image.
		return nil
	}
	about, ok := q.imager.Offer()
	if !ok {
		return nil
	}
	q.offers = &raftpb.Snapshot{
		Data:     about,
		Metadata: &raftpb.SnapshotMetadata{ConfState: q.log.voters, Index: new(uint64(q.emitted)), Term: new(uint64(term))},
	}
	return q.offers
}

// OfferLost says that an offer did not arrive, or that it is time to make it again: the voter may have forgotten it. It does
// nothing if the voter has come by an image meanwhile.
func (q *Quorum) OfferLost(to VoterID, out *Out) {
	q.begin()
	q.node.ReportSnapshot(uint64(to), raft.SnapshotFailure)
	q.settle(out)
}

// offer takes in that an image is offered, and reports whether it is wanted. Else the library is to answer as if it were there:
// it does not look at what it has already.
func (q *Quorum) offer(m *raftpb.Message) bool {
	if !q.wants(m) {
		return false
	}
	// Messages overtake each other: what a leader offers later is newer.
	if o := q.offered; o == nil || newer(m, o) {
		q.offered = m
	}
	return true
}

func newer(m, than *raftpb.Message) bool {
	if m.GetTerm() != than.GetTerm() {
		return m.GetTerm() > than.GetTerm()
	}
	return m.GetSnapshot().GetMetadata().GetIndex() >= than.GetSnapshot().GetMetadata().GetIndex()
}

// wants reports whether the library would begin anew with an image.
func (q *Quorum) wants(m *raftpb.Message) bool {
	meta, hard := m.GetSnapshot().GetMetadata(), q.node.BasicStatus().HardState
	voters := meta.GetConfState()
	return m.GetTerm() >= hard.GetTerm() && meta.GetIndex() > hard.GetCommit() && q.termAt(meta.GetIndex()) != meta.GetTerm() &&
		slices.Contains(slices.Concat(voters.GetVoters(), voters.GetLearners(), voters.GetVotersOutgoing()), uint64(q.config.ID))
}

// termAt is the term of an entry, durable or not; 0 if it is not here.
func (q *Quorum) termAt(index uint64) uint64 {
	for i := len(q.writes) - 1; i >= 0; i-- {
		if e := q.writes[i].entries; len(e) > 0 && index >= e[0].GetIndex() {
			if at := index - e[0].GetIndex(); at < uint64(len(e)) {
				return e[at].GetTerm()
			}
			return 0 // a later write cuts what stood there
		}
		if s := q.writes[i].snapshot; s != nil {
			return 0
		}
	}
	term, err := q.log.Term(index)
	if err != nil {
		return 0
	}
	return term
}

// Offered is the image that this voter was offered and wants, and who offers it. Its Data is what the other's Imager says of it.
func (q *Quorum) Offered() (from VoterID, image Image, ok bool) {
	m := q.offered
	if m == nil {
		return 0, Image{}, false
	}
	meta := m.GetSnapshot().GetMetadata()
	return VoterID(m.GetFrom()), Image{
		Index: Index(meta.GetIndex()), Term: Term(meta.GetTerm()), Voters: votersOf(meta.GetConfState()), Data: m.GetSnapshot().GetData(),
	}, true
}

// Decline forgets what was offered: it cannot be had, or is not sound. It will be offered again.
func (q *Quorum) Decline() { q.offered = nil }

// Arrived takes in the image that was offered, whole. An error says that it is none; then it is not offered any more.
func (q *Quorum) Arrived(data []byte, out *Out) error {
	m := q.offered
	if m == nil {
		return errors.New("quorum: an image arrives that nobody offered")
	}
	q.offered = nil
	if q.config.CheckImage != nil {
		if err := q.config.CheckImage(data); err != nil {
			return fmt.Errorf("quorum: voter %d offered an image that is none: %w", m.GetFrom(), err)
		}
	}
	q.step(&raftpb.Message{
		Type: m.Type, From: m.From, To: m.To, Term: m.Term,
		Snapshot: &raftpb.Snapshot{Data: data, Metadata: m.GetSnapshot().GetMetadata()},
	}, out)
	return nil
}
