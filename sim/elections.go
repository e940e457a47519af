package sim

import (
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
)

// Elections come to rest. Whoever is cut off so that it hears too few to be elected must not disturb the others with terms
// of its own, nor lead on: that is what pre-vote and a leader that looks whether it is heard are for. And once all
// is well, nobody stands for election any more.

// deafAfter is how long a voter must have heard too few others for it to know: what arrived before has been gone through, and
// an election takes a second.
const deafAfter = 2 * sc

// elected takes in what term a node's voter is in.
func (p *process) elected() {
	w := p.n.w
	if !w.plan.clustered() {
		return
	}
	state, voters, votes := p.broker.Vote()
	if !votes {
		p.term = 0
		return
	}
	before := p.term
	p.term = state.Term
	if !slices.Equal(voters.Now, p.voters) {
		p.voters, p.votersSince = voters.Now, w.now
	}
	if len(w.net.cuts) > 0 && p.deaf(voters.Now) {
		switch {
		case before != 0 && state.Term > before && state.Term > w.term && !w.retires(before):
			w.fail("election-of-the-deaf", fmt.Sprintf("node %d hears too few voters to be elected, and went from term %d to %d", p.n.id, before, state.Term))
		case state.Leads:
			w.fail("leader-of-the-deaf", fmt.Sprintf("node %d leads the quorum in term %d, and has heard too few voters for %d s", p.n.id, state.Term, deafAfter/sc))
		}
	}
	w.term = max(w.term, state.Term)
}

// deaf reports whether cuts have kept all but a minority of voters from being heard by this node for long, and it had the
// time to see to that: whose votes count is not new to it.
func (p *process) deaf(voters []model.VoterID) bool {
	n, w := p.n, p.n.w
	if since := w.now - deafAfter; since < p.since || since < p.votersSince || since < n.pausedUntil || since < n.slowUntil {
		return false
	}
	heard := 0
	for _, v := range voters {
		if !w.net.cutSince(direction{w.nodeOf(v), n.id}, w.now-deafAfter) {
			heard++
		}
	}
	return heard <= len(voters)/2
}

// retires reports whether the leader of a term votes no more. It hands over to a voter, which may hear nobody but that leader,
// and neither of the two can know.
func (w *world) retires(term quorum.Term) bool {
	for _, n := range w.nodes {
		if n.process == nil {
			continue
		}
		state, voters, _ := n.process.broker.Vote()
		votes := slices.ContainsFunc(voters.Now, func(v model.VoterID) bool { return w.nodeOf(v) == n.id })
		if state.Leads && state.Term == term && !votes {
			return true
		}
	}
	return false
}

// nodeOf is which of the nodes a voter is, or was; 0 if none.
func (w *world) nodeOf(v model.VoterID) int {
	for _, n := range w.nodes {
		for disk := range n.disks + 1 {
			if broker.VoterOf(model.NodeID(n.id), n.directoryOf(disk)) == v {
				return n.id
			}
		}
	}
	return 0
}

// cutSince reports whether a direction has been cut from some time on until now.
func (n *network) cutSince(d direction, since model.Time) bool {
	for i := range n.cuts {
		if k := &n.cuts[i]; k.direction == d && k.since <= since && k.until > n.w.now {
			return true
		}
	}
	return false
}

// restAfter is how long what was lost before the faults were healed may still have somebody stand for election: who does has
// heard nothing for as long as an election takes, and may need another.
const restAfter = 3 * sc

// restTime is how long nothing may happen once all is well: several times as long as it takes to be elected, or to be
// taken for dead.
const restTime = 4 * sc

// rest lets a cluster alone in which everything is done, and verifies that nobody is elected.
func (w *world) rest() {
	if !w.plan.clustered() || w.damaged() {
		return
	}
	w.pass(restAfter)
	w.trace.add(w.now, 0, "rest", uint64(w.term), 0, 0, "")
	term, elections := w.term, len(w.leaders.over)
	w.pass(restTime)
	switch {
	case w.violation != nil:
	case w.term != term:
		w.fail("elections", fmt.Sprintf("the quorum went from term %d to %d while nothing was wrong", term, w.term))
	case len(w.leaders.over) != elections:
		o := w.leaders.over[len(w.leaders.over)-1]
		w.fail("elections", fmt.Sprintf("%s was given another leader than node %d of epoch %d while nothing was wrong", o.Key, o.Node, o.Epoch))
	}
}

// pass lets time pass.
func (w *world) pass(by model.Time) {
	until := w.now + by
	w.at(until, func() {})
	for w.now < until && w.step() {
	}
}
