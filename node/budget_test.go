package node

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func testBudget(limit int64) *budget {
	return newBudget(limit, newClock(), new(atomic.Int64), new(atomic.Int64))
}

// claims runs acquire in the background and collects the names of those that were granted.
type claims struct {
	b       *budget
	mu      sync.Mutex
	granted []string
}

func (c *claims) ask(name string, by *connection, bytes int64, grows bool) {
	go func() {
		if c.b.acquire(by, bytes, grows, nil) == nil {
			c.mu.Lock()
			c.granted = append(c.granted, name)
			c.mu.Unlock()
		}
	}()
	synctest.Wait()
}

func (c *claims) want(t *testing.T, names string, held int64) {
	t.Helper()
	synctest.Wait()
	slices.Sort(c.granted)
	if got := strings.Join(c.granted, " "); got != names || c.b.held.Load() != held {
		t.Fatalf("granted %q with %d held, want %q with %d", got, c.b.held.Load(), names, held)
	}
}

func TestBudgetServesInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &claims{b: testBudget(100)}
		c.ask("a", new(connection), 80, false)
		c.ask("b", new(connection), 50, false)
		c.ask("c", new(connection), 10, false) // would fit, but came after b
		c.want(t, "a", 80)
		c.b.release(20)
		c.want(t, "a", 60)
		c.b.release(20)
		c.want(t, "a b c", 100)
		c.b.release(100)
		c.want(t, "a b c", 0)
		c.ask("huge", new(connection), 1000, false)
		c.want(t, "a b c huge", 1000)
	})
}

func TestBudgetLetsOneGrowingRequestFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &claims{b: testBudget(100)}
		x, y, z := new(connection), new(connection), new(connection)
		c.ask("x", x, 50, false)
		c.ask("y", y, 50, false)
		c.ask("z", z, 10, false)
		c.ask("x+", x, 40, true) // does not fit: x becomes the elder
		c.want(t, "x x+ y", 140)
		c.ask("y+", y, 40, true)
		c.ask("x++", x, 40, true) // the elder, before y
		c.want(t, "x x+ x++ y", 180)
		c.b.whole(x)
		c.want(t, "x x+ x++ y", 180) // too much is held for another elder
		c.b.release(130)             // x was answered
		c.want(t, "x x+ x++ y y+ z", 100)
	})
}

func TestBudgetForgetsWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &claims{b: testBudget(100)}
		c.ask("a", new(connection), 100, false)
		stop := make(chan struct{})
		left := make(chan error, 1)
		go func() { left <- c.b.acquire(new(connection), 60, false, stop) }()
		synctest.Wait()
		c.ask("b", new(connection), 40, false)
		c.b.release(50)
		c.want(t, "a", 50)
		close(stop)
		if err := <-left; !errors.Is(err, errStopping) {
			t.Errorf("%v", err)
		}
		c.want(t, "a b", 90)
	})
}

func TestBudgetAllocatesNothingWhileThereIsRoom(t *testing.T) {
	b := testBudget(100)
	c := new(connection)
	n := testing.AllocsPerRun(100, func() {
		if b.acquire(c, 10, false, nil) == nil {
			b.release(10)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestQueueLosesNothingAndKeepsOrder(t *testing.T) {
	q := newQueue[[2]int]()
	const senders, each = 8, 2000
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for i := range each {
				q.push([2]int{s, i})
			}
		})
	}
	var next [senders]int
	var batch [][2]int
	for total := 0; total < senders*each; {
		batch = q.take(batch)
		for _, v := range batch {
			if v[1] != next[v[0]] {
				t.Fatalf("sender %d: %d after %d", v[0], v[1], next[v[0]])
			}
			next[v[0]]++
			total++
		}
		if len(batch) == 0 {
			<-q.signal
		}
	}
	all.Wait()
	if q.len() != 0 {
		t.Error("more was taken out than put in")
	}
}

func TestBuffersComeBackBySize(t *testing.T) {
	var p bufferPool
	for _, n := range []int{0, 1, 1023, 1024, 1025, 65536, 65537, 1 << 22, 1<<22 + 1, 10 << 20} {
		b := p.get(n)
		if len(b) != n {
			t.Errorf("%d bytes for %d", len(b), n)
		}
		if n <= 1<<22 && cap(b) < n || cap(b)&(cap(b)-1) != 0 && n <= 1<<22 {
			t.Errorf("capacity %d for %d", cap(b), n)
		}
		p.put(b)
	}
	p.put(make([]byte, 3000)) // not of the pool: left to the collector
	if b := p.get(3000); cap(b) != 4096 {
		t.Errorf("the pool hands out a stranger's buffer of %d", cap(b))
	}
	got := testing.AllocsPerRun(100, func() { p.put(p.get(5000)) })
	if got > 0.1 { // the race detector makes pools forgetful, an emptied pool allocates once
		t.Errorf("%v allocations for a buffer that comes back", got)
	}
}
