package workload

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/sim/draw"
)

// registrar is an operator who adds nodes to those that vote and removes others while all serve (KIP-853). It looks first, as
// an operator does: nobody is removed if most of those who stay are not known to keep up, and more than half of the nodes vote
// always. What follows from it the others' histories show.
//
//	        who votes, and who keeps up?            add one, or remove one
//	idle ──────────────────────────────────► asked ────────────────────────► idle
type registrar struct {
	g       *group
	id      int64
	rand    *draw.Stream
	line    Line
	admin   *client.Admin
	at      model.Time
	asked   bool
	changes bool           // what was asked is a change
	quorum  *client.Quorum // as it was told; nil: to be asked for
	settled bool
}

func newRegistrar(g *group) *registrar {
	o := &registrar{g: g, id: g.process()}
	o.rand = g.Root.Stream("registrar", uint64(o.id))
	cfg := client.NewAdminConfig(g.spec.Addrs...)
	g.timeouts(&cfg.Config, o.rand)
	cfg.Timeout = 20 * second
	o.admin = client.NewAdmin(cfg)
	o.line.Machine = o.admin
	o.at = model.Time(o.rand.Between(int64(100*millisecond), int64(second)))
	return o
}

func (o *registrar) Name() string       { return fmt.Sprintf("registrar%d", o.id) }
func (o *registrar) Lines() []*Line     { return []*Line{&o.line} }
func (o *registrar) WakeAt() model.Time { return o.at }
func (o *registrar) Settle(model.Time)  { o.settled = true }

func (o *registrar) Wake(now model.Time) {
	o.at = now + 1 + model.Time(o.rand.Exp(int64(400*millisecond)))
	switch {
	case o.settled:
		o.at = 0
	case o.asked:
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

func (o *registrar) Waiting() string {
	if o.asked {
		return "a change of the voters is not answered"
	}
	return ""
}
