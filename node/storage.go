package node

import (
	"fmt"
	"sync"
	"time"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/storage"
)

// turn is what one turn of the loop wants of storage.
type turn struct {
	set        *effect.Set
	unanswered int64 // see loop
	appended   int64 // bytes
}

// storageIO is the goroutine that the storage engine lives in. Every turn it performs all that waits, and
// while the disk makes one group durable the next one gathers: there is no timer.
//
//	perform ─► stage ─► BeginSync ─► [syncer: fdatasync] ─► EndSync ─► completions to the loop
//	   ▲                                    │
//	   └──────── goes on staging and reading ┘
type storageIO struct {
	node    *Node
	engine  *storage.Engine
	turns   *queue[turn]
	inspect chan func(*storage.Engine)
	stop    chan struct{}
	done    chan struct{}

	journal, checkpoint syncer
	flush               *time.Timer // nil until a topic with flush.ms is written to

	completions *effect.Completions
	unwritten   []effect.Read // they ask for what is staged only: the next sync writes it
	appends     int64         // staged since the last sync began
	staged      int64         // unanswered bytes staged since the last sync began
	syncing     int64         // unanswered bytes that the running sync covers
	// stagedBytes and syncingBytes are the same of all bytes, answered or not.
	stagedBytes, syncingBytes int64
	working                   bool // a sync runs or has just ended: one piece of work, see Node.work
	failed                    bool

	spares sync.Pool // of *effect.Set
}

func newStorageIO(n *Node, e *storage.Engine) *storageIO {
	return &storageIO{
		node: n, engine: e, turns: newQueue[turn](), inspect: make(chan func(*storage.Engine)),
		stop: make(chan struct{}), done: make(chan struct{}),
		journal: newSyncer(), checkpoint: newSyncer(), completions: new(effect.Completions),
	}
}

func (s *storageIO) spare() *effect.Set {
	if set, ok := s.spares.Get().(*effect.Set); ok {
		return set
	}
	return new(effect.Set)
}

// perform queues a turn. The caller has counted it as one piece of work.
func (s *storageIO) perform(t turn) { s.turns.push(t) }

func (s *storageIO) run() {
	defer close(s.done)
	go s.journal.run()
	go s.checkpoint.run()
	defer close(s.journal.todo)
	defer close(s.checkpoint.todo)
	var batch []turn
	for {
		batch = s.turns.take(batch)
		for _, t := range batch {
			s.engine.Perform(t.set, s.completions)
			s.appends += int64(len(t.set.Appends))
			s.staged += t.unanswered
			s.stagedBytes += t.appended
		}
		s.engine.Tick(s.node.clock.now())
		s.beginSync()
		s.resolveUnwritten()
		for _, t := range batch {
			s.resolve(t.set)
		}
		s.beginCheckpoint()
		s.deliver()
		s.node.work.Add(-int64(len(batch)))
		if len(batch) > 0 {
			s.reap()
			continue
		}
		select {
		case <-s.flushDue():
		case <-s.turns.signal:
		case r := <-s.journal.ended:
			s.endSync(r)
		case r := <-s.checkpoint.ended:
			s.endCheckpoint(r)
		case look := <-s.inspect:
			look(s.engine)
		case <-s.stop:
			s.wind()
			return
		}
	}
}

// flushDue fires when the engine wants to be told the time: a topic with flush.ms has something to sync.
func (s *storageIO) flushDue() <-chan time.Time {
	d := s.engine.Deadline()
	if d == 0 {
		return nil
	}
	wait := max(0, time.Duration(d-s.node.clock.now()))
	if s.flush == nil {
		s.flush = time.NewTimer(wait)
	} else {
		s.flush.Reset(wait)
	}
	return s.flush.C
}

// reap takes in syncs that have ended, without waiting: however much keeps coming, those who wait for the
// disk hear of it, and the next sync begins.
func (s *storageIO) reap() {
	select {
	case r := <-s.journal.ended:
		s.endSync(r)
	default:
	}
	select {
	case r := <-s.checkpoint.ended:
		s.endCheckpoint(r)
	default:
	}
}

// wind waits for the syncs that are under way, so that the engine can be closed.
func (s *storageIO) wind() {
	if s.journal.busy {
		s.endSync(<-s.journal.ended)
	}
	if s.checkpoint.busy {
		s.endCheckpoint(<-s.checkpoint.ended)
	}
}

func (s *storageIO) beginSync() {
	if s.journal.busy || s.failed {
		return
	}
	work, ok := s.engine.BeginSync()
	if !ok {
		s.node.requests.release(s.staged) // what wanted no answer was refused, and is gone
		s.node.loop.settle(s.stagedBytes)
		s.staged, s.appends, s.stagedBytes = 0, 0, 0
		if s.working {
			s.working = false
			s.node.work.Add(-1)
		}
		return
	}
	if !s.working {
		s.working = true
		s.node.work.Add(1)
	}
	s.node.metrics.SyncAppends.Observe(s.appends)
	s.syncing, s.staged, s.appends = s.staged, 0, 0
	s.syncingBytes, s.stagedBytes = s.stagedBytes, 0
	s.journal.begin(work)
}

func (s *storageIO) endSync(r synced) {
	s.journal.busy = false
	s.node.metrics.SyncSeconds.ObserveTime(r.took)
	if err := s.engine.EndSync(r.work, r.err, s.completions); err != nil {
		s.fail(fmt.Errorf("the journal cannot be made durable: %w", err))
		return
	}
	s.node.requests.release(s.syncing)
	s.syncing = 0
	s.node.loop.settle(s.syncingBytes)
	s.syncingBytes = 0
	s.deliver()
}

func (s *storageIO) beginCheckpoint() {
	if s.checkpoint.busy || s.failed || !s.engine.CheckpointDue() {
		return
	}
	if work, ok := s.engine.BeginCheckpoint(); ok {
		s.checkpoint.begin(work)
	}
}

func (s *storageIO) endCheckpoint(r synced) {
	s.checkpoint.busy = false
	s.node.metrics.CheckpointTimes.ObserveTime(r.took)
	if err := s.engine.EndCheckpoint(r.work, r.err, s.completions); err != nil {
		s.fail(fmt.Errorf("a checkpoint cannot be made durable: %w", err))
		return
	}
	s.deliver()
}

// fail stops the node. Nothing is acknowledged any more: the completions of what failed are not delivered.
func (s *storageIO) fail(err error) {
	s.failed = true
	s.node.fail(err)
}

// deliver gives the loop what was completed. The broker may keep it, so each delivery is fresh.
func (s *storageIO) deliver() {
	s.node.observe(s.completions.Notes, effect.Marks{})
	if s.failed || s.completions.Empty() {
		s.completions.Notes = s.completions.Notes[:0]
		return
	}
	ev := &broker.Completed{Completions: *s.completions}
	ev.Notes = nil
	*s.completions = effect.Completions{Notes: s.completions.Notes[:0]}
	s.node.loop.push(input{event: ev})
}

// resolve finds the records of every fetch and hands them to the connections that asked.
func (s *storageIO) resolve(set *effect.Set) {
	for _, read := range set.Reads {
		if s.engine.Unwritten(read.Fetch) {
			s.unwritten = append(s.unwritten, read)
			continue
		}
		s.answer(read)
	}
	set.Reset()
	s.spares.Put(set)
}

// resolveUnwritten does the same for those that waited for a sync to begin.
func (s *storageIO) resolveUnwritten() {
	waiting := s.unwritten
	s.unwritten = s.unwritten[:0]
	for _, read := range waiting {
		if s.engine.Unwritten(read.Fetch) {
			s.unwritten = append(s.unwritten, read)
			continue
		}
		s.answer(read)
	}
	clear(waiting[len(s.unwritten):])
}

func (s *storageIO) answer(read effect.Read) {
	c := s.node.connections.find(read.To.Conn)
	if c == nil {
		return
	}
	s.engine.ResolveRead(read.Fetch)
	for p := range read.Fetch.Parts {
		part := &read.Fetch.Parts[p]
		s.node.metrics.BytesOut.Add(int64(part.Records.LenBytes()))
		if part.Code != 0 {
			s.node.metrics.CountFetchError(part.Code)
		}
	}
	c.post(answer{kind: answerFetch, to: read.To, fetch: read.Fetch})
}

// look runs f in the storage goroutine and waits for it; false says that it did not get to it in time.
func (s *storageIO) look(f func(*storage.Engine), patience time.Duration) bool {
	t := time.NewTimer(patience)
	defer t.Stop()
	ran := make(chan struct{})
	select {
	case s.inspect <- func(e *storage.Engine) { f(e); close(ran) }:
		<-ran
		return true
	case <-s.done:
	case <-t.C:
	}
	return false
}

// syncer runs syncs in a goroutine of its own, one at a time.
type syncer struct {
	todo  chan *storage.SyncWork
	ended chan synced
	busy  bool // of the storage goroutine
}

type synced struct {
	work *storage.SyncWork
	err  error
	took time.Duration
}

func newSyncer() syncer {
	return syncer{todo: make(chan *storage.SyncWork, 1), ended: make(chan synced, 1)}
}

func (s *syncer) begin(work *storage.SyncWork) {
	s.busy = true
	s.todo <- work
}

func (s *syncer) run() {
	for work := range s.todo {
		start := time.Now()
		err := work.Run()
		s.ended <- synced{work, err, time.Since(start)}
	}
}
