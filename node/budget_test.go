package node

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func testBudget(limit int64) *budget { return newBudget(limit, new(atomic.Int64), new(atomic.Int64)) }

func TestBudgetServesInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBudget(100)
		take := func(n int64) error { return b.acquire(n, nil, 0) }
		if err := take(80); err != nil {
			t.Fatal(err)
		}
		var order []int64
		var mu sync.Mutex
		for _, n := range []int64{50, 10} { // 10 would fit, but 50 came first
			go func() {
				_ = take(n)
				mu.Lock()
				order = append(order, n)
				mu.Unlock()
			}()
			synctest.Wait()
		}
		if len(order) != 0 {
			t.Fatalf("granted %v of a full budget", order)
		}
		b.release(20)
		synctest.Wait()
		if len(order) != 0 {
			t.Fatalf("granted %v out of turn", order)
		}
		b.release(20)
		synctest.Wait()
		if len(order) != 2 || b.held.Load() != 100 {
			t.Errorf("granted %v, %d held", order, b.held.Load())
		}
		b.release(100)
		if b.held.Load() != 0 {
			t.Errorf("%d held by nobody", b.held.Load())
		}
	})
}

func TestBudgetLetsOneLargeRequestThrough(t *testing.T) {
	b := testBudget(100)
	if err := b.acquire(1000, nil, 0); err != nil || b.held.Load() != 1000 {
		t.Errorf("%v, %d held", err, b.held.Load())
	}
}

func TestBudgetGivesUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBudget(100)
		if err := b.acquire(100, nil, 0); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := b.acquire(60, nil, time.Minute); !errors.Is(err, errBudgetTimeout) || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		stop := make(chan struct{})
		got := make(chan error, 2)
		go func() { got <- b.acquire(60, stop, 0) }()
		synctest.Wait()
		go func() { got <- b.acquire(40, nil, 0) }() // behind the one that gives up
		synctest.Wait()
		b.release(50)
		synctest.Wait()
		close(stop)
		synctest.Wait()
		if err := <-got; !errors.Is(err, errStopping) {
			t.Errorf("%v", err)
		}
		if err := <-got; err != nil {
			t.Errorf("who stood behind the one that gave up: %v", err)
		}
		if b.held.Load() != 90 || len(b.line) != 0 {
			t.Errorf("%d held, %d in line", b.held.Load(), len(b.line))
		}
	})
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
