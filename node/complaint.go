package node

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmq/weir/node/explain"
)

const (
	// complaintLinesMax is how many lines one cause may write in complaintWindow. The rest are counted.
	complaintLinesMax = 10
	complaintWindow   = 10 * time.Second
)

// complaints writes the lines about clients, so many of each cause and no more: a flood of bad clients must
// not fill the disk. What is left out is counted, and the count is logged.
type complaints struct {
	log *zap.Logger

	mu      sync.Mutex
	byCause map[explain.Code]*tally
}

// tally is one cause's lines in the present window.
type tally struct {
	begin      time.Time
	lines      int
	suppressed int
	last       string // who was left out last
}

func newComplaints(log *zap.Logger) *complaints {
	return &complaints{log: log, byCause: map[explain.Code]*tally{}}
}

// about writes a line about a client, or counts it. What happened is the reason; an empty fix is the catalogue's.
func (cs *complaints) about(why explain.Code, peer, reason, fix string, fields ...zap.Field) {
	if !cs.admit(why, peer) {
		return
	}
	entry := explain.Of(why)
	if fix == "" {
		fix = entry.Fix
	}
	all := make([]zap.Field, 0, len(fields)+4)
	all = append(all, zap.String("code", string(why)), zap.String("peer", peer))
	all = append(all, fields...)
	all = append(all, zap.String("reason", reason), zap.String("fix", fix))
	cs.log.Warn(entry.Title, all...)
}

func (cs *complaints) admit(why explain.Code, peer string) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	t := cs.byCause[why]
	if t == nil {
		t = &tally{begin: time.Now()}
		cs.byCause[why] = t
	}
	if t.lines < complaintLinesMax {
		t.lines++
		return true
	}
	t.suppressed++
	t.last = peer
	return false
}

// roll ends windows that are over, all of them if finally, and says how much they left out.
func (cs *complaints) roll(finally bool) {
	now := time.Now()
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for why, t := range cs.byCause {
		if !finally && now.Sub(t.begin) < complaintWindow {
			continue
		}
		if t.suppressed > 0 {
			cs.log.Warn("more of the same was left out of the log", zap.String("code", string(why)), zap.String("like", explain.Of(why).Title),
				zap.Int("count", t.suppressed), zap.Duration("within", now.Sub(t.begin)), zap.String("last_peer", t.last))
		}
		delete(cs.byCause, why)
	}
}
