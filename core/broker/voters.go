package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
)

// AddVoter asks for a node to vote from a disk (KIP-853). It is answered by one effect.VotersChanged when it does.
type AddVoter struct {
	To        effect.RequestID
	Origin    Origin
	ClusterID string // empty: not checked
	Node      model.NodeID
	Directory model.DirectoryID
	Wait      model.Time
}

// RemoveVoter asks for a node not to vote any more. It is answered by one effect.VotersChanged when that is so on every
// voter that is needed for an election.
type RemoveVoter struct {
	To        effect.RequestID
	Origin    Origin
	ClusterID string // empty: not checked
	Node      model.NodeID
	Directory model.DirectoryID // zero: the disk that the node votes from
}

func (*AddVoter) event()    {}
func (*RemoveVoter) event() {}

// voterChange is a change of the voters that the leader of the quorum carries through.
//
//	add:     ──► learner, until it has caught up ──► voter (and the one that it replaces is none) ──► settled ──► answered
//	remove:  ──────────────────────────────────────► no voter ──────────────────────────────────────► settled ──► answered
//
// It is settled when an entry behind it is committed: those who committed it know of the change, and the voters that are
// gone are not needed for the next election (decision 10).
type voterChange struct {
	to       effect.RequestID
	asked    bool          // somebody waits for an answer
	target   model.VoterID // who is to vote, or not to vote any more
	removes  bool
	replaces model.VoterID // who is not to vote any more once the target does; 0: nobody
	deadline model.Time
}

const (
	changeWaitMax   model.Time = 60e9
	replaceInterval model.Time = 1e9
)

// addVoter begins to add a voter.
func (b *Broker) addVoter(ev *AddVoter, out *effect.Set) {
	v, target := b.voter, VoterOf(ev.Node, ev.Directory)
	r := b.view.Broker(ev.Node)
	switch code, why := b.mayChange(ev.ClusterID); {
	case code != 0:
		b.refuseChange(ev.To, code, why, out)
	case r == nil || !slices.Contains(r.Directories, ev.Directory):
		b.refuseChange(ev.To, kerr.InvalidRequest.Code, fmt.Sprintf("node %d has not registered with that directory: start it first", ev.Node), out)
	case slices.Contains(v.log.Voters().Now, target):
		b.refuseChange(ev.To, kerr.DuplicateVoter.Code, fmt.Sprintf("node %d votes already", ev.Node), out)
	default:
		b.beginChange(&voterChange{
			to: ev.To, asked: true, target: target, replaces: otherVoterOf(v.log.Voters().Now, target), deadline: b.now + min(changeWaitMax, ev.Wait),
		}, out)
	}
}

// removeVoter begins to remove a voter.
func (b *Broker) removeVoter(ev *RemoveVoter, out *effect.Set) {
	code, why := b.mayChange(ev.ClusterID)
	if code != 0 {
		b.refuseChange(ev.To, code, why, out)
		return
	}
	voters := b.voter.log.Voters()
	target := VoterOf(ev.Node, ev.Directory)
	if ev.Directory == (model.DirectoryID{}) {
		target = otherVoterOf(slices.Concat(voters.Now, voters.Learners), VoterOf(ev.Node, ev.Directory))
	}
	switch {
	case !slices.Contains(voters.Now, target) && !slices.Contains(voters.Learners, target):
		b.refuseChange(ev.To, kerr.VoterNotFound.Code, notVoting(ev), out)
	case len(voters.Now) == 1 && voters.Now[0] == target:
		b.refuseChange(ev.To, kerr.InvalidRequest.Code, "the last voter cannot be removed: add another first", out)
	case target == b.voter.id:
		// The leader stays among the voters; who asks is sent to the next.
		b.handOver(out)
		b.refuseChange(ev.To, kerr.NotController.Code, "the node leads the quorum and hands over first: try again", out)
	default:
		b.beginChange(&voterChange{to: ev.To, asked: true, target: target, removes: true, deadline: b.now + changeWaitMax}, out)
	}
}

func notVoting(ev *RemoveVoter) string {
	if ev.Directory == (model.DirectoryID{}) {
		return fmt.Sprintf("node %d does not vote", ev.Node)
	}
	return fmt.Sprintf("node %d does not vote from that directory", ev.Node)
}

// mayChange reports why a change cannot begin.
func (b *Broker) mayChange(cluster string) (code int16, why string) {
	switch v := b.voter; {
	case v == nil || v.term == 0:
		return kerr.NotController.Code, "this node does not lead the quorum"
	case cluster != "" && cluster != b.config.ClusterID:
		return kerr.InconsistentClusterID.Code, "this is another cluster"
	case v.change != nil:
		return kerr.RequestTimedOut.Code, "another change of the voters is under way"
	}
	return 0, ""
}

func (b *Broker) refuseChange(to effect.RequestID, code int16, why string, out *effect.Set) {
	out.Replies = append(out.Replies, effect.Reply{To: to, Body: &effect.VotersChanged{Code: code, Message: why}})
}

// otherVoterOf is a voter of the same node as another one, 0 if there is none.
func otherVoterOf(voters []model.VoterID, id model.VoterID) model.VoterID {
	for _, v := range voters {
		if voterNode(v) == voterNode(id) && v != id {
			return v
		}
	}
	return 0
}

func (b *Broker) beginChange(c *voterChange, out *effect.Set) {
	b.voter.change = c
	b.stepChange(out)
}

// tickChange goes on with a change of the voters, and begins one where a node votes from a disk that it does not have any
// more: as another voter, that is, in the place of the old one.
func (b *Broker) tickChange(out *effect.Set) {
	v := b.voter
	if v == nil || v.log == nil || v.term == 0 {
		return
	}
	if v.change != nil {
		b.stepChange(out)
		return
	}
	if b.now < v.replaceAt {
		return
	}
	v.replaceAt = b.now + replaceInterval
	now := v.log.Voters().Now
	for _, id := range now {
		r := b.view.Broker(voterNode(id))
		if r == nil || !r.Active() || len(r.Directories) == 0 || id == v.id ||
			slices.ContainsFunc(r.Directories, func(d model.DirectoryID) bool { return VoterOf(r.ID, d) == id }) {
			continue
		}
		if target := VoterOf(r.ID, r.Directories[0]); !slices.Contains(now, target) {
			out.Marks.Set(effect.MarkVoterReplaced)
			b.beginChange(&voterChange{target: target, replaces: id, deadline: b.now + changeWaitMax}, out)
			return
		}
	}
}

// stepChange does what comes next of a change of the voters.
func (b *Broker) stepChange(out *effect.Set) {
	v := b.voter
	c := v.change
	voters := v.log.Voters()
	now, learners := voters.Now, voters.Learners
	done := slices.Contains(now, c.target) && !slices.Contains(now, c.replaces)
	if c.removes {
		done = !slices.Contains(now, c.target) && !slices.Contains(learners, c.target)
	}
	switch {
	case len(voters.Before) > 0:
		return
	case done:
		v.change = nil
		out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteVotersChanged, Count: int64(voterNode(c.target))})
		if c.asked {
			b.controller.Settle(c.to, out)
		}
		return
	case b.now >= c.deadline:
		b.endChange(c, kerr.RequestTimedOut.Code, "the voter did not catch up in time, or too few voters answer", out)
		return
	case c.removes:
		now, learners = drop(now, c.target), drop(learners, c.target)
		if silent := b.silentOf(now); !isMost(len(now)-len(silent), now) {
			b.endChange(c, kerr.RequestTimedOut.Code, "too few of the voters that would be left answer: start them or remove them first. Not heard: "+listed(silent), out)
			return
		}
	case !slices.Contains(learners, c.target):
		learners = append(slices.Clone(learners), c.target)
	case !b.learned(c.target):
		return
	default:
		now, learners = append(drop(now, c.replaces), c.target), drop(learners, c.target)
		if silent := b.silentOf(now); !isMost(len(now)-len(silent), now) {
			return
		}
	}
	err := v.log.Change(now, learners, out, &v.out)
	b.voted(out)
	if err != nil && !errors.Is(err, quorum.ErrChanging) && v.change == c {
		b.endChange(c, kerr.NotController.Code, err.Error(), out)
	}
}

// silentOf are those of some voters that have not answered the leader of late. A change after which most are could be committed by the voters of
// before, and nothing behind it: not even the way back.
func (b *Broker) silentOf(voters []model.VoterID) []model.VoterID {
	silent := slices.Clone(voters)
	for _, p := range b.voter.log.Progress() {
		if p.Active {
			silent = drop(silent, p.Voter)
		}
	}
	return silent
}

func isMost(n int, voters []model.VoterID) bool { return n > len(voters)/2 }

// listed names the nodes of voters.
func listed(voters []model.VoterID) string {
	var names []string
	for _, v := range voters {
		names = append(names, fmt.Sprintf("node %d", voterNode(v)))
	}
	return strings.Join(names, ", ")
}

// learned reports whether a learner has caught up.
func (b *Broker) learned(id model.VoterID) bool {
	v := b.voter
	for _, p := range v.log.Progress() {
		if p.Voter == id {
			return p.Active && v.log.OffsetOf(p.Match) >= v.log.Next()
		}
	}
	return false
}

func drop(ids []model.VoterID, id model.VoterID) []model.VoterID {
	return slices.DeleteFunc(slices.Clone(ids), func(v model.VoterID) bool { return v == id })
}

// endChange gives up a change.
func (b *Broker) endChange(c *voterChange, code int16, why string, out *effect.Set) {
	b.voter.change = nil
	if c.asked {
		b.refuseChange(c.to, code, why, out)
	}
}

// join makes a voter-to-be of a node that did not vote: the leader of the quorum sends it messages as a learner. What it may have
// promised as one in an earlier life, before it was sent anything that it could keep, it goes by.
func (b *Broker) join(out *effect.Set) {
	b.voter = b.newVoter()
	b.openLog(out)
	err := b.vote(b.blank, out)
	invariant.Check(err == nil, "an empty log can be voted on")
	b.blank = nil
	out.Marks.Set(effect.MarkVoterJoins)
}

// unledMax is how long a voter bears that nobody leads it, before it follows the metadata log as those do who do not vote:
// it may be none any more, and nobody has told it.
const unledMax model.Time = 2e9

// unled reports whether this node has a voter that nobody leads, or that waits for an image or has been sent nothing yet: without the
// metadata it may not know where the leader is, which it has to answer to be sent any, and on a slow line an image takes long.
func (b *Broker) unled() bool {
	v := b.voter
	return v != nil && v.log != nil && (v.log.Broken() != "" || v.log.Next() == 0 || b.imaging() || !v.log.State().Leads && b.now-v.ledAt > unledMax)
}
