package consumer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/weirmq/weir/clients/client"
	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// Partition names a partition.
type Partition struct {
	Topic     string
	Partition int32
}

// Change says what happened to partitions of a group's member.
type Change uint8

// The changes.
const (
	Assigned Change = iota + 1 // the member reads them from now on
	Revoking                   // the group wants them back, and gets them with the next Poll
	Lost                       // others have them already: what was not committed is read by them
)

// String names the change.
func (c Change) String() string {
	return [...]string{"none", "assigned", "revoking", "lost"}[c]
}

// membership is a consumer's part in a group.
type membership struct {
	m             *machine.GroupConsumer
	notCommitting bool
	every         time.Duration
	onRebalance   func(Change, []Partition)

	// The loop's:
	waiting map[machine.OpID]chan machine.Answer
	left    chan struct{} // closed when the group has been left; nil before it was asked for

	// Poll's:
	committedAt time.Time
	committing  *commitUnderway // of Poll's own; nil: none
	due         *time.Timer     // of the next, while Poll waits
	releasing   bool
	changes     []moves // not told yet

	mu sync.Mutex // held for moments
	// next is where the user's reading goes on: after what Poll returned and was not given back. Positions of
	// the machine may be further, for a Poll may have been given up on.
	next   map[Partition]int64
	done   map[Partition]int64 // what of it is committed
	behind bool                // there may be more in next than in done
}

// moves are partitions to which one thing happened.
type moves struct {
	what       Change
	partitions []Partition
}

// report hands answers to those who wait for them.
func (g *membership) report(out *machine.Out) {
	for i := range out.Answers {
		if w := g.waiting[out.Answers[i].Op]; w != nil {
			w <- out.Answers[i]
			delete(g.waiting, out.Answers[i].Op)
		}
	}
	for i := range out.Events {
		if out.Events[i].Kind == machine.EventLeft && g.left != nil {
			close(g.left)
			g.left = nil
		}
	}
}

// moved notes what happened to a partition.
func (g *membership) moved(e *machine.Event) {
	p := Partition{e.Topic, int32(e.Partition)}
	what := Assigned
	switch e.Kind {
	case machine.EventRevoking:
		what, g.releasing = Revoking, true
	case machine.EventLost:
		what = Lost
		g.forget(p)
	default:
		g.forget(p)
	}
	if n := len(g.changes); n == 0 || g.changes[n-1].what != what {
		g.changes = append(g.changes, moves{what: what})
	}
	m := &g.changes[len(g.changes)-1]
	m.partitions = append(m.partitions, p)
}

// tell tells the user what happened to partitions.
func (g *membership) tell() {
	for _, m := range g.changes {
		if g.onRebalance != nil {
			g.onRebalance(m.what, m.partitions)
		}
	}
	g.changes = g.changes[:0]
}

func (g *membership) forget(p Partition) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.next, p)
	delete(g.done, p)
}

// returnedTo notes that Poll returns what is before an offset.
func (g *membership) returnedTo(topic string, partition int32, next int64) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next == nil {
		g.next, g.done = map[Partition]int64{}, map[Partition]int64{}
	}
	g.next[Partition{topic, partition}], g.behind = next, true
}

// returned notes that Poll returns records that were given back once.
func (g *membership) returned(records []Record) {
	for i := range records {
		g.returnedTo(records[i].Topic, records[i].Partition, records[i].Offset+1)
	}
}

// unread notes that records were given back.
func (g *membership) unread(records []Record) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range records {
		p := Partition{records[i].Topic, records[i].Partition}
		if next, ok := g.next[p]; ok {
			g.next[p], g.behind = min(next, records[i].Offset), true
		}
	}
}

// progress is what is to be committed.
func (g *membership) progress() []machine.CommitOffset {
	g.mu.Lock()
	defer g.mu.Unlock()
	offsets := []machine.CommitOffset{}
	for p, next := range g.next {
		if done, ok := g.done[p]; !ok || done != next {
			offsets = append(offsets, commitOf(p, next))
		}
	}
	g.behind = len(offsets) > 0
	return offsets
}

func commitOf(p Partition, next int64) machine.CommitOffset {
	return machine.CommitOffset{
		TopicPartition: machine.TopicPartition{Topic: p.Topic, Partition: model.Partition(p.Partition)},
		Offset:         model.Offset(next), LeaderEpoch: model.NoLeaderEpoch,
	}
}

// settled notes what was committed.
func (g *membership) settled(offsets []machine.CommitOffset, ans *machine.Answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range ans.Committed {
		i := slices.IndexFunc(offsets, func(x machine.CommitOffset) bool { return x.TopicPartition == o.TopicPartition })
		p := Partition{o.Topic, int32(o.Partition)}
		if _, ours := g.next[p]; i >= 0 && ours && o.Outcome.OK() {
			g.done[p] = int64(offsets[i].Offset)
		}
	}
}

// beforePoll does what waits for the user to have processed what earlier Polls returned: it commits, and lets
// go of partitions that the group wants back.
func (c *Consumer) beforePoll(ctx context.Context) error {
	g := c.g
	if g == nil || c.waiting != nil {
		return nil // what an earlier Poll was given comes first: it may be news
	}
	if !g.notCommitting {
		if err := c.commitNow(ctx); err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// Otherwise another member reads again what was read here: that is what a group promises.
	}
	if g.releasing {
		g.releasing = false
		return c.do(func(now model.Time, out *machine.Out) { g.m.Release(now, out) })
	}
	return nil
}

// commitNow commits what Poll has returned if it is time to. Reading goes on meanwhile, and is not held up by a coordinator that is gone;
// but partitions are let go of when their commit has an outcome.
func (c *Consumer) commitNow(ctx context.Context) error {
	g := c.g
	switch {
	case g.releasing:
		g.committedAt = time.Now()
		return c.Commit(ctx)
	case time.Since(g.committedAt) >= g.every:
		return c.commitBeside(ctx, func() bool { return true })
	}
	return nil
}

// commitPause keeps a Poll that waits, of a member that commits with every Poll, from asking in a circle whether it may.
const commitPause = 10 * time.Millisecond

// commitDue is when Poll, which waits for records, is to commit what it returned before: a partition may be quiet for long.
func (g *membership) commitDue() (due <-chan time.Time, stop func()) {
	if g == nil || g.notCommitting || !g.isBehind() {
		return nil, func() {}
	}
	d := max(time.Until(g.committedAt.Add(g.every)), commitPause)
	if g.due == nil {
		g.due = time.NewTimer(d)
	} else {
		g.due.Reset(d)
	}
	return g.due.C, func() { g.due.Stop() }
}

func (g *membership) isBehind() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.behind
}

// commitWaiting commits while Poll waits, unless something has been given to it that it has not looked at: that may be the news that a
// partition is another's.
func (c *Consumer) commitWaiting(ctx context.Context) error {
	return c.commitBeside(ctx, func() bool { return c.waiter != nil })
}

// commitBeside begins a commit if none of Poll's own is under way, and may is true on the loop.
func (c *Consumer) commitBeside(ctx context.Context, may func() bool) error {
	g := c.g
	g.committedAt = time.Now()
	if g.committing != nil {
		select {
		case ans := <-g.committing.came:
			g.settled(g.committing.offsets, &ans)
			g.committing = nil
		default:
			return nil
		}
	}
	x, err := c.beginCommit(ctx, g.progress(), may)
	g.committing = x
	return err
}

// Commit commits what Poll has returned, for all partitions, and waits for the outcome. Only members of a
// group can.
func (c *Consumer) Commit(ctx context.Context) error {
	if c.g == nil {
		return errNoGroup
	}
	return c.commit(ctx, c.g.progress())
}

var errNoGroup = errors.New("the consumer is not of a group")

// CommitRecords commits up to and including records: the last of each partition counts.
func (c *Consumer) CommitRecords(ctx context.Context, records ...Record) error {
	last := map[Partition]int64{}
	for i := range records {
		p := Partition{records[i].Topic, records[i].Partition}
		last[p] = max(last[p], records[i].Offset+1)
	}
	offsets := []machine.CommitOffset{}
	for p, next := range last {
		offsets = append(offsets, commitOf(p, next))
	}
	return c.commit(ctx, offsets)
}

// commitUnderway is a commit whose answer is to come.
type commitUnderway struct {
	offsets []machine.CommitOffset
	came    chan machine.Answer
}

func (c *Consumer) commit(ctx context.Context, offsets []machine.CommitOffset) error {
	if c.g == nil {
		return errNoGroup
	}
	x, err := c.beginCommit(ctx, offsets, func() bool { return true })
	if err != nil {
		return err
	}
	select {
	case ans := <-x.came:
		c.g.settled(x.offsets, &ans)
		return c.g.outcome(&ans, c.cfg.group.Group)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.d.Done():
		return client.ErrClosed
	}
}

// beginCommit is nil without an error if the loop may not.
func (c *Consumer) beginCommit(ctx context.Context, offsets []machine.CommitOffset, may func() bool) (*commitUnderway, error) {
	came := make(chan machine.Answer, 1)
	begun := false
	// The answer may come in the same turn, before anybody could wait for it: so the waiter is first.
	if !c.d.Do(ctx, func(now model.Time, out *machine.Out) {
		if begun = may(); !begun {
			return
		}
		offsets = c.stillOurs(offsets)
		n := len(out.Answers)
		op := c.g.m.Commit(now, offsets, out)
		for i := n; i < len(out.Answers); i++ {
			if out.Answers[i].Op == op {
				came <- out.Answers[i]
				return
			}
		}
		if c.g.waiting == nil {
			c.g.waiting = make(map[machine.OpID]chan machine.Answer)
		}
		c.g.waiting[op] = came
	}) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, client.ErrClosed
	}
	if !begun {
		return nil, nil
	}
	return &commitUnderway{offsets, came}, nil
}

// stillOurs leaves out partitions that the group took away, or that Poll has not heard the newest of: to
// commit them would be to speak in the name of another, or of another topic under the same name. It runs on the loop.
func (c *Consumer) stillOurs(offsets []machine.CommitOffset) []machine.CommitOffset {
	owned := c.g.m.Owned()
	return slices.DeleteFunc(slices.Clone(offsets), func(o machine.CommitOffset) bool {
		return !slices.Contains(owned, o.TopicPartition) || slices.ContainsFunc(c.events, func(e machine.Event) bool {
			moved := e.Kind == machine.EventAssigned || e.Kind == machine.EventLost || e.Kind == machine.EventRemade
			return moved && e.Topic == o.Topic && e.Partition == o.Partition
		})
	})
}

// outcome makes one error of a commit's answer.
func (g *membership) outcome(ans *machine.Answer, group string) error {
	op := "commit to group " + group
	if err := client.NewError(op, "", -1, ans.Outcome); err != nil {
		return err
	}
	var errs []error
	for i := range ans.Committed {
		o := &ans.Committed[i]
		if err := client.NewError(op, o.Topic, int32(o.Partition), o.Outcome); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Owned are the partitions that the group has assigned to this member.
func (c *Consumer) Owned() ([]Partition, error) {
	if c.g == nil {
		return nil, errNoGroup
	}
	var owned []Partition
	err := c.do(func(model.Time, *machine.Out) {
		for _, p := range c.g.m.Owned() {
			owned = append(owned, Partition{p.Topic, int32(p.Partition)})
		}
	})
	return owned, err
}

// leaveTime bounds the goodbye: a group notices by itself when a session ends.
const leaveTime = 3 * time.Second

// leave commits and leaves the group.
func (c *Consumer) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	if !c.g.notCommitting {
		_ = c.Commit(ctx) // what is not committed is read again by others
	}
	left := make(chan struct{})
	if !c.d.Do(ctx, func(now model.Time, out *machine.Out) {
		c.g.left = left
		c.g.m.Leave(now, out)
	}) {
		return
	}
	select {
	case <-left:
	case <-ctx.Done():
	case <-c.d.Done():
	}
}
