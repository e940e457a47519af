package producer

import (
	"sync"
	"time"

	"github.com/weirmq/weir/clients/client"
	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// turn gives the machine the records that were staged. While batches linger anyway it waits a little for
// more of them, so that a turn is not spent on each.
func (p *Producer) turn(now model.Time, out *machine.Out) model.Time {
	p.mu.Lock()
	if len(p.staged) > 0 && !p.flushing && p.stagedBytes < gatherBytes && p.linger > 0 && !p.closed {
		if p.waitUntil == 0 {
			p.waitUntil = now + min(p.linger/4, model.Time(500*time.Microsecond))
		}
		if now < p.waitUntil {
			p.mu.Unlock()
			return p.waitUntil
		}
	}
	p.waitUntil = 0
	// The arena of the turn before is free now: the machine has copied what it needed.
	p.taken, p.staged = p.staged, p.taken[:0]
	p.takenArena, p.arena = p.arena, p.takenArena[:0]
	p.stagedBytes = 0
	flush := p.flushing
	p.flushing = false
	p.mu.Unlock()

	wall := model.Timestamp(0)
	if len(p.taken) > 0 {
		wall = model.Timestamp(time.Now().UnixMilli())
	}
	for i := range p.taken {
		s := &p.taken[i]
		if s.record.Timestamp == model.NoTimestamp {
			s.record.Timestamp = wall
		}
		handle := uint64(s.round)<<32 | uint64(p.register(s.done))
		err := p.m.Produce(now, s.topic, model.Partition(s.partition), &s.record, handle, out)
		if err != nil {
			p.finish(handle, Result{Topic: s.topic, Partition: s.partition, Offset: -1}, err)
			p.out.bytes += s.cost
		}
	}
	clear(p.taken)
	if flush {
		p.m.Flush(now, out)
	}
	return 0
}

// register remembers whom to tell, and where: 0 is nobody.
func (p *Producer) register(done func(Result, error)) uint32 {
	if done == nil {
		return 0
	}
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		p.calls[i].done = done
		return i
	}
	p.calls = append(p.calls, call{done: done})
	return uint32(len(p.calls) - 1)
}

// finish notes a record's outcome for delivery.
func (p *Producer) finish(handle uint64, res Result, err error) {
	p.out.count(uint32(handle>>32), 1)
	if i := uint32(handle); i != 0 {
		p.out.calls = append(p.out.calls, outcome{p.calls[i].done, res, err})
		p.calls[i].done = nil
		p.free = append(p.free, i)
	}
}

// report turns acks into outcomes and hands them over.
func (p *Producer) report(out *machine.Out) {
	for i := range out.Acks {
		a := &out.Acks[i]
		err := client.NewError("produce", a.Topic, int32(a.Partition), a.Outcome)
		res := Result{Topic: a.Topic, Partition: int32(a.Partition), Offset: -1}
		if a.AppendTime >= 0 {
			res.AppendTime = time.UnixMilli(int64(a.AppendTime))
		}
		for n, h := range a.Handles {
			if a.BaseOffset >= 0 {
				res.Offset = int64(a.BaseOffset) + int64(n)
			}
			p.finish(h, res, err)
		}
		p.out.bytes += a.Bytes
	}
	if len(p.out.rounds) > 0 {
		p.out = p.deliveries.add(p.out)
	}
}

// delivery is a run of outcomes.
type delivery struct {
	calls  []outcome
	rounds []roundCount
	bytes  int
}

type outcome struct {
	done func(Result, error)
	res  Result
	err  error
}

type roundCount struct {
	number uint32
	count  int
}

func (d *delivery) count(number uint32, n int) {
	if last := len(d.rounds) - 1; last >= 0 && d.rounds[last].number == number {
		d.rounds[last].count += n
		return
	}
	d.rounds = append(d.rounds, roundCount{number, n})
}

// deliveries calls the users' functions on a goroutine of their own, so that they cannot hold up the loop.
type deliveries struct {
	p     *Producer
	mu    sync.Mutex
	queue []delivery
	spare []delivery
	wake  chan struct{}
	quit  chan struct{}
	done  chan struct{}
}

func (d *deliveries) start(p *Producer) {
	d.p = p
	d.wake, d.quit, d.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go d.run()
}

// add queues outcomes; it returns an empty delivery to fill next.
func (d *deliveries) add(x delivery) delivery {
	d.mu.Lock()
	d.queue = append(d.queue, x)
	next := delivery{}
	if n := len(d.spare); n > 0 {
		next = d.spare[n-1]
		d.spare = d.spare[:n-1]
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
	return next
}

func (d *deliveries) run() {
	defer close(d.done)
	var work []delivery
	for {
		d.mu.Lock()
		work, d.queue = d.queue, work[:0]
		d.mu.Unlock()
		for i := range work {
			x := &work[i]
			for j := range x.calls {
				x.calls[j].done(x.calls[j].res, x.calls[j].err)
			}
			d.p.release(x)
			clear(x.calls)
			d.mu.Lock()
			if len(d.spare) < 4 {
				d.spare = append(d.spare, delivery{calls: x.calls[:0], rounds: x.rounds[:0]})
			}
			d.mu.Unlock()
			work[i] = delivery{}
		}
		if len(work) > 0 {
			continue
		}
		select {
		case <-d.wake:
		case <-d.quit:
			d.mu.Lock()
			left := len(d.queue)
			d.mu.Unlock()
			if left == 0 {
				return
			}
		}
	}
}

// stop ends the goroutine when everything was delivered.
func (d *deliveries) stop() {
	close(d.quit)
	<-d.done
}

// release gives back the buffer's room and counts off rounds.
func (p *Producer) release(x *delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bufferedBytes -= x.bytes
	for _, r := range x.rounds {
		for i := range p.rounds {
			if p.rounds[i].number == r.number {
				p.rounds[i].count -= r.count
				break
			}
		}
	}
	p.settleRounds()
	// Wake those who wait when there is room for a good number of records, not for each.
	if p.room != nil && p.bufferedBytes <= p.bufferMax-p.bufferMax/4 {
		close(p.room)
		p.room = nil
	}
}
