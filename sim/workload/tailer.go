package workload

import (
	"fmt"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/sim/check"
	"github.com/weirmq/weir/sim/draw"
)

// tailer asks where partitions end, which is a linearizable read, and in the end, when nobody writes any
// more, where times are.
type tailer struct {
	g       *group
	process int64
	rand    *draw.Stream
	line    Line
	admin   *client.Admin
	at      model.Time
	place   int // of the operation under way, -1 if there is none
	busy    bool
	settled bool
	round   int // of questions for times
	done    bool
}

func newTailer(g *group) *tailer {
	t := &tailer{g: g, process: g.process(), place: -1}
	t.rand = g.Root.Stream("tailer", uint64(t.process))
	cfg := client.NewAdminConfig(g.spec.Addrs...)
	g.timeouts(&cfg.Config, t.rand)
	cfg.Timeout = 20 * second
	t.admin = client.NewAdmin(cfg)
	t.line.Machine = t.admin
	t.at = 30 * millisecond
	return t
}

func (t *tailer) Name() string   { return fmt.Sprintf("tailer%d", t.process) }
func (t *tailer) Lines() []*Line { return []*Line{&t.line} }

func (t *tailer) Wake(now model.Time) {
	t.at = now + 1 + model.Time(t.rand.Exp(int64(2*t.g.spec.Gap)))
	if t.busy || t.g.created == 0 {
		return
	}
	topic := t.g.topics[t.rand.Intn(t.g.created)]
	partition := t.rand.Intn(t.g.spec.Partitions)
	if t.settled {
		t.askTimes(now)
		return
	}
	t.busy = true
	t.place = t.g.begin(check.Op{
		Process: t.process, F: check.Tail, Call: int64(now), Topic: topic, Partition: int32(partition),
	})
	t.admin.ListOffsets(now, []client.OffsetQuery{{Topic: topic, Partition: model.Partition(partition), Timestamp: latest}}, &t.line.Out)
}

// latest is ListOffsets' way of asking for the end.
const latest model.Timestamp = -1

func (t *tailer) askTimes(now model.Time) {
	for _, p := range t.g.producers {
		if p.Waiting() != "" {
			t.at = now + 20*millisecond
			return
		}
	}
	if t.round == lookupRounds || !t.g.keep {
		t.done, t.at = true, 0
		return
	}
	t.busy = true
	var queries []client.OffsetQuery
	for _, topic := range t.g.topics {
		for p := range t.g.spec.Partitions {
			q := client.OffsetQuery{Topic: topic, Partition: model.Partition(p), Timestamp: latest}
			switch t.round {
			case 0, lookupRounds - 1:
			case 1:
				q.Timestamp = effect.MaxTimestamp
			default:
				q.Timestamp = t.g.Wall(now) - model.Timestamp(t.rand.Between(-10, max(1, int64(now/millisecond))))
			}
			queries = append(queries, q)
		}
	}
	t.admin.ListOffsets(now, queries, &t.line.Out)
}

// lookupRounds is how many questions there are about times: where partitions end, where the latest record
// is, where some times are, and where partitions end now.
const lookupRounds = 7

func (t *tailer) After(now model.Time, line *Line) {
	for i := range line.Out.Answers {
		a := &line.Out.Answers[i]
		t.busy = false
		if t.place >= 0 {
			how := a.Outcome
			if how.OK() {
				how = a.Offsets[0].Outcome
			}
			op := t.g.end(t.place, now, how)
			op.Tail, op.Epoch = int64(a.Offsets[0].Offset), int32(a.Offsets[0].LeaderEpoch)
			t.place = -1
			continue
		}
		t.at = now + millisecond
		answers := make([]Lookup, 0, len(a.Offsets))
		for _, o := range a.Offsets {
			k := check.Key{Topic: o.Topic, Partition: int32(o.Partition)}
			if !o.OK() && !t.g.Excused(k.Topic, k.Partition) {
				t.at = now + 50*millisecond // once more
				return
			}
			if o.OK() {
				answers = append(answers, Lookup{Key: k, Timestamp: o.Timestamp, Offset: o.Offset, Found: o.Time})
			}
		}
		t.round++
		t.g.lookups = append(t.g.lookups, answers...)
	}
}

func (t *tailer) WakeAt() model.Time { return t.at }

func (t *tailer) Settle(now model.Time) { t.settled, t.at = true, now }

func (t *tailer) Waiting() string {
	switch {
	case t.busy:
		return "a question for offsets is not answered"
	case !t.done:
		return "times are not looked up"
	}
	return ""
}
