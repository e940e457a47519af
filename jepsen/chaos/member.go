package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weirmq/weir/clients/consumer"
)

// member reads along in a group and commits what it has read. It is alone in the group: whatever it loses, it lost for want of a
// coordinator. What it is given after it lost its partitions it may have been given before, and nothing may ever be left out.
type member struct {
	load *load

	mu      sync.Mutex
	next    []int64 // by partition, the offset after the last that it was given
	fresh   []bool  // assigned since: it may begin behind that
	counts  MemberCounts
	readAt  time.Time
	longest time.Duration
	fault   int  // that began last before the longest silence ended
	ended   bool // no more records are sent
}

// MemberCounts is what a member of a group came to.
type MemberCounts struct {
	Read     int64 `json:"read"`
	Repeated int64 `json:"repeated"` // was given again after a rebalance, which groups allow
	Lost     int64 `json:"lost"`     // how often it lost its partitions
	// SilenceMs is the longest time in which it was given nothing while records were sent.
	SilenceMs float64 `json:"silence_max_ms"`
	// Fault is the fault that began last before that ended; 0: none had.
	Fault int `json:"silence_max_fault"`
}

const (
	memberGroup = "chaos"
	// commitInterval is short, so that commits meet faults.
	commitInterval = 200 * time.Millisecond
	// memberSession is shorter than usual: what nobody will hear of again holds up a group for so long.
	memberSession, memberHeartbeat = 10 * time.Second, 3 * time.Second
	// silenceMax is what no fault excuses.
	silenceMax = 3 * memberSession
)

func newMember(l *load) *member {
	return &member{load: l, next: make([]int64, l.partitions), fresh: make([]bool, l.partitions)}
}

// read reads until ctx ends.
func (m *member) read(ctx context.Context) error {
	m.begin()
	c, err := consumer.New(m.load.cl, consumer.WithTopics(m.load.topic), consumer.WithGroup(memberGroup), consumer.WithStart(consumer.Earliest),
		consumer.WithReset(consumer.ResetNone), consumer.WithCommitInterval(commitInterval), consumer.WithSession(memberSession, memberHeartbeat),
		consumer.WithOnRebalance(m.rebalanced))
	if err != nil {
		return err
	}
	var buffer []byte
	for {
		batch, err := c.Poll(ctx)
		for i := range batch {
			rec := &batch[i]
			_, again, ok := m.load.read(buffer, rec)
			if buffer = again; !ok {
				m.load.fault("the group was given, as partition %d offset %d, what nobody sent there: %.64x", rec.Partition, rec.Offset, rec.Value)
			}
			m.given(rec.Partition, rec.Offset)
		}
		if ctx.Err() != nil {
			return c.Close()
		}
		if err != nil {
			m.load.fault("the group's member: %v", err)
			return errors.Join(fmt.Errorf("the group's member: %w", err), c.Close())
		}
	}
}

func (m *member) rebalanced(what consumer.Change, parts []consumer.Partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if what == consumer.Lost {
		m.counts.Lost++
	}
	for _, p := range parts {
		m.fresh[p.Partition] = true
	}
}

// begin is called when records are sent: until it is given the first, it is given nothing.
func (m *member) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readAt = time.Now()
}

// given takes in a record.
func (m *member) given(p int32, offset int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard()
	switch {
	case offset > m.next[p]:
		m.load.fault("the group was given offset %d of partition %d, and nothing from %d on", offset, p, m.next[p])
	case offset < m.next[p]:
		m.counts.Repeated++
		if !m.fresh[p] {
			m.load.fault("the group was given offset %d of partition %d again, and had it all the time", offset, p)
		}
		return // until it is past what it had
	}
	m.counts.Read++
	m.next[p], m.fresh[p] = offset+1, false
}

// end is called when no more records are sent.
func (m *member) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard()
	m.ended = true
}

// heard ends a silence.
func (m *member) heard() {
	now := time.Now()
	if d := now.Sub(m.readAt); !m.ended && !m.readAt.IsZero() && d > m.longest {
		m.longest, m.fault = d, m.load.gaps.lastFault()
	}
	m.readAt = now
}

func (m *member) positions() []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]int64(nil), m.next...)
}

// judged is what it came to, and a finding if it was given nothing for too long.
func (m *member) judged() MemberCounts {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.longest > silenceMax {
		m.load.fault("the group was given nothing for %v", m.longest.Round(time.Millisecond))
	}
	m.counts.SilenceMs, m.counts.Fault = ms(m.longest), m.fault
	return m.counts
}
