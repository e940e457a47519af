package workload

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/sim/check"
	"github.com/weirmq/weir/sim/draw"
)

// admin creates, deletes and describes a few names that others create, delete and describe as well. Each
// request is tried once: a second try of a creation might come after somebody else's deletion, and no
// register could explain that.
type admin struct {
	g       *group
	process int64
	rand    *draw.Stream
	line    Line
	machine *client.Admin
	at      model.Time
	place   int // of the operation under way, -1 if there is none
	settled bool
	done    bool
}

// oneTry makes an admin machine give up rather than try again.
func oneTry(g *group, r *draw.Stream) *client.Admin {
	cfg := client.NewAdminConfig(g.spec.Addrs...)
	g.timeouts(&cfg.Config, r)
	cfg.Timeout = 2 * second
	if g.spec.Calm {
		cfg.Timeout = 30 * second
	}
	cfg.RetryBackoff, cfg.RetryBackoffMax = 2*cfg.Timeout, 2*cfg.Timeout
	return client.NewAdmin(cfg)
}

func newAdmin(g *group) *admin {
	a := &admin{g: g, process: g.process(), place: -1}
	a.rand = g.Root.Stream("admin", uint64(a.process))
	a.machine = oneTry(g, a.rand)
	a.line.Machine = a.machine
	a.at = model.Time(a.rand.Between(1, int64(20*millisecond)))
	return a
}

func (a *admin) Name() string   { return fmt.Sprintf("admin%d", a.process) }
func (a *admin) Lines() []*Line { return []*Line{&a.line} }

func (a *admin) Wake(now model.Time) {
	a.at = now + 1 + model.Time(a.rand.Exp(int64(a.g.spec.Gap)))
	if a.place >= 0 {
		return
	}
	if a.settled && a.done {
		a.at = 0
		return
	}
	name := a.g.topics[a.rand.Intn(len(a.g.topics))]
	op := check.Op{Process: a.process, Call: int64(now), Topic: name}
	out := &a.line.Out
	switch a.rand.Intn(4) {
	case 0:
		op.F = check.Create
		a.place = a.g.begin(op)
		a.machine.CreateTopics(now, []client.NewTopic{{Name: name, PartitionCount: int32(1 + a.rand.Intn(3)), ReplicationFactor: a.g.replicas()}}, false, out)
	case 1:
		op.F = check.Delete
		a.place = a.g.begin(op)
		a.machine.DeleteTopics(now, []string{name}, out)
	default:
		op.F = check.Describe
		a.place = a.g.begin(op)
		a.machine.DescribeTopics(now, []string{name}, out)
	}
}

func (a *admin) After(now model.Time, line *Line) {
	for i := range line.Out.Answers {
		a.answered(now, &line.Out.Answers[i])
	}
}

func (a *admin) answered(now model.Time, answer *client.Answer) {
	place := a.place
	a.place = -1
	op := &a.g.History.Ops[place]
	if answer.OK() {
		op.Outcome, op.Return = check.OK, int64(now)
		a.done = a.done || a.settled
	}
	switch op.F {
	case check.Create, check.Delete:
		if len(answer.Topics) != 1 || answer.Topics[0].Name != op.Topic {
			a.g.Fail("client", fmt.Sprintf("%s was answered with %+v", op, answer.Topics))
			return
		}
		judgeTopic(op, &answer.Topics[0], now)
		a.done = a.done || a.settled && op.Outcome == check.OK
	case check.Describe:
		if !answer.OK() {
			break
		}
		op.Found = len(answer.Described) == 1 && answer.Described[0].Code == 0
		if op.Found {
			op.TopicID, op.Partitions = answer.Described[0].ID.String(), int32(len(answer.Described[0].Partitions))
		} else if len(answer.Described) != 1 || answer.Described[0].Code != kerr.UnknownTopicOrPartition.Code {
			op.Outcome = check.Info
		}
	}
	if op.Outcome != check.OK {
		if a.g.spec.Calm {
			a.g.Fail("calm", fmt.Sprintf("without any fault: %s: %v code %d", op, answer.Reason, answer.Code))
		}
		a.line.Life++
		a.machine = oneTry(a.g, a.rand)
		a.line.Machine = a.machine
	}
}

// judgeTopic records what became of a creation or deletion. That a name exists, or does not, is an answer
// like any other when it certainly is not of our own making.
func judgeTopic(op *check.Op, t *client.TopicResult, now model.Time) {
	op.Outcome, op.Return, op.Code = check.Info, check.Never, t.Code
	exists := op.F == check.Create && t.Code == kerr.TopicAlreadyExists.Code
	absent := op.F == check.Delete && t.Code == kerr.UnknownTopicOrPartition.Code
	switch {
	case t.OK():
		op.Outcome, op.Found = check.OK, op.F == check.Delete
		if !t.ID.IsZero() {
			op.TopicID = t.ID.String()
		}
	case !t.Definite:
		return
	case exists || absent:
		op.Outcome, op.Found = check.OK, exists
	default:
		op.Outcome = check.Fail
	}
	op.Return = int64(now)
}

func (a *admin) WakeAt() model.Time { return a.at }

func (a *admin) Settle(now model.Time) { a.settled, a.at = true, now }

func (a *admin) Waiting() string {
	switch {
	case a.place >= 0:
		return "not answered: " + a.g.History.Ops[a.place].String()
	case !a.done:
		return "no request was answered after the faults"
	}
	return ""
}
