package workload

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// registrar is an operator who adds nodes to those that vote and removes others while all serve (KIP-853). It looks first, as
// an operator does: nobody is removed if most of those who stay are not known to keep up, and more than half of the nodes vote
// always. What follows from it the others' histories show.
//
//	        who votes, and who keeps up?            add one, or remove one
//	idle ──────────────────────────────────► asked ────────────────────────► idle
type registrar struct {
	operator
	changes bool           // what was asked is a change
	quorum  *client.Quorum // as it was told; nil: to be asked for
}

func newRegistrar(g *group) *registrar {
	return &registrar{operator: newOperator(g, "registrar", 20*second)}
}

func (o *registrar) Wake(now model.Time) {
	switch {
	case !o.free(now, 400*millisecond):
	case o.quorum != nil:
		o.change(now, o.quorum)
		o.quorum = nil
	default:
		o.asked, o.changes = true, false
		o.admin.DescribeQuorum(now, &o.line.Out)
	}
}

// votersMin is how many of the nodes vote at least.
func (o *registrar) votersMin() int { return len(o.g.spec.Addrs)/2 + 1 }

func (o *registrar) After(now model.Time, line *Line) {
	for i := range line.Out.Answers {
		a := &line.Out.Answers[i]
		o.asked = false
		if !o.changes {
			if a.OK() && len(a.Quorum.Voters) > 0 {
				q := a.Quorum
				o.quorum, o.at = &q, now
			}
			continue
		}
		switch a.Code {
		case 0:
			if a.OK() {
				o.g.Voted()
			}
		case kerr.DuplicateVoter.Code, kerr.VoterNotFound.Code, kerr.NotController.Code, kerr.RequestTimedOut.Code, kerr.InvalidRequest.Code:
		default:
			o.g.Fail("client", fmt.Sprintf("a change of the voters was answered with code %d: %s", a.Code, a.Message))
		}
	}
}

// change asks for one more voter, or one less.
func (o *registrar) change(now model.Time, q *client.Quorum) {
	const behindMsMax = 1000
	newest := model.NoTimestamp
	for i := range q.Voters {
		newest = max(newest, q.Voters[i].CaughtUpAt)
	}
	v := q.Voters[o.rand.Intn(len(q.Voters))]
	up := 0 // of those that would stay
	for i := range q.Voters {
		if q.Voters[i].Node != v.Node && newest-q.Voters[i].CaughtUpAt < behindMsMax {
			up++
		}
	}
	switch {
	case len(q.Voters) > o.votersMin() && o.rand.Percent(60) && up > (len(q.Voters)-1)/2:
		o.asked, o.changes = true, true
		o.admin.RemoveVoter(now, v.Node, v.Directory, &o.line.Out)
	case len(q.Observers) > 0:
		n := q.Observers[o.rand.Intn(len(q.Observers))]
		if n.Directory == (model.DirectoryID{}) {
			return // it has not registered
		}
		o.asked, o.changes = true, true
		o.admin.AddVoter(now, n.Node, n.Directory, &o.line.Out)
	}
}
