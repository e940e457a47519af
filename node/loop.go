package node

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// turnEventsMax is how many events are stepped before their effects are handed on: more saves hand-overs,
// less answers the first of a burst sooner.
const turnEventsMax = 256

// input is what goes into the loop.
type input struct {
	event broker.Event
	// unanswered counts bytes of the budget that no response will give back: of batches sent with acks=0,
	// and of requests whose connection is gone. Storage gives them back when what they hold is written.
	unanswered int64
}

// loop is the goroutine that the broker lives in. What goes in waits in one of two lines:
//
//	inputs  what clients do all day (produce, fetch, heartbeats) and what storage completed
//	others  everything else: it may cost much, as a list of all groups does
//
// The first goes first. The second gets a share of the time that does not depend on how much of it waits, so
// that clients that ask and ask keep each other waiting and nobody else. Order within a connection is kept:
// it has one of the second kind in flight and then nothing else, see pipelined.
type loop struct {
	node    *Node
	broker  *broker.Broker
	inputs  *queue[input]
	others  *queue[input]
	waiting []input // taken from others, from next on not stepped yet
	next    int
	inspect chan func(*broker.Broker)
	serves  bool // the node is counted on
	stop    chan struct{}
	done    chan struct{}

	set        *effect.Set
	unanswered int64 // of the inputs that set comes from

	held turnstile // produce requests
	// unsynced counts bytes that storage was given and that are not durable yet, admitted those of events that
	// were stepped since.
	unsynced atomic.Int64
	admitted int64
}

func newLoop(n *Node, b *broker.Broker) *loop {
	return &loop{
		node: n, broker: b, inputs: newQueue[input](), others: newQueue[input](), inspect: make(chan func(*broker.Broker)),
		stop: make(chan struct{}), done: make(chan struct{}), set: new(effect.Set),
	}
}

func (l *loop) run() {
	defer close(l.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var batch []input
	for {
		batch = l.inputs.take(batch)
		l.admit()
		l.node.work.Add(-int64(l.steps(batch)))
		l.tick()
		if l.stepOthers() {
			runtime.Gosched() // who produces is to have a turn between two of these
			continue
		}
		if len(batch) > 0 {
			continue // more may have come meanwhile
		}
		l.arm(timer)
		select {
		case <-l.inputs.signal:
		case <-l.others.signal:
		case <-timer.C:
		case look := <-l.inspect:
			look(l.broker)
		case <-l.stop:
			return
		}
	}
}

// othersTime is how long events of the second line may take until the first line is looked at again. One
// event is stepped in any case.
const othersTime = 500 * time.Microsecond

// stepOthers steps events of the second line, and reports whether there were any.
func (l *loop) stepOthers() bool {
	if l.next == len(l.waiting) {
		l.waiting, l.next = l.others.take(l.waiting), 0
	}
	if l.next == len(l.waiting) {
		return false
	}
	begin, first := time.Now(), l.next
	for l.next < len(l.waiting) && (l.next == first || time.Since(begin) < othersTime) {
		l.steps(l.waiting[l.next : l.next+1])
		l.waiting[l.next] = input{}
		l.next++
	}
	l.node.work.Add(-int64(l.next - first))
	return true
}

// steps feeds events to the broker, and hands on what it wants done. It says how many; the others are held.
func (l *loop) steps(batch []input) (count int) {
	if len(batch) == 0 {
		return 0
	}
	m := l.node.metrics
	m.Events.Add(int64(len(batch)))
	m.LoopTurnEvents.Observe(int64(len(batch)))
	for len(batch) > 0 {
		turn := batch[:min(len(batch), turnEventsMax)]
		batch = batch[len(turn):]
		now := l.node.clock.now()
		for _, in := range turn {
			if _, ok := in.event.(*broker.Produce); ok && (l.held.count() > 0 || l.isFull()) {
				l.held.push(in)
				m.ProduceTurns.Add(1)
				continue
			}
			count++
			l.step(now, in)
		}
		l.dispatch()
	}
	return count
}

// step feeds one event to the broker.
func (l *loop) step(now model.Time, in input) {
	if p, ok := in.event.(*broker.Produce); ok {
		m, bytes := l.node.metrics, batchBytes(p)
		m.BytesIn.Add(bytes)
		m.BatchesIn.Add(int64(len(p.Parts)))
		l.admitted += bytes
	}
	l.unanswered += in.unanswered
	l.broker.Step(now, in.event, l.set)
}

// isFull reports that enough is on its way to the disk.
func (l *loop) isFull() bool { return l.unsynced.Load()+l.admitted >= unsyncedBytesMax }

// admit steps produce requests that were held, as far as there is room now.
func (l *loop) admit() {
	if l.held.count() == 0 {
		return
	}
	now, count := l.node.clock.now(), 0
	for l.held.count() > 0 && !l.isFull() {
		for l.held.count() > 0 && !l.isFull() {
			l.step(now, l.held.pop())
			count++
		}
		l.dispatch() // of what was refused, nothing goes to the disk
	}
	l.node.work.Add(-int64(count))
}

// settle says that so many bytes are durable, or refused. It may be called from any goroutine.
func (l *loop) settle(bytes int64) {
	if bytes == 0 {
		return
	}
	if before := l.unsynced.Add(-bytes) + bytes; before >= unsyncedBytesMax {
		l.inputs.wake()
	}
}

func batchBytes(p *broker.Produce) int64 {
	size := int64(0)
	for i := range p.Parts {
		size += int64(len(p.Parts[i].Batch))
	}
	return size
}

// tick lets the broker do what is due.
func (l *loop) tick() {
	now := l.node.clock.now()
	if d := l.broker.Deadline(); d != 0 && d <= now {
		l.broker.Tick(now, wallNow(), l.set)
		l.dispatch()
	}
}

// arm sets the timer to the broker's next deadline.
func (l *loop) arm(timer *time.Timer) {
	wait := time.Hour
	if d := l.broker.Deadline(); d != 0 {
		wait = max(0, time.Duration(d-l.node.clock.now()))
	}
	timer.Reset(wait)
}

// publish shows sessions what they go by from now on. It comes before the answers of the steps that made it: who is
// told of something finds it.
func (l *loop) publish() {
	if p := l.broker.Published(); p != l.node.published.Load() {
		l.node.published.Store(p)
	}
}

// dispatch hands on a set: answers to their connections, the rest to storage.
func (l *loop) dispatch() {
	set := l.set
	l.admitted = 0 // what was appended of it is counted below
	l.node.observe(set.Notes, set.Marks)
	l.publish()
	if !l.serves && l.broker.Active() {
		l.serves = true
		l.node.becomeReady()
	}
	var to *connection
	find := func(id effect.ConnID) *connection {
		if to == nil || to.id != id {
			to = l.node.connections.find(id)
		}
		return to
	}
	for i := range set.Produced {
		p := &set.Produced[i]
		if p.Code != 0 {
			l.node.metrics.CountProduceError(p.Code)
		}
		if c := find(p.To.Conn); c != nil {
			c.post(answer{kind: answerProduced, produced: *p})
		}
	}
	for i := range set.Replies {
		r := &set.Replies[i]
		if c := find(r.To.Conn); c != nil {
			c.post(answer{kind: answerReply, reply: *r})
		}
	}
	for i := range set.Closes {
		if c := find(set.Closes[i].Conn); c != nil {
			c.post(answer{kind: answerClose, cause: set.Closes[i].Cause})
		}
	}
	for i := range set.Calls {
		l.node.links.call(&set.Calls[i])
	}
	if len(set.Appends)+len(set.Reads)+len(set.Lookups)+len(set.Scans)+len(set.Opens)+len(set.Deletes)+len(set.Retains)+len(set.Truncates)+len(set.StartAts) == 0 && l.unanswered == 0 {
		set.Reset()
		return
	}
	appended := int64(0)
	for i := range set.Appends {
		appended += int64(len(set.Appends[i].Batch))
	}
	l.unsynced.Add(appended)
	l.node.work.Add(1)
	l.node.storage.perform(turn{set: set, unanswered: l.unanswered, appended: appended})
	l.set, l.unanswered = l.node.storage.spare(), 0
}

// look runs f in the loop and waits for it; false says that the loop did not get to it in time.
func (l *loop) look(f func(*broker.Broker), patience time.Duration) bool {
	t := time.NewTimer(patience)
	defer t.Stop()
	ran := make(chan struct{})
	select {
	case l.inspect <- func(b *broker.Broker) { f(b); close(ran) }:
		<-ran
		return true
	case <-l.done:
	case <-t.C:
	}
	return false
}

// push queues an event. It counts as work under way until its effects have been handed on.
func (l *loop) push(in input) {
	l.node.work.Add(1)
	if isOther(in.event) {
		l.others.push(in)
	} else {
		l.inputs.push(in)
	}
}

// fetchPartsMax is how many partitions a fetch may name to be like any other.
const fetchPartsMax = 512

// isOther reports whether an event waits in the second line. The end of a connection does, so that it comes
// after everything that the connection asked for.
func isOther(ev broker.Event) bool {
	if f, ok := ev.(*broker.Fetch); ok {
		return len(f.Parts) > fetchPartsMax
	}
	switch ev.(type) { //sealed:allow every other event waits
	case *broker.Produce, *broker.Completed, *broker.Heartbeat, *broker.CommitOffsets:
		return false
	case *broker.AlterPartition, *broker.RegisterBroker, *broker.BrokerHeartbeat, *broker.AllocateProducerIDs, *broker.QuorumMessages, *broker.ReportDamaged,
		*broker.FetchImage, *broker.Answered:
		return false // what nodes do among themselves: who is late with it is taken for dead
	}
	return true
}
