package broker

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// produceTimeouts finds produce requests whose clients wait no longer. Requests wait for milliseconds as a rule, so their
// partitions are looked at now and then, and a request with a timer of its own would be waste.
type produceTimeouts struct {
	watched []*partition // where requests wait, or did when last looked at
	next    model.Time   // when to look again; 0 if nothing is watched
}

// timeoutsInterval is how late a request may time out.
const timeoutsInterval model.Time = 250e6

// watch remembers a partition that a request may wait at.
func (t *produceTimeouts) watch(p *partition, now model.Time) {
	if p.timed || p.replica.ParkedCount() == 0 {
		return
	}
	p.timed = true
	t.watched = append(t.watched, p)
	if t.next == 0 {
		t.next = now + timeoutsInterval
	}
}

func (t *produceTimeouts) tick(now model.Time, out *effect.Set) {
	if t.next == 0 || now < t.next {
		return
	}
	keep := t.watched[:0]
	for _, p := range t.watched {
		if p.timed = p.replica.TimeOut(now, out); p.timed {
			keep = append(keep, p)
		}
	}
	clear(t.watched[len(keep):])
	t.watched, t.next = keep, 0
	if len(keep) > 0 {
		t.next = now + timeoutsInterval
	}
}
